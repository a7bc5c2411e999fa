/* The runs of a sweep's candidates: their folders, opening, closing. */
#ifndef AR_TRAIN_SWEEP_RUNS_H
#define AR_TRAIN_SWEEP_RUNS_H

#include "train/sweep_ranks.h"

/* What a state has for each candidate; s->dir is known. */
ar_status ar__sweep_allocate(ar_sweep_state *s, ar_error *err);
/* Opens the course and this rank's running candidates on it, and makes their folders ready. */
ar_status ar__sweep_open_runs(ar_sweep_state *s, const ar_runtime *rt, ar_error *err);
/* Takes down where one of this rank's stands. */
void ar__sweep_note(ar_sweep_state *s, int i);
/* Gives up the folder of a candidate, and what was open of it. */
void ar__sweep_close_run(ar_run *r);

#endif
