/* Which tensors of the base the adapters touch, and what becomes of a tied head. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/merge.h"
#include "adapter/formats.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

static ar_merge_tensor *add_tensor(ar_merging *m, const char *name, const ar_tensor *from, ar_error *err) {
    ar_merge_tensor *list = ar__grow(m->tensor, &m->cap, m->count + 1, sizeof *list);
    if (list) m->tensor = list;
    if (!list || !ar__map_put(&m->by_name, name, strlen(name), m->count)) {
        ar__fail_memory(err, name);
        return NULL;
    }
    list[m->count] = (ar_merge_tensor){.merge = m, .name = name, .from = *from, .file = from->file, .order = {AR_ROWS_SAME, 1, 1, 0, 1}};
    return &list[m->count++];
}

static ar_status list_tensors(ar_merging *m, ar_error *err) {
    for (int i = 0; i < ar__tensors_count(m->all); i++) {
        const ar_tensor *from = ar__tensors_at(m->all, i);
        if (!add_tensor(m, from->name, from, err)) return AR_ERR_MEMORY;
    }
    return AR_OK;
}

static void find_tied(ar_merging *m) {
    const ar_base_weight *head = m->info->is_tied ? ar__base_find(m->base, "lm_head") : NULL;
    m->embed = m->head = AR_MAP_NONE;
    if (!head) return;
    m->embed = ar__map_find_str(&m->by_name, head->tensor);
    for (int i = 0; i < ar__base_count(m->base) && m->head == AR_MAP_NONE; i++)
        if (ar__base_at(m->base, i)->kind == AR_MODULE_HEAD) m->head = ar__map_find_str(&m->by_name, ar__base_at(m->base, i)->tensor);
}

static bool name_head(ar_merging *m) {
    const ar_name_row *row = m->info->names ? m->info->names->top : NULL;
    while (row && row->hf && row->kind != AR_MODULE_HEAD) row++;
    bool wrapped = !strncmp(m->tensor[m->embed].name, "language_model.", 15), known = row && row->hf;
    ar_buf name = {0};
    ar__buf_printf(&name, "%s%s.weight", wrapped ? "language_model." : "", m->gguf ? "output" : known ? row->hf : "lm_head");
    m->head_name = name.data;
    return !name.failed;
}

/* The tied head's own tensor, made where the base has none; a copy that it carries along was never read. */
static ar_status need_head(ar_merging *m, ar_error *err) {
    if (m->gguf && m->info->names && m->info->names->gguf_norms_plus_one)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: embedding and head are one tensor, and llama.cpp reads no head of its own for this architecture; merge the "
                        "Hugging Face folder and convert that",
                        m->o->model);
    const ar_base_weight *embedding = ar__base_embedding(m->base);
    if (m->gguf && ((embedding && embedding->scale) || ar__map_find_str(&m->by_name, "output.scale") != AR_MAP_NONE))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: embedding and head are one tensor with a scale beside it, and a head of its own would need another; convert "
                        "the model to a folder (alphar convert --to hf) and merge into that",
                        m->o->model);
    ar_tensor from = m->tensor[m->embed].from;
    if (m->head == AR_MAP_NONE) {
        if (!name_head(m)) return ar__fail_memory(err, "head");
        if (!add_tensor(m, m->head_name, &from, err)) return AR_ERR_MEMORY;
        m->head = m->count - 1;
    }
    m->tensor[m->head].from = from;
    return AR_OK;
}

static ar_status quantised(const ar_merging *m, const char *tensor, const char *type, ar_error *err) {
    const char *how = m->info->quantised;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: tensor '%s' has type %s, wanted one that Alphar reads: the base is quantised%s%s%s; merge into the "
                    "one that it was made from",
                    m->o->model, tensor, type, how ? " (" : "", how ? how : "", how ? ")" : "");
}

/* A quantised base may have no `X.weight` but `X.qweight`. */
static const ar_base_weight *find_below(const ar_merging *m, const char *path) {
    size_t n = strlen(path);
    for (int i = 0; i < ar__base_count(m->base); i++) {
        const ar_base_weight *w = ar__base_at(m->base, i);
        if (!strncmp(w->tensor, path, n) && w->tensor[n] == '.') return w;
    }
    return NULL;
}

