#include "arch/config_fields.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"
#include "ops/delta.h"
#include "ops/experts.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

enum { MAX_LAYERS = 4096, MAX_DIM = 1 << 22, MAX_VOCAB = 1 << 24, MAX_HEADS = 4096 };

#define AT(member) (int)offsetof(ar_config, member)
#define NEEDED(key, member, most)                                                                                                          \
    { key, AR_FIELD_WHOLE, true, AT(member), 1, most, false, 0, 0 }
#define NUMBER(key, type, member, lowest, most)                                                                                            \
    { key, type, false, AT(member), lowest, most, false, 0, 0 }
#define NULLABLE(key, type, member, lowest, most)                                                                                          \
    { key, type, false, AT(member), lowest, most, true, 0, 0 }
#define OTHER(key, type, member)                                                                                                           \
    { key, type, false, AT(member), 0, 0, false, 0, 0 }
#define ELSEWHERE(key, type, lowest, most)                                                                                                 \
    { key, type, false, AR_FIELD_NOWHERE, lowest, most, false, 0, 0 }
#define END                                                                                                                                \
    { NULL, AR_FIELD_ANY, false, AR_FIELD_NOWHERE, 0, 0, false, 0, 0 }

/* clang-format off */
const ar_field ar__fields_decoder[] = {
    ELSEWHERE("model_type", AR_FIELD_STRING, 0, 0),
    NEEDED("vocab_size", vocab, MAX_VOCAB),
    NEEDED("hidden_size", dim, MAX_DIM),
    NEEDED("intermediate_size", ff, MAX_DIM),
    NEEDED("num_hidden_layers", layers, MAX_LAYERS),
    NEEDED("num_attention_heads", heads, MAX_HEADS),
    NUMBER("num_key_value_heads", AR_FIELD_WHOLE, kv_heads, 1, MAX_HEADS),
    NUMBER("head_dim", AR_FIELD_WHOLE, head_dim, 1, MAX_HEADS),
    NUMBER("max_position_embeddings", AR_FIELD_WHOLE, max_positions, 1, INT32_MAX),
    OTHER("tie_word_embeddings", AR_FIELD_BOOL, tied),
    OTHER("layer_types", AR_FIELD_LIST, layer_types),
    NUMBER("attention_dropout", AR_FIELD_REAL, attention_dropout, 0, 1),
    ELSEWHERE("bos_token_id", AR_FIELD_ANY, 0, 0),
    ELSEWHERE("eos_token_id", AR_FIELD_ANY, 0, 0),
    END};

const ar_field ar__fields_rope[] = {
    ELSEWHERE("rope_theta", AR_FIELD_REAL, 0, INFINITY),
    ELSEWHERE("rope_scaling", AR_FIELD_OBJECT, 0, 0),
    ELSEWHERE("rope_parameters", AR_FIELD_OBJECT, 0, 0),
    ELSEWHERE("original_max_position_embeddings", AR_FIELD_REAL, 1, INT32_MAX),
    NUMBER("partial_rotary_factor", AR_FIELD_REAL, partial, 0, 1),
    END};

const ar_field ar__fields_rms[] = {NUMBER("rms_norm_eps", AR_FIELD_REAL, norm_eps, 1e-30, 0.999), END};
const ar_field ar__fields_layer_norm[] = {NUMBER("layer_norm_eps", AR_FIELD_REAL, norm_eps, 1e-30, 0.999), END};
const ar_field ar__fields_norm_epsilon[] = {NUMBER("norm_epsilon", AR_FIELD_REAL, norm_eps, 1e-30, 0.999), END};
const ar_field ar__fields_norm_eps[] = {NUMBER("norm_eps", AR_FIELD_REAL, norm_eps, 1e-30, 0.999), END};

