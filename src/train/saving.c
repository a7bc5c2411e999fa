/* Checkpoints of a run on a disk that may be full.
 *
 *     due -> write -> fine: published, older ones dropped
 *                  -> refused: drop all older ones but the newest and the best, try once more
 *                              -> refused again: warn, train on, try again in a minute (at the end: once a second) */
#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "train/card.h"
#include "train/checkpoint.h"
#include "train/record.h"
#include "train/run.h"

#define RETRY_SECONDS 60.0
#define LEAST_PATIENCE 10.0 /* seconds */

enum { MIB = 1 << 20 };

void ar__run_check_disk(const ar_run *r) {
    const ar_train_options *o = &r->learner.o;
    int64_t one = ar__checkpoint_bytes(&r->learner), free = ar__disk_free(r->dir);
    int64_t need = ar__checkpoint_room(&r->learner);
    if (free < 0 || free >= need) return;
    ar__log_warn(
        &r->learner.course->rt->log,
        "%s: %d checkpoint%s and the next one need %.1f MiB (%.1f MiB each), the disk has %.1f MiB left; make room, or give a smaller "
        "--keep or another --out",
        r->dir, o->run.keep, o->run.keep == 1 ? "" : "s", (double)need / MIB, (double)one / MIB, (double)free / MIB);
}

ar_status ar__run_settle_data(ar_run *r, bool wait, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_course *c = l->course;
    if (r->settled) return AR_OK;
    ar_status s = ar__dataset_finish(c->data, wait, &c->stats, err);
    if (s || ar__dataset_is_reading(c->data)) return s;
    r->settled = true;
    return ar__record_write(l, r->dir, NULL, err);
}

ar_status ar__run_card(ar_run *r, ar_curve *curve, ar_remarks *remarks, ar_error *err) {
    ar_status s = ar__curve_read(curve, r->dir, r->learner.step, err);
    if (s) return s;
    ar__remarks_end(remarks, &r->learner, curve);
    return ar__card_write(&r->learner, r->dir, curve, remarks, err);
}

/* Where there is a checkpoint there is a whole run.json, so that --resume can compare, and every line of its steps. */
static ar_status write_all(ar_run *r, ar_error *err) {
    ar_curve curve = {0};
    ar_remarks remarks;
    ar_status s = ar__run_settle_data(r, true, err);
    if (!s) s = ar__metrics_flush(&r->metrics, err);
    if (!s) s = ar__checkpoint_save(&r->learner, r->dir, err);
    if (!s) s = ar__run_card(r, &curve, &remarks, err);
    ar__curve_release(&curve);
    return s;
}

static ar_status try_to_save(ar_run *r, ar_error *err) {
    if (r->saved == r->learner.step) return AR_OK;
    ar_status s = write_all(r, err);
    if (s == AR_ERR_IO && ar__checkpoint_thin(&r->learner, r->dir)) s = write_all(r, err);
    if (s) return s;
    r->saved = r->learner.step;
    r->last_save = ar__clock_seconds();
    r->retry = 0.0;
    return AR_OK;
}

ar_status ar__run_save(ar_run *r, ar_error *err) {
    ar_error own;
    ar_status s = try_to_save(r, &own);
    if (s == AR_ERR_IO) {
        r->retry = ar__clock_seconds() + RETRY_SECONDS;
        ar__log_warn(&r->learner.course->rt->log, "%s; no checkpoint of step %lld: training goes on, and tries again in a minute",
                     own.message, (long long)r->learner.step);
        return AR_OK;
    }
    if (s && err) *err = own;
    return s;
}

ar_status ar__run_save_now(ar_run *r, ar_error *err) {
    ar_error own;
    double began = ar__clock_seconds(), patience = fmax(LEAST_PATIENCE, began - r->last_save);
    ar_status s = try_to_save(r, &own);
    if (s == AR_ERR_IO)
        ar__log_warn(&r->learner.course->rt->log,
                     "%s; waiting up to %.0f seconds until that works, since what was learned is only in memory", own.message, patience);
    while (s == AR_ERR_IO && ar__clock_seconds() - began < patience) {
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        s = try_to_save(r, &own);
    }
    if (s && err) *err = own;
    return s;
}
