/* Checkpoints: DIR/checkpoints/step-N/state.safetensors holds every trainable with its moments, and the counters of
 * the run; the file appears whole or not at all, so the newest one that opens is whole. */
#ifndef AR_TRAIN_CHECKPOINT_H
#define AR_TRAIN_CHECKPOINT_H

#include "train/trainer.h"

/* Writes the checkpoint of t->step, then drops all but the newest t->o.keep (and the best). */
ar_status ar__checkpoint_save(const ar_trainer *t, const char *dir, ar_error *err);
/* Newest whole checkpoint; -1 if there is none. */
int64_t ar__checkpoint_newest(const char *dir);
/* Values, moments and counters of checkpoint `step`. */
ar_status ar__checkpoint_load(ar_trainer *t, const char *dir, int64_t step, ar_error *err);
/* The values alone: for the best evaluation. */
ar_status ar__checkpoint_load_values(ar_trainer *t, const char *dir, int64_t step, ar_error *err);

#endif
