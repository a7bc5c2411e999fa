/* Naive dense arithmetic in double, for tests of what never forms a dense matrix. */
#ifndef ALPHAR_TEST_DENSE_H
#define ALPHAR_TEST_DENSE_H

#include <stddef.h>

#include "adapter/adapter.h"

/* B[m, r] · A[r, n]; caller frees. */
double *dense_product(const float *b, const float *a, size_t m, size_t r, size_t n);
/* to += factor · s·B·A of a pair that is loaded. */
void dense_add_update(double *to, const ar_pair *p, double factor);
double dense_norm(const double *x, size_t n);
double dense_distance(const double *x, const double *y, size_t n);
/* Singular values of x[m, n], descending, and zeros up to n of them; caller frees. */
double *dense_singular_values(const double *x, size_t m, size_t n);
/* Root of the sum of squares of sigma[rank..count). */
double dense_tail(const double *sigma, size_t count, size_t rank);

/* A pair of random numbers, N(0, 1). */
ar_pair *dense_add_pair(ar_adapter *ad, const ar_pair_shape *shape, uint64_t seed);

#endif
