#include "arch/gguf_layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/gguf.h"

#define NEVER 1e30 /* what a frequency that does not turn is divided by */

bool ar__gguf_is_layered(const ar_family *f) { return ar__fields_have(&f->fields, "global_head_dim"); }

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const ar_gguf *g;
    const ar_tensors *files;
    json_t *config;
    const char *architecture, *path;
    int64_t layers;
    bool *windowed; /* [layers] */
    ar_error *err;
} reader;

static const ar_gguf_kv *find(const reader *r, const char *key) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s.%s", r->architecture, key);
    const ar_gguf_kv *kv = full.failed ? NULL : ar__gguf_kv_find(r->g, full.data);
    ar__buf_release(&full);
    return kv;
}

static ar_status bad(const reader *r, const char *key, const char *wanted) {
    const ar_gguf_kv *kv = find(r, key);
    return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: '%s.%s': found %s, wanted %s", r->path, r->architecture, key,
                    kv ? ar__gguf_type_name(kv) : "nothing", wanted);
}

static ar_status put(const reader *r, json_t *into, const char *field, json_t *value) {
    return value && json_object_set_new(into, field, value) == 0 ? AR_OK : ar__fail_memory(r->err, r->path);
}

static ar_status need_whole(int64_t *out, const reader *r, const char *key) {
    const ar_gguf_kv *kv = find(r, key);
    return kv && !kv->is_array && ar__gguf_int_at(out, kv, 0) ? AR_OK : bad(r, key, "a whole number");
}

/* 'what differs' of a layer: a list's entry, or the number for all. */
static ar_status whole_of(int64_t *out, const reader *r, const char *key, int64_t layer) {
    const ar_gguf_kv *kv = find(r, key);
    if (!kv || (kv->is_array && kv->count != (size_t)r->layers) || !ar__gguf_int_at(out, kv, kv->is_array ? (size_t)layer : 0))
        return bad(r, key, "a whole number, or a list of one for each layer");
    return AR_OK;
}

static ar_status read_windows(reader *r) {
    const ar_gguf_kv *kv = find(r, "attention.sliding_window_pattern");
    json_t *types = json_array();
    ar_status s = put(r, r->config, "layer_types", types);
    if (s) return s;
    if (!kv || !kv->is_array || kv->count != (size_t)r->layers)
        return bad(r, "attention.sliding_window_pattern", "a list of one for each layer");
    for (int64_t l = 0; l < r->layers; l++) {
        int64_t number = 0;
        if (!ar__gguf_bool_at(&r->windowed[l], kv, (size_t)l)) r->windowed[l] = ar__gguf_int_at(&number, kv, (size_t)l) && number != 0;
        if (json_array_append_new(types, json_string(r->windowed[l] ? "sliding_attention" : "full_attention")))
            return ar__fail_memory(r->err, r->path);
    }
    return AR_OK;
}

/* Of layers with and without the window each one number. */
static ar_status read_kv_heads(const reader *r) {
    static const char *const field[] = {"num_global_key_value_heads", "num_key_value_heads"};
    int64_t found[2] = {0, 0}, n;
    for (int64_t l = 0; l < r->layers; l++) {
        ar_status s = whole_of(&n, r, "attention.head_count_kv", l);
        if (s) return s;
        int64_t *to = &found[r->windowed[l]];
        if (*to && *to != n) return bad(r, "attention.head_count_kv", "one number for all layers with a window, and one for all without");
        *to = n;
    }
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 2; i++) s = put(r, r->config, field[i], json_integer(found[i] ? found[i] : found[!i]));
    return s;
}

/* All alike, or twice as wide where keys and values are shared. */
static ar_status read_widths(const reader *r, int64_t shared) {
    int64_t first = 0, n;
    bool wide = false;
    for (int64_t l = 0; l < r->layers; l++) {
        bool shares = l >= r->layers - shared;
        ar_status s = whole_of(&n, r, "feed_forward_length", l);
        if (s) return s;
        if (l == 0) first = n;
        if (l == r->layers - shared) wide = n == 2 * first;
        if (n != (shares && wide ? 2 * first : first))
            return bad(r, "feed_forward_length", "one width, or twice it in the layers that share keys");
    }
    ar_status s = put(r, r->config, "intermediate_size", json_integer(first));
    return s ? s : put(r, r->config, "use_double_wide_mlp", json_boolean(wide));
}

