/* Modules of the record on the weights of its files.  What a weight is called, whether the head is tied, how its rows and its two
 * dimensions lie, is weights/base.h's to know; here a weight becomes what an operator takes:
 *
 *     linear, embedding   the bytes in the file, as they are; a copy in the file's type where rows or dimensions lie otherwise, one
 *                         in f32 where the numbers are not aligned
 *     norm, bias          a copy in f32 */
#include "model/bind_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/base.h"

static const char *path_of(const ar_binder *b, int file) { return ar__tensors_path(ar__base_files(b->m->base), file); }

ar_status ar__bind_missing(const ar_binder *b, const char *path, const char *suffix) {
    if (ar__base_info(b->m->base)->unreadable) return ar__fail(b->err, AR_ERR_FORMAT, "%s", ar__base_info(b->m->base)->unreadable);
    return ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s%s' is not there; the files do not hold what %s describes", b->m->path, path,
                    suffix, ar__base_info(b->m->base)->is_gguf ? "their key-values" : "config.json");
}

void ar__bind_mark_used(ar_binder *b, const ar_base_weight *w) {
    for (int i = 0; i < ar__base_count(b->m->base); i++)
        if (ar__base_at(b->m->base, i) == w) b->used[i] = true;
}

static ar_status check_shape(const ar_binder *b, const ar_base_weight *w, int64_t rows, int64_t cols) {
    bool vector = cols == 1;
    bool fits = vector ? w->dims == 1 && w->shape[0] == rows : w->dims == 2 && w->shape[0] == rows && w->shape[1] == cols;
    if (!fits && ar__base_info(b->m->base)->unreadable) return ar__fail(b->err, AR_ERR_FORMAT, "%s", ar__base_info(b->m->base)->unreadable);
    if (!fits) {
        ar_buf found = {0}, wanted = {0};
        for (int i = 0; i < w->dims; i++) ar__buf_printf(&found, "%s%lld", i ? ", " : "", (long long)w->shape[i]);
        ar__buf_printf(&wanted, "%lld", (long long)rows);
        if (!vector) ar__buf_printf(&wanted, ", %lld", (long long)cols);
        ar_status s = ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' is [%s], %s [%s]", path_of(b, w->file), w->tensor,
                               found.data ? found.data : "",
                               ar__base_info(b->m->base)->is_gguf ? "its key-values want" : "config.json wants", wanted.data);
        ar__buf_release(&found);
        ar__buf_release(&wanted);
        return s;
    }
    const ar_dtype_info *t = ar__dtype(w->type);
    if (!t->to_f32 || (vector && !ar__dtype_is_float(w->type)))
        return ar__fail(b->err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16%s bf16%s", path_of(b, w->file), w->tensor,
                        w->type < AR_DTYPE_COUNT ? t->name : w->type_name, vector ? " or" : ",",
                        vector ? "" : " or another type of docs/gguf.md");
    return AR_OK;
}

static ar_status copy_f32(float **out, const ar_binder *b, const ar_base_weight *w) {
    *out = ar__alloc((size_t)w->n_out * (size_t)w->n_in, sizeof **out);
    return *out ? ar__base_read_rows(*out, b->m->base, w, 0, w->n_out, b->err) : ar__fail_memory(b->err, w->tensor);
}

void ar__bind_set(ar_model *m, size_t i, const void *data, ar_dtype type) {
    ar_weight w = {data, type, (size_t)m->modules[i].n_out, (size_t)m->modules[i].n_in};
    ar_embedding *embedding = ar__model_embedding(m, i);
    if (embedding)
        embedding->w = w;
    else
        ar__model_linear(m, i)->w = w;
}

