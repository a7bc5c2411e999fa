#include "ops/ref/pair.h"
#include "ops/ref/ref.h"

/* (E[id] + B su)_j of row i */
static double raw(const ar_embedding *e, const int32_t *ids, const ar_ref_row *row, const float *su, size_t i, size_t j) {
    return ar__ref_weight(&e->w, (size_t)ids[i], j) + ar__ref_up(row, su, j);
}

void ar__ref_embedding_fwd(const ar_runtime *rt, float *y, float *su, const ar_embedding *e, const int32_t *ids, const ar_rows *rows) {
    size_t dim = e->w.cols, vocab = e->w.rows;
    (void)rt;
    for (size_t i = 0; i < rows->count; i++) {
        ar_ref_row row = ar__ref_row(rows, e->site, i);
        const ar_pair_op *p = row.pair;
        for (size_t q = 0; p && q < (size_t)p->rank; q++) su[row.su + q] = (float)(p->scale * (double)p->a[q * vocab + (size_t)ids[i]]);
        for (size_t j = 0; j < dim; j++) y[i * dim + j] = (float)(ar__ref_gain(p, j) * raw(e, ids, &row, su, i, j));
    }
}

/* dA[:, id] += du */
static void grad_a(const ar_embedding *e, const ar_rows *rows, const ar_segment *seg, const float *dy, const int32_t *ids) {
    const ar_pair_op *p = ar__segment_pair(seg, e->site);
    size_t dim = e->w.cols, vocab = e->w.rows;
    for (size_t q = 0; q < ar__pair_learned(p); q++)
        for (size_t id = 0; id < vocab; id++) {
            double sum = 0.0;
            for (size_t i = rows->start[seg->first]; i < rows->start[seg->last]; i++)
                if ((size_t)ids[i] == id) sum += ar__ref_du(p, dy + i * dim, q, dim);
            ar__ref_into(&p->da[q * vocab + id], sum);
        }
}

static void grad_magnitude(const ar_embedding *e, const ar_rows *rows, const ar_segment *seg, const float *dy, const int32_t *ids,
                           const float *su) {
    const ar_pair_op *p = ar__segment_pair(seg, e->site);
    size_t dim = e->w.cols;
    for (size_t j = 0; j < dim; j++) {
        double sum = 0.0;
        for (size_t i = rows->start[seg->first]; i < rows->start[seg->last]; i++) {
            ar_ref_row row = ar__ref_row(rows, e->site, i);
            sum += (double)dy[i * dim + j] * raw(e, ids, &row, su, i, j);
        }
        ar__ref_into(&p->dmagnitude[j], sum * (double)p->inv_norm[j]);
    }
}

void ar__ref_embedding_bwd(const ar_runtime *rt, const float *dy, const ar_embedding *e, const int32_t *ids, const float *su,
                           const ar_rows *rows, const ar_linear_scratch *scratch) {
    size_t dim = e->w.cols;
    (void)rt, (void)scratch;
    ar__ref_pair_grads(rows, e->site, dy, su, dim);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_pair_op *p = ar__segment_pair(&rows->segments[i], e->site);
        if (p && p->da) grad_a(e, rows, &rows->segments[i], dy, ids);
        if (p && p->dmagnitude) grad_magnitude(e, rows, &rows->segments[i], dy, ids, su);
    }
    for (size_t id = 0; e->dw && id < e->w.rows; id++)
        for (size_t j = 0; j < dim; j++) {
            double sum = 0.0;
            for (size_t i = 0; i < rows->count; i++)
                if ((size_t)ids[i] == id) sum += (double)dy[i * dim + j];
            ar__ref_into(&e->dw[id * dim + j], sum);
        }
}
