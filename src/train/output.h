/* The output folder of a run: which folders may be taken, the lock on it, and clearing an earlier run out of one. */
#ifndef AR_TRAIN_OUTPUT_H
#define AR_TRAIN_OUTPUT_H

#include "alphar/train.h"
#include "base/lock.h"

typedef struct ar_output {
    char *dir; /* o->run.out without slashes at its end */
    ar_lock lock;
    char *found; /* the nearest folder that was there before; what lies between it and dir is this run's */
} ar_output;

#define AR_OUTPUT_NONE ((ar_output){.lock = {.fd = -1}})

/* By which a folder is known as one of a run, of a sweep. */
#define AR_RUN_RECORD "run.json"
#define AR_SWEEP_RECORD "sweep.json"

/* Makes the folder and locks it for this run, or refuses, before anything is touched, what would harm what is there:
 *   - a folder that exists, without overwrite or resume;
 *   - with either, a folder that no run of Alphar left (it has no `record` of ours), unless it is empty;
 *   - the folder of the base, and one that holds the data, the configuration or the adapter that this run reads;
 *   - one that another run is writing. */
ar_status ar__output_take(ar_output *out, const ar_train_options *o, const char *record, ar_error *err);
/* Gives the folder up, and removes those that this run made and left empty.  Safe on AR_OUTPUT_NONE. */
void ar__output_drop(ar_output *out);

/* A folder's name without slashes at its end; malloc'ed, NULL when memory runs out. */
char *ar__output_name(const char *out);

/* Removes the files that an earlier run left in o->run.out, and nothing else: what a method does not write, its run is not
 * allowed to remove either. */
ar_status ar__output_clear(const ar_train_options *o, ar_error *err);

/* After a failure before the first checkpoint: takes away what this run began. */
void ar__output_abandon(const ar_train_options *o);

#endif
