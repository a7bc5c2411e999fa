/* Meetings of a sweep's ranks (train/sweep_ranks.h): what is said there, and how a candidate's folder travels. */
#ifndef AR_TRAIN_SWEEP_MEET_H
#define AR_TRAIN_SWEEP_MEET_H

#include "train/sweep_ranks.h"

/* Numbers of a meeting: those of all candidates, and of all ranks. */
size_t ar__sweep_numbers(int candidates, int ranks);
/* Says it where more ranks than before have nothing to do. */
void ar__sweep_tell_idle(const ar_sweep_state *s);
/* Rank 0's folder of a candidate, to a helper's private one. */
ar_status ar__sweep_hand_folder(const ar_sweep_state *s, int i, int to, ar_error *err);

#endif
