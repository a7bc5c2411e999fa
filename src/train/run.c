/* Runs on their way: what each does before the first step, between steps, and at the end. */
#include "train/run.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "train/changes.h"
#include "train/checkpoint.h"
#include "train/pairs.h"
#include "train/record.h"
#include "train/schedule.h"
#include "train/start.h"

enum { SAVE_SECONDS = 600 };

/* ---- the beginning ---------------------------------------------------------------------------------------------------*/

static ar_status go_on(ar_run *r, int64_t newest, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_status s = ar__checkpoint_load(l, r->dir, newest, err);
    if (s) return s;
    /* A kill may have come between the checkpoint and its publishing.  All that is needed to go on is in the state. */
    ar_error own;
    if (l->adapter && ar__checkpoint_publish(r->dir, newest, &own))
        ar__log_warn(&l->course->rt->log, "%s; %s holds an adapter again from the next checkpoint on", own.message, r->dir);
    r->saved = newest;
    if (l->o.run.early_stop && l->best_step > 0 && !ar__checkpoint_is_whole(r->dir, l->best_step)) {
        ar__log_warn(&l->course->rt->log, "%s: the checkpoint of the best step %lld is gone; the best is looked for from here on", r->dir,
                     (long long)l->best_step);
        l->best_eval = INFINITY;
        l->best_step = 0;
    }
    if (l->step < l->steps)
        ar__log_info(&l->course->rt->log, "%sresuming after step %lld of %lld", r->label, (long long)newest, (long long)l->steps);
    else
        ar__log_info(&l->course->rt->log, "%s: all %lld steps are done already", r->dir, (long long)l->steps);
    return AR_OK;
}

ar_status ar__run_prepare(ar_run *r, ar_error *err) {
    const ar_train_options *o = &r->learner.o;
    ar_status s = o->run.resume ? ar__record_check(&r->learner, r->dir, err) : AR_OK;
    if (!s) s = ar__pairs_begin(&r->learner, err); /* as long as the run is where it began */
    bool fresh = !o->run.resume && r->output.dir;  /* another rank's folder was cleared there */
    if (!s && fresh) ar__changes_warn_of_run(o, &r->learner.course->rt->log);
    if (!s && fresh) s = ar__output_clear(o, err);
    ar__checkpoint_sweep(r->dir);
    int64_t newest = o->run.resume && !s ? ar__checkpoint_newest(r->dir) : -1;
    if (!s && newest >= 0) s = go_on(r, newest, err);
    if (!s && newest < 0 && o->run.resume && r->output.found && strcmp(r->output.found, r->dir) == 0)
        ar__log_info(&r->learner.course->rt->log, "%s: no checkpoint yet, starting anew", r->dir);
    if (!s) s = ar__record_write(&r->learner, r->dir, NULL, err); /* first: it makes the folder one of a run */
    if (!s && newest < 0) s = ar__start_save(&r->learner, r->dir, err);
    if (!s) s = ar__metrics_open(&r->metrics, r->dir, r->learner.adapter && o->run.strength_every, r->learner.step, err);
    if (!s && o->run.tensorboard) s = ar__events_open(&r->events, r->dir, r->learner.step, err);
    if (!s) ar__run_check_disk(r);
    r->settled = !ar__dataset_is_reading(r->learner.course->data);
    r->last_save = ar__clock_seconds();
    return s;
}

static void say_what_alpha_is(const ar_run *r) {
    const ar_learner *l = &r->learner;
    const ar_train_options *o = &l->o;
    if (!l->adapter || !l->adapter->pair_count) return;
    double s = l->adapter->pair[0].scale, ratio = o->learner.alpha / o->learner.rank;
    ar__log_info(&l->course->rt->log, "%srank %d, alpha %g (%gr)%s, s = %g, s·lr = %g, LoRA+ ratio %g", r->label, o->learner.rank,
                 o->learner.alpha, ratio, o->learner.policy == AR_POLICY_RSLORA ? ", rslora" : "", s, s * o->learner.lr,
                 o->learner.lr_ratio);
    if (o->learner.rank_patterns.count && !o->learner.alpha_patterns.count)
        ar__log_warn(&l->course->rt->log, "%srank-pattern without alpha-pattern: s changes from site to site, since alpha stays %g",
                     r->label, o->learner.alpha);
    double least, most;
    ar__learner_scales(&least, &most, l);
    if (least != most)
        ar__log_info(&l->course->rt->log, "%ss runs from %g to %g over %zu sites", r->label, least, most, l->adapter->pair_count);
}

