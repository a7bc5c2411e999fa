/* Checkpoints: DIR/checkpoints/step-N/, a folder that appears whole or not at all (it is written under another name, synced
 * and renamed), and goes the same way.
 *
 *   adapter_config.json, adapter_model.safetensors     the adapter of step N, as PEFT loads it      (method lora)
 *   state.safetensors                                  every trainable with its moments, what is frozen, and the counters of the run
 *
 * The newest checkpoint's adapter also stands in DIR itself, so that DIR is an adapter from the first checkpoint on: the
 * weights are a link to the same file, and change their name in one step. */
#ifndef AR_TRAIN_CHECKPOINT_H
#define AR_TRAIN_CHECKPOINT_H

#include "train/learner.h"

/* Writes the checkpoint of l->step, publishes it, then drops all but the newest l->o.run.keep (and the best). */
ar_status ar__checkpoint_save(ar_learner *l, const char *dir, ar_error *err);
/* Makes the adapter of checkpoint `step` the one in DIR. */
ar_status ar__checkpoint_publish(const char *dir, int64_t step, ar_error *err);
bool ar__checkpoint_is_whole(const char *dir, int64_t step);
/* Newest whole checkpoint; -1 if there is none. */
int64_t ar__checkpoint_newest(const char *dir);
/* Values, moments and counters of checkpoint `step`. */
ar_status ar__checkpoint_load(ar_learner *l, const char *dir, int64_t step, ar_error *err);
/* The values alone: for the best evaluation. */
ar_status ar__checkpoint_load_values(ar_learner *l, const char *dir, int64_t step, ar_error *err);
/* A number of the counters in checkpoint `step`, by its key; `otherwise` where it is not there. */
double ar__checkpoint_number(const char *dir, int64_t step, const char *key, double otherwise);
/* Steps of the whole checkpoints, newest first; their number.  *out is malloc'ed. */
size_t ar__checkpoint_list(int64_t **out, const char *dir);
/* The folder of checkpoint `step`, malloc'ed; NULL when memory runs out. */
char *ar__checkpoint_folder(const char *dir, int64_t step);
/* One that comes from elsewhere: an empty folder for its files, malloc'ed; what stands there becomes checkpoint `step`. */
ar_status ar__checkpoint_receive(char **half, const char *dir, ar_error *err);
ar_status ar__checkpoint_adopt(const char *dir, int64_t step, ar_error *err);
ar_status ar__checkpoint_drop(const char *dir, int64_t step, ar_error *err);
/* Makes room on a full disk: removes all checkpoints but the newest and the best.  Whether there were any. */
bool ar__checkpoint_thin(const ar_learner *l, const char *dir);
/* Removes what a killed process left half done. */
void ar__checkpoint_sweep(const char *dir);
/* Bytes of one checkpoint on the disk, within a few kilobytes. */
int64_t ar__checkpoint_bytes(const ar_learner *l);
/* Bytes of all that are kept, with the one being written; the adapter in DIR shares theirs, a model (method full) does not. */
int64_t ar__checkpoint_room(const ar_learner *l);

#endif