/* A matrix that the files hold packed: NF4 as blocks of the table's type, others in the type that they unpack to. */
static ar_status unpack(const ar_binder *b, size_t i, const ar_base_weight *w) {
    ar_dtype type = w->type;
    size_t bytes, count;
    bool nf4 = b->m->modules[i].kind == AR_MODULE_LINEAR && ar__packed_is_nf4(&type, w->packed);
    void *to = ar__mul(&count, (size_t)w->n_out, (size_t)w->n_in) && ar__dtype_bytes(&bytes, type, count) ? ar__alloc(bytes, 1) : NULL;
    if (!to) return ar__fail_memory(b->err, w->tensor);
    b->m->owned[i].turned = to;
    ar__bind_set(b->m, i, to, type);
    if (!nf4) return ar__base_read_as(to, type, b->m->base, w, b->err);
    ar__packed_nf4(to, w->packed);
    return AR_OK;
}

/* In bf16, of a type that products do not take, or by its scale. */
static ar_status widen(const ar_binder *b, size_t i, const ar_base_weight *w) {
    size_t bytes, count;
    void *to = ar__mul(&count, (size_t)w->n_out, (size_t)w->n_in) && ar__dtype_bytes(&bytes, AR_BF16, count) ? ar__alloc(bytes, 1) : NULL;
    if (!to) return ar__fail_memory(b->err, w->tensor);
    b->m->owned[i].turned = to;
    ar__bind_set(b->m, i, to, AR_BF16);
    return ar__base_read_as(to, AR_BF16, b->m->base, w, b->err);
}

/* As [n_out, n_in] in Hugging Face's order, in the file's type where that can be. */
static ar_status copy_in_order(const ar_binder *b, size_t i, const ar_base_weight *w) {
    bool keeps = ar__base_keeps_type(b->m->base, w);
    ar_dtype type = keeps ? w->type : AR_F32;
    size_t bytes = w->bytes, count;
    bool fits = keeps || (ar__mul(&count, (size_t)w->n_out, (size_t)w->n_in) && ar__dtype_bytes(&bytes, type, count));
    void *to = fits ? ar__alloc(bytes, 1) : NULL;
    if (!to) return ar__fail_memory(b->err, w->tensor);
    b->m->owned[i].turned = to;
    ar__bind_set(b->m, i, to, type);
    return keeps ? ar__base_read_stored(to, b->m->base, w, b->err) : ar__base_read_as(to, type, b->m->base, w, b->err);
}

/* Under the embedding's name or the head's, where a file has only the other one. */
static const ar_base_weight *find_weight(const ar_binder *b, size_t i) {
    const ar_model *m = b->m;
    const ar_base_weight *w = ar__base_find(m->base, m->modules[i].path);
    if (!w && i == 0 && m->tied) w = ar__base_own_head(m->base);
    return w && w->is_tied ? NULL : w;
}

static ar_status bind_bias(ar_binder *b, size_t i, const ar_base_weight *w) {
    const ar_module *mod = &b->m->modules[i];
    if (!w || !w->bias) return ar__bind_missing(b, mod->path, ".bias");
    b->m->owned[i].bias = ar__alloc((size_t)mod->n_out, sizeof(float));
    if (!b->m->owned[i].bias) return ar__fail_memory(b->err, mod->path);
    return ar__base_read_bias(b->m->owned[i].bias, b->m->base, w, b->err);
}

/* Of a tied head, which has no weight to stand beside. */
static ar_status bind_lone_bias(ar_binder *b, size_t i) {
    const ar_module *mod = &b->m->modules[i];
    const ar_base_weight *own = ar__base_own_head(b->m->base);
    if (own && own->bias) return bind_bias(b, i, own);
    ar_buf name = {0};
    ar__buf_printf(&name, "%s.bias", mod->path);
    const ar_base_weight *w = name.failed ? NULL : ar__base_find(b->m->base, name.data);
    ar_status s = name.failed ? ar__fail_memory(b->err, mod->path)
                  : w         ? check_shape(b, w, mod->n_out, 1)
                              : ar__bind_missing(b, mod->path, ".bias");
    ar__buf_release(&name);
    if (s) return s;
    ar__bind_mark_used(b, w);
    return copy_f32(&b->m->owned[i].bias, b, w);
}

