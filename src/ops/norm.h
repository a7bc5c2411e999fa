/* Norms over rows of width n.
 *
 *     RMSNorm (arXiv 1910.07467)        y = (w + offset) x r,        r = 1 / sqrt(mean(x²) + eps)
 *     LayerNorm (arXiv 1607.06450)      the same of x - mean(x), plus b where there is one
 *
 * offset is 1 for families that store w - 1.  With `heads` row i has the weights w[i mod heads], which are frozen.  Backward, with g = (w +
 * offset) dy and c = x, less its mean under LayerNorm: dx = r (g - mean(g) - c r² mean(g c)), without mean(g) under RMSNorm;    dw += sum
 * over rows of dy c r;    db += dy */
#ifndef AR_OPS_NORM_H
#define AR_OPS_NORM_H

#include "kern/runtime.h"
#include "ops/rows.h"

typedef struct ar_norm {
    const float *w, *b; /* [n] f32; b NULL: none */
    float *dw, *db;     /* NULL: frozen */
    float eps, offset;
    bool centred; /* LayerNorm */
    size_t heads; /* w is [heads, n], without b: each head's own; 0: one for all rows */
} ar_norm;

/* Of a row. */
static inline const float *ar__norm_weights(const ar_norm *norm, size_t row, size_t n) {
    return norm->heads ? norm->w + row % norm->heads * n : norm->w;
}

/* r [rows], kept for backward; NULL if not wanted.  y may be x. */
typedef void ar_norm_fwd_fn(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, const float *x, size_t rows, size_t n);

/* The same after sum += add, in one pass. */
typedef void ar_norm_fwd_add_fn(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, float *sum, const float *add, size_t rows,
                                size_t n);
/* y again, from the r that was kept. */
typedef void ar_norm_again_fn(const ar_runtime *rt, float *y, const float *r, const ar_norm *norm, const float *x, size_t rows, size_t n);

/* dx (+)= the gradient of x.  Each row of the batch holds `per_row` rows of the norm (heads, for q/k norms). */
typedef void ar_norm_bwd_fn(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x,
                            const float *r, const ar_rows *rows, size_t per_row, size_t n);

#endif
