#include "model/model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/folder.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/size.h"
#include "format/json.h"
#include "model/bind.h"
#include "model/mirror.h"
#include "weights/experts.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };

/* The layer of a module, NULL outside; its slot there. */
static ar_layer *layer_of(ar_slot *slot, ar_model *m, size_t module) {
    if (module == 0 || module >= ar__module_norm(&m->arch)) return NULL;
    *slot = (ar_slot)((module - 1) % AR_SLOT_COUNT);
    return &m->layers[(module - 1) / AR_SLOT_COUNT];
}

ar_linear *ar__model_linear(ar_model *m, size_t module) {
    ar_slot slot;
    if (module == ar__module_head(&m->arch)) return &m->head;
    if (module == ar__module_ple_mix(&m->arch)) return &m->ple.mix;
    if (module >= ar__module_experts(&m->arch)) return &m->experts[module - ar__module_experts(&m->arch)];
    ar_layer *l = layer_of(&slot, m, module);
    return l && m->modules[module].kind == AR_MODULE_LINEAR ? &l->linear[slot] : NULL;
}

ar_norm *ar__model_norm(ar_model *m, size_t module) {
    ar_slot slot;
    if (module == ar__module_norm(&m->arch)) return &m->norm;
    if (module == ar__module_ple_norm(&m->arch)) return &m->ple.norm;
    ar_layer *l = layer_of(&slot, m, module);
    return l && m->modules[module].kind == AR_MODULE_NORM ? &l->norm[slot] : NULL;
}

ar_embedding *ar__model_embedding(ar_model *m, size_t module) {
    if (module == ar__module_ple_table(&m->arch)) return &m->ple.table;
    return module == 0 ? &m->embed : module == ar__module_positions(&m->arch) ? &m->positions : NULL;
}

ar_weight ar__model_weight(const ar_model *m, size_t module) {
    ar_model *mm = (ar_model *)(uintptr_t)m;
    const ar_embedding *embedding = ar__model_embedding(mm, module);
    if (embedding) return embedding->w;
    ar_linear *lin = ar__model_linear(mm, module);
    if (lin) return lin->w;
    ar_norm *norm = ar__model_norm(mm, module);
    return norm && norm->w ? (ar_weight){norm->w, AR_F32, (size_t)m->modules[module].n_out, 1} : (ar_weight){0};
}

size_t ar__model_find(const ar_model *m, const char *path) {
    for (size_t i = 0; i < m->module_count; i++)
        if (m->modules[i].path && !strcmp(m->modules[i].path, path)) return i;
    return SIZE_MAX;
}

static float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

static ar_activation activation_of(const ar_arch *a, const float xielu[4]) {
    return (ar_activation){.kind = a->activation,
                           .positive = softplus(xielu[0]),
                           .negative = xielu[2] + softplus(xielu[1]),
                           .beta = xielu[2],
                           .eps = xielu[3],
                           .alpha = (float)a->swiglu_alpha,
                           .limit = (float)a->swiglu_limit};
}

size_t ar__model_normed_heads(const ar_model *m, int which) { return (size_t)(which ? m->arch.kv_heads : m->arch.heads); }

static bool allocate_head_norms(ar_model *m, ar_layer *to) {
    bool ok = true;
    for (int k = 0; m->arch.head_norms && k < 2; k++) {
        to->head_norm[k] = ar__alloc(ar__model_normed_heads(m, k) * (size_t)m->arch.head_dim, sizeof(float));
        ok = ok && to->head_norm[k];
    }
    return ok;
}

static void set_head_norms(const ar_model *m, ar_layer *to) {
    for (int k = 0; m->arch.head_norms && k < 2; k++)
        to->norm[k ? AR_SLOT_K_NORM : AR_SLOT_Q_NORM] = (ar_norm){.w = to->head_norm[k],
                                                                  .eps = m->arch.norm_eps,
                                                                  .offset = m->arch.norm_offset,
                                                                  .centred = m->arch.norm_centred,
                                                                  .heads = ar__model_normed_heads(m, k)};
}

