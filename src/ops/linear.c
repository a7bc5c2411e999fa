/* Forward and backward of the linear; derivation in docs/backward.md. */
#include "ops/linear.h"

#include <assert.h>
#include <string.h>

const ar_pair_op *ar__segment_pair(const ar_segment *seg, int site) {
    return seg->pairs && site >= 0 && seg->pairs[site].rank > 0 ? &seg->pairs[site] : NULL;
}

static void add_bias(const ar_runtime *rt, float *y, const float *bias, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] += bias[j];
}

/* dst = src * (gain - less), column by column */
static void scale_columns(const ar_runtime *rt, float *dst, const float *src, const float *gain, float less, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) dst[i * n + j] = src[i * n + j] * (gain[j] - less);
}

static void drop_segment(const ar_runtime *rt, float *dst, const float *x, const ar_rows *rows, const ar_segment *seg, const ar_pair_op *p,
                         size_t n, bool accumulate) {
    for (size_t s = seg->first; s < seg->last; s++) {
        size_t r0 = rows->start[s];
        ar__dropout(rt, dst + r0 * n, x + r0 * n, rows->position ? rows->position + r0 : NULL, rows->start[s + 1] - r0, n, p, rows->key[s],
                    accumulate);
    }
}

/* y = g * (Wx + B su), or under dropout y = Wx + (g - 1) * W d(x) + g * B su.  `wide` holds the part that g scales. */
static void dora_fwd(const ar_runtime *rt, float *y, const ar_linear *lin, const ar_pair_op *p, const float *x_dropped, const float *su,
                     size_t m, float *wide) {
    size_t n = lin->w.rows, k = lin->w.cols;
    if (!x_dropped) {
        ar__pair_up(rt, y, p, su, m, n);
        scale_columns(rt, y, y, p->gain, 0.0f, m, n);
        return;
    }
    assert(wide && "the plan knows which sites have DoRA");
    ar__gemm_weight_xwt(rt, wide, x_dropped, lin->w.data, lin->w.type, m, n, k, false);
#pragma omp parallel for num_threads(ar__team(rt, m *n)) schedule(static)
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] -= wide[i * n + j];
    ar__pair_up(rt, wide, p, su, m, n);
#pragma omp parallel for num_threads(ar__team(rt, m *n)) schedule(static)
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] += wide[i * n + j] * p->gain[j];
}

static int su_width(const ar_rows *rows, int site) {
    int r = 0;
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_pair_op *p = ar__segment_pair(&rows->segments[i], site);
        if (p && p->rank > r) r = p->rank;
    }
    return r;
}

/* The segment's input after dropout: x itself where there is none. */
static const float *dropped_input(const ar_runtime *rt, const float *x, const ar_rows *rows, const ar_segment *seg, const ar_pair_op *p,
                                  size_t k, const ar_linear_scratch *scratch) {
    if (p->dropout == 0.0f) return x;
    drop_segment(rt, scratch->dropped, x, rows, seg, p, k, false);
    return scratch->dropped;
}

void ar__linear_su(const ar_runtime *rt, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                   const ar_linear_scratch *scratch) {
    size_t k = lin->w.cols, width = (size_t)su_width(rows, lin->site);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        if (!p) continue;
        size_t r0 = rows->start[seg->first];
        const float *in = dropped_input(rt, x, rows, seg, p, k, scratch);
        ar__pair_down(rt, su + r0 * width, p, in + r0 * k, rows->start[seg->last] - r0, k);
    }
}

