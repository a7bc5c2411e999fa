/* The only LoRA arithmetic of the CPU's operators: the pieces of ops/pair.h's formulas. */
#ifndef AR_OPS_CPU_PAIR_H
#define AR_OPS_CPU_PAIR_H

#include "ops/pair.h"

/* d(x): rows of one sample, at the given positions (NULL: from 0), into dst.  Masked entries become 0, others are divided by
 * 1 - dropout.  With accumulate dst += mask * x instead: the backward of the same mask. */
void ar__dropout(const ar_runtime *rt, float *dst, const float *x, const size_t *position, size_t rows, size_t width, const ar_pair_op *p,
                 uint64_t sample_key, bool accumulate);

/* su[rows, rank] = s A x */
void ar__pair_down(const ar_runtime *rt, float *su, const ar_pair_op *p, const float *x, size_t rows, size_t n_in);
/* y[rows, n_out] += B su */
void ar__pair_up(const ar_runtime *rt, float *y, const ar_pair_op *p, const float *su, size_t rows, size_t n_out);
/* du[rows, rank] = s dz B */
void ar__pair_up_bwd(const ar_runtime *rt, float *du, const ar_pair_op *p, const float *dz, size_t rows, size_t n_out);
/* Adds the gradient of s, sample by sample; du, su: those of the segment's rows. */
void ar__pair_scale_bwd(const ar_pair_op *p, const float *du, const float *su, const ar_rows *rows, const ar_segment *seg);
/* dx[rows, n_in] += du A */
void ar__pair_down_bwd(const ar_runtime *rt, float *dx, const ar_pair_op *p, const float *du, size_t rows, size_t n_in);

#endif
