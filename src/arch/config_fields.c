#include "arch/config_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"

typedef enum field_type { ANY, WHOLE, REAL, BOOL, STRING, LIST, OBJECT } field_type;

typedef struct field {
    const char *key;
    int read, harmless;  /* families, or kinds of rope */
    field_type type;     /* of a field that is read */
    double lowest, most; /* of a number that is read */
} field;

enum { ALL = AR_LLAMA | AR_MISTRAL | AR_QWEN2 | AR_QWEN3, QWEN = AR_QWEN2 | AR_QWEN3, WINDOWED = AR_MISTRAL | QWEN };
enum { MAX_LAYERS = 4096, MAX_DIM = 1 << 22, MAX_VOCAB = 1 << 24, MAX_HEADS = 4096 };

static const field config_fields[] = {
    {"model_type", ALL, 0, STRING, 0, 0},
    {"vocab_size", ALL, 0, WHOLE, 1, MAX_VOCAB},
    {"hidden_size", ALL, 0, WHOLE, 1, MAX_DIM},
    {"intermediate_size", ALL, 0, WHOLE, 1, MAX_DIM},
    {"num_hidden_layers", ALL, 0, WHOLE, 1, MAX_LAYERS},
    {"num_attention_heads", ALL, 0, WHOLE, 1, MAX_HEADS},
    {"num_key_value_heads", ALL, 0, WHOLE, 1, MAX_HEADS},
    {"head_dim", ALL, 0, WHOLE, 1, MAX_HEADS},
    {"max_position_embeddings", ALL, 0, WHOLE, 1, INT32_MAX},
    {"hidden_act", ALL, 0, STRING, 0, 0},
    {"rms_norm_eps", ALL, 0, REAL, 1e-30, 0.999},
    {"tie_word_embeddings", ALL, 0, BOOL, 0, 0},
    {"attention_bias", AR_LLAMA | AR_QWEN3, AR_QWEN2, BOOL, 0, 0}, /* qwen2: always, so that the tensors decide */
    {"mlp_bias", AR_LLAMA, 0, BOOL, 0, 0},
    {"rope_theta", ALL, 0, REAL, 0, INFINITY},
    {"rope_scaling", ALL, 0, OBJECT, 0, 0},
    {"rope_parameters", ALL, 0, OBJECT, 0, 0},
    {"original_max_position_embeddings", ALL, 0, REAL, 1, INT32_MAX},
    {"partial_rotary_factor", ALL, 0, REAL, 1, 1},
    {"sliding_window", WINDOWED, 0, WHOLE, 1, INT32_MAX},
    {"use_sliding_window", WINDOWED, 0, BOOL, 0, 0},
    {"max_window_layers", WINDOWED, AR_LLAMA, WHOLE, 0, INT32_MAX}, /* says nothing where there is no window */
    {"layer_types", ALL, 0, LIST, 0, 0},
    {"attention_dropout", ALL, 0, REAL, 0, 1},
    {"bos_token_id", ALL, 0, ANY, 0, 0},
    {"eos_token_id", ALL, 0, ANY, 0, 0},
    /* no family's code reads these */
    {"hidden_dropout", 0, 0, ANY, 0, 0},
    {"hidden_dropout_prob", 0, 0, ANY, 0, 0},
    {"resid_pdrop", 0, 0, ANY, 0, 0},
    {"embd_pdrop", 0, 0, ANY, 0, 0},
    {"neftune_noise_alpha", 0, 0, ANY, 0, 0},
    {"qk_layernorm", 0, 0, ANY, 0, 0},
    {"use_qk_norm", 0, 0, ANY, 0, 0},
    {"logits_soft_cap", 0, 0, ANY, 0, 0},
    {"num_nextn_predict_layers", 0, 0, ANY, 0, 0},
    {"classifier_dropout", 0, ALL, ANY, 0, 0},
};

/* Without effect on the forward pass of any family, whatever they hold. */
static const char *const harmless_fields[] = {
    "architectures", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range", "pretraining_tp",
    /* names of tokens and lengths for the tokenizer */
    "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "decoder_start_token_id", "bos_token", "eos_token",
    "pad_token", "unk_token", "tokenizer_class", "model_max_length", "tokenizer_model_max_length", "max_sequence_length", "max_seq_length",
    "max_seq_len", "seq_length",
    /* what a call returns, and tasks with other heads */
    "output_attentions", "output_hidden_states", "output_scores", "return_dict", "return_dict_in_generate", "use_return_dict",
    "chunk_size_feed_forward", "tie_last_hidden_states", "is_decoder", "id2label", "label2id", "num_labels", "problem_type",
    "task_specific_params", "finetuning_task", "prefix", "tf_legacy_loss", "torchscript",
    /* where it came from and how it is run */
    "name_or_path", "auto_map", "model_name", "license", "is_llama_config", "transformers.js_config", "unsloth_version", "unsloth_fixed",
    "unsloth_processed_in", "use_flash_attn", "flash_attn", "attn_implementation", "gradient_checkpointing",
    /* how to sample, which is generation_config.json's and the command's */
    "max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams", "temperature", "top_k", "top_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
    "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "epsilon_cutoff", "eta_cutoff", "encoder_repetition_penalty", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold", "num_beam_groups", "diversity_penalty"};

