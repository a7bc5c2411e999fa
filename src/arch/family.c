/* Families as rows of a table, and the reader of config.json that the rows steer.
 *
 * Defaults are transformers' own.  What a field means to a family, if anything, stands in config_fields.c; rope's
 * blocks are read in rope_config.c. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/config_fields.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

typedef enum window_rule { WINDOW_NONE, WINDOW_MISTRAL, WINDOW_QWEN } window_rule;

typedef struct family {
    const char *name;
    int bit;       /* of the table of fields */
    bool bias_qkv; /* always, without a field saying so */
    window_rule window;
    int64_t kv_heads, head_dim; /* where config.json is silent; 0: as many as heads, dim / heads */
    int64_t max_positions;
    int32_t bos, eos;
} family;

static const family families[] = {
    {"llama", AR_LLAMA, false, WINDOW_NONE, 0, 0, 2048, 1, 2},
    {"mistral", AR_MISTRAL, false, WINDOW_MISTRAL, 8, 0, 131072, 1, 2},
    {"qwen2", AR_QWEN2, true, WINDOW_QWEN, 32, 0, 32768, -1, -1},
    {"qwen3", AR_QWEN3, false, WINDOW_QWEN, 32, 128, 32768, -1, -1},
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
    const family *family;
    const json_t *config;
    const char *place;
    const ar_log *log;
    ar_error *err;
} reader;

/* Types and ranges have been looked at: ar__fields_check. */
static ar_status get_size(int64_t *out, const reader *r, const char *key, bool needed) {
    ar_status s = needed ? ar__json_need(r->config, key, r->place, r->err) : AR_OK;
    return s ? s : ar__json_get_int(out, r->config, key, r->place, r->err);
}

static ar_status read_sizes(ar_arch *a, const family *f, const reader *r) {
    ar_status s;
    a->max_positions = f->max_positions;
    if ((s = get_size(&a->vocab, r, "vocab_size", true)) || (s = get_size(&a->dim, r, "hidden_size", true)) ||
        (s = get_size(&a->ff, r, "intermediate_size", true)) || (s = get_size(&a->layers, r, "num_hidden_layers", true)) ||
        (s = get_size(&a->heads, r, "num_attention_heads", true)) || (s = get_size(&a->max_positions, r, "max_position_embeddings", false)))
        return s;
    /* null is not silence: it has always meant one key/value head a head */
    bool silent = !json_object_get(r->config, "num_key_value_heads");
    a->kv_heads = silent && f->kv_heads ? f->kv_heads : a->heads;
    a->head_dim = f->head_dim ? f->head_dim : a->dim / a->heads;
    if ((s = get_size(&a->kv_heads, r, "num_key_value_heads", false)) || (s = get_size(&a->head_dim, r, "head_dim", false))) return s;
    if (a->heads % a->kv_heads)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: %lld attention heads over %lld key/value heads, wanted a whole multiple", r->place,
                        (long long)a->heads, (long long)a->kv_heads);
    if (a->head_dim < 2 || a->head_dim % 2)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: head size %lld, wanted an even number", r->place, (long long)a->head_dim);
    return AR_OK;
}

static ar_status read_flags(ar_arch *a, const family *f, const reader *r) {
    bool bias = false, mlp_bias = false;
    double eps = 1e-6, dropout = 0.0;
    const char *act = "silu";
    ar_status s;
    if ((s = ar__json_get_bool(&a->tied, r->config, "tie_word_embeddings", r->place, r->err)) ||
        (s = ar__json_get_double(&eps, r->config, "rms_norm_eps", r->place, r->err)) ||
        (s = ar__json_get_double(&dropout, r->config, "attention_dropout", r->place, r->err)) ||
        (s = ar__json_get_string(&act, r->config, "hidden_act", r->place, r->err)) ||
        (!f->bias_qkv && (s = ar__json_get_bool(&bias, r->config, "attention_bias", r->place, r->err))) ||
        (s = ar__json_get_bool(&mlp_bias, r->config, "mlp_bias", r->place, r->err)))
        return s;
    if (strcmp(act, "silu") && strcmp(act, "swish"))
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: hidden_act '%s', wanted silu", r->place, act);
    if (dropout > 0.0)
        ar__log_warn(r->log, "%s: attention_dropout is %g: Alphar trains without dropout in the base, transformers with it", r->place,
                     dropout);
    a->norm_eps = (float)eps;
    a->bias_qkv = f->bias_qkv || bias;
    a->bias_o = bias;
    a->bias_mlp = mlp_bias;
    a->qk_norm = ar__names_slot(a->names, AR_SLOT_Q_NORM) != NULL;
    return AR_OK;
}