static ar_status not_found(const ar_merging *m, const char *path, const char *suffix, ar_error *err) {
    const ar_base_weight *w = strcmp(suffix, ".weight") ? NULL : find_below(m, path);
    if (w) return quantised(m, w->tensor, w->type_name, err);
    const char *fused = ar__base_fused(m->base, path);
    if (fused) {
        ar_status s = ar__base_fail_fused(m->base, path, fused, err);
        assert(s);
        return s;
    }
    return ar__fail(err, AR_ERR_MISMATCH, "%s: no tensor for '%s%s', which the adapter changes: it was made for another base", m->o->model,
                    path, suffix);
}

/* The tensor's name in the file and its weight; NULL if there is none. */
static const char *find_name(const ar_base_weight **w, const ar_merging *m, const char *path, const char *suffix) {
    if (strcmp(suffix, ".weight") != 0 && strcmp(suffix, ".bias") != 0) {
        *w = NULL;
        return NULL;
    }
    *w = ar__base_find(m->base, path);
    return !*w ? NULL : !strcmp(suffix, ".bias") ? (*w)->bias_tensor : (*w)->tensor;
}

static ar_status need_tensor(ar_merge_tensor **out, ar_merging *m, const char *path, const char *suffix, ar_error *err) {
    const ar_base_weight *w;
    const char *name = find_name(&w, m, path, suffix);
    if (!name) return not_found(m, path, suffix, err);
    bool tied_head = w->is_tied && strcmp(suffix, ".bias") != 0;
    ar_status s = tied_head ? need_head(m, err) : AR_OK;
    if (s) return s;
    size_t at = tied_head ? m->head : ar__map_find_str(&m->by_name, name);
    if (at == AR_MAP_NONE) return not_found(m, path, suffix, err);
    ar_merge_tensor *t = *out = &m->tensor[at];
    if (w->packed || !ar__dtype(t->from.dtype)->to_f32) return quantised(m, t->from.name, t->from.dtype_name, err);
    t->is_plus_one = w->is_plus_one;
    t->scale = w->scale && strcmp(suffix, ".bias") != 0 ? ar__base_scale(w, 0) : 0.0F;
    s = ar__row_map_init(&t->order, w->order, ar__order_is_of_columns(w->order) ? w->n_in : w->n_out, &m->info->count, err);
    return s ? ar__fail_at(err, s, t->name) : AR_OK;
}

static const char *place_of(const ar_adapter *ad) { return ad->place ? ad->place : "adapter"; }

/* [n_in, n_out] in the file?  The family's table knows; where it does not, the shape tells, and of a square one the
 * adapter's configuration. */
static ar_status find_orientation(ar_merge_tensor *t, const ar_adapter *ad, const ar_pair *p, ar_error *err) {
    const ar_name_map *names = t->merge->info->names;
    const ar_name_row *row = names ? ar__names_row(names, p->site) : NULL;
    const int64_t *d = t->from.shape;
    bool plain = t->from.dims == 2 && d[0] == p->n_out && d[1] == p->n_in;
    bool flipped = t->from.dims == 2 && d[0] == p->n_in && d[1] == p->n_out;
    bool square = plain && flipped;
    t->is_transposed = p->is_embedding || (t->merge->gguf ? false : row ? row->is_conv1d : square ? ad->settings.fan_in_fan_out : flipped);
    if (t->is_transposed ? flipped : plain) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: site '%s' has %lld inputs and %lld outputs, tensor '%s' of the base is [%lld, %lld]: it was made for another base",
                    place_of(ad), p->site, (long long)p->n_in, (long long)p->n_out, t->from.name, t->from.dims > 0 ? (long long)d[0] : 1LL,
                    t->from.dims > 1 ? (long long)d[1] : 1LL);
}

