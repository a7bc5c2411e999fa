#include "arch/config_fields.h"

#include <string.h>

#include "base/fail.h"
#include "format/json.h"

/* Read by family.c, or without effect on the forward pass of these families (dropout is off by LoRA trainers' custom). */
static const char *const config_fields[] = {
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    "bos_token_id",
    "eos_token_id",
    /* no effect */
    "architectures",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "use_cache",
    "initializer_range",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "decoder_start_token_id",
    "pretraining_tp",
    "attention_dropout",
    "hidden_dropout",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "use_return_dict",
    "chunk_size_feed_forward",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "task_specific_params",
    "finetuning_task",
    "name_or_path",
    "auto_map",
    "unsloth_version",
    "unsloth_fixed",
    "unsloth_processed_in",
    "model_name",
    "is_llama_config",
    "transformers.js_config",
    "max_length",
    "min_length",
    "temperature",
    "top_k",
    "top_p",
    "do_sample",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "repetition_penalty",
    "length_penalty",
    "diversity_penalty",
    "typical_p",
    "encoder_no_repeat_ngram_size",
    "no_repeat_ngram_size",
    "model_max_length",
    "tokenizer_class",
    "license",
    "tokenizer_model_max_length",
    "use_flash_attn",
    "flash_attn",
    "attn_implementation",
    "prefix",
    "tf_legacy_loss",
};

static const char *const rope_fields[] = {
    "rope_type", "type",      "rope_theta",       "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim",  "truncate",         "partial_rotary_factor",
    "finetuned",
};

static int listed(const char *key, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(key, list[i])) return 1;
    return 0;
}

ar_status ar__fields_check(const json_t *object, ar_field_set set, const char *what, const char *place, ar_error *err) {
    const char *const *list = set == AR_FIELDS_CONFIG ? config_fields : rope_fields;
    size_t n = set == AR_FIELDS_CONFIG ? sizeof config_fields / sizeof *config_fields : sizeof rope_fields / sizeof *rope_fields;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (key[0] == '_' || ar__json_is_off(value) || listed(key, list, n)) continue;
        if (!strcmp(key, "quantization_config"))
            return ar__fail(
                err, AR_ERR_UNSUPPORTED,
                "%s: the weights are quantised (quantization_config), wanted f32, f16 or bf16 weights; use the unquantised base", place);
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: unknown %s '%s', which may change the maths; remove it if you know that it does not",
                        place, what, key);
    }
    return AR_OK;
}
