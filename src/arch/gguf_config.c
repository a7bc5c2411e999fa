/* The key-values of a GGUF base as the config.json of the model that it was made from, so that one reader serves both.
 *
 *     ARCHITECTURE.KEY    the first of a row's fields that the family reads; of none it must say nothing new
 *     tensors             which biases there are, whether there is a head, RoPE's factors, the size of the vocabulary
 *
 * What a GGUF file does not hold, llama.cpp has in its code, and so has the rule of an architecture here (Gemma's scale of attention,
 * the layers without RoPE).  A key that is neither known nor off is refused: it may change the maths.
 * Source: llama.cpp's converters and load_arch_hparams, as of llama-cpp-python 0.3.29. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/family.h"
#include "arch/gguf_layers.h"
#include "arch/gguf_table.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "format/json.h"

/* Looked at elsewhere in this file, or without effect on the forward pass. */
static const char *const others[] = {"vocab_size",
                                     "rope.dimension_count",
                                     "rope.dimension_count_swa",
                                     "rope.scaling.type",
                                     "rope.scaling.factor",
                                     "rope.scaling.original_context_length",
                                     "rope.scaling.attn_factor",
                                     "rope.scaling.yarn_ext_factor",
                                     "rope.scaling.yarn_attn_factor",
                                     "rope.scaling.yarn_beta_fast",
                                     "rope.scaling.yarn_beta_slow",
                                     "rope.scaling.yarn_log_multiplier",
                                     "rope.scaling.finetuned",
                                     "rope.scale_linear",
                                     "attention.value_length",
                                     "attention.key_length_swa",
                                     "attention.value_length_swa",
                                     "attention.sliding_window_pattern",
                                     "attention.temperature_scale",
                                     "attention.causal",
                                     "ssm.inner_size",
                                     "rope.dimension_sections", /* of text all three positions are one */
                                     "tensor_data_layout"};

/* A field that is on where a tensor is there. */
static const struct {
    const char *field, *tensor;
} flags[] = {
    {"attention_bias", "blk.0.attn_q.bias"}, {"attention_bias", "blk.0.attn_qkv.bias"},   {"attention_out_bias", "blk.0.attn_output.bias"},
    {"mlp_bias", "blk.0.ffn_up.bias"},       {"use_qkv_bias", "blk.0.attn_q.bias"},       {"qkv_bias", "blk.0.attn_q.bias"},
    {"use_bias", "blk.0.attn_output.bias"},  {"qk_layernorm", "blk.0.attn_q_norm.weight"}};

typedef struct reader {
    const ar_gguf *g;
    const ar_tensors *files;
    const ar_family *family;
    json_t *config;
    char *architecture;
    const char *path;
    ar_error *err;
} reader;

static bool reads(const reader *r, const char *field) { return ar__fields_have(&r->family->fields, field); }
static bool is_architecture(const reader *r, const char *name) { return !strcmp(r->architecture, name); }

static const ar_gguf_kv *find_key(const reader *r, const char *key) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s.%s", r->architecture, key);
    const ar_gguf_kv *kv = full.failed ? NULL : ar__gguf_kv_find(r->g, full.data);
    ar__buf_release(&full);
    return kv;
}

static ar_status bad_value(const reader *r, const ar_gguf_kv *kv, const char *wanted) {
    return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: '%s': found %s, wanted %s", r->path, kv->key, ar__gguf_type_name(kv), wanted);
}

/* The number of a key; of a list, one for each layer, that which all have.  Layers of other mixers have no key/value heads. */
static ar_status read_number(double *out, const reader *r, const ar_gguf_kv *kv) {
    const char *end = strstr(kv->key, ".attention.head_count_kv");
    bool skips = r->family->short_conv && end && kv->is_array, first = true;
    if (skips) *out = 1.0; /* where none has any */
    for (size_t i = 0; i < kv->count; i++) {
        double x;
        if (!ar__gguf_double_at(&x, kv, i)) return bad_value(r, kv, "a number");
        if (!isfinite(x)) return ar__fail(r->err, AR_ERR_VALUE, "%s: '%s' is %g, wanted a finite number", r->path, kv->key, x);
        if (skips && x == 0.0) continue;
        if (!first && x != *out)
            return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: '%s' differs from layer to layer, which no family that runs does", r->path,
                            kv->key);
        *out = x;
        first = false;
    }
    return kv->count ? AR_OK : bad_value(r, kv, "a number");
}

