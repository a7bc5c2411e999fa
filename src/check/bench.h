/* The pieces that ar_bench measures in turns. */
#ifndef AR_CHECK_BENCH_H
#define AR_CHECK_BENCH_H

#include "alphar/bench.h"
#include "kern/gemm.h"

enum { AR_BENCH_PRODUCTS = 2 * AR_GEMM_BACKENDS }; /* backends times weight types */

/* Sorts the n numbers, n ≥ 1. */
ar_bench_range ar__bench_range(double *x, int n);

/* A product that competes for P*. */
typedef struct ar_bench_product {
    const ar_gemm_backend *backend;
    ar_dtype type;
} ar_bench_product;

/* Those of the arithmetic that this runtime computes in: bf16's backends where it does, and every other but the reference
 * (which stands alone only where nothing else does), with f32 and bf16 weights.  Returns their number. */
int ar__bench_products(ar_bench_product list[AR_BENCH_PRODUCTS], const ar_runtime *rt);
/* FLOP/s of each, medians of products that take turns. */
ar_status ar__bench_product_rates(double *rate, const ar_runtime *rt, const ar_bench_product *list, int count, ar_error *err);
/* Bytes/s that all threads read from a buffer well beyond the caches. */
ar_status ar__bench_reading(double *rate, const ar_runtime *rt, ar_error *err);

/* What one round learned of the model. */
typedef struct ar_bench_round {
    double start, train, plan_train, decode; /* seconds; tokens/s */
    int64_t tokens, supervised, anonymous, file, peak, plan_anonymous, parameters, weight_bytes;
    double step_flops;
    bool checkpoint_layers;
} ar_bench_round;

ar_status ar__bench_train(ar_bench_round *r, const ar_runtime *rt, const ar_train_options *o, ar_error *err);
ar_status ar__bench_decode(ar_bench_round *r, const ar_runtime *rt, const char *model, ar_error *err);

#endif
