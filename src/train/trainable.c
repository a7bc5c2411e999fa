#include "train/trainable.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "ops/arena.h"

/* What one tensor of `count` numbers takes of the state, in bytes: `copies` of them. */
static size_t state_bytes(size_t count, size_t copies) { return (count * sizeof(float) + 63) / 64 * 64 * copies; }

static ar_status reserve_one(ar_arena *a, const ar_runtime *rt, size_t bytes, ar_error *err) {
    if (!ar__own_arena_init(a, rt, bytes)) return ar__fail_memory(err, "gradients and optimizer state");
    rt->ops->zero_bytes(rt, a->base, bytes);
    return AR_OK;
}

/* grads: bytes of the gradients; all: with moments, and what is held beside. */
static ar_status reserve(ar_trainables *t, const ar_runtime *rt, size_t grads, size_t all, ar_error *err) {
    t->rt = rt;
    ar_status s = reserve_one(&t->grads, rt, grads, err);
    return s ? s : reserve_one(&t->state, rt, all - grads, err);
}

/* Values that are the list's own; the others' are the attachment's, the model's or the scales' to tell operators of. */
static ar_status reserve_values(ar_trainables *t, size_t bytes, ar_error *err) {
    if (!bytes) return AR_OK;
    if (!ar__arena_init(&t->values, bytes)) return ar__fail_memory(err, "adapter");
    memset(t->values.base, 0, bytes);
    if (t->rt->ops->memory->mirror(t->rt, t->values.base, bytes)) return AR_OK;
    ar__arena_release(&t->values);
    return ar__fail_memory(err, "adapter");
}

static ar_status add(ar_trainables *t, const char *path, const char *suffix, ar_role role, float *value, size_t count, double factor,
                     bool moments, ar_error *err) {
    ar_trainable *list = ar__grow(t->at, &t->cap, t->count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, path);
    t->at = list;
    ar_trainable *x = &list[t->count++];
    ar_buf name = {0};
    ar__buf_printf(&name, "%s%s", path, suffix);
    *x = (ar_trainable){.name = name.data, .role = role, .value = value, .count = count, .rate_factor = factor};
    x->grad = ar__arena_f32(&t->grads, count);
    x->m = moments ? ar__arena_f32(&t->state, count) : NULL;
    x->v = moments ? ar__arena_f32(&t->state, count) : NULL;
    if (name.failed) return ar__fail_memory(err, path);
    t->total += count;
    return AR_OK;
}

static bool is_embedding(const ar_model *m, size_t module) { return module == 0 || module == ar__module_positions(&m->arch); }

static bool is_ple(const ar_model *m, size_t module) {
    return module >= ar__module_ple_table(&m->arch) && module <= ar__module_ple_norm(&m->arch);
}

/* The layer whose backward is the last that adds to its gradient; of what stands behind the layers their number, of what is done when all
 * layers are -1. */
static int last_layer(const ar_model *m, size_t module) {
    if (is_embedding(m, module) || is_ple(m, module)) return -1;
    return m->modules[module].layer < 0 ? (int)m->arch.layers : m->modules[module].layer;
}

/* Of those that were added from `first` on. */
static void reach(ar_trainables *t, const ar_model *m, size_t module, size_t first) {
    int layer = last_layer(m, module), lowest = layer < 0 ? 0 : layer;
    t->embed = t->embed || is_embedding(m, module);
    t->ple = t->ple || is_ple(m, module);
    if (lowest < t->lowest_layer) t->lowest_layer = lowest;
    for (; first < t->count; first++) t->at[first].layer = layer;
}

/* The columns of B that learn lie among those that are frozen: they are learned close together, and put there. */
static ar_status add_columns(ar_trainables *t, const ar_pair *p, size_t learned, double lr_ratio, bool moments, ar_error *err) {
    size_t n = (size_t)p->n_out, r = (size_t)p->rank;
    float *own = ar__arena_f32(&t->values, n * learned);
    for (size_t i = 0; i < n; i++) memcpy(own + i * learned, p->b + i * r, learned * sizeof *own);
    t->rt->ops->memory->put(t->rt, own, n * learned * sizeof *own);
    ar_status s = add(t, p->site, ".lora_B", AR_ROLE_B, own, n * learned, lr_ratio, moments, err);
    if (s) return s;
    ar_trainable *x = &t->at[t->count - 1];
    x->columns = p->b;
    x->width = learned;
    x->stride = r;
    return AR_OK;
}