/* Leaves *out alone where the key is absent. */
static ar_status get_number(double *out, const reader *r, const char *key) {
    const ar_gguf_kv *kv = find_key(r, key);
    return kv ? read_number(out, r, kv) : AR_OK;
}

static ar_status put(const reader *r, json_t *into, const char *field, json_t *value) {
    return value && json_object_set_new(into, field, value) == 0 ? AR_OK : ar__fail_memory(r->err, r->path);
}

/* A real of a file is an f32: the shortest decimal that it is read from, as in the config.json that it was made from. */
static json_t *number_of(const ar_gguf_kv *kv, double x) {
    int64_t whole;
    bool flag;
    if (!kv->is_array && ar__gguf_bool_at(&flag, kv, 0)) return json_boolean(flag);
    if (ar__gguf_int_at(&whole, kv, 0)) return json_integer((json_int_t)x); /* of a list not always the first */
    for (int digits = 6; kv->type == AR_GGUF_F32 && digits < 10; digits++) {
        char text[32];
        snprintf(text, sizeof text, "%.*g", digits, x);
        double back = strtod(text, NULL);
        if ((float)back == (float)x) return json_real(back);
    }
    return json_real(x);
}

/* Whole where it is, since some readers of config.json insist. */
static json_t *number(double x) { return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x); }

static ar_status put_key(const reader *r, const char *key, const char *const *field) {
    const ar_gguf_kv *kv = find_key(r, key);
    double x = 0;
    bool flag;
    if (!kv || (kv->is_array && ar__gguf_is_layered(r->family))) return AR_OK; /* gguf_layers.c */
    if (ar__gguf_is_of_other_norms(key, r->family->layer_norm)) return AR_OK;
    bool is_flag = !kv->is_array && ar__gguf_bool_at(&flag, kv, 0);
    ar_status s = is_flag ? AR_OK : read_number(&x, r, kv);
    if (s) return s;
    for (int i = 0; i < AR_GGUF_FIELDS && field[i]; i++)
        if (reads(r, field[i])) return put(r, r->config, field[i], number_of(kv, x));
    return AR_OK; /* check_sizes */
}

static ar_status put_keys(const reader *r) {
    for (const ar_gguf_field *f = ar__gguf_fields; f->key; f++) {
        ar_status s = put_key(r, f->key, f->field);
        if (s) return s;
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!reads(r, flags[i].field) || json_is_true(json_object_get(r->config, flags[i].field))) continue;
        ar_status s = put(r, r->config, flags[i].field, json_boolean(ar__tensors_find(r->files, flags[i].tensor) != NULL));
        if (s) return s;
    }
    return AR_OK;
}

static bool is_off(const ar_gguf_kv *kv) {
    double x;
    bool flag;
    ar_gguf_string text;
    if (kv->is_array) return kv->count == 0;
    return ar__gguf_bool_at(&flag, kv, 0) ? !flag : ar__gguf_double_at(&x, kv, 0) ? x == 0 : ar__gguf_string_at(&text, kv, 0) && !text.len;
}

static bool is_known(const char *key) {
    for (const ar_gguf_field *f = ar__gguf_fields; f->key; f++)
        if (!strcmp(f->key, key)) return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i], key)) return true;
    return false;
}

static ar_status refuse_others(const reader *r) {
    size_t n = strlen(r->architecture);
    for (int i = 0; i < ar__gguf_kv_count(r->g); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(r->g, i);
        if (strncmp(kv->key, r->architecture, n) != 0 || kv->key[n] != '.' || is_known(kv->key + n + 1) || is_off(kv)) continue;
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: key '%s' is not known here and may change the maths", r->path, kv->key);
    }
    return AR_OK;
}