static ar_status add_part(ar_merge_tensor *t, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    if (t->whole && t->whole_of != ad)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s': %s replaces it and %s adds to it, which have no common result; merge them apart",
                        t->name, place_of(t->whole_of), place_of(ad));
    for (size_t i = 0; i < t->part_count; i++)
        if (t->part[i].ad == ad && t->part[i].pair->expert == p->expert)
            return ar__fail(err, AR_ERR_FORMAT, "%s: sites '%s' and '%s' are one module of the base", place_of(ad), t->part[i].pair->site,
                            p->site);
    ar_merge_part *list = ar__grow(t->part, &t->part_cap, t->part_count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, t->name);
    t->part = list;
    list[t->part_count++] = (ar_merge_part){ad, p};
    return AR_OK;
}

static ar_status add_b_bias(ar_merging *m, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    ar_merge_tensor *t;
    if (p->magnitude)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: site '%s' has DoRA and a bias on B (lora_bias), which do not go together",
                        place_of(ad), p->site);
    const ar_base_weight *w;
    if (!find_name(&w, m, p->site, ".bias"))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' has a bias on B (lora_bias), but the base's module has no bias to add it to; keep the adapter apart",
                        place_of(ad), p->site);
    ar_status s = need_tensor(&t, m, p->site, ".bias", err);
    if (s) return s;
    if (t->from.count != (size_t)p->n_out)
        return ar__fail(err, AR_ERR_MISMATCH, "'%s': %zu elements, the adapter has %lld", t->name, t->from.count, (long long)p->n_out);
    return add_part(t, ad, p, err);
}

/* [E, n_out, n_in], or [E, n_in, n_out]; of square matrices the family tells. */
static ar_status add_expert(ar_merging *m, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    const ar_base_weight *w;
    if (m->gguf)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' is one of stacked experts: merge into the Hugging Face folder and convert that", place_of(ad),
                        p->site);
    ar_status s = ar__base_need(&w, m->base, p, err);
    if (s) return s;
    if (w->dims < 3)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' is of a stack, and the base has its experts apart: open the adapter with that "
                        "base, and without keeping its stacks",
                        place_of(ad), p->site);
    ar_merge_tensor *t = &m->tensor[ar__map_find_str(&m->by_name, w->tensor)];
    if (!ar__dtype_is_float(t->from.dtype)) return quantised(m, w->tensor, w->type_name, err);
    bool plain = w->shape[1] == p->n_out && w->shape[2] == p->n_in, turned = w->shape[1] == p->n_in && w->shape[2] == p->n_out;
    t->is_transposed = turned && (!plain || (m->info->model_type && !strcmp(m->info->model_type, "gpt_oss")));
    return add_part(t, ad, p, err);
}

static ar_status add_pair(ar_merging *m, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    ar_merge_tensor *t;
    if (ar__pair_in_stack(p)) return add_expert(m, ad, p, err);
    if (p->kernel[0])
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: site '%s' is the pair of a convolution, which cannot be merged here", place_of(ad),
                        p->site);
    if (p->has_gguf_rows)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' has its rows in llama.cpp's order and nobody said how many heads there are: give --heads H,KV",
                        place_of(ad), p->site);
    if (p->magnitude && m->adapter_count > 1)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' has DoRA, whose result beside other adapters depends on their order; merge it alone", place_of(ad),
                        p->site);
    ar_status s = need_tensor(&t, m, p->site, ".weight", err);
    if (s || (s = find_orientation(t, ad, p, err)) || (s = add_part(t, ad, p, err))) return s;
    return p->b_bias ? add_b_bias(m, ad, p, err) : AR_OK;
}

static ar_status check_whole_shape(const ar_merge_tensor *t, const ar_adapter *ad, const ar_whole *w, const char *path, ar_error *err) {
    const ar_name_map *names = t->merge->info->names;
    const ar_name_row *row = names ? ar__names_row(names, path) : NULL;
    if (t->merge->gguf && w->dims == 2 && row && row->is_conv1d)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: tensor '%s' is a Conv1D's, saved whole, which GGUF has transposed; merge into the "
                        "Hugging Face folder and convert that",
                        place_of(ad), w->name);
    bool same = t->from.dims == w->dims;
    for (int i = 0; same && i < w->dims; i++) same = t->from.shape[i] == w->shape[i];
    if (same || ar__merge_may_grow(t->merge, ar__base_find(t->merge->base, path), w)) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' has %zu elements in another shape than the base's with %zu%s", place_of(ad),
                    w->name, w->count, t->from.count,
                    t->merge->gguf ? "; of a vocabulary that was extended, merge into the Hugging Face folder and convert that" : "");
}

