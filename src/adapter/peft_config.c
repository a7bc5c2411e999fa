/* adapter_config.json: every field of LoraConfig (PEFT 0.21 and before) is read, known not to change what an adapter
 * computes, or refused by name where it is on.  A field that nobody here knows is refused unless it is off. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

enum { CONFIG_MAX = 64 << 20 };

/* refusal NULL: read below, or without effect on inference. */
static const struct {
    const char *name, *refusal;
} fields[] = {
    {"peft_type", NULL},
    {"r", NULL},
    {"lora_alpha", NULL},
    {"rank_pattern", NULL},
    {"alpha_pattern", NULL},
    {"use_rslora", NULL},
    {"use_dora", NULL},
    {"fan_in_fan_out", NULL}, /* says how the base stores W, not what the pair is */
    {"bias", NULL},
    {"lora_bias", NULL},
    {"target_modules", NULL},
    {"exclude_modules", NULL},
    {"layers_to_transform", NULL},
    {"layers_pattern", NULL},
    {"modules_to_save", NULL},
    {"init_lora_weights", NULL},
    {"lora_dropout", NULL},
    {"base_model_name_or_path", NULL},
    {"task_type", NULL},
    {"auto_mapping", NULL},
    {"revision", NULL},
    {"inference_mode", NULL},
    {"peft_version", NULL},
    {"megatron_core", NULL},
    {"qalora_group_size", NULL},
    {"eva_config", NULL},
    {"corda_config", NULL},
    {"lora_ga_config", NULL},
    {"loftq_config", NULL},
    {"velora_config", NULL}, /* acts in backward only */
    {"runtime_config", NULL},
    {"merge_weights", NULL}, /* older PEFT: when to merge, not what */
    /* Not PEFT's: what trainers and tools leave there, about the training, the tokenizer or the file. */
    {"neftune_noise_alpha", NULL},
    {"use_gradient_checkpointing", NULL},
    {"random_state", NULL},
    {"max_seq_length", NULL},
    {"bos_token", NULL},
    {"eos_token", NULL},
    {"pad_token", NULL},
    {"unk_token", NULL},
    {"torch_dtype", NULL},
    {"dtype", NULL},
    {"library_name", NULL},
    {"transformers_version", NULL},
    {"trl_version", NULL},
    {"unsloth_version", NULL},
    {"unsloth_fixed", NULL},
    {"target_parameters", NULL},
    {"trainable_token_indices", "it replaces rows of the embedding"},
    {"layer_replication", "it repeats layers of the base"},
    {"kasa_config", "KaSA truncates the base's weights"},
    {"alora_invocation_tokens", "aLoRA acts on a part of the text only"},
    {"arrow_config", "Arrow routes between several adapters"},
    {"monteclora_config", "MonteCLoRA samples the adapter"},
    {"use_bdlora", "BD-LoRA's factors are block-diagonal"},
    {"megatron_config", "its layers are Megatron's"},
    {"use_qalora", "QA-LoRA pools the input in groups"},
    {"enable_lora", "old PEFT's MergedLinear, in which one A serves several outputs and B is grouped: no plain pair"},
    {"ensure_weight_tying", "it ties the adapters of embedding and head"},
};

static ar_status check_fields(const json_t *root, const char *path, ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value) {
        size_t i = 0, n = sizeof fields / sizeof *fields;
        while (i < n && strcmp(fields[i].name, key) != 0) i++;
        if ((i < n && !fields[i].refusal) || *key == '_') continue; /* _commit_hash, _name_or_path: notes */
        if (ar__json_is_off(value)) continue;
        if (i < n) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: '%s' is on: %s, which Alphar cannot do", path, key, fields[i].refusal);
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: '%s' is on and unknown, so what the adapter computes is unknown; remove the field if it changes nothing", path,
                        key);
    }
    return AR_OK;
}

static ar_status check_type(const json_t *root, const char *path, ar_error *err) {
    const char *type = NULL;
    if (!ar__json_has(root, "peft_type")) {
        bool mlx = json_object_get(root, "fine_tune_type") || json_object_get(root, "lora_parameters");
        return ar__fail(err, mlx ? AR_ERR_UNSUPPORTED : AR_ERR_FORMAT, "%s: %s, wanted a PEFT configuration with peft_type LORA", path,
                        mlx ? "an MLX adapter's configuration" : "'peft_type' is missing");
    }
    ar_status s = ar__json_get_string(&type, root, "peft_type", path, err);
    if (s || !strcmp(type, "LORA")) return s;
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: peft_type is %s, wanted LORA: other methods are not LoRA pairs", path, type);
}

