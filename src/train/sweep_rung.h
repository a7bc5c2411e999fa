/* Rungs of halving: at 1/2^k … 1/4, 1/2 of the steps all are evaluated, and the worse half is left behind. */
#ifndef AR_TRAIN_SWEEP_RUNG_H
#define AR_TRAIN_SWEEP_RUNG_H

#include "train/sweep_ranks.h"

/* The step at which a decided rung left the candidate behind; −1: none did. */
int64_t ar__sweep_left_at(const ar_sweep_state *s, int i);
/* The step of a run at the next rung, or its last. */
int64_t ar__sweep_limit(const ar_sweep_state *s, int i);
/* Once all running candidates are there: who goes on.  Written down first, then those who do are saved.  list: [count] scratch. */
ar_status ar__sweep_decide(ar_sweep_state *s, ar_learner **list, ar_error *err);

#endif