static void set_layer(ar_model *m, int64_t l) {
    const ar_arch *a = &m->arch;
    ar_layer *to = &m->layers[l];
    bool given = m->base && ar__base_info(m->base)->is_gguf; /* bind.c has read the rates */
    size_t heads = to->mixer == AR_MIX_DELTA && !given ? to->delta.value_heads : 0;
    for (size_t h = 0; h < heads; h++) ar__model_mixer(m, l, AR_MIXER_PARTS)[h] = expf(ar__model_mixer(m, l, AR_PART_RATE)[h]);
    to->expert = ar__layer_is_dense(a, l) ? NULL : m->experts + l * a->experts * AR_EXPERT_PARTS;
    to->window = a->windowed[l] ? (size_t)a->window : 0;
    to->turns = !a->unturned[l];
    to->activation = activation_of(a, to->xielu);
    to->scale = (float)(a->attention_scale / (a->layer_scaled ? (double)(l + 1) : 1.0));
    to->rope = a->ropes > 1 && a->windowed[l] ? 1 : 0;
    to->head_dim = (size_t)ar__arch_head_dim(a, l);
    to->kv_heads = (size_t)ar__arch_kv_heads(a, l);
    to->ff = (size_t)ar__arch_ff(a, l);
    to->v_is_k = a->full_k_is_v && !a->windowed[l];
    to->kv_layer = (size_t)ar__arch_kv_layer(a, l);
    to->kv_lent = false;
    set_head_norms(m, to);
    if (to->routing) to->router_norm = (ar_norm){.w = to->routing, .eps = a->norm_eps};
    if (to->kv_layer != (size_t)l) m->layers[to->kv_layer].kv_lent = true;
}

/* The norm behind the delta rule stores w in every family. */
static float norm_offset(const ar_model *m, size_t module) {
    bool gated = module < ar__module_norm(&m->arch) && (module - 1) % AR_SLOT_COUNT == AR_SLOT_DELTA_NORM;
    return gated ? 0.0f : m->arch.norm_offset;
}

void ar__model_rebind(ar_model *m) {
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        const ar_owned *own = &m->owned[i];
        ar_weight w = {own->weight, AR_F32, (size_t)mod->n_out, (size_t)mod->n_in};
        ar_linear *lin = ar__model_linear(m, i);
        ar_norm *norm = ar__model_norm(m, i);
        if (lin) {
            if (own->weight) lin->w = w;
            lin->bias = ar__module_is_down(&m->arch, i) ? NULL : own->bias; /* model/experts.c adds it by weight */
            lin->site = (int)i;
        } else if (norm) {
            norm->w = own->weight;
            norm->b = own->bias;
            norm->centred = m->arch.norm_centred;
            norm->eps = m->arch.norm_eps;
            norm->offset = norm_offset(m, i);
        } else {
            ar_embedding *embedding = ar__model_embedding(m, i);
            embedding->site = (int)i;
            if (own->weight) embedding->w = w;
        }
    }
    if (m->tied) m->head.w = m->embed.w;
    assert(m->layers && m->arch.windowed && m->arch.unturned && m->arch.mixer);
    for (int64_t l = 0; l < m->arch.layers; l++) set_layer(m, l);
    if (m->ones) m->v_norm = (ar_norm){.w = m->ones, .eps = m->arch.norm_eps};
}

ar_status ar__model_own(ar_model *m, size_t module, ar_error *err) {
    if (m->tied && module == ar__module_head(&m->arch)) module = 0;
    if (m->owned[module].weight) return AR_OK;
    ar_weight w = ar__model_weight(m, module);
    size_t count;
    float *copy = ar__mul(&count, w.rows, w.cols) ? ar__alloc(count, sizeof *copy) : NULL;
    if (!copy) return ar__fail_memory(err, m->modules[module].path);
    ar__dtype(w.type)->to_f32(copy, w.data, count);
    m->owned[module].weight = copy;
    ar__model_rebind(m);
    return AR_OK;
}

static void release_owned(ar_owned *own, bool bias) {
    if (bias && !own->bias_borrowed) free(own->bias);
    if (!bias && !own->weight_borrowed) free(own->weight);
}

void ar__model_borrow(ar_model *m, size_t module, bool bias, float *data) {
    ar_owned *own = &m->owned[module];
    bool shared = m->tied && !bias && (module == 0 || module == ar__module_head(&m->arch));
    if (shared && module == 0) { /* the other side keeps W, which both operators point to already */
        m->owned[ar__module_head(&m->arch)].weight = own->weight;
        own->weight = NULL;
    }
    if (shared) m->tied = false;
    ar__model_unmirror(m, bias ? own->bias : own->weight);
    release_owned(own, bias);
    if (bias) {
        own->bias = data;
        own->bias_borrowed = true;
    } else {
        own->weight = data;
        own->weight_borrowed = true;
    }
}

