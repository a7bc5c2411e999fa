/* What describes an adapter beside its numbers: the fields of an adapter_config.json that Alphar keeps. */
#ifndef AR_ADAPTER_SETTINGS_H
#define AR_ADAPTER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/adapter.h"
#include "base/strings.h"

/* Module names: a list (exact path or `.suffix`), or one regular expression that matches the whole path, or neither. */
typedef struct ar_names {
    char *regex; /* for targets also "all-linear" in any case */
    ar_strings list;
    bool is_empty; /* an empty list was given: selects nothing, and no default stands in */
} ar_names;

/* rank_pattern, alpha_pattern: the first key that matches `(.*\.)?(key)$` gives the value. */
typedef struct ar_pattern {
    char *key;
    double value;
} ar_pattern;
typedef struct ar_patterns {
    ar_pattern *at;
    size_t count, cap;
} ar_patterns;
bool ar__patterns_add(ar_patterns *list, const char *key, double value);
void ar__patterns_release(ar_patterns *list);

typedef struct ar_adapter_settings {
    char *base;      /* base_model_name_or_path; NULL: none */
    char *task_type; /* NULL: none */
    int rank;        /* the default of sites without a pattern; 0: not given */
    double alpha;
    ar_policy policy;
    bool dora, lora_bias, fan_in_fan_out;
    double dropout;
    ar_bias_mode bias;
    ar_names targets; /* neither list nor regex: the family's default */
    ar_names exclude;
    ar_strings save;       /* modules_to_save */
    ar_strings parameters; /* target_parameters */
    ar_strings layers_pattern;
    int64_t *layers; /* layers_to_transform */
    size_t layer_count;
    ar_patterns rank_pattern, alpha_pattern;
} ar_adapter_settings;

void ar__settings_init(ar_adapter_settings *s); /* standard policy, everything else off or empty */
void ar__settings_release(ar_adapter_settings *s);
bool ar__settings_copy(ar_adapter_settings *out, const ar_adapter_settings *from); /* out is overwritten; on false it is released */

#endif
