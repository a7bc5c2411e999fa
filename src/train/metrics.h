/* metrics.jsonl: one line a step, one an evaluation; cut back to whole lines on resume.  Lines that the disk has no room for
 * wait in memory: a full disk ends no run before its checkpoint has to be written. */
#ifndef AR_TRAIN_METRICS_H
#define AR_TRAIN_METRICS_H

#include <stdint.h>

#include "alphar/error.h"
#include "base/mem.h"
#include "train/objective.h"

typedef struct ar_metrics {
    int fd;
    char *path;
    ar_buf waiting; /* bytes that could not be written yet */
} ar_metrics;

/* Opens DIR/metrics.jsonl, keeping the lines of steps up to `step` (0: none). */
ar_status ar__metrics_open(ar_metrics *out, const char *dir, int64_t step, ar_error *err);
void ar__metrics_close(ar_metrics *m);
/* strength below 0: not measured at this step.  judged NULL: there is no objective. */
ar_status ar__metrics_step(ar_metrics *m, int64_t step, double loss, double lr, double grad_norm, uint64_t tokens, uint64_t supervised,
                           double seconds, const ar_judged *judged, double strength, ar_error *err);
ar_status ar__metrics_eval(ar_metrics *m, int64_t step, double loss, const ar_judged *judged, ar_error *err);
/* Writes what waits; until that succeeds no checkpoint may say that these steps are done. */
ar_status ar__metrics_flush(ar_metrics *m, ar_error *err);

#endif
