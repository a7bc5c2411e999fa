/* Families as rows of a table, and the reader of config.json that the rows steer.
 *
 * Both spellings found in the wild are read: rope_theta / rope_scaling / torch_dtype, and rope_parameters / dtype.
 * Defaults are transformers' own.  A field that is neither known nor off is refused by name, because it may change
 * the maths and nobody would notice. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/config_fields.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

enum { MAX_LAYERS = 4096, MAX_DIM = 1 << 22, MAX_VOCAB = 1 << 24, MAX_HEADS = 4096 };

typedef enum window_rule { WINDOW_NONE, WINDOW_ALL, WINDOW_QWEN } window_rule;

typedef struct family {
    const char *name;
    bool bias_qkv;       /* always, without a field saying so */
    bool attention_bias; /* the field of that name counts (q, k, v and o) */
    bool mlp_bias, qk_norm;
    window_rule window;
    int64_t kv_heads, head_dim; /* where config.json is silent; 0: as many as heads, dim / heads */
    int32_t bos, eos;
} family;

static const family families[] = {
    {"llama", false, true, true, false, WINDOW_NONE, 0, 0, 1, 2},
    {"mistral", false, false, false, false, WINDOW_ALL, 8, 0, 1, 2},
    {"qwen2", true, false, false, false, WINDOW_QWEN, 32, 0, -1, -1},
    {"qwen3", false, true, false, true, WINDOW_QWEN, 32, 128, -1, -1},
};

static ar_status find_family(const family **out, const json_t *config, const char *place, ar_error *err) {
    const char *type = NULL;
    ar_status s = ar__json_need(config, "model_type", place, err);
    if (!s) s = ar__json_get_string(&type, config, "model_type", place, err);
    if (s) return s;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i].name, type)) {
            *out = &families[i];
            return AR_OK;
        }
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: model_type '%s', wanted one of llama, mistral, qwen2, qwen3", place, type);
}

typedef struct reader {
    const json_t *config;
    const char *place;
    ar_error *err;
} reader;

static ar_status get_size(int64_t *out, const reader *r, const char *key, bool needed, int64_t max) {
    ar_status s = needed ? ar__json_need(r->config, key, r->place, r->err) : AR_OK;
    if (!s) s = ar__json_get_int(out, r->config, key, r->place, r->err);
    if (!s && (*out < 1 || *out > max) && ar__json_has(r->config, key))
        s = ar__fail(r->err, AR_ERR_VALUE, "%s: '%s' is %lld, wanted 1 to %lld", r->place, key, (long long)*out, (long long)max);
    return s;
}

static ar_status read_sizes(ar_arch *a, const family *f, const reader *r) {
    ar_status s;
    a->max_positions = 2048;
    if ((s = get_size(&a->vocab, r, "vocab_size", true, MAX_VOCAB)) || (s = get_size(&a->dim, r, "hidden_size", true, MAX_DIM)) ||
        (s = get_size(&a->ff, r, "intermediate_size", true, MAX_DIM)) ||
        (s = get_size(&a->layers, r, "num_hidden_layers", true, MAX_LAYERS)) ||
        (s = get_size(&a->heads, r, "num_attention_heads", true, MAX_HEADS)) ||
        (s = get_size(&a->max_positions, r, "max_position_embeddings", false, INT32_MAX)))
        return s;
    a->kv_heads = f->kv_heads ? f->kv_heads : a->heads;
    a->head_dim = f->head_dim ? f->head_dim : a->dim / a->heads;
    if ((s = get_size(&a->kv_heads, r, "num_key_value_heads", false, MAX_HEADS)) ||
        (s = get_size(&a->head_dim, r, "head_dim", false, MAX_HEADS)))
        return s;
    if (a->heads % a->kv_heads)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: %lld attention heads over %lld key/value heads, wanted a whole multiple", r->place,
                        (long long)a->heads, (long long)a->kv_heads);
    if (a->head_dim < 2 || a->head_dim % 2)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: head size %lld, wanted an even number", r->place, (long long)a->head_dim);
    return AR_OK;
}

static ar_status read_flags(ar_arch *a, const family *f, const reader *r) {
    bool bias = false, mlp_bias = false;
    double eps = 1e-6;
    const char *act = "silu";
    ar_status s;
    if ((s = ar__json_get_bool(&a->tied, r->config, "tie_word_embeddings", r->place, r->err)) ||
        (s = ar__json_get_double(&eps, r->config, "rms_norm_eps", r->place, r->err)) ||
        (s = ar__json_get_string(&act, r->config, "hidden_act", r->place, r->err)) ||
        (f->attention_bias && (s = ar__json_get_bool(&bias, r->config, "attention_bias", r->place, r->err))) ||
        (f->mlp_bias && (s = ar__json_get_bool(&mlp_bias, r->config, "mlp_bias", r->place, r->err))))
        return s;
    if (strcmp(act, "silu") && strcmp(act, "swish"))
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: hidden_act '%s', wanted silu", r->place, act);
    if (!(eps > 0.0 && eps < 1.0)) return ar__fail(r->err, AR_ERR_VALUE, "%s: rms_norm_eps is %g, wanted between 0 and 1", r->place, eps);
    a->norm_eps = (float)eps;
    a->bias_qkv = f->bias_qkv || bias;
    a->bias_o = bias;
    a->bias_mlp = mlp_bias;
    a->qk_norm = f->qk_norm;
    return AR_OK;
}

