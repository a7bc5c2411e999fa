/* Which tensors of the checkpoint the adapters touch.
 *
 * Adapters use the module paths of Hugging Face's models; a checkpoint may lack the model's prefix, or wrap the language
 * model in others.  The names table brings both to one key; for a family that it lacks, a first component may be missing
 * on either side. */
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/merge.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

/* "blk.3.attn_q" + suffix for a module of the table. */
static bool module_key(ar_buf *out, const ar_name_map *names, const char *path, const char *suffix) {
    ar_name name;
    ar__buf_clear(out);
    if (!names || !ar__names_find(&name, names, path)) return false;
    if (name.layer >= 0) ar__buf_printf(out, "blk.%lld.", (long long)name.layer);
    ar__buf_printf(out, "%s%s", name.row->gguf, suffix);
    return !out->failed;
}

static size_t find_joined(const ar_map *map, const char *a, const char *b, const char *suffix) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%s%s%s", a, b, suffix);
    size_t at = name.failed ? AR_MAP_NONE : ar__map_find_str(map, name.data);
    ar__buf_release(&name);
    return at;
}

static size_t find_tensor(const ar_merging *m, const char *path, const char *suffix) {
    static const char *const prefixes[] = {"model.", "transformer."};
    size_t at = find_joined(&m->by_name, "", path, suffix);
    if (at != AR_MAP_NONE) return at;
    if (m->names) {
        ar_buf key = {0};
        if (module_key(&key, m->names, path, suffix)) at = ar__map_find_str(&m->by_module, key.data);
        ar__buf_release(&key);
        return at;
    }
    const char *dot = strchr(path, '.');
    if (dot) at = find_joined(&m->by_name, "", dot + 1, suffix);
    for (size_t i = 0; at == AR_MAP_NONE && i < sizeof prefixes / sizeof *prefixes; i++)
        at = find_joined(&m->by_name, prefixes[i], path, suffix);
    return at;
}

/* Is the module the one that GGUF calls stem, or by its last component one of the usual names of a foreign family? */
static bool is_module(const ar_merging *m, const char *path, const char *stem, const char *const *usual) {
    ar_name name;
    if (m->names) return ar__names_find(&name, m->names, path) && !strcmp(name.row->gguf, stem);
    const char *last = strrchr(path, '.');
    last = last ? last + 1 : path;
    for (; *usual; usual++)
        if (!strcmp(*usual, last)) return true;
    return false;
}

static bool is_embed(const ar_merging *m, const char *path) {
    static const char *const usual[] = {"embed_tokens", "wte", "word_embeddings", "embed_in", NULL};
    return is_module(m, path, "token_embd", usual);
}

static bool is_head(const ar_merging *m, const char *path) {
    static const char *const usual[] = {"lm_head", "embed_out", NULL};
    return is_module(m, path, "output", usual);
}

static ar_merge_tensor *add_entry(ar_merging *m, const char *name, const ar_st_tensor *from, ar_error *err) {
    ar_merge_tensor *list = ar__grow(m->tensor, &m->cap, m->count + 1, sizeof *list);
    if (list) m->tensor = list;
    if (!list || !ar__map_put(&m->by_name, name, strlen(name), m->count)) {
        ar__fail_memory(err, name);
        return NULL;
    }
    list[m->count] = (ar_merge_tensor){.merge = m, .name = name, .from = from, .file = from->file};
    return &list[m->count++];
}

static ar_status index_tensor(ar_merging *m, const ar_st_tensor *t, ar_buf *path, ar_buf *key, ar_error *err) {
    const char *suffix = strrchr(t->name, '.');
    size_t at = m->count;
    if (!add_entry(m, t->name, t, err)) return AR_ERR_MEMORY;
    if (!suffix) return AR_OK;
    ar__buf_clear(path);
    ar__buf_add(path, t->name, (size_t)(suffix - t->name));
    if (path->failed) return ar__fail_memory(err, t->name);
    bool weight = !strcmp(suffix, ".weight");
    if (weight && m->embed == AR_MAP_NONE && is_embed(m, path->data)) m->embed = at;
    if (weight && m->head == AR_MAP_NONE && is_head(m, path->data)) m->head = at;
    if (!module_key(key, m->names, path->data, suffix)) return key->failed ? ar__fail_memory(err, t->name) : AR_OK;
    if (ar__map_find_str(&m->by_module, key->data) != AR_MAP_NONE) return AR_OK;
    return ar__map_put(&m->by_module, key->data, key->len, at) ? AR_OK : ar__fail_memory(err, t->name);
}

