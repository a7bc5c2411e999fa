/* The kernel table: one slot per small kernel, first filled with plain C, then overwritten per ISA.
 *
 * Plain C is the definition.  The element-wise loops give the same bits on every ISA (no contraction, fixed lanes);
 * the product tiles differ by fused multiply-add only.  Which table is used is decided once, in runtime.c. */
#ifndef AR_KERN_KERNELS_H
#define AR_KERN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/dtype.h"

enum {
    AR_TILE_MAX_MR = 32,
    AR_TILE_MAX_NR = 64,
    AR_TILE_ROWS = 96 /* a multiple of every mr */,
    AR_DOTS = 4,
    AR_DOTS_AHEAD = 32 << 10, /* bytes of W that dots ask for into L2 before they read them: rows lie together, so that it is one stream */
    AR_OUTER_ROWS = 8,
    AR_OUTER_COLS = 48
};

/* Products of bf16 operands summed in f32.  Packed k is a whole number of kr (zeros behind the last); what a panel's
 * bytes look like is between left and run, a sliver's is always pairs of k: [k / 2][nr][2]. */
typedef struct ar_bf16_tile {
    int mr, nr, kr; /* kr even */
    int step;       /* run takes any multiple of it up to mr as `rows`, those that begin the panel */
    void (*run)(size_t k, const uint16_t *a, const uint16_t *b, float *c, size_t ldc, size_t rows, bool accumulate);
    /* One panel: `rows` rows of f32, ld apart, rounded to nearest even; rows..mr are zeros. */
    void (*left)(uint16_t *dst, const float *src, size_t ld, size_t rows, size_t k);
    /* One sliver, from rows of k elements (right_rows) or from k rows of `cols` elements; cols..nr are zeros. */
    void (*right_rows)(uint16_t *dst, const uint16_t *src, size_t ld, size_t cols, size_t k);
    void (*right_columns)(uint16_t *dst, const uint16_t *src, size_t ld, size_t cols, size_t k);
    void (*begin)(void); /* around a thread's tiles; NULL: nothing to set up */
    void (*end)(void);
} ar_bf16_tile;

/* One AdamW step with its constants formed in double; see ops/optim.h for the formula. */
typedef struct ar_adamw_step {
    float step;                /* rate / (1 - beta1^t) */
    float shrink;              /* 1 - rate * decay */
    float beta2, rest1, rest2; /* beta2, 1 - beta1, 1 - beta2 */
    float eps, grad_scale;
    float correction2; /* sqrt(1 - beta2^t) */
} ar_adamw_step;

/* A vector in codes of 16 bits, each 32 with a scale of their own, the largest magnitude / 32767, and scale · Σ q.  A value is off by half
 * a scale at most, 2^-16 of that magnitude, where bf16 arithmetic leaves 2^-9 of its own.  A scale is NaN where one of the 32 is infinite
 * or NaN; magnitudes below 2^-100 count as 0. */
typedef struct ar_codes {
    const int16_t *q;
    const float *scale, *sum;
} ar_codes;

enum { AR_CODES_RUN = 32 };

/* From value i on, a multiple of 32. */
static inline ar_codes ar__codes_at(ar_codes x, size_t i) {
    return (ar_codes){x.q + i, x.scale + i / AR_CODES_RUN, x.sum + i / AR_CODES_RUN};
}

