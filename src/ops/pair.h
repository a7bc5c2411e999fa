/* A pair at a site:  y = W x + s B (A x),  A [r, n_in], B [n_out, r].
 *
 * With DoRA (arXiv 2402.09353):  y = g * (W x + s B A x) + b,  g = m / ||W + s B A|| per row of the output, the norm a
 * constant in backward.  Under dropout d, as PEFT:  y = W x + b + (g - 1) * W d(x) + g * s B A d(x).
 *
 * Backward, with dz = g * dy (g = 1 without DoRA) and su = s A d(x) kept from forward:
 *     dB += dz^T su        du = s dz B        dA += du^T d(x)        dx += mask * (du A)
 *     ds += sum over rows of dz · B (A d(x)) = du · su / s^2            (s = 0 has no slope here)
 *     dm_j += sum over rows of dy_j (W d(x) + B su)_j / ||W + s B A||_j
 *
 * Of the last `frozen` rows of A and columns of B there is no gradient, and none is formed: dA [r - frozen, n_in], dB [n_out, r - frozen].
 */
#ifndef AR_OPS_PAIR_H
#define AR_OPS_PAIR_H

#include <stdbool.h>
#include <stddef.h>

#include "kern/runtime.h"
#include "ops/rows.h"

typedef struct ar_pair_op {
    int rank;   /* 0: no pair here */
    int frozen; /* of its rank, the last so many learn nothing */
    double scale;
    const float *a, *b;
    float *da, *db;           /* gradients of what learns, added to; NULL: nothing does */
    double *dscale;           /* of s; NULL: frozen */
    const float *gain;        /* DoRA: g per output row; NULL: plain LoRA */
    const float *inv_norm;    /* DoRA: 1 / ||W + s B A|| per output row */
    float *dmagnitude;        /* NULL: frozen */
    float dropout;            /* 0: none */
    uint64_t seed, site_hash; /* of the dropout stream */
} ar_pair_op;

/* Rows of A, and columns of B, that have a gradient. */
static inline size_t ar__pair_learned(const ar_pair_op *p) { return (size_t)(p->rank - p->frozen); }
/* The pair of a segment at a site, NULL if there is none. */
const ar_pair_op *ar__segment_pair(const ar_segment *seg, int site);
/* The largest rank of the segments at a site: floats of su and du that a row takes. */
size_t ar__pair_width(const ar_rows *rows, int site);

#endif
