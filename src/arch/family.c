/* The reader of config.json, which the rows of families.c steer.  Which fields a family reads is a list of groups in its row
 * (arch/config_fields.h); rope's blocks are read in rope_config.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/family.h"
#include "arch/layers.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

/* What hidden_act is called. */
static const struct {
    const char *name;
    ar_activation_kind f;
} activations[] = {
    {"silu", AR_SILU},          {"swish", AR_SILU},          {"gelu_pytorch_tanh", AR_GELU_TANH},
    {"gelu_new", AR_GELU_TANH}, {"gelu_fast", AR_GELU_TANH}, {"gelu", AR_GELU},
    {"relu2", AR_RELU2},        {"xielu", AR_XIELU},
};

/* What stands beside the language model of a multimodal base in config.json. */
static const char *const beside[] = {"model_type",
                                     "text_config",
                                     "vision_config",
                                     "audio_config",
                                     "tie_word_embeddings",
                                     "eos_token_id",
                                     "bos_token_id",
                                     "architectures",
                                     "dtype",
                                     "torch_dtype",
                                     "transformers_version",
                                     "initializer_range",
                                     "pad_token_id",
                                     "use_cache",
                                     "mm_tokens_per_image",
                                     "boi_token_index",
                                     "eoi_token_index",
                                     "image_token_index",
                                     "boi_token_id",
                                     "eoi_token_id",
                                     "image_token_id",
                                     "video_token_id",
                                     "audio_token_id",
                                     "boa_token_id",
                                     "eoa_token_id",
                                     "eoa_token_index",
                                     "vision_soft_tokens_per_image",
                                     "vision_start_token_id",
                                     "vision_end_token_id",
                                     "multimodal_projector_bias",
                                     "projector_hidden_act",
                                     "spatial_merge_size",
                                     "vision_feature_layer",
                                     "vision_feature_select_strategy"};

const ar_family *ar__family_find(const char *model_type) {
    const ar_family *f;
    for (size_t i = 0; (f = ar__family_at(i)); i++)
        if (!strcmp(ar__family_name(f), model_type)) return f;
    return NULL;
}

const ar_family *ar__family_inside(const char *model_type) {
    const ar_family *f;
    for (size_t i = 0; (f = ar__family_at(i)); i++)
        for (int k = 1; k < AR_NAME_TYPES && f->names.model_type[k]; k++)
            if (!strcmp(f->names.model_type[k], model_type)) return f;
    return NULL;
}

const ar_family *ar__family_for_file(const char *architecture, bool above_0(const void *file, const char *key), const void *file) {
    const ar_family *f, *first = NULL;
    for (size_t i = 0; (f = ar__family_at(i)); i++) {
        if (strcmp(f->names.gguf, architecture) != 0) continue;
        if (f->names.told_by && above_0(file, f->names.told_by)) return f;
        if (!first && !f->names.told_by) first = f;
    }
    return first;
}

static bool is_wrapper(const json_t *config) {
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return type && ar__family_inside(type) && json_is_object(json_object_get(config, "text_config"));
}

/* The language model's configuration, with what the whole file says for it; the caller's. */
static ar_status unwrap(json_t **out, const json_t *config, const char *place, ar_error *err) {
    static const char *const shared[] = {"tie_word_embeddings", "eos_token_id", "bos_token_id"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        bool known = key[0] == '_' || ar__json_is_off(value);
        for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) known = known || !strcmp(key, beside[i]);
        if (!known)
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "%s: unknown field '%s' beside text_config, which may change the maths; remove it if you know that it does not",
                            place, key);
    }
    json_t *text = json_copy(json_object_get(config, "text_config"));
    bool ok = text != NULL;
    for (size_t i = 0; ok && i < sizeof shared / sizeof *shared; i++) {
        value = json_object_get(config, shared[i]);
        if (value && !json_is_null(value)) ok = json_object_set(text, shared[i], value) == 0;
    }
    const char *whole = json_string_value(json_object_get(config, "model_type"));
    if (ok && !ar__json_has(text, "model_type") && strcmp(whole, "mistral3") != 0) /* gemma3, gemma4, qwen3_5, qwen3_5_moe */
        ok = json_object_set_new(text, "model_type", json_sprintf("%s_text", whole)) == 0;
    if (!ok) json_decref(text);
    *out = ok ? text : NULL;
    return ok ? AR_OK : ar__fail_memory(err, place);
}