const char *ar__model_find_nonfinite(const ar_model *m) {
    for (size_t i = 0; i < m->module_count; i++) {
        ar_weight w = ar__model_weight(m, i);
        if (!w.data) continue;
        const ar_dtype_info *t = ar__dtype(w.type);
        float row[4096];
        size_t n = w.rows * w.cols;
        for (size_t at = 0; at < n; at += 4096) {
            size_t len = n - at < 4096 ? n - at : 4096;
            t->to_f32(row, (const char *)w.data + at / t->block * t->bytes, len);
            for (size_t j = 0; j < len; j++)
                if (!isfinite(row[j])) return m->modules[i].path;
        }
        for (size_t j = 0; m->owned[i].bias && j < (size_t)m->modules[i].n_out; j++)
            if (!isfinite(m->owned[i].bias[j])) return m->modules[i].path;
    }
    return NULL;
}

float *ar__model_mixer(const ar_model *m, int64_t layer, int part) {
    size_t before = 0;
    for (int i = 0; i < part; i++) {
        ar_mixer_tensor t = ar__mixer_tensor(&m->arch, layer, i);
        before += (size_t)(t.rows * t.cols);
    }
    return m->layers[layer].mixer_memory + before;
}

static void set_delta(ar_model *m, int64_t layer) {
    const ar_delta_sizes *d = &m->arch.delta;
    ar_layer *l = &m->layers[layer];
    l->conv = (ar_conv){.w = l->mixer_memory, .width = (size_t)ar__delta_columns(d), .taps = (size_t)d->taps, .silu = true};
    l->delta = (ar_delta){.key_heads = (size_t)d->key_heads,
                          .value_heads = (size_t)d->value_heads,
                          .key_dim = (size_t)d->key_dim,
                          .value_dim = (size_t)d->value_dim,
                          .rate = ar__model_mixer(m, layer, AR_MIXER_PARTS),
                          .shift = ar__model_mixer(m, layer, AR_PART_SHIFT)};
}

static void set_conv(ar_model *m, int64_t layer) {
    const ar_arch *a = &m->arch;
    ar_layer *l = &m->layers[layer];
    const float *bias = a->conv_bias ? ar__model_mixer(m, layer, AR_PART_BIAS) : NULL;
    l->conv = (ar_conv){.w = l->mixer_memory, .bias = bias, .width = (size_t)a->dim, .taps = (size_t)a->conv_taps};
}

static bool allocate_mixers(ar_model *m) {
    for (int64_t i = 0; i < m->arch.layers; i++) {
        ar_layer *l = &m->layers[i];
        size_t floats = 0, more;
        l->mixer = (ar_mixer)m->arch.mixer[i];
        for (int part = 0; part < ar__mixer_tensor_count(&m->arch, i); part++) {
            ar_mixer_tensor t = ar__mixer_tensor(&m->arch, i, part);
            if (!ar__mul(&more, (size_t)t.rows, (size_t)t.cols) || __builtin_add_overflow(floats, more, &floats)) return false;
        }
        if (l->mixer == AR_MIX_DELTA) floats += (size_t)m->arch.delta.value_heads;
        if (l->mixer != AR_MIX_ATTENTION && !(l->mixer_memory = ar__alloc(floats, sizeof(float)))) return false;
        if (l->mixer == AR_MIX_DELTA) set_delta(m, i);
        if (l->mixer == AR_MIX_CONV) set_conv(m, i);
    }
    return true;
}

static bool allocate_routing(const ar_model *m, ar_layer *l) {
    size_t floats = (size_t)(m->arch.dim + m->arch.experts);
    l->routing = ar__alloc(floats, sizeof(float));
    for (size_t i = 0; l->routing && i < floats; i++) l->routing[i] = 1.0f;
    return l->routing != NULL;
}