static ar_status bind_module(ar_binder *b, size_t i) {
    ar_model *m = b->m;
    const ar_module *mod = &m->modules[i];
    const ar_base_weight *w = find_weight(b, i);
    if (!w && i >= ar__module_experts(&m->arch)) return ar__bind_in_stack(b, i);
    if (!w) return ar__bind_missing(b, mod->path, ".weight");
    ar_status s = check_shape(b, w, w->is_conv1d ? mod->n_in : mod->n_out, w->is_conv1d ? mod->n_out : mod->n_in);
    if (s) return s;
    ar__bind_mark_used(b, w);
    size_t align = ar__dtype_is_float(w->type) ? ar__dtype(w->type)->bytes : 1;
    if (w->packed)
        s = unpack(b, i, w);
    else if (mod->kind != AR_MODULE_NORM && (w->scale || !ar__dtype(w->type)->is_weight))
        s = widen(b, i, w);
    else if (mod->kind != AR_MODULE_NORM && (w->is_conv1d || w->order != AR_ROWS_SAME))
        s = copy_in_order(b, i, w);
    else if (mod->kind == AR_MODULE_NORM || (uintptr_t)w->data % align)
        s = copy_f32(&m->owned[i].weight, b, w);
    else
        ar__bind_set(m, i, w->data, w->type);
    return s || !mod->has_bias ? s : bind_bias(b, i, w);
}

/* A tie that the files do not keep: both tensors are there, and differ. */
static ar_status check_tie(ar_binder *b) {
    ar_model *m = b->m;
    const ar_module *head = &m->modules[ar__module_head(&m->arch)];
    const ar_base_weight *embedding = ar__base_find(m->base, m->modules[0].path), *own = m->tied ? ar__base_own_head(m->base) : NULL;
    if (!embedding || !own) return AR_OK;
    ar_status s = check_shape(b, embedding, head->n_out, head->n_in);
    if (!s) s = check_shape(b, own, head->n_out, head->n_in);
    if (s) return s;
    ar__bind_mark_used(b, own);
    if (ar__dtype_equal(embedding->type, embedding->data, own->type, own->data, (size_t)own->n_out * (size_t)own->n_in)) return AR_OK;
    m->tied = m->arch.tied = false;
    m->own_head = true;
    ar__log_warn(&m->rt->log, AR_OWN_HEAD, m->path, own->tensor);
    return AR_OK;
}

/* What no module has is small, and read once: a number that is none is named here. */
static ar_status check_finite(const ar_binder *b, const ar_base_weight *w, const char *tensor, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return ar__fail(b->err, AR_ERR_NUMERIC, "%s: tensor '%s' holds a NaN or an infinity: the model is damaged", path_of(b, w->file),
                            tensor);
    return AR_OK;
}

/* Any number's tensor by its whole name. */
static ar_status bind_number(float *out, ar_binder *b, const char *name) {
    const ar_base_weight *w = ar__base_find(b->m->base, name);
    if (!w) return ar__bind_missing(b, name, "");
    if (w->n_out != 1 || w->n_in != 1 || !ar__dtype_is_float(w->type))
        return ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' holds %zu bytes of %s, wanted one number of f32, f16 or bf16",
                        path_of(b, w->file), w->tensor, w->bytes, w->type_name);
    ar__bind_mark_used(b, w);
    ar__dtype(w->type)->to_f32(out, w->data, 1);
    return check_finite(b, w, w->tensor, out, 1);
}

/* A GGUF file has them in lists over the layers, one of each name. */
static ar_status read_activation(ar_binder *b, int64_t layer) {
    const ar_gguf *g = ar__tensors_gguf(ar__base_files(b->m->base));
    for (int i = 0; i < 4; i++) {
        char key[32];
        double x;
        snprintf(key, sizeof key, "xielu%s", ar__xielu_names[i]);
        const ar_gguf_kv *kv = ar__gguf_kv_find(g, key);
        if (!kv) return ar__bind_missing(b, key, "");
        if (kv->count <= (size_t)layer || !ar__gguf_double_at(&x, kv, (size_t)layer))
            return ar__fail(b->err, AR_ERR_FORMAT, "%s: '%s': found %s, wanted a number for each of %lld layers", b->m->path, key,
                            ar__gguf_type_name(kv), (long long)b->m->arch.layers);
        b->m->layers[layer].xielu[i] = (float)x;
    }
    return AR_OK;
}