static ar_status find_family(const ar_family **out, const json_t *config, const char *place, ar_error *err) {
    const char *type = NULL;
    ar_status s = ar__json_need(config, "model_type", place, err);
    if (!s) s = ar__json_get_string(&type, config, "model_type", place, err);
    if (s) return s;
    *out = ar__family_find(type);
    if (*out) return AR_OK;
    ar_buf names = {0};
    for (size_t i = 0; ar__family_at(i); i++) ar__buf_printf(&names, "%s%s", i ? ", " : "", ar__family_name(ar__family_at(i)));
    s = ar__fail(err, AR_ERR_UNSUPPORTED, "%s: model_type '%s', wanted one of %s", place, type, names.data ? names.data : "");
    ar__buf_release(&names);
    return s;
}

typedef struct reader {
    const ar_family *family;
    ar_config c;
    const json_t *config;
    const char *place;
    const ar_log *log;
    ar_error *err;
} reader;

/* lfm2's rule, in doubles as its code has it. */
static ar_status take_width(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    int64_t ff = c->block_ff ? c->block_ff : c->ff ? c->ff : 4 * c->dim;
    a->ff = ff;
    if (!c->two_thirds_ff) return AR_OK;
    ff = (int64_t)(2.0 * (double)ff / 3.0);
    if (c->ff_multiplier != 0.0) {
        ff = (int64_t)(c->ff_multiplier * (double)ff);
        ff = (ff + c->ff_multiple - 1) / c->ff_multiple * c->ff_multiple;
    }
    a->ff = ff;
    if (ff >= 1 && ff <= 1 << 22) return AR_OK;
    return ar__fail(r->err, AR_ERR_VALUE, "%s: intermediate_size as adjusted by block_auto_adjust_ff_dim is %lld, wanted 1 to %d", r->place,
                    (long long)ff, 1 << 22);
}

static ar_status take_sizes(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    /* null is not silence: it has always meant one key/value head a head */
    bool null = json_is_null(json_object_get(r->config, "num_key_value_heads"));
    a->vocab = c->vocab;
    a->dim = c->dim;
    a->layers = c->layers;
    a->heads = c->heads;
    a->max_positions = c->max_positions;
    a->kv_heads = c->kv_heads && !null ? c->kv_heads : c->heads;
    a->head_dim = c->head_dim ? c->head_dim : c->dim / c->heads;
    if (r->family->by_head && a->kv_heads != a->heads)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: num_key_value_heads is %lld, but the %s family has one a head, %lld", r->place,
                        (long long)a->kv_heads, ar__family_name(r->family), (long long)a->heads);
    if (a->heads % a->kv_heads)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: %lld attention heads over %lld key/value heads, wanted a whole multiple", r->place,
                        (long long)a->heads, (long long)a->kv_heads);
    if (a->head_dim < 2 || a->head_dim % 2)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: head size %lld, wanted an even number", r->place, (long long)a->head_dim);
    return take_width(a, r);
}

static ar_status take_activation(ar_arch *a, const reader *r) {
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        if (strcmp(r->c.act, activations[i].name) != 0 || (activations[i].f == AR_XIELU) != r->family->xielu) continue;
        if (r->family->swiglu && activations[i].f != AR_SILU) break;
        a->activation = r->family->swiglu                                        ? AR_SWIGLU
                        : r->family->gelu_is_tanh && activations[i].f == AR_GELU ? AR_GELU_TANH
                                                                                 : activations[i].f;
        return AR_OK;
    }
    return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: activation '%s', wanted %s", r->place, r->c.act,
                    r->family->xielu    ? "xielu"
                    : r->family->swiglu ? "silu"
                                        : "silu, gelu, gelu_pytorch_tanh or relu2");
}

