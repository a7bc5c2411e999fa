/* Steps and evaluations over pairs: two samples each, 2k chosen and 2k + 1 rejected, whose losses meet in an objective. */
#ifndef AR_TRAIN_PAIRS_H
#define AR_TRAIN_PAIRS_H

#include "train/learner.h"

/* Memory for what is known of each sample, once the data is there. */
ar_status ar__pairs_open(ar_learner *l, ar_error *err);
void ar__pairs_release(ar_learner *l);
/* Before the first step and before a checkpoint is loaded: asks the reference for all that the run will use, where it will
 * not be there any more (it is the adapter, or the whole tensors, that the run begins with).  AR_ERR_INTERRUPTED as a run. */
ar_status ar__pairs_begin(ar_learner *l, ar_error *err);

/* Before a step: what the reference says, and the losses of pairs that its micro-batches part. */
void ar__pairs_measure(ar_course *c, ar_learner *const *learners, size_t count);
/* Whether the batch at work parts none. */
bool ar__pairs_are_whole(const ar_batcher *batcher);
/* Slopes of the mean over the step's pairs, for its samples [first, first + n), whose losses (and their partners') nll has. */
void ar__pairs_weigh(float *weight, const ar_learner *l, const double *nll, size_t first, size_t n);

/* Before an evaluation of n samples: what the reference says. */
void ar__pairs_ask_eval(ar_course *c, ar_learner *const *learners, size_t count, const uint32_t *list, int n);
/* Over ranks: what each was told about its run of the step's samples, and of all samples of the evaluation, in all. */
ar_status ar__pairs_gather(ar_course *c, ar_learner *l, ar_error *err);
ar_status ar__pairs_gather_eval(ar_course *c, ar_learner *l, ar_error *err);
/* Adds the verdicts on those pairs, of the course's data or eval_data. */
void ar__pairs_judge(ar_judged *sum, const ar_learner *l, const ar_dataset *data, const double *nll, const uint32_t *sample, int count);

#endif
