/* What stands between an MLP's linears, row by row:  y = silu(gate) · up,  silu(x) = x / (1 + exp(-x)). */
#ifndef AR_OPS_ACTIVATION_H
#define AR_OPS_ACTIVATION_H

#include "kern/runtime.h"

/* All [rows, n]. */
void ar__swiglu_fwd(const ar_runtime *rt, float *y, const float *gate, const float *up, size_t rows, size_t n);
/* In place: gate and up become their gradients, given that of y. */
void ar__swiglu_bwd(const ar_runtime *rt, float *gate, float *up, const float *dy, size_t rows, size_t n);

#endif
