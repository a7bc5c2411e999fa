/* The output folder of a run: which folders may be taken, and clearing an earlier run out of one. */
#ifndef AR_TRAIN_OUTPUT_H
#define AR_TRAIN_OUTPUT_H

#include "alphar/train.h"

/* Refuses, before anything is touched, an output that would harm what is there:
 *   - a folder that exists, without overwrite or resume;
 *   - with either, a folder that no run of Alphar left (it has no run.json of ours), unless it is empty;
 *   - the folder of the base, and one that holds the data, the configuration or the adapter that this run reads. */
ar_status ar__output_check(const ar_train_options *o, ar_error *err);

/* Removes the files that an earlier run left in o->out, and nothing else: what a method does not write, its run is not
 * allowed to remove either. */
ar_status ar__output_clear(const ar_train_options *o, ar_error *err);

/* After a failure before the first checkpoint: takes away what this run began. */
void ar__output_abandon(const ar_train_options *o);

#endif