/* Record, module list and empty operators from a configuration; place: where it stands. */
static ar_status start(ar_model *m, const ar_runtime *rt, const json_t *config, const char *place, ar_error *err) {
    ar_status s;
    m->rt = rt;
    if ((s = ar__arch_read(&m->arch, config, place, &rt->log, err)) || (s = ar__arch_modules(&m->modules, &m->arch, err))) return s;
    m->module_count = ar__module_count(&m->arch);
    m->tied = m->arch.tied;
    m->owned = ar__alloc(m->module_count, sizeof *m->owned);
    m->layers = ar__alloc((size_t)m->arch.layers, sizeof *m->layers);
    m->mirrors = ar__mirrors_new();
    m->experts = ar__alloc((size_t)(m->arch.layers * m->arch.experts) * AR_EXPERT_PARTS, sizeof *m->experts);
    if (!m->owned || !m->layers || !m->experts || !m->mirrors) return ar__fail_memory(err, place);
    if (!allocate_mixers(m)) return ar__fail_memory(err, place);
    static const float xielu[] = {0.20329f, -1.05004f, 0.5f, -1e-6f}; /* of alphas 0.8 and 0.8 */
    for (int64_t l = 0; l < m->arch.layers; l++) {
        memcpy(m->layers[l].xielu, xielu, sizeof xielu);
        m->layers[l].scalar = 1.0f;
        if (!allocate_head_norms(m, &m->layers[l])) return ar__fail_memory(err, place);
        if (m->arch.sinks && !(m->layers[l].sinks = ar__alloc((size_t)m->arch.heads, sizeof(float)))) return ar__fail_memory(err, place);
        if (m->arch.experts_beside && !allocate_routing(m, &m->layers[l])) return ar__fail_memory(err, place);
    }
    if (!m->arch.v_norm) return AR_OK;
    size_t widest = ar__max((size_t)m->arch.head_dim, (size_t)m->arch.full_head_dim);
    m->ones = ar__alloc(widest, sizeof *m->ones);
    if (!m->ones) return ar__fail_memory(err, place);
    m->ones_count = widest;
    for (size_t i = 0; i < widest; i++) m->ones[i] = 1.0f;
    return AR_OK;
}

/* transformers takes model.safetensors before an index, and so do we. */
static void warn_stale(const ar_model *m) {
    if (ar__dir_holds(m->path, "model.safetensors") && ar__dir_holds(m->path, "model.safetensors.index.json"))
        ar__log_warn(&m->rt->log,
                     "%s: model.safetensors is used, as transformers does, and the shards of model.safetensors.index.json are not; remove "
                     "the one that is old",
                     m->path);
}

/* A folder's config.json is read before its weights: what is wrong there comes first. */
static ar_status open_folder(ar_model *m, const ar_runtime *rt, ar_error *err) {
    char *place = ar__path_join(m->path, "config.json");
    json_t *config = NULL;
    ar_status s = place ? ar__folder_check(m->path, err) : ar__fail_memory(err, m->path);
    if (!s) s = ar__json_load_object(&config, place, MAX_CONFIG_BYTES, err);
    if (!s) s = start(m, rt, config, place, err);
    if (!s) s = ar__base_open(&m->base, m->path, err);
    if (!s) warn_stale(m);
    json_decref(config);
    free(place);
    return s;
}

static ar_status open_gguf(ar_model *m, const ar_runtime *rt, ar_error *err) {
    json_t *config = NULL;
    ar_status s = ar__base_open(&m->base, m->path, err);
    if (!s) s = ar__gguf_config(&config, ar__base_files(m->base), err);
    if (!s) s = start(m, rt, config, m->path, err);
    json_decref(config);
    return s;
}

ar_status ar_model_open(ar_model **out, const ar_runtime *rt, const char *path, ar_error *err) {
    ar_model *m = ar__alloc(1, sizeof *m);
    *out = NULL;
    if (!m) return ar__fail_memory(err, path);
    m->path = ar__strdup(path);
    bool gguf = ar__gguf_is_name(path);
    ar_status s = m->path ? AR_OK : ar__fail_memory(err, path);
    if (!s && !gguf && ar__path_exists(path) && !ar__path_is_dir(path))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "%s: is a file, wanted a Hugging Face folder with config.json and safetensors, or a file that ends in .gguf", path);
    if (!s) s = gguf ? open_gguf(m, rt, err) : open_folder(m, rt, err);
    if (!s) s = ar__model_bind(m, err);
    if (s) {
        ar_model_free(m);
        return s;
    }
    *out = m;
    return AR_OK;
}

static void draw_weights(ar_model *m, size_t i, uint64_t seed, double deviation) {
    const ar_module *mod = &m->modules[i];
    size_t n = (size_t)mod->n_out * (size_t)mod->n_in;
    ar_rng g = ar__rng_stream(seed, AR_RNG_INIT, ar__rng_hash(mod->path), 2);
    for (size_t j = 0; j < n; j++)
        m->owned[i].weight[j] = mod->kind == AR_MODULE_NORM ? 1.0f - norm_offset(m, i) : (float)(deviation * ar__rng_normal(&g, j));
}

