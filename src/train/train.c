/* ar_train: the loop around the steps, and everything that touches the output folder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/optim.h"
#include "train/outlook.h"
#include "train/output.h"
#include "train/pairs.h"
#include "train/record.h"
#include "train/run.h"

enum { SAVE_SECONDS = 600 };

static ar_status go_on(ar_run *r, int64_t newest, ar_error *err) {
    ar_trainer *t = &r->t;
    ar_status s = ar__checkpoint_load(t, r->dir, newest, err);
    if (s) return s;
    /* A kill may have come between the checkpoint and its publishing.  All that is needed to go on is in the state. */
    ar_error own;
    if (t->adapter && ar__checkpoint_publish(r->dir, newest, &own))
        ar__log_warn(&t->rt->log, "%s; %s holds an adapter again from the next checkpoint on", own.message, r->dir);
    r->saved = newest;
    if (t->o.run.early_stop && t->best_step > 0 && !ar__checkpoint_is_whole(r->dir, t->best_step)) {
        ar__log_warn(&t->rt->log, "%s: the checkpoint of the best step %lld is gone; the best is looked for from here on", r->dir,
                     (long long)t->best_step);
        t->best_eval = INFINITY;
        t->best_step = 0;
    }
    if (t->step < t->steps)
        ar__log_info(&t->rt->log, "resuming after step %lld of %lld", (long long)newest, (long long)t->steps);
    else
        ar__log_info(&t->rt->log, "%s: all %lld steps are done already", r->dir, (long long)t->steps);
    return AR_OK;
}

static ar_status prepare_output(ar_run *r, ar_error *err) {
    const ar_train_options *o = &r->t.o;
    ar_status s = o->run.resume ? ar__record_check(&r->t, r->dir, err) : AR_OK;
    if (!s) s = ar__pairs_begin(&r->t, err); /* as long as the run is where it began */
    if (!s && !o->run.resume) s = ar__output_clear(o, err);
    ar__checkpoint_sweep(r->dir);
    int64_t newest = o->run.resume && !s ? ar__checkpoint_newest(r->dir) : -1;
    if (!s && newest >= 0) s = go_on(r, newest, err);
    if (!s && newest < 0 && o->run.resume && strcmp(r->output.found, r->dir) == 0)
        ar__log_info(&r->t.rt->log, "%s: no checkpoint yet, starting anew", r->dir);
    if (!s) s = ar__record_write(&r->t, r->dir, err);
    if (!s) s = ar__metrics_open(&r->metrics, r->dir, r->t.step, err);
    if (!s) ar__run_check_disk(r);
    return s;
}

/* Steps between evaluations: as asked, or one epoch. */
static bool evaluation_due(const ar_trainer *t) {
    if (!t->eval_data) return false;
    if (t->step == t->steps) return true;
    if (t->o.run.eval_every) return t->step % t->o.run.eval_every == 0;
    uint64_t before = (uint64_t)(t->step - 1) * (uint64_t)t->o.learner.batch, after = (uint64_t)t->step * (uint64_t)t->o.learner.batch;
    return ar__stream_epoch(&t->stream, before) != ar__stream_epoch(&t->stream, after);
}

/* The best is what the end writes, so with early stopping only what a checkpoint keeps can be it. */
static ar_status take_best(ar_run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    double best_eval = t->best_eval;
    int64_t best_step = t->best_step, evals_since_best = t->evals_since_best;
    t->best_eval = t->eval_loss;
    t->best_step = t->step;
    t->evals_since_best = 0;
    if (!t->o.run.early_stop) return AR_OK;
    ar_status s = ar__run_save(r, err);
    if (s || r->saved == t->step) return s;
    ar__log_warn(&t->rt->log, "step %lld: the best evaluation so far could not be kept, and does not count", (long long)t->step);
    t->best_eval = best_eval;
    t->best_step = best_step;
    t->evals_since_best = evals_since_best + 1;
    return AR_OK;
}

static ar_status evaluate(ar_run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    t->eval_loss = ar__trainer_evaluate(t);
    ar_status s = ar__metrics_eval(&r->metrics, t->step, t->eval_loss, ar__has_objective(&t->o) ? &t->eval_judged : NULL, err);
    if (s) return s;
    if (t->eval_loss < t->best_eval) return take_best(r, err);
    t->evals_since_best++;
    return AR_OK;
}

