#include "adapter/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool ar__patterns_add(ar_patterns *list, const char *key, double value) {
    ar_pattern *at = ar__grow(list->at, &list->cap, list->count + 1, sizeof *at);
    if (!at) return false;
    list->at = at;
    at[list->count] = (ar_pattern){.key = ar__strdup(key), .value = value};
    if (!at[list->count].key) return false;
    list->count++;
    return true;
}

void ar__patterns_release(ar_patterns *list) {
    for (size_t i = 0; i < list->count; i++) free(list->at[i].key);
    free(list->at);
    *list = (ar_patterns){0};
}

void ar__settings_init(ar_adapter_settings *s) { *s = (ar_adapter_settings){.policy = AR_POLICY_STANDARD, .bias = AR_BIAS_NONE}; }

static void names_release(ar_names *n) {
    free(n->regex);
    ar__strings_release(&n->list);
    *n = (ar_names){0};
}

void ar__settings_release(ar_adapter_settings *s) {
    free(s->base);
    free(s->task_type);
    names_release(&s->targets);
    names_release(&s->exclude);
    ar__strings_release(&s->save);
    ar__strings_release(&s->parameters);
    ar__strings_release(&s->layers_pattern);
    free(s->layers);
    ar__patterns_release(&s->rank_pattern);
    ar__patterns_release(&s->alpha_pattern);
    ar__settings_init(s);
}

static bool text_copy(char **out, const char *from) {
    if (from) *out = ar__strdup(from);
    return !from || *out;
}

static bool names_copy(ar_names *out, const ar_names *from) {
    out->is_empty = from->is_empty;
    return text_copy(&out->regex, from->regex) && ar__strings_copy(&out->list, &from->list);
}

static bool patterns_copy(ar_patterns *out, const ar_patterns *from) {
    for (size_t i = 0; i < from->count; i++)
        if (!ar__patterns_add(out, from->at[i].key, from->at[i].value)) return false;
    return true;
}

static bool layers_copy(ar_adapter_settings *out, const ar_adapter_settings *from) {
    if (from->layer_count == 0) return true;
    out->layers = ar__alloc(from->layer_count, sizeof *out->layers);
    if (!out->layers) return false;
    memcpy(out->layers, from->layers, from->layer_count * sizeof *out->layers);
    out->layer_count = from->layer_count;
    return true;
}

bool ar__settings_copy(ar_adapter_settings *out, const ar_adapter_settings *from) {
    ar__settings_init(out);
    out->rank = from->rank;
    out->alpha = from->alpha;
    out->policy = from->policy;
    out->dora = from->dora;
    out->lora_bias = from->lora_bias;
    out->fan_in_fan_out = from->fan_in_fan_out;
    out->dropout = from->dropout;
    out->bias = from->bias;
    if (text_copy(&out->base, from->base) && text_copy(&out->task_type, from->task_type) && names_copy(&out->targets, &from->targets) &&
        names_copy(&out->exclude, &from->exclude) && ar__strings_copy(&out->save, &from->save) &&
        ar__strings_copy(&out->parameters, &from->parameters) && ar__strings_copy(&out->layers_pattern, &from->layers_pattern) &&
        layers_copy(out, from) && patterns_copy(&out->rank_pattern, &from->rank_pattern) &&
        patterns_copy(&out->alpha_pattern, &from->alpha_pattern))
        return true;
    ar__settings_release(out);
    return false;
}