/* A of experts' gate and up together has two sources, as a tied tensor. */
static void share_a(ar_trainables *t, ar_attachment *at, size_t i) {
    ar_trainable *x = &t->at[t->count - 1];
    x->grad_tied = ar__arena_f32(&t->grads, x->count);
    at->ops[at->second[i]].da = x->grad_tied;
}

static ar_status add_pair(ar_trainables *t, ar_attachment *at, size_t i, double lr_ratio, bool moments, ar_error *err) {
    ar_pair *p = &at->adapter->pair[i];
    size_t module = at->module[i];
    ar_pair_op *op = &at->ops[module];
    size_t learned = ar__pair_learned(op), n_out = (size_t)p->n_out, first = t->count;
    ar_status s = add(t, p->site, ".lora_A", AR_ROLE_A, p->a, learned * (size_t)p->n_in, 1.0, moments, err);
    if (s) return s;
    op->da = t->at[t->count - 1].grad;
    if (at->second[i] != SIZE_MAX) share_a(t, at, i);
    s = op->frozen ? add_columns(t, p, learned, lr_ratio, moments, err)
                   : add(t, p->site, ".lora_B", AR_ROLE_B, p->b, learned * n_out, lr_ratio, moments, err);
    if (s) return s;
    op->db = t->at[t->count - 1].grad;
    if (at->second[i] != SIZE_MAX) at->ops[at->second[i]].db = op->db + at->model->modules[module].n_out * op->rank;
    if (p->magnitude) {
        if ((s = add(t, p->site, ".lora_magnitude_vector", AR_ROLE_MAGNITUDE, p->magnitude, (size_t)p->n_out, 1.0, moments, err))) return s;
        op->dmagnitude = t->at[t->count - 1].grad;
    }
    reach(t, at->model, module, first);
    return AR_OK;
}

/* Where the gradient of a module's weight or bias goes. */
static void wire(ar_model *m, size_t module, bool bias, float *grad) {
    ar_linear *lin = ar__model_linear(m, module);
    ar_norm *norm = ar__model_norm(m, module);
    if (bias && lin)
        lin->dbias = grad;
    else if (bias)
        norm->db = grad;
    else if (lin)
        lin->dw = grad;
    else if (norm)
        norm->dw = grad;
    else
        ar__model_embedding(m, module)->dw = grad;
}

/* A tied tensor: the head's products go into grad, the embedding's rows into a buffer of their own. */
static void wire_tied(ar_trainables *t, ar_trainable *x, ar_model *m) {
    x->grad_tied = ar__arena_f32(&t->grads, x->count);
    m->head.dw = x->grad;
    m->embed.dw = x->grad_tied;
}

/* Where a whole tensor belongs; the names were checked when they were attached. */
static size_t module_of_whole(bool *bias, const ar_model *m, const ar_whole *w) {
    const char *dot = strrchr(w->name, '.');
    *bias = !strcmp(dot, ".bias");
    for (size_t i = 0; i < m->module_count; i++) {
        const char *path = m->modules[i].path;
        if (path && !strncmp(path, w->name, (size_t)(dot - w->name)) && !path[dot - w->name]) return i;
    }
    return SIZE_MAX;
}

static ar_status add_whole(ar_trainables *t, ar_model *m, const ar_whole *w, bool moments, ar_error *err) {
    bool bias;
    size_t module = module_of_whole(&bias, m, w);
    if (module == SIZE_MAX) return ar__fail(err, AR_ERR_MISMATCH, "%s: the base has no such tensor", w->name);
    ar_status s = add(t, w->name, "", bias ? AR_ROLE_BIAS : AR_ROLE_WEIGHT, w->data, w->count, 1.0, moments, err);
    if (s) return s;
    wire(m, module, bias, t->at[t->count - 1].grad);
    reach(t, m, module, t->count - 1);
    return AR_OK;
}