static ar_status index_tensors(ar_merging *m, ar_error *err) {
    ar_buf path = {0}, key = {0};
    ar_status s = AR_OK;
    m->embed = m->head = AR_MAP_NONE;
    for (int i = 0; !s && i < ar__st_count(m->base); i++) s = index_tensor(m, ar__st_at(m->base, i), &path, &key, err);
    ar__buf_release(&path);
    ar__buf_release(&key);
    return s;
}

/* Where the configuration does not say, a base is tied if it has no head of its own; one equal to the embedding counts as
 * none, and is no different when it is written apart. */
static bool find_tied(const ar_merging *m) {
    const json_t *flag = json_object_get(m->config, "tie_word_embeddings");
    if (!json_is_boolean(flag)) flag = json_object_get(json_object_get(m->config, "text_config"), "tie_word_embeddings");
    return json_is_boolean(flag) ? json_is_true(flag) : m->head == AR_MAP_NONE;
}

/* The head's own tensor, made where a tied checkpoint has none. */
static ar_status need_head(ar_merging *m, ar_error *err) {
    const ar_name_row *row = m->names ? m->names->top : NULL;
    if (m->embed == AR_MAP_NONE)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: the head shares the embedding's weight, but no tensor is known as the embedding",
                        m->o->model);
    const ar_st_tensor *from = m->tensor[m->embed].from;
    if (m->head == AR_MAP_NONE) {
        while (row && row->hf && row->kind != AR_MODULE_HEAD) row++;
        bool wrapped = !strncmp(from->name, "language_model.", 15);
        ar_buf name = {0};
        ar__buf_printf(&name, "%s%s.weight", wrapped ? "language_model." : "", row && row->hf ? row->hf : "lm_head");
        m->head_name = name.data;
        if (name.failed) return ar__fail_memory(err, "head");
        if (!add_entry(m, m->head_name, from, err)) return AR_ERR_MEMORY;
        m->head = m->count - 1;
    }
    m->tensor[m->head].from = from; /* a copy that a tied checkpoint carries along is never read */
    return AR_OK;
}

/* A quantised base has no `.weight` there, or one of a type that cannot be added to. */
static ar_status not_found(const ar_merging *m, const char *path, const char *suffix, ar_error *err) {
    size_t n = strlen(path);
    for (int i = 0; i < ar__st_count(m->base); i++) {
        const ar_st_tensor *t = ar__st_at(m->base, i);
        if (strncmp(t->name, path, n) != 0 || t->name[n] != '.' || strcmp(suffix, ".weight") != 0) continue;
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: '%s' has no weight, but '%s' (%s): the base is quantised; merge into the base that it was made from",
                        ar__st_path(m->base, t->file), path, t->name, t->dtype_name);
    }
    return ar__fail(err, AR_ERR_MISMATCH, "%s: no tensor '%s%s', which the adapter changes: it was made for another base", m->o->model,
                    path, suffix);
}

static ar_status need_tensor(ar_merge_tensor **out, ar_merging *m, const char *path, const char *suffix, ar_error *err) {
    size_t at = find_tensor(m, path, suffix);
    if (at == AR_MAP_NONE && m->is_tied && !strcmp(suffix, ".weight") && is_head(m, path)) {
        ar_status s = need_head(m, err);
        if (s) return s;
        at = m->head;
    }
    if (at == AR_MAP_NONE) return not_found(m, path, suffix, err);
    *out = &m->tensor[at];
    const ar_st_tensor *t = (*out)->from;
    if (!ar__dtype(t->dtype)->is_weight)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: tensor '%s' has dtype %s, wanted F32, F16 or BF16: the base is quantised; merge into the base that it was "
                        "made from",
                        ar__st_path(m->base, t->file), t->name, t->dtype_name);
    return AR_OK;
}

static const char *place_of(const ar_adapter *ad) { return ad->place ? ad->place : "adapter"; }

/* [n_in, n_out] in the file?  The family's table knows; where it does not, the shape tells, and of a square one the
 * adapter's configuration. */