static void report(const ar_run *r, bool evaluated) {
    const ar_trainer *t = &r->t;
    if (!t->o.on_progress) return;
    double per_step = (double)t->step_tokens / (r->rate > 0.0 ? r->rate : 1.0);
    ar_progress p = {.step = t->step,
                     .steps = t->steps,
                     .loss = t->loss,
                     .lr = ar__rate_at(&t->o, t->step, t->steps),
                     .grad_norm = t->grad_norm,
                     .tokens_per_second = r->rate,
                     .seconds_left = per_step * (double)(t->steps - t->step),
                     .scale = t->adapter && t->adapter->pair_count ? t->adapter->pair[0].scale : 0.0,
                     .strength = t->strength,
                     .eval_loss = evaluated ? t->eval_loss : -1.0,
                     .compared = ar__has_objective(&t->o),
                     .margin = t->judged.margin,
                     .accuracy = t->judged.accuracy,
                     .eval_margin = t->eval_judged.margin,
                     .eval_accuracy = t->eval_judged.accuracy};
    t->o.on_progress(t->o.user, &p);
}

static ar_status one_step(ar_run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    double began = ar__clock_seconds();
    ar_status s = ar__trainer_step(t, err);
    if (s) return s;
    double seconds = ar__clock_seconds() - began, now = (double)t->step_tokens / (seconds > 1e-9 ? seconds : 1e-9);
    r->rate = r->rate > 0.0 ? 0.9 * r->rate + 0.1 * now : now;
    ar__outlook_step(&r->pace, t, seconds);
    bool measured = t->adapter && t->o.run.strength_every && (t->step % t->o.run.strength_every == 0 || t->step == t->steps);
    if (measured) t->strength = ar__trainer_strength(t);
    s = ar__metrics_step(&r->metrics, t->step, t->loss, ar__rate_at(&t->o, t->step, t->steps), t->grad_norm, t->step_tokens,
                         t->step_supervised, seconds, ar__has_objective(&t->o) ? &t->judged : NULL, measured ? t->strength : -1.0, err);
    bool evaluated = !s && evaluation_due(t);
    if (evaluated) s = evaluate(r, err);
    if (!s) report(r, evaluated);
    return s;
}

static bool save_due(const ar_run *r) {
    double now = ar__clock_seconds();
    if (r->retry > 0.0) return now >= r->retry;
    if (r->t.o.run.save_every) return r->t.step % r->t.o.run.save_every == 0;
    return now - r->last_save > SAVE_SECONDS;
}

/* Asked to stop: what was learned is kept, and the message says how to use it and how to go on. */
static ar_status stop(ar_run *r, ar_error *err) {
    const ar_trainer *t = &r->t;
    ar_status s = ar__run_save_now(r, err);
    if (s) return s;
    const char *what = t->adapter ? "that folder is the adapter of this step" : "--finish writes the model of this step";
    return ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped after step %lld of %lld; %s; to go on: alphar train --resume %s", r->dir,
                    (long long)t->step, (long long)t->steps, what, r->dir);
}

static ar_status loop(ar_run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    ar_status s = AR_OK;
    while (!s && t->step < t->steps) {
        if (t->o.run.early_stop && t->evals_since_best >= t->o.run.early_stop) {
            ar__log_info(&t->rt->log, "step %lld: no improvement in %d evaluations; best was step %lld", (long long)t->step,
                         t->o.run.early_stop, (long long)t->best_step);
            break;
        }
        if (t->o.should_stop && t->o.should_stop(t->o.user)) return stop(r, err);
        s = one_step(r, err);
        if (!s) s = ar__run_settle_data(r, false, err);
        if (!s && save_due(r)) s = ar__run_save(r, err);
    }
    return s;
}

static ar_status write_result(ar_run *r, ar_train_result *result, ar_error *err) {
    ar_trainer *t = &r->t;
    ar_curve curve = {0};
    ar_remarks remarks;
    ar_status s = ar__run_save_now(r, err);
    if (!s && t->o.run.early_stop && t->best_step > 0) {
        if (t->best_step != t->step) s = ar__checkpoint_load_values(t, r->dir, t->best_step, err);
        if (!s && t->adapter) s = ar__checkpoint_publish(r->dir, t->best_step, err);
        t->eval_loss = t->best_eval;
    }
    if (!s && !t->adapter) s = ar__model_save(t->model, r->dir, t->tokenizer_path, err);
    if (!s) s = ar__run_card(r, &curve, &remarks, err);
    for (int i = 0; !s && i < remarks.count; i++) ar__log_warn(&t->rt->log, "%s: %s", r->dir, remarks.text[i]);
    result->smoothed_loss = curve.last;
    result->curve_count = (int)ar__curve_reduce(result->curve, AR_CURVE_POINTS, &curve);
    ar__curve_release(&curve);
    return s;
}