static double config_number(const reader *r, const char *a, const char *b) {
    const json_t *v = json_object_get(r->config, a);
    return json_number_value(v ? v : json_object_get(r->config, b));
}

static ar_status mismatch(const reader *r, const char *key, double found, double wanted) {
    return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: '%s.%s' is %.9g, wanted %.9g for model_type %s", r->path, r->architecture, key, found,
                    wanted, ar__family_name(r->family));
}

/* Sizes that the family's config.json has no field for must be what its code makes of the others. */
static ar_status check_sizes(const reader *r, double head) {
    double heads = config_number(r, "num_attention_heads", "n_head"), kv = heads, value = head, turned = head, x;
    ar_status s = get_number(&kv, r, "attention.head_count_kv");
    if (!s) s = get_number(&value, r, "attention.value_length");
    if (s) return s;
    if (!reads(r, "num_key_value_heads") && kv != heads) return mismatch(r, "attention.head_count_kv", kv, heads);
    if (value != head) return mismatch(r, "attention.value_length", value, head);
    static const char *const windowed[] = {"attention.key_length_swa", "attention.value_length_swa"};
    for (size_t i = 0; i < 2; i++) {
        x = head;
        if ((s = get_number(&x, r, windowed[i]))) return s;
        if (x != head) return mismatch(r, windowed[i], x, head);
    }
    if ((s = get_number(&turned, r, "rope.dimension_count"))) return s;
    x = turned;
    if ((s = get_number(&x, r, "rope.dimension_count_swa"))) return s;
    if (x != turned) return mismatch(r, "rope.dimension_count_swa", x, turned);
    const char *part = reads(r, "rotary_pct") ? "rotary_pct" : "partial_rotary_factor";
    if (r->family->partial && turned > 0 && turned <= head) return put(r, r->config, part, json_real(turned / head));
    if (turned != head && !r->family->learned) return mismatch(r, "rope.dimension_count", turned, head);
    const ar_gguf_kv *causal = find_key(r, "attention.causal");
    bool flag = true;
    if (causal && (!ar__gguf_bool_at(&flag, causal, 0) || !flag)) return bad_value(r, causal, "true: a causal model");
    return AR_OK;
}

static ar_status size_of_head(double *out, const reader *r) {
    double dim = config_number(r, "hidden_size", "n_embd"), heads = config_number(r, "num_attention_heads", "n_head");
    if (!(dim >= 1 && heads >= 1))
        return ar__fail(r->err, AR_ERR_FORMAT,
                        "%s: no size of the embedding or no number of heads ('%s.embedding_length', '%s.attention.head_count')", r->path,
                        r->architecture, r->architecture);
    double whole = floor(dim / heads);
    *out = whole;
    ar_status s = get_number(out, r, "attention.key_length");
    if (s) return s;
    if (!reads(r, "head_dim")) return *out == whole ? AR_OK : mismatch(r, "attention.key_length", *out, whole);
    return put(r, r->config, "head_dim", json_integer((json_int_t)*out));
}

/* ---- rotary embedding ---- */

static json_t *factors_of(const ar_tensor *t) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->count; i++) {
        float x;
        ar__dtype(t->dtype)->to_f32(&x, (const char *)t->data + i * ar__dtype(t->dtype)->bytes, 1);
        json_array_append_new(list, json_real(isfinite(x) ? (double)x : 0.0)); /* 0 is refused by who reads it */
    }
    return list;
}

static ar_status find_factors(const ar_tensor **out, const reader *r, const char *name) {
    *out = ar__tensors_find(r->files, name);
    if (!*out || ((*out)->dims == 1 && ar__dtype_is_float((*out)->dtype))) return AR_OK;
    return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s of %d dimensions, wanted a list of floats", r->path, name,
                    (*out)->dtype_name, (*out)->dims);
}