static ar_status take_flags(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    ar_status s = take_activation(a, r);
    if (s) return s;
    if (c->attention_dropout > 0.0)
        ar__log_warn(r->log, "%s: attention_dropout is %g: Alphar trains without dropout in the base, transformers with it", r->place,
                     c->attention_dropout);
    if (c->residual_dropout > 0.0 || c->embed_dropout > 0.0)
        ar__log_warn(r->log,
                     "%s: a dropout of %g behind embedding or sublayers: Alphar trains without dropout in the base, transformers with it",
                     r->place, fmax(c->residual_dropout, c->embed_dropout));
    a->norm_eps = (float)c->norm_eps;
    a->norm_offset = r->family->norm_plus_one ? 1.0f : 0.0f;
    a->tied = ar__fields_have(&r->family->fields, "tie_embedding") && ar__json_has(r->config, "tie_embedding") ? c->tie_embedding : c->tied;
    bool all = c->all_bias || r->family->bias_all;
    a->bias_qkv = r->family->bias_qkv || c->attention_bias || c->qkv_bias || all;
    a->bias_o = (r->family->out_bias ? c->out_bias : c->attention_bias) || all;
    a->bias_mlp = c->mlp_bias || all;
    a->bias_head = r->family->bias_head;
    a->bias_experts = r->family->swiglu;
    a->sinks = r->family->sinks;
    a->swiglu_alpha = c->swiglu_alpha;
    a->swiglu_limit = c->swiglu_limit;
    a->norm_centred = r->family->layer_norm;
    a->norm_bias = r->family->norm_bias;
    a->qk_turned = r->family->qk_turned;
    a->parallel = c->parallel || r->family->parallel;
    a->qkv_by_head = r->family->by_head;
    a->layer_scaled = c->layer_scaled;
    a->learned = r->family->learned;
    if (r->family->has_qk_norm && !c->qk_norm) a->absent |= ar__slot_bit(AR_SLOT_Q_NORM) | ar__slot_bit(AR_SLOT_K_NORM);
    if (r->family->one_norm && a->parallel) a->absent |= ar__slot_bit(AR_SLOT_MLP_NORM);
    a->rope_neighbours = r->family->neighbours;
    a->embed_scale = r->family->embed_root ? sqrt((double)a->dim) : c->embed_scale;
    a->residual_scale = c->residual_scale;
    double root = c->query_scalar != 0.0 ? c->query_scalar : (double)a->head_dim;
    a->attention_scale = c->attention_scale != 0.0 ? c->attention_scale : c->scaled ? 1.0 / sqrt(root) : 1.0;
    a->score_cap = c->score_cap;
    a->logit_cap = c->logit_cap;
    a->logit_scale = (c->logit_scale != 0.0 ? c->logit_scale : 1.0) / c->logit_divisor;
    a->clip_qkv = c->clip_qkv;
    a->head_norms = r->family->head_norms && c->qk_norm;
    a->qk_norm = a->head_norms || ar__arch_has(a, AR_SLOT_Q_NORM);
    a->qk_wide = r->family->qk_wide;
    return AR_OK;
}

static ar_status read_dense_layers(ar_arch *a, const reader *r) {
    const json_t *list = r->c.dense_layers;
    for (size_t i = 0; i < json_array_size(list); i++) {
        int64_t layer;
        if (!ar__json_as_int(&layer, json_array_get(list, i)) || layer < 0 || layer >= a->layers)
            return ar__fail(r->err, AR_ERR_VALUE, "%s: mlp_only_layers[%zu] is no layer, wanted a number from 0 to %lld", r->place, i,
                            (long long)a->layers - 1);
        a->dense[layer] = 1;
    }
    return AR_OK;
}

/* Whose experts stand beside its dense MLP, a field says whether there are any. */
static ar_status take_beside(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    const char *missing = !c->experts ? "num_experts" : !c->experts_used ? "top_k_experts" : !c->expert_ff ? "moe_intermediate_size" : NULL;
    a->experts_beside = c->moe_block;
    if (!c->moe_block || !missing) return AR_OK;
    return ar__fail(r->err, AR_ERR_MISMATCH, "%s: enable_moe_block is true, but '%s' is not there", r->place, missing);
}