void ar__linear_fwd(const ar_runtime *rt, float *y, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                    const ar_linear_scratch *scratch) {
    size_t n = lin->w.rows, k = lin->w.cols, width = (size_t)su_width(rows, lin->site);
    if (rows->decoding && rows->count == 1)
        ar__gemv(rt, y, x, lin->w.data, lin->w.type, n, k);
    else
        ar__gemm_weight_xwt(rt, y, x, lin->w.data, lin->w.type, rows->count, n, k, false);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        if (!p) continue;
        size_t r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
        const float *in = dropped_input(rt, x, rows, seg, p, k, scratch) + r0 * k;
        float *u = su + r0 * width;
        ar__pair_down(rt, u, p, in, m, k);
        if (p->gain)
            dora_fwd(rt, y + r0 * n, lin, p, p->dropout > 0.0f ? in : NULL, u, m, scratch->wide ? scratch->wide + r0 * n : NULL);
        else
            ar__pair_up(rt, y + r0 * n, p, u, m, n);
    }
    if (lin->bias) add_bias(rt, y, lin->bias, rows->count, n);
}

/* Column sums of dy (times z, where given) over each sample, added sample by sample. */
static void column_sums(const ar_runtime *rt, float *out, const float *dy, const float *z, const float *scale, const ar_rows *rows,
                        size_t first, size_t last, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows->count *n)) schedule(static)
    for (size_t j0 = 0; j0 < n; j0 += 64) {
        size_t len = n - j0 < 64 ? n - j0 : 64;
        for (size_t s = first; s < last; s++) {
            float sum[64] = {0};
            for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++)
                for (size_t j = 0; j < len; j++) sum[j] += z ? dy[i * n + j0 + j] * z[i * n + j0 + j] : dy[i * n + j0 + j];
            for (size_t j = 0; j < len; j++) out[j0 + j] += scale ? sum[j] * scale[j0 + j] : sum[j];
        }
    }
}

/* dz = g * dy on the segment's rows; dm from z = W d(x) + B su, which is formed again rather than kept. */
static void dora_bwd(const ar_runtime *rt, float *dz, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *in,
                     const float *su, const ar_rows *rows, const ar_segment *seg, float *z) {
    size_t n = lin->w.rows, k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    if (p->dmagnitude) {
        ar__gemm_weight_xwt(rt, z + r0 * n, in + r0 * k, lin->w.data, lin->w.type, m, n, k, false);
        ar__pair_up(rt, z + r0 * n, p, su, m, n);
        column_sums(rt, p->dmagnitude, dy, z, p->inv_norm, rows, seg->first, seg->last, n);
    }
    scale_columns(rt, dz + r0 * n, dy + r0 * n, p->gain, 0.0f, m, n);
}

static void pair_grads(const ar_runtime *rt, const ar_pair_op *p, const float *dz, const float *in, const float *su, const float *du,
                       const ar_rows *rows, const ar_segment *seg, const ar_linear *lin) {
    size_t n = lin->w.rows, k = lin->w.cols, r = (size_t)p->rank, base = rows->start[seg->first];
    for (size_t s = seg->first; s < seg->last; s++) {
        size_t r0 = rows->start[s], m = rows->start[s + 1] - r0;
        if (p->db) ar__gemm_dytx(rt, p->db, dz + r0 * n, su + (r0 - base) * r, m, n, r);
        if (p->da) ar__gemm_dytx(rt, p->da, du + (r0 - base) * r, in + r0 * k, m, r, k);
    }
}

/* dx of a DoRA segment under dropout: dy W + mask * ((g - 1) * dy W + du A). */
static void dora_dropout_dx(const ar_runtime *rt, float *dx, float *tmp, float *dz, const float *dy, const ar_linear *lin,
                            const ar_pair_op *p, const float *du, const ar_rows *rows, const ar_segment *seg) {
    size_t n = lin->w.rows, k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    scale_columns(rt, dz + r0 * n, dy + r0 * n, p->gain, 1.0f, m, n);
    ar__gemm_weight_dyw(rt, tmp + r0 * k, dz + r0 * n, lin->w.data, lin->w.type, m, n, k, false);
    ar__pair_down_bwd(rt, tmp + r0 * k, p, du, m, k);
    drop_segment(rt, dx, tmp, rows, seg, p, k, true);
}