const ar_field ar__fields_gpt2[] = {
    ELSEWHERE("model_type", AR_FIELD_STRING, 0, 0),
    NEEDED("vocab_size", vocab, MAX_VOCAB),
    NEEDED("n_embd", dim, MAX_DIM),
    NEEDED("n_layer", layers, MAX_LAYERS),
    NEEDED("n_head", heads, MAX_HEADS),
    NUMBER("n_inner", AR_FIELD_WHOLE, ff, 1, MAX_DIM),
    NUMBER("n_positions", AR_FIELD_WHOLE, max_positions, 1, INT32_MAX),
    OTHER("activation_function", AR_FIELD_STRING, act),
    NUMBER("layer_norm_epsilon", AR_FIELD_REAL, norm_eps, 1e-30, 0.999),
    OTHER("tie_word_embeddings", AR_FIELD_BOOL, tied),
    OTHER("scale_attn_weights", AR_FIELD_BOOL, scaled),
    OTHER("scale_attn_by_inverse_layer_idx", AR_FIELD_BOOL, layer_scaled),
    NUMBER("attn_pdrop", AR_FIELD_REAL, attention_dropout, 0, 1),
    NUMBER("resid_pdrop", AR_FIELD_REAL, residual_dropout, 0, 1),
    NUMBER("embd_pdrop", AR_FIELD_REAL, embed_dropout, 0, 1),
    ELSEWHERE("bos_token_id", AR_FIELD_ANY, 0, 0),
    ELSEWHERE("eos_token_id", AR_FIELD_ANY, 0, 0),
    END};

const ar_field ar__fields_gpt_neox[] = {
    NUMBER("rotary_pct", AR_FIELD_REAL, partial, 0, 1),
    NUMBER("rotary_emb_base", AR_FIELD_REAL, theta, 1e-3, 1e300),
    OTHER("use_parallel_residual", AR_FIELD_BOOL, parallel),
    END};

const ar_field ar__fields_starcoder2[] = {
    NUMBER("residual_dropout", AR_FIELD_REAL, residual_dropout, 0, 1),
    NUMBER("embedding_dropout", AR_FIELD_REAL, embed_dropout, 0, 1),
    END};

const ar_field ar__fields_qk_norm[] = {OTHER("qk_layernorm", AR_FIELD_BOOL, qk_norm), END};
const ar_field ar__fields_parallel[] = {OTHER("use_parallel_residual", AR_FIELD_BOOL, parallel), END};
const ar_field ar__fields_qkv_bias[] = {OTHER("use_qkv_bias", AR_FIELD_BOOL, qkv_bias), END};
const ar_field ar__fields_hidden_dropout[] = {NUMBER("hidden_dropout", AR_FIELD_REAL, residual_dropout, 0, 1), END};
const ar_field ar__fields_logit_scale[] = {NUMBER("logit_scale", AR_FIELD_REAL, logit_scale, 1e-6, 1e6), END};
const ar_field ar__fields_act[] = {OTHER("hidden_act", AR_FIELD_STRING, act), END};
const ar_field ar__fields_activation[] = {OTHER("hidden_activation", AR_FIELD_STRING, act), END};

const ar_field ar__fields_window[] = {
    NULLABLE("sliding_window", AR_FIELD_WHOLE, window, 1, INT32_MAX),
    OTHER("use_sliding_window", AR_FIELD_BOOL, use_window),
    NUMBER("max_window_layers", AR_FIELD_WHOLE, first_windowed, 0, INT32_MAX),
    END};

/* Where 0, too, says that there is none. */
const ar_field ar__fields_window_or_0[] = {
    NULLABLE("sliding_window", AR_FIELD_WHOLE, window, 0, INT32_MAX),
    OTHER("use_sliding_window", AR_FIELD_BOOL, use_window),
    NUMBER("max_window_layers", AR_FIELD_WHOLE, first_windowed, 0, INT32_MAX),
    END};

