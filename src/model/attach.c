#include "model/attach.h"

#include <stdlib.h>
#include <string.h>

#include "adapter/site_name.h"
#include "base/fail.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/mirror.h"

enum { MIRRORS = 6 }; /* at most, of a pair: A, B, magnitude; aw, gain, inv_norm */

/* Until the attachment ends; another one on the same adapter tells of the same memory. */
static ar_status mirror(ar_attachment *at, const float *data, size_t count, const char *site, ar_error *err) {
    const ar_runtime *rt = at->model->rt;
    if (!data || rt->ops->memory->is_host) return AR_OK;
    if (!rt->ops->memory->mirror(rt, data, count * sizeof *data))
        return ar__fail(err, AR_ERR_MEMORY, "adapter site '%s': no memory is left on %s; use a smaller --rank, or --device cpu", site,
                        ar_runtime_device(rt));
    at->mirrored[at->mirrored_count++] = data;
    return AR_OK;
}

static ar_status mirror_pair(ar_attachment *at, const ar_pair *p, ar_error *err) {
    size_t r = (size_t)p->rank;
    ar_status s = mirror(at, p->a, r * (size_t)p->n_in, p->site, err);
    if (!s) s = mirror(at, p->b, r * (size_t)p->n_out, p->site, err);
    return s ? s : mirror(at, p->magnitude, (size_t)p->n_out, p->site, err);
}

static ar_status mirror_dora(ar_attachment *at, const ar_dora_site *d, ar_error *err) {
    size_t n = (size_t)d->pair->n_out;
    ar_status s = mirror(at, d->rows.aw, n * (size_t)d->pair->rank, d->pair->site, err);
    if (!s) s = mirror(at, d->gain, n, d->pair->site, err);
    return s ? s : mirror(at, d->inv_norm, n, d->pair->site, err);
}

static ar_status add_dora(ar_attachment *at, size_t module, ar_pair *pair, ar_error *err) {
    const ar_runtime *rt = at->model->rt;
    ar_dora_site *d = &at->dora[at->dora_count++];
    size_t n = (size_t)pair->n_out;
    *d = (ar_dora_site){.module = module, .pair = pair};
    ar_row_norms *rows = &d->rows;
    rows->weight2 = ar__alloc(n, sizeof(double));
    rows->cross = ar__alloc(n, sizeof(double));
    rows->update2 = ar__alloc(n, sizeof(double));
    rows->aw = ar__alloc(n * (size_t)pair->rank, sizeof(float));
    d->gain = ar__alloc(n, sizeof(float));
    d->inv_norm = ar__alloc(n, sizeof(float));
    if (!rows->weight2 || !rows->cross || !rows->update2 || !rows->aw || !d->gain || !d->inv_norm) return ar__fail_memory(err, pair->site);
    ar_status s = mirror_dora(at, d, err);
    if (s) return s;
    ar_weight w = ar__model_weight(at->model, module);
    if (rt->ops->row_squares(rt, rows->weight2, &w, pair->is_embedding)) return ar__fail_memory(err, pair->site);
    at->ops[module].gain = d->gain;
    at->ops[module].inv_norm = d->inv_norm;
    return AR_OK;
}

/* Modules by their paths, and experts and routers by those that the base's files have, too, which are older libraries' names. */
static ar_status list_names(ar_map *names, const ar_model *m, ar_error *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < m->module_count; i++) {
        const char *path = m->modules[i].path;
        const ar_base_weight *w = path && m->base && m->arch.experts ? ar__base_find(m->base, path) : NULL;
        if (path) ok = ar__map_put(names, path, strlen(path), i);
        if (ok && w && strcmp(w->site, path) != 0) ok = ar__map_put(names, w->site, strlen(w->site), i);
    }
    return ok ? AR_OK : ar__fail_memory(err, "module list");
}