static void say_what_alpha_is(const ar_trainer *t) {
    const ar_train_options *o = &t->o;
    if (!t->adapter || !t->adapter->pair_count) return;
    double s = t->adapter->pair[0].scale, ratio = o->learner.alpha / o->learner.rank;
    ar__log_info(&t->rt->log, "rank %d, alpha %g (%gr)%s, s = %g, s·lr = %g, LoRA+ ratio %g", o->learner.rank, o->learner.alpha, ratio,
                 o->learner.policy == AR_POLICY_RSLORA ? ", rslora" : "", s, s * o->learner.lr, o->learner.lr_ratio);
    if (o->learner.rank_patterns.count && !o->learner.alpha_patterns.count)
        ar__log_warn(&t->rt->log, "rank-pattern without alpha-pattern: s changes from site to site, since alpha stays %g",
                     o->learner.alpha);
    double least = s, most = s;
    for (size_t i = 0; i < t->adapter->pair_count; i++) {
        least = fmin(least, t->adapter->pair[i].scale);
        most = fmax(most, t->adapter->pair[i].scale);
    }
    if (least != most) ar__log_info(&t->rt->log, "s runs from %g to %g over %zu sites", least, most, t->adapter->pair_count);
    if (most > 8.0 || least < 0.1) ar__log_warn(&t->rt->log, "s outside 0.1 to 8 is rarely wanted: change --alpha");
}

static void say_what_to_expect(const ar_trainer *t) {
    ar_remarks remarks;
    say_what_alpha_is(t);
    ar__remarks_start(&remarks, t);
    for (int i = 0; i < remarks.count; i++) ar__log_warn(&t->rt->log, "%s", remarks.text[i]);
}

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

ar_status ar_train(ar_train_result *result, const ar_runtime *rt, const ar_train_options *o, ar_error *err) {
    ar_run r = {.output = AR_OUTPUT_NONE, .metrics = {.fd = -1}, .began = ar__clock_seconds(), .saved = -1};
    *result = (ar_train_result){.eval_loss = -1.0};
    AR_ONE_CALL(rt, err);
    if (!o->run.out) return ar__fail(err, AR_ERR_VALUE, "out: not given");
    ar_status s = ar__output_take(&r.output, o, err);
    if (s) return s;
    r.dir = r.output.dir;
    if (r.output.lock.is_loose)
        ar__log_warn(&rt->log, "%s: this file system has no locks, so that nothing keeps a second run out of the folder", r.dir);

    s = ar__trainer_open(&r.t, rt, o, AR_DATA_AHEAD, err);
    if (s && o->run.resume && (s == AR_ERR_NOT_FOUND || s == AR_ERR_IO)) add(err, "; what has moved is given anew beside --resume");
    if (!s) s = ar__trainer_allocate(&r.t, err);
    if (!s) say_what_to_expect(&r.t);
    if (!s) ar__outlook_begin(&r.t);
    bool began = !s;
    if (!s) s = prepare_output(&r, err);
    r.last_save = ar__clock_seconds();
    if (!s) s = loop(&r, err);
    if (!s) s = write_result(&r, result, err);

    result->steps = r.t.step;
    result->loss = r.t.loss;
    result->eval_loss = r.t.eval_loss;
    result->seconds = ar__clock_seconds() - r.began;
    ar__metrics_close(&r.metrics);
    if (began && s && s != AR_ERR_INTERRUPTED) {
        bool disk = s == AR_ERR_IO && r.t.step > 0; /* room can be made: the settings stay, for --resume */
        name_what_is_left(&r, err);
        if (!o->run.resume && !disk && ar__checkpoint_newest(o->run.out) < 0) ar__output_abandon(o);
    }
    ar__output_drop(&r.output);
    ar__trainer_close(&r.t);
    return s;
}