const ar_field ar__fields_sliding[] = {NULLABLE("sliding_window", AR_FIELD_WHOLE, window, 1, INT32_MAX), END};
const ar_field ar__fields_pattern[] = {OTHER("sliding_window_pattern", AR_FIELD_ANY, pattern), END};
const ar_field ar__fields_query_scalar[] = {NUMBER("query_pre_attn_scalar", AR_FIELD_REAL, query_scalar, 1e-3, 1e9), END};
const ar_field ar__fields_score_cap[] = {NULLABLE("attn_logit_softcapping", AR_FIELD_REAL, score_cap, 1e-3, 1e9), END};
const ar_field ar__fields_logit_cap[] = {NULLABLE("final_logit_softcapping", AR_FIELD_REAL, logit_cap, 1e-3, 1e9), END};
const ar_field ar__fields_dropouts[] = {NUMBER("resid_pdrop", AR_FIELD_REAL, residual_dropout, 0, 1),
                                        NUMBER("embd_pdrop", AR_FIELD_REAL, embed_dropout, 0, 1), END};
const ar_field ar__fields_local_theta[] = {NUMBER("rope_local_base_freq", AR_FIELD_REAL, local_theta, 1e-3, 1e300), END};
const ar_field ar__fields_attention_bias[] = {OTHER("attention_bias", AR_FIELD_BOOL, attention_bias), END};
const ar_field ar__fields_mlp_bias[] = {OTHER("mlp_bias", AR_FIELD_BOOL, mlp_bias), END};

const ar_field ar__fields_multipliers[] = {
    NUMBER("embedding_multiplier", AR_FIELD_REAL, embed_scale, 1e-6, 1e6),
    NUMBER("residual_multiplier", AR_FIELD_REAL, residual_scale, 1e-6, 1e6),
    NUMBER("attention_multiplier", AR_FIELD_REAL, attention_scale, 1e-6, 1e6),
    NUMBER("logits_scaling", AR_FIELD_REAL, logit_divisor, 1e-6, 1e6),
    END};

const ar_field ar__fields_no_rope[] = {
    OTHER("no_rope_layers", AR_FIELD_LIST, rope_layers), /* 1: has one */
    NUMBER("no_rope_layer_interval", AR_FIELD_WHOLE, no_rope_every, 1, INT32_MAX),
    END};

const ar_field ar__fields_out_bias[] = {
    OTHER("attention_out_bias", AR_FIELD_BOOL, out_bias),
    NUMBER("residual_dropout", AR_FIELD_REAL, residual_dropout, 0, 1),
    END};

const ar_field ar__fields_all_bias[] = {OTHER("use_bias", AR_FIELD_BOOL, all_bias), END};

const ar_field ar__fields_delta[] = {
    NUMBER("linear_conv_kernel_dim", AR_FIELD_WHOLE, delta_taps, 1, AR_CONV_TAPS),
    NUMBER("linear_key_head_dim", AR_FIELD_WHOLE, delta_key_dim, 1, MAX_HEADS),
    NUMBER("linear_value_head_dim", AR_FIELD_WHOLE, delta_value_dim, 1, MAX_HEADS),
    NUMBER("linear_num_key_heads", AR_FIELD_WHOLE, delta_key_heads, 1, MAX_HEADS),
    NUMBER("linear_num_value_heads", AR_FIELD_WHOLE, delta_value_heads, 1, MAX_HEADS),
    NUMBER("full_attention_interval", AR_FIELD_WHOLE, attention_every, 1, INT32_MAX), /* where there are no layer_types */
    OTHER("attn_output_gate", AR_FIELD_BOOL, output_gate),
    END};

/* Its MLP is as wide as block_ff_dim says before intermediate_size, or about two thirds of that. */
const ar_field ar__fields_lfm2[] = {
    NUMBER("conv_L_cache", AR_FIELD_WHOLE, conv_taps, 1, AR_CONV_TAPS),
    OTHER("conv_bias", AR_FIELD_BOOL, conv_bias),
    OTHER("block_auto_adjust_ff_dim", AR_FIELD_BOOL, two_thirds_ff),
    NUMBER("block_multiple_of", AR_FIELD_WHOLE, ff_multiple, 1, MAX_DIM),
    NULLABLE("block_ffn_dim_multiplier", AR_FIELD_REAL, ff_multiplier, 1e-3, 1e3),
    NUMBER("block_ff_dim", AR_FIELD_WHOLE, block_ff, 1, MAX_DIM),
    OTHER("tie_embedding", AR_FIELD_BOOL, tie_embedding),
    OTHER("full_attn_idxs", AR_FIELD_LIST, full_layers), /* where there are no layer_types */
    END};

