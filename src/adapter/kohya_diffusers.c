/* What diffusers' newer files say of their pairs: the PEFT configuration of each component of the pipeline, in the
 * metadata, its keys behind the component's name.
 *
 *     lora_adapter_metadata = {"transformer.r": 16, "transformer.lora_alpha": 32, "text_encoder.r": 4, …}
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
    *out = (ar_diffusers){.c = c};
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

/* The component's configuration with its own keys; NULL when memory runs out. */
static json_t *configuration(const ar_diffusers *d) {
    size_t n = strlen(d->component);
    json_t *out = json_object(), *value;
    const char *key;
    json_object_foreach(d->all, key, value) {
        if (strncmp(key, d->component, n) != 0 || key[n] != '.') continue;
        if (!out || json_object_set(out, key + n + 1, value)) {
            json_decref(out);
            return NULL;
        }
    }
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
    const char *dot = strchr(module, '.');
    *is_told = false;
    if (!d->all || !dot) return AR_OK;
    ar_status s = enter(d, module, (size_t)(dot - module), err);
    if (s || !d->is_told) return s;
    double wanted = d->settings.rank;
    *alpha = d->settings.alpha;
    *policy = d->settings.policy;
    *is_told = true;
    if (d->settings.dora)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "metadata " KEY ": 'use_dora' is on for '%s', wanted plain pairs", d->component);
    if ((s = ar__pattern_set_find(&wanted, &d->ranks, dot + 1, err)) || (s = ar__pattern_set_find(alpha, &d->alphas, dot + 1, err)))
        return s;
    if (wanted == 0 || wanted == rank) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH, "metadata " KEY ": module '%s' has rank %d, 'r' or 'rank_pattern' says %g", module, rank, wanted);
}
