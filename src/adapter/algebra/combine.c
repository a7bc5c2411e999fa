/* A weighted sum of adapters, Σ wᵢ sᵢ Bᵢ Aᵢ at every site:
 *
 *     with c = wᵢ sᵢ:   A = [√|c₁| A₁ ; √|c₂| A₂ ; …]     B = [±√|c₁| B₁ | ±√|c₂| B₂ | …]     s = 1, α = r
 *
 * which is the sum itself (adding A to A and B to B would also add B₁A₂, which nobody asked for).  Each source enters with
 * its own s exactly once.  Less rank is the best approximation of that product; TIES and DARE change the dense update
 * first (combine_dense.c). */
#include "adapter/algebra/combine.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

struct combination {
    const ar_runtime *rt;
    ar_adapter *const *source;
    const double *weight;
    size_t count;
    const ar_combine_options *o;
    ar_rank_rule rule;
    ar_adapter *out;
    ar_fit *report;
    ar_combine_part *part; /* room for one site */
};

static const char *place_of(const ar_adapter *ad) { return ad->place ? ad->place : "adapter"; }

/* ---- what can be summed ------------------------------------------------------------------------------------------ */
static ar_status check_source(const ar_adapter *ad, double weight, ar_error *err) {
    const char *what = NULL, *name = NULL;
    if (!isfinite(weight)) return ar__fail(err, AR_ERR_NUMERIC, "%s: weight %g, wanted a finite number", place_of(ad), weight);
    for (size_t i = 0; i < ad->pair_count && !what; i++) {
        name = ad->pair[i].site;
        if (ad->pair[i].magnitude) what = "DoRA magnitudes, which are no part of a sum of updates";
        if (ad->pair[i].b_bias) what = "a bias on B (lora_bias), which no product of factors can hold";
    }
    if (!what && ad->whole_count) {
        what = "is saved whole, and whole tensors do not add up";
        name = ad->whole[0].name;
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' %s; merge it into its base first (alphar merge) and extract from that",
                        place_of(ad), name, what);
    }
    if (what)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: site '%s' has %s; merge it into its base first (alphar merge) and extract from that",
                        place_of(ad), name, what);
    return AR_OK;
}

static bool differ(const char *a, const char *b) { return a && b && strcmp(a, b) != 0; }

/* A known way to get twice the strength without asking for it. */
static void warn_of_repeats(const struct combination *x) {
    for (size_t i = 1; i < x->count; i++)
        for (size_t j = 0; j < i; j++)
            if (x->source[i]->place && x->source[j]->place && !strcmp(x->source[i]->place, x->source[j]->place))
                ar__log_warn(&x->rt->log, "%s is given twice: its update enters with the sum of both weights, %g", place_of(x->source[i]),
                             x->weight[i] + x->weight[j]);
}

static void warn_of_bases(const struct combination *x) {
    const ar_adapter *first = x->source[0];
    for (size_t i = 1; i < x->count; i++) {
        const ar_adapter *ad = x->source[i];
        bool same_type = !differ(ar__adapter_note(ad, "base.dtype"), ar__adapter_note(first, "base.dtype"));
        if (differ(ar__adapter_note(ad, "base.architecture"), ar__adapter_note(first, "base.architecture")) ||
            (same_type && differ(ar__adapter_note(ad, "base.weights"), ar__adapter_note(first, "base.weights"))))
            ar__log_warn(&x->rt->log, "%s was trained on another base than %s (their fingerprints differ): the sum may mean nothing",
                         place_of(ad), place_of(first));
        else if (differ(ad->settings.base, first->settings.base))
            ar__log_warn(&x->rt->log, "%s names the base '%s', %s '%s': the sum means something only if they are the same", place_of(ad),
                         ad->settings.base, place_of(first), first->settings.base);
    }
}

static ar_status check_same_shape(const ar_combine_part *a, const ar_combine_part *b, ar_error *err) {
    const ar_pair *p = a->pair, *q = b->pair;
    if (p->n_in != q->n_in || p->n_out != q->n_out || p->is_embedding != q->is_embedding || memcmp(p->kernel, q->kernel, sizeof p->kernel))
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': [%lld, %lld]%s in %s, [%lld, %lld]%s in %s", p->site, (long long)p->n_out,
                        (long long)p->n_in, p->is_embedding ? " (embedding)" : "", place_of(a->ad), (long long)q->n_out, (long long)q->n_in,
                        q->is_embedding ? " (embedding)" : "", place_of(b->ad));
    if (p->has_gguf_rows != q->has_gguf_rows)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': the rows of one source are in llama.cpp's order, and only the base says how many heads there are: give "
                        "--model or --heads H,KV",
                        p->site);
    return AR_OK;
}