/* Which layers have experts, and which of these a token takes. */
static ar_status take_experts(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    bool optional = ar__fields_have(&r->family->fields, "enable_moe_block");
    ar_status s = optional ? take_beside(a, r) : AR_OK;
    if (s || !a->names->experts || (optional && !a->experts_beside)) return s;
    a->experts = c->experts;
    a->experts_used = c->experts_used;
    a->expert_ff = c->expert_ff ? c->expert_ff : a->ff;
    if (!ar__arch_has(a, AR_SLOT_UP)) a->ff = a->expert_ff; /* no layer is dense */
    a->shared_ff = c->shared_ff;
    a->route_of_all = r->family->route_of_all && !c->renormalised;
    a->router_aux = c->router_logits ? c->router_aux : 0.0;
    if (!(a->router_aux >= 0.0 && a->router_aux <= 1e6))
        return ar__fail(r->err, AR_ERR_VALUE, "%s: 'router_aux_loss_coef' is %g and output_router_logits true, wanted 0 to 1e6", r->place,
                        a->router_aux);
    if (a->experts_used > a->experts)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: %s is %lld, but there are %lld experts", r->place,
                        optional ? "top_k_experts" : "num_experts_per_tok", (long long)a->experts_used, (long long)a->experts);
    if (c->experts_per_token && c->experts_per_token != a->experts_used)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                        "%s: experts_per_token is %lld, but the %s family's code reads num_experts_per_tok, %lld; make them agree",
                        r->place, (long long)c->experts_per_token, ar__family_name(r->family), (long long)a->experts_used);
    a->dense = ar__alloc((size_t)a->layers, 1);
    if (!a->dense) return ar__fail_memory(r->err, "layer list");
    for (int64_t l = 0; c->sparse_every && l < a->layers; l++) a->dense[l] = (l + 1) % c->sparse_every != 0;
    return read_dense_layers(a, r);
}

/* 1 for each layer that turns q and k. */
static ar_status take_turns(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    a->unturned = ar__alloc((size_t)a->layers, 1);
    if (!a->unturned) return ar__fail_memory(r->err, "layer list");
    memset(a->unturned, r->family->learned, (size_t)a->layers);
    for (int64_t l = 0; c->no_rope_every && l < a->layers; l++) a->unturned[l] = (l + 1) % c->no_rope_every == 0;
    if (!c->rope_layers) return AR_OK;
    if ((int64_t)json_array_size(c->rope_layers) != a->layers)
        return ar__fail(r->err, AR_ERR_MISMATCH, "%s: no_rope_layers names %zu layers, num_hidden_layers is %lld", r->place,
                        json_array_size(c->rope_layers), (long long)a->layers);
    for (int64_t l = 0; l < a->layers; l++) {
        int64_t turns;
        if (!ar__json_as_int(&turns, json_array_get(c->rope_layers, (size_t)l)) || turns < 0 || turns > 1)
            return ar__fail(r->err, AR_ERR_VALUE, "%s: no_rope_layers[%lld] is neither 0 nor 1", r->place, (long long)l);
        a->unturned[l] = !turns;
    }
    return AR_OK;
}

/* A list counts before every rule, also for mistral, which transformers then opens as ministral. */
static ar_status read_layer_types(ar_arch *a, const reader *r) {
    const json_t *types = r->c.layer_types;
    const char *other = r->family->delta ? "linear_attention" : r->family->short_conv ? "conv" : NULL; /* what mixes otherwise */
    if (!types) return AR_OK;
    if ((int64_t)json_array_size(types) != a->layers)
        return ar__fail(r->err, AR_ERR_MISMATCH, "%s: layer_types names %zu layers, num_hidden_layers is %lld", r->place,
                        json_array_size(types), (long long)a->layers);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *t = json_string_value(json_array_get(types, i));
        if (other && t && !strcmp(t, other)) continue; /* take_mixers reads it */
        bool slides = t && !strcmp(t, "sliding_attention"), full = t && (!strcmp(t, "full_attention") || !strcmp(t, "attention"));
        if (!slides && !full)
            return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: layer_types[%zu] is '%s', wanted full_attention or %s", r->place, i,
                            t ? t : "no string", other ? other : "sliding_attention");
        if (slides && !a->window)
            return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                            "%s: layer_types[%zu] is sliding_attention, but there is no window: the %s family %s; write full_attention if "
                            "the weights were trained so",
                            r->place, i, ar__family_name(r->family),
                            r->family->window == AR_WINDOW_NONE ? "has none" : "has one with sliding_window (and use_sliding_window) set");
        if (r->family->types_unread && slides != (a->windowed[i] != 0))
            return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                            "%s: layer_types[%zu] is '%s', but the %s family reads sliding_window alone, for all layers; make them agree",
                            r->place, i, t, ar__family_name(r->family));
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