/* An adapter of a multimodal base names the language model's modules by a longer path than the record has. */
static size_t find_module(const ar_model *m, const ar_map *names, const char *path) {
    size_t i = names ? ar__map_find(names, path, strlen(path)) : ar__model_find(m, path);
    for (size_t k = 0; i == SIZE_MAX && k < m->module_count; k++)
        if (m->modules[k].path && ar__site_is_same(m->modules[k].path, path)) i = k;
    return i;
}

/* `PATH.gate_up_proj[3]` or `PATH.down_proj[3]`: the pair stands at the linears of that expert; SIZE_MAX: there are none. */
static size_t find_in_stack(size_t *second, const ar_model *m, const ar_map *names, const ar_pair *p) {
    const char *bracket = strrchr(p->site, '['), *dot = bracket;
    while (dot && dot > p->site && dot[-1] != '.') dot--;
    bool both = dot && !strncmp(dot, "gate_up_proj[", 13);
    if (!dot || p->experts != m->arch.experts || (!both && strncmp(dot, "down_proj[", 10) != 0)) return SIZE_MAX;
    ar_buf path = {0};
    ar__buf_printf(&path, "%.*s%d.%s", (int)(dot - p->site), p->site, p->expert, both ? "gate_proj" : "down_proj");
    size_t i = path.failed ? SIZE_MAX : find_module(m, names, path.data);
    ar__buf_release(&path);
    *second = both && i != SIZE_MAX ? i + AR_EXPERT_UP - AR_EXPERT_GATE : SIZE_MAX;
    return i;
}

static ar_status no_module(const ar_model *m, const ar_pair *p, ar_error *err) {
    if (ar__pair_in_stack(p))
        return ar__fail(err, AR_ERR_MISMATCH, "adapter site '%s': for one of %d experts, the base has %lld of a layer and none there",
                        p->site, p->experts, (long long)m->arch.experts);
    return ar__fail(err, AR_ERR_MISMATCH, "adapter site '%s': the base has no such linear or embedding", p->site);
}

static ar_status bind_pair(ar_attachment *at, const ar_map *names, ar_pair *pair, double factor, ar_error *err) {
    size_t second = SIZE_MAX,
           i = ar__pair_in_stack(pair) ? find_in_stack(&second, at->model, names, pair) : find_module(at->model, names, pair->site);
    if (i == SIZE_MAX || at->model->modules[i].kind == AR_MODULE_NORM) return no_module(at->model, pair, err);
    const ar_module *mod = &at->model->modules[i];
    int64_t out = mod->kind == AR_MODULE_EMBEDDING ? mod->n_in
                  : second != SIZE_MAX             ? 2 * mod->n_out
                                                   : mod->n_out,
            in = mod->kind == AR_MODULE_EMBEDDING ? mod->n_out : mod->n_in;
    if (pair->n_out != out || pair->n_in != in)
        return ar__fail(err, AR_ERR_MISMATCH, "adapter site '%s': made for %lld inputs and %lld outputs, the base has %lld and %lld",
                        pair->site, (long long)pair->n_in, (long long)pair->n_out, (long long)in, (long long)out);
    if (pair->b_bias) return ar__fail(err, AR_ERR_UNSUPPORTED, "adapter site '%s': a bias on B (lora_bias) cannot be run", pair->site);
    ar_status s = second != SIZE_MAX && at->model->arch.names->turned_stacks ? ar__pair_part(pair, err) : AR_OK;
    if (!s) s = mirror_pair(at, pair, err);
    if (s) return s;
    at->ops[i] =
        (ar_pair_op){.rank = pair->rank, .scale = pair->scale * factor, .a = pair->a, .b = pair->b, .site_hash = ar__rng_hash(pair->site)};
    at->ranks[i] = pair->rank;
    at->module[pair - at->adapter->pair] = i;
    at->second[pair - at->adapter->pair] = second;
    if (second != SIZE_MAX) {
        at->ops[second] = at->ops[i];
        at->ops[second].b += mod->n_out * pair->rank;
        at->ranks[second] = pair->rank;
    }
    return pair->magnitude ? add_dora(at, i, pair, err) : AR_OK;
}

