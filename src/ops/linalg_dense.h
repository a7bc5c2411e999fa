/* Products with a large dense matrix, block of rows by block of rows.  Internal to ops/linalg*.c.
 *
 * The matrix is W [m, n]; its small side has p = min(m, n) and its big side q = max(m, n) elements.  Vectors stand in rows:
 *
 *     project:  Z[l, q] = X[l, p] · W   (or Wᵀ, where W is tall)        lift:  Y[l, p] = Z[l, q] · Wᵀ  (or W)
 *
 * Both are f32 products of kern/gemm.h with W multiplied by `unit`, a power of two that brings ‖W‖ near 1: a product with
 * W Wᵀ then stays inside f32 for any W that f32 can hold comfortably. */
#ifndef AR_OPS_LINALG_DENSE_H
#define AR_OPS_LINALG_DENSE_H

#include "ops/linalg.h"

typedef struct ar_operand {
    const ar_runtime *rt;
    ar_dense w;
    size_t p, q, block; /* rows of W in a block */
    bool tall;          /* m ≥ n: the small side is the columns */
    float *spare;       /* [block, n], or all of W, where rows are made */
    double norm2;       /* ‖W‖² */
    double unit;
} ar_operand;

/* Also reads W once, for its norm.  Errors: AR_ERR_NUMERIC for NaN and infinity.  Released on failure. */
ar_status ar__operand_init(ar_operand *o, const ar_runtime *rt, const ar_dense *w, ar_error *err);
void ar__operand_release(ar_operand *o);
ar_status ar__operand_project(float *z, ar_operand *o, const float *x, size_t l, ar_error *err);
ar_status ar__operand_lift(float *y, ar_operand *o, const float *z, size_t l, ar_error *err);
/* The same in double and without the unit; vectors are columns, which is the same memory. */
ar_status ar__operand_project_wide(double *z, ar_operand *o, const double *x, size_t l, ar_error *err);
ar_status ar__operand_lift_wide(double *y, ar_operand *o, const double *z, size_t l, ar_error *err);
/* g[p, p] = W Wᵀ or Wᵀ W in double, without the unit. */
ar_status ar__operand_gram(double *g, ar_operand *o, ar_error *err);

/* out: the leading k eigenvectors of that product, [p, k] column-major, by block Lanczos; the caller frees *out, also
 * after an error.  k must be small against p. */
ar_status ar__lanczos_vectors(double **out, ar_operand *o, size_t k, uint64_t seed, ar_error *err);
bool ar__lanczos_pays(const ar_operand *o, size_t k);

#endif
