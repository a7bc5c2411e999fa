#include "base/size.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/outer.h"
#include "ops/cpu/pair.h"

static void look_up(const ar_runtime *rt, float *y, const ar_embedding *e, const int32_t *ids, size_t rows) {
    const ar_dtype_info *t = ar__dtype(e->w.type);
    size_t dim = e->w.cols, row_bytes = dim / t->block * t->bytes;
#pragma omp parallel for num_threads(ar__team(rt, rows *dim)) schedule(static)
    for (size_t i = 0; i < rows; i++) t->to_f32(y + i * dim, (const char *)e->w.data + (size_t)ids[i] * row_bytes, dim);
}

void ar__cpu_embedding_fwd(const ar_runtime *rt, float *y, float *su, const ar_embedding *e, const int32_t *ids, const ar_rows *rows) {
    size_t dim = e->w.cols, vocab = e->w.rows, width = ar__pair_width(rows, e->site);
    look_up(rt, y, e, ids, rows->count);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, e->site);
        if (!p) continue;
        size_t r0 = rows->start[seg->first], m = rows->start[seg->last] - r0, r = (size_t)p->rank;
        float *u = su + r0 * width;
        for (size_t q = 0; q < m; q++)
            for (size_t j = 0; j < r; j++) u[q * r + j] = (float)p->scale * p->a[j * vocab + (size_t)ids[r0 + q]];
        ar__pair_up(rt, y + r0 * dim, p, u, m, dim);
        if (!p->gain) continue;
        for (size_t q = r0; q < r0 + m; q++)
            for (size_t j = 0; j < dim; j++) y[q * dim + j] *= p->gain[j];
    }
}

/* A sample's rows d [rows, ld], of which `width` numbers are added to those of an id in out: by_id from one id to the next, by_column from
 * one number to the next. */
typedef struct rows_by_id {
    float *out;
    size_t by_id, by_column;
    const float *d;
    size_t ld, width;
} rows_by_id;

static bool is_first(const int32_t *ids, size_t row) {
    for (size_t i = 0; i < row; i++)
        if (ids[i] == ids[row]) return false;
    return true;
}

/* Rows of one id are summed from zero, then added; the first of them sees to it.  Comparing all with all is little beside what a token
 * costs in the layers. */
static void add_by_id(const ar_runtime *rt, const rows_by_id *r, const int32_t *ids, size_t rows) {
    enum { COLUMNS = 256 };
#pragma omp parallel for num_threads(ar__team(rt, rows *(r->width + rows))) schedule(static, 16)
    for (size_t row = 0; row < rows; row++) {
        float *to = r->out + (size_t)ids[row] * r->by_id;
        if (!is_first(ids, row)) continue;
        for (size_t j0 = 0; j0 < r->width; j0 += COLUMNS) {
            float sum[COLUMNS] = {0};
            size_t len = ar__min(COLUMNS, r->width - j0);
            for (size_t i = row; i < rows; i++)
                for (size_t j = 0; ids[i] == ids[row] && j < len; j++) sum[j] += r->d[i * r->ld + j0 + j];
            for (size_t j = 0; j < len; j++) to[(j0 + j) * r->by_column] += sum[j];
        }
    }
}

/* dm_j = sum dy_j z_j / ||.||, z = E[id] + B su formed again; dz = g * dy. */
static void dora_bwd(const ar_runtime *rt, float *dz, float *z, const float *dy, const ar_embedding *e, const ar_pair_op *p,
                     const int32_t *ids, const float *su, const ar_rows *rows, const ar_segment *seg) {
    size_t dim = e->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    look_up(rt, z + r0 * dim, e, ids + r0, m);
    ar__pair_up(rt, z + r0 * dim, p, su, m, dim);
    for (size_t j = 0; j < dim; j++)
        for (size_t s = seg->first; s < seg->last; s++) {
            float sum = 0.0f;
            for (size_t q = rows->start[s]; q < rows->start[s + 1]; q++) {
                sum += dy[q * dim + j] * z[q * dim + j];
                dz[q * dim + j] = dy[q * dim + j] * p->gain[j];
            }
            if (p->dmagnitude) ar__slot_of(p->dmagnitude, rows, s)[j] += sum * p->inv_norm[j];
        }
}

static void pair_bwd(const ar_runtime *rt, const float *dy, const ar_embedding *e, const ar_pair_op *p, const int32_t *ids, const float *su,
                     const ar_rows *rows, const ar_segment *seg, const ar_linear_scratch *scratch) {
    size_t dim = e->w.cols, vocab = e->w.rows, r = (size_t)p->rank, base = rows->start[seg->first], m = rows->start[seg->last] - base;
    const float *dz = dy;
    if (p->gain) {
        dora_bwd(rt, scratch->dz, scratch->wide, dy, e, p, ids, su, rows, seg);
        dz = scratch->dz;
    }
    ar__pair_up_bwd(rt, scratch->du, p, dz + base * dim, m, dim);
    ar__pair_scale_bwd(p, scratch->du, su, rows, seg);
    if (p->db) ar__outer(rt, &(ar_outer){p->db, dz + base * dim, dim, su, r, dim, ar__pair_learned(p)}, rows, seg->first, seg->last);
    for (size_t s = seg->first; p->da && s < seg->last; s++)
        add_by_id(rt,
                  &(rows_by_id){ar__slot_of(p->da, rows, s), 1, vocab, scratch->du + (rows->start[s] - base) * r, r, ar__pair_learned(p)},
                  ids + rows->start[s], rows->start[s + 1] - rows->start[s]);
}

void ar__cpu_embedding_bwd(const ar_runtime *rt, const float *dy, const ar_embedding *e, const int32_t *ids, const float *su,
                           const ar_rows *rows, const ar_linear_scratch *scratch) {
    size_t dim = e->w.cols, width = ar__pair_width(rows, e->site);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, e->site);
        if (p) pair_bwd(rt, dy, e, p, ids, su + rows->start[seg->first] * width, rows, seg, scratch);
    }
    for (size_t s = 0; e->dw && s < rows->samples; s++)
        add_by_id(rt, &(rows_by_id){ar__slot_of(e->dw, rows, s), dim, 1, dy + rows->start[s] * dim, dim, dim}, ids + rows->start[s],
                  rows->start[s + 1] - rows->start[s]);
}