/* ---- one site ----------------------------------------------------------------------------------------------------- */
static void copy_part(float *b, float *a, const ar_combine_site *site, const ar_combine_part *part, size_t at) {
    const ar_pair *p = part->pair;
    size_t r = (size_t)p->rank;
    double c = part->weight * p->scale, to_a = sqrt(fabs(c)), to_b = copysign(to_a, c);
    float *rows = a + at * site->n_in;
    for (size_t i = 0; i < r * site->n_in; i++) rows[i] = (float)(to_a * (double)p->a[i]);
    for (size_t i = 0; i < site->n_out; i++)
        for (size_t j = 0; j < r; j++) b[i * site->rank + at + j] = (float)(to_b * (double)p->b[i * r + j]);
}

/* B [n_out, rank] and A [rank, n_in] of the exact sum. */
static ar_status stack(float *b, float *a, const ar_combine_site *site, ar_error *err) {
    size_t at = 0;
    for (size_t i = 0; i < site->count; i++) {
        ar_status s = ar__pair_load(site->part[i].ad, site->part[i].pair, err);
        if (s) return s;
        copy_part(b, a, site, &site->part[i], at);
        at += (size_t)site->part[i].pair->rank;
        ar__pair_unload(site->part[i].pair);
    }
    return AR_OK;
}

static ar_status add_pair(ar_pair **out, struct combination *x, const ar_combine_site *site, size_t rank, ar_error *err) {
    ar_pair_shape shape = ar__pair_shape_of(site->part[0].pair);
    shape.rank = (int)rank;
    shape.alpha = (double)rank;
    shape.policy = AR_POLICY_STANDARD;
    return ar__adapter_add_pair(out, x->out, &shape, err);
}

static ar_status combine_exactly(struct combination *x, const ar_combine_site *site, ar_error *err) {
    ar_pair *p;
    ar_status s = add_pair(&p, x, site, site->rank, err);
    if (!s) s = stack(p->b, p->a, site, err);
    if (!s) s = ar__fit_add(x->report, p->site, p->rank, NULL, err);
    return s ? s : ar__pair_settle(x->out, p, err);
}

static ar_status best_of_stack(ar_low_rank *best, struct combination *x, const ar_combine_site *site, ar_error *err) {
    size_t na, nb;
    float *a = ar__mul(&na, site->rank, site->n_in) ? ar__alloc(na, sizeof *a) : NULL;
    float *b = ar__mul(&nb, site->rank, site->n_out) ? ar__alloc(nb, sizeof *b) : NULL;
    ar_status s = a && b ? stack(b, a, site, err) : ar__fail_memory(err, site->name);
    if (!s) s = ar__low_rank_svd(best, x->rt, b, a, site->n_out, site->rank, site->n_in, &x->rule, err);
    free(a);
    free(b);
    return s ? ar__fail_at(err, s, site->name) : AR_OK;
}

/* A rank that was asked for is the rank that comes, with zeros where the sum has less (as PEFT's svd has it); no rank is
 * more than the matrix can have. */
static size_t rank_to_write(const struct combination *x, const ar_combine_site *site, const ar_low_rank *best) {
    bool exact = x->rule.rank && x->rule.energy == 0.0 && x->rule.max_error == 0.0 && x->o->method != AR_COMBINE_CONCAT;
    size_t most = site->n_out < site->n_in ? site->n_out : site->n_in;
    return !exact ? best->rank : x->rule.rank < most ? x->rule.rank : most;
}

static ar_status combine_best(struct combination *x, const ar_combine_site *site, ar_error *err) {
    ar_low_rank best = {0};
    ar_pair *p;
    bool dense = x->o->method == AR_COMBINE_TIES || x->o->method == AR_COMBINE_DARE;
    ar_status s = dense ? ar__combine_dense(&best, x->rt, site, x->o, &x->rule, err) : best_of_stack(&best, x, site, err);
    if (s) return s;
    if (!(s = add_pair(&p, x, site, rank_to_write(x, site, &best), err))) {
        ar__pair_fill(p, &best, &(ar_fill){1.0, 1.0, false});
        s = ar__fit_add(x->report, p->site, p->rank, &best, err);
    }
    ar__low_rank_release(&best);
    return s ? s : ar__pair_settle(x->out, p, err);
}