static void draw_routing(ar_model *m, int64_t layer, uint64_t seed, double deviation) {
    ar_rng g = ar__rng_stream(seed, AR_RNG_INIT, ar__rng_hash("router") + (uint64_t)layer, 2);
    size_t floats = m->arch.experts_beside ? (size_t)(m->arch.dim + m->arch.experts) : 0;
    for (size_t i = 0; i < floats; i++) m->layers[layer].routing[i] = 1.0f + (float)(deviation * ar__rng_normal(&g, i));
}

static void draw_sinks(ar_model *m, int64_t layer, uint64_t seed, double deviation) {
    ar_rng g = ar__rng_stream(seed, AR_RNG_INIT, ar__rng_hash("sinks") + (uint64_t)layer, 2);
    for (size_t h = 0; m->arch.sinks && h < (size_t)m->arch.heads; h++)
        m->layers[layer].sinks[h] = (float)(deviation * ar__rng_normal(&g, h));
}

static void draw_head_norms(ar_model *m, int64_t layer, uint64_t seed) {
    ar_rng g = ar__rng_stream(seed, AR_RNG_INIT, ar__rng_hash("norms") + (uint64_t)layer, 2);
    for (int k = 0; m->arch.head_norms && k < 2; k++)
        for (size_t i = 0; i < ar__model_normed_heads(m, k) * (size_t)m->arch.head_dim; i++)
            m->layers[layer].head_norm[k][i] = 1.0f - m->arch.norm_offset + (float)(0.1 * ar__rng_normal(&g, i));
}

/* As the families begin: rates spread over 0 to 16, dt_bias 1, the convolution's own bias 0. */
static void draw_mixer(ar_model *m, int64_t layer, uint64_t seed, double deviation) {
    const ar_layer *l = &m->layers[layer];
    if (l->mixer == AR_MIX_ATTENTION) return;
    ar_rng g = ar__rng_stream(seed, AR_RNG_INIT, ar__rng_hash(l->mixer == AR_MIX_DELTA ? "linear_attn" : "conv") + (uint64_t)layer, 2);
    for (size_t i = 0; i < l->conv.width * l->conv.taps; i++)
        ar__model_mixer(m, layer, AR_PART_KERNEL)[i] = (float)(deviation * ar__rng_normal(&g, i));
    for (size_t h = 0; l->mixer == AR_MIX_DELTA && h < l->delta.value_heads; h++) {
        ar__model_mixer(m, layer, AR_PART_RATE)[h] = logf(16.0f * ((float)h + 0.5f) / (float)l->delta.value_heads);
        ar__model_mixer(m, layer, AR_PART_SHIFT)[h] = 1.0f;
    }
}

static ar_status allocate_random(ar_model *m, uint64_t seed, double deviation, ar_error *err) {
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        bool tied = i == ar__module_head(&m->arch) && m->tied;
        if (!mod->path || (tied && !mod->has_bias)) continue;
        m->owned[i].weight = tied ? NULL : ar__alloc((size_t)mod->n_out * (size_t)mod->n_in, sizeof(float));
        m->owned[i].bias = mod->has_bias ? ar__alloc((size_t)mod->n_out, sizeof(float)) : NULL;
        if ((!tied && !m->owned[i].weight) || (mod->has_bias && !m->owned[i].bias)) return ar__fail_memory(err, mod->path);
        if (!tied) draw_weights(m, i, seed, deviation);
    }
    for (int64_t l = 0; l < m->arch.layers; l++) draw_mixer(m, l, seed, deviation);
    for (int64_t l = 0; l < m->arch.layers; l++) draw_sinks(m, l, seed, deviation);
    for (int64_t l = 0; l < m->arch.layers; l++) draw_head_norms(m, l, seed);
    for (int64_t l = 0; l < m->arch.layers; l++) draw_routing(m, l, seed, deviation);
    ar__model_rebind(m);
    return AR_OK;
}

static ar_status wanted_dtype(ar_dtype *out, const json_t *config, const char *place, ar_error *err) {
    const char *name = "float32";
    ar_status s = ar__json_get_string(&name, config, "torch_dtype", place, err);
    if (!s) s = ar__json_get_string(&name, config, "dtype", place, err);
    if (s) return s;
    if (!ar__dtype_from_name(out, name) || !ar__dtype_is_float(*out))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: dtype '%s', wanted float32, float16 or bfloat16", place, name);
    return AR_OK;
}

