/* metrics.jsonl: one line a step, one an evaluation; whole lines only, cut back on resume. */
#ifndef AR_TRAIN_METRICS_H
#define AR_TRAIN_METRICS_H

#include <stdint.h>

#include "alphar/error.h"

typedef struct ar_metrics {
    int fd;
    char *path;
} ar_metrics;

/* Opens DIR/metrics.jsonl, keeping the lines of steps up to `step` (0: none). */
ar_status ar__metrics_open(ar_metrics *out, const char *dir, int64_t step, ar_error *err);
void ar__metrics_close(ar_metrics *m);
/* strength below 0: not measured at this step. */
ar_status ar__metrics_step(ar_metrics *m, int64_t step, double loss, double lr, double grad_norm, uint64_t tokens, uint64_t supervised,
                           double seconds, double strength, ar_error *err);
ar_status ar__metrics_eval(ar_metrics *m, int64_t step, double loss, ar_error *err);

#endif
