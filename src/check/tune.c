/* ar_tune: scales as the only thing that a learner learns, over a session's base and adapter. */
#include "alphar/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "check/evaluation.h"
#include "check/losses.h"
#include "train/learner.h"

enum { HELD_OUT = 5, LOOKS = 10, TRIES = 8 };

void ar_tune_options_init(ar_tune_options *o) {
    *o = (ar_tune_options){.steps = 100, .batch = 16, .lr = 0.05, .pull = 0.1, .seed = 1};
    ar_eval_options_init(&o->eval);
}

typedef struct tuning {
    ar_session *session;
    const ar_tune_options *o;
    ar_evaluation data, test; /* what is fitted on, with all of its samples; what is not */
    ar_dataset *fit, *held;   /* their samples: parts of data where there is no test */
    bool parted;
    ar_course course;
    ar_learner learner;
    float *best; /* [groups] δ */
} tuning;

static ar_status check(const ar_session *s, const ar_tune_options *o, ar_error *err) {
    if (!s->adapter || !s->adapter->pair_count) return ar__fail(err, AR_ERR_VALUE, "adapter: found none with pairs, wanted one to tune");
    if (s->stacked) return ar__fail(err, AR_ERR_UNSUPPORTED, "adapter: found several, wanted one: combine them first (alphar combine)");
    if (o->eval.preference.objective || o->eval.alphas || o->eval.scales)
        return ar__fail(err, AR_ERR_USAGE, "tune: fits s to the loss; found an objective, or strengths");
    if (o->steps < 1 || o->batch < 1 || o->batch > 1 << 20)
        return ar__fail(err, AR_ERR_USAGE, "steps and batch: found %lld and %d, wanted at least 1", (long long)o->steps, o->batch);
    if (!(o->lr > 0.0 && o->lr <= 1.0)) return ar__fail(err, AR_ERR_USAGE, "lr: found %g, wanted above 0 and at most 1", o->lr);
    if (!(o->pull >= 0.0 && o->pull * o->lr <= 1.0)) return ar__fail(err, AR_ERR_USAGE, "pull: found %g, wanted 0 to 1/lr", o->pull);
    if (!(o->prune >= 0.0 && isfinite(o->prune)))
        return ar__fail(err, AR_ERR_USAGE, "prune: found %g, wanted a share of at least 0", o->prune);
    for (size_t i = 0; i < s->adapter->pair_count; i++)
        if (s->adapter->pair[i].scale == 0.0)
            return ar__fail(err, AR_ERR_VALUE, "site '%s': has s = 0, from which no slope leads away; give it another (alphar rescale)",
                            s->adapter->pair[i].site);
    return AR_OK;
}

static ar_status open_data(tuning *t, ar_error *err) {
    const ar_tune_options *o = t->o;
    ar_eval_options test = o->eval;
    test.data = o->test_data;
    bool apart = o->test_data.files.count || o->test_data.sample_count;
    ar_status s = ar__evaluation_open(&t->data, t->session, &o->eval, "data", 1, err);
    if (!s && apart) s = ar__evaluation_open(&t->test, t->session, &test, "test-data", TRIES, err);
    if (s || apart) {
        t->fit = t->data.data;
        t->held = t->test.data;
        return s;
    }
    t->parted = true;
    if (ar__dataset_count(t->data.data) < HELD_OUT)
        return ar__fail(err, AR_ERR_VALUE, "data: found %zu samples, wanted at least %d, of which every fifth is held out; or test-data",
                        ar__dataset_count(t->data.data), HELD_OUT);
    s = ar__dataset_part(&t->fit, t->data.data, HELD_OUT, false, err);
    return s ? s : ar__dataset_part(&t->held, t->data.data, HELD_OUT, true, err);
}

