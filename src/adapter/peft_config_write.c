/* adapter_config.json as PEFT writes it: sorted keys, two spaces.  Fields that only newer releases know are left out
 * where they are off, because older ones stop at a field that they do not know. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "format/json.h"

struct writer {
    const ar_adapter *ad;
    json_t *root;
    double *alpha;   /* per pair, by the settings' policy */
    unsigned digits; /* the fewest that give every number back */
    bool by_site;    /* the settings' targets do not select all sites: name these instead */
    bool failed;
};

static void put(struct writer *w, const char *key, json_t *value) { w->failed |= json_object_set_new(w->root, key, value) != 0; }

static void put_text(struct writer *w, const char *key, const char *text) { put(w, key, text ? json_string(text) : json_null()); }

static json_t *number(struct writer *w, double x) {
    if (x == floor(x) && fabs(x) < 0x1p53) return json_integer((json_int_t)x);
    w->digits = ar__json_digits(w->digits, x);
    return json_real(x);
}

static json_t *list_of(const ar_strings *list) {
    json_t *out = json_array();
    for (size_t i = 0; i < list->count; i++)
        if (json_array_append_new(out, json_string(list->at[i]))) {
            json_decref(out);
            return NULL;
        }
    return out;
}

static void put_names(struct writer *w, const char *key, const ar_names *names) {
    if (names->regex)
        put_text(w, key, names->regex);
    else
        put(w, key, list_of(&names->list));
}

/* Targets that nobody named are the sites themselves: full paths match exactly. */
static void put_targets(struct writer *w) {
    const ar_names *names = &w->ad->settings.targets;
    if (!w->by_site && (names->regex || names->list.count || names->is_empty)) {
        put_names(w, "target_modules", names);
        return;
    }
    json_t *sites = json_array();
    for (size_t i = 0; i < w->ad->pair_count; i++)
        if (!w->ad->pair[i].experts) w->failed |= json_array_append_new(sites, json_string(w->ad->pair[i].site)) != 0;
    put(w, "target_modules", sites);
}

static void put_layers(struct writer *w) {
    const ar_adapter_settings *s = &w->ad->settings;
    size_t count = w->by_site ? 0 : s->layer_count; /* full paths are chosen whatever the layers */
    json_t *layers = count ? json_array() : json_null();
    for (size_t i = 0; i < count; i++) json_array_append_new(layers, json_integer(s->layers[i]));
    put(w, "layers_to_transform", layers);
    put(w, "layers_pattern", count && s->layers_pattern.count ? list_of(&s->layers_pattern) : json_null());
}

/* ^escaped\.path: matches this site and no other; of stacked experts the parameter, and of a single one the same. */
static void put_pattern(struct writer *w, json_t *object, const ar_pair *of, json_t *value) {
    ar_buf key = {0};
    const char *site = of->site, *end = ar__pair_in_stack(of) ? strrchr(site, '[') : site + strlen(site);
    ar__buf_puts(&key, "^");
    for (const char *p = site; p < end; p++) {
        if (strchr(".^$*+?()[]{}|\\", *p)) ar__buf_puts(&key, "\\");
        ar__buf_add(&key, p, 1);
    }
    if (ar__peft_targets_parameter(&w->ad->settings, site, strlen(site), "weight")) ar__buf_puts(&key, "(\\.weight)?");
    w->failed |= key.failed || json_object_set_new(object, key.data, value) != 0;
    ar__buf_release(&key);
}

/* α by the settings' policy; the pair's own where it says the same, so that no rounding creeps in. */
static double alpha_of(const ar_pair *p, ar_policy policy) {
    bool own = p->policy == policy && ar__policy_scale(policy, p->alpha, p->rank) == p->scale;
    return own ? p->alpha : ar__policy_alpha(policy, p->scale, p->rank);
}

/* The settings' value where a site uses it, else the most frequent: the fewest patterns that keep the user's numbers.  0, of sites that
 * are switched off, only where there is no other: an alpha of 0 has no proportions to any. */
static double common(double wanted, const double *x, size_t n) {
    size_t best = 0, best_count = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        if (x[i] == wanted && wanted != 0) return wanted;
        if (x[i] == 0) continue;
        for (size_t j = 0; j < n; j++) count += x[j] == x[i];
        if (count > best_count) {
            best = i;
            best_count = count;
        }
    }
    return best_count ? x[best] : n ? x[0] : wanted;
}

static ar_status put_alpha(double *out, struct writer *w, ar_error *err) {
    const ar_adapter *ad = w->ad;
    size_t n = ad->pair_count;
    double *rank = ar__alloc(n, sizeof *rank);
    if (!rank) return ar__fail_memory(err, "adapter");
    for (size_t i = 0; i < n; i++) {
        rank[i] = ad->pair[i].rank;
        w->alpha[i] = alpha_of(&ad->pair[i], ad->settings.policy);
    }
    double r = common(ad->settings.rank, rank, n), alpha = common(ad->settings.alpha, w->alpha, n);
    json_t *ranks = json_object(), *alphas = json_object();
    for (size_t i = 0; i < n; i++) {
        if (ad->pair[i].experts && ad->pair[i].expert) continue;
        if (rank[i] != r) put_pattern(w, ranks, &ad->pair[i], json_integer((json_int_t)rank[i]));
        if (w->alpha[i] != alpha) put_pattern(w, alphas, &ad->pair[i], number(w, w->alpha[i]));
    }
    *out = alpha;
    put(w, "r", json_integer((json_int_t)r));
    put(w, "lora_alpha", number(w, alpha));
    put(w, "rank_pattern", ranks);
    put(w, "alpha_pattern", alphas);
    free(rank);
    return AR_OK;
}

