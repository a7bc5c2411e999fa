/* One formula for all that a segment may ask for; without DoRA g = 1, without dropout d(x) = x:
 *
 *     y = W x + (g - 1) * W d(x) + g * B su + b,    su = s A d(x) */
#include <assert.h>

#include "ops/ref/pair.h"
#include "ops/ref/ref.h"

/* (W x)_j, with `row` of W d(x). */
static double times_weight(const ar_weight *w, const ar_ref_row *row, const float *x, size_t j) {
    double sum = 0.0;
    for (size_t k = 0; k < w->cols; k++) sum += ar__ref_weight(w, j, k) * (double)x[k] * (row ? ar__ref_mask(row, k, w->cols) : 1.0);
    return sum;
}

/* (dy W)_k, each output times its factor less 1 where `p` is given. */
static double times_weight_back(const ar_weight *w, const ar_pair_op *p, const float *dy, size_t k) {
    double sum = 0.0;
    for (size_t j = 0; j < w->rows; j++) sum += ar__ref_weight(w, j, k) * (double)dy[j] * (p ? ar__ref_gain(p, j) - 1.0 : 1.0);
    return sum;
}

void ar__ref_linear_su(const ar_runtime *rt, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                       const ar_linear_scratch *scratch) {
    size_t k = lin->w.cols;
    (void)rt, (void)scratch;
    for (size_t i = 0; i < rows->count; i++) {
        ar_ref_row row = ar__ref_row(rows, lin->site, i);
        for (size_t q = 0; row.pair && q < (size_t)row.pair->rank; q++) {
            double sum = 0.0;
            for (size_t e = 0; e < k; e++) sum += (double)row.pair->a[q * k + e] * (double)x[i * k + e] * ar__ref_mask(&row, e, k);
            su[row.su + q] = (float)(row.pair->scale * sum);
        }
    }
}

void ar__ref_linear_fwd(const ar_runtime *rt, float *y, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                        const ar_linear_scratch *scratch) {
    const ar_weight *w = &lin->w;
    ar__ref_linear_su(rt, su, lin, x, rows, scratch);
    for (size_t i = 0; i < rows->count; i++) {
        ar_ref_row row = ar__ref_row(rows, lin->site, i);
        for (size_t j = 0; j < w->rows; j++) {
            double g = ar__ref_gain(row.pair, j), sum = times_weight(w, NULL, x + i * w->cols, j) + g * ar__ref_up(&row, su, j);
            if (g != 1.0) sum += (g - 1.0) * times_weight(w, &row, x + i * w->cols, j);
            y[i * w->rows + j] = (float)(sum + (lin->bias ? (double)lin->bias[j] : 0.0));
        }
    }
}

void ar__ref_linears_fwd(const ar_runtime *rt, const ar_linear_out *out, size_t count, const float *x, const ar_rows *rows,
                         const ar_linear_scratch *scratch) {
    for (size_t i = 0; i < count; i++) ar__ref_linear_fwd(rt, out[i].y, out[i].su, out[i].lin, x, rows, scratch);
}

/* dA += du^T d(x) */
static void grad_a(const ar_linear *lin, const ar_rows *rows, const ar_segment *seg, const float *dy, const float *x) {
    const ar_pair_op *p = ar__segment_pair(seg, lin->site);
    size_t n = lin->w.rows, k = lin->w.cols;
    for (size_t q = 0; q < ar__pair_learned(p); q++)
        for (size_t e = 0; e < k; e++) {
            double sum = 0.0;
            for (size_t i = rows->start[seg->first]; i < rows->start[seg->last]; i++) {
                ar_ref_row row = ar__ref_row(rows, lin->site, i);
                sum += ar__ref_du(p, dy + i * n, q, n) * (double)x[i * k + e] * ar__ref_mask(&row, e, k);
            }
            ar__ref_into(&p->da[q * k + e], sum);
        }
}

/* dm_j += sum of dy_j (W d(x) + B su)_j / ||.|| */
static void grad_magnitude(const ar_linear *lin, const ar_rows *rows, const ar_segment *seg, const float *dy, const float *x,
                           const float *su) {
    const ar_pair_op *p = ar__segment_pair(seg, lin->site);
    size_t n = lin->w.rows, k = lin->w.cols;
    for (size_t j = 0; j < n; j++) {
        double sum = 0.0;
        for (size_t i = rows->start[seg->first]; i < rows->start[seg->last]; i++) {
            ar_ref_row row = ar__ref_row(rows, lin->site, i);
            sum += (double)dy[i * n + j] * (times_weight(&lin->w, &row, x + i * k, j) + ar__ref_up(&row, su, j));
        }
        ar__ref_into(&p->dmagnitude[j], sum * (double)p->inv_norm[j]);
    }
}

static void base_grads(const ar_linear *lin, const ar_rows *rows, const float *dy, const float *x) {
    size_t n = lin->w.rows, k = lin->w.cols;
    for (size_t j = 0; j < n; j++) {
        double bias = 0.0;
        for (size_t i = 0; i < rows->count; i++) bias += (double)dy[i * n + j];
        if (lin->dbias) ar__ref_into(&lin->dbias[j], bias);
        for (size_t e = 0; lin->dw && e < k; e++) {
            double sum = 0.0;
            for (size_t i = 0; i < rows->count; i++) sum += (double)dy[i * n + j] * (double)x[i * k + e];
            ar__ref_into(&lin->dw[j * k + e], sum);
        }
    }
}

/* dx = dy W + mask * ((g - 1) * dy W + du A) */
static void grad_x(float *dx, bool accumulate, const ar_linear *lin, const ar_ref_row *row, const float *dy) {
    const ar_pair_op *p = row->pair;
    size_t k = lin->w.cols;
    for (size_t e = 0; e < k; e++) {
        double through = p && p->gain ? times_weight_back(&lin->w, p, dy, e) : 0.0;
        for (size_t q = 0; p && q < (size_t)p->rank; q++) through += ar__ref_du(p, dy, q, lin->w.rows) * (double)p->a[q * k + e];
        double all = times_weight_back(&lin->w, NULL, dy, e) + ar__ref_mask(row, e, k) * through;
        dx[e] = (float)(accumulate ? (double)dx[e] + all : all);
    }
}

/* dx may be x: it comes last. */
void ar__ref_linear_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const float *x,
                        const float *su, const ar_rows *rows, const ar_linear_scratch *scratch) {
    (void)rt, (void)scratch;
    assert(!rows->slot && !rows->dscale_stride && "the definition adds");
    ar__ref_pair_grads(rows, lin->site, dy, su, lin->w.rows);
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_pair_op *p = ar__segment_pair(&rows->segments[i], lin->site);
        if (p && p->da) grad_a(lin, rows, &rows->segments[i], dy, x);
        if (p && p->dmagnitude) grad_magnitude(lin, rows, &rows->segments[i], dy, x, su);
    }
    base_grads(lin, rows, dy, x);
    for (size_t i = 0; dx && i < rows->count; i++) {
        ar_ref_row row = ar__ref_row(rows, lin->site, i);
        grad_x(dx + i * lin->w.cols, accumulate, lin, &row, dy + i * lin->w.rows);
    }
}
