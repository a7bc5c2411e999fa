/* What ranks have to have in common before they share out work.  Each describes what it was given and what it read on a card, an object
 * whose names are those of messages; rank 0's is what the others are compared with, in its order, before anything is written. */
#ifndef AR_TRAIN_AGREE_H
#define AR_TRAIN_AGREE_H

#include <jansson.h>

#include "data/dataset.h"
#include "model/model.h"
#include "train/comm.h"

/* A card with the version on it.  Caller decrefs; NULL when memory runs out. */
json_t *ar__agree_card(void);
/* Adds the base, by architecture and fingerprint; samples, by a hash; a hash.  card NULL: nothing happens. */
ar_status ar__agree_base(json_t *card, const ar_model *m, ar_error *err);
void ar__agree_data(json_t *card, const char *name, const ar_dataset *data);
void ar__agree_hash(json_t *card, const char *name, uint64_t hash);

/* Takes the card; NULL counts as memory that ran out.  AR_ERR_MISMATCH names what differs, on the rank where it does, and ends the others;
 * CPUs that differ are a warning.  Nothing happens where nothing is shared out. */
ar_status ar__agree(ar_ranks *r, const ar_runtime *rt, json_t *card, ar_error *err);

/* Who takes part, with how many threads, and what that may be short of.  more: behind it, or "". */
void ar__agree_tell(const ar_ranks *r, const ar_runtime *rt, const char *more);

#endif
