/* Gated DeltaNet (arXiv 2412.06464): a state in place of keys and values, behind a short convolution, which other mixers have too.
 *
 *     x [rows, width]      | q: key_heads * key_dim | k: the same | v: value_heads * value_dim |
 *     convolution          y_t = f(bias + sum_i w_i x_{t - taps + 1 + i}), each column by itself; rows before the sample's first are zeros;
 *                          f: silu, or none
 *
 * Per value head, with the q and k of its key head (value_heads / key_heads neighbours share one) and S [key_dim, value_dim], which
 * begins as zeros; q and k first become unit vectors, |x|² = sum of squares + 1e-6, and q is divided by sqrt(key_dim):
 *
 *     beta = sigmoid(b)      g = -rate softplus(a + shift)
 *     S = e^g S              u = beta (v - S^T k)              S = S + k u^T              o = S^T q
 *
 * In chunks, which count from the start of a sample: with G the sums of g in the chunk and S the state before it,
 *
 *     (I + M) u = beta (v - e^G S^T k)        M_ij = beta_i e^(G_i - G_j) k_i · k_j, j < i
 *     o = e^G S^T q + P u                     P_ij = e^(G_i - G_j) q_i · k_j, j <= i
 *     S' = e^(G_last) S + sum_j e^(G_last - G_j) k_j u_j^T
 *
 * Backward is derived in docs/backward.md. */
#ifndef AR_OPS_DELTA_H
#define AR_OPS_DELTA_H

#include "kern/runtime.h"
#include "ops/rows.h"

enum { AR_DELTA_CHUNK = 64, AR_CONV_TAPS = 16 /* at most */ };
#define AR_DELTA_EPS 1e-6

typedef struct ar_conv {
    const float *w, *bias; /* [width, taps]; [width], NULL: none */
    size_t width, taps;
    bool silu; /* behind the sum; else nothing is */
} ar_conv;

typedef struct ar_delta {
    size_t key_heads, value_heads, key_dim, value_dim;
    const float *rate, *shift; /* [value_heads] */
} ar_delta;

static inline size_t ar__delta_width(const ar_delta *d) { return 2 * d->key_heads * d->key_dim + d->value_heads * d->value_dim; }

/* What goes from one call to the next, where there is a cache: of sample s the floats from at + sequence[s] * each on, those of a
 * sample whose past is 0 read as zeros.  Convolution: the last taps - 1 rows of x [taps - 1, width]; rule: S of each value head. */
typedef struct ar_recurrence {
    float *at;
    size_t each;
    const size_t *sequence, *past;
} ar_recurrence;

/* memory NULL: samples are whole. */
typedef void ar_conv_fwd_fn(const ar_runtime *rt, float *y, const float *x, const ar_conv *conv, const ar_rows *rows,
                            const ar_recurrence *memory);
/* dx may be x; dy becomes the gradient in front of SiLU.  Without it x is not read, and may be NULL. */
typedef void ar_conv_bwd_fn(const ar_runtime *rt, float *dx, float *dy, const float *x, const ar_conv *conv, const ar_rows *rows);

/* Floats of scratch that one thread needs; longest: rows of a sample in backward, 0: forward alone. */
typedef size_t ar_delta_scratch_fn(const ar_runtime *rt, const ar_delta *d, size_t longest);

/* x behind the convolution; b, a [rows, value_heads]; o [rows, value_heads * value_dim]. */
typedef void ar_delta_fwd_fn(const ar_runtime *rt, float *o, const float *x, const float *b, const float *a, const ar_delta *d,
                             const ar_rows *rows, const ar_recurrence *memory, float *scratch);
/* dx, db, da are written; db may be b, da may be a.  Whole samples only. */
typedef void ar_delta_bwd_fn(const ar_runtime *rt, float *dx, float *db, float *da, const float *d_o, const float *x, const float *b,
                             const float *a, const ar_delta *d, const ar_rows *rows, float *scratch);

#endif
