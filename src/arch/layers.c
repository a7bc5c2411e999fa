/* What differs from layer to layer: sizes of heads and MLPs, whose keys and values a layer takes, which slots it lacks.
 *
 *     layers   w w F w w F | w F        F: without the window;  | the last kv_shared ones
 *     keys of  0 1 2 3 4 5   4 5        of the last layer of its kind before the bar
 *
 * config.json says it twice over: on the hub global_head_dim and num_global_key_value_heads are those of layers without the window, a
 * file that transformers saved has per_layer_config, {"2": {"head_dim": 512}}, which counts where both stand. */
#include "arch/layers.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"

int64_t ar__arch_head_dim(const ar_arch *a, int64_t layer) { return a->windowed[layer] ? a->head_dim : a->full_head_dim; }
int64_t ar__arch_kv_heads(const ar_arch *a, int64_t layer) { return a->windowed[layer] ? a->kv_heads : a->full_kv_heads; }

static bool shares(const ar_arch *a, int64_t layer) { return layer >= a->layers - a->kv_shared; }

int64_t ar__arch_ff(const ar_arch *a, int64_t layer) { return a->shared_wide && shares(a, layer) ? 2 * a->ff : a->ff; }

int64_t ar__arch_kv_layer(const ar_arch *a, int64_t layer) {
    if (!shares(a, layer)) return layer;
    int64_t from = a->layers - a->kv_shared - 1;
    while (from >= 0 && a->windowed[from] != a->windowed[layer]) from--;
    return from;
}

static ar_mixer mixer_of(ar_slot slot) {
    return slot < AR_SLOT_DELTA_NORM ? AR_MIX_ATTENTION : slot <= AR_SLOT_DELTA_A ? AR_MIX_DELTA : AR_MIX_CONV;
}

bool ar__arch_layer_has(const ar_arch *a, int64_t layer, ar_slot slot) {
    bool of_kv = slot == AR_SLOT_K || slot == AR_SLOT_V || slot == AR_SLOT_K_NORM;
    bool dense = slot >= AR_SLOT_GATE_UP && slot <= AR_SLOT_DOWN, shared = slot > AR_SLOT_ROUTER && slot <= AR_SLOT_SHARED_MIX;
    bool beside = slot >= AR_SLOT_DENSE_OUT_NORM && slot <= AR_SLOT_EXPERTS_OUT_NORM;
    if (!ar__arch_has(a, slot) || (of_kv && shares(a, layer))) return false;
    if (slot <= AR_SLOT_CONV_OUT && mixer_of(slot) != (ar_mixer)a->mixer[layer]) return false;
    if (dense && !ar__layer_has_dense(a, layer)) return false;
    if ((slot == AR_SLOT_ROUTER || shared || beside) && ar__layer_is_dense(a, layer)) return false;
    if (shared && !a->shared_ff) return false;
    return slot != AR_SLOT_V || !a->full_k_is_v || a->windowed[layer];
}

/* One layer's entry of per_layer_config. */
static ar_status read_override(int64_t *head_dim, int64_t *kv_heads, const json_t *entry, const ar_layer_source *r, const char *layer) {
    const char *key;
    json_t *value;
    if (!json_is_object(entry))
        return ar__fail(r->err, AR_ERR_FORMAT, "%s: per_layer_config['%s'] is %s, wanted an object", r->place, layer, ar__json_type(entry));
    json_object_foreach((json_t *)(uintptr_t)entry, key, value) {
        int64_t *to = !strcmp(key, "head_dim") ? head_dim : !strcmp(key, "num_key_value_heads") ? kv_heads : NULL;
        if (!to)
            return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                            "%s: per_layer_config['%s'] holds '%s', wanted head_dim or num_key_value_heads: other sizes of single layers "
                            "are not done",
                            r->place, layer, key);
        if (!ar__json_as_int(to, value) || *to < 1 || *to > 4096)
            return ar__fail(r->err, AR_ERR_VALUE, "%s: '%s' of per_layer_config['%s'] is no whole number from 1 to 4096", r->place, key,
                            layer);
    }
    return AR_OK;
}