static ar_status open_learner(tuning *t, ar_error *err) {
    static const ar_scale_groups groups[] = {AR_SCALES_BY_SITE, AR_SCALES_BY_ROLE, AR_SCALES_BY_LAYER, AR_SCALES_AS_ONE};
    const ar_tune_options *o = t->o;
    ar_train_options how;
    ar_train_options_init(&how);
    how.course.max_length = t->data.o.max_length;
    how.course.pack = o->eval.pack;
    how.course.memory = o->memory;
    how.learner.steps = o->steps;
    how.learner.batch = o->batch;
    how.learner.lr = o->lr;
    how.learner.weight_decay = o->pull;
    how.learner.warmup = 0;
    how.learner.clip = 0;
    how.learner.seed = o->seed;
    ar_status s = ar__course_borrow(&t->course, t->session->rt, &how.course, t->session->model, t->fit, t->held, err);
    if (!s) s = ar__learner_open_scales(&t->learner, &t->course, &how, t->session->attachment, groups[o->groups], err);
    if (!s) ar__course_set_budget(&t->course);
    if (!s) s = ar__course_allocate(&t->course, err);
    t->best = s ? NULL : ar__alloc(t->learner.scales.count, sizeof *t->best);
    return s || t->best ? s : ar__fail_memory(err, "scales");
}

static double test_loss(tuning *t) {
    ar_learner *l = &t->learner;
    (void)ar__learners_evaluate(&t->course, &l, 1, NULL); /* fails over ranks, or with a device, which ar_tune looks at last */
    return t->learner.eval_loss;
}

/* On what was fitted on: the same, with the datasets exchanged. */
static double data_loss(tuning *t) {
    ar_course *c = &t->course;
    ar_batcher eval = c->eval_batcher;
    c->eval_batcher = c->batcher;
    c->eval_data = t->fit;
    double loss = test_loss(t);
    c->batcher = c->eval_batcher;
    c->eval_batcher = eval;
    c->eval_data = t->held;
    return loss;
}

static void take_best(tuning *t, ar_tune_result *out) {
    out->after = t->learner.eval_loss;
    out->step = t->learner.step;
    memcpy(t->best, t->learner.scales.delta, t->learner.scales.count * sizeof *t->best);
}

static ar_status fit(tuning *t, ar_tune_result *out, ar_error *err) {
    const ar_tune_options *o = t->o;
    ar_learner *l = &t->learner;
    int64_t every = o->steps / LOOKS > 0 ? o->steps / LOOKS : 1;
    ar_status s = AR_OK;
    out->data_before = data_loss(t);
    out->before = test_loss(t);
    if (!isfinite(out->before)) return ar__session_not_finite(t->session, "the loss", err);
    take_best(t, out);
    while (!s && l->step < o->steps) {
        if (o->should_stop && o->should_stop(o->user)) return ar__fail(err, AR_ERR_INTERRUPTED, "tune: stopped; nothing was written");
        s = ar__learners_step(&t->course, &l, 1, err);
        if (s || l->status) break;
        if (l->step % every == 0 || l->step == o->steps)
            if (test_loss(t) < out->after) take_best(t, out);
        ar_tune_progress p = {l->step, o->steps, l->loss, l->eval_loss};
        if (o->on_progress) o->on_progress(o->user, &p);
    }
    if (s) return s;
    if (l->status) ar__log_warn(&t->session->rt->log, "%s; the best scales before that are taken", l->error.message);
    memcpy(l->scales.delta, t->best, l->scales.count * sizeof *t->best);
    ar__scales_put(&l->scales);
    ar__learner_refresh(l);
    out->data_after = data_loss(t);
    return AR_OK;
}

/* ---- pruning ---------------------------------------------------------------------------------------------------------*/

typedef struct weak {
    size_t pair;
    double strength;
} weak;

static int by_strength(const void *a, const void *b) {
    double x = ((const weak *)a)->strength, y = ((const weak *)b)->strength;
    return (x > y) - (x < y);
}

/* The loss of the second split with the weakest `off` sites switched off; s is put back. */
static double loss_without(tuning *t, const weak *order, size_t off) {
    ar_attachment *at = t->session->attachment;
    for (size_t i = 0; i < off; i++) ar__attach_set_scale(at, t->learner.eval_ops, order[i].pair, 0.0);
    double loss = test_loss(t);
    for (size_t i = 0; i < off; i++) {
        const ar_pair *p = &t->session->adapter->pair[order[i].pair];
        ar__attach_set_scale(at, t->learner.eval_ops, order[i].pair, p->scale);
    }
    return loss;
}