/* Some starts move a part of W into the pair, and the base that goes with the pair is then another one. */
static ar_status check_init(const json_t *root, const char *path, ar_error *err) {
    static const char *const changed[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal", "mica"};
    const json_t *v = json_object_get(root, "init_lora_weights");
    if (!v || json_is_null(v) || json_is_boolean(v)) return AR_OK;
    const char *name = json_string_value(v);
    if (!name)
        return ar__fail(err, AR_ERR_FORMAT, "%s: 'init_lora_weights': found %s, wanted true, false or a name", path, ar__json_type(v));
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (!strcasecmp(name, harmless[i])) return AR_OK;
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
        if (!strcasecmp(name, changed[i]) || (i == 0 && !strncasecmp(name, "pissa_niter_", 12)))
            return ar__fail(
                err, AR_ERR_UNSUPPORTED,
                "%s: init_lora_weights is '%s', which changed the base's weights when training began, so the pairs do not fit the base "
                "as published: save it with PEFT's path_initial_model_for_weight_conversion first",
                path, name);
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: init_lora_weights is '%s', which is unknown: it may have changed the base", path, name);
}

static ar_status add_string(ar_strings *out, const json_t *v, const char *key, const char *path, ar_error *err) {
    if (!json_is_string(v)) return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' holds %s, wanted strings", path, key, ar__json_type(v));
    return ar__strings_add(out, json_string_value(v)) ? AR_OK : ar__fail_memory(err, path);
}

/* null, a list of strings, or one string (into *single, or as a list of one where single is NULL) */
static ar_status read_strings(ar_strings *out, char **single, const json_t *root, const char *key, const char *path, ar_error *err) {
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return AR_OK;
    if (json_is_string(v) && single) return (*single = ar__strdup(json_string_value(v))) ? AR_OK : ar__fail_memory(err, path);
    if (json_is_string(v)) return json_string_length(v) ? add_string(out, v, key, path, err) : AR_OK;
    if (!json_is_array(v)) return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': found %s, wanted a list of strings", path, key, ar__json_type(v));
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < json_array_size(v); i++) s = add_string(out, json_array_get(v, i), key, path, err);
    return s;
}

static ar_status read_layers(ar_adapter_settings *out, const json_t *root, const char *path, ar_error *err) {
    const char *key = "layers_to_transform";
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return AR_OK;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    out->layers = ar__alloc(n, sizeof *out->layers);
    if (!out->layers) return ar__fail_memory(err, path);
    for (size_t i = 0; i < n; i++)
        if (!ar__json_as_int(&out->layers[i], json_is_array(v) ? json_array_get(v, i) : v))
            return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': wanted an integer or a list of them", path, key);
    out->layer_count = n;
    return AR_OK;
}

static ar_status read_patterns(ar_patterns *out, bool ranks, const json_t *root, const char *key, const char *path, ar_error *err) {
    const json_t *object = NULL;
    const char *pattern;
    json_t *value;
    ar_status s = ar__json_get_object(&object, root, key, path, err);
    if (s || !object) return s;
    json_object_foreach((json_t *)(uintptr_t)object, pattern, value) {
        double x = 0;
        int64_t whole;
        if (!ar__json_as_double(&x, value) || (ranks && (!ar__json_as_int(&whole, value) || whole < 1 || whole > INT_MAX)))
            return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': '%s' is no %s", path, key, pattern, ranks ? "rank from 1" : "number");
        if (!ar__patterns_add(out, pattern, x)) return ar__fail_memory(err, path);
    }
    return AR_OK;
}

static ar_status read_alpha(ar_adapter_settings *out, const json_t *root, const char *path, const ar_adapter_options *o, ar_error *err) {
    int64_t rank = 0;
    ar_status s = ar__json_get_int(&rank, root, "r", path, err);
    if (s) return s;
    if (ar__json_has(root, "r") && (rank < 1 || rank > INT_MAX))
        return ar__fail(err, AR_ERR_FORMAT, "%s: 'r' is %lld, wanted a rank from 1", path, (long long)rank);
    out->rank = (int)rank;
    if (ar__json_has(root, "lora_alpha")) return ar__json_get_double(&out->alpha, root, "lora_alpha", path, err);
    if (!o || !o->has_alpha)
        return ar__fail(err, AR_ERR_FORMAT, "%s: 'lora_alpha' is missing, and tools guess it differently; supply it with --alpha", path);
    if (!isfinite(o->alpha)) return ar__fail(err, AR_ERR_VALUE, "--alpha: %g, wanted a finite number", o->alpha);
    out->alpha = o->alpha;
    return AR_OK;
}