static ar_status bind_activation(ar_binder *b, int64_t layer) {
    if (ar__base_info(b->m->base)->is_gguf) return read_activation(b, layer);
    ar_buf name = {0};
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 4; i++) {
        ar__buf_clear(&name);
        ar__buf_printf(&name, AR_XIELU_PATH "%s", b->m->arch.names->prefix, (long long)layer, ar__xielu_names[i]);
        s = name.failed ? ar__fail_memory(b->err, "activation") : bind_number(&b->m->layers[layer].xielu[i], b, name.data);
    }
    ar__buf_release(&name);
    return s;
}

static ar_status bind_scalar(ar_binder *b, int64_t layer) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_SCALAR_PATH, b->m->arch.names->prefix, (long long)layer);
    ar_status s = name.failed ? ar__fail_memory(b->err, "layer_scalar") : bind_number(&b->m->layers[layer].scalar, b, name.data);
    ar__buf_release(&name);
    return s;
}

/* Numbers of a layer that are no module's: a vector under its whole name. */
static ar_status bind_numbers(float *to, ar_binder *b, const ar_buf *name, int64_t count) {
    const ar_model *m = b->m;
    const ar_base_weight *w = name->failed ? NULL : ar__base_find(m->base, name->data);
    if (!w) return name->failed ? ar__fail_memory(b->err, m->path) : ar__bind_missing(b, name->data, "");
    ar_status s = check_shape(b, w, count, 1);
    if (s) return s;
    ar__bind_mark_used(b, w);
    s = ar__base_read_rows(to, m->base, w, 0, count, b->err);
    return s ? s : check_finite(b, w, w->tensor, to, (size_t)count);
}

static ar_status bind_sinks(ar_binder *b, int64_t layer) {
    ar_buf name = {0};
    ar__buf_printf(&name, AR_SINKS_PATH, b->m->arch.names->prefix, (long long)layer);
    ar_status s = bind_numbers(b->m->layers[layer].sinks, b, &name, b->m->arch.heads);
    ar__buf_release(&name);
    return s;
}

static ar_status bind_routing(ar_binder *b, int64_t layer) {
    const ar_arch *a = &b->m->arch;
    float *to = b->m->layers[layer].routing;
    ar_buf name = {0};
    ar__buf_printf(&name, AR_ROUTER_NORM_PATH, a->names->prefix, (long long)layer);
    ar_status s = bind_numbers(to, b, &name, a->dim);
    ar__buf_clear(&name);
    ar__buf_printf(&name, AR_EXPERT_FACTORS_PATH, a->names->prefix, (long long)layer);
    if (!s) s = bind_numbers(to + a->dim, b, &name, a->experts);
    ar__buf_release(&name);
    return s;
}

/* One head's, of a folder's files. */
static ar_status bind_head_norm(ar_binder *b, float *to, int64_t layer, const char *below, int64_t head) {
    const ar_model *m = b->m;
    ar_buf name = {0};
    ar__buf_printf(&name, AR_HEAD_NORM_PATH, m->arch.names->prefix, (long long)layer, below, (long long)head);
    const ar_base_weight *w = name.failed ? NULL : ar__base_find(m->base, name.data);
    ar_status s = name.failed ? ar__fail_memory(b->err, "norm")
                  : w         ? check_shape(b, w, m->arch.head_dim, 1)
                              : ar__bind_missing(b, name.data, ".weight");
    ar__buf_release(&name);
    if (s) return s;
    ar__bind_mark_used(b, w);
    s = ar__base_read_rows(to, m->base, w, 0, m->arch.head_dim, b->err);
    return s ? s : check_finite(b, w, w->tensor, to, (size_t)m->arch.head_dim);
}