/* As many of the weakest as the bound allows, by halving; a site that is off has alpha 0. */
static ar_status prune(tuning *t, ar_tune_result *out, ar_error *err) {
    const ar_runtime *rt = t->session->rt;
    ar_adapter *ad = t->session->adapter;
    size_t n = ad->pair_count, low = 0, high = n;
    double bound = (1.0 + t->o->prune) * out->after;
    weak *order = ar__alloc(n, sizeof *order);
    if (!order) return ar__fail_memory(err, "sites");
    for (size_t i = 0; i < n; i++) {
        const ar_pair *p = &ad->pair[i];
        ar_factors f = {p->a, p->b, (size_t)p->rank, (size_t)p->n_in, (size_t)p->n_out};
        double norm;
        rt->ops->update_norms(rt, &norm, &f, 1);
        order[i] = (weak){i, fabs(p->scale) * norm};
    }
    qsort(order, n, sizeof *order, by_strength);
    while (low < high) { /* low fits */
        size_t off = (low + high + 1) / 2;
        if (loss_without(t, order, off) <= bound)
            low = off;
        else
            high = off - 1;
    }
    if (low) out->after = loss_without(t, order, low);
    for (size_t i = 0; i < low; i++) {
        ar_pair *p = &ad->pair[order[i].pair];
        p->scale = p->alpha = 0.0;
        ar__attach_set_scale(t->session->attachment, t->session->attachment->ops, order[i].pair, 0.0);
        ar__attach_set_scale(t->session->attachment, t->learner.eval_ops, order[i].pair, 0.0);
        out->sites[order[i].pair].pruned = true;
    }
    out->pruned = (int)low;
    free(order);
    if (low) out->data_after = data_loss(t);
    return AR_OK;
}

/* ---- all -------------------------------------------------------------------------------------------------------------*/

static ar_status run(tuning *t, ar_tune_result *out, ar_error *err) {
    ar_adapter *ad = t->session->adapter;
    ar_status s = open_data(t, err);
    if (!s) s = open_learner(t, err);
    if (s) return s;
    out->groups = (int)t->learner.scales.count;
    out->site_count = (int)ad->pair_count;
    out->sites = ar__alloc(ad->pair_count, sizeof *out->sites);
    if (!out->sites) return ar__fail_memory(err, "sites");
    for (size_t i = 0; i < ad->pair_count; i++)
        out->sites[i] = (ar_tuned_site){.name = ad->pair[i].site, .before = ad->pair[i].scale, .group = (int)t->learner.scales.group[i]};
    out->group_name = ar__alloc((size_t)out->groups, sizeof *out->group_name);
    for (int g = 0; out->group_name && g < out->groups; g++)
        if (!(out->group_name[g] = ar__strdup(t->learner.scales.name[g]))) return ar__fail_memory(err, "sites");
    if (!out->group_name) return ar__fail_memory(err, "sites");
    s = fit(t, out, err);
    if (!s && t->o->prune > 0.0) s = prune(t, out, err);
    for (size_t i = 0; i < ad->pair_count; i++) {
        out->sites[i].after = ad->pair[i].scale;
        out->sites[i].alpha = ad->pair[i].alpha;
    }
    return s ? s : ar__session_keep_strengths(t->session, err);
}

ar_status ar_tune(ar_tune_result *out, ar_session *s, const ar_tune_options *o, ar_error *err) {
    tuning t = {.session = s, .o = o};
    *out = (ar_tune_result){0};
    AR_ONE_CALL(s->rt, err);
    ar_status st = check(s, o, err);
    if (!st) st = run(&t, out, err);
    if (!st) st = s->rt->ops->memory->settle(s->rt, err);
    ar__learner_close(&t.learner);
    ar__course_close(&t.course);
    if (t.parted) {
        ar__dataset_free(t.fit);
        ar__dataset_free(t.held);
    }
    ar__evaluation_close(&t.data);
    ar__evaluation_close(&t.test);
    free(t.best);
    return st;
}

void ar_tune_result_release(ar_tune_result *r) {
    for (int g = 0; r->group_name && g < r->groups; g++) free(r->group_name[g]);
    free(r->group_name);
    free(r->sites);
    *r = (ar_tune_result){0};
}
