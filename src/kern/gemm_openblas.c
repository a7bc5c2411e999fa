/* OpenBLAS on fixed tiles of 16 rows, single-threaded inside each job: the same bits for any thread count and any m.
 *
 * Its own threading changes results (kern/alone.h), and so does the place of a row in a larger tile (measured on Debian's 0.3.21, the
 * Haswell kernels: rows 12.. of 64 sum in another order).  16 rows as the *columns* of the call were the same on every
 * core type that it has kernels for, so the call computes C^T.  A job is NC columns; B's block is widened to f32 per
 * slice of k; rows past the end are zeros.  Kept as a second opinion: slower than our own. */
#include <cblas.h>
#include <omp.h>
#include <string.h>

#include "base/size.h"
#include "kern/alone.h"
#include "kern/gemm.h"
#include "kern/runtime.h"

enum { ROWS = 16 };

/* B's block as f32 [cols][len] (b_rows) or [len][NC]; columns past the end are zero so that the shape stays fixed. */
static void widen_block(float *dst, const ar_gemm *g, size_t j0, size_t cols, size_t p0, size_t len) {
    const ar_dtype_info *t = ar__dtype(g->b_type);
    size_t row_bytes = g->b_ld / t->block * t->bytes;
    const char *base = g->b;
    memset(dst, 0, sizeof *dst * AR_GEMM_NC * len);
    if (g->b_rows)
        for (size_t j = 0; j < cols; j++) t->to_f32(dst + j * len, base + (j0 + j) * row_bytes + p0 / t->block * t->bytes, len);
    else
        for (size_t p = 0; p < len; p++) t->to_f32(dst + p * AR_GEMM_NC, base + (p0 + p) * row_bytes + j0 / t->block * t->bytes, cols);
}

static void run_tile(const ar_gemm *g, bool bf16, const float *block, float *spare, size_t i0, size_t j0, size_t cols, size_t p0,
                     size_t len) {
    size_t rows = ar__min(ROWS, g->m - i0);
    float *left = spare, *out = spare + (size_t)ROWS * AR_GEMM_KC;
    blasint ld = len ? (blasint)len : 1;
    memset(left, 0, sizeof *left * ROWS * len);
    for (size_t i = 0; i < rows; i++)
        for (size_t p = 0; p < len; p++) left[i * len + p] = g->a[(i0 + i) * g->a_row + (p0 + p) * g->a_col];
    if (bf16) ar__round_to_bf16(left, ROWS * len);
    AR_ALONE(cblas_sgemm(CblasRowMajor, g->b_rows ? CblasNoTrans : CblasTrans, CblasTrans, AR_GEMM_NC, ROWS, (blasint)len, 1.0f, block,
                         g->b_rows ? ld : AR_GEMM_NC, left, ld, 0.0f, out, ROWS));
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            float *c = &g->c[(i0 + i) * g->c_ld + j0 + j];
            *c = g->accumulate || p0 > 0 ? *c + out[j * ROWS + i] : out[j * ROWS + i];
        }
}

static bool accepts(const ar_runtime *rt, const ar_gemm *g) {
    (void)rt;
    return ar__dtype(g->b_type)->is_weight;
}

static void run(const ar_runtime *rt, const ar_gemm *g) {
    bool bf16 = ar__gemm_in_bf16(rt, g);
    size_t blocks = (g->n + AR_GEMM_NC - 1) / AR_GEMM_NC;
#pragma omp parallel for num_threads(rt->threads) schedule(dynamic, 1)
    for (size_t job = 0; job < blocks; job++) {
        float *block = ar__runtime_right(rt, omp_get_thread_num()), *spare = block + (size_t)AR_GEMM_NC * AR_GEMM_KC;
        size_t j = job * AR_GEMM_NC, cols = ar__min(AR_GEMM_NC, g->n - j);
        for (size_t p = 0; p < g->k || p == 0; p += AR_GEMM_KC) {
            size_t len = ar__min(AR_GEMM_KC, g->k - p);
            widen_block(block, g, j, cols, p, len);
            if (bf16 && !g->is_pair) ar__round_to_bf16(block, AR_GEMM_NC * len);
            for (size_t i = 0; i < g->m; i += ROWS) run_tile(g, bf16, block, spare, i, j, cols, p, len);
        }
    }
}

void ar__openblas_prepare(void) {
    if (openblas_get_parallel() != OPENBLAS_OPENMP) openblas_set_num_threads(1);
}

const ar_gemm_backend ar__gemm_openblas = {"openblas", accepts, run, NULL, AR_GEMM_KC};
