/* ar_train: the loop around the steps, and everything that touches the output folder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/optim.h"
#include "train/output.h"
#include "train/record.h"
#include "train/trainer.h"

enum { SAVE_SECONDS = 600 };

typedef struct run {
    ar_trainer t;
    const char *dir;
    ar_metrics metrics;
    double began, last_save, rate; /* rate: tokens/s, smoothed */
} run;

static ar_status prepare_output(run *r, ar_error *err) {
    const ar_train_options *o = &r->t.o;
    bool there = ar__path_exists(r->dir);
    ar_status s = AR_OK;
    if (o->resume)
        s = ar__record_check(&r->t, r->dir, err);
    else if (there && o->overwrite)
        s = ar__output_clear(o, err);
    if (!s) s = ar__dir_make(r->dir, err);
    int64_t newest = o->resume && !s ? ar__checkpoint_newest(r->dir) : -1;
    if (!s && newest >= 0) s = ar__checkpoint_load(&r->t, r->dir, newest, err);
    if (!s && newest >= 0) ar__log_info(&r->t.rt->log, "resuming after step %lld", (long long)newest);
    if (!s && newest < 0 && o->resume && there) ar__log_info(&r->t.rt->log, "%s: no checkpoint yet, starting anew", r->dir);
    if (!s) s = ar__record_write(&r->t, r->dir, err);
    if (!s) s = ar__metrics_open(&r->metrics, r->dir, r->t.step, err);
    return s;
}

/* When all samples are read, run.json gets what is known only now.  wait: see to it. */
static ar_status settle_data(run *r, bool wait, ar_error *err) {
    ar_trainer *t = &r->t;
    if (!ar__dataset_is_reading(t->data)) return AR_OK;
    ar_status s = ar__dataset_finish(t->data, wait, &t->stats, err);
    return s || ar__dataset_is_reading(t->data) ? s : ar__record_write(t, r->dir, err);
}

/* Where there is a checkpoint there is a whole run.json, so that --resume can compare. */
static ar_status save(run *r, ar_error *err) {
    ar_status s = settle_data(r, true, err);
    if (!s) s = ar__checkpoint_save(&r->t, r->dir, err);
    r->last_save = ar__clock_seconds();
    return s;
}

/* Steps between evaluations: as asked, or one epoch. */
static bool evaluation_due(const ar_trainer *t) {
    if (!t->eval_data) return false;
    if (t->step == t->steps) return true;
    if (t->o.eval_every) return t->step % t->o.eval_every == 0;
    uint64_t before = (uint64_t)(t->step - 1) * (uint64_t)t->o.batch, after = (uint64_t)t->step * (uint64_t)t->o.batch;
    return ar__stream_epoch(&t->stream, before) != ar__stream_epoch(&t->stream, after);
}

static ar_status evaluate(run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    t->eval_loss = ar__trainer_evaluate(t);
    ar_status s = ar__metrics_eval(&r->metrics, t->step, t->eval_loss, err);
    if (s) return s;
    if (t->eval_loss < t->best_eval) {
        t->best_eval = t->eval_loss;
        t->best_step = t->step;
        t->evals_since_best = 0;
        if (t->o.early_stop) s = save(r, err); /* so that the best can be written at the end */
    } else {
        t->evals_since_best++;
    }
    return s;
}

static void report(const run *r, bool evaluated) {
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
                     .eval_loss = evaluated ? t->eval_loss : -1.0};
    t->o.on_progress(t->o.user, &p);
}

static ar_status one_step(run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    double began = ar__clock_seconds();
    ar_status s = ar__trainer_step(t, err);
    if (s) return s;
    double seconds = ar__clock_seconds() - began, now = (double)t->step_tokens / (seconds > 1e-9 ? seconds : 1e-9);
    r->rate = r->rate > 0.0 ? 0.9 * r->rate + 0.1 * now : now;
    bool measured = t->adapter && t->o.strength_every && (t->step % t->o.strength_every == 0 || t->step == t->steps);
    if (measured) t->strength = ar__trainer_strength(t);
    s = ar__metrics_step(&r->metrics, t->step, t->loss, ar__rate_at(&t->o, t->step, t->steps), t->grad_norm, t->step_tokens,
                         t->step_supervised, seconds, measured ? t->strength : -1.0, err);
    bool evaluated = !s && evaluation_due(t);
    if (evaluated) s = evaluate(r, err);
    if (!s) report(r, evaluated);
    return s;
}

