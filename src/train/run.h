/* A run: a learner on its way, its output folder, and when what was last saved.  Several go on together. */
#ifndef AR_TRAIN_RUN_H
#define AR_TRAIN_RUN_H

#include "train/curve.h"
#include "train/events.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/outlook.h"
#include "train/output.h"
#include "train/remarks.h"

typedef struct ar_run {
    ar_learner learner;
    const char *dir;
    char label[32]; /* of its messages: "", of several "run-03: " */
    ar_output output;
    ar_metrics metrics;
    ar_events events;        /* of --tensorboard */
    double began, rate;      /* rate: tokens/s, smoothed */
    ar_pace pace;            /* of the first steps */
    int64_t saved;           /* step of the newest whole checkpoint; -1: none yet */
    double last_save, retry; /* when that was, by the clock; when to try again after a failure, 0: none */
    bool settled;            /* run.json says all that is known only once all samples are read */
    bool evaluated;          /* at the step just done */
} ar_run;

#define AR_RUN_NONE ((ar_run){.output = AR_OUTPUT_NONE, .metrics = AR_METRICS_NONE, .events = AR_EVENTS_NONE, .saved = -1})

/* Those that take their steps together. */
typedef struct ar_runs {
    ar_course *course;
    ar_run **run; /* [active] */
    size_t active;
    ar_learner **learner; /* [active] scratch */
} ar_runs;

/* What alpha amounts to, and what will not be learned so. */
void ar__run_say_what_to_expect(const ar_run *r);
/* Makes the folder ready, or goes on from its newest checkpoint (--resume). */
ar_status ar__run_prepare(ar_run *r, ar_error *err);
/* A step of each, with all that follows from it: strength, evaluation, metrics, progress, checkpoint.  A learner that cannot go on
 * has its status set; errors are those that end all. */
ar_status ar__runs_step(ar_runs *all, ar_error *err);
/* All steps are done, or an early stop is due, or it cannot go on. */
bool ar__run_is_done(const ar_run *r);
/* Whether an evaluation follows the step just done: every so many steps, as asked, or at an epoch's end; and behind the last. */
bool ar__run_evaluates(const ar_learner *l);
/* The result: the newest checkpoint (the best one where it was to stop early), a model, the card. */
ar_status ar__run_finish(ar_run *r, ar_train_result *result, ar_error *err);
/* Asked to stop: what was learned is kept; AR_ERR_INTERRUPTED, with how to use it and how to go on. */
ar_status ar__run_stop(ar_run *r, ar_error *err);

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