static bool follows_pattern(const reader *r, int64_t layer) {
    const char *letters = json_string_value(r->c.pattern);
    int64_t every = json_is_integer(r->c.pattern) ? json_integer_value(r->c.pattern) : r->c.full_every;
    return letters ? letters[(size_t)layer % strlen(letters)] == 'L' : (layer + 1) % every != 0;
}

static ar_status check_pattern(const reader *r) {
    const json_t *p = r->c.pattern;
    const char *letters = json_string_value(p);
    bool number = json_is_integer(p) && json_integer_value(p) > 0;
    if (!p || number || (letters && *letters && strspn(letters, "LG") == strlen(letters))) return AR_OK;
    return ar__fail(r->err, AR_ERR_VALUE, "%s: 'sliding_window_pattern' is %s, wanted a number from 1, or letters L (window) and G (none)",
                    r->place,
                    letters              ? letters
                    : json_is_integer(p) ? "below 1"
                                         : ar__json_type(p));
}

static bool has_window(const ar_arch *a, const reader *r, int64_t layer) {
    switch (r->family->window) {
    case AR_WINDOW_NONE: return false;
    case AR_WINDOW_MISTRAL:
    case AR_WINDOW_ALL: return true;
    case AR_WINDOW_QWEN: return layer >= r->c.first_windowed;
    case AR_WINDOW_UNTURNED: return a->unturned[layer];
    case AR_WINDOW_PATTERN: return follows_pattern(r, layer);
    case AR_WINDOW_ASKED: return true;
    case AR_WINDOW_EVERY_OTHER: return layer % 2 == 0 && layer < r->c.first_windowed;
    }
    return false;
}

static ar_status take_window(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    ar_window_rule rule = r->family->window;
    ar_status s = AR_OK;
    a->windowed = ar__alloc((size_t)a->layers, 1);
    if (!a->windowed) return ar__fail_memory(r->err, "layer list");
    bool asks = rule == AR_WINDOW_QWEN || rule == AR_WINDOW_UNTURNED || rule == AR_WINDOW_ASKED || rule == AR_WINDOW_EVERY_OTHER;
    a->window = asks && !c->use_window ? 0 : c->window;
    if (rule == AR_WINDOW_PATTERN && !a->window && !c->layer_types && !r->family->turns_with_window)
        return ar__fail(
            r->err, AR_ERR_UNSUPPORTED,
            "%s: sliding_window is null, but the %s family has layers with a window; name all in layer_types as full_attention if "
            "these weights have none",
            r->place, ar__family_name(r->family));
    if (a->window && (s = check_pattern(r))) return s;
    for (int64_t l = 0; a->window && l < a->layers; l++) a->windowed[l] = has_window(a, r, l);
    if (rule == AR_WINDOW_MISTRAL) s = check_mistral(a, r, c->use_window, c->first_windowed);
    if (!s) s = read_layer_types(a, r);
    bool in_window = r->family->turns_in_window || (r->family->turns_with_window && a->window);
    for (int64_t l = 0; in_window && l < a->layers; l++) a->unturned[l] = !a->windowed[l];
    return s;
}

static ar_status take_delta(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    if (!c->output_gate)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: attn_output_gate is false, but attention of the %s family is gated", r->place,
                        ar__family_name(r->family));
    if (a->activation != AR_SILU)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: activation '%s', wanted silu, as the convolutions of the %s family have it",
                        r->place, c->act, ar__family_name(r->family));
    if (c->delta_value_heads % c->delta_key_heads)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: %lld value heads over %lld key heads of linear attention, wanted a whole multiple",
                        r->place, (long long)c->delta_value_heads, (long long)c->delta_key_heads);
    a->gated = true;
    a->delta = (ar_delta_sizes){c->delta_key_heads, c->delta_value_heads, c->delta_key_dim, c->delta_value_dim, c->delta_taps};
    for (int64_t l = 0; l < a->layers; l++) {
        const char *type = json_string_value(json_array_get(c->layer_types, (size_t)l));
        bool delta = c->layer_types ? !strcmp(type, "linear_attention") : (l + 1) % c->attention_every != 0;
        a->mixer[l] = delta ? AR_MIX_DELTA : AR_MIX_ATTENTION;
    }
    return AR_OK;
}

