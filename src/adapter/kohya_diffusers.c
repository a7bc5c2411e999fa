/* What diffusers' newer files say of their pairs: the PEFT configuration of each component of the pipeline, in the
 * metadata, its keys behind the component's name, or without one where a single model saved itself (save_lora_adapter).
 *
 *     lora_adapter_metadata = {"transformer.r": 16, "transformer.lora_alpha": 32, "text_encoder.r": 4, …}
 *     lora_adapter_metadata = {"r": 16, "lora_alpha": 32, …}
 *
 * s follows by PEFT's rules, with paths that begin behind the component's name. */
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

#define KEY "lora_adapter_metadata"

ar_status ar__diffusers_init(ar_diffusers *out, const ar_st_set *st, const ar_read_context *c, ar_error *err) {
    const char *text = ar__st_metadata(st, KEY);
    *out = (ar_diffusers){.c = c, .st = st};
    if (!text) return AR_OK;
    ar_status s = ar__json_parse(&out->all, text, strlen(text), "metadata " KEY, err);
    if (!s && !json_is_object(out->all))
        s = ar__fail(err, AR_ERR_FORMAT, "metadata " KEY ": found %s, wanted an object", ar__json_type(out->all));
    return s;
}

static void forget(ar_diffusers *d) {
    ar__pattern_set_release(&d->ranks);
    ar__pattern_set_release(&d->alphas);
    if (d->is_told) ar__settings_release(&d->settings);
    d->is_told = false;
    free(d->component);
    d->component = NULL;
}

void ar__diffusers_release(ar_diffusers *d) {
    forget(d);
    json_decref(d->all);
}

/* The key's name in the configuration of a component of n bytes, 0 for what has none; NULL: of another one. */
static const char *own_key(const char *key, const char *component, size_t n) {
    if (!n) return strchr(key, '.') ? NULL : key;
    return strncmp(key, component, n) == 0 && key[n] == '.' ? key + n + 1 : NULL;
}

static bool has_keys(const ar_diffusers *d, const char *component, size_t n) {
    const char *key;
    json_t *value;
    json_object_foreach(d->all, key, value) if (own_key(key, component, n)) return true;
    return false;
}

/* The length of the component's name in front of the module's path.  A component that the metadata does not speak of is
 * one all the same: diffusers keeps the keys that begin with the component's name, and none without it. */
static size_t component_length(const ar_diffusers *d, const char *module) {
    const char *dot = strchr(module, '.');
    size_t n = dot ? (size_t)(dot - module) : 0;
    return n && (has_keys(d, module, n) || ar__kohya_has_component(module) || !has_keys(d, "", 0)) ? n : 0;
}

bool ar__diffusers_passes_over(const ar_diffusers *d, const char *module) {
    size_t n = component_length(d, module);
    return n && has_keys(d, "", 0) && !has_keys(d, module, n);
}

bool ar__diffusers_tells(const ar_diffusers *d, const char *name, size_t module) {
    static const char peft[] = "base_model.";
    if (!d || !d->st || !strncmp(name, peft, sizeof peft - 1)) return false;
    if (ar__st_metadata(d->st, AR_NOTE_PREFIX "scales") || has_keys(d, "", 0)) return true;
    const char *dot = strchr(name, '.');
    ar_buf alpha = {0};
    ar__buf_add(&alpha, name, module);
    ar__buf_puts(&alpha, ".alpha");
    bool tells = (dot && has_keys(d, name, (size_t)(dot - name))) || (!alpha.failed && ar__st_find(d->st, alpha.data));
    ar__buf_release(&alpha);
    return tells;
}

/* diffusers 0.42 (utils/peft_utils.py, get_peft_kwargs) makes the first alpha that it meets the default of its component;
 * only its Flux pipelines hand alphas of such names on. */
const ar_tensor *ar__diffusers_lender(const ar_diffusers *d, const char *module) {
    static const char *const components[] = {"transformer.", "text_encoder."};
    const ar_tensor *first = NULL;
    const char *component = NULL;
    for (size_t i = 0; i < sizeof components / sizeof *components; i++)
        if (!strncmp(module, components[i], strlen(components[i]))) component = components[i];
    for (int i = 0; component && i < ar__st_count(d->st); i++) {
        const ar_tensor *t = ar__st_at(d->st, i);
        size_t n = strlen(t->name), k = sizeof ".alpha" - 1;
        if (strncmp(t->name, component, strlen(component)) != 0 || n < k || strcmp(t->name + n - k, ".alpha") != 0) continue;
        if (!first || (const char *)t->data < (const char *)first->data) first = t;
    }
    return first;
}

/* The component's configuration with its own keys; NULL when memory runs out.  diffusers makes a LoraConfig of it whether
 * it says peft_type or not. */
static json_t *configuration(const ar_diffusers *d) {
    size_t n = strlen(d->component);
    json_t *out = json_object(), *value;
    const char *key;
    json_object_foreach(d->all, key, value) {
        const char *own = own_key(key, d->component, n);
        if (!own) continue;
        if (!out || json_object_set(out, own, value)) {
            json_decref(out);
            return NULL;
        }
    }
    if (out && json_object_size(out) && !json_object_get(out, "peft_type")) json_object_set_new(out, "peft_type", json_string("LORA"));
    return out;
}

/* Modules come sorted, so that one component at a time is enough. */
static ar_status enter(ar_diffusers *d, const char *module, size_t n, ar_error *err) {
    if (d->component && strlen(d->component) == n && !strncmp(d->component, module, n)) return AR_OK;
    forget(d);
    d->component = ar__strndup(module, n);
    json_t *root = d->component ? configuration(d) : NULL;
    if (!root) return ar__fail_memory(err, KEY);
    ar_status s = AR_OK;
    if (json_object_size(root)) s = ar__peft_config_parse(&d->settings, root, "metadata " KEY, &d->c->options, err);
    d->is_told = !s && json_object_size(root);
    if (d->is_told)
        (void)((s = ar__pattern_set_init(&d->ranks, &d->settings.rank_pattern, err)) ||
               (s = ar__pattern_set_init(&d->alphas, &d->settings.alpha_pattern, err)));
    json_decref(root);
    return s;
}

ar_status ar__diffusers_find(bool *is_told, double *alpha, ar_policy *policy, ar_diffusers *d, const char *module, int rank,
                             ar_error *err) {
    *is_told = false;
    if (!d->all) return AR_OK;
    size_t n = component_length(d, module);
    const char *path = n ? module + n + 1 : module;
    ar_status s = enter(d, module, n, err);
    if (s || !d->is_told) return s;
    double wanted = d->settings.rank;
    *alpha = d->settings.alpha;
    *policy = d->settings.policy;
    *is_told = true;
    if (d->settings.dora)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "metadata " KEY ": 'use_dora' is on for '%s', wanted plain pairs",
                        *d->component ? d->component : module);
    if ((s = ar__pattern_set_find(&wanted, &d->ranks, path, err)) || (s = ar__pattern_set_find(alpha, &d->alphas, path, err))) return s;
    if (wanted == 0 || wanted == rank) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH, "metadata " KEY ": module '%s' has rank %d, 'r' or 'rank_pattern' says %g", module, rank, wanted);
}
