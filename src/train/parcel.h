/* A run's folder on its way from one rank's disk to another's: what is new in it since the last time, so that the folder over there is that
 * of a run at any moment.
 *
 *     list     {"files": [[name, bytes], …], "checkpoints": [{"step": 8, "files": […]}, …], "last": […], "steps": [4, 8], "published": 8}
 *     files    the logs and run.json; each new checkpoint, under its name once all of it is there; then the adapter of `published` appears
 * in the folder, the card follows, and checkpoints that are not among `steps` go
 *
 * A list is small and may travel with others; both sides then go through it in the same order, piece by piece. */
#ifndef AR_TRAIN_PARCEL_H
#define AR_TRAIN_PARCEL_H

#include <jansson.h>

#include "train/comm.h"

/* Of the run in `dir`: its checkpoints of steps above `sent` go along (−1: all).  published: −1 where it has none.  Caller decrefs; NULL
 * when memory runs out. */
json_t *ar__parcel_list(const char *dir, int64_t sent, int64_t published);
ar_status ar__parcel_send(ar_ranks *r, int to, const char *dir, const json_t *list, ar_error *err);
/* Into `dir`, which is made where it is absent. */
ar_status ar__parcel_take(ar_ranks *r, int from, const char *dir, const json_t *list, ar_error *err);

#endif
