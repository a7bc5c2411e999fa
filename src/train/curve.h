/* The loss curve of a run, read back from metrics.jsonl, so that a resumed run has all of it.
 *
 * One step's loss is one batch's: the smoothed loss at the end is the mean over the supervised tokens (with an objective over the
 * steps) of the last tenth of the steps, 50 at most; the one at the start likewise over the first. */
#ifndef AR_TRAIN_CURVE_H
#define AR_TRAIN_CURVE_H

#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

typedef struct ar_curve {
    size_t count;
    int64_t *step;
    double *loss;
    double first, last; /* smoothed, at the start and at the end; 0 where there is no step */
    double untrained;   /* of step 1, before any update; 0 where that batch has too few tokens to say */
} ar_curve;

/* The steps up to `until` in DIR/metrics.jsonl.  Caller releases, also after an error. */
ar_status ar__curve_read(ar_curve *out, const char *dir, int64_t until, ar_error *err);
void ar__curve_release(ar_curve *c);

/* At most n points, each the mean of an equal stretch of the steps; returns their number. */
size_t ar__curve_reduce(double *out, size_t n, const ar_curve *c);

#endif
