/* ar_train: one run on a course of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "train/checkpoint.h"
#include "train/run.h"

static void add(ar_error *err, const char *text) {
    size_t n = err ? strlen(err->message) : 0;
    if (err) snprintf(err->message + n, sizeof err->message - n, "%s", text);
}

/* A run that failed on its way still has its newest checkpoint. */
static void name_what_is_left(const ar_run *r, ar_error *err) {
    char text[600];
    snprintf(text, sizeof text, "; %.500s keeps the checkpoint of step %lld", r->dir, (long long)r->saved);
    if (r->saved >= 1) add(err, text);
}

static ar_status loop(ar_run *r, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_runs all = {.course = l->course, .run = &r, .learner = &l, .active = 1};
    ar_status s = AR_OK;
    while (!s && !ar__run_is_done(r)) {
        if (l->o.should_stop && l->o.should_stop(l->o.user)) return ar__run_stop(r, err);
        s = ar__runs_step(&all, err);
    }
    if (!s && l->status && err) *err = l->error;
    return s ? s : l->status;
}

ar_status ar_train(ar_train_result *result, const ar_runtime *rt, const ar_train_options *o, ar_error *err) {
    ar_run r = AR_RUN_NONE;
    ar_course c;
    *result = (ar_train_result){.eval_loss = -1.0};
    AR_ONE_CALL(rt, err);
    if (!o->run.out) return ar__fail(err, AR_ERR_VALUE, "out: not given");
    r.began = ar__clock_seconds();
    ar_status s = ar__output_take(&r.output, o, AR_RUN_RECORD, err);
    if (s) return s;
    r.dir = r.output.dir;
    if (r.output.lock.is_loose)
        ar__log_warn(&rt->log, "%s: this file system has no locks, so that nothing keeps a second run out of the folder", r.dir);

    s = ar__course_open(&c, rt, o, AR_DATA_AHEAD, err);
    if (!s) s = ar__learner_open(&r.learner, &c, o, err);
    if (s && o->run.resume && (s == AR_ERR_NOT_FOUND || s == AR_ERR_IO)) add(err, "; what has moved is given anew beside --resume");
    if (!s) ar__course_set_budget(&c);
    if (!s) s = ar__course_allocate(&c, err);
    if (!s) ar__run_say_what_to_expect(&r);
    if (!s) ar__outlook_begin(&r.learner);
    bool began = !s;
    if (!s) s = ar__run_prepare(&r, err);
    if (!s) s = loop(&r, err);
    if (!s) s = ar__run_finish(&r, result, err);

    result->steps = r.learner.step;
    result->loss = r.learner.loss;
    result->eval_loss = r.learner.eval_loss;
    result->seconds = ar__clock_seconds() - r.began;
    ar__metrics_close(&r.metrics);
    ar__events_close(&r.events);
    if (began && s && s != AR_ERR_INTERRUPTED) {
        bool disk = s == AR_ERR_IO && r.learner.step > 0; /* room can be made: the settings stay, for --resume */
        name_what_is_left(&r, err);
        if (!o->run.resume && !disk && ar__checkpoint_newest(o->run.out) < 0) ar__output_abandon(o);
    }
    ar__output_drop(&r.output);
    ar__learner_close(&r.learner);
    ar__course_close(&c);
    return s;
}
