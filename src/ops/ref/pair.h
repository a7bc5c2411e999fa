/* What linear and embedding of the reference share: weights of any type by element, and where a row of the batch stands. */
#ifndef AR_OPS_REF_PAIR_H
#define AR_OPS_REF_PAIR_H

#include "ops/linear.h"

/* W[i, j] */
double ar__ref_weight(const ar_weight *w, size_t i, size_t j);

/* A row of the batch, seen from one site. */
typedef struct ar_ref_row {
    const ar_pair_op *pair; /* NULL: the base alone */
    size_t su;              /* where its su begins */
    size_t position;        /* in its sample */
    uint64_t key;           /* its sample's, for dropout */
} ar_ref_row;
ar_ref_row ar__ref_row(const ar_rows *rows, int site, size_t i);

/* DoRA's factor of output j, 1 without. */
double ar__ref_gain(const ar_pair_op *p, size_t j);
/* What dropout multiplies element k of the row's input by: 0, or 1 / (1 - p); 1 without dropout. */
double ar__ref_mask(const ar_ref_row *row, size_t k, size_t n_in);
/* (B su)_j */
double ar__ref_up(const ar_ref_row *row, const float *su, size_t j);
/* du = s (dz B)_q for the row's dy */
double ar__ref_du(const ar_pair_op *p, const float *dy, size_t q, size_t n_out);

/* The gradients that the pair's output side has: dB, ds.  dy [rows, n_out]. */
void ar__ref_pair_grads(const ar_rows *rows, int site, const float *dy, const float *su, size_t n_out);
/* x = x + y, rounded once. */
void ar__ref_into(float *x, double y);

#endif
