/* Pieces of the decompositions, column-major doubles.  Internal to ops/linalg*.c. */
#ifndef AR_OPS_LINALG_QR_H
#define AR_OPS_LINALG_QR_H

#include "kern/runtime.h"

/* Q[m, r] in place of the matrix, m ≥ r, orthonormal even where the matrix is rank-deficient; upper[r, r] may be NULL.  Tall ones are cut
 * into leaves of rows, whose triangles are decomposed again (TSQR; Demmel, Grigori, Hoemmen, Langou, 2012). */
ar_status ar__qr(double *q, double *upper, const ar_runtime *rt, size_t m, size_t r, ar_error *err);

/* C[p, q] = alpha op(X) Y + beta C, Y [k, q]; columns of C spread over the threads.  Leading dimensions: ldx, ldy, ldc. */
typedef struct ar_dgemm {
    size_t p, q, k;
    bool transposed; /* X stored [k, p] */
    double alpha, beta;
    const double *x, *y;
    double *c;
    size_t ldx, ldy, ldc;
} ar_dgemm;
void ar__dgemm(const ar_runtime *rt, const ar_dgemm *g);

/* Checks that the sizes fit LAPACK's integers. */
ar_status ar__check_sizes(size_t m, size_t n, size_t r, ar_error *err);

/* x[p, q] = U Σ Vᵀ with k = min(p, q): u[p, k], sigma[k], vt[k, q].  x is destroyed. */
ar_status ar__svd(double *u, double *sigma, double *vt, double *x, size_t p, size_t q, ar_error *err);

/* The `count` largest eigenvalues of x[n, n] (symmetric, destroyed), descending, never negative, and their vectors [n, count]. */
ar_status ar__top_eigenpairs(double *value, double *vector, double *x, size_t n, size_t count, ar_error *err);

/* out = Q M, rounded to f32: Q [m, inner] (NULL: the identity, inner = m), M [inner, k], element (i, j) at
 * out[i * row + j * column]. */
ar_status ar__write_factor(float *out, size_t row, size_t column, const ar_runtime *rt, const double *q, size_t m, size_t inner,
                           const double *core, size_t k, ar_error *err);

#endif
