/* Schedule, clipping, AdamW (arXiv 1711.05101) and SGD over the list of trainables.
 *
 * AdamW, with g clipped, rate = f(t) * rate_factor:
 *     m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
 *     w = w (1 - rate decay) - rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 * SGD:  w = w (1 - rate decay) - rate g */
#ifndef AR_TRAIN_OPTIM_H
#define AR_TRAIN_OPTIM_H

#include "alphar/train.h"
#include "train/trainable.h"

/* Warm-up steps of `warmup` (below 1 a fraction of the steps, rounded up; from 1 on steps). */
int64_t ar__warmup_steps(double warmup, int64_t steps);
/* f(t) for t from 1, as docs/training.md defines it. */
double ar__rate_at(const ar_train_options *o, int64_t t, int64_t steps);

/* sqrt of the sum of squares of all gradients, in double, in a fixed order. */
double ar__grad_norm(const ar_runtime *rt, const ar_trainables *t);

/* One update with rate f(t); t counts from 1.  norm is what ar__grad_norm gave. */
void ar__optim_step(const ar_runtime *rt, ar_trainables *list, const ar_train_options *o, double rate, int64_t t, double norm);

#endif