/* `copies` of what learns, and with `held` what is kept of it a second time. */
static size_t adapter_state(const ar_attachment *at, size_t copies, bool held) {
    const ar_adapter *ad = at->adapter;
    size_t bytes = 0;
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        const ar_pair_op *op = &at->ops[at->module[i]];
        size_t learned = ar__pair_learned(op);
        bytes += state_bytes(learned * (size_t)p->n_in, copies + (held && at->second[i] != SIZE_MAX)) +
                 state_bytes(learned * (size_t)p->n_out, copies);
        if (p->magnitude) bytes += state_bytes((size_t)p->n_out, copies);
    }
    for (size_t i = 0; i < ad->whole_count; i++) bytes += state_bytes(ad->whole[i].count, copies);
    return bytes;
}

/* Of columns of B that learn among frozen ones. */
static size_t column_values(const ar_attachment *at) {
    size_t bytes = 0;
    for (size_t i = 0; i < at->adapter->pair_count; i++) {
        const ar_pair_op *op = &at->ops[at->module[i]];
        if (op->frozen) bytes += state_bytes(ar__pair_learned(op) * (size_t)at->adapter->pair[i].n_out, 1);
    }
    return bytes;
}

static size_t model_state(const ar_model *m, size_t copies, bool held) {
    size_t bytes = 0;
    for (size_t i = 0; i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        bool tied = m->tied && i == ar__module_head(&m->arch);
        if (!mod->path) continue;
        if (!tied) bytes += state_bytes((size_t)mod->n_out * (size_t)mod->n_in, copies + (held && i == 0 && m->tied));
        if (mod->has_bias) bytes += state_bytes((size_t)mod->n_out, copies);
    }
    return bytes;
}

static ar_status add_scales(ar_trainables *t, ar_attachment *at, ar_scales *scales, bool moments, ar_error *err) {
    ar_status s = add(t, "alphar.scales", "", AR_ROLE_SCALES, scales->delta, scales->count, 1.0, moments, err);
    for (size_t i = 0; !s && i < at->adapter->pair_count; i++) reach(t, at->model, at->module[i], t->count);
    return s;
}

/* Those in layers and before them, or those behind. */
static ar_status add_part(ar_trainables *t, ar_model *m, ar_attachment *at, const ar_training *what, bool behind, ar_error *err) {
    const ar_adapter *ad = at->adapter;
    ar_status s = AR_OK;
    bool bias;
    if (behind) t->behind = t->grads.used / sizeof(float);
    for (size_t i = 0; !s && i < ad->pair_count; i++)
        if ((last_layer(m, at->module[i]) == m->arch.layers) == behind) s = add_pair(t, at, i, what->lr_ratio, what->moments, err);
    for (size_t i = 0; !s && i < ad->whole_count; i++)
        if ((last_layer(m, module_of_whole(&bias, m, &ad->whole[i])) == m->arch.layers) == behind)
            s = add_whole(t, m, &ad->whole[i], what->moments, err);
    return s;
}

ar_status ar__trainables_from_adapter(ar_trainables *out, ar_model *m, ar_attachment *at, const ar_training *what, ar_error *err) {
    size_t copies = what->moments ? 3 : 1, scales = what->scales ? state_bytes(what->scales->count, copies) : 0;
    *out = (ar_trainables){.lowest_layer = (int)m->arch.layers};
    size_t grads = (what->pairs ? adapter_state(at, 1, true) : 0) + scales / copies;
    ar_status s = reserve(out, m->rt, grads, (what->pairs ? adapter_state(at, copies, true) : 0) + scales, err);
    if (!s && what->pairs) s = reserve_values(out, column_values(at), err);
    if (!s && what->pairs) s = add_part(out, m, at, what, false, err);
    if (!s && what->pairs) s = add_part(out, m, at, what, true, err);
    if (!s && what->scales) s = add_scales(out, at, what->scales, what->moments, err);
    if (s) ar__trainables_release(out);
    return s;
}

/* ---- where gradients go ----------------------------------------------------------------------------------------------*/

static size_t number_of(const ar_trainables *t, const float *grad) { return (size_t)(grad - (const float *)(const void *)t->grads.base); }

static void redirect_pair(ar_pair_op *op, const ar_trainables *t, ar_redirect_fn *to, void *user) {
    op->da = to(user, number_of(t, op->da));
    op->db = to(user, number_of(t, op->db));
    if (op->dmagnitude) op->dmagnitude = to(user, number_of(t, op->dmagnitude));
}