/* Without layer_types a list says which layers have attention; without either all have. */
static ar_status take_conv(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    a->conv_taps = c->conv_taps;
    a->conv_bias = c->conv_bias;
    for (int64_t l = 0; l < a->layers; l++) {
        const char *type = json_string_value(json_array_get(c->layer_types, (size_t)l));
        bool conv = c->layer_types ? !strcmp(type, "conv") : c->full_layers != NULL;
        a->mixer[l] = conv ? AR_MIX_CONV : AR_MIX_ATTENTION;
    }
    for (size_t i = 0; !c->layer_types && i < json_array_size(c->full_layers); i++) {
        int64_t layer;
        if (!ar__json_as_int(&layer, json_array_get(c->full_layers, i)) || layer < 0 || layer >= a->layers)
            return ar__fail(r->err, AR_ERR_VALUE, "%s: full_attn_idxs[%zu] is no layer, wanted a number from 0 to %lld", r->place, i,
                            (long long)a->layers - 1);
        a->mixer[layer] = AR_MIX_ATTENTION;
    }
    return AR_OK;
}

static ar_status take_mixers(ar_arch *a, const reader *r) {
    a->mixer = ar__alloc((size_t)a->layers, 1); /* all attention */
    if (!a->mixer) return ar__fail_memory(r->err, "layer list");
    return r->family->delta ? take_delta(a, r) : r->family->short_conv ? take_conv(a, r) : AR_OK;
}

/* What a rotary embedding asks for and the family does not do. */
static ar_status check_rope(const ar_arch *a, const reader *r, const ar_rope_config *rope) {
    if (rope->alpha != 0.0 && !r->family->ntk_alpha)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: rope parameter 'alpha' is %g, which the %s family does not do", r->place,
                        rope->alpha, ar__family_name(r->family));
    if (rope->query_beta != 0.0 && !r->family->query_gain)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                        "%s: 'llama_4_scaling_beta' is %g, which the %s family does not do: these weights may want other code", r->place,
                        rope->query_beta, ar__family_name(r->family));
    if (rope != a->rope && (rope->kind == AR_ROPE_LONG || (rope->partial != 0.0 && rope->partial != 1.0)))
        return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                        "%s: rope parameters of sliding_attention: neither longrope nor a partial_rotary_factor is done", r->place);
    if (rope->kind == AR_ROPE_LONG && (int64_t)rope->factors != a->rotary_dim / 2)
        return ar__fail(r->err, AR_ERR_MISMATCH,
                        "%s: short_factor and long_factor hold %zu numbers, wanted %lld, one for two turned elements", r->place,
                        rope->factors, (long long)(a->rotary_dim / 2));
    return AR_OK;
}

/* How much of a head is turned. */
static ar_status take_rotary(ar_arch *a, const reader *r) {
    const ar_rope_config *rope = &a->rope[0];
    double partial = rope->partial != 0.0 ? rope->partial : r->c.partial != 0.0 ? r->c.partial : 1.0;
    if (rope->kind == AR_ROPE_PROPORTIONAL) partial = 1.0; /* of the frequencies, not of the head */
    if (partial != 1.0 && !r->family->partial)
        return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: partial_rotary_factor is %g, wanted 1", r->place, partial);
    a->rotary_dim = (int64_t)((double)a->head_dim * partial);
    if (a->rotary_dim < 2 || a->rotary_dim % 2)
        return ar__fail(r->err, AR_ERR_VALUE, "%s: partial_rotary_factor %g turns %lld elements of a head of %lld, wanted an even number",
                        r->place, partial, (long long)a->rotary_dim, (long long)a->head_dim);
    return AR_OK;
}