static ar_status read_bias(ar_adapter_settings *out, const json_t *root, const char *path, ar_error *err) {
    const char *name = "none";
    ar_status s = ar__json_get_string(&name, root, "bias", path, err);
    if (s) return s;
    if (!strcmp(name, "all"))
        out->bias = AR_BIAS_ALL;
    else if (!strcmp(name, "lora_only"))
        out->bias = AR_BIAS_LORA_ONLY;
    else if (strcmp(name, "none") != 0)
        return ar__fail(err, AR_ERR_FORMAT, "%s: 'bias' is '%s', wanted none, all or lora_only", path, name);
    return AR_OK;
}

static ar_status read_text(char **out, const json_t *root, const char *key, const char *path, ar_error *err) {
    const char *text = NULL;
    ar_status s = ar__json_get_string(&text, root, key, path, err);
    if (!s && text && !(*out = ar__strdup(text))) s = ar__fail_memory(err, path);
    return s;
}

static ar_status read_flags(ar_adapter_settings *out, const json_t *root, const char *path, ar_error *err) {
    bool rslora = false;
    ar_status s;
    if ((s = ar__json_get_bool(&rslora, root, "use_rslora", path, err)) ||
        (s = ar__json_get_bool(&out->dora, root, "use_dora", path, err)) ||
        (s = ar__json_get_bool(&out->lora_bias, root, "lora_bias", path, err)) ||
        (s = ar__json_get_bool(&out->fan_in_fan_out, root, "fan_in_fan_out", path, err)) ||
        (s = ar__json_get_double(&out->dropout, root, "lora_dropout", path, err)))
        return s;
    out->policy = rslora ? AR_POLICY_RSLORA : AR_POLICY_STANDARD;
    return AR_OK;
}

static ar_status read_targets(ar_adapter_settings *out, const json_t *root, const char *path, ar_error *err) {
    ar_status s;
    if ((s = read_strings(&out->targets.list, &out->targets.regex, root, "target_modules", path, err)) ||
        (s = read_strings(&out->exclude.list, &out->exclude.regex, root, "exclude_modules", path, err)) ||
        (s = read_strings(&out->save, NULL, root, "modules_to_save", path, err)) ||
        (s = read_strings(&out->parameters, NULL, root, "target_parameters", path, err)) ||
        (s = read_strings(&out->layers_pattern, NULL, root, "layers_pattern", path, err)) || (s = read_layers(out, root, path, err)))
        return s;
    out->targets.is_empty = !out->targets.regex && !out->targets.list.count && ar__json_has(root, "target_modules");
    if (out->targets.regex && ar__json_has(root, "layers_to_transform"))
        return ar__fail(err, AR_ERR_FORMAT, "%s: 'layers_to_transform' together with a string in 'target_modules', which PEFT refuses too",
                        path);
    if (out->exclude.regex && !*out->exclude.regex) { /* "" is off */
        free(out->exclude.regex);
        out->exclude.regex = NULL;
    }
    return AR_OK;
}

ar_status ar__peft_config_parse(ar_adapter_settings *out, const json_t *root, const char *place, const ar_adapter_options *options,
                                ar_error *err) {
    ar_status s;
    ar__settings_init(out);
    if (!(s = check_type(root, place, err)) && !(s = check_fields(root, place, err)) && !(s = check_init(root, place, err)) &&
        !(s = read_alpha(out, root, place, options, err)) && !(s = read_flags(out, root, place, err)) &&
        !(s = read_bias(out, root, place, err)) && !(s = read_targets(out, root, place, err)) &&
        !(s = read_patterns(&out->rank_pattern, true, root, "rank_pattern", place, err)) &&
        !(s = read_patterns(&out->alpha_pattern, false, root, "alpha_pattern", place, err)) &&
        !(s = read_text(&out->base, root, "base_model_name_or_path", place, err)))
        s = read_text(&out->task_type, root, "task_type", place, err);
    if (s) ar__settings_release(out);
    return s;
}

ar_status ar__peft_config_read(ar_adapter_settings *out, const char *path, const ar_adapter_options *options, ar_error *err) {
    json_t *root;
    ar__settings_init(out);
    ar_status s = ar__json_load_object(&root, path, CONFIG_MAX, err);
    if (s) return s;
    s = ar__peft_config_parse(out, root, path, options, err);
    json_decref(root);
    return s;
}
