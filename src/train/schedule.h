/* The rate over the steps, and what an update takes from the options. */
#ifndef AR_TRAIN_SCHEDULE_H
#define AR_TRAIN_SCHEDULE_H

#include "alphar/train.h"
#include "ops/optim.h"

/* Warm-up steps of `warmup` (below 1 a fraction of the steps, rounded up; from 1 on steps). */
int64_t ar__warmup_steps(double warmup, int64_t steps);
/* f(t) for t from 1, as docs/training.md defines it. */
double ar__rate_at(const ar_train_options *o, int64_t t, int64_t steps);

/* The update of step t, which counts from 1, at a rate f(t); norm is what ar__grad_norm gave. */
ar_update ar__update_at(const ar_train_options *o, double rate, int64_t t, double norm);

#endif
