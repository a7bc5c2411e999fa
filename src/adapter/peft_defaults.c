/* What PEFT takes where target_modules is null: a list by the base's model_type, from PEFT 0.21's table
 * TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.  Tensors of other modules are passed over by it. */
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/base.h"

static const struct {
    const char *model_type, *names[6];
} defaults[] = {
    {"RefinedWeb", {"query_key_value"}},
    {"RefinedWebModel", {"query_key_value"}},
    {"bart", {"q_proj", "v_proj"}},
    {"bert", {"query", "value"}},
    {"blip-2", {"q", "v", "q_proj", "v_proj"}},
    {"bloom", {"query_key_value"}},
    {"btlm", {"c_proj", "c_attn"}},
    {"chatglm", {"query_key_value"}},
    {"codegen", {"qkv_proj"}},
    {"deberta", {"in_proj"}},
    {"deberta-v2", {"query_proj", "value_proj"}},
    {"electra", {"query", "value"}},
    {"falcon", {"query_key_value"}},
    {"gemma", {"q_proj", "v_proj"}},
    {"gemma2", {"q_proj", "v_proj"}},
    {"gemma3_text", {"q_proj", "v_proj"}},
    {"gpt2", {"c_attn"}},
    {"gpt_bigcode", {"c_attn"}},
    {"gpt_neo", {"q_proj", "v_proj"}},
    {"gpt_neox", {"query_key_value"}},
    {"gptj", {"q_proj", "v_proj"}},
    {"layoutlm", {"query", "value"}},
    {"llama", {"q_proj", "v_proj"}},
    {"llama4", {"q_proj", "v_proj"}},
    {"mistral", {"q_proj", "v_proj"}},
    {"mixtral", {"q_proj", "v_proj"}},
    {"mpt", {"Wqkv"}},
    {"mt5", {"q", "v"}},
    {"nemotron_h", {"q_proj", "k_proj", "v_proj", "o_proj"}},
    {"opt", {"q_proj", "v_proj"}},
    {"phi", {"q_proj", "v_proj", "fc1", "fc2"}},
    {"qwen2", {"q_proj", "v_proj"}},
    {"qwen3", {"q_proj", "v_proj"}},
    {"roberta", {"query", "value"}},
    {"rwkv", {"key", "value", "receptance", "output"}},
    {"rwkv7", {"r_proj", "k_proj", "v_proj", "o_proj", "key", "value"}},
    {"stablelm", {"q_proj", "v_proj"}},
    {"t5", {"q", "v"}},
    {"xlm-roberta", {"query", "value"}},
};
static const char gemma4[] = ".*language_model\\..*\\.(q_proj|v_proj)";

enum { COUNT = sizeof defaults / sizeof *defaults, NAMES = 6 };

static bool is_default(const ar_strings *list) {
    for (size_t i = 0; i < COUNT; i++) {
        size_t n = 0, common = 0;
        for (; n < NAMES && defaults[i].names[n]; n++) common += ar__strings_has(list, defaults[i].names[n]);
        if (n == common && n == list->count) return true;
    }
    return false;
}

/* The last names of the sites; false when memory runs out. */
static bool last_names(ar_strings *out, const ar_adapter *ad) {
    for (size_t i = 0; i < ad->pair_count; i++) {
        const char *dot = strrchr(ad->pair[i].site, '.'), *name = dot ? dot + 1 : ad->pair[i].site;
        if (!ar__strings_has(out, name) && !ar__strings_add(out, name)) return false;
    }
    return true;
}

/* Without the base its family is not known, and only pairs that are some family's default are beyond doubt. */
static ar_status without_base(const ar_adapter *ad, const ar_read_context *c, ar_error *err) {
    ar_strings names = {0};
    ar_status s = last_names(&names, ad) ? AR_OK : ar__fail_memory(err, AR_PEFT_CONFIG);
    if (!s && !is_default(&names))
        ar__log_warn(&c->log,
                     "%s: target_modules is null in " AR_PEFT_CONFIG
                     ", for which PEFT takes the default of the base's family and passes over all other pairs; which these are, --model "
                     "would tell",
                     ad->place);
    ar__strings_release(&names);
    return s;
}

ar_status ar__peft_default_targets(ar_adapter *ad, const ar_read_context *c, ar_error *err) {
    ar_names *targets = &ad->settings.targets;
    const char *type = c->base ? ar__base_info(c->base)->model_type : NULL;
    if (targets->regex || targets->list.count || targets->is_empty || !ad->pair_count) return AR_OK;
    if (!type) return without_base(ad, c, err);
    if (!strcmp(type, "gemma4")) return (targets->regex = ar__strdup(gemma4)) ? AR_OK : ar__fail_memory(err, AR_PEFT_CONFIG);
    size_t i = 0;
    while (i < COUNT && strcmp(defaults[i].model_type, type) != 0) i++;
    if (i == COUNT)
        ar__log_warn(&c->log,
                     "%s: target_modules is null in " AR_PEFT_CONFIG
                     ", and PEFT has no default for the family %s, so that it would refuse the adapter; the pairs that are there are used",
                     ad->place, type);
    for (int k = 0; i < COUNT && k < NAMES && defaults[i].names[k]; k++)
        if (!ar__strings_add(&targets->list, defaults[i].names[k])) return ar__fail_memory(err, AR_PEFT_CONFIG);
    return AR_OK;
}
