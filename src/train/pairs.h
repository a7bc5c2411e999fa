/* Steps and evaluations over pairs: two samples each, 2k chosen and 2k + 1 rejected, whose losses meet in an objective. */
#ifndef AR_TRAIN_PAIRS_H
#define AR_TRAIN_PAIRS_H

#include "train/trainer.h"

/* Memory for what is known of each sample, once the data is there. */
ar_status ar__pairs_open(ar_trainer *t, ar_error *err);
void ar__pairs_release(ar_trainer *t);
/* Before the first step and before a checkpoint is loaded: asks the reference for all that the run will use, where it will
 * not be there any more (it is the adapter, or the whole tensors, that the run begins with).  AR_ERR_INTERRUPTED as a run. */
ar_status ar__pairs_begin(ar_trainer *t, ar_error *err);

/* The samples of t->samples[0..count), which are pairs, to gradients; first_key: of the first one's dropout.  Sets loss, judged. */
void ar__pairs_gradients(ar_trainer *t, int count, uint64_t first_key);
/* Over the evaluation data. */
ar_judged ar__pairs_evaluate(ar_trainer *t);

#endif
