/* One random product with guarded operands, its exact value, and the three runtimes (1, 2, 3 threads) that must agree. */
#ifndef ALPHAR_CHECKASM_PRODUCT_H
#define ALPHAR_CHECKASM_PRODUCT_H

#include "checkasm.h"

enum { PRODUCT_THREADS = 3 };

typedef struct product_setup {
    const char *backend; /* "modelled": bf16-matrix on a model of the unit */
    bool bf16;           /* products are asked for in bf16: both operands rounded first, of a pair's the left */
    ar_runtime *rt[PRODUCT_THREADS];
} product_setup;

/* False where the runtime refuses; the reason has been reported as a skip. */
bool product_setup_open(product_setup *s, const char *isa, const char *backend, bool bf16);
void product_setup_close(product_setup *s);

/* The reference is the same three loops under any instruction set, and slow: it is tried under one. */
bool product_tries_reference(const char *isa);

typedef struct product {
    ar_gemm g;
    check_block a, b, c, before; /* before: what C held */
    float *wide;                 /* B as f32, [n][k] */
    bool transposed;
} product;

product product_new(size_t m, size_t n, size_t k, ar_dtype t, bool b_rows, bool transposed, bool accumulate);
void product_free(product *p);
void product_reset(product *p); /* C as it was */

float product_b(const void *b, ar_dtype t, size_t ld, bool rows, size_t p, size_t j);
float product_round(float x); /* to bf16 and back */
/* sum and sum of magnitudes of A[i]·B[j], operands rounded where the setup says so */
double product_exact(const product_setup *s, const product *x, size_t i, size_t j, double *size);
double product_slack(const product_setup *s, const ar_gemm *g); /* of that sum: what a pair's B loses when it is cut in halves */
void product_describe(char *out, size_t room, const product *p);

#endif
