/* Gradients of weights, A and B: the products dY^T · X of a batch's samples (ops/rows.h). */
#ifndef AR_OPS_CPU_OUTER_H
#define AR_OPS_CPU_OUTER_H

#include "kern/runtime.h"
#include "ops/rows.h"

/* dW [n, k] of rows dy [·, dy_ld] and x [·, x_ld], both from the first sample's on. */
typedef struct ar_outer {
    float *dw;
    const float *dy;
    size_t dy_ld;
    const float *x;
    size_t x_ld, n, k;
} ar_outer;

/* Adds what samples first .. last give, each to where its own is kept. */
void ar__outer(const ar_runtime *rt, const ar_outer *p, const ar_rows *rows, size_t first, size_t last);

#endif