/* A list counts before every rule, also for mistral, which transformers then opens as ministral. */
static ar_status read_layer_types(ar_arch *a, const reader *r) {
    const json_t *types = NULL;
    ar_status s = ar__json_get_array(&types, r->config, "layer_types", r->place, r->err);
    if (s || !types) return s;
    if ((int64_t)json_array_size(types) != a->layers)
        return ar__fail(r->err, AR_ERR_MISMATCH, "%s: layer_types names %zu layers, num_hidden_layers is %lld", r->place,
                        json_array_size(types), (long long)a->layers);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *t = json_string_value(json_array_get(types, i));
        bool slides = t && !strcmp(t, "sliding_attention"), full = t && (!strcmp(t, "full_attention") || !strcmp(t, "attention"));
        if (!slides && !full)
            return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: layer_types[%zu] is '%s', wanted full_attention or sliding_attention",
                            r->place, i, t ? t : "no string");
        if (slides && !a->window)
            return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                            "%s: layer_types[%zu] is sliding_attention, but there is no window: the %s family %s; write full_attention if "
                            "the weights were trained so",
                            r->place, i, r->family->name,
                            r->family->window == WINDOW_NONE ? "has none" : "has one with sliding_window (and use_sliding_window) set");
        a->windowed[i] = slides;
    }
    return AR_OK;
}

/* mistral's code knows neither field: a value that says otherwise than it does is refused. */
static ar_status check_mistral(const ar_arch *a, const reader *r, bool use, int64_t first) {
    bool told = ar__json_has(r->config, "use_sliding_window");
    if (told && use != (a->window > 0))
        return ar__fail(
            r->err, AR_ERR_UNSUPPORTED,
            "%s: use_sliding_window is %s and sliding_window %lld (0: none), but the mistral family reads sliding_window alone; "
            "make them agree",
            r->place, use ? "true" : "false", (long long)a->window);
    if (a->window && first > 0 && ar__json_has(r->config, "max_window_layers") && !ar__json_has(r->config, "layer_types"))
        return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                        "%s: max_window_layers is %lld, but all layers of the mistral family have the window; name them in layer_types",
                        r->place, (long long)first);
    return AR_OK;
}

static ar_status read_window(ar_arch *a, const reader *r) {
    bool use = false, qwen = r->family->window == WINDOW_QWEN;
    int64_t window = 4096, first = 28;
    ar_status s;
    a->windowed = ar__alloc((size_t)a->layers, 1);
    if (!a->windowed) return ar__fail_memory(r->err, "layer list");
    if (r->family->window == WINDOW_NONE) return read_layer_types(a, r);
    if ((s = ar__json_get_bool(&use, r->config, "use_sliding_window", r->place, r->err)) ||
        (s = ar__json_get_int(&window, r->config, "sliding_window", r->place, r->err)) ||
        (s = ar__json_get_int(&first, r->config, "max_window_layers", r->place, r->err)))
        return s;
    bool null = json_is_null(json_object_get(r->config, "sliding_window"));
    a->window = null || (qwen && !use) ? 0 : window;
    for (int64_t l = 0; l < a->layers; l++) a->windowed[l] = a->window && (!qwen || l >= first);
    if (!qwen && (s = check_mistral(a, r, use, first))) return s;
    return read_layer_types(a, r);
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

ar_status ar__arch_read(ar_arch *out, const json_t *config, const char *place, const ar_log *log, ar_error *err) {
    const family *f = NULL;
    *out = (ar_arch){.bos = -1};
    ar_status s = find_family(&f, config, place, err);
    if (s) return s;
    out->names = ar__names_for_model_type(f->name);
    reader r = {f, config, place, log, err};
    if ((s = ar__fields_check(config, f->bit, f->name, place, err)) || (s = read_sizes(out, f, &r)) || (s = read_flags(out, f, &r)) ||
        (s = read_window(out, &r)) || (s = ar__rope_read(&out->rope, config, out->max_positions, place, log, err)) ||
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