static bool has_dora(const ar_adapter *ad) {
    for (size_t i = 0; i < ad->pair_count; i++)
        if (ad->pair[i].magnitude) return true;
    return false;
}

ar_status ar__attach_new(ar_attachment **out, const ar_model *m, ar_adapter *ad, double factor, ar_error *err) {
    ar_attachment *at = ar__alloc(1, sizeof *at);
    *out = NULL;
    if (!at) return ar__fail_memory(err, "adapter");
    at->model = m;
    at->adapter = ad;
    at->ops = ar__alloc(m->module_count, sizeof *at->ops);
    at->ranks = ar__alloc(m->module_count, sizeof *at->ranks);
    at->module = ar__alloc(ad->pair_count, sizeof *at->module);
    at->second = ar__alloc(ad->pair_count, sizeof *at->second);
    at->dora = ar__alloc(ad->pair_count, sizeof *at->dora);
    at->mirrored = ar__alloc(ad->pair_count * MIRRORS, sizeof *at->mirrored);
    ar_status s = at->ops && at->ranks && at->module && at->second && at->dora && at->mirrored ? AR_OK : ar__fail_memory(err, "adapter");
    if (!s && has_dora(ad)) s = ar__model_mirror(m, err); /* it measures W */
    ar_map names = {0};
    if (!s) s = list_names(&names, m, err);
    for (size_t i = 0; !s && i < ad->pair_count; i++) s = bind_pair(at, &names, &ad->pair[i], factor, err);
    ar__map_release(&names);
    if (s) {
        ar__attach_free(at);
        return s;
    }
    ar__attach_refresh(at);
    *out = at;
    return AR_OK;
}

void ar__attach_set_scale(const ar_attachment *at, ar_pair_op *ops, size_t pair, double scale) {
    ops[at->module[pair]].scale = scale;
    if (at->second[pair] != SIZE_MAX) ops[at->second[pair]].scale = scale;
}

void ar__attach_free(ar_attachment *at) {
    if (!at) return;
    for (size_t i = 0; i < at->mirrored_count; i++) at->model->rt->ops->memory->unmirror(at->model->rt, at->mirrored[i]);
    free(at->mirrored);
    for (size_t i = 0; i < at->dora_count; i++) {
        ar_dora_site *d = &at->dora[i];
        free(d->rows.weight2);
        free(d->rows.cross);
        free(d->rows.update2);
        free(d->rows.aw);
        free(d->gain);
        free(d->inv_norm);
    }
    free(at->dora);
    free(at->ops);
    free(at->ranks);
    free(at->module);
    free(at->second);
    free(at);
}

/* All that the host and the operators both have of an adapter. */
static void copy_all(const ar_attachment *at, void (*copy)(const ar_runtime *rt, float *data, size_t count)) {
    const ar_runtime *rt = at->model->rt;
    for (size_t i = 0; !rt->ops->memory->is_host && i < at->adapter->pair_count; i++) {
        const ar_pair *p = &at->adapter->pair[i];
        copy(rt, p->a, (size_t)p->rank * (size_t)p->n_in);
        copy(rt, p->b, (size_t)p->rank * (size_t)p->n_out);
        if (p->magnitude) copy(rt, p->magnitude, (size_t)p->n_out);
    }
}

static void put(const ar_runtime *rt, float *data, size_t count) { rt->ops->memory->put(rt, data, count * sizeof *data); }
static void get(const ar_runtime *rt, float *data, size_t count) { rt->ops->memory->get(rt, data, count * sizeof *data); }

void ar__attach_put(const ar_attachment *at) { copy_all(at, put); }
void ar__attach_get(const ar_attachment *at) { copy_all(at, get); }

