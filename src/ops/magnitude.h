/* How large a weight and its update are, without a dense product.  With A [r, n_in], B [n_out, r]:
 *
 *     ||B A||_F²          = sum over i, j of (BᵀB)_ij (A Aᵀ)_ij
 *     ||W + s B A||²_j    = ||W||²_j + 2 s <W, BA>_j + s² ||BA||²_j          of row j, as DoRA norms it
 *     <W, BA>_j           = B_j · (A Wᵀ)_j          ||BA||²_j = B_j (A Aᵀ) B_jᵀ
 *
 * An embedding E [vocab, dim] is normed by column, over the vocabulary: there W = Eᵀ. */
#ifndef AR_OPS_MAGNITUDE_H
#define AR_OPS_MAGNITUDE_H

#include "ops/linear.h"

typedef struct ar_factors {
    const float *a, *b;
    size_t rank, n_in, n_out;
} ar_factors;

/* ||W||_F and ||B A||_F of many, each by one thread, in double. */
typedef void ar_weight_norms_fn(const ar_runtime *rt, double *out, const ar_weight *w, size_t count);
typedef void ar_update_norms_fn(const ar_runtime *rt, double *out, const ar_factors *f, size_t count);

/* The three numbers of each of n_out rows, in double; only the first keeps its value while A and B train. */
typedef struct ar_row_norms {
    double *weight2, *cross, *update2; /* ||W||², <W, BA>, ||BA||² */
    float *aw;                         /* [r, n_out] scratch: A Wᵀ */
} ar_row_norms;

/* ||W||² of each row, or column.  AR_ERR_MEMORY is the only error. */
typedef ar_status ar_row_squares_fn(const ar_runtime *rt, double *out, const ar_weight *w, bool by_column);
/* The other two. */
typedef void ar_row_norms_measure_fn(const ar_runtime *rt, ar_row_norms *out, const ar_factors *f, const ar_weight *w, bool by_column);
/* ||W + s B A|| of row j. */
double ar__row_norm(const ar_row_norms *r, size_t j, double s);
/* gain = magnitude / ||W + s B A||, inv_norm = 1 / ||W + s B A||, by row. */
typedef void ar_dora_gains_fn(const ar_runtime *rt, float *gain, float *inv_norm, const float *magnitude, const ar_row_norms *r,
                              size_t n_out, double s);

#endif
