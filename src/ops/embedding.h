/* The embedding: y = E[id] (+ s B A[:, id]), A [r, vocab], B [dim, r].
 *
 * With DoRA (PEFT's way): y = g * (E[id] + s B A[:, id]),  g = m / ||E + s (BA)^T|| per column of E, normed over the vocabulary.
 * No dropout at embedding sites.  Backward: dB += dz^T u,  dA[:, id] += s B^T dz,  dE[id] += dy. */
#ifndef AR_OPS_EMBEDDING_H
#define AR_OPS_EMBEDDING_H

#include "ops/linear.h"

typedef struct ar_embedding {
    ar_weight w; /* [vocab, dim] */
    float *dw;   /* [vocab, dim], NULL: frozen */
    int site;
} ar_embedding;

/* su [rows, rank] as for a linear. */
typedef void ar_embedding_fwd_fn(const ar_runtime *rt, float *y, float *su, const ar_embedding *e, const int32_t *ids, const ar_rows *rows);
typedef void ar_embedding_bwd_fn(const ar_runtime *rt, const float *dy, const ar_embedding *e, const int32_t *ids, const float *su,
                                 const ar_rows *rows, const ar_linear_scratch *scratch);

#endif
