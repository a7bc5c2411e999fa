#include "model/bind.h"

#include <stdlib.h>
#include <string.h>

#include "adapter/base_weights.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"

const char *const ar__xielu_names[4] = {".alpha_p", ".alpha_n", ".beta", ".eps"};

typedef struct binder {
    ar_model *m;
    const char *prefix; /* of everything but the head */
    bool headless;      /* the files lack it */
    const ar_st_tensor *old_head;
    bool outside; /* a multimodal base's files put "language_model." before "model." and the head, as transformers 4 did */
    size_t bound;
    ar_error *err;
} binder;

static const ar_st_tensor *find_tensor(const binder *b, const char *path, const char *suffix, ar_buf *name) {
    const char *p = path, *inner = ar__names_unwrap(path);
    if (b->outside) {
        ar__buf_clear(name);
        ar__buf_printf(name, "language_model.%s%s%s", inner != path ? "model." : "", inner, suffix);
        return name->failed ? NULL : ar__st_find(b->m->files, name->data);
    }
    if (b->headless && !strncmp(p, b->prefix, strlen(b->prefix))) p += strlen(b->prefix);
    ar__buf_clear(name);
    ar__buf_printf(name, "%s%s", p, suffix);
    return name->failed ? NULL : ar__st_find(b->m->files, name->data);
}

static ar_status missing(const binder *b, const char *name) {
    return ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' is not there; the files do not hold what config.json describes", b->m->path,
                    name);
}

static ar_status check_shape(const binder *b, const ar_st_tensor *t, int64_t rows, int64_t cols) {
    bool vector = cols == 1;
    bool fits = vector ? t->dims == 1 && t->shape[0] == rows : t->dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
    if (!fits) {
        ar_buf found = {0};
        for (int i = 0; i < t->dims; i++) ar__buf_printf(&found, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
        ar_status s =
            vector ? ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' is [%s], config.json wants [%lld]",
                              ar__st_path(b->m->files, t->file), t->name, found.data ? found.data : "", (long long)rows)
                   : ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' is [%s], config.json wants [%lld, %lld]",
                              ar__st_path(b->m->files, t->file), t->name, found.data ? found.data : "", (long long)rows, (long long)cols);
        ar__buf_release(&found);
        return s;
    }
    if (!ar__dtype_is_float(t->dtype))
        return ar__fail(b->err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, wanted f32, f16 or bf16", ar__st_path(b->m->files, t->file),
                        t->name, ar__dtype(t->dtype)->name);
    return AR_OK;
}

static ar_status copy_f32(float **out, const binder *b, const ar_st_tensor *t) {
    *out = ar__alloc(t->count, sizeof **out);
    if (!*out) return ar__fail_memory(b->err, t->name);
    ar__dtype(t->dtype)->to_f32(*out, t->data, t->count);
    return AR_OK;
}

static void set_weight(ar_model *m, size_t i, const ar_st_tensor *t) {
    ar_weight w = {t->data, t->dtype, (size_t)m->modules[i].n_out, (size_t)m->modules[i].n_in};
    ar_embedding *embedding = ar__model_embedding(m, i);
    if (embedding)
        embedding->w = w;
    else
        ar__model_linear(m, i)->w = w;
}

/* The head under a name that it had before. */
static const ar_st_tensor *find_head(const binder *b, ar_buf *name) {
    const ar_st_tensor *t = NULL;
    for (const ar_name_row *row = b->m->arch.names->top; !t && row->hf; row++)
        if (row->kind == AR_MODULE_HEAD) t = find_tensor(b, row->hf, ".weight", name);
    return t;
}

/* A copy that lies as [n_out, n_in], in the file's dtype. */
static ar_status copy_turned(const binder *b, size_t i, const ar_st_tensor *t) {
    const ar_module *mod = &b->m->modules[i];
    size_t rows = (size_t)mod->n_out, cols = (size_t)mod->n_in, bytes = ar__dtype(t->dtype)->bytes;
    char *to = ar__alloc(t->count, bytes);
    if (!to) return ar__fail_memory(b->err, t->name);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) memcpy(to + (r * cols + c) * bytes, (const char *)t->data + (c * rows + r) * bytes, bytes);
    b->m->owned[i].turned = to;
    ar__model_linear(b->m, i)->w = (ar_weight){to, t->dtype, rows, cols};
    return AR_OK;
}