const ar_field ar__fields_gemma4[] = {
    ELSEWHERE("rope_parameters", AR_FIELD_OBJECT, 0, 0),
    NUMBER("hidden_size_per_layer_input", AR_FIELD_WHOLE, ple_dim, 0, MAX_DIM),
    NUMBER("vocab_size_per_layer_input", AR_FIELD_WHOLE, ple_vocab, 1, MAX_VOCAB),
    NUMBER("num_kv_shared_layers", AR_FIELD_WHOLE, kv_shared, 0, MAX_LAYERS),
    NUMBER("global_head_dim", AR_FIELD_WHOLE, full_head_dim, 1, MAX_HEADS),
    NUMBER("num_global_key_value_heads", AR_FIELD_WHOLE, full_kv_heads, 1, MAX_HEADS),
    OTHER("attention_k_eq_v", AR_FIELD_BOOL, full_k_is_v),
    OTHER("use_double_wide_mlp", AR_FIELD_BOOL, shared_wide),
    OTHER("enable_moe_block", AR_FIELD_BOOL, moe_block),
    NUMBER("num_experts", AR_FIELD_WHOLE, experts, 1, AR_MOST_EXPERTS),
    NUMBER("top_k_experts", AR_FIELD_WHOLE, experts_used, 1, AR_MOST_EXPERTS),
    OTHER("use_bidirectional_attention", AR_FIELD_STRING, bidirectional),
    ELSEWHERE("per_layer_config", AR_FIELD_OBJECT, 0, 0),
    END};

const ar_field ar__fields_experts[] = {
    NUMBER("num_local_experts", AR_FIELD_WHOLE, experts, 1, AR_MOST_EXPERTS),
    NUMBER("num_experts", AR_FIELD_WHOLE, experts, 1, AR_MOST_EXPERTS),
    NUMBER("num_experts_per_tok", AR_FIELD_WHOLE, experts_used, 1, AR_MOST_EXPERTS),
    END};
const ar_field ar__fields_balance[] = {
    OTHER("output_router_logits", AR_FIELD_BOOL, router_logits),
    NULLABLE("router_aux_loss_coef", AR_FIELD_REAL, router_aux, -1e300, 1e300), /* what it is matters where the other is true */
    END};
const ar_field ar__fields_expert_ff[] = {NUMBER("moe_intermediate_size", AR_FIELD_WHOLE, expert_ff, 1, MAX_DIM), END};
const ar_field ar__fields_swiglu[] = {
    NUMBER("swiglu_alpha", AR_FIELD_REAL, swiglu_alpha, 1e-6, 1e6),
    NUMBER("swiglu_limit", AR_FIELD_REAL, swiglu_limit, 1e-6, 1e6),
    NUMBER("experts_per_token", AR_FIELD_WHOLE, experts_per_token, 1, AR_MOST_EXPERTS),
    END};
const ar_field ar__fields_renormalised[] = {OTHER("norm_topk_prob", AR_FIELD_BOOL, renormalised), END};
const ar_field ar__fields_some_dense[] = {
    NUMBER("decoder_sparse_step", AR_FIELD_WHOLE, sparse_every, 1, INT32_MAX),
    OTHER("mlp_only_layers", AR_FIELD_LIST, dense_layers),
    END};
const ar_field ar__fields_shared[] = {
    NUMBER("shared_expert_intermediate_size", AR_FIELD_WHOLE, shared_ff, 1, MAX_DIM),
    END};
const ar_field ar__fields_qwen_bias[] = {OTHER("qkv_bias", AR_FIELD_BOOL, qkv_bias), END};
const ar_field ar__fields_jitter[] = {ELSEWHERE("router_jitter_noise", AR_FIELD_REAL, 0, 0), END};
const ar_field ar__fields_clip_qkv[] = {NULLABLE("clip_qkv", AR_FIELD_REAL, clip_qkv, 1e-6, 1e9), END};