ar_status ar__model_init(ar_model **out, const ar_runtime *rt, const char *config_path, uint64_t seed, ar_error *err) {
    ar_model *m = ar__alloc(1, sizeof *m);
    json_t *config = NULL;
    double deviation = 0.02;
    ar_status s = AR_OK;
    *out = NULL;
    if (!m) return ar__fail_memory(err, config_path);
    m->path = ar__strdup(config_path);
    if (!m->path) s = ar__fail_memory(err, config_path);
    if (!s) s = ar__json_load_object(&config, config_path, MAX_CONFIG_BYTES, err);
    if (!s) s = start(m, rt, config, config_path, err);
    if (!s) s = ar__json_get_double(&deviation, config, "initializer_range", config_path, err);
    if (!s) s = wanted_dtype(&m->dtype, config, config_path, err);
    if (!s) s = allocate_random(m, seed, deviation, err);
    json_decref(config);
    if (s) {
        ar_model_free(m);
        return s;
    }
    *out = m;
    return AR_OK;
}

void ar_model_free(ar_model *m) {
    if (!m) return;
    ar__mirrors_free(m);
    for (size_t i = 0; m->owned && i < m->module_count; i++) {
        release_owned(&m->owned[i], false);
        release_owned(&m->owned[i], true);
        free(m->owned[i].turned);
    }
    free(m->owned);
    for (int64_t l = 0; m->layers && l < m->arch.layers; l++) {
        free(m->layers[l].mixer_memory);
        free(m->layers[l].sinks);
        for (int k = 0; k < 2; k++) free(m->layers[l].head_norm[k]);
        free(m->layers[l].routing);
    }
    free(m->layers);
    free(m->experts);
    ar__modules_free(m->modules, m->module_count);
    ar__base_close(m->base);
    ar__arch_release(&m->arch);
    free(m->quantised);
    free(m->ones);
    free(m->path);
    free(m);
}

/* Of a module's weight, a tensor or one of several matrices in one. */
static size_t bytes_in_files(const ar_model *m, size_t i) {
    const ar_arch *a = &m->arch;
    const ar_base_weight *w = ar__base_find(m->base, m->modules[i].path);
    size_t at = i - ar__module_experts(a), bytes = 0;
    if (w || i < ar__module_experts(a)) return w ? w->bytes : 0;
    ar_expert_weight x;
    ar_expert_part part = (ar_expert_part)(at % AR_EXPERT_PARTS);
    int64_t expert = (int64_t)(at / AR_EXPERT_PARTS % (size_t)a->experts);
    if (ar__base_find_expert(&x, m->base, a, m->modules[i].layer, expert, part, NULL) || !x.w) return 0;
    return ar__dtype_bytes(&bytes, x.type, (size_t)(x.rows * x.cols)) ? bytes : 0;
}

size_t ar__model_file_bytes(const ar_model *m) {
    size_t bytes = m->base ? ar__tensors_bytes(ar__base_files(m->base)) : 0;
    for (size_t i = 0; m->base && i < m->module_count; i++) {
        size_t own = m->owned[i].turned ? bytes_in_files(m, i) : 0;
        bytes -= own < bytes ? own : bytes;
    }
    return bytes;
}

const char *ar_model_family(const ar_model *m) { return m->arch.family; }
int64_t ar_model_vocab(const ar_model *m) { return m->arch.vocab; }
int64_t ar_model_max_positions(const ar_model *m) { return m->arch.max_positions; }

int64_t ar_model_parameters(const ar_model *m) {
    int64_t n = 0;
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        if (!mod->path || (i == ar__module_head(&m->arch) && m->tied)) continue;
        n += mod->n_out * mod->n_in + (mod->has_bias ? mod->n_out : 0);
    }
    for (int64_t l = 0; l < m->arch.layers; l++)
        for (int part = 0; part < ar__mixer_tensor_count(&m->arch, l); part++) {
            ar_mixer_tensor t = ar__mixer_tensor(&m->arch, l, part);
            n += t.rows * t.cols;
        }
    if (m->arch.head_norms) n += m->arch.layers * (m->arch.heads + m->arch.kv_heads) * m->arch.head_dim;
    if (m->arch.experts_beside) n += m->arch.layers * (m->arch.dim + m->arch.experts);
    return m->arch.sinks ? n + m->arch.layers * m->arch.heads : n;
}
