/* Building and changing an adapter in memory; the two policies. */
#include "adapter/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/site_name.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/rng.h"

const char *ar_policy_name(ar_policy policy) { return policy == AR_POLICY_RSLORA ? "rslora" : "standard"; }

static double divisor(ar_policy policy, int rank) { return policy == AR_POLICY_RSLORA ? sqrt((double)rank) : (double)rank; }

double ar__policy_scale(ar_policy policy, double alpha, int rank) { return alpha / divisor(policy, rank); }

double ar__policy_alpha(ar_policy policy, double scale, int rank) { return scale * divisor(policy, rank); }

ar_status ar__adapter_new(ar_adapter **out, ar_error *err) {
    ar_adapter *ad = ar__alloc(1, sizeof *ad);
    *out = ad;
    if (!ad) return ar__fail_memory(err, "adapter");
    ad->format = "peft";
    ar__settings_init(&ad->settings);
    return AR_OK;
}

static void pair_release(ar_pair *p) {
    free(p->site);
    free(p->key);
    free(p->a);
    free(p->b);
    free(p->magnitude);
    free(p->b_bias);
}

static void whole_release(ar_whole *w) {
    free(w->name);
    free(w->data);
}

void ar_adapter_free(ar_adapter *ad) {
    if (!ad) return;
    for (size_t i = 0; i < ad->pair_count; i++) pair_release(&ad->pair[i]);
    for (size_t i = 0; i < ad->whole_count; i++) whole_release(&ad->whole[i]);
    free(ad->pair);
    free(ad->whole);
    ar__settings_release(&ad->settings);
    ar__strings_release(&ad->note_keys);
    ar__strings_release(&ad->note_values);
    ar__strings_release(&ad->inputs);
    ar__spool_free(ad->spool);
    while (ad->kept_count) {
        struct ar_kept *k = &ad->kept[--ad->kept_count];
        k->close(k->handle);
    }
    free(ad->kept);
    free(ad->place);
    free(ad);
}

/* rows * columns zeroed floats; NULL on overflow too. */
static float *matrix(int64_t rows, int64_t columns) {
    size_t n;
    return ar__mul(&n, (size_t)rows, (size_t)columns) ? ar__alloc(n, sizeof(float)) : NULL;
}

