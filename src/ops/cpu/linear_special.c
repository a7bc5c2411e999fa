/* What a pair may ask for beyond terms of a product: DoRA's gain, and dropout. */
#include "ops/cpu/linear_impl.h"

#include <assert.h>
#include <string.h>

/* y = x W^T or, backward, x W: products with the base's weight, in the arithmetic that those have. */
static void times_weight(const ar_runtime *rt, float *y, const float *x, const ar_linear *lin, size_t m, bool backward) {
    const ar_weight *w = &lin->w;
    ar_gemm g = backward ? ar__gemm_backward(y, x, w->data, w->type, m, w->rows, w->cols)
                         : ar__gemm_forward(y, x, w->data, w->type, m, w->rows, w->cols);
    g.is_weight = true;
    ar__gemm(rt, &g);
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

void ar__dora_gain(const ar_runtime *rt, float *y, const ar_pair_op *p, size_t m, size_t n) {
    scale_columns(rt, y, y, p->gain, 0.0f, m, n);
}

/* y = g * (Wx + B su), or under dropout y = Wx + (g - 1) * W d(x) + g * B su.  `wide` holds the part that g scales. */
void ar__dora_fwd(const ar_runtime *rt, float *y, const ar_linear *lin, const ar_pair_op *p, const float *x_dropped, const float *su,
                  size_t m, float *wide) {
    size_t n = lin->w.rows;
    if (!x_dropped) {
        ar__pair_up(rt, y, p, su, m, n);
        ar__dora_gain(rt, y, p, m, n);
        return;
    }
    assert(wide && "the plan knows which sites have DoRA");
    times_weight(rt, wide, x_dropped, lin, m, false);
#pragma omp parallel for num_threads(ar__team(rt, m *n)) schedule(static)
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] -= wide[i * n + j];
    ar__pair_up(rt, wide, p, su, m, n);
#pragma omp parallel for num_threads(ar__team(rt, m *n)) schedule(static)
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] += wide[i * n + j] * p->gain[j];
}

/* The segment's input after dropout: x itself where there is none. */
const float *ar__dropped_input(const ar_runtime *rt, const float *x, const ar_rows *rows, const ar_segment *seg, const ar_pair_op *p,
                               size_t k, const ar_linear_scratch *scratch) {
    if (p->dropout == 0.0f) return x;
    drop_segment(rt, scratch->dropped, x, rows, seg, p, k, false);
    return scratch->dropped;
}

/* Column sums of dy (times z, where given) over each sample, added sample by sample. */
void ar__column_sums(const ar_runtime *rt, float *out, const float *dy, const float *z, const float *scale, const ar_rows *rows,
                     size_t first, size_t last, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows->count *n)) schedule(static)
    for (size_t j0 = 0; j0 < n; j0 += 64) {
        size_t len = n - j0 < 64 ? n - j0 : 64;
        for (size_t s = first; s < last; s++) {
            float sum[64] = {0};
            for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++)
                for (size_t j = 0; j < len; j++) sum[j] += z ? dy[i * n + j0 + j] * z[i * n + j0 + j] : dy[i * n + j0 + j];
            float *to = ar__slot_of(out, rows, s);
            for (size_t j = 0; j < len; j++) to[j0 + j] += scale ? sum[j] * scale[j0 + j] : sum[j];
        }
    }
}

/* dz = g * dy on the segment's rows; dm from z = W d(x) + B su, which is formed again rather than kept. */
void ar__dora_bwd(const ar_runtime *rt, float *dz, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *in,
                  const float *su, const ar_rows *rows, const ar_segment *seg, float *z) {
    size_t n = lin->w.rows, k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    if (p->dmagnitude) {
        times_weight(rt, z + r0 * n, in + r0 * k, lin, m, false);
        ar__pair_up(rt, z + r0 * n, p, su, m, n);
        ar__column_sums(rt, p->dmagnitude, dy, z, p->inv_norm, rows, seg->first, seg->last, n);
    }
    scale_columns(rt, dz + r0 * n, dy + r0 * n, p->gain, 0.0f, m, n);
}

/* dx of a DoRA segment under dropout: dy W + mask * ((g - 1) * dy W + du A). */
static void dora_dropout_dx(const ar_runtime *rt, float *dx, float *tmp, float *dz, const float *dy, const ar_linear *lin,
                            const ar_pair_op *p, const float *du, const ar_rows *rows, const ar_segment *seg) {
    size_t n = lin->w.rows, k = lin->w.cols, r0 = rows->start[seg->first], m = rows->start[seg->last] - r0;
    scale_columns(rt, dz + r0 * n, dy + r0 * n, p->gain, 1.0f, m, n);
    times_weight(rt, tmp + r0 * k, dz + r0 * n, lin, m, true);
    ar__pair_down_bwd(rt, tmp + r0 * k, p, du, m, k);
    drop_segment(rt, dx, tmp, rows, seg, p, k, true);
}

void ar__special_dx(const ar_runtime *rt, float *dx, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *du,
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