static ar_status bind_bias(binder *b, size_t i, ar_buf *name) {
    const ar_module *mod = &b->m->modules[i];
    const ar_st_tensor *t = find_tensor(b, mod->path, ".bias", name);
    ar_status s;
    if (name->failed) return ar__fail_memory(b->err, mod->path);
    if (!t) return missing(b, name->data);
    b->bound++;
    if ((s = check_shape(b, t, mod->n_out, 1))) return s;
    return copy_f32(&b->m->owned[i].bias, b, t);
}

static ar_status bind_module(binder *b, size_t i, ar_buf *name) {
    ar_model *m = b->m;
    const ar_module *mod = &m->modules[i];
    const ar_st_tensor *t = find_tensor(b, mod->path, ".weight", name);
    ar_status s;
    if (name->failed) return ar__fail_memory(b->err, mod->path);
    if (!t && i == 0 && m->tied)
        t = find_tensor(b, m->modules[ar__module_head(&m->arch)].path, ".weight", name); /* the one tensor under its other name */
    if (!t && i == ar__module_head(&m->arch)) t = b->old_head = find_head(b, name);
    if (!t) return missing(b, name->data);
    if ((s = check_shape(b, t, mod->is_conv1d ? mod->n_in : mod->n_out, mod->is_conv1d ? mod->n_out : mod->n_in))) return s;
    b->bound++;
    size_t align = ar__dtype(t->dtype)->bytes;
    if (mod->is_conv1d)
        s = copy_turned(b, i, t);
    else if (mod->kind == AR_MODULE_NORM || (uintptr_t)t->data % align)
        s = copy_f32(&m->owned[i].weight, b, t);
    else
        set_weight(m, i, t);
    return s || !mod->has_bias ? s : bind_bias(b, i, name);
}

/* A tie that the files do not keep: both tensors are there, and differ. */
static ar_status check_tie(binder *b, ar_buf *name) {
    ar_model *m = b->m;
    const ar_module *head = &m->modules[ar__module_head(&m->arch)];
    const ar_st_tensor *embedding = find_tensor(b, m->modules[0].path, ".weight", name);
    const ar_st_tensor *own = m->tied ? find_tensor(b, head->path, ".weight", name) : NULL;
    if (name->failed) return ar__fail_memory(b->err, head->path);
    if (!embedding || !own) return AR_OK;
    ar_status s = check_shape(b, embedding, head->n_out, head->n_in);
    if (!s) s = check_shape(b, own, head->n_out, head->n_in);
    if (s || ar__dtype_equal(embedding->dtype, embedding->data, own->dtype, own->data, own->count)) return s;
    m->tied = m->arch.tied = false;
    m->own_head = true;
    ar__log_warn(&m->rt->log, AR_OWN_HEAD, m->path, own->name);
    return AR_OK;
}

/* The module of a tensor's path, which may lack the prefix. */
static size_t find_module(const binder *b, ar_buf *path) {
    size_t at = ar__model_find(b->m, path->data);
    ar_buf whole = {0};
    if (b->outside && !strncmp(path->data, "language_model.", 15)) {
        bool below = !strncmp(path->data + 15, "model.", 6);
        ar__buf_printf(&whole, "%s%s", below ? AR_WRAPPER : "", path->data + (below ? 21 : 15));
        at = whole.failed ? SIZE_MAX : ar__model_find(b->m, whole.data);
        ar__buf_release(&whole);
        return at;
    }
    if (at != SIZE_MAX || !b->headless) return at;
    ar__buf_printf(&whole, "%s%s", b->prefix, path->data);
    at = whole.failed ? SIZE_MAX : ar__model_find(b->m, whole.data);
    ar__buf_release(&whole);
    return at;
}