enum {
    DEFAULT = 1 << AR_ROPE_DEFAULT,
    LINEAR = 1 << AR_ROPE_LINEAR,
    DYNAMIC = 1 << AR_ROPE_DYNAMIC,
    LLAMA3 = 1 << AR_ROPE_LLAMA3,
    YARN = 1 << AR_ROPE_YARN,
    KINDS = DEFAULT | LINEAR | DYNAMIC | LLAMA3 | YARN
};

static const field rope_fields[] = {
    {"rope_type", KINDS, 0, STRING, 0, 0},
    {"type", KINDS, 0, STRING, 0, 0},
    {"rope_theta", KINDS, 0, REAL, 0, INFINITY},
    {"partial_rotary_factor", KINDS, 0, REAL, 1, 1},
    {"factor", KINDS & ~DEFAULT, 0, REAL, 0, INFINITY},
    {"low_freq_factor", LLAMA3, 0, REAL, 0, INFINITY},
    {"high_freq_factor", LLAMA3, 0, REAL, 0, INFINITY},
    {"original_max_position_embeddings", LLAMA3 | YARN, 0, REAL, 1, INT32_MAX},
    {"beta_fast", YARN, 0, REAL, 0, 1e6},
    {"beta_slow", YARN, 0, REAL, 0, 1e6},
    {"attention_factor", YARN, 0, REAL, 1e-6, 1e6},
    {"mscale", YARN, 0, REAL, 0, 1e6},
    {"mscale_all_dim", YARN, 0, REAL, 0, 1e6},
    {"truncate", YARN, 0, BOOL, 0, 0},
    {"finetuned", 0, KINDS, ANY, 0, 0},
};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static const field *find_field(const char *key, const field *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(key, list[i].key)) return &list[i];
    return NULL;
}

static bool is_harmless(const char *key) {
    for (size_t i = 0; i < COUNT(harmless_fields); i++)
        if (!strcmp(key, harmless_fields[i])) return true;
    return false;
}

static bool is_off(const json_t *v) { return ar__json_is_off(v) || (json_is_number(v) && json_number_value(v) == 0.0); }

/* The object's value of a field that is read: its type and range. */
static ar_status check_value(const field *f, const json_t *object, const char *place, ar_error *err) {
    int64_t whole;
    double x = f->lowest;
    bool flag;
    const char *text;
    const json_t *part;
    ar_status s = AR_OK;
    switch (f->type) {
    case ANY: return AR_OK;
    case WHOLE:
        if (!(s = ar__json_get_int(&whole, object, f->key, place, err))) s = ar__json_get_double(&x, object, f->key, place, err);
        break;
    case REAL: s = ar__json_get_double(&x, object, f->key, place, err); break;
    case BOOL: return ar__json_get_bool(&flag, object, f->key, place, err);
    case STRING: return ar__json_get_string(&text, object, f->key, place, err);
    case LIST: return ar__json_get_array(&part, object, f->key, place, err);
    case OBJECT: return ar__json_get_object(&part, object, f->key, place, err);
    }
    if (s || (x >= f->lowest && x <= f->most)) return s;
    if (f->lowest == f->most) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: %s is %g, wanted %g", place, f->key, x, f->most);
    return ar__fail(err, AR_ERR_VALUE, "%s: '%s' is %.9g, wanted %.9g to %.9g", place, f->key, x, f->lowest, f->most);
}

static ar_status refuse(const char *key, const json_t *value, const char *name, const char *place, ar_error *err) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    ar_status s = ar__fail(err, AR_ERR_UNSUPPORTED,
                           "%s: '%s' is %.60s, which the %s family does not do: these weights may want other code; set it to null if you "
                           "know that they do not",
                           place, key, text ? text : ar__json_type(value), name);
    free(text);
    return s;
}

ar_status ar__fields_check(const json_t *config, int family, const char *name, const char *place, ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        const field *f = find_field(key, config_fields, COUNT(config_fields));
        ar_status s = AR_OK;
        if (f && f->read & family) {
            if ((s = check_value(f, config, place, err))) return s;
            continue;
        }
        if (key[0] == '_' || ar__json_is_off(value) || is_harmless(key) || (f && (f->harmless & family || is_off(value)))) continue;
        if (f) return refuse(key, value, name, place, err);
        if (!strcmp(key, "quantization_config") || !strcmp(key, "quantization"))
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "%s: the weights are quantised (%s), wanted f32, f16 or bf16 weights; use the unquantised base", place, key);
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: unknown field '%s', which may change the maths; remove it if you know that it does not", place, key);
    }
    return AR_OK;
}

ar_status ar__rope_fields_check(const json_t *block, ar_rope_kind kind, const char *kind_name, const char *place, const ar_log *log,
                                ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)block, key, value) {
        const field *f = find_field(key, rope_fields, COUNT(rope_fields));
        ar_status s = AR_OK;
        if (f && f->read & 1 << kind) {
            if ((s = check_value(f, block, place, err))) return s;
            continue;
        }
        if (ar__json_is_off(value) || (f && f->harmless & 1 << kind)) continue;
        if (!f)
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "%s: unknown rope parameter '%s', which may change the maths; remove it if you know that it does not", place,
                            key);
        ar__log_warn(log, "%s: rope parameter '%s' has no effect with rope type '%s'", place, key, kind_name);
    }
    return AR_OK;
}