/* Factors for each frequency: Llama 3's (one list), or longrope's (two). */
static ar_status put_factors(const reader *r, json_t *rope, bool *found) {
    const ar_tensor *one, *few, *many;
    double original = config_number(r, "max_position_embeddings", "n_positions"), attention = 1;
    ar_status s = find_factors(&one, r, "rope_freqs.weight");
    if (!s) s = find_factors(&few, r, "rope_factors_short.weight");
    if (!s) s = find_factors(&many, r, "rope_factors_long.weight");
    if (!s) s = get_number(&original, r, "rope.scaling.original_context_length");
    if (!s) s = get_number(&attention, r, "rope.scaling.attn_factor");
    if (s) return s;
    *found = one || (few && many);
    if (!*found) return AR_OK;
    if (r->family->long_rope) s = put(r, r->config, "original_max_position_embeddings", number(original));
    if (!s && !(s = put(r, rope, "rope_type", json_string("longrope"))) && !(s = put(r, rope, "attention_factor", json_real(attention))) &&
        !(s = put(r, rope, "original_max_position_embeddings", number(original))) &&
        !(s = put(r, rope, "short_factor", factors_of(one ? one : few))))
        s = put(r, rope, "long_factor", factors_of(one ? one : many));
    return s;
}

static ar_status put_scaling(const reader *r, json_t *rope, const char *type) {
    double factor = 1;
    ar_status s = get_number(&factor, r, "rope.scaling.factor");
    if (!s) s = put(r, rope, "rope_type", json_string(type));
    if (!s) s = put(r, rope, "factor", json_real(factor));
    for (const ar_gguf_field *f = ar__gguf_yarn; !s && !strcmp(type, "yarn") && f->key; f++) {
        const ar_gguf_kv *kv = find_key(r, f->key);
        double x = 0;
        if (!kv) continue;
        if (!(s = read_number(&x, r, kv))) s = put(r, rope, f->field[0], number_of(kv, x));
        if (!s && !strcmp(f->field[0], "mscale_all_dim")) s = put(r, rope, "mscale", json_real(1));
    }
    /* no key says so; llama.cpp rounds the bounds all the same */
    if (!s && is_architecture(r, "gpt-oss") && !strcmp(type, "yarn")) s = put(r, rope, "truncate", json_false());
    return s;
}

static ar_status put_rope(const reader *r) {
    const ar_gguf_kv *kv = find_key(r, "rope.scaling.type");
    ar_gguf_string type = {"none", 4};
    double old = 0, base = 1;
    bool found = false;
    json_t *rope = json_object();
    ar_status s = !rope ? ar__fail_memory(r->err, r->path) : kv && !ar__gguf_string_at(&type, kv, 0) ? bad_value(r, kv, "a string") : AR_OK;
    if (!s) s = get_number(&base, r, "rope.freq_base");
    if (!s && !(base > 0))
        s = ar__fail(r->err, AR_ERR_VALUE, "%s: '%s.rope.freq_base' is %g, wanted more than 0", r->path, r->architecture, base);
    if (!s) s = get_number(&old, r, "rope.scale_linear"); /* before 2023's end */
    if (!s) s = put_factors(r, rope, &found);
    if (!s && !found) {
        if (ar__gguf_string_is(type, "linear") || ar__gguf_string_is(type, "yarn"))
            s = put_scaling(r, rope, ar__gguf_string_is(type, "yarn") ? "yarn" : "linear");
        else if (old > 0 && old != 1)
            s = put(r, rope, "rope_type", json_string("linear")) ? AR_ERR_MEMORY : put(r, rope, "factor", json_real(old));
        else if (!ar__gguf_string_is(type, "none"))
            s = ar__fail(r->err, AR_ERR_UNSUPPORTED,
                         "%s: '%s.rope.scaling.type' is '%.*s', wanted none, linear, yarn, or longrope with its factors", r->path,
                         r->architecture, (int)(type.len < 40 ? type.len : 40), type.at);
    }
    if (!s && json_object_size(rope)) return put(r, r->config, "rope_scaling", rope);
    json_decref(rope);
    return s;
}

/* ---- what is in llama.cpp's code ---- */