/* All experts of a stack stand behind its first pair, in order, of one shape and one s: one pair of tensors holds them. */
static ar_status check_stack(const ar_adapter *ad, size_t i, ar_error *err) {
    const ar_pair *p = &ad->pair[i], *first = p - p->expert;
    size_t n = (size_t)(strrchr(p->site, '[') - p->site);
    bool whole = (size_t)p->expert <= i && i - (size_t)p->expert + (size_t)p->experts <= ad->pair_count;
    bool ok = whole && first->expert == 0 && !strncmp(first->site, p->site, n + 1) && first->experts == p->experts &&
              first->rank == p->rank && first->scale == p->scale && first->n_in == p->n_in && first->n_out == p->n_out &&
              first[p->experts - 1].experts == p->experts && first[p->experts - 1].expert == p->experts - 1;
    if (ok && !p->magnitude && !p->b_bias) return AR_OK;
    return ar__fail(
        err, AR_ERR_UNSUPPORTED,
        "site '%s': of %d stacked experts, which PEFT's format holds in one pair of tensors: all of one rank and one alpha, without "
        "DoRA and lora_bias; give all of them the same",
        p->site, p->experts);
}

ar_status ar__peft_check(const ar_adapter *ad, const ar_write_context *c, ar_error *err) {
    (void)c;
    ar_status s;
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        if (ar__pair_is_foreign(p))
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "site '%s': only known by the name that it has in a kohya file, and PEFT needs module paths; give --model",
                            p->site);
        if (p->is_apart) return ar__pair_is_stacked(p, "PEFT's format where its base holds them apart", err);
        if (p->experts && (s = check_stack(ad, i, err))) return s;
        if (p->has_gguf_rows)
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "site '%s': its rows are in llama.cpp's order, and only the base says how many heads there are: give --model "
                            "or --heads H,KV",
                            p->site);
    }
    for (size_t i = 1; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        if (!p->magnitude != !ad->pair[0].magnitude || !p->b_bias != !ad->pair[0].b_bias)
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "site '%s': PEFT's format has DoRA and lora_bias on all sites or on none; '%s' differs", p->site,
                            ad->pair[0].site);
    }
    return AR_OK;
}

/* Stacked experts that nobody named are named by their whole paths. */
static void put_parameters(struct writer *w) {
    const ar_strings *named = &w->ad->settings.parameters;
    json_t *list = named->count ? list_of(named) : json_array();
    for (size_t i = 0; !named->count && i < w->ad->pair_count; i++) {
        const ar_pair *p = &w->ad->pair[i];
        if (!ar__pair_in_stack(p) || p->expert) continue;
        w->failed |= json_array_append_new(list, json_stringn(p->site, (size_t)(strrchr(p->site, '[') - p->site))) != 0;
    }
    if (json_array_size(list))
        put(w, "target_parameters", list);
    else
        json_decref(list);
}

static void put_rest(struct writer *w) {
    static const char *const bias[] = {"none", "all", "lora_only"};
    const ar_adapter_settings *s = &w->ad->settings;
    const ar_pair *first = w->ad->pair_count ? &w->ad->pair[0] : NULL;
    put_text(w, "peft_type", "LORA");
    put_parameters(w);
    put_text(w, "task_type", s->task_type);
    put_text(w, "base_model_name_or_path", s->base);
    put_text(w, "bias", bias[s->bias]);
    put(w, "lora_dropout", number(w, s->dropout));
    put(w, "fan_in_fan_out", json_boolean(s->fan_in_fan_out));
    put(w, "use_rslora", json_boolean(s->policy == AR_POLICY_RSLORA));
    put(w, "use_dora", json_boolean(first && first->magnitude));
    put(w, "modules_to_save", s->save.count ? list_of(&s->save) : json_null());
    put(w, "inference_mode", json_true());
    put(w, "init_lora_weights", json_true());
    put(w, "auto_mapping", json_null());
    put(w, "revision", json_null());
    if (first && first->b_bias) put(w, "lora_bias", json_true());
    if (!w->by_site && (s->exclude.regex || s->exclude.list.count)) put_names(w, "exclude_modules", &s->exclude);
}

ar_status ar__peft_config_write(double *alpha, const ar_adapter *ad, const char *path, ar_error *err) {
    struct writer w = {.ad = ad, .root = json_object(), .alpha = ar__alloc(ad->pair_count, sizeof *w.alpha), .digits = 15};
    char *text = NULL;
    size_t unselected;
    ar_status s = w.root && w.alpha ? ar__adapter_unselected(&unselected, ad, err) : ar__fail_memory(err, path);
    w.by_site = !s && unselected != SIZE_MAX;
    if (!s && !(s = put_alpha(alpha, &w, err))) {
        put_targets(&w);
        put_layers(&w);
        put_rest(&w);
        text = w.failed ? NULL : json_dumps(w.root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(w.digits));
        s = text ? ar__file_write(path, text, strlen(text), err)
                 : ar__fail(err, AR_ERR_VALUE, "%s: a name that is no UTF-8, or out of memory", path);
    }
    free(text);
    free(w.alpha);
    json_decref(w.root);
    return s;
}