static ar_status read_layer_types(ar_arch *a, const reader *r) {
    const json_t *types = NULL;
    ar_status s = ar__json_get_array(&types, r->config, "layer_types", r->place, r->err);
    if (s || !types) return s;
    if ((int64_t)json_array_size(types) != a->layers)
        return ar__fail(r->err, AR_ERR_MISMATCH, "%s: layer_types names %zu layers, num_hidden_layers is %lld", r->place,
                        json_array_size(types), (long long)a->layers);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *t = json_string_value(json_array_get(types, i));
        bool slides = t && !strcmp(t, "sliding_attention");
        if (!slides && !(t && !strcmp(t, "full_attention")))
            return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: layer_types[%zu] is '%s', wanted full_attention or sliding_attention",
                            r->place, i, t ? t : "no string");
        a->windowed[i] = slides;
    }
    return AR_OK;
}

static ar_status read_window(ar_arch *a, const family *f, const reader *r) {
    bool use = f->window == WINDOW_ALL;
    int64_t window = 4096, first = 28;
    ar_status s;
    a->windowed = ar__alloc((size_t)a->layers, 1);
    if (!a->windowed) return ar__fail_memory(r->err, "layer list");
    if (f->window == WINDOW_NONE) return AR_OK;
    if ((f->window == WINDOW_QWEN && (s = ar__json_get_bool(&use, r->config, "use_sliding_window", r->place, r->err))) ||
        (s = ar__json_get_int(&window, r->config, "sliding_window", r->place, r->err)) ||
        (s = ar__json_get_int(&first, r->config, "max_window_layers", r->place, r->err)))
        return s;
    if (!use || json_is_null(json_object_get(r->config, "sliding_window"))) return AR_OK;
    if (window < 1) return ar__fail(r->err, AR_ERR_VALUE, "%s: sliding_window is %lld, wanted 1 or more", r->place, (long long)window);
    a->window = window;
    for (int64_t l = 0; l < a->layers; l++) a->windowed[l] = f->window == WINDOW_ALL || l >= first;
    return f->window == WINDOW_QWEN ? read_layer_types(a, r) : AR_OK;
}

static ar_status read_rope_kind(ar_rope_config *rope, const json_t *o, const char *place, ar_error *err) {
    static const char *const names[] = {"default", "linear", "dynamic", "llama3", "yarn"};
    const char *type = "default";
    ar_status s = ar__json_get_string(&type, o, "type", place, err);
    if (!s) s = ar__json_get_string(&type, o, "rope_type", place, err);
    if (s) return s;
    for (int i = 0; i < 5; i++)
        if (!strcmp(type, names[i])) {
            rope->kind = (ar_rope_kind)i;
            return AR_OK;
        }
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: rope type '%s', wanted default, linear, dynamic, llama3 or yarn", place, type);
}

static ar_status check_rope(const ar_rope_config *p, const char *place, ar_error *err) {
    if (!(p->theta > 1.0) || !isfinite(p->theta))
        return ar__fail(err, AR_ERR_VALUE, "%s: rope_theta is %g, wanted more than 1", place, p->theta);
    if (p->kind == AR_ROPE_DEFAULT) return AR_OK;
    if (!(p->factor > 0.0) || !isfinite(p->factor))
        return ar__fail(err, AR_ERR_VALUE, "%s: rope factor is %g, wanted more than 0", place, p->factor);
    if ((p->kind == AR_ROPE_LLAMA3 || p->kind == AR_ROPE_YARN) && !(p->original_max >= 1.0))
        return ar__fail(err, AR_ERR_VALUE, "%s: original_max_position_embeddings is %g, wanted 1 or more", place, p->original_max);
    if (p->kind == AR_ROPE_LLAMA3 && !(p->low_freq > 0.0 && p->high_freq > p->low_freq))
        return ar__fail(err, AR_ERR_VALUE, "%s: low_freq_factor %g and high_freq_factor %g, wanted 0 < low < high", place, p->low_freq,
                        p->high_freq);
    return AR_OK;
}

static ar_status need_keys(const json_t *o, ar_rope_kind kind, const char *place, ar_error *err) {
    ar_status s = kind == AR_ROPE_DEFAULT || kind == AR_ROPE_YARN ? AR_OK : ar__json_need(o, "factor", place, err);
    if (!s && kind == AR_ROPE_LLAMA3) s = ar__json_need(o, "low_freq_factor", place, err);
    if (!s && kind == AR_ROPE_LLAMA3) s = ar__json_need(o, "high_freq_factor", place, err);
    return s;
}

