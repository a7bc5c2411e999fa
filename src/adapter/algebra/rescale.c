/* Another alpha on purpose: s per site, optionally absorbed into B so that the update stays as it is. */
#include <math.h>
#include <stdlib.h>

#include "adapter/algebra/figures.h"
#include "adapter/targets.h"
#include "alphar/algebra.h"
#include "base/fail.h"
#include "base/mem.h"
#include "kern/runtime.h"
#include "weights/base.h"

struct rescale {
    const ar_rescale_options *o;
    const ar_runtime *rt;
    ar_adapter *ad;
    ar_base *base;
    ar_pattern_set sites;
    size_t matched, changed;
};

/* ‖W‖ / ‖BA‖ times the strength, both over `count` pairs that have one s; the old s where B·A = 0, which no scale can move. */
static ar_status scale_for_strength(double *out, const struct rescale *x, ar_pair *p, size_t count, ar_error *err) {
    double update = 0, whole = 0, weight = 0;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < count; i++) {
        ar_norms norms;
        s = ar__pair_norms(&norms, NULL, x->rt, x->ad, &p[i], err);
        if (!s) s = ar__site_weight_norm(&weight, x->base, &p[i], err);
        if (s) return s;
        update = hypot(update, norms.update);
        whole = hypot(whole, weight);
    }
    *out = update > 0 ? x->o->value * whole / update : p->scale;
    if (!s && !(update > 0))
        ar__log_warn(&x->rt->log, "site '%s': B·A is zero, so it has no strength at any scale; left as it is", p->site);
    return s;
}

static ar_status new_scale(double *out, const struct rescale *x, ar_pair *p, size_t count, ar_error *err) {
    double own = x->ad->settings.alpha, value = x->o->value;
    bool whole_file = !x->o->sites;
    switch (x->o->kind) {
    case AR_RESCALE_SCALE: *out = value; return AR_OK;
    case AR_RESCALE_FACTOR: *out = p->scale * value; return AR_OK;
    case AR_RESCALE_STRENGTH: return scale_for_strength(out, x, p, count, err);
    case AR_RESCALE_POLICY: *out = ar__policy_scale(p->policy, p->alpha, p->rank); return AR_OK;
    case AR_RESCALE_ALPHA: break;
    }
    if (whole_file && p->alpha != own && own == 0)
        return ar__fail(err, AR_ERR_VALUE,
                        "alpha: the adapter's own is 0 and site '%s' has %g, so no ratio is known; use --scale or --sites", p->site,
                        p->alpha);
    *out = ar__policy_scale(p->policy, whole_file && p->alpha != own ? p->alpha * (value / own) : value, p->rank);
    return AR_OK;
}

static ar_status absorb(struct rescale *x, ar_pair *p, double factor, ar_error *err) {
    size_t n = ar__factor_rows(p, AR_FACTOR_B) * ar__factor_columns(p, AR_FACTOR_B);
    ar_status s = ar__pair_load(x->ad, p, err);
    if (s) return s;
    for (size_t i = 0; i < n; i++) p->b[i] = (float)((double)p->b[i] * factor);
    s = ar__factor_settle(x->ad, p, AR_FACTOR_B, err);
    ar__pair_unload(p);
    return s;
}

static ar_status set_scale(struct rescale *x, ar_pair *p, double scale, ar_error *err) {
    double old = p->scale, alpha = p->alpha;
    ar_status s;
    if (!isfinite(scale)) return ar__fail(err, AR_ERR_NUMERIC, "site '%s': s would be %g, wanted a finite number", p->site, scale);
    if (x->o->keep_function && scale == 0 && old != 0)
        return ar__fail(err, AR_ERR_VALUE, "site '%s': with s = 0 no B keeps the function; use another value", p->site);
    if (x->o->keep_function && scale != old && (s = absorb(x, p, old / scale, err))) return s;
    x->changed += scale != old;
    p->scale = scale;
    p->alpha = ar__policy_alpha(p->policy, scale, p->rank);
    if (x->o->kind == AR_RESCALE_POLICY) p->alpha = alpha;
    /* The number asked for, not what comes back from division and multiplication. */
    if (x->o->kind == AR_RESCALE_ALPHA && ar__policy_scale(p->policy, x->o->value, p->rank) == scale) p->alpha = x->o->value;
    return AR_OK;
}

/* Pairs of one parameter together. */
static ar_status rescale_pairs(struct rescale *x, ar_pair *p, size_t count, ar_error *err) {
    double scale = p->scale;
    for (size_t i = 0; i < count && x->o->has_policy; i++) p[i].policy = x->o->policy;
    ar_status s = new_scale(&scale, x, p, count, err);
    for (size_t i = 0; !s && i < count; i++) s = set_scale(x, &p[i], scale, err);
    return s;
}

/* The file's defaults, which its sites differ from by patterns. */
static void set_policy(ar_adapter_settings *s, const ar_rescale_options *o) {
    if (o->kind == AR_RESCALE_FACTOR && s->rank)
        s->alpha = ar__policy_alpha(o->policy, ar__policy_scale(s->policy, s->alpha, s->rank), s->rank);
    s->policy = o->policy;
}

static ar_status rescale_all(struct rescale *x, ar_error *err) {
    for (size_t i = 0, n; i < x->ad->pair_count; i += n) {
        double hit = 0;
        n = ar__stack_length(x->ad, i);
        ar_status s = x->o->sites ? ar__pattern_set_find_site(&hit, &x->sites, x->ad->pair[i].site, err) : AR_OK;
        if (s) return s;
        if (x->o->sites && hit == 0) continue;
        x->matched++;
        if ((s = rescale_pairs(x, &x->ad->pair[i], n, err))) return s;
    }
    if (!x->matched)
        return ar__fail(err, AR_ERR_VALUE, "no site matches '%s'; the adapter has %zu, such as '%s'", x->o->sites ? x->o->sites : "",
                        x->ad->pair_count, x->ad->pair_count ? x->ad->pair[0].site : "none");
    if (!x->o->sites && x->o->has_policy) set_policy(&x->ad->settings, x->o);
    if (!x->o->sites && x->o->kind == AR_RESCALE_ALPHA) x->ad->settings.alpha = x->o->value;
    return AR_OK;
}

ar_status ar_adapter_rescale(size_t *changed, ar_adapter *ad, const ar_runtime *rt, const ar_rescale_options *options, ar_error *err) {
    struct rescale x = {.o = options, .rt = rt, .ad = ad};
    ar_patterns one = {0};
    ar_status s = AR_OK;
    AR_ONE_CALL(rt, err);
    if (!isfinite(options->value)) return ar__fail(err, AR_ERR_NUMERIC, "found %g, wanted a finite number", options->value);
    if (options->kind == AR_RESCALE_STRENGTH && !options->model)
        return ar__fail(err, AR_ERR_USAGE, "strength is measured against the base's weights, wanted --model with it");
    if (options->kind == AR_RESCALE_STRENGTH) s = ar__base_open(&x.base, options->model, err);
    if (!s && options->scratch && options->keep_function) s = ar__adapter_use_spool(ad, options->scratch, err);
    if (!s && options->sites && !ar__patterns_add(&one, options->sites, 1)) s = ar__fail_memory(err, "sites");
    if (!s && options->sites && (s = ar__pattern_set_init(&x.sites, &one, err)) == AR_ERR_VALUE)
        s = ar__fail_at(err, AR_ERR_USAGE, "sites");
    if (!s) s = rescale_all(&x, err);
    ar__pattern_set_release(&x.sites);
    ar__patterns_release(&one);
    ar__base_close(x.base);
    if (changed) *changed = x.changed;
    return s;
}
