/* y[i] = W x[i] for few rows x: what decoding asks for.  Bound by reading W, which happens once: four rows of W stay in
 * L1 while every x passes over them.
 *
 * y[i][j] has the bits of a run with row i alone: lanes of the dot product, then lanes in order.  The tiles round
 * otherwise. */
#include "kern/gemm.h"
#include "kern/runtime.h"

enum { QUAD = AR_DOTS, ROWS = 16 /* of x at a time */ };

/* f32 and bf16 have kernels; of others a part at a time is widened, for all x. */
static void quad(const ar_kernels *kn, const ar_gemv *v, size_t j, size_t count, const float *x, size_t rows, size_t k) {
    const ar_dtype_info *t = ar__dtype(v->type);
    float part[QUAD * AR_GEMM_KC], dots[QUAD], sum[ROWS][QUAD] = {{0}};
    bool wide = v->type != AR_F32 && v->type != AR_BF16;
    for (size_t p = 0, len; p < k; p += len) {
        const void *from = (const char *)v->w + (j * k + p) / t->block * t->bytes;
        len = wide && k - p > AR_GEMM_KC ? AR_GEMM_KC : k - p;
        for (size_t q = 0; wide && q < count; q++) t->to_f32(part + q * len, (const char *)from + q * k / t->block * t->bytes, len);
        for (size_t i = 0; i < rows; i++) {
            if (v->type == AR_BF16)
                kn->dots_bf16(dots, from, k, count, x + i * k + p, len);
            else
                kn->dots(dots, wide ? part : from, wide ? len : k, count, x + i * k + p, len);
            for (size_t q = 0; q < count; q++) sum[i][q] += dots[q];
        }
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t q = 0; q < count; q++) {
            float *y = &v->y[i * v->n + j + q];
            *y = v->accumulate ? *y + sum[i][q] : sum[i][q];
        }
}

void ar__gemv(const ar_runtime *rt, const ar_gemv *v, size_t count, const float *x, size_t rows, size_t k) {
    size_t quads = 0, work = 0;
    for (size_t g = 0; g < count; g++) {
        quads += (v[g].n + QUAD - 1) / QUAD;
        work += v[g].n * k;
    }
#pragma omp parallel for num_threads(ar__team(rt, rows *work)) schedule(static)
    for (size_t at = 0; at < quads; at++) {
        const ar_gemv *of = v;
        size_t j = at;
        while (j >= (of->n + QUAD - 1) / QUAD) j -= (of++->n + QUAD - 1) / QUAD;
        size_t left = of->n - j * QUAD;
        ar_gemv here = *of;
        for (size_t i = 0; i < rows; i += ROWS) {
            here.y = of->y + i * of->n;
            quad(&rt->kern, &here, j * QUAD, left < QUAD ? left : QUAD, x + i * k, rows - i < ROWS ? rows - i : ROWS, k);
        }
    }
}
