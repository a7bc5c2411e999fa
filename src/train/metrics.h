/* What a run tells of its course: metrics.jsonl, one line a step and one an evaluation; strength.jsonl, ‖sBA‖ / ‖W‖ of each
 * site at the steps at which it is measured. */
#ifndef AR_TRAIN_METRICS_H
#define AR_TRAIN_METRICS_H

#include <stdint.h>

#include "adapter/adapter.h"
#include "alphar/error.h"
#include "train/journal.h"
#include "train/objective.h"

#define AR_METRICS_FILE "metrics.jsonl"
#define AR_STRENGTH_FILE "strength.jsonl"

typedef struct ar_metrics {
    ar_journal steps, sites; /* sites is open while a pair is measured */
} ar_metrics;

#define AR_METRICS_NONE ((ar_metrics){AR_JOURNAL_NONE, AR_JOURNAL_NONE})

/* Opens the files in DIR, keeping the lines of steps up to `step` (0: none). */
ar_status ar__metrics_open(ar_metrics *out, const char *dir, bool with_sites, int64_t step, ar_error *err);
void ar__metrics_close(ar_metrics *m); /* safe on AR_METRICS_NONE */
/* strength below 0: not measured at this step.  judged NULL: there is no objective.  uneven below 0: nor a load-balancing loss. */
ar_status ar__metrics_step(ar_metrics *m, int64_t step, double loss, double lr, double grad_norm, uint64_t tokens, uint64_t supervised,
                           double seconds, const ar_judged *judged, double uneven, double strength, ar_error *err);
/* strength [pairs of ad] */
ar_status ar__metrics_sites(ar_metrics *m, int64_t step, const ar_adapter *ad, const double *strength, ar_error *err);
ar_status ar__metrics_eval(ar_metrics *m, int64_t step, double loss, const ar_judged *judged, ar_error *err);
ar_status ar__metrics_flush(ar_metrics *m, ar_error *err);

#endif