/* The segment's own gradients; leaves dz in scratch->dz (DoRA) and du in `du`. */
static void segment_grads(const ar_runtime *rt, float *du, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *x,
                          const float *su, const ar_rows *rows, const ar_segment *seg, const ar_linear_scratch *scratch) {
    size_t n = lin->w.rows, k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    const float *in = dropped_input(rt, x, rows, seg, p, k, scratch), *dz = dy;
    if (p->gain) {
        dora_bwd(rt, scratch->dz, dy, lin, p, in, su, rows, seg, scratch->wide);
        dz = scratch->dz;
    }
    ar__pair_up_bwd(rt, du, p, dz + r0 * n, m, n);
    pair_grads(rt, p, dz, in, su, du, rows, seg, lin);
}

/* What the pair sends to dx. */
static void segment_dx(const ar_runtime *rt, float *dx, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *du,
                       const ar_rows *rows, const ar_segment *seg, const ar_linear_scratch *scratch) {
    size_t k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    if (p->dropout == 0.0f) {
        ar__pair_down_bwd(rt, dx + r0 * k, p, du, m, k);
    } else if (p->gain) {
        dora_dropout_dx(rt, dx, scratch->dropped, scratch->dz, dy, lin, p, du, rows, seg);
    } else {
        memset(scratch->dropped + r0 * k, 0, m * k * sizeof *dx);
        ar__pair_down_bwd(rt, scratch->dropped + r0 * k, p, du, m, k);
        drop_segment(rt, dx, scratch->dropped, rows, seg, p, k, true);
    }
}

/* The base's share of dx.  A DoRA segment without dropout sends g * dy through W (segment_grads left it in dz), everything
 * else dy. */
static void base_dx(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const ar_rows *rows,
                    const float *dz) {
    size_t n = lin->w.rows, k = lin->w.cols;
    for (size_t i = 0; i < rows->segment_count || i == 0; i++) {
        const ar_segment *seg = rows->segment_count ? &rows->segments[i] : NULL;
        const ar_pair_op *p = seg ? ar__segment_pair(seg, lin->site) : NULL;
        size_t r0 = seg ? rows->start[seg->first] : 0, m = (seg ? rows->start[seg->last] : rows->count) - r0;
        const float *from = p && p->gain && p->dropout == 0.0f ? dz : dy;
        ar__gemm_weight_dyw(rt, dx + r0 * k, from + r0 * n, lin->w.data, lin->w.type, m, n, k, accumulate);
    }
}

bool ar__linear_needs_input(const ar_linear *lin, const ar_rows *rows) { return lin->dw || su_width(rows, lin->site) > 0; }

void ar__linear_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const float *x,
                    const float *su, const ar_rows *rows, const ar_linear_scratch *scratch) {
    size_t n = lin->w.rows, k = lin->w.cols, width = (size_t)su_width(rows, lin->site);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        size_t at = rows->start[seg->first] * width;
        if (p) segment_grads(rt, scratch->du + at, dy, lin, p, x, su + at, rows, seg, scratch);
    }
    if (lin->dbias) column_sums(rt, lin->dbias, dy, NULL, NULL, rows, 0, rows->samples, n);
    for (size_t s = 0; lin->dw && s < rows->samples; s++) {
        size_t r0 = rows->start[s];
        ar__gemm_dytx(rt, lin->dw, dy + r0 * n, x + r0 * k, rows->start[s + 1] - r0, n, k);
    }
    if (!dx) return; /* from here on x may be overwritten: dx may be its memory */
    base_dx(rt, dx, accumulate, dy, lin, rows, scratch->dz);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_segment *seg = &rows->segments[i];
        const ar_pair_op *p = ar__segment_pair(seg, lin->site);
        if (p) segment_dx(rt, dx, dy, lin, p, scratch->du + rows->start[seg->first] * width, rows, seg, scratch);
    }
}