/* Of all heads, which a GGUF file has as one matrix. */
static ar_status bind_head_norms(ar_binder *b, int64_t layer, int which) {
    const ar_model *m = b->m;
    const char *below = ar__names_slot(m->arch.names, which ? AR_SLOT_K_HEADS : AR_SLOT_Q_HEADS)->hf;
    int64_t heads = (int64_t)ar__model_normed_heads(m, which);
    float *to = m->layers[layer].head_norm[which];
    ar_buf name = {0};
    ar__buf_printf(&name, "%s%s%lld.%s", m->arch.names->prefix, m->arch.names->layers, (long long)layer, below);
    const ar_base_weight *w = name.failed ? NULL : ar__base_find(m->base, name.data);
    ar_status s = name.failed ? ar__fail_memory(b->err, "norms") : AR_OK;
    ar__buf_release(&name);
    for (int64_t h = 0; !w && !s && h < heads; h++) s = bind_head_norm(b, to + h * m->arch.head_dim, layer, below, h);
    if (!w || s || (s = check_shape(b, w, heads, m->arch.head_dim))) return s;
    if (!ar__dtype_is_float(w->type))
        return ar__fail(b->err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16 or bf16", path_of(b, w->file), w->tensor,
                        w->type_name);
    ar__bind_mark_used(b, w);
    s = ar__base_read_rows(to, m->base, w, 0, heads, b->err);
    return s ? s : check_finite(b, w, w->tensor, to, (size_t)(heads * m->arch.head_dim));
}

/* Of a layer that takes another's keys and values, but has some in the file all the same, as published ones do. */
static bool is_passed_over(const ar_model *m, const char *site) {
    ar_name name;
    return m->arch.kv_shared && ar__names_find(&name, m->arch.names, site) && name.layer >= 0 && name.layer < m->arch.layers &&
           !ar__arch_layer_has(&m->arch, name.layer, name.row->slot);
}

static ar_status check_mixer(const ar_binder *b, const ar_base_weight *w, const ar_mixer_tensor *t, bool bias) {
    const ar_model *m = b->m;
    if (w->n_out != t->rows || (!bias && w->n_in != t->cols) || !ar__dtype_is_float(bias ? w->bias_type : w->type))
        return ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' is %lld times %lld of %s, wanted %lld times %lld of f32, f16 or bf16",
                        path_of(b, w->file), bias ? w->bias_tensor : w->tensor, (long long)w->n_out, (long long)w->n_in, w->type_name,
                        (long long)t->rows, (long long)t->cols);
    if (w->bias && !bias && !m->arch.conv_bias)
        ar__log_warn(&m->rt->log, "%s: tensor '%s' is not used: config.json says that there is no such bias", m->path, w->bias_tensor);
    return AR_OK;
}

/* exp(A_log) as a GGUF file has it, with a minus before it: the logarithm would round. */
static ar_status read_rates(float *to, const ar_binder *b, const ar_base_weight *w) {
    ar_base_weight stored = *w;
    stored.is_rate = false;
    ar_status s = ar__base_read_rows(to, b->m->base, &stored, 0, w->n_out, b->err);
    for (int64_t h = 0; !s && h < w->n_out; h++) to[h] = -to[h];
    return s;
}

static ar_status bind_mixer(ar_binder *b, int64_t layer, int part) {
    ar_mixer_tensor t = ar__mixer_tensor(&b->m->arch, layer, part);
    bool bias = !strcmp(t.suffix, ".bias"); /* which comes with its weight */
    float *to = ar__model_mixer(b->m, layer, part);
    ar_buf site = {0};
    ar__buf_printf(&site, AR_MIXER_PATH "%s", b->m->arch.names->prefix, (long long)layer, t.module);
    const ar_base_weight *w = site.failed ? NULL : ar__base_find(b->m->base, site.data);
    ar_status s = site.failed               ? ar__fail_memory(b->err, t.module)
                  : w && (!bias || w->bias) ? check_mixer(b, w, &t, bias)
                                            : ar__bind_missing(b, site.data, t.suffix);
    if (!s) s = bias ? ar__base_read_bias(to, b->m->base, w, b->err) : ar__base_read_rows(to, b->m->base, w, 0, t.rows, b->err);
    if (!s) s = check_finite(b, w, bias ? w->bias_tensor : w->tensor, to, (size_t)(t.rows * t.cols));
    if (!s && w->is_rate) s = read_rates(ar__model_mixer(b->m, layer, AR_MIXER_PARTS), b, w);
    if (!s) ar__bind_mark_used(b, w);
    ar__buf_release(&site);
    return s;
}