void ar__run_say_what_to_expect(const ar_run *r) {
    const ar_learner *l = &r->learner;
    ar_remarks remarks;
    say_what_alpha_is(r);
    if (l->o.learner.router_aux_loss > 0.0)
        ar__log_info(&l->course->rt->log, "%swhat trains learns to have all experts used alike: %g times the routers' load-balancing loss",
                     r->label, l->o.learner.router_aux_loss);
    ar__remarks_start(&remarks, l);
    for (int i = 0; i < remarks.count; i++) ar__log_warn(&l->course->rt->log, "%s%s", r->label, remarks.text[i]);
}

/* ---- between steps ---------------------------------------------------------------------------------------------------*/

bool ar__run_evaluates(const ar_learner *l) {
    if (!l->course->eval_data) return false;
    if (l->step == l->steps) return true;
    if (l->o.run.eval_every) return l->step % l->o.run.eval_every == 0;
    uint64_t before = (uint64_t)(l->step - 1) * (uint64_t)l->o.learner.batch, after = (uint64_t)l->step * (uint64_t)l->o.learner.batch;
    return ar__stream_epoch(&l->stream, before) != ar__stream_epoch(&l->stream, after);
}

/* The best is what the end writes, so with early stopping only what a checkpoint keeps can be it. */
static ar_status take_best(ar_run *r, ar_error *err) {
    ar_learner *l = &r->learner;
    double best_eval = l->best_eval;
    int64_t best_step = l->best_step, evals_since_best = l->evals_since_best;
    l->best_eval = l->eval_loss;
    l->best_step = l->step;
    l->evals_since_best = 0;
    if (!l->o.run.early_stop) return AR_OK;
    ar_status s = ar__run_save(r, err);
    if (s || r->saved == l->step) return s;
    ar__log_warn(&l->course->rt->log, "%sstep %lld: the best evaluation so far could not be kept, and does not count", r->label,
                 (long long)l->step);
    l->best_eval = best_eval;
    l->best_step = best_step;
    l->evals_since_best = evals_since_best + 1;
    return AR_OK;
}

static ar_status take_evaluation(ar_run *r, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_status s = ar__metrics_eval(&r->metrics, l->step, l->eval_loss, ar__has_objective(&l->o) ? &l->eval_judged : NULL, err);
    if (s) return s;
    ar__events_add(&r->events, l->step, &(ar_event_value){"eval/loss", l->eval_loss}, 1);
    if (l->eval_loss < l->best_eval) return take_best(r, err);
    l->evals_since_best++;
    return AR_OK;
}

static void report(const ar_run *r) {
    const ar_learner *l = &r->learner;
    if (!l->o.on_progress) return;
    double per_step = (double)l->step_tokens / (r->rate > 0.0 ? r->rate : 1.0);
    ar_progress p = {.step = l->step,
                     .steps = l->steps,
                     .loss = l->loss,
                     .lr = ar__rate_at(&l->o, l->step, l->steps),
                     .grad_norm = l->grad_norm,
                     .tokens_per_second = r->rate,
                     .seconds_left = per_step * (double)(l->steps - l->step),
                     .scale = l->adapter && l->adapter->pair_count ? l->attachment->ops[l->attachment->module[0]].scale : 0.0,
                     .strength = l->strength,
                     .eval_loss = r->evaluated ? l->eval_loss : -1.0,
                     .compared = ar__has_objective(&l->o),
                     .margin = l->judged.margin,
                     .accuracy = l->judged.accuracy,
                     .eval_margin = l->eval_judged.margin,
                     .eval_accuracy = l->eval_judged.accuracy};
    l->o.on_progress(l->o.user, &p);
}

static ar_status take_step(ar_run *r, double seconds, ar_error *err) {
    ar_learner *l = &r->learner;
    double now = (double)l->step_tokens / (seconds > 1e-9 ? seconds : 1e-9);
    r->rate = r->rate > 0.0 ? 0.9 * r->rate + 0.1 * now : now;
    ar__outlook_step(&r->pace, l, seconds);
    bool measured = l->adapter && l->o.run.strength_every && (l->step % l->o.run.strength_every == 0 || l->step == l->steps);
    if (measured) l->strength = ar__learner_strength(l);
    double rate = ar__rate_at(&l->o, l->step, l->steps);
    bool balanced = l->o.learner.router_aux_loss > 0.0;
    ar_event_value values[4] = {{"train/loss", l->loss}, {"train/lr", rate}};
    int count = 2;
    if (balanced) values[count++] = (ar_event_value){"train/router_aux_loss", l->uneven};
    if (measured) values[count++] = (ar_event_value){"train/strength", l->strength};
    ar__events_add(&r->events, l->step, values, count);
    ar_status s =
        ar__metrics_step(&r->metrics, l->step, l->loss, rate, l->grad_norm, l->step_tokens, l->step_supervised, seconds,
                         ar__has_objective(&l->o) ? &l->judged : NULL, balanced ? l->uneven : -1.0, measured ? l->strength : -1.0, err);
    if (!s && measured) s = ar__metrics_sites(&r->metrics, l->step, l->adapter, l->site_strength, err);
    return s;
}

