/* ar_train: one run on a course of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "train/checkpoint.h"
#include "train/pairs.h"
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

static ar_go next(const ar_run *r) {
    const ar_learner *l = &r->learner;
    if (ar__run_is_done(r)) return AR_GO_DONE;
    return l->o.should_stop && l->o.should_stop(l->o.user) ? AR_GO_STOP : AR_GO_STEP;
}

static ar_status loop(ar_run *r, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_runs all = {.course = l->course, .run = &r, .learner = &l, .active = 1};
    ar_go go = AR_GO_STEP;
    ar_status s = AR_OK;
    while (!s && go == AR_GO_STEP) {
        go = next(r);
        s = ar__share_go(&go, &l->course->share, err);
        if (!s && go == AR_GO_STEP) s = ar__runs_step(&all, err);
    }
    if (!s && go == AR_GO_STOP) return ar__run_stop(r, err);
    if (!s && l->status && err) *err = l->error;
    return s ? s : l->status;
}

/* The other ranks' part: the same steps and evaluations, as rank 0 says, and nothing written. */
static ar_status follow(ar_run *r, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_go go = AR_GO_STEP;
    ar_status s = ar__pairs_begin(l, err);
    if (!s) s = ar__share_state(l, err);
    while (!s && go == AR_GO_STEP) {
        s = ar__share_go(&go, &l->course->share, err);
        if (!s && go == AR_GO_STEP) s = ar__learners_step(l->course, &l, 1, err);
        if (!s && go == AR_GO_STEP && !l->status && ar__run_evaluates(l)) s = ar__learners_evaluate(l->course, &l, 1, err);
    }
    if (!s && go == AR_GO_STOP)
        s = ar__fail(err, AR_ERR_INTERRUPTED, "stopped after step %lld of %lld", (long long)l->step, (long long)l->steps);
    if (!s && l->status && err) *err = l->error;
    return s ? s : l->status;
}

static ar_status lead(ar_run *r, ar_train_result *result, ar_error *err) {
    ar_status s = ar__run_prepare(r, err);
    if (!s) s = ar__share_state(&r->learner, err);
    if (!s) s = loop(r, err);
    if (!s) s = ar__run_finish(r, result, err);
    return s;
}

static ar_status open_all(ar_run *r, ar_course *c, const ar_runtime *rt, const ar_train_options *o, ar_error *err) {
    ar_status s = ar__course_open(c, rt, o, AR_DATA_AHEAD, err);
    if (!s) s = ar__learner_open(&r->learner, c, o, err);
    if (s && o->run.resume && (s == AR_ERR_NOT_FOUND || s == AR_ERR_IO)) add(err, "; what has moved is given anew beside --resume");
    if (!s) s = ar__share_open(&r->learner, err);
    if (!s) ar__course_set_budget(c);
    if (!s) s = ar__course_allocate(c, err);
    return s;
}

/* A rank was lost in mid-step: what was learned until then is in memory. */
static void save_what_is_done(ar_run *r) {
    if (r->learner.step > 0 && r->learner.step > r->saved && !r->learner.status) ar__run_save(r, NULL);
}

ar_status ar_train(ar_train_result *result, const ar_runtime *rt, const ar_train_options *o, ar_error *err) {
    ar_run r = AR_RUN_NONE;
    ar_course c;
    *result = (ar_train_result){.eval_loss = -1.0};
    AR_ONE_CALL(rt, err);
    if (!o->run.out) return ar__fail(err, AR_ERR_VALUE, "out: not given");
    r.began = ar__clock_seconds();
    bool first = ar__is_first(o->ranks);
    ar_status s = first ? ar__output_take(&r.output, o, AR_RUN_RECORD, err) : AR_OK;
    if (s) return s;
    r.dir = first ? r.output.dir : o->run.out;
    if (r.output.lock.is_loose)
        ar__log_warn(&rt->log, "%s: this file system has no locks, so that nothing keeps a second run out of the folder", r.dir);

    s = open_all(&r, &c, rt, o, err);
    if (!s) ar__run_say_what_to_expect(&r);
    if (!s) ar__outlook_begin(&r.learner);
    bool began = !s && first;
    if (!s) s = first ? lead(&r, result, err) : follow(&r, err);
    if (began && s && ar__share_is_on(&c.share)) save_what_is_done(&r);

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