typedef struct ar_kernels {
    const char *isa;

    /* Product tile: C[mr, nr] (+)= sum over p of a[p][i] * b[p][j], p ascending.
     * a: packed [k][mr]; b: packed [k][nr], both 64-byte aligned; c: row stride ldc elements. */
    int mr, nr;
    void (*tile)(size_t k, const float *a, const float *b, float *c, size_t ldc, bool accumulate);
    /* dst[p * width + i] = src_i[p]: `rows` rows (stride src_ld elements) of k elements are laid side by side; columns
     * rows..width of dst are zeroed. */
    void (*interleave)(float *dst, size_t width, const float *src, size_t src_ld, size_t rows, size_t k);
    void (*interleave_bf16)(float *dst, size_t width, const uint16_t *src, size_t src_ld, size_t rows, size_t k);
    void (*interleave_f16)(float *dst, size_t width, const uint16_t *src, size_t src_ld, size_t rows, size_t k);
    /* dst[p * width + i] = src[p * ld + i]: `cols` columns of k rows; columns cols..width of dst are zeroed. */
    void (*copy_f32)(float *dst, size_t width, const float *src, size_t ld, size_t cols, size_t k);
    void (*copy_bf16)(float *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k);
    void (*copy_f16)(float *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k);

    /* C[i][j] += the sum over t < m, ascending, of left[t * left_ld + i] * right[t * right_ld + j]: operands as they lie.
     * C: [AR_OUTER_ROWS][AR_OUTER_COLS], dense; i < rows, j < cols, at most those. */
    void (*outer)(float *c, const float *left, size_t left_ld, size_t rows, const float *right, size_t right_ld, size_t cols, size_t m);

    ar_bf16_tile bf16, matrix; /* vector and matrix units for bf16; run is NULL where there are none */

    /* Block types to f32, by ar_dtype: the row's to_f32, to the bit.  NULL for other types. */
    void (*unpack[AR_DTYPE_COUNT])(float *dst, const void *src, size_t n);

    /* Block types to bf16: what to_bf16 makes of what unpack gives.  NULL where there is no shorter way than those two. */
    void (*unpack_bf16[AR_DTYPE_COUNT])(uint16_t *dst, const void *src, size_t n);

    void (*to_bf16)(uint16_t *dst, const float *src, size_t n); /* to nearest even */
    void (*from_bf16)(float *dst, const uint16_t *src, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);
    /* out[i] = dot of row i with x, for `rows` rows, at most AR_DOTS, ld apart. */
    void (*dots)(float out[AR_DOTS], const float *w, size_t ld, size_t rows, const float *x, size_t n);
    void (*dots_bf16)(float out[AR_DOTS], const uint16_t *w, size_t ld, size_t rows, const float *x, size_t n);

    /* x as codes; n is a multiple of 32. */
    void (*to_codes)(int16_t *q, float *scale, float *sum, const float *x, size_t n);

    /* dots of rows of blocks, row_bytes apart, without forming their values; n is a multiple of the block.  NULL where a type has none. */
    void (*block_dots[AR_DTYPE_COUNT])(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n);

    /* y += a x */
    void (*axpy)(float *y, float a, const float *x, size_t n);
    /* y = a x; y may be x */
    void (*multiple)(float *y, float a, const float *x, size_t n);
    /* y = sum over t, in order, of w[t] x[t], element by element; y is none of them */
    void (*taps)(float *y, const float *const *x, const float *const *w, size_t count, size_t n);
    /* sum of squares, 16 lanes, then lanes in order */
    float (*sum_squares)(const float *x, size_t n);
    float (*max)(const float *x, size_t n);
    /* x[i] = exp(x[i] - shift); returns the sum.  exp is good to 2 ulp; arguments below -87 give 0. */
    float (*exp_sum)(float *x, float shift, size_t n);
    /* h = silu(gate) * up */
    void (*silu_mul)(float *h, const float *gate, const float *up, size_t n);
    /* in place: gate becomes dL/dgate, up becomes dL/dup, given dh = dL/dh */
    void (*silu_mul_bwd)(float *gate, float *up, const float *dh, size_t n);
    /* The same with gelu in its tanh form, and without a gate: y = gelu(x); in place, x becomes dL/dx. */
    void (*gelu_mul)(float *h, const float *gate, const float *up, size_t n);
    void (*gelu_mul_bwd)(float *gate, float *up, const float *dh, size_t n);
    void (*gelu)(float *y, const float *x, size_t n);
    void (*gelu_bwd)(float *x, const float *dy, size_t n);
    /* x = cap tanh(x / cap) */
    void (*softcap)(float *x, float cap, size_t n);
    /* AdamW on n elements, in place; see ops/optim.h for the formula. */
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t n, const ar_adamw_step *st);
} ar_kernels;

/* Each fills the slots that its ISA has; the first fills all. */
void ar__kernels_c(ar_kernels *k);
void ar__kernels_avx2(ar_kernels *k);
void ar__kernels_avx512(ar_kernels *k);
void ar__kernels_avx512bf16(ar_kernels *k);
void ar__kernels_amx(ar_kernels *k);
void ar__kernels_neon(ar_kernels *k);

#endif