static ar_status check_shape(const ar_pair_shape *s, ar_error *err) {
    for (const char *p = s->site; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return ar__fail(err, AR_ERR_FORMAT, "site '%s': a control character in the name", s->site);
    if (s->rank < 1) return ar__fail(err, AR_ERR_VALUE, "site '%s': rank %d, wanted at least 1", s->site, s->rank);
    if (s->n_in < 1 || s->n_out < 1)
        return ar__fail(err, AR_ERR_VALUE, "site '%s': shape [%lld, %lld], wanted positive sizes", s->site, (long long)s->n_out,
                        (long long)s->n_in);
    if (!isfinite(s->alpha)) return ar__fail(err, AR_ERR_NUMERIC, "site '%s': alpha %g, wanted a finite number", s->site, s->alpha);
    return AR_OK;
}

ar_status ar__adapter_add_stored(ar_pair **out, ar_adapter *ad, const ar_pair_shape *shape, ar_error *err) {
    ar_status s = check_shape(shape, err);
    if (s) return s;
    ar_pair *list = ar__grow(ad->pair, &ad->pair_cap, ad->pair_count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, shape->site);
    ad->pair = list;
    ar_pair p = {.site = ar__strdup(shape->site), .n_in = shape->n_in, .n_out = shape->n_out, .rank = shape->rank, .alpha = shape->alpha};
    p.policy = shape->policy;
    p.scale = ar__policy_scale(p.policy, p.alpha, p.rank);
    p.is_embedding = shape->is_embedding;
    p.has_gguf_rows = shape->has_gguf_rows;
    p.expert = shape->expert;
    p.experts = shape->experts;
    p.is_apart = shape->is_apart;
    memcpy(p.kernel, shape->kernel, sizeof p.kernel);
    if (shape->key) p.key = ar__strdup(shape->key);
    if (shape->dora) p.magnitude = matrix(1, p.n_out);
    if (shape->b_bias) p.b_bias = matrix(1, p.n_out);
    if (!p.site || (shape->key && !p.key) || (shape->dora && !p.magnitude) || (shape->b_bias && !p.b_bias)) {
        pair_release(&p);
        return ar__fail_memory(err, shape->site);
    }
    list[ad->pair_count] = p;
    *out = &list[ad->pair_count++];
    return AR_OK;
}

ar_status ar__adapter_add_pair(ar_pair **out, ar_adapter *ad, const ar_pair_shape *shape, ar_error *err) {
    ar_pair *p;
    ar_status s = ar__adapter_add_stored(&p, ad, shape, err);
    if (s) return s;
    p->a = matrix(p->rank, p->n_in);
    p->b = matrix(p->n_out, p->rank);
    if (!p->a || !p->b) {
        pair_release(p);
        ad->pair_count--;
        return ar__fail_memory(err, shape->site);
    }
    if (out) *out = p;
    return AR_OK;
}

ar_pair_shape ar__pair_shape_of(const ar_pair *p) {
    return (ar_pair_shape){.site = p->site,
                           .key = p->key,
                           .n_in = p->n_in,
                           .n_out = p->n_out,
                           .kernel = {p->kernel[0], p->kernel[1]},
                           .rank = p->rank,
                           .expert = p->expert,
                           .experts = p->experts,
                           .is_apart = p->is_apart,
                           .alpha = p->alpha,
                           .policy = p->policy,
                           .is_embedding = p->is_embedding,
                           .has_gguf_rows = p->has_gguf_rows,
                           .dora = p->magnitude != NULL,
                           .b_bias = p->b_bias != NULL};
}

size_t ar__stack_length(const ar_adapter *ad, size_t i) {
    const ar_pair *first = &ad->pair[i];
    size_t n = (size_t)first->experts;
    if (!ar__pair_in_stack(first) || first->expert || n > ad->pair_count - i) return 1;
    size_t stem = (size_t)(strrchr(first->site, '[') - first->site) + 1;
    for (size_t k = 1; k < n; k++)
        if (!ar__pair_in_stack(&first[k]) || first[k].expert != (int)k || strncmp(first[k].site, first->site, stem) != 0) return 1;
    return n;
}

ar_status ar__adapter_keep(ar_adapter *ad, void *handle, void (*close)(void *handle), ar_error *err) {
    struct ar_kept *list = ar__grow(ad->kept, &ad->kept_cap, ad->kept_count + 1, sizeof *list);
    if (!list) {
        close(handle);
        return ar__fail_memory(err, "adapter");
    }
    ad->kept = list;
    list[ad->kept_count++] = (struct ar_kept){handle, close};
    return AR_OK;
}

ar_status ar__adapter_add_whole_stored(ar_whole **out, ar_adapter *ad, const char *name, int dims, const int64_t *shape, ar_error *err) {
    ar_whole w = {.dims = dims, .count = 1};
    if (dims < 0 || dims > (int)(sizeof w.shape / sizeof *w.shape))
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': %d dimensions, wanted at most 8", name, dims);
    for (int i = 0; i < dims; i++) {
        w.shape[i] = shape[i];
        if (shape[i] < 0 || !ar__mul(&w.count, w.count, (size_t)shape[i]))
            return ar__fail(err, AR_ERR_VALUE, "tensor '%s': impossible shape", name);
    }
    ar_whole *list = ar__grow(ad->whole, &ad->whole_cap, ad->whole_count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, name);
    ad->whole = list;
    w.name = ar__strdup(name);
    if (!w.name) return ar__fail_memory(err, name);
    list[ad->whole_count] = w;
    *out = &list[ad->whole_count++];
    return AR_OK;
}

ar_status ar__adapter_add_whole(ar_whole **out, ar_adapter *ad, const char *name, int dims, const int64_t *shape, ar_error *err) {
    ar_whole *w;
    ar_status s = ar__adapter_add_whole_stored(&w, ad, name, dims, shape, err);
    if (s) return s;
    w->data = ar__alloc(w->count, sizeof *w->data);
    if (!w->data) {
        whole_release(w);
        ad->whole_count--;
        return ar__fail_memory(err, name);
    }
    if (out) *out = w;
    return AR_OK;
}

ar_pair *ar__adapter_find_pair(const ar_adapter *ad, const char *site) {
    for (size_t i = 0; i < ad->pair_count; i++)
        if (!strcmp(ad->pair[i].site, site)) return &ad->pair[i];
    for (size_t i = 0; i < ad->pair_count; i++)
        if (ar__site_is_same(ad->pair[i].site, site)) return &ad->pair[i];
    return NULL;
}

ar_whole *ar__adapter_find_whole(const ar_adapter *ad, const char *name) {
    for (size_t i = 0; i < ad->whole_count; i++)
        if (!strcmp(ad->whole[i].name, name)) return &ad->whole[i];
    for (size_t i = 0; i < ad->whole_count; i++)
        if (ar__site_is_same(ad->whole[i].name, name)) return &ad->whole[i];
    return NULL;
}

ar_status ar__adapter_set_note(ar_adapter *ad, const char *key, const char *value, ar_error *err) {
    for (size_t i = 0; i < ad->note_keys.count; i++) {
        if (strcmp(ad->note_keys.at[i], key)) continue;
        char *copy = ar__strdup(value);
        if (!copy) return ar__fail_memory(err, key);
        free(ad->note_values.at[i]);
        ad->note_values.at[i] = copy;
        return AR_OK;
    }
    /* The value first: a key is only ever seen with its value. */
    if (!ar__strings_add(&ad->note_values, value)) return ar__fail_memory(err, key);
    if (ar__strings_add(&ad->note_keys, key)) return AR_OK;
    free(ad->note_values.at[--ad->note_values.count]);
    return ar__fail_memory(err, key);
}

const char *ar__adapter_note(const ar_adapter *ad, const char *key) {
    for (size_t i = 0; i < ad->note_keys.count; i++)
        if (!strcmp(ad->note_keys.at[i], key)) return ad->note_values.at[i];
    return NULL;
}

void ar__pair_init(ar_pair *p, uint64_t seed) {
    uint64_t site = ar__rng_hash(p->site);
    ar_rng ga = ar__rng_stream(seed, AR_RNG_INIT, site, 0), gb = ar__rng_stream(seed, AR_RNG_INIT, site, 1);
    size_t na = (size_t)p->rank * (size_t)p->n_in, nb = (size_t)p->n_out * (size_t)p->rank;
    double bound = 1 / sqrt((double)p->n_in);
    for (size_t i = 0; i < na; i++) p->a[i] = p->is_embedding ? 0.0f : (float)((2 * ar__rng_uniform(&ga, i) - 1) * bound);
    for (size_t i = 0; i < nb; i++) p->b[i] = p->is_embedding ? (float)ar__rng_normal(&gb, i) : 0.0f;
}

const char *ar_adapter_format(const ar_adapter *ad) { return ad->format; }
const char *ar_adapter_base(const ar_adapter *ad) { return ad->settings.base; }
int ar_adapter_site_count(const ar_adapter *ad) { return (int)ad->pair_count; }
int ar_adapter_whole_count(const ar_adapter *ad) { return (int)ad->whole_count; }
const char *ar_adapter_whole_name(const ar_adapter *ad, int i) { return ad->whole[i].name; }

ar_site ar_adapter_site(const ar_adapter *ad, int i) {
    const ar_pair *p = &ad->pair[i];
    return (ar_site){.name = p->site,
                     .n_out = p->n_out,
                     .n_in = p->n_in,
                     .rank = p->rank,
                     .alpha = p->alpha,
                     .scale = p->scale,
                     .policy = p->policy,
                     .dora = p->magnitude != NULL,
                     .embedding = p->is_embedding};
}

static ar_status not_finite(const char *what, double value, ar_error *err) {
    return ar__fail(err, AR_ERR_NUMERIC, "%s: %g, wanted a finite number", what, value);
}

ar_status ar_adapter_set_scale(ar_adapter *ad, double scale, ar_error *err) {
    if (!isfinite(scale)) return not_finite("scale", scale, err);
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_pair *p = &ad->pair[i];
        p->scale = scale;
        p->alpha = ar__policy_alpha(p->policy, scale, p->rank);
    }
    if (ad->settings.rank > 0) ad->settings.alpha = ar__policy_alpha(ad->settings.policy, scale, ad->settings.rank);
    return AR_OK;
}

