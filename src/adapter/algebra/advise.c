/* Recipes: solving (rank, alpha, s), reading them from an adapter, moving them to another rank, and what is said of them:
 * conventions, assumptions, warnings.  The other tools' words are in advise_tools.c. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/adapter.h"
#include "adapter/algebra/advise.h"
#include "base/fail.h"
#include "base/mem.h"

static bool same(double a, double b) { return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)); }

static ar_status wrong_number(ar_error *err, const char *what, double found, const char *wanted) {
    return ar__fail(err, AR_ERR_USAGE, "%s: found %g, wanted %s", what, found, wanted);
}

static ar_status check_numbers(const ar_recipe *r, ar_error *err) {
    if (r->rank < 0) return wrong_number(err, "rank", r->rank, "at least 1");
    if (!(r->alpha >= 0.0) || isinf(r->alpha)) return wrong_number(err, "alpha", r->alpha, "a number above 0: a training needs a push");
    if (!(r->scale >= 0.0) || isinf(r->scale)) return wrong_number(err, "scale", r->scale, "a number above 0");
    if (!(r->lr >= 0.0) || isinf(r->lr)) return wrong_number(err, "lr", r->lr, "a number above 0");
    if (!(r->lr_ratio > 0.0) || isinf(r->lr_ratio)) return wrong_number(err, "lr-ratio", r->lr_ratio, "a number above 0");
    return AR_OK;
}

static ar_status solve_rank(ar_recipe *r, ar_error *err) {
    double root = r->alpha / r->scale, rank = r->policy == AR_POLICY_RSLORA ? root * root : root;
    if (!(rank > 0.5 && rank < 1e9) || !same(rank, round(rank)))
        return ar__fail(err, AR_ERR_USAGE, "alpha %g and scale %g: found rank %g by policy %s, wanted a whole number", r->alpha, r->scale,
                        rank, ar_policy_name(r->policy));
    r->rank = (int)round(rank);
    return AR_OK;
}

ar_status ar_recipe_solve(ar_recipe *r, ar_error *err) {
    ar_status s = check_numbers(r, err);
    if (s) return s;
    bool has_alpha = r->alpha > 0.0, has_scale = r->scale > 0.0;
    if (!has_alpha && !has_scale)
        return ar__fail(err, AR_ERR_USAGE,
                        "alpha: found none, wanted --alpha or --scale%s: tools have 1, 8, 16 and 2*rank for it, so a default would be a "
                        "guess",
                        r->rank ? "" : ", with --rank (or --adapter)");
    if (!r->rank && has_alpha != has_scale)
        return ar__fail(err, AR_ERR_USAGE, "rank: found none, wanted --rank: %s %g alone does not say what the other is",
                        has_alpha ? "alpha" : "scale", has_alpha ? r->alpha : r->scale);
    if (!r->rank) return solve_rank(r, err);
    double scale = has_alpha ? ar__policy_scale(r->policy, r->alpha, r->rank) : r->scale;
    if (has_scale && !same(scale, r->scale))
        return ar__fail(err, AR_ERR_USAGE, "scale: found %g, but alpha %g at rank %d gives s = %g by policy %s; leave one of them out",
                        r->scale, r->alpha, r->rank, scale, ar_policy_name(r->policy));
    if (!has_alpha) r->alpha = ar__policy_alpha(r->policy, r->scale, r->rank);
    r->scale = scale;
    return AR_OK;
}

/* ---- from an adapter ----------------------------------------------------------------------------------------- */
static int by_sites(const void *a, const void *b) {
    const ar_recipe_group *x = a, *y = b;
    return (y->sites > x->sites) - (y->sites < x->sites);
}

static void add_site(ar_recipe_group *groups, int *count, const ar_site *site) {
    for (int i = 0; i < *count; i++) {
        ar_recipe_group *g = &groups[i];
        if (g->rank == site->rank && g->alpha == site->alpha && g->policy == site->policy && g->scale == site->scale) {
            g->sites++;
            return;
        }
    }
    groups[(*count)++] = (ar_recipe_group){site->rank, site->alpha, site->scale, site->policy, 1};
}

ar_status ar_recipe_from_adapter(ar_recipe *out, ar_recipe_group **groups, int *count, const ar_adapter *ad, ar_error *err) {
    int sites = ar_adapter_site_count(ad);
    *groups = NULL;
    *count = 0;
    *out = (ar_recipe){.lr_ratio = 1.0};
    if (sites == 0) return ar__fail(err, AR_ERR_VALUE, "adapter: found no site with a pair, wanted one to advise on");
    ar_recipe_group *g = ar__alloc((size_t)sites, sizeof *g);
    if (!g) return ar__fail_memory(err, "adapter");
    for (int i = 0; i < sites; i++) {
        ar_site site = ar_adapter_site(ad, i);
        add_site(g, count, &site);
        out->dora |= site.dora;
        out->embedding |= site.embedding;
    }
    qsort(g, (size_t)*count, sizeof *g, by_sites);
    out->rank = g->rank;
    out->alpha = g->alpha;
    out->policy = g->policy;
    out->scale = g->scale;
    const char *lr = ar__adapter_note(ad, "train.lr");
    double rate = lr ? strtod(lr, NULL) : 0.0;
    if (isfinite(rate) && rate > 0.0) out->lr = rate;
    *groups = g;
    return AR_OK;
}

/* ---- another rank -------------------------------------------------------------------------------------------- */
const char *ar_keep_name(ar_keep keep) {
    static const char *const names[] = {"s", "rslora", "s-lr"};
    return names[keep];
}

