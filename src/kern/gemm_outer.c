/* Gradients of weights: dW[n, k] += dY^T · X, sample after sample.
 *
 * A pair's are narrow: rank rows or columns.  Packing would copy the wide operand for few products with it, so these read
 * both operands as they lie, in blocks of AR_OUTER_ROWS of the narrow side by AR_OUTER_COLS of the wide one:
 *
 *     for each block of columns (a thread's job):
 *         C = its part of dW (dB: transposed), all blocks of rows
 *         for each sample, slice of its tokens, block of rows: C += left^T · right
 *         dW's part = C
 *
 * An element is summed from zero over a slice and then added, as in a packed product, and slices begin with their sample: so its bits
 * depend neither on the threads nor on how samples share batches. */
#include "base/size.h"
#include "kern/gemm_group.h"
#include "kern/runtime.h"

enum { BLOCKS = AR_GEMM_NARROW / AR_OUTER_ROWS, BLOCK = AR_OUTER_ROWS * AR_OUTER_COLS, SLICE = AR_GEMM_KC };

typedef struct narrow {
    float *dw;
    size_t down, across; /* strides of dW: of the narrow side, of the wide one */
    const float *left, *right;
    size_t left_ld, right_ld;
    size_t rows, cols; /* the narrow and the wide side */
    const size_t *start;
    size_t samples;
} narrow;

static void move_block(float *c, const narrow *g, size_t i0, size_t j0, size_t rows, size_t cols, bool back) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float *here = &c[i * AR_OUTER_COLS + j], *there = &g->dw[(i0 + i) * g->down + (j0 + j) * g->across];
            *(back ? there : here) = *(back ? here : there);
        }
}

static size_t rows_at(const narrow *g, size_t i) { return ar__min(AR_OUTER_ROWS, g->rows - i); }

/* Tokens t to `end` of the batch, counted from the first sample's start. */
static void add_slice(const ar_kernels *kn, float *c, const narrow *g, size_t j, size_t cols, size_t t, size_t end) {
    for (size_t i = 0; i < g->rows; i += AR_OUTER_ROWS, c += BLOCK)
        kn->outer(c, g->left + t * g->left_ld + i, g->left_ld, rows_at(g, i), g->right + t * g->right_ld + j, g->right_ld, cols, end - t);
}

static void run_columns(const ar_kernels *kn, const narrow *g, size_t j) {
    _Alignas(64) float c[BLOCKS * BLOCK] = {0};
    size_t cols = ar__min(AR_OUTER_COLS, g->cols - j);
    for (size_t i = 0; i < g->rows; i += AR_OUTER_ROWS) move_block(c + i * AR_OUTER_COLS, g, i, j, rows_at(g, i), cols, false);
    for (size_t s = 0; s < g->samples; s++) {
        size_t end = g->start[s + 1] - g->start[0];
        for (size_t t = g->start[s] - g->start[0]; t < end; t += SLICE) add_slice(kn, c, g, j, cols, t, ar__min(t + SLICE, end));
    }
    for (size_t i = 0; i < g->rows; i += AR_OUTER_ROWS) move_block(c + i * AR_OUTER_COLS, g, i, j, rows_at(g, i), cols, true);
}

static void run_narrow(const ar_runtime *rt, const narrow *g) {
#pragma omp parallel for num_threads(ar__team(rt, (g->start[g->samples] - g->start[0]) * g->rows * g->cols / 16)) schedule(static)
    for (size_t j = 0; j < g->cols; j += AR_OUTER_COLS) run_columns(&rt->kern, g, j);
}

static ar_gemm wide(float *dw, const float *dy, size_t dy_ld, const float *x, size_t x_ld, size_t m, size_t n, size_t k) {
    return (ar_gemm){.m = n,
                     .n = k,
                     .k = m,
                     .a = dy,
                     .a_row = 1,
                     .a_col = dy_ld,
                     .b = x,
                     .b_type = AR_F32,
                     .b_ld = x_ld,
                     .b_rows = false,
                     .c = dw,
                     .c_ld = k,
                     .accumulate = true};
}

static bool is_narrow(size_t n, size_t k) { return ar__min(n, k) <= AR_GEMM_NARROW; }

size_t ar__gemm_dytx_slice(const ar_runtime *rt, size_t rows, size_t n, size_t k) {
    ar_gemm g = wide(NULL, NULL, n, NULL, k, rows, n, k);
    const ar_gemm_backend *b = ar__gemm_choose(rt, &g);
    if (is_narrow(n, k)) return SLICE;
    if (b->panels) return ar__packed_slice(rows);
    return b->slice ? b->slice : ar__max(rows, SLICE);
}

void ar__gemm_dytx(const ar_runtime *rt, float *dw, const float *dy, size_t dy_ld, const float *x, size_t x_ld, const size_t *start,
                   size_t samples, size_t n, size_t k) {
    if (is_narrow(n, k) && n <= k) {
        run_narrow(rt, &(narrow){dw, k, 1, dy, x, dy_ld, x_ld, n, k, start, samples});
    } else if (is_narrow(n, k)) {
        run_narrow(rt, &(narrow){dw, 1, k, x, dy, x_ld, dy_ld, k, n, start, samples});
    } else {
        for (size_t s = 0; s < samples; s++) {
            size_t r0 = start[s] - start[0];
            ar_gemm g = wide(dw, dy + r0 * dy_ld, dy_ld, x + r0 * x_ld, x_ld, start[s + 1] - start[s], n, k);
            ar__gemm(rt, &g);
        }
    }
}