static ar_status put_windows(const reader *r) {
    const ar_gguf_kv *kv = find_key(r, "attention.sliding_window_pattern");
    bool gemma2 = is_architecture(r, "gemma2"), has = json_number_value(json_object_get(r->config, "sliding_window")) > 0;
    if (!reads(r, "sliding_window")) return AR_OK;
    if (!has && !gemma2) return put(r, r->config, "sliding_window", json_null());
    if (!kv) return AR_OK;
    int64_t every;
    if (!kv->is_array && ar__gguf_int_at(&every, kv, 0) && reads(r, "sliding_window_pattern"))
        return put(r, r->config, "sliding_window_pattern", json_integer(every));
    json_t *types = kv->is_array && reads(r, "layer_types") ? json_array() : NULL;
    for (size_t i = 0; types && i < kv->count; i++) {
        bool windowed;
        int64_t number;
        if (!ar__gguf_bool_at(&windowed, kv, i)) windowed = ar__gguf_int_at(&number, kv, i) && number != 0;
        json_array_append_new(types, json_string(windowed ? "sliding_attention" : "full_attention"));
    }
    return types ? put(r, r->config, "layer_types", types) : bad_value(r, kv, "a list of one for each layer");
}

/* Gemma 2 and 3 divide attention's scores by the root of a head's size, but at 27B of the embedding's size a head. */
static ar_status put_query_scalar(const reader *r, double head) {
    double layers = config_number(r, "num_hidden_layers", "n_layer");
    bool large = layers == (is_architecture(r, "gemma2") ? 46 : 62);
    if (!reads(r, "query_pre_attn_scalar")) return AR_OK;
    double scalar = large ? config_number(r, "hidden_size", "n_embd") / config_number(r, "num_attention_heads", "n_head") : head;
    return put(r, r->config, "query_pre_attn_scalar", number(scalar));
}

static ar_status put_tokens(const reader *r) {
    static const char *const tokens[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                            {"tokenizer.ggml.eos_token_id", "eos_token_id"}};
    const ar_tensor *embedding = ar__tensors_find(r->files, "token_embd.weight");
    if (!embedding || embedding->dims != 2)
        return ar__fail(r->err, AR_ERR_FORMAT, "%s: no matrix 'token_embd.weight': wanted a language model", r->path);
    ar_status s = put(r, r->config, "vocab_size", json_integer(embedding->shape[0]));
    if (!s) s = put(r, r->config, "tie_word_embeddings", json_boolean(!ar__tensors_find(r->files, "output.weight")));
    for (size_t i = 0; !s && i < 2; i++) {
        int64_t id = -1;
        s = ar__gguf_get_int(&id, r->g, tokens[i][0], r->err);
        if (!s && id >= 0) s = put(r, r->config, tokens[i][1], json_integer(id));
    }
    return s;
}

static bool is_above_0(const void *file, const char *key) {
    const ar_gguf_kv *kv = find_key(file, key);
    double value = 0;
    return kv && ar__gguf_double_at(&value, kv, 0) && value > 0;
}

/* Which layers have a router, and what llama.cpp makes of its logits by the architecture's name. */
static ar_status put_experts(const reader *r) {
    double layers = config_number(r, "num_hidden_layers", "n_layer");
    if (!reads(r, "num_local_experts"))
        return is_above_0(r, "expert_count")
                   ? ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: '%s.expert_count': the family %s has no experts here", r->path,
                              r->architecture, ar__family_name(r->family))
                   : AR_OK;
    ar_status s = AR_OK;
    if (reads(r, "norm_topk_prob")) s = put(r, r->config, "norm_topk_prob", json_boolean(is_architecture(r, "qwen3moe")));
    if (reads(r, "norm_topk_prob") || r->family->delta) { /* families whose own code calls the number num_experts */
        json_t *count = json_object_get(r->config, "num_local_experts");
        if (!s && count) s = put(r, r->config, "num_experts", json_incref(count));
        json_object_del(r->config, "num_local_experts");
    }
    json_t *dense = s || !reads(r, "mlp_only_layers") ? NULL : json_array();
    for (double l = 0; dense && l < layers; l++) {
        char name[48];
        snprintf(name, sizeof name, "blk.%.0f.ffn_gate_inp.weight", l);
        if (!ar__tensors_find(r->files, name)) json_array_append_new(dense, json_integer((json_int_t)l));
    }
    return dense ? put(r, r->config, "mlp_only_layers", dense) : s;
}

