/* Which strength is best: the loss over alpha, on the task and on what should not be forgotten.
 *
 *     given    |    x     x     x*    x     x   |          one pass for all
 *     refine              |  . . .*. .  |                  five more between the neighbours of the best, and again between its own
 *
 * s = 0 is the base under the adapter's whole tensors: forgetting is measured against it. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "check/agreement.h"
#include "check/evaluation.h"
#include "train/comm.h"

#define NARROW 1e-3 /* of the values around it: closer no evaluation can tell */

typedef struct search {
    ar_strengths *out;
    const ar_strengths_options *o;
    ar_evaluation task, kept;
    bool has_kept;
    size_t cap;
} search;

static ar_status add_points(search *f, const double *values, size_t count, ar_error *err) {
    ar_strengths *out = f->out;
    ar_strength_point *grown = ar__grow(out->points, &f->cap, (size_t)out->count + count, sizeof *grown);
    if (!grown) return ar__fail_memory(err, "strengths");
    out->points = grown;
    for (size_t i = 0; i < count; i++) out->points[out->count++] = (ar_strength_point){.value = values[i], .allowed = true};
    return AR_OK;
}

/* The bound is on the mean loss of what should be kept. */
static void bound(const search *f, ar_strength_point *p) {
    if (!f->o->has_max_forgetting) return;
    p->allowed = p->retention.loss <= (1.0 + f->o->max_forgetting) * f->out->at_zero.loss;
}

static void find_best(ar_strengths *out) {
    out->best = -1;
    for (int i = 0; i < out->count; i++) {
        const ar_strength_point *p = &out->points[i];
        if (p->allowed && (out->best < 0 || p->task.loss < out->points[out->best].task.loss)) out->best = i;
    }
}

/* Measures the points from `first` on. */
static ar_status measure(search *f, const double *values, size_t count, ar_error *err) {
    ar_strengths *out = f->out;
    ar_strength_list list = {f->o->eval.alphas != NULL, values, count};
    ar_eval_result *r = ar__alloc(count, sizeof *r);
    int first = out->count;
    ar_status s = r ? add_points(f, values, count, err) : ar__fail_memory(err, "strengths");
    if (!s) s = ar__evaluation_run(&f->task, r, &list, err);
    for (size_t i = 0; !s && i < count; i++) out->points[first + (int)i].task = r[i];
    if (!s && f->has_kept) s = ar__evaluation_run(&f->kept, r, &list, err);
    for (size_t i = 0; !s && f->has_kept && i < count; i++) {
        out->points[first + (int)i].retention = r[i];
        bound(f, &out->points[first + (int)i]);
    }
    out->passes++;
    free(r);
    find_best(out);
    return s;
}

static ar_status measure_zero(search *f, ar_error *err) {
    const double zero = 0.0;
    ar_strength_list list = {.values = &zero, .count = 1};
    f->out->at_zero_known = true;
    return ar__evaluation_run(&f->kept, &f->out->at_zero, &list, err);
}

/* The values next to the best one, on both sides, or itself where there is none. */
static void neighbours(double *low, double *high, const ar_strengths *out) {
    double best = out->points[out->best].value;
    *low = *high = best;
    for (int i = 0; i < out->count; i++) {
        double x = out->points[i].value;
        if (x < best && (*low == best || x > *low)) *low = x;
        if (x > best && (*high == best || x < *high)) *high = x;
    }
}

/* A value that reads well: a multiple of the power of ten below the step. */
static double rounded(double x, double step) {
    double unit = pow(10.0, floor(log10(step)));
    return nearbyint(x / unit) * unit;
}

static bool is_known(const ar_strengths *out, double x) {
    for (int i = 0; i < out->count; i++)
        if (fabs(out->points[i].value - x) <= 1e-9 * fabs(x)) return true;
    return false;
}

/* What a round tries. */
typedef struct trial {
    double values[AR_REFINE_POINTS];
    size_t count;
    bool last; /* there is nothing left to look for */
} trial;

static trial next_trial(const ar_strengths *out) {
    trial t = {0};
    double low, high;
    t.last = out->best < 0;
    if (t.last) return t;
    neighbours(&low, &high, out);
    t.last = high - low <= NARROW * fmax(fabs(low), fabs(high));
    for (int i = 1; !t.last && i <= AR_REFINE_POINTS; i++) {
        double step = (high - low) / (AR_REFINE_POINTS + 1), x = rounded(low + step * i, step);
        if (!is_known(out, x)) t.values[t.count++] = x;
    }
    return t;
}

/* Over ranks rank 0 says what is tried: log10 of another machine may round otherwise. */
static ar_status refine(search *f, ar_error *err) {
    ar_ranks *ranks = f->o->eval.ranks;
    ar_status s = AR_OK;
    for (int round = 0; !s && round < AR_REFINE_ROUNDS; round++) {
        trial t = next_trial(f->out);
        if (ar__is_shared(ranks)) s = ar__comm_broadcast(ranks, &t, sizeof t, err);
        if (t.last) break;
        if (!s && t.count) s = measure(f, t.values, t.count, err);
    }
    return s;
}

static ar_status check(const ar_strengths_options *o, ar_error *err) {
    ar_strength_list list = ar__strength_list(&o->eval);
    bool kept = o->retention.files.count || o->retention.sample_count;
    if (!list.values || o->eval.count < 1) return ar__fail(err, AR_ERR_VALUE, "alpha or scale: no value is given");
    if (o->refine && o->eval.count < 2) return ar__fail(err, AR_ERR_USAGE, "refine: found one value, wanted two or more to look between");
    if (o->has_max_forgetting && !kept) return ar__fail(err, AR_ERR_USAGE, "max-forgetting: wanted retention with it");
    if (o->has_max_forgetting && !(o->max_forgetting >= 0.0 && isfinite(o->max_forgetting)))
        return ar__fail(err, AR_ERR_USAGE, "max-forgetting: found %g, wanted a share of at least 0", o->max_forgetting);
    return AR_OK;
}

static ar_status run(search *f, ar_session *s, ar_error *err) {
    const ar_strengths_options *o = f->o;
    ar_strength_list list = ar__strength_list(&o->eval);
    f->has_kept = o->retention.files.count || o->retention.sample_count;
    ar_status st = ar__search_agree(o, s->rt, err);
    if (!st) st = ar__evaluation_open(&f->task, s, &o->eval, "data", list.count, err);
    if (!st && f->has_kept) {
        ar_eval_options kept = o->eval;
        kept.data = o->retention;
        kept.max_length = f->task.o.max_length;
        kept.own_fields = true;
        kept.map = kept.ignore_fields = NULL;
        kept.preference = (ar_preference){0};
        kept.reference = NULL;
        st = ar__evaluation_open(&f->kept, s, &kept, "retention", list.count, err);
        if (!st) st = measure_zero(f, err);
    }
    if (!st) st = measure(f, list.values, list.count, err);
    f->out->given = f->out->count;
    if (!st && o->refine) st = refine(f, err);
    return st;
}

ar_status ar_eval_strengths(ar_strengths *out, ar_session *s, const ar_strengths_options *o, ar_error *err) {
    search f = {.out = out, .o = o};
    *out = (ar_strengths){.best = -1};
    AR_ONE_CALL(s->rt, err);
    ar_status st = check(o, err);
    if (!st) st = run(&f, s, err);
    ar__evaluation_close(&f.task);
    ar__evaluation_close(&f.kept);
    return st;
}

void ar_strengths_release(ar_strengths *s) {
    free(s->points);
    *s = (ar_strengths){.best = -1};
}