static ar_status read_sizes(const reader *r) {
    int64_t full, windowed, value, shared = 0;
    ar_status s = need_whole(&full, r, "attention.key_length");
    if (!s) s = need_whole(&windowed, r, "attention.key_length_swa");
    if (!s) s = need_whole(&value, r, "attention.value_length");
    if (!s && value != full) s = bad(r, "attention.value_length", "what attention.key_length is");
    if (!s) s = need_whole(&value, r, "attention.value_length_swa");
    if (!s && value != windowed) s = bad(r, "attention.value_length_swa", "what attention.key_length_swa is");
    if (!s) s = need_whole(&value, r, "rope.dimension_count");
    if (!s && value != full) s = bad(r, "rope.dimension_count", "what attention.key_length is");
    if (!s) s = need_whole(&value, r, "rope.dimension_count_swa");
    if (!s && value != windowed) s = bad(r, "rope.dimension_count_swa", "what attention.key_length_swa is");
    if (!s) s = put(r, r->config, "head_dim", json_integer(windowed));
    if (!s) s = put(r, r->config, "global_head_dim", json_integer(full));
    if (!s) s = read_kv_heads(r);
    if (!s && !find(r, "embedding_length_per_layer_input")) s = put(r, r->config, "hidden_size_per_layer_input", json_integer(0));
    if (!s && find(r, "attention.shared_kv_layers")) s = need_whole(&shared, r, "attention.shared_kv_layers");
    if (!s && (shared < 0 || shared > r->layers)) s = bad(r, "attention.shared_kv_layers", "at most the number of layers");
    return s ? s : read_widths(r, shared);
}

/* The share of a head's frequencies that rope_freqs leaves as they are. */
static ar_status read_turned(double *out, const reader *r) {
    const ar_tensor *t = ar__tensors_find(r->files, "rope_freqs.weight");
    size_t turned = 0;
    *out = 1.0;
    if (!t) return AR_OK;
    bool ok = t->dims == 1 && ar__dtype_is_float(t->dtype) && t->count > 0;
    for (size_t i = 0; ok && i < t->count; i++) {
        float x;
        ar__dtype(t->dtype)->to_f32(&x, (const char *)t->data + i * ar__dtype(t->dtype)->bytes, 1);
        ok = x == 1.0f ? turned == i : (double)x >= NEVER / 10;
        if (x == 1.0f) turned++;
    }
    if (!ok)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: tensor 'rope_freqs.weight': wanted factors of 1, and of 1e30 behind them",
                        r->path);
    *out = (double)turned / (double)t->count;
    return AR_OK;
}

static ar_status read_rope(const reader *r) {
    static const char *const key[] = {"rope.freq_base", "rope.freq_base_swa"}, *const kind[] = {"full_attention", "sliding_attention"};
    double partial;
    json_t *all = json_object();
    ar_status s = put(r, r->config, "rope_parameters", all);
    if (!s) s = read_turned(&partial, r);
    for (int i = 0; !s && i < 2; i++) {
        const ar_gguf_kv *kv = find(r, key[i]);
        double theta;
        json_t *block = json_object();
        if ((s = put(r, all, kind[i], block))) break;
        if (!kv || kv->is_array || !ar__gguf_double_at(&theta, kv, 0) || !isfinite(theta)) return bad(r, key[i], "a number");
        s = put(r, block, "rope_theta", json_real(theta));
        if (!s) s = put(r, block, "rope_type", json_string(i ? "default" : "proportional"));
        if (!s && !i) s = put(r, block, "partial_rotary_factor", json_real(partial));
    }
    return s;
}

/* What the tensors say. */
static ar_status read_tensors(const reader *r) {
    const ar_tensor *table = ar__tensors_find(r->files, "per_layer_token_embd.weight");
    ar_status s = table && table->dims == 2 ? put(r, r->config, "vocab_size_per_layer_input", json_integer(table->shape[0])) : AR_OK;
    int64_t shared = json_integer_value(json_object_get(r->config, "num_kv_shared_layers"));
    bool missing = false;
    for (int64_t l = 0; l < r->layers - shared; l++) {
        ar_buf name = {0};
        ar__buf_printf(&name, "blk.%lld.attn_v.weight", (long long)l);
        missing = missing || (!r->windowed[l] && !name.failed && !ar__tensors_find(r->files, name.data));
        ar__buf_release(&name);
    }
    if (!s) s = put(r, r->config, "attention_k_eq_v", json_boolean(missing));
    if (!s) s = put(r, r->config, "enable_moe_block", json_boolean(json_integer_value(json_object_get(r->config, "num_experts")) > 0));
    return s ? s : put(r, r->config, "attention_bias", json_boolean(ar__tensors_find(r->files, "blk.0.attn_q.bias") != NULL));
}

ar_status ar__gguf_put_layers(json_t *config, const ar_tensors *files, const char *architecture, ar_error *err) {
    reader r = {.g = ar__tensors_gguf(files),
                .files = files,
                .config = config,
                .architecture = architecture,
                .path = ar__tensors_path(files, 0),
                .err = err};
    ar_status s = need_whole(&r.layers, &r, "block_count");
    if (!s && (r.layers < 1 || r.layers > 4096)) s = bad(&r, "block_count", "1 to 4096");
    if (s) return s;
    r.windowed = ar__alloc((size_t)r.layers, sizeof *r.windowed);
    s = r.windowed ? read_windows(&r) : ar__fail_memory(err, r.path);
    if (!s) s = read_sizes(&r);
    if (!s) s = read_rope(&r);
    if (!s) s = read_tensors(&r);
    free(r.windowed);
    return s;
}