static bool save_due(const run *r) {
    if (r->t.o.save_every) return r->t.step % r->t.o.save_every == 0;
    return ar__clock_seconds() - r->last_save > SAVE_SECONDS;
}

static ar_status loop(run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    ar_status s = AR_OK;
    while (!s && t->step < t->steps) {
        if (t->o.early_stop && t->evals_since_best >= t->o.early_stop) {
            ar__log_info(&t->rt->log, "step %lld: no improvement in %d evaluations; best was step %lld", (long long)t->step,
                         t->o.early_stop, (long long)t->best_step);
            break;
        }
        if (t->o.should_stop && t->o.should_stop(t->o.user)) {
            if ((s = save(r, err))) return s;
            return ar__fail(err, AR_ERR_INTERRUPTED, "%s: stopped after step %lld of %lld; a checkpoint is written, go on with --resume",
                            r->dir, (long long)t->step, (long long)t->steps);
        }
        s = one_step(r, err);
        if (!s) s = settle_data(r, false, err);
        if (!s && save_due(r)) s = save(r, err);
    }
    return s;
}

static ar_status write_result(run *r, ar_error *err) {
    ar_trainer *t = &r->t;
    ar_status s = save(r, err);
    if (!s && t->o.early_stop && t->best_step > 0 && t->best_step != t->step) {
        s = ar__checkpoint_load_values(t, r->dir, t->best_step, err);
        t->eval_loss = t->best_eval;
    }
    if (!s && t->adapter) s = ar__record_provenance(t, err);
    if (!s && t->adapter) s = ar_adapter_save(t->adapter, r->dir, true, err);
    if (!s && !t->adapter) s = ar__model_save(t->model, r->dir, t->tokenizer_path, err);
    if (!s) s = ar__record_card(t, r->dir, err);
    return s;
}

static void say_what_alpha_is(const ar_trainer *t) {
    const ar_train_options *o = &t->o;
    if (!t->adapter) return;
    double s = t->adapter->pair[0].scale, ratio = o->alpha / o->rank;
    ar__log_info(&t->rt->log, "rank %d, alpha %g (%gr)%s, s = %g, s·lr = %g, LoRA+ ratio %g", o->rank, o->alpha, ratio,
                 o->policy == AR_POLICY_RSLORA ? ", rslora" : "", s, s * o->lr, o->lr_ratio);
    if (o->rank_pattern_count && !o->alpha_pattern_count)
        ar__log_warn(&t->rt->log, "rank-pattern without alpha-pattern: s changes from site to site, since alpha stays %g", o->alpha);
    double least = s, most = s;
    for (size_t i = 0; i < t->adapter->pair_count; i++) {
        least = fmin(least, t->adapter->pair[i].scale);
        most = fmax(most, t->adapter->pair[i].scale);
    }
    if (least != most) ar__log_info(&t->rt->log, "s runs from %g to %g over %zu sites", least, most, t->adapter->pair_count);
    if (most > 8.0 || least < 0.1) ar__log_warn(&t->rt->log, "s outside 0.1 to 8 is rarely wanted: change --alpha");
}

ar_status ar_train(ar_train_result *result, const ar_runtime *rt, const ar_train_options *o, ar_error *err) {
    run r = {.dir = o->out, .metrics = {.fd = -1}, .began = ar__clock_seconds()};
    *result = (ar_train_result){.eval_loss = -1.0};
    if (!o->out) return ar__fail(err, AR_ERR_VALUE, "out: not given");
    ar_status s = ar__output_check(o, err);
    if (s) return s;
    s = ar__trainer_open(&r.t, rt, o, AR_DATA_AHEAD, err);
    if (!s) s = ar__trainer_allocate(&r.t, err);
    if (!s) say_what_alpha_is(&r.t);
    bool began = !s;
    if (!s) s = prepare_output(&r, err);
    r.last_save = ar__clock_seconds();
    if (!s) s = loop(&r, err);
    if (!s) s = write_result(&r, err);
    *result = (ar_train_result){.steps = r.t.step, .loss = r.t.loss, .eval_loss = r.t.eval_loss, .seconds = ar__clock_seconds() - r.began};
    ar__metrics_close(&r.metrics);
    if (began && s && s != AR_ERR_INTERRUPTED && !o->resume && ar__checkpoint_newest(o->out) < 0) ar__output_abandon(o);
    ar__trainer_close(&r.t);
    return s;
}