ar_status ar_adapter_set_alpha(ar_adapter *ad, double alpha, ar_error *err) {
    double own = ad->settings.alpha;
    if (!isfinite(alpha)) return not_finite("alpha", alpha, err);
    for (size_t i = 0; i < ad->pair_count; i++)
        if (ad->pair[i].alpha != own && own == 0)
            return ar__fail(err, AR_ERR_VALUE,
                            "alpha: the adapter's own is 0 and site '%s' has %g, so no ratio is known; set the scale instead",
                            ad->pair[i].site, ad->pair[i].alpha);
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_pair *p = &ad->pair[i];
        p->alpha = p->alpha == own ? alpha : p->alpha * (alpha / own);
        p->scale = ar__policy_scale(p->policy, p->alpha, p->rank);
    }
    ad->settings.alpha = alpha;
    return AR_OK;
}

ar_status ar_adapter_multiply_scale(ar_adapter *ad, double factor, ar_error *err) {
    if (!isfinite(factor)) return not_finite("factor", factor, err);
    for (size_t i = 0; i < ad->pair_count; i++)
        if (!isfinite(ad->pair[i].scale * factor) || !isfinite(ad->pair[i].alpha * factor))
            return not_finite("scale times factor", ad->pair[i].scale * factor, err);
    for (size_t i = 0; i < ad->pair_count; i++) {
        ad->pair[i].scale *= factor;
        ad->pair[i].alpha *= factor;
    }
    ad->settings.alpha *= factor;
    return AR_OK;
}