/* Of families that do not run: known to change the maths; and of those whose loss would have another part. */
static const char *const foreign[] = {"hidden_dropout_prob", "neftune_noise_alpha",
                                      "output_router_logits", "use_qk_norm", "add_cross_attention", "logits_soft_cap", "num_nextn_predict_layers"};

static const ar_field *const all_groups[] = {
    ar__fields_decoder,      ar__fields_rope,         ar__fields_window,     ar__fields_attention_bias,
    ar__fields_mlp_bias,     ar__fields_multipliers,  ar__fields_no_rope,    ar__fields_out_bias,
    ar__fields_all_bias,     ar__fields_act,          ar__fields_activation, ar__fields_sliding,
    ar__fields_pattern,      ar__fields_query_scalar, ar__fields_score_cap,  ar__fields_logit_cap,
    ar__fields_local_theta,  ar__fields_dropouts,     ar__fields_rms,        ar__fields_layer_norm,
    ar__fields_norm_epsilon, ar__fields_norm_eps,     ar__fields_gpt2,       ar__fields_gpt_neox,
    ar__fields_qk_norm,      ar__fields_parallel,     ar__fields_qkv_bias,   ar__fields_hidden_dropout,
    ar__fields_starcoder2,   ar__fields_logit_scale,  ar__fields_gemma4,     ar__fields_experts,
    ar__fields_expert_ff,    ar__fields_renormalised, ar__fields_some_dense, ar__fields_shared,
    ar__fields_jitter,       ar__fields_clip_qkv,     ar__fields_delta,      ar__fields_swiglu,
    ar__fields_qwen_bias,    ar__fields_lfm2,         ar__fields_balance,    NULL};
/* clang-format on */

/* Without effect on the forward pass of any family, whatever they hold. */
static const char *const harmless_fields[] = {
    "architectures", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range", "pretraining_tp",
    /* names of tokens and lengths for the tokenizer */
    "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "decoder_start_token_id", "bos_token", "eos_token",
    "pad_token", "unk_token", "tokenizer_class", "model_max_length", "tokenizer_model_max_length", "max_sequence_length", "max_seq_length",
    "max_seq_len", "seq_length",
    /* what a call returns, and tasks with other heads */
    "output_attentions", "output_hidden_states", "router_aux_loss_coef", "output_scores", "return_dict", "return_dict_in_generate",
    "use_return_dict", "chunk_size_feed_forward", "classifier_dropout", "tie_last_hidden_states", "is_decoder", "id2label", "label2id",
    "num_labels", "problem_type", "task_specific_params", "finetuning_task", "prefix", "tf_legacy_loss", "torchscript",
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
    LONG = 1 << AR_ROPE_LONG,
    PROPORTIONAL = 1 << AR_ROPE_PROPORTIONAL,
    KINDS = DEFAULT | LINEAR | DYNAMIC | LLAMA3 | YARN | LONG | PROPORTIONAL
};

#define ROPE(key, kinds, type, lowest, most)                                                                                               \
    { key, type, false, AR_FIELD_NOWHERE, lowest, most, false, kinds, 0 }

