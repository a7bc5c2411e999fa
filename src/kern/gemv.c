/* y[i] = W x[i] for few rows x: what decoding asks for.  Bound by reading W, which happens once: four rows of W stay in
 * L1 while every x passes over them.
 *
 * y[i][j] has the bits of a run with row i alone: lanes of the dot product, then lanes in order.  The tiles round
 * otherwise. */
#include <omp.h>

#include "kern/gemm.h"
#include "kern/runtime.h"

enum { QUAD = AR_DOTS, ROWS = 16 /* of x at a time */, WIDEN = 3 /* from as many x on bf16 is widened once, not for each */ };

/* A thread's scratch: rows of bf16 widened in one half, every x as codes in the other where some weight asks for those. */
enum { HALF = AR_GEMM_RIGHT_FLOATS / 2 };

/* Floats that an x of k takes as codes, each of its three lists beginning at a multiple of 16. */
static size_t codes_floats(size_t k) { return (k / 2 + 15) / 16 * 16; }
static size_t scales_floats(size_t k) { return (k / AR_CODES_RUN + 15) / 16 * 16; }
static size_t coded_floats(size_t k) { return codes_floats(k) + 2 * scales_floats(k); }

static ar_codes codes_in(const float *coded, size_t i, size_t k) {
    const float *at = coded + i * coded_floats(k), *scale = at + codes_floats(k);
    return (ar_codes){(const int16_t *)(const void *)at, scale, scale + scales_floats(k)};
}

static void write_codes(float *coded, const ar_kernels *kn, const float *x, size_t rows, size_t k) {
    for (size_t i = 0; i < rows; i++) {
        float *at = coded + i * coded_floats(k), *scale = at + codes_floats(k);
        kn->to_codes((int16_t *)(void *)at, scale, scale + scales_floats(k), x + i * k, k);
    }
}

/* f32, bf16 and some block types have kernels; of others a part at a time is widened, for all x. */
static void quad(const ar_kernels *kn, const ar_gemv *v, size_t j, size_t count, const float *x, const float *coded, size_t rows,
                 size_t k) {
    const ar_dtype_info *t = ar__dtype(v->type);
    float part[QUAD * AR_GEMM_KC], dots[QUAD], sum[ROWS][QUAD] = {{0}};
    bool blocks = coded && kn->block_dots[v->type], wide = v->type != AR_F32 && v->type != AR_BF16 && !blocks;
    void (*unpack)(float *dst, const void *src, size_t n) = t->block > 1 ? kn->unpack[v->type] : t->to_f32;
    for (size_t p = 0, len; p < k; p += len) {
        const void *from = (const char *)v->w + (j * k + p) / t->block * t->bytes;
        len = wide && k - p > AR_GEMM_KC ? AR_GEMM_KC : k - p;
        for (size_t q = 0; wide && q < count; q++) unpack(part + q * len, (const char *)from + q * k / t->block * t->bytes, len);
        for (size_t i = 0; i < rows; i++) {
            if (blocks)
                kn->block_dots[v->type](dots, from, k / t->block * t->bytes, count, codes_in(coded, i, k), len);
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

/* The same rows of bf16 in f32. */
static ar_gemv widened(const ar_runtime *rt, const ar_gemv *v, size_t j, size_t count, size_t k) {
    float *wide = ar__runtime_right(rt, omp_get_thread_num());
    rt->kern.copy_bf16(wide, k, (const uint16_t *)v->w + j * k, k, k, count);
    return (ar_gemv){.y = v->y + j, .w = wide, .type = AR_F32, .n = v->n, .accumulate = v->accumulate};
}

static void four_rows(const ar_runtime *rt, const ar_gemv *v, size_t at, size_t first, const float *x, const float *coded, size_t rows,
                      size_t k) {
    while (at >= (v->n + QUAD - 1) / QUAD) at -= (v++->n + QUAD - 1) / QUAD;
    size_t row = at * QUAD, rest = v->n - row < QUAD ? v->n - row : QUAD;
    bool wide = v->type == AR_BF16 && rows >= WIDEN && QUAD * k <= HALF;
    ar_gemv here = wide ? widened(rt, v, row, rest, k) : *v;
    here.y += first * v->n;
    for (size_t i = 0; i < rows; i += ROWS, here.y += ROWS * v->n)
        quad(&rt->kern, &here, wide ? 0 : row, rest, x + i * k, coded ? coded + i * coded_floats(k) : NULL,
             rows - i < ROWS ? rows - i : ROWS, k);
}

void ar__gemv(const ar_runtime *rt, const ar_gemv *v, size_t count, const float *x, size_t rows, size_t k) {
    size_t quads = 0, work = 0, fit = HALF / (k ? coded_floats(k) : 1);
    bool asks = false;
    for (size_t g = 0; g < count; g++) {
        quads += (v[g].n + QUAD - 1) / QUAD;
        work += v[g].n * k;
        asks = asks || (fit && rt->kern.block_dots[v[g].type]);
    }
    size_t step = asks && fit < rows ? fit : rows;
    for (size_t first = 0, n; first < rows; first += n) {
        n = rows - first < step ? rows - first : step;
        const float *from = x + first * k;
#pragma omp parallel num_threads(ar__team(rt, n *work))
        {
            float *coded = asks ? ar__runtime_right(rt, omp_get_thread_num()) + HALF : NULL;
            if (asks) write_codes(coded, &rt->kern, from, n, k);
#pragma omp for schedule(static)
            for (size_t at = 0; at < quads; at++) four_rows(rt, v, at, first, from, coded, n, k);
        }
    }
}