static ar_status bind_mixers(ar_binder *b, int64_t layer) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__mixer_tensor_count(&b->m->arch, layer); i++) s = bind_mixer(b, layer, i);
    return s;
}

/* Tensors that nothing reads: a sign that configuration and weights belong to different models. */
static void warn_unused(const ar_binder *b) {
    const ar_model *m = b->m;
    size_t unused = 0;
    const char *first = NULL;
    for (int i = 0; i < ar__base_count(m->base); i++) {
        const ar_base_weight *w = ar__base_at(m->base, i);
        if (ar__base_info(m->base)->is_gguf && !strncmp(w->tensor, "rope_f", 6))
            continue; /* rope_freqs, rope_factors_…: the record has them */
        size_t at = b->used[i] && w->bias ? ar__model_find(m, w->site) : SIZE_MAX;
        bool extra_bias = at != SIZE_MAX && !m->modules[at].has_bias;
        bool other_part = m->arch.wrapped && !strstr(w->tensor, "language_model.") && strncmp(w->tensor, "lm_head.", 8) != 0;
        if ((b->used[i] && !extra_bias) || other_part || ar__base_is_buffer(w->tensor) || is_passed_over(m, w->site)) continue;
        if (!first) first = extra_bias ? w->bias_tensor : w->tensor;
        unused++;
    }
    if (unused)
        ar__log_warn(&m->rt->log, "%s: %zu tensor%s not used by the %s family, first '%s'", m->path, unused, unused == 1 ? " is" : "s are",
                     m->arch.family, first);
}

static ar_status bind_all(ar_binder *b) {
    ar_model *m = b->m;
    size_t head = ar__module_head(&m->arch);
    ar_status s = check_tie(b);
    for (size_t i = 0; !s && i < m->module_count; i++) {
        if (!m->modules[i].path) continue;
        if (i != head || !m->tied)
            s = bind_module(b, i);
        else if (m->modules[i].has_bias)
            s = bind_lone_bias(b, i);
    }
    for (int64_t l = 0; !s && m->arch.activation == AR_XIELU && l < m->arch.layers; l++) s = bind_activation(b, l);
    for (int64_t l = 0; !s && m->arch.layer_scalar && l < m->arch.layers; l++) s = bind_scalar(b, l);
    for (int64_t l = 0; !s && m->arch.sinks && l < m->arch.layers; l++) s = bind_sinks(b, l);
    for (int64_t l = 0; !s && m->arch.experts_beside && l < m->arch.layers; l++) s = bind_routing(b, l);
    for (int64_t l = 0; !s && l < m->arch.layers; l++) s = bind_mixers(b, l);
    for (int64_t l = 0; !s && m->arch.head_norms && l < m->arch.layers; l++)
        if (!(s = bind_head_norms(b, l, 0))) s = bind_head_norms(b, l, 1);
    return s;
}

ar_status ar__model_bind(ar_model *m, ar_error *err) {
    ar_binder b = {.m = m, .used = ar__alloc((size_t)ar__base_count(m->base) + 1, sizeof(bool)), .err = err};
    if (!b.used) return ar__fail_memory(err, m->path);
    ar_status s = bind_all(&b);
    if (!s) warn_unused(&b);
    free(b.used);
    if (s) return s;
    m->dtype = m->embed.w.data ? m->embed.w.type : AR_F32;
    ar__model_rebind(m);
    return AR_OK;
}
