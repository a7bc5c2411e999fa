/* Between linear.c, which asks for whole products, and linear_special.c, which steps in for DoRA and dropout. */
#ifndef AR_OPS_CPU_LINEAR_IMPL_H
#define AR_OPS_CPU_LINEAR_IMPL_H

#include "ops/cpu/cpu.h"
#include "ops/cpu/outer.h"
#include "ops/cpu/pair.h"

/* The segment's input after dropout: x itself where there is none. */
const float *ar__dropped_input(const ar_runtime *rt, const float *x, const ar_rows *rows, const ar_segment *seg, const ar_pair_op *p,
                               size_t k, const ar_linear_scratch *scratch);

/* y, the base's product on a segment of m rows, becomes what DoRA says (without the bias). */
void ar__dora_fwd(const ar_runtime *rt, float *y, const ar_linear *lin, const ar_pair_op *p, const float *x_dropped, const float *su,
                  size_t m, float *wide);
void ar__dora_gain(const ar_runtime *rt, float *y, const ar_pair_op *p, size_t m, size_t n); /* y *= g, column by column */
/* dz = g * dy on the segment's rows, and the gradient of the magnitudes. */
void ar__dora_bwd(const ar_runtime *rt, float *dz, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *in,
                  const float *su, const ar_rows *rows, const ar_segment *seg, float *z);
/* What a segment's pair sends to dx, under DoRA or dropout. */
void ar__special_dx(const ar_runtime *rt, float *dx, const float *dy, const ar_linear *lin, const ar_pair_op *p, const float *du,
                    const ar_rows *rows, const ar_segment *seg, const ar_linear_scratch *scratch);

/* Column sums of dy (times z, where given) over each of the samples first..last, added to out sample by sample, or kept apart. */
void ar__column_sums(const ar_runtime *rt, float *out, const float *dy, const float *z, const float *scale, const ar_rows *rows,
                     size_t first, size_t last, size_t n);

#endif