ar_status ar__gguf_put_mixers(json_t *config, const ar_tensors *files, const char *architecture, ar_error *err) {
    reader r = {.g = ar__tensors_gguf(files),
                .config = config,
                .architecture = architecture,
                .path = ar__tensors_path(files, 0),
                .layers = json_integer_value(json_object_get(config, "num_hidden_layers")),
                .err = err};
    const ar_gguf_kv *kv = find(&r, "attention.head_count_kv");
    ar_status s = put(&r, config, "block_auto_adjust_ff_dim", json_false());
    json_t *types = s || !kv || !kv->is_array ? NULL : json_array();
    if (!types) return s; /* all have attention */
    s = put(&r, config, "layer_types", types);
    for (int64_t l = 0, n; !s && l < r.layers; l++)
        if (!(s = whole_of(&n, &r, "attention.head_count_kv", l)) &&
            json_array_append_new(types, json_string(n ? "full_attention" : "conv")))
            s = ar__fail_memory(err, r.path);
    return s;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------- */

/* A whole number, "gemma4.rope.dimension_count", or a list over the layers. */
static ar_status write(ar_gguf_writer *w, const ar_arch *a, const char *key, const int32_t *values, size_t count, ar_error *err) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s.%s", a->names->gguf, key);
    ar_status s = full.failed ? ar__fail_memory(err, key)
                  : count     ? ar__gguf_writer_set_array(w, full.data, AR_GGUF_I32, count, values, err)
                              : ar__gguf_writer_set_u32(w, full.data, (uint32_t)*values, err);
    ar__buf_release(&full);
    return s;
}

static ar_status write_real(ar_gguf_writer *w, const ar_arch *a, const char *key, double value, ar_error *err) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s.%s", a->names->gguf, key);
    ar_status s = full.failed ? ar__fail_memory(err, key) : ar__gguf_writer_set_f32(w, full.data, (float)value, err);
    ar__buf_release(&full);
    return s;
}

static ar_status write_list(ar_gguf_writer *w, const ar_arch *a, const char *key, int64_t (*of)(const ar_arch *, int64_t), ar_error *err) {
    int32_t *list = ar__alloc((size_t)a->layers, sizeof *list);
    if (!list) return ar__fail_memory(err, key);
    for (int64_t l = 0; l < a->layers; l++) list[l] = (int32_t)of(a, l);
    ar_status s = write(w, a, key, list, (size_t)a->layers, err);
    free(list);
    return s;
}

ar_status ar__gguf_write_layers(ar_gguf_writer *w, const ar_arch *a, ar_error *err) {
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"attention.key_length", a->full_head_dim},   {"attention.value_length", a->full_head_dim},
                 {"attention.key_length_swa", a->head_dim},    {"attention.value_length_swa", a->head_dim},
                 {"rope.dimension_count", a->full_head_dim},   {"rope.dimension_count_swa", a->head_dim},
                 {"attention.shared_kv_layers", a->kv_shared}, {"embedding_length_per_layer_input", a->ple_dim}};
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < sizeof sizes / sizeof *sizes; i++)
        s = write(w, a, sizes[i].key, &(int32_t){(int32_t)sizes[i].value}, 0, err);
    if (!s && a->full_kv_heads != a->kv_heads) s = write_list(w, a, "attention.head_count_kv", ar__arch_kv_heads, err);
    if (!s && a->shared_wide && a->kv_shared) s = write_list(w, a, "feed_forward_length", ar__arch_ff, err);
    if (!s) s = write_real(w, a, "rope.freq_base", a->rope[0].theta, err);
    return s ? s : write_real(w, a, "rope.freq_base_swa", a->rope[1].theta, err);
}

static int64_t kv_heads_or_none(const ar_arch *a, int64_t layer) { return a->mixer[layer] == AR_MIX_ATTENTION ? a->kv_heads : 0; }

ar_status ar__gguf_write_mixers(ar_gguf_writer *w, const ar_arch *a, ar_error *err) {
    return write_list(w, a, "attention.head_count_kv", kv_heads_or_none, err);
}

void ar__gguf_proportional(float *factors, const ar_arch *a) {
    int64_t half = ar__rope_dim(a, 0) / 2, turned = (int64_t)(a->rope[0].partial * (double)half);
    for (int64_t i = 0; i < half; i++) factors[i] = i < turned ? 1.0f : (float)NEVER;
}