static bool save_due(const ar_run *r) {
    double now = ar__clock_seconds();
    if (r->retry > 0.0) return now >= r->retry;
    if (r->learner.o.run.save_every) return r->learner.step % r->learner.o.run.save_every == 0;
    return now - r->last_save > SAVE_SECONDS;
}

/* Evaluates all that are due, at once. */
static ar_status evaluate(ar_runs *all, ar_error *err) {
    size_t due = 0;
    ar_status s = AR_OK;
    for (size_t i = 0; i < all->active; i++) {
        ar_run *r = all->run[i];
        r->evaluated = !r->learner.status && ar__run_evaluates(&r->learner);
        if (r->evaluated) all->learner[due++] = &r->learner;
    }
    if (due) s = ar__learners_evaluate(all->course, all->learner, due, err);
    for (size_t i = 0; !s && i < all->active; i++)
        if (all->run[i]->evaluated) s = take_evaluation(all->run[i], err);
    return s;
}

/* Values that no file may hold are the end of this run, not of the others. */
static ar_status own_failure(ar_run *r, ar_status s, const ar_error *own, ar_error *err) {
    if (s == AR_ERR_NUMERIC) {
        r->learner.status = s;
        r->learner.error = *own;
        return AR_OK;
    }
    if (s && err) *err = *own;
    return s;
}

ar_status ar__runs_step(ar_runs *all, ar_error *err) {
    ar_error own;
    double began = ar__clock_seconds(), tokens = 0.0;
    for (size_t i = 0; i < all->active; i++) all->learner[i] = &all->run[i]->learner;
    ar_status s = ar__learners_step(all->course, all->learner, all->active, err);
    double seconds = ar__clock_seconds() - began;
    for (size_t i = 0; i < all->active; i++) tokens += (double)all->run[i]->learner.step_tokens;
    for (size_t i = 0; !s && i < all->active; i++) {
        ar_run *r = all->run[i];
        if (!r->learner.status) s = take_step(r, seconds * (double)r->learner.step_tokens / tokens, err);
    }
    if (!s) s = evaluate(all, err);
    for (size_t i = 0; !s && i < all->active; i++) {
        ar_run *r = all->run[i];
        if (r->learner.status) continue;
        report(r);
        s = ar__run_settle_data(r, false, err);
        if (!s && save_due(r)) s = own_failure(r, ar__run_save(r, &own), &own, err);
    }
    return s;
}

bool ar__run_is_done(const ar_run *r) {
    const ar_learner *l = &r->learner;
    if (l->step >= l->steps || l->status) return true;
    if (!l->o.run.early_stop || l->evals_since_best < l->o.run.early_stop) return false;
    ar__log_info(&l->course->rt->log, "%sstep %lld: no improvement in %d evaluations; best was step %lld", r->label, (long long)l->step,
                 l->o.run.early_stop, (long long)l->best_step);
    return true;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------*/

ar_status ar__run_stop(ar_run *r, ar_error *err) {
    const ar_learner *l = &r->learner;
    ar_status s = ar__run_save_now(r, err);
    if (s) return s;
    const char *what = l->adapter ? "that folder is the adapter of this step" : "--finish writes the model of this step";
    return ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped after step %lld of %lld; %s; to go on: alphar train --resume %s", r->dir,
                    (long long)l->step, (long long)l->steps, what, r->dir);
}

ar_status ar__run_finish(ar_run *r, ar_train_result *result, ar_error *err) {
    ar_learner *l = &r->learner;
    ar_curve curve = {0};
    ar_remarks remarks;
    ar_status s = ar__run_save_now(r, err);
    if (!s && l->o.run.early_stop && l->best_step > 0) {
        if (l->best_step != l->step) s = ar__checkpoint_load_values(l, r->dir, l->best_step, err);
        if (!s && l->adapter) s = ar__checkpoint_publish(r->dir, l->best_step, err);
        l->eval_loss = l->best_eval;
    }
    ar__trainables_get(&l->list);
    if (!s && !l->adapter) s = ar__model_save(l->course->model, r->dir, l->course->tokenizer_path, err);
    if (!s) ar__learner_measure_rank(l);
    if (!s) s = ar__run_card(r, &curve, &remarks, err);
    if (!s) s = ar__record_write(l, r->dir, &remarks, err);
    for (int i = 0; !s && i < remarks.count; i++) ar__log_warn(&l->course->rt->log, "%s: %s", r->dir, remarks.text[i]);
    result->smoothed_loss = curve.last;
    result->curve_count = (int)ar__curve_reduce(result->curve, AR_CURVE_POINTS, &curve);
    ar__curve_release(&curve);
    return s;
}