static ar_status combine_site(struct combination *x, const char *name, ar_error *err) {
    ar_combine_site site = {.name = name, .part = x->part};
    for (size_t i = 0; i < x->count; i++) {
        ar_pair *p = ar__adapter_find_pair(x->source[i], name);
        if (!p) continue;
        site.part[site.count] = (ar_combine_part){x->source[i], p, i, x->weight[i]};
        ar_status s = check_same_shape(&site.part[0], &site.part[site.count], err);
        if (s) return s;
        site.count++;
        site.rank += (size_t)p->rank;
    }
    site.n_out = (size_t)site.part[0].pair->n_out;
    site.n_in = (size_t)site.part[0].pair->n_in;
    if (site.rank > INT_MAX) return ar__fail(err, AR_ERR_VALUE, "site '%s': the ranks add up to %zu, which is too much", name, site.rank);
    bool exact = x->o->method == AR_COMBINE_CONCAT && x->rule.energy == 0.0 && (x->rule.rank == 0 || x->rule.rank >= site.rank);
    return exact ? combine_exactly(x, &site, err) : combine_best(x, &site, err);
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */
/* Notes on the base that no source contradicts, and on the form of the prompts where all say the same. */
static ar_status copy_notes(struct combination *x, ar_error *err) {
    const ar_adapter *first = x->source[0];
    for (size_t i = 0; i < first->note_keys.count; i++) {
        const char *key = first->note_keys.at[i], *value = first->note_values.at[i];
        bool of_data = !strncmp(key, "data.", 5), agreed = of_data || !strncmp(key, "base.", 5);
        for (size_t j = 1; agreed && j < x->count; j++) {
            const char *other = ar__adapter_note(x->source[j], key);
            agreed = !differ(other, value) && (other || !of_data);
        }
        if (!agreed && !strcmp(key, AR_NOTE_FORM))
            ar__log_warn(&x->rt->log,
                         "the adapters were not all trained on the form '%s': the sum keeps none, and prompts go as they stand", value);
        ar_status s = agreed ? ar__adapter_set_note(x->out, key, value, err) : AR_OK;
        if (s) return s;
    }
    return AR_OK;
}

/* The first source's; where others have more sites, its way of naming them would not fit, and the sites name themselves. */
static ar_status copy_settings(struct combination *x, ar_error *err) {
    const ar_adapter_settings *from = &x->source[0]->settings;
    ar_adapter_settings *to = &x->out->settings;
    x->out->format = x->source[0]->format;
    if (x->out->pair_count == x->source[0]->pair_count) {
        ar__settings_release(to);
        if (!ar__settings_copy(to, from)) return ar__fail_memory(err, "adapter");
    } else {
        to->base = from->base ? ar__strdup(from->base) : NULL;
        to->task_type = from->task_type ? ar__strdup(from->task_type) : NULL;
        to->fan_in_fan_out = from->fan_in_fan_out;
        if ((from->base && !to->base) || (from->task_type && !to->task_type)) return ar__fail_memory(err, "adapter");
    }
    to->policy = AR_POLICY_STANDARD;
    to->rank = x->out->pair_count ? x->out->pair[0].rank : 0;
    to->alpha = to->rank;
    return copy_notes(x, err);
}

static ar_status combine_all(struct combination *x, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < x->count; i++) s = check_source(x->source[i], x->weight[i], err);
    for (size_t i = 0; !s && i < x->count; i++) s = ar__adapter_copy_inputs(x->out, x->source[i], err);
    if (!s) warn_of_bases(x);
    if (!s) warn_of_repeats(x);
    if (!s && x->o->scratch) s = ar__adapter_use_spool(x->out, x->o->scratch, err);
    for (size_t i = 0; i < x->count; i++)
        for (size_t j = 0; !s && j < x->source[i]->pair_count; j++)
            if (!ar__adapter_find_pair(x->out, x->source[i]->pair[j].site)) s = combine_site(x, x->source[i]->pair[j].site, err);
    return s ? s : copy_settings(x, err);
}

static ar_status read_options(struct combination *x, ar_error *err) {
    const ar_combine_options *o = x->o;
    bool dense = o->method == AR_COMBINE_TIES || o->method == AR_COMBINE_DARE;
    if (x->count == 0) return ar__fail(err, AR_ERR_USAGE, "combine: no adapter, wanted at least one");
    if (o->method != AR_COMBINE_CONCAT && o->to.rank == 0 && o->to.energy == 0)
        return ar__fail(err, AR_ERR_USAGE,
                        "combine: found neither rank nor energy, wanted one: all methods but concat end in a low-rank fit");
    if (!dense && o->density != 0) return ar__fail(err, AR_ERR_USAGE, "combine: density is for ties and dare alone");
    if (!(o->density >= 0 && o->density <= 1))
        return ar__fail(err, AR_ERR_VALUE, "density: found %g, wanted a share above 0 and at most 1", o->density);
    return ar__rank_rule(&x->rule, &o->to, err);
}

ar_status ar_adapters_combine(ar_adapter **out, ar_fit *report, ar_adapter *const *sources, const double *weights, size_t count,
                              const ar_runtime *rt, const ar_combine_options *options, ar_error *err) {
    struct combination x = {.rt = rt, .source = sources, .weight = weights, .count = count, .o = options, .report = report};
    *out = NULL;
    *report = (ar_fit){0};
    AR_ONE_CALL(rt, err);
    ar_status s = read_options(&x, err);
    if (!s && !(x.part = ar__alloc(count, sizeof *x.part))) s = ar__fail_memory(err, "adapters");
    if (!s) s = ar__adapter_new(&x.out, err);
    if (!s) s = combine_all(&x, err);
    free(x.part);
    if (s) {
        ar_adapter_free(x.out);
        ar_fit_release(report);
        return s;
    }
    *out = x.out;
    return AR_OK;
}
