/* A training on its way: the trainer, its output folder, and when what was last saved. */
#ifndef AR_TRAIN_RUN_H
#define AR_TRAIN_RUN_H

#include "train/curve.h"
#include "train/metrics.h"
#include "train/outlook.h"
#include "train/output.h"
#include "train/remarks.h"
#include "train/trainer.h"

typedef struct ar_run {
    ar_trainer t;
    const char *dir;
    ar_output output;
    ar_metrics metrics;
    double began, rate;      /* rate: tokens/s, smoothed */
    ar_pace pace;            /* of the first steps */
    int64_t saved;           /* step of the newest whole checkpoint; -1: none yet */
    double last_save, retry; /* when that was, by the clock; when to try again after a failure, 0: none */
} ar_run;

/* What can be known of the disk before the first step: a warning where the checkpoints will not fit. */
void ar__run_check_disk(const ar_run *r);
/* Writes the checkpoint of the step just done, and the card.  A disk that refuses it is a warning, and another try later:
 * what was learned is in memory. */
ar_status ar__run_save(ar_run *r, ar_error *err);
/* The same where no later try will come: tries for as long as what would be lost took to compute. */
ar_status ar__run_save_now(ar_run *r, ar_error *err);
/* When all samples are read, run.json gets what is known only now.  wait: see to it. */
ar_status ar__run_settle_data(ar_run *r, bool wait, ar_error *err);
/* The loss curve so far, what there is to say of it, and the card with both. */
ar_status ar__run_card(ar_run *r, ar_curve *curve, ar_remarks *remarks, ar_error *err);

#endif