static ar_status find_orientation(ar_merge_tensor *t, const ar_adapter *ad, const ar_pair *p, ar_error *err) {
    const ar_merging *m = t->merge;
    const ar_name_row *row = m->names ? ar__names_row(m->names, p->site) : NULL;
    const int64_t *d = t->from->shape;
    bool plain = t->from->dims == 2 && d[0] == p->n_out && d[1] == p->n_in;
    bool flipped = t->from->dims == 2 && d[0] == p->n_in && d[1] == p->n_out;
    bool square = plain && flipped;
    t->is_transposed = p->is_embedding || (row ? row->is_conv1d : square ? ad->settings.fan_in_fan_out : flipped);
    if (t->is_transposed ? flipped : plain) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: site '%s' has %lld inputs and %lld outputs, tensor '%s' of the base is [%lld, %lld]: it was made for another base",
                    place_of(ad), p->site, (long long)p->n_in, (long long)p->n_out, t->from->name,
                    t->from->dims > 0 ? (long long)d[0] : 1LL, t->from->dims > 1 ? (long long)d[1] : 1LL);
}

static ar_status add_part(ar_merge_tensor *t, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    if (t->whole && t->whole_of != ad)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "'%s': %s replaces it and %s adds to it, which have no common result; merge them apart",
                        t->name, place_of(t->whole_of), place_of(ad));
    for (size_t i = 0; i < t->part_count; i++)
        if (t->part[i].ad == ad)
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
    if (find_tensor(m, p->site, ".bias") == AR_MAP_NONE)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' has a bias on B (lora_bias), but the base's module has no bias to add it to; keep the adapter apart",
                        place_of(ad), p->site);
    ar_status s = need_tensor(&t, m, p->site, ".bias", err);
    if (s) return s;
    if (t->from->count != (size_t)p->n_out)
        return ar__fail(err, AR_ERR_MISMATCH, "'%s': %zu elements, the adapter has %lld", t->name, t->from->count, (long long)p->n_out);
    return add_part(t, ad, p, err);
}

static ar_status add_pair(ar_merging *m, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    ar_merge_tensor *t;
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

static ar_status add_whole(ar_merging *m, ar_adapter *ad, ar_whole *w, ar_error *err) {
    const char *suffix = strrchr(w->name, '.');
    ar_merge_tensor *t = NULL;
    char *path = suffix ? ar__strndup(w->name, (size_t)(suffix - w->name)) : ar__strdup(w->name);
    if (!path) return ar__fail_memory(err, w->name);
    ar_status s = need_tensor(&t, m, path, suffix ? suffix : "", err);
    free(path);
    if (s) return s;
    bool same = t->from->dims == w->dims;
    for (int i = 0; same && i < w->dims; i++) same = t->from->shape[i] == w->shape[i];
    if (!same)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "%s: tensor '%s' has %zu elements in another shape than the base's with %zu; a base whose vocabulary was extended "
                        "must be saved so before merging",
                        place_of(ad), w->name, w->count, t->from->count);
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
    if (!m->is_tied || !(embed || head)) return AR_OK;
    m->untied = true;
    return need_head(m, err);
}

static ar_status choose_types(ar_merging *m, ar_error *err) {
    for (size_t i = 0; i < m->count; i++) {
        ar_merge_tensor *t = &m->tensor[i];
        size_t bytes = t->from->bytes;
        bool is_float = ar__dtype(t->from->dtype)->is_weight;
        t->to = m->has_dtype && is_float ? m->dtype : t->from->dtype;
        if (is_float && !ar__dtype_bytes(&bytes, t->to, t->from->count))
            return ar__fail(err, AR_ERR_VALUE, "tensor '%s': too large", t->name);
        m->total += bytes;
    }
    return AR_OK;
}

ar_status ar__merge_plan(ar_merging *m, ar_error *err) {
    ar_status s = index_tensors(m, err);
    m->is_tied = find_tied(m);
    for (size_t k = 0; !s && k < m->adapter_count; k++) {
        ar_adapter *ad = m->adapter[k];
        for (size_t i = 0; !s && i < ad->pair_count; i++) s = add_pair(m, ad, &ad->pair[i], err);
        for (size_t i = 0; !s && i < ad->whole_count; i++) s = add_whole(m, ad, &ad->whole[i], err);
    }
    if (!s) s = untie(m, err);
    return s ? s : choose_types(m, err);
}