/* clang-format off */
static const ar_field rope_fields[] = {
    ROPE("rope_type", KINDS, AR_FIELD_STRING, 0, 0),
    ROPE("type", KINDS, AR_FIELD_STRING, 0, 0),
    ROPE("rope_theta", KINDS, AR_FIELD_REAL, 0, INFINITY),
    ROPE("partial_rotary_factor", KINDS, AR_FIELD_REAL, 0, 1),
    ROPE("factor", KINDS & ~DEFAULT, AR_FIELD_REAL, 0, INFINITY),
    ROPE("alpha", DYNAMIC, AR_FIELD_REAL, 0, 1e9),
    ROPE("low_freq_factor", LLAMA3, AR_FIELD_REAL, 0, INFINITY),
    ROPE("high_freq_factor", LLAMA3, AR_FIELD_REAL, 0, INFINITY),
    ROPE("original_max_position_embeddings", LLAMA3 | YARN | LONG, AR_FIELD_REAL, 1, INT32_MAX),
    ROPE("beta_fast", YARN, AR_FIELD_REAL, 0, 1e6),
    ROPE("beta_slow", YARN, AR_FIELD_REAL, 0, 1e6),
    ROPE("short_factor", LONG, AR_FIELD_LIST, 0, 0),
    ROPE("long_factor", LONG, AR_FIELD_LIST, 0, 0),
    ROPE("attention_factor", YARN | LONG, AR_FIELD_REAL, 1e-6, 1e6),
    ROPE("mscale", YARN, AR_FIELD_REAL, 0, 1e6),
    ROPE("mscale_all_dim", YARN, AR_FIELD_REAL, 0, 1e6),
    ROPE("truncate", YARN, AR_FIELD_BOOL, 0, 0),
    ROPE("llama_4_scaling_beta", KINDS, AR_FIELD_REAL, 0, 1e3),
    {"max_position_embeddings", AR_FIELD_ANY, false, AR_FIELD_NOWHERE, 0, 0, false, 0, KINDS},
    {"mrope_section", AR_FIELD_ANY, false, AR_FIELD_NOWHERE, 0, 0, false, 0, KINDS}, /* of text all three positions are one */
    {"mrope_interleaved", AR_FIELD_ANY, false, AR_FIELD_NOWHERE, 0, 0, false, 0, KINDS},
    {"finetuned", AR_FIELD_ANY, false, AR_FIELD_NOWHERE, 0, 0, false, 0, KINDS},
    END};
/* clang-format on */

static const ar_field *find_in(const char *key, const ar_field *group) {
    for (; group->key; group++)
        if (!strcmp(key, group->key)) return group;
    return NULL;
}

static const ar_field *find_field(const char *key, const ar_field_list *list) {
    const ar_field *f = NULL;
    for (size_t i = 0; !f && i < AR_FIELD_GROUPS && list->group[i]; i++) f = find_in(key, list->group[i]);
    return f;
}

bool ar__fields_have(const ar_field_list *list, const char *key) { return find_field(key, list) != NULL; }

static bool is_one_of(const char *key, const char *const *list, size_t n) {
    for (size_t i = 0; i < n && list[i]; i++)
        if (!strcmp(key, list[i])) return true;
    return false;
}

/* Known to a family, or as one of those that none does. */
static bool is_known(const char *key) {
    bool known = is_one_of(key, foreign, COUNT(foreign));
    for (size_t i = 0; !known && all_groups[i]; i++) known = find_in(key, all_groups[i]) != NULL;
    return known;
}

static bool is_off(const json_t *v) { return ar__json_is_off(v) || (json_is_number(v) && json_number_value(v) == 0.0); }

static ar_status check_range(const ar_field *f, double x, const char *place, ar_error *err) {
    if (x >= f->lowest && x <= f->most) return AR_OK;
    if (f->lowest == f->most) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: %s is %g, wanted %g", place, f->key, x, f->most);
    return ar__fail(err, AR_ERR_VALUE, "%s: '%s' is %.9g, wanted %.9g to %.9g", place, f->key, x, f->lowest, f->most);
}