static ar_status add_whole(ar_merging *m, ar_adapter *ad, ar_whole *w, ar_error *err) {
    const char *suffix = strrchr(w->name, '.');
    ar_merge_tensor *t = NULL;
    char *path = suffix ? ar__strndup(w->name, (size_t)(suffix - w->name)) : ar__strdup(w->name);
    if (!path) return ar__fail_memory(err, w->name);
    ar_status s = need_tensor(&t, m, path, suffix ? suffix : "", err);
    if (!s) s = check_whole_shape(t, ad, w, path, err);
    free(path);
    if (s) return s;
    if (t->whole || (t->part_count && (t->part[0].ad != ad || w->dims == 2)))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s': %s replaces it and %s %s it, which have no common result; merge them apart",
                        t->name, place_of(ad), place_of(t->whole ? t->whole_of : t->part[0].ad), t->whole ? "replaces" : "adds to");
    t->whole = w;
    t->whole_of = ad;
    return AR_OK;
}

static ar_status untie(ar_merging *m, ar_error *err) {
    bool embed = m->embed != AR_MAP_NONE && ar__merge_touches(&m->tensor[m->embed]);
    bool head = m->head != AR_MAP_NONE && ar__merge_touches(&m->tensor[m->head]);
    m->untied = embed || head;
    return m->untied ? need_head(m, err) : AR_OK;
}

/* A folder's weights all get the dtype that was asked for.  A GGUF file may mix types: only adapted matrices do, the rest
 * stays as it was quantised, and vectors keep the F32 that llama.cpp wants of them. */
static bool is_retyped(const ar_merging *m, const ar_merge_tensor *t) {
    if (!m->has_dtype) return false;
    return m->gguf ? ar__merge_touches(t) && t->from.dims == 2 : ar__dtype_is_float(t->from.dtype);
}

static ar_status choose_types(ar_merging *m, ar_error *err) {
    for (size_t i = 0; i < m->count; i++) {
        ar_merge_tensor *t = &m->tensor[i];
        size_t bytes = t->from.bytes;
        bool retyped = is_retyped(m, t);
        t->to = retyped ? m->dtype : t->from.dtype;
        if (ar__merge_touches(t) && !ar__dtype(t->to)->from_f32)
            return ar__fail(err, AR_ERR_UNSUPPORTED,
                            "%s: tensor '%s' has type %s, which is read but not written: give the adapted tensors another with --dtype f16 "
                            "or bf16, or merge into the model that was quantised",
                            m->o->model, t->name, t->from.dtype_name);
        if (retyped && t->from.shape[1] % (int64_t)ar__dtype(t->to)->block)
            return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' has rows of %lld values, %s has blocks of %zu: give another --dtype",
                            m->o->model, t->name, (long long)t->from.shape[1], m->o->dtype, (size_t)ar__dtype(t->to)->block);
        if (retyped && !ar__dtype_bytes(&bytes, t->to, t->from.count))
            return ar__fail(err, AR_ERR_VALUE, "tensor '%s': too large", t->name);
        if (!ar__merge_is_copied(t)) m->total += bytes;
    }
    return AR_OK;
}

ar_status ar__merge_plan(ar_merging *m, ar_error *err) {
    ar_status s = list_tensors(m, err);
    if (!s) find_tied(m);
    for (size_t k = 0; !s && k < m->adapter_count; k++) {
        ar_adapter *ad = m->adapter[k];
        for (size_t i = 0; !s && i < ad->pair_count; i++) s = add_pair(m, ad, &ad->pair[i], err);
        for (size_t i = 0; !s && i < ad->whole_count; i++) s = add_whole(m, ad, &ad->whole[i], err);
    }
    if (!s) s = untie(m, err);
    if (!s) s = ar__merge_grow(m, err);
    return s ? s : choose_types(m, err);
}