/* Of layers that mix by the delta rule: one number is two sizes, and biases are where attention is. */
static ar_status put_delta(const reader *r) {
    double inner = 0, every = config_number(r, "full_attention_interval", ""), values = config_number(r, "linear_num_value_heads", "");
    ar_status s = get_number(&inner, r, "ssm.inner_size");
    if (s) return s;
    if (!(values >= 1 && inner >= values && fmod(inner, values) == 0 && inner <= INT32_MAX))
        return ar__fail(r->err, AR_ERR_FORMAT, "%s: '%s.ssm.inner_size' is %g, wanted a multiple of '%s.ssm.time_step_rank', %g", r->path,
                        r->architecture, inner, r->architecture, values);
    char name[48];
    snprintf(name, sizeof name, "blk.%.0f.attn_q.bias", every >= 1 ? every - 1 : 3);
    s = put(r, r->config, "attention_bias", json_boolean(ar__tensors_find(r->files, name) != NULL));
    return s ? s : put(r, r->config, "linear_value_head_dim", json_integer((json_int_t)(inner / values)));
}

static bool is_listed(const ar_family *f, size_t before) {
    for (size_t i = 0; i < before; i++)
        if (!strcmp(ar__family_at(i)->names.gguf, f->names.gguf)) return true;
    return false;
}

static ar_status find_family(reader *r) {
    ar_gguf_string text = {0};
    ar_status s = ar__gguf_need_key(r->g, "general.architecture", r->err);
    if (!s) s = ar__gguf_get_string(&text, r->g, "general.architecture", r->err);
    if (s) return s;
    r->architecture = ar__strndup(text.at, text.len);
    if (!r->architecture) return ar__fail_memory(r->err, r->path);
    r->family = ar__family_for_file(r->architecture, is_above_0, r);
    if (r->family) return put(r, r->config, "model_type", json_string(ar__family_name(r->family)));
    ar_buf list = {0};
    const ar_family *f;
    for (size_t i = 0; (f = ar__family_at(i)); i++)
        if (!is_listed(f, i)) ar__buf_printf(&list, "%s%s", list.len ? ", " : "", f->names.gguf);
    s = ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: general.architecture '%s', wanted one of %s", r->path, r->architecture,
                 list.data ? list.data : "");
    ar__buf_release(&list);
    return s;
}

static ar_status build(reader *r) {
    double head = 0;
    ar_status s = find_family(r);
    if (!s) s = refuse_others(r);
    if (!s) s = put_keys(r);
    if (!s && ar__gguf_is_layered(r->family)) {
        s = ar__gguf_put_layers(r->config, r->files, r->architecture, r->err);
        return s ? s : put_tokens(r);
    }
    if (!s) s = size_of_head(&head, r);
    if (!s) s = check_sizes(r, head);
    if (!s) s = put_rope(r);
    if (!s) s = put_windows(r);
    if (!s) s = put_query_scalar(r, head);
    if (!s) s = put_experts(r);
    if (!s && r->family->delta) s = put_delta(r);
    if (!s && r->family->short_conv) s = ar__gguf_put_mixers(r->config, r->files, r->architecture, r->err);
    return s ? s : put_tokens(r);
}

ar_status ar__gguf_config(json_t **out, const ar_tensors *files, ar_error *err) {
    reader r = {.g = ar__tensors_gguf(files), .files = files, .config = json_object(), .path = ar__tensors_path(files, 0), .err = err};
    *out = NULL;
    ar_status s = r.config ? build(&r) : ar__fail_memory(err, r.path);
    free(r.architecture);
    if (s)
        json_decref(r.config);
    else
        *out = r.config;
    return s;
}