static ar_status take_ropes(ar_arch *a, const reader *r) {
    const ar_config *c = &r->c;
    bool two = r->family->two_ropes;
    const ar_rope_source full = {.layers = two ? "full_attention" : NULL,
                                 .theta = c->theta,
                                 .original = r->family->long_rope ? c->original_max : 0.0,
                                 .long_alone = r->family->long_rope};
    bool own = c->local_theta != 0.0;
    const ar_rope_source sliding = {
        .layers = "sliding_attention", .theta = own ? c->local_theta : c->theta, .own_theta = own, .unscaled = true};
    ar_status s = ar__rope_read(&a->rope[0], &full, r->config, a->max_positions, r->place, r->log, r->err);
    bool silent =
        ar__json_is_off(json_object_get(r->config, "rope_scaling")) && ar__json_is_off(json_object_get(r->config, "rope_parameters"));
    if (!s && silent && r->family->rope) {
        double theta = a->rope[0].theta;
        a->rope[0] = *r->family->rope;
        if (a->rope[0].theta == 0.0) a->rope[0].theta = theta;
    }
    if (!s && two) s = ar__rope_read(&a->rope[1], &sliding, r->config, a->max_positions, r->place, r->log, r->err);
    a->ropes = two ? 2 : 1;
    if (!s) s = take_rotary(a, r);
    for (int i = 0; !s && i < a->ropes; i++) s = check_rope(a, r, &a->rope[i]);
    return s;
}

static ar_status take_special(ar_arch *a, const ar_family *f, const reader *r) {
    const json_t *eos = json_object_get(r->config, "eos_token_id");
    int64_t bos = f->initial.bos;
    ar_status s = ar__json_get_int(&bos, r->config, "bos_token_id", r->place, r->err);
    if (s) return s;
    a->bos = bos >= 0 && bos < a->vocab ? (int32_t)bos : -1;
    bool silent = !eos || (json_is_null(eos) && f->more_eos[0]);
    if (silent && f->eos >= 0) a->eos[a->eos_count++] = f->eos;
    for (size_t i = 0; silent && i < AR_FAMILY_EOS && f->more_eos[i]; i++) a->eos[a->eos_count++] = f->more_eos[i];
    size_t n = json_is_array(eos) ? json_array_size(eos) : eos && !json_is_null(eos) ? 1 : 0;
    for (size_t i = 0; i < n && a->eos_count < AR_MAX_EOS; i++) {
        int64_t id;
        if (!ar__json_as_int(&id, json_is_array(eos) ? json_array_get(eos, i) : eos))
            return ar__fail(r->err, AR_ERR_FORMAT, "%s: 'eos_token_id' holds something that is no integer", r->place);
        if (id >= 0 && id < a->vocab) a->eos[a->eos_count++] = (int32_t)id;
    }
    return AR_OK;
}

static ar_status read_text(ar_arch *out, const json_t *config, const char *place, const ar_log *log, ar_error *err) {
    const ar_family *f = NULL;
    ar_status s = find_family(&f, config, place, err);
    if (s) return s;
    out->names = &f->names;
    reader r = {f, f->initial, config, place, log, err};
    const ar_layer_source layers = {f, &r.c, config, place, log, err};
    if ((s = ar__fields_read(&r.c, &f->fields, config, ar__family_name(f), place, err)) || (s = take_sizes(out, &r)) ||
        (s = take_flags(out, &r)) || (s = take_experts(out, &r)) || (s = take_turns(out, &r)) || (s = take_window(out, &r)) ||
        (s = take_mixers(out, &r)) || (s = ar__arch_take_layers(out, &layers)) || (s = take_ropes(out, &r)) ||
        (s = take_special(out, f, &r))) {
        ar__arch_release(out);
        return s;
    }
    out->family = ar__family_name(f);
    return AR_OK;
}

ar_status ar__arch_read(ar_arch *out, const json_t *config, const char *place, const ar_log *log, ar_error *err) {
    json_t *text = NULL;
    *out = (ar_arch){.bos = -1, .wrapped = is_wrapper(config)};
    ar_status s = out->wrapped ? unwrap(&text, config, place, err) : AR_OK;
    if (!s) s = read_text(out, text ? text : config, place, log, err);
    json_decref(text);
    return s;
}

void ar__arch_release(ar_arch *a) {
    for (int i = 0; i < AR_ROPES; i++) ar__rope_release(&a->rope[i]);
    free(a->windowed);
    free(a->unturned);
    free(a->dense);
    free(a->mixer);
    *a = (ar_arch){0};
}