static ar_status read_rope(ar_arch *a, const reader *r) {
    ar_rope_config *p = &a->rope;
    const json_t *o = NULL;
    double partial = 1.0;
    ar_status s;
    *p = (ar_rope_config){.theta = 10000.0, .low_freq = 1, .high_freq = 4, .beta_fast = 32, .beta_slow = 1, .truncate = true};
    p->original_max = (double)a->max_positions;
    if ((s = ar__json_get_double(&p->theta, r->config, "rope_theta", r->place, r->err)) ||
        (s = ar__json_get_double(&partial, r->config, "partial_rotary_factor", r->place, r->err)) ||
        (s = ar__json_get_object(&o, r->config, "rope_parameters", r->place, r->err)) ||
        (!o && (s = ar__json_get_object(&o, r->config, "rope_scaling", r->place, r->err))))
        return s;
    if (o &&
        ((s = ar__fields_check(o, AR_FIELDS_ROPE, "rope parameter", r->place, r->err)) || (s = read_rope_kind(p, o, r->place, r->err)) ||
         (s = need_keys(o, p->kind, r->place, r->err)) || (s = ar__json_get_double(&p->theta, o, "rope_theta", r->place, r->err)) ||
         (s = ar__json_get_double(&p->factor, o, "factor", r->place, r->err)) ||
         (s = ar__json_get_double(&partial, o, "partial_rotary_factor", r->place, r->err)) ||
         (s = ar__json_get_double(&p->low_freq, o, "low_freq_factor", r->place, r->err)) ||
         (s = ar__json_get_double(&p->high_freq, o, "high_freq_factor", r->place, r->err)) ||
         (s = ar__json_get_double(&p->original_max, o, "original_max_position_embeddings", r->place, r->err)) ||
         (s = ar__json_get_double(&p->beta_fast, o, "beta_fast", r->place, r->err)) ||
         (s = ar__json_get_double(&p->beta_slow, o, "beta_slow", r->place, r->err)) ||
         (s = ar__json_get_double(&p->attention_factor, o, "attention_factor", r->place, r->err)) ||
         (s = ar__json_get_double(&p->mscale, o, "mscale", r->place, r->err)) ||
         (s = ar__json_get_double(&p->mscale_all_dim, o, "mscale_all_dim", r->place, r->err)) ||
         (s = ar__json_get_bool(&p->truncate, o, "truncate", r->place, r->err))))
        return s;
    if (p->kind == AR_ROPE_YARN && !ar__json_has(o, "factor") && p->original_max > 0.0)
        p->factor = (double)a->max_positions / p->original_max;
    if (partial != 1.0) return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: partial_rotary_factor is %g, wanted 1", r->place, partial);
    return check_rope(p, r->place, r->err);
}

static ar_status read_special(ar_arch *a, const family *f, const reader *r) {
    const json_t *eos = json_object_get(r->config, "eos_token_id");
    int64_t bos = f->bos;
    ar_status s = ar__json_get_int(&bos, r->config, "bos_token_id", r->place, r->err);
    if (s) return s;
    a->bos = bos >= 0 && bos < a->vocab ? (int32_t)bos : -1;
    if (!eos && f->eos >= 0) a->eos[a->eos_count++] = f->eos;
    size_t n = json_is_array(eos) ? json_array_size(eos) : eos && !json_is_null(eos) ? 1 : 0;
    for (size_t i = 0; i < n && a->eos_count < AR_MAX_EOS; i++) {
        int64_t id;
        if (!ar__json_as_int(&id, json_is_array(eos) ? json_array_get(eos, i) : eos))
            return ar__fail(r->err, AR_ERR_FORMAT, "%s: 'eos_token_id' holds something that is no integer", r->place);
        if (id >= 0 && id < a->vocab) a->eos[a->eos_count++] = (int32_t)id;
    }
    return AR_OK;
}

ar_status ar__arch_read(ar_arch *out, const json_t *config, const char *place, ar_error *err) {
    const family *f = NULL;
    reader r = {config, place, err};
    ar_status s;
    *out = (ar_arch){.bos = -1};
    if ((s = find_family(&f, config, place, err)) || (s = ar__fields_check(config, AR_FIELDS_CONFIG, "field", place, err)) ||
        (s = read_sizes(out, f, &r)) || (s = read_flags(out, f, &r)) || (s = read_window(out, f, &r)) || (s = read_rope(out, &r)) ||
        (s = read_special(out, f, &r))) {
        ar__arch_release(out);
        return s;
    }
    out->family = f->name;
    return AR_OK;
}

void ar__arch_release(ar_arch *a) {
    free(a->windowed);
    *a = (ar_arch){0};
}
