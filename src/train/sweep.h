/* A sweep on its way: runs over one course, and what sweep.json keeps of them. */
#ifndef AR_TRAIN_SWEEP_H
#define AR_TRAIN_SWEEP_H

#include <jansson.h>

#include "alphar/sweep.h"
#include "train/run.h"

typedef struct ar_sweep_state {
    const ar_sweep_options *o;
    ar_course course;
    ar_output output;
    const char *dir;
    ar_run *run;             /* [count]; closed where the candidate is not running */
    char **path;             /* [count] the folder of each */
    ar_candidate *candidate; /* [count] */
    int count;
    json_t *rungs; /* [{"step": [of each], "loss": [of each], "left": [indices]}] of those that were decided */
    int rung_count;
    double began;
} ar_sweep_state;

/* Writes sweep.json: settings, candidates, rungs. */
ar_status ar__sweep_record_write(const ar_sweep_state *s, ar_error *err);
/* Reads it, of the same sweep: states and losses of candidates, rungs.  Nothing happens where there is none.  AR_ERR_MISMATCH where
 * the candidates, the settings or halving are others. */
ar_status ar__sweep_record_read(ar_sweep_state *s, ar_error *err);
/* Removes what an earlier sweep left. */
ar_status ar__sweep_clear(const char *dir, ar_error *err);

#endif
