/* y[i] = W x[i] for few rows x: what decoding asks for.  Bound by reading W, which happens once: four rows of W stay in
 * L1 while every x passes over them.
 *
 * y[i][j] has the bits of a run with row i alone: lanes of the dot product, then lanes in order.  The tiles round
 * otherwise. */
#include <omp.h>

#include "kern/gemm.h"
#include "kern/runtime.h"

enum { QUAD = AR_DOTS, ROWS = 16 /* of x at a time */, WIDEN = 3 /* from as many x on bf16 is widened once, not for each */ };

/* f32, bf16 and some block types have kernels; of others a part at a time is widened, for all x. */
static void quad(const ar_kernels *kn, const ar_gemv *v, size_t j, size_t count, const float *x, size_t rows, size_t k) {
    const ar_dtype_info *t = ar__dtype(v->type);
    float part[QUAD * AR_GEMM_KC], dots[QUAD], sum[ROWS][QUAD] = {{0}};
    void (*block_dots)(float *out, const void *w, size_t row_bytes, size_t count, const float *x, size_t n) = kn->block_dots[v->type];
    bool wide = v->type != AR_F32 && v->type != AR_BF16 && !block_dots;
    void (*unpack)(float *dst, const void *src, size_t n) = t->block > 1 ? kn->unpack[v->type] : t->to_f32;
    for (size_t p = 0, len; p < k; p += len) {
        const void *from = (const char *)v->w + (j * k + p) / t->block * t->bytes;
        len = wide && k - p > AR_GEMM_KC ? AR_GEMM_KC : k - p;
        for (size_t q = 0; wide && q < count; q++) unpack(part + q * len, (const char *)from + q * k / t->block * t->bytes, len);
        for (size_t i = 0; i < rows; i++) {
            if (block_dots)
                block_dots(dots, from, k / t->block * t->bytes, count, x + i * k + p, len);
            else if (v->type == AR_BF16)
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

/* The same rows of bf16 in f32, in the thread's scratch. */
static ar_gemv widened(const ar_runtime *rt, const ar_gemv *v, size_t j, size_t count, size_t k) {
    float *wide = (float *)(void *)ar__runtime_right(rt, omp_get_thread_num());
    rt->kern.copy_bf16(wide, k, (const uint16_t *)v->w + j * k, k, k, count);
    return (ar_gemv){.y = v->y + j, .w = wide, .type = AR_F32, .n = v->n, .accumulate = v->accumulate};
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
        size_t row = j * QUAD, rest = of->n - row < QUAD ? of->n - row : QUAD;
        bool wide = of->type == AR_BF16 && rows >= WIDEN && QUAD * k <= AR_GEMM_RIGHT_FLOATS;
        ar_gemv here = wide ? widened(rt, of, row, rest, k) : *of;
        for (size_t i = 0; i < rows; i += ROWS, here.y += ROWS * of->n)
            quad(&rt->kern, &here, wide ? 0 : row, rest, x + i * k, rows - i < ROWS ? rows - i : ROWS, k);
    }
}
