/* The kernel table: one slot per small kernel, first filled with plain C, then overwritten per ISA.
 *
 * Plain C is the definition.  The element-wise loops give the same bits on every ISA (no contraction, fixed lanes);
 * the product tiles differ by fused multiply-add only.  Which table is used is decided once, in runtime.c. */
#ifndef AR_KERN_KERNELS_H
#define AR_KERN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AR_TILE_MAX_MR = 16, AR_TILE_MAX_NR = 64 };

/* One AdamW step with its constants formed in double; see train/optim.h for the formula. */
typedef struct ar_adamw_step {
    float step;                /* rate / (1 - beta1^t) */
    float shrink;              /* 1 - rate * decay */
    float beta2, rest1, rest2; /* beta2, 1 - beta1, 1 - beta2 */
    float eps, grad_scale;
    float correction2; /* sqrt(1 - beta2^t) */
} ar_adamw_step;

typedef struct ar_kernels {
    const char *isa;

    /* Product tile: C[mr, nr] (+)= sum over p of a[p][i] * b[p][j], p ascending.
     * a: packed [k][mr]; b: packed [k][nr], both 64-byte aligned; c: row stride ldc elements. */
    int mr, nr;
    void (*tile)(size_t k, const float *a, const float *b, float *c, size_t ldc, bool accumulate);
    /* dst[p * ld + i] = src_i[p]: `rows` rows (stride src_ld elements) of k elements are laid side by side; columns
     * rows..width of dst are zeroed. */
    void (*interleave)(float *dst, size_t width, const float *src, size_t src_ld, size_t rows, size_t k);
    void (*interleave_bf16)(float *dst, size_t width, const uint16_t *src, size_t src_ld, size_t rows, size_t k);

    /* Dot products of one vector with a row of a weight: decoding, one token at a time. */
    float (*dot)(const float *x, const float *y, size_t n);
    float (*dot_bf16)(const uint16_t *w, const float *x, size_t n);

    /* y += a x */
    void (*axpy)(float *y, float a, const float *x, size_t n);
    /* sum of squares, 16 lanes, then lanes in order */
    float (*sum_squares)(const float *x, size_t n);
    float (*max)(const float *x, size_t n);
    /* x[i] = exp(x[i] - shift); returns the sum.  exp is good to 2 ulp; arguments below -87 give 0. */
    float (*exp_sum)(float *x, float shift, size_t n);
    /* h = silu(gate) * up */
    void (*silu_mul)(float *h, const float *gate, const float *up, size_t n);
    /* in place: gate becomes dL/dgate, up becomes dL/dup, given dh = dL/dh */
    void (*silu_mul_bwd)(float *gate, float *up, const float *dh, size_t n);
    /* AdamW on n elements, in place; see train/optim.h for the formula. */
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t n, const ar_adamw_step *st);
} ar_kernels;

/* Each fills the slots that its ISA has; the first fills all. */
void ar__kernels_c(ar_kernels *k);
void ar__kernels_avx2(ar_kernels *k);
void ar__kernels_avx512(ar_kernels *k);

#endif