/* The object's value to where it goes, its type and range looked at; `out` NULL: looked at alone. */
static ar_status read_value(ar_config *out, const ar_field *f, const json_t *object, const char *place, ar_error *err) {
    void *to = out && f->at != AR_FIELD_NOWHERE ? (char *)out + f->at : NULL;
    int64_t whole = 0;
    double real = f->lowest;
    bool flag = false;
    const char *text = NULL;
    const json_t *part = NULL;
    bool there = ar__json_has(object, f->key);
    if (to && f->null_is_none && json_is_null(json_object_get(object, f->key))) {
        if (f->type == AR_FIELD_WHOLE) *(int64_t *)to = 0;
        if (f->type == AR_FIELD_REAL) *(double *)to = 0.0;
        return AR_OK;
    }
    ar_status s = AR_OK;
    switch (f->type) {
    case AR_FIELD_ANY:
        if (to && there) *(const json_t **)to = json_object_get(object, f->key);
        return AR_OK;
    case AR_FIELD_WHOLE:
        if ((s = ar__json_get_int(&whole, object, f->key, place, err)) || (s = ar__json_get_double(&real, object, f->key, place, err)) ||
            (s = check_range(f, real, place, err)))
            return s;
        if (to && there) *(int64_t *)to = whole;
        return AR_OK;
    case AR_FIELD_REAL:
        if ((s = ar__json_get_double(&real, object, f->key, place, err)) || (s = check_range(f, real, place, err))) return s;
        if (to && there) *(double *)to = real;
        return AR_OK;
    case AR_FIELD_BOOL:
        s = ar__json_get_bool(&flag, object, f->key, place, err);
        if (!s && to && there) *(bool *)to = flag;
        return s;
    case AR_FIELD_STRING:
        s = ar__json_get_string(&text, object, f->key, place, err);
        if (!s && to && there) *(const char **)to = text;
        return s;
    case AR_FIELD_LIST:
        s = ar__json_get_array(&part, object, f->key, place, err);
        if (!s && to && there) *(const json_t **)to = part;
        return s;
    case AR_FIELD_OBJECT: return ar__json_get_object(&part, object, f->key, place, err);
    }
    return s;
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

/* Those that weights/packed.h reads. */
static ar_status check_packing(const char *key, const json_t *value, const char *place, ar_error *err) {
    static const char *const methods[] = {"bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors", "mxfp4"};
    const json_t *method = json_object_get(value, "quant_method");
    if (json_is_string(method) && is_one_of(json_string_value(method), methods, COUNT(methods))) return AR_OK;
    if (!method && json_object_get(value, "group_size") && json_object_get(value, "bits")) return AR_OK; /* MLX */
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: the weights are quantised (%s: %.40s), wanted bitsandbytes, gptq, awq, fp8, compressed-tensors, mxfp4 or MLX; "
                    "use the unquantised base",
                    place, key, json_is_string(method) ? json_string_value(method) : "no quant_method");
}

static ar_status read_key(ar_config *out, const ar_field_list *list, const char *key, const json_t *value, const json_t *config,
                          const char *name, const char *place, ar_error *err) {
    const ar_field *f = find_field(key, list);
    if (f) return read_value(out, f, config, place, err);
    bool silent = is_one_of(key, harmless_fields, COUNT(harmless_fields)) || is_one_of(key, list->silent, AR_FIELD_SILENT);
    if (key[0] == '_' || ar__json_is_off(value) || silent || (is_known(key) && is_off(value))) return AR_OK;
    if (is_known(key)) return refuse(key, value, name, place, err);
    if (!strcmp(key, "quantization_config") || !strcmp(key, "quantization")) return check_packing(key, value, place, err);
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: unknown field '%s', which may change the maths; remove it if you know that it does not",
                    place, key);
}

ar_status ar__fields_read(ar_config *out, const ar_field_list *list, const json_t *config, const char *name, const char *place,
                          ar_error *err) {
    const char *key;
    json_t *value;
    ar_status s = AR_OK;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        if ((s = read_key(out, list, key, value, config, name, place, err))) return s;
    }
    for (size_t i = 0; i < AR_FIELD_GROUPS && list->group[i]; i++)
        for (const ar_field *f = list->group[i]; !s && f->key; f++)
            if (f->is_needed && *(const int64_t *)((const char *)out + f->at) == 0) s = ar__json_need(config, f->key, place, err);
    return s;
}

ar_status ar__rope_fields_check(const json_t *block, ar_rope_kind kind, const char *kind_name, const char *place, const ar_log *log,
                                ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)block, key, value) {
        const ar_field *f = find_in(key, rope_fields);
        ar_status s = AR_OK;
        if (f && f->read & 1 << kind) {
            if ((s = read_value(NULL, f, block, place, err))) return s;
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