void ar__trainables_redirect(const ar_trainables *t, ar_model *m, ar_attachment *at, ar_redirect_fn *to, void *user) {
    const ar_adapter *ad = at->adapter;
    for (size_t i = 0; i < ad->pair_count; i++) {
        redirect_pair(&at->ops[at->module[i]], t, to, user);
        if (at->second[i] != SIZE_MAX) redirect_pair(&at->ops[at->second[i]], t, to, user);
    }
    for (size_t i = 0; i < t->count; i++)
        for (size_t w = 0; w < ad->whole_count; w++) {
            bool bias;
            if (strcmp(t->at[i].name, ad->whole[w].name)) continue;
            size_t module = module_of_whole(&bias, m, &ad->whole[w]);
            wire(m, module, bias, to(user, number_of(t, t->at[i].grad)));
        }
}

void ar__trainables_spread(const ar_trainables *t) {
    const ar_runtime *rt = t->rt;
    for (size_t i = 0; i < t->count; i++) {
        const ar_trainable *x = &t->at[i];
        if (x->columns) rt->ops->columns_put(rt, x->columns, x->stride, x->value, x->count / x->width, x->width);
    }
}

void ar__trainables_put(const ar_trainables *t) {
    for (size_t i = 0; i < t->count; i++) t->rt->ops->memory->put(t->rt, t->at[i].value, t->at[i].count * sizeof(float));
}

void ar__trainables_get(const ar_trainables *t) {
    for (size_t i = 0; i < t->count; i++) {
        const ar_trainable *x = &t->at[i];
        t->rt->ops->memory->get(t->rt, x->value, x->count * sizeof(float));
        if (x->columns) t->rt->ops->memory->get(t->rt, x->columns, x->count / x->width * x->stride * sizeof(float));
    }
}

ar_trainable *ar__trainables_scales(ar_trainables *t) {
    for (size_t i = 0; i < t->count; i++)
        if (t->at[i].role == AR_ROLE_SCALES) return &t->at[i];
    return NULL;
}

static ar_status add_weight(ar_trainables *out, ar_model *m, size_t i, bool moments, ar_error *err) {
    const ar_module *mod = &m->modules[i];
    size_t n = (size_t)mod->n_out * (size_t)mod->n_in;
    ar_status s = ar__model_own(m, i, err);
    if (!s) s = add(out, mod->path, ".weight", AR_ROLE_WEIGHT, m->owned[i].weight, n, 1.0, moments, err);
    if (s) return s;
    wire(m, i, false, out->at[out->count - 1].grad);
    if (i == 0 && m->tied) wire_tied(out, &out->at[out->count - 1], m);
    return AR_OK;
}

ar_status ar__trainables_from_model(ar_trainables *out, ar_model *m, bool moments, ar_error *err) {
    *out = (ar_trainables){.lowest_layer = 0, .embed = true, .ple = m->arch.ple_dim > 0};
    ar_status s = reserve(out, m->rt, model_state(m, 1, true), model_state(m, moments ? 3 : 1, true), err);
    for (size_t i = 0; !s && i < m->module_count; i++) {
        const ar_module *mod = &m->modules[i];
        if (!mod->path) continue;
        if (!(m->tied && i == ar__module_head(&m->arch)) && (s = add_weight(out, m, i, moments, err))) break;
        if (!mod->has_bias) continue;
        if ((s = add(out, mod->path, ".bias", AR_ROLE_BIAS, m->owned[i].bias, (size_t)mod->n_out, 1.0, moments, err))) break;
        wire(m, i, true, out->at[out->count - 1].grad);
    }
    if (s) ar__trainables_release(out);
    return s;
}

void ar__trainables_release(ar_trainables *t) {
    for (size_t i = 0; i < t->count; i++) free(t->at[i].name);
    free(t->at);
    if (t->rt) {
        t->rt->ops->memory->unmirror(t->rt, t->values.base);
        ar__own_arena_release(&t->grads, t->rt);
        ar__own_arena_release(&t->state, t->rt);
    }
    ar__arena_release(&t->values);
    *t = (ar_trainables){0};
}
