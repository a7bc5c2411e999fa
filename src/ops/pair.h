/* The only LoRA arithmetic.  A pair at a site:  y = W x + s B (A x),  A [r, n_in], B [n_out, r].
 *
 * With DoRA (arXiv 2402.09353):  y = g * (W x + s B A x) + b,  g = m / ||W + s B A|| per row of the output, the norm a
 * constant in backward.  Under dropout d, as PEFT:  y = W x + b + (g - 1) * W d(x) + g * s B A d(x).
 *
 * Backward, with dz = g * dy (g = 1 without DoRA) and su = s A d(x) kept from forward:
 *     dB += dz^T su        du = s dz B        dA += du^T d(x)        dx += mask * (du A)
 *     ds += sum over rows of dz · B (A d(x)) = du · su / s^2            (s = 0 has no slope here)
 *     dm_j += sum over rows of dy_j (W d(x) + B su)_j / ||W + s B A||_j */
#ifndef AR_OPS_PAIR_H
#define AR_OPS_PAIR_H

#include <stdbool.h>

#include "kern/runtime.h"
#include "ops/rows.h"

typedef struct ar_pair_op {
    int rank; /* 0: no pair here */
    double scale;
    const float *a, *b;
    float *da, *db;           /* gradients, added to; NULL: frozen */
    double *dscale;           /* of s; NULL: frozen */
    const float *gain;        /* DoRA: g per output row; NULL: plain LoRA */
    const float *inv_norm;    /* DoRA: 1 / ||W + s B A|| per output row */
    float *dmagnitude;        /* NULL: frozen */
    float dropout;            /* 0: none */
    uint64_t seed, site_hash; /* of the dropout stream */
} ar_pair_op;

/* d(x): rows of one sample, at the given positions (NULL: from 0), into dst.  Masked entries become 0, others are divided by
 * 1 - dropout.  With accumulate dst += mask * x instead: the backward of the same mask. */
void ar__dropout(const ar_runtime *rt, float *dst, const float *x, const size_t *position, size_t rows, size_t width, const ar_pair_op *p,
                 uint64_t sample_key, bool accumulate);

/* su[rows, rank] = s A x */
void ar__pair_down(const ar_runtime *rt, float *su, const ar_pair_op *p, const float *x, size_t rows, size_t n_in);
/* y[rows, n_out] += B su */
void ar__pair_up(const ar_runtime *rt, float *y, const ar_pair_op *p, const float *su, size_t rows, size_t n_out);
/* du[rows, rank] = s dz B */
void ar__pair_up_bwd(const ar_runtime *rt, float *du, const ar_pair_op *p, const float *dz, size_t rows, size_t n_out);
/* Adds the gradient of s, sample by sample; du, su: those of the segment's rows. */
void ar__pair_scale_bwd(const ar_pair_op *p, const float *du, const float *su, const ar_rows *rows, const ar_segment *seg);
/* dx[rows, n_in] += du A */
void ar__pair_down_bwd(const ar_runtime *rt, float *dx, const ar_pair_op *p, const float *du, size_t rows, size_t n_in);

#endif
