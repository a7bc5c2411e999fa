/* For the tests of operators: cpu beside ref on the same operands, and ref's backward beside the slope of its forward. */
#ifndef AR_TEST_OPS_CHECK_H
#define AR_TEST_OPS_CHECK_H

#include "ops/ops.h"
#include "util.h"

extern ar_runtime *ops_cpu, *ops_ref; /* on one table each */
int ops_start(void **state);          /* of a group, and its end */
int ops_stop(void **state);
/* ops_cpu is a device (ALPHAR_TEST_DEVICE, tests/run device): what is of the CPU's table alone is left out. */
bool ops_on_device(void);

/* N(0, 1), another draw at each call; lives until ops_forget or ops_stop, as does zeroed memory and a copy. */
float *ops_random(size_t n);
float *ops_zeros(size_t n);
float *ops_copy(const float *x, size_t n);
float *ops_abs(const float *x, size_t n);
void *ops_memory(size_t bytes);
void ops_forget(void);
double ops_largest(const float *x, size_t n);

/* |got - want| <= roundings * 2^-24 * size[i], NaN fails.  size: what is added up to the result, each term without its sign. */
void ops_assert_rounding(const float *got, const float *want, const float *size, size_t n, double roundings, const char *what);
/* The same with one size for all. */
void ops_assert_within(const float *got, const float *want, double size, size_t n, double roundings, const char *what);
void ops_assert_same(const float *got, const float *want, size_t n, const char *what);

/* Sum of weight[i] y[i], and of its terms without their signs: what a slope is taken of, and what its rounding is measured by. */
typedef struct ops_sum {
    double value, size;
} ops_sum;
ops_sum ops_weigh(const float *weight, const float *y, size_t n);
typedef ops_sum ops_forward_fn(void *user);

/* grad against central differences of f, by x, along one direction. */
void ops_assert_slope(ops_forward_fn *f, void *user, float *x, const float *grad, size_t n, const char *what);

#endif
