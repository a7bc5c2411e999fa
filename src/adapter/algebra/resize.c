/* Another rank at the same s.
 *
 *   up     A' = [A ; 0],  B' = [B | 0]: B'A' = BA to the bit
 *   down   B A = U Σ Vᵀ cut off behind the rank: B' = U √Σ, A' = √Σ Vᵀ (Eckart and Young: nothing of that rank is nearer) */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/figures.h"
#include "adapter/algebra/fit.h"
#include "base/fail.h"
#include "base/mem.h"
#include "kern/runtime.h"

struct resize {
    const ar_runtime *rt;
    ar_adapter *ad;
    ar_rank_rule rule;
    ar_fit *report;
    size_t dora_cut;
};

/* The pair gets these arrays in the place of its own; s stays, α is what gives it. */
static void replace(ar_pair *p, float *a, float *b, int rank) {
    free(p->a);
    free(p->b);
    p->a = a;
    p->b = b;
    p->rank = rank;
    p->alpha = ar__policy_alpha(p->policy, p->scale, rank);
}

static ar_status allocate(float **a, float **b, const ar_pair *p, size_t rank, ar_error *err) {
    size_t na, nb;
    *a = ar__mul(&na, rank, (size_t)p->n_in) ? ar__alloc(na, sizeof **a) : NULL;
    *b = ar__mul(&nb, rank, (size_t)p->n_out) ? ar__alloc(nb, sizeof **b) : NULL;
    if (*a && *b) return AR_OK;
    free(*a);
    free(*b);
    return ar__fail_memory(err, p->site);
}

static ar_status grow(struct resize *x, ar_pair *p, ar_error *err) {
    float *a, *b;
    size_t rank = x->rule.rank, old = (size_t)p->rank;
    ar_status s = allocate(&a, &b, p, rank, err);
    if (s) return s;
    memcpy(a, p->a, old * (size_t)p->n_in * sizeof *a);
    for (size_t i = 0; i < (size_t)p->n_out; i++) memcpy(b + i * rank, p->b + i * old, old * sizeof *b);
    replace(p, a, b, (int)rank);
    return ar__fit_add(x->report, p->site, p->rank, NULL, err);
}

/* By the rule; the very pair where that keeps all of its rank. */
static ar_status cut(struct resize *x, ar_pair *p, const ar_rank_rule *rule, bool *changed, ar_error *err) {
    ar_low_rank best;
    ar_status s = ar__low_rank_svd(&best, x->rt, p->b, p->a, (size_t)p->n_out, (size_t)p->rank, (size_t)p->n_in, rule, err);
    if (s) return ar__fail_at(err, s, p->site);
    *changed = best.rank < (size_t)p->rank;
    if (*changed) {
        replace(p, best.a, best.b, (int)best.rank);
        best.a = best.b = NULL;
        x->dora_cut += p->magnitude != NULL;
    }
    s = ar__fit_add(x->report, p->site, p->rank, *changed ? &best : NULL, err);
    ar__low_rank_release(&best);
    return s;
}

/* Into the spool, if there is one; what `keep` writes stays as narrow as it was where no number changed. */
static ar_status settle(struct resize *x, ar_pair *p, bool same_numbers, ar_error *err) {
    for (int f = 0; f < 2; f++) {
        ar_dtype type = p->stored[f].is_there ? p->stored[f].type : AR_F32;
        ar_status s = ar__factor_settle(x->ad, p, (ar_factor)f, err);
        if (s) return s;
        if (p->stored[f].is_there && same_numbers) p->stored[f].type = type;
    }
    return AR_OK;
}

static ar_status resize_pair(struct resize *x, ar_pair *p, const ar_rank_rule *rule, ar_error *err) {
    size_t wanted = rule->rank, rank = (size_t)p->rank;
    bool changed = wanted > rank;
    if (wanted == rank) return ar__fit_add(x->report, p->site, p->rank, NULL, err);
    ar_status s = ar__pair_load(x->ad, p, err);
    if (!s) s = changed ? grow(x, p, err) : cut(x, p, rule, &changed, err);
    if (!s && changed) s = settle(x, p, wanted > rank, err);
    ar__pair_unload(p);
    return s;
}

/* Pairs of one parameter have one rank: the largest that the rule asks of any. */
static ar_status resize_pairs(struct resize *x, ar_pair *p, size_t count, ar_error *err) {
    ar_rank_rule rule = x->rule;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && count > 1 && !x->rule.rank && i < count; i++) {
        ar_norms norms;
        double *sigma = ar__alloc((size_t)p[i].rank, sizeof *sigma);
        s = sigma ? ar__pair_norms(&norms, sigma, x->rt, x->ad, &p[i], err) : ar__fail_memory(err, p[i].site);
        size_t own = s ? 0 : ar__rank_for(&x->rule, sigma, (size_t)p[i].rank, 0);
        if (own > rule.rank) rule = (ar_rank_rule){.rank = own};
        free(sigma);
    }
    for (size_t i = 0; !s && i < count; i++) s = resize_pair(x, &p[i], &rule, err);
    return s;
}

static ar_status read_options(ar_rank_rule *rule, const ar_resize_options *o, ar_error *err) {
    int given = (o->to.rank != 0) + (o->to.energy != 0) + (o->to.max_error != 0);
    if (given != 1) return ar__fail(err, AR_ERR_USAGE, "resize: found %d of rank, energy and max-error, wanted one", given);
    return ar__rank_rule(rule, &o->to, err);
}

/* The defaults of the file, which its sites differ from by patterns. */
static void update_settings(ar_adapter_settings *s, int rank) {
    if (!rank) return;
    if (s->rank) s->alpha = ar__policy_alpha(s->policy, ar__policy_scale(s->policy, s->alpha, s->rank), rank);
    s->rank = rank;
}

ar_status ar_adapter_resize(ar_fit *report, ar_adapter *ad, const ar_runtime *rt, const ar_resize_options *options, ar_error *err) {
    struct resize x = {.rt = rt, .ad = ad, .report = report};
    *report = (ar_fit){0};
    AR_ONE_CALL(rt, err);
    ar_status s = read_options(&x.rule, options, err);
    if (!s && options->scratch) s = ar__adapter_use_spool(ad, options->scratch, err);
    for (size_t i = 0, n; !s && i < ad->pair_count; i += n) {
        n = ar__stack_length(ad, i);
        s = resize_pairs(&x, &ad->pair[i], n, err);
    }
    if (!s) update_settings(&ad->settings, options->to.rank);
    if (!s && x.dora_cut)
        ar__log_warn(&rt->log,
                     "%zu site%s with DoRA: the magnitude stays, so rows keep their length, and their direction follows the update that is "
                     "left",
                     x.dora_cut, x.dora_cut == 1 ? "" : "s");
    if (s) ar_fit_release(report);
    return s;
}