static void measure(const ar_attachment *at, ar_dora_site *d) {
    const ar_runtime *rt = at->model->rt;
    const ar_pair *p = d->pair;
    ar_weight w = ar__model_weight(at->model, d->module);
    ar_factors f = {p->a, p->b, (size_t)p->rank, (size_t)p->n_in, (size_t)p->n_out};
    rt->ops->row_norms_measure(rt, &d->rows, &f, &w, p->is_embedding);
}

void ar__attach_refresh(ar_attachment *at) {
    const ar_runtime *rt = at->model->rt;
    for (size_t i = 0; i < at->dora_count; i++) {
        ar_dora_site *d = &at->dora[i];
        measure(at, d);
        rt->ops->dora_gains(rt, d->gain, d->inv_norm, d->pair->magnitude, &d->rows, (size_t)d->pair->n_out, at->ops[d->module].scale);
    }
}

void ar__attach_init_magnitudes(ar_attachment *at) {
    for (size_t i = 0; i < at->dora_count; i++) {
        ar_dora_site *d = &at->dora[i];
        measure(at, d);
        for (size_t j = 0; j < (size_t)d->pair->n_out; j++)
            d->pair->magnitude[j] = (float)ar__row_norm(&d->rows, j, at->ops[d->module].scale);
        at->model->rt->ops->memory->put(at->model->rt, d->pair->magnitude, (size_t)d->pair->n_out * sizeof *d->pair->magnitude);
    }
    ar__attach_refresh(at);
}

/* "lm_head.weight" to module and kind. */
static ar_status find_whole(size_t *module, bool *bias, const ar_model *m, const ar_whole *w, ar_error *err) {
    const char *dot = strrchr(w->name, '.');
    ar_buf path = {0};
    ar__buf_printf(&path, "%.*s", dot ? (int)(dot - w->name) : 0, w->name);
    *module = path.failed ? SIZE_MAX : find_module(m, NULL, path.data);
    ar__buf_release(&path);
    *bias = dot && !strcmp(dot, ".bias");
    if (*module == SIZE_MAX || !dot || (!*bias && strcmp(dot, ".weight")))
        return ar__fail(err, AR_ERR_MISMATCH, "adapter tensor '%s': the base has none of that name", w->name);
    const ar_module *mod = &m->modules[*module];
    size_t want = (size_t)mod->n_out * (*bias ? 1 : (size_t)mod->n_in);
    if (w->count != want && w->dims == 2 && !*bias && mod->kind != AR_MODULE_NORM && w->shape[1] == mod->n_in)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "adapter tensor '%s': %lld rows, the base's has %lld: the vocabulary was extended for the training; merge the "
                        "adapter into the base (alphar merge), and use that",
                        w->name, (long long)w->shape[0], (long long)mod->n_out);
    if (w->count != want)
        return ar__fail(err, AR_ERR_MISMATCH, "adapter tensor '%s': %zu elements, the base's has %zu", w->name, w->count, want);
    return AR_OK;
}

/* The pair would act on the weight that takes the base's place: there is no reader of that, and of DoRA's gain no gradient. */
static ar_status check_alone(const ar_model *m, const ar_adapter *ad, size_t module, const ar_whole *w, ar_error *err) {
    if (!ar__adapter_find_pair(ad, m->modules[module].path)) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED, "adapter tensor '%s': found a pair on the same module, wanted one of them", w->name);
}

ar_status ar__attach_wholes(ar_model *m, const ar_adapter *ad, ar_error *err) {
    for (size_t i = 0; i < ad->whole_count; i++) {
        const ar_whole *w = &ad->whole[i];
        size_t module;
        bool bias;
        ar_status s = find_whole(&module, &bias, m, w, err);
        if (!s && !bias) s = check_alone(m, ad, module, w, err);
        if (s) return s;
        ar__model_borrow(m, module, bias, w->data);
    }
    ar__model_rebind(m);
    return AR_OK;
}