/* The numbers of a layer's activation. */
static ar_status bind_activation(binder *b, int64_t layer, ar_buf *name) {
    ar_buf path = {0};
    ar_status s = AR_OK;
    for (int i = 0; !s && i < 4; i++) {
        ar__buf_clear(&path);
        ar__buf_printf(&path, AR_XIELU_PATH, b->m->arch.names->prefix, (long long)layer);
        const ar_st_tensor *t = path.failed ? NULL : find_tensor(b, path.data, ar__xielu_names[i], name);
        if (path.failed || name->failed)
            s = ar__fail_memory(b->err, "activation");
        else if (!t)
            s = missing(b, name->data);
        else if (t->count != 1 || !ar__dtype_is_float(t->dtype))
            s = ar__fail(b->err, AR_ERR_MISMATCH, "%s: tensor '%s' holds %zu numbers, wanted one of f32, f16 or bf16",
                         ar__st_path(b->m->files, t->file), t->name, t->count);
        else
            ar__dtype(t->dtype)->to_f32(&b->m->layers[layer].xielu[i], t->data, 1);
    }
    ar__buf_release(&path);
    return s;
}

/* Buffers that older versions saved: masks of positions and what they are filled with, frequencies. */
static bool is_mask(const char *name) {
    static const char *const ends[] = {".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
                                       "rotary_emb.inv_freq"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (len >= n && !strcmp(name + len - n, ends[i])) return true;
    }
    return false;
}

/* Tensors that nothing reads: a sign that configuration and weights belong to different models. */
static void warn_unused(const binder *b) {
    const ar_st_set *files = b->m->files;
    size_t unused = 0;
    const char *first = NULL;
    for (int i = 0; i < ar__st_count(files); i++) {
        const char *name = ar__st_at(files, i)->name, *dot = strrchr(name, '.');
        if (!dot) dot = name + strlen(name);
        ar_buf path = {0};
        ar__buf_printf(&path, "%.*s", (int)(dot - name), name);
        size_t at = path.failed ? SIZE_MAX : find_module(b, &path);
        ar__buf_release(&path);
        bool used = at != SIZE_MAX && (!strcmp(dot, ".weight") || (!strcmp(dot, ".bias") && b->m->modules[at].has_bias));
        bool other_part = b->m->arch.wrapped && !strstr(name, "language_model.") && strncmp(name, "lm_head.", 8) != 0;
        bool number = b->m->arch.activation == AR_XIELU && strstr(name, ".mlp.act_fn.");
        if (used || number || other_part || is_mask(name) || ar__st_at(files, i) == b->old_head) continue;
        if (!first) first = name;
        unused++;
    }
    if (unused)
        ar__log_warn(&b->m->rt->log, "%s: %zu tensor%s not used by the %s family, first '%s'", b->m->path, unused,
                     unused == 1 ? " is" : "s are", b->m->arch.family, first);
}

ar_status ar__model_bind(ar_model *m, ar_error *err) {
    binder b = {.m = m, .prefix = m->arch.names->prefix, .err = err};
    ar_buf name = {0};
    const char *embedding = m->modules[0].path;
    b.outside = m->arch.wrapped && ar__st_find(m->files, "language_model.model.embed_tokens.weight");
    b.headless = !find_tensor(&b, embedding, ".weight", &name);
    b.headless = b.headless && find_tensor(&b, embedding, ".weight", &name);
    ar_status s = check_tie(&b, &name);
    for (size_t i = 0; !s && i < m->module_count; i++) {
        bool tied = i == ar__module_head(&m->arch) && m->tied;
        if (!m->modules[i].path) continue;
        if (!tied) s = bind_module(&b, i, &name);
        if (tied && m->modules[i].has_bias) s = bind_bias(&b, i, &name);
    }
    for (int64_t l = 0; !s && m->arch.activation == AR_XIELU && l < m->arch.layers; l++) s = bind_activation(&b, l, &name);
    ar__buf_release(&name);
    if (s) return s;
    m->dtype = m->embed.w.data ? m->embed.w.type : AR_F32;
    warn_unused(&b);
    ar__model_rebind(m);
    return AR_OK;
}