/* Layers without the window must be alike, and those with it as the rest of the file says. */
static ar_status read_overrides(ar_arch *a, const ar_layer_source *r, const json_t *all) {
    bool first = true;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)all, key, value) {
        char *end;
        long n = strtol(key, &end, 10);
        if (*end || end == key || n < 0 || n >= a->layers)
            return ar__fail(r->err, AR_ERR_VALUE, "%s: per_layer_config names layer '%s', wanted 0 to %lld", r->place, key,
                            (long long)a->layers - 1);
    }
    a->full_head_dim = a->head_dim;
    a->full_kv_heads = a->kv_heads;
    for (int64_t l = 0; l < a->layers; l++) {
        char name[24];
        int64_t head_dim = a->head_dim, kv_heads = a->kv_heads;
        snprintf(name, sizeof name, "%lld", (long long)l);
        const json_t *entry = json_object_get(all, name);
        ar_status s = entry ? read_override(&head_dim, &kv_heads, entry, r, name) : AR_OK;
        if (s) return s;
        if (first && !a->windowed[l]) {
            a->full_head_dim = head_dim;
            a->full_kv_heads = kv_heads;
            first = false;
        }
        if (head_dim != ar__arch_head_dim(a, l) || kv_heads != ar__arch_kv_heads(a, l))
            return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                            "%s: per_layer_config gives layer %lld heads of %lld and %lld key/value heads, wanted %lld and %lld, as all "
                            "layers %s the window",
                            r->place, (long long)l, (long long)head_dim, (long long)kv_heads, (long long)ar__arch_head_dim(a, l),
                            (long long)ar__arch_kv_heads(a, l), a->windowed[l] ? "with" : "without");
    }
    return AR_OK;
}

static ar_status take_sizes(ar_arch *a, const ar_layer_source *r) {
    const ar_config *c = r->c;
    a->full_head_dim = c->full_head_dim ? c->full_head_dim : a->head_dim;
    a->full_kv_heads = c->full_kv_heads && c->full_k_is_v ? c->full_kv_heads : a->kv_heads;
    const json_t *all = json_object_get(r->config, "per_layer_config"); /* null says that all are alike */
    ar_status s = all ? read_overrides(a, r, all) : AR_OK;
    if (s) return s;
    if (a->heads % a->full_kv_heads)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: %lld attention heads over %lld key/value heads, wanted a whole multiple", r->place,
                        (long long)a->heads, (long long)a->full_kv_heads);
    if (a->full_head_dim < 2 || a->full_head_dim % 2)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: head size %lld of layers without the window, wanted an even number", r->place,
                        (long long)a->full_head_dim);
    return AR_OK;
}

static ar_status take_sharing(ar_arch *a, const ar_layer_source *r) {
    a->kv_shared = r->c->kv_shared;
    a->shared_wide = r->c->shared_wide && a->kv_shared;
    if (a->kv_shared >= a->layers)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: num_kv_shared_layers is %lld of %lld layers, wanted fewer", r->place,
                        (long long)a->kv_shared, (long long)a->layers);
    for (int64_t l = 0; a->kv_shared && l < a->layers; l++)
        if (ar__arch_kv_layer(a, l) < 0)
            return ar__fail(r->err, AR_ERR_VALUE,
                            "%s: layer %lld takes the keys and values of an earlier layer %s the window, but none of the first %lld is one",
                            r->place, (long long)l, a->windowed[l] ? "with" : "without", (long long)(a->layers - a->kv_shared));
    return AR_OK;
}

static ar_status take_embeddings(ar_arch *a, const ar_layer_source *r) {
    a->ple_dim = r->c->ple_dim;
    a->ple_vocab = a->ple_dim ? r->c->ple_vocab : 0;
    if (!a->ple_dim) a->absent |= ar__slot_bit(AR_SLOT_PLE_GATE) | ar__slot_bit(AR_SLOT_PLE_PROJECTION) | ar__slot_bit(AR_SLOT_PLE_NORM);
    if (a->ple_dim && a->ple_vocab < a->vocab)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: vocab_size_per_layer_input is %lld, wanted at least vocab_size, %lld", r->place,
                        (long long)a->ple_vocab, (long long)a->vocab);
    return AR_OK;
}

/* transformers turns the last layer into one without the window. */
static void free_last(ar_arch *a, const ar_layer_source *r) {
    if (!a->windowed[a->layers - 1]) return;
    ar__log_warn(r->log, "%s: the last layer of layer_types is sliding_attention; as in transformers it counts as full_attention",
                 r->place);
    a->windowed[a->layers - 1] = 0;
}

ar_status ar__arch_take_layers(ar_arch *a, const ar_layer_source *r) {
    if (r->c->bidirectional && strcmp(r->c->bidirectional, "vision") != 0)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                        "%s: use_bidirectional_attention is '%s', wanted null, or 'vision', which leaves text causal", r->place,
                        r->c->bidirectional);
    if (r->family->last_full) free_last(a, r);
    a->v_norm = r->family->v_norm;
    a->layer_scalar = r->family->layer_scalar;
    a->full_k_is_v = r->c->full_k_is_v;
    ar_status s = take_sizes(a, r);
    if (!s) s = take_sharing(a, r);
    return s ? s : take_embeddings(a, r);
}