ar_status ar_recipe_to_rank(ar_recipe *out, const ar_recipe *from, int rank, ar_keep keep, ar_error *err) {
    if (rank < 1) return wrong_number(err, "to-rank", rank, "at least 1");
    if (keep == AR_KEEP_SCALE_LR && !(from->lr > 0.0))
        return ar__fail(err, AR_ERR_USAGE, "keep s-lr: found no learning rate, wanted --lr: it is what changes");
    *out = *from;
    out->rank = rank;
    if (keep == AR_KEEP_SCALE_LR) {
        out->scale = ar__policy_scale(from->policy, from->alpha, rank);
        out->lr = from->lr * from->scale / out->scale;
        return AR_OK;
    }
    out->scale = keep == AR_KEEP_SCALE ? from->scale : from->scale * sqrt((double)from->rank / (double)rank);
    out->alpha =
        keep == AR_KEEP_RSLORA && from->policy == AR_POLICY_RSLORA ? from->alpha : ar__policy_alpha(from->policy, out->scale, rank);
    return AR_OK;
}

double ar_recipe_ratio(const ar_recipe *r) { return r->lr_ratio * (r->optimizer == AR_OPTIMIZER_SGD ? r->scale * r->scale : r->scale); }

/* ---- what is said of a recipe -------------------------------------------------------------------------------- */
static void say(ar_advice_note *list, int *count, const char *code, const char *format, ...) AR_PRINTF(4, 5);
static void say(ar_advice_note *list, int *count, const char *code, const char *format, ...) {
    ar_advice_note *n = &list[(*count)++];
    va_list ap;
    va_start(ap, format);
    n->code = code;
    vsnprintf(n->text, sizeof n->text, format, ap);
    va_end(ap);
}

/* By the standard alpha that gives the same s, so that an rsLoRA recipe is recognised too. */
static void find_conventions(ar_advice *a) {
    const ar_recipe *r = &a->recipe;
    double alpha = r->scale * r->rank;
    ar_advice_note *list = a->conventions;
    int *n = &a->convention_count;
    if (same(alpha, r->rank)) say(list, n, "alpha_r", "alpha = rank: s = 1 at every rank");
    if (same(alpha, 2.0 * r->rank)) say(list, n, "alpha_2r", "alpha = 2*rank: s = 2 at every rank (Alphar's and LLaMA-Factory's default)");
    if (r->rank == 8 && same(alpha, 16.0)) say(list, n, "loralib", "rank 8, alpha 16: the example of loralib, where 2*rank comes from");
    if (r->rank == 64 && same(alpha, 16.0)) say(list, n, "qlora", "rank 64, alpha 16: QLoRA's, with s = 0.25");
    if (same(alpha, 16.0)) say(list, n, "alpha_16", "alpha = 16 whatever the rank: s falls as the rank is raised");
    if (same(alpha, 32.0)) say(list, n, "alpha_32", "alpha = 32 whatever the rank: s falls as the rank is raised");
    if (same(r->lr_ratio, 16.0)) say(list, n, "loraplus", "B's rate 16 times A's: what LoRA+ recommends");
}

static void add_assumptions(ar_advice *a) {
    ar_advice_note *list = a->assumptions;
    int *n = &a->assumption_count;
    bool sgd = a->recipe.optimizer == AR_OPTIMIZER_SGD;
    say(list, n, "same_run",
        "the same base, sites, start of A, data, order, schedule and dropout, and %s in all of them; tools differ in "
        "their defaults for each",
        sgd ? "SGD" : "AdamW");
    say(list, n, "clipping", "where s differs: no gradient clipping%s", sgd ? "" : " (at norm 1, the usual default, expect a few percent)");
    if (!sgd)
        say(list, n, "epsilon",
            "where s differs: epsilon of B times s'/s, or so small that it does not matter (1e-8 as it is: about 1e-3 of "
            "the update)");
    say(list, n, "weight_decay", "where s differs: weight decay of B times %s", sgd ? "(s'/s)^2" : "s'/s");
    say(list, n, "start_of_b", "where s differs: B starts at 0, or at its start times s/s'%s",
        a->recipe.embedding ? "; the embedding sites of this adapter start with B from N(0, 1)"
                            : " (embedding sites start with B from N(0, 1))");
}

static void add_warnings(ar_advice *a) {
    if (a->recipe.scale > 8.0 || a->recipe.scale < 0.1)
        say(a->warnings, &a->warning_count, a->recipe.scale > 8.0 ? "scale_large" : "scale_small",
            "s = %g is outside 0.1 to 8, which is rarely wanted: change alpha", a->recipe.scale);
    if (a->recipe.dora)
        say(a->warnings, &a->warning_count, "dora",
            "with DoRA alpha also turns the direction of the update: after training it is no linear "
            "strength knob");
}

ar_status ar_advise(ar_advice *out, const ar_recipe *recipe, ar_error *err) {
    *out = (ar_advice){.recipe = *recipe};
    if (!(recipe->alpha > 0.0) || !(recipe->scale > 0.0) || isinf(recipe->alpha) || recipe->rank < 1 || !(recipe->lr_ratio > 0.0))
        return ar__fail(err, AR_ERR_VALUE,
                        "alpha %g at rank %d: no two tools agree on an alpha that is not above 0 (PEFT and MLX: off; "
                        "llama.cpp and kohya: s = 1; LLaMA-Factory: 2*rank); wanted one above 0",
                        recipe->alpha, recipe->rank);
    find_conventions(out);
    add_assumptions(out);
    add_warnings(out);
    ar__advise_tools(out);
    return AR_OK;
}
