/* A GGUF adapter → pairs.  Its tensors stay in the file. */
#include "adapter/gguf.h"
#include "adapter/gguf_experts.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "weights/base.h"

struct gguf_reader {
    const ar_read_context *c;
    const ar_gguf *g;
    const ar_name_map *map;
    ar_adapter *ad;
    double alpha;
    ar_head_counts count;
    const char *norm; /* the first tensor that is a norm's, as it is; NULL: none */
    int norms;
};

static const char tail_a[] = ".weight.lora_a", tail_b[] = ".weight.lora_b";

/* The tensor's name without its tail; NULL where it has another. */
static char *stem_of(const char *name, const char *tail) {
    size_t n = strlen(name), t = strlen(tail);
    return n > t && !strcmp(name + n - t, tail) ? ar__strndup(name, n - t) : NULL;
}

ar_head_counts ar__gguf_heads(const ar_adapter *ad, const struct ar_base *base, int given, int given_kv) {
    const char *note = ar__adapter_note(ad, AR_NOTE_HEADS);
    ar_head_counts none = {0};
    if (given) return given > 0 && given_kv >= 0 ? (ar_head_counts){.heads = given, .kv_heads = given_kv} : none;
    if (base) return ar__base_info(base)->count;
    return note ? ar__head_counts_read(note) : none;
}

static ar_status check_shapes(const struct gguf_reader *r, const ar_gguf_tensor *a, const ar_gguf_tensor *b, bool embedding,
                              ar_error *err) {
    int64_t rank = a->ne[embedding ? 0 : 1];
    const char *place = r->c->path;
    if (a->dims > 2 || b->dims > 2)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' has more than 2 dimensions, wanted a linear layer's", place,
                        a->dims > 2 ? a->name : b->name);
    if (rank != b->ne[0])
        return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' has rank %lld, '%s' has %lld", place, a->name, (long long)rank, b->name,
                        (long long)b->ne[0]);
    if (rank < 1 || rank > INT_MAX || a->count < 1 || b->count < 1)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' is empty", place, a->name);
    return AR_OK;
}

/* The order of B's rows, or of A's columns, where the file's is another than ours. */
static ar_status order_rows(const struct gguf_reader *r, ar_pair *p, const ar_name_row *row, ar_error *err) {
    ar_row_map m;
    if (row->order == AR_ROWS_SAME || p->has_gguf_rows) return AR_OK;
    bool columns = ar__order_is_of_columns(row->order);
    int64_t n = columns ? p->n_in : p->n_out;
    ar_status s = ar__row_map_init(&m, row->order, n, &r->count, err);
    if (s) return ar__fail_at(err, s, p->site);
    if (n > UINT32_MAX) return ar__fail(err, AR_ERR_FORMAT, "site '%s': too many rows", p->site);
    uint32_t *rows = ar__alloc((size_t)n, sizeof *rows);
    if (!rows) return ar__fail_memory(err, p->site);
    for (int64_t i = 0; i < n; i++) rows[i] = (uint32_t)ar__row_from_gguf(&m, i);
    if (columns)
        p->stored[AR_FACTOR_A].columns = rows;
    else
        p->stored[AR_FACTOR_B].rows = rows;
    return ar__adapter_keep(r->ad, rows, free, err);
}

static ar_status add_pair(struct gguf_reader *r, const char *stem, const ar_gguf_tensor *a, const ar_gguf_tensor *b, ar_error *err) {
    ar_buf path = {0};
    ar_name name;
    ar_pair *p = NULL;
    ar_status s = ar__names_from_gguf(&path, r->map, stem, err);
    if (!s && (path.failed || !ar__names_find_gguf(&name, r->map, stem))) s = ar__fail_memory(err, stem);
    bool embedding = !s && name.row->kind == AR_MODULE_EMBEDDING;
    if (!s) s = check_shapes(r, a, b, embedding, err);
    if (!s) {
        ar_pair_shape shape = {.site = path.data, .n_in = a->ne[embedding ? 1 : 0], .n_out = b->ne[1], .is_embedding = embedding};
        shape.rank = (int)b->ne[0];
        shape.alpha = r->alpha != 0 ? r->alpha : shape.rank;
        shape.has_gguf_rows = !ar__order_is_known(name.row->order, &r->count);
        s = ar__adapter_add_stored(&p, r->ad, &shape, err);
    }
    if (!s) {
        p->stored[AR_FACTOR_A] =
            (ar_stored){.name = a->name, .bytes = a->data, .type = a->dtype, .is_there = true, .is_transposed = embedding};
        p->stored[AR_FACTOR_B] = (ar_stored){.name = b->name, .bytes = b->data, .type = b->dtype, .is_there = true};
        s = order_rows(r, p, name.row, err);
    }
    ar__buf_release(&path);
    return s;
}

static ar_status add_expert(struct gguf_reader *r, const ar_name_map *map, const ar_gguf_expert *x, const ar_gguf_tensor *a,
                            const ar_gguf_tensor *b, ar_error *err) {
    const size_t size_a = ar__dtype(a->dtype)->bytes, size_b = ar__dtype(b->dtype)->bytes;
    ar_buf site = {0};
    ar_pair *p = NULL;
    ar__gguf_expert_site(&site, map, x);
    ar_pair_shape shape = {.site = site.data, .n_in = a->ne[0], .n_out = b->ne[1], .rank = (int)b->ne[0], .is_apart = !map->fused_stacks};
    shape.alpha = r->alpha != 0 ? r->alpha : shape.rank;
    shape.expert = (int)x->index;
    shape.experts = (int)a->ne[2];
    ar_status s = site.failed ? ar__fail_memory(err, a->name) : ar__adapter_add_stored(&p, r->ad, &shape, err);
    ar__buf_release(&site);
    if (s) return s;
    size_t skip_a = (size_t)x->index * (size_t)(a->ne[0] * a->ne[1]) * size_a,
           skip_b = (size_t)x->index * (size_t)(b->ne[0] * b->ne[1]) * size_b;
    p->stored[AR_FACTOR_A] = (ar_stored){.name = a->name, .bytes = (const char *)a->data + skip_a, .type = a->dtype, .is_there = true};
    p->stored[AR_FACTOR_B] = (ar_stored){.name = b->name, .bytes = (const char *)b->data + skip_b, .type = b->dtype, .is_there = true};
    p->stored[AR_FACTOR_A].row_step = (size_t)a->ne[0];
    p->stored[AR_FACTOR_B].row_step = (size_t)b->ne[0];
    p->stored[AR_FACTOR_A].column_step = p->stored[AR_FACTOR_B].column_step = 1;
    return AR_OK;
}

/* A pair for each expert of a tensor of three dimensions. */
static ar_status add_experts(struct gguf_reader *r, ar_gguf_expert x, const ar_gguf_tensor *a, const ar_gguf_tensor *b, ar_error *err) {
    const ar_name_map *map = ar__gguf_expert_map(r->map);
    bool floats = ar__dtype_is_float(a->dtype) && ar__dtype_is_float(b->dtype);
    if (!map || !ar__gguf_expert_has(map, &x))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is of experts, which the architecture %s has not", r->c->path, a->name,
                        r->map->gguf);
    if (ar__gguf_expert_is_behind_factor(map, &x))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s': " AR_GGUF_BEHIND_FACTOR ": use the adapter that it was converted from",
                        r->c->path, a->name);
    if (a->dims != 3 || b->dims != 3 || a->ne[2] != b->ne[2] || a->ne[1] != b->ne[0] || a->ne[1] < 1 || a->ne[1] > INT_MAX ||
        a->ne[2] < 1 || a->ne[2] > INT_MAX || !a->count || !b->count || !floats)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensors '%s' and '%s': wanted {n_in, r, experts} and {r, n_out, experts} of floats",
                        r->c->path, a->name, b->name);
    ar_status s = AR_OK;
    for (; !s && x.index < a->ne[2]; x.index++) s = add_expert(r, map, &x, a, b, err);
    return s;
}

/* What mergekit's extracted adapters carry beside their pairs, and llama.cpp passes over. */
static bool is_norm(const char *name) {
    static const char tail[] = "_norm.weight";
    size_t n = strlen(name), k = sizeof tail - 1;
    return n > k && !strcmp(name + n - k, tail);
}

static ar_status read_tensor(struct gguf_reader *r, const ar_gguf_tensor *t, ar_error *err) {
    char *stem = stem_of(t->name, tail_a);
    const ar_gguf_tensor *a = NULL, *b = NULL;
    ar_status s = AR_OK;
    if (!stem && is_norm(t->name)) {
        if (!r->norms++) r->norm = t->name;
        return AR_OK;
    }
    if (!stem) {
        char *other = stem_of(t->name, tail_b);
        ar_buf name = {0};
        if (other) ar__buf_printf(&name, "%s%s", other, tail_a);
        if (!other)
            s = ar__fail(err, AR_ERR_FORMAT,
                         "%s: tensor '%s' is no half of a pair (NAME.weight.lora_a, NAME.weight.lora_b), and llama.cpp refuses such a "
                         "file: make it again from the adapter that it was converted from",
                         r->c->path, t->name);
        else if (name.failed)
            s = ar__fail_memory(err, t->name);
        else
            s = ar__gguf_need(&a, r->g, name.data, err);
        ar__buf_release(&name);
        free(other);
        return s;
    }
    ar_buf name = {0};
    ar__buf_printf(&name, "%s%s", stem, tail_b);
    s = name.failed ? ar__fail_memory(err, t->name) : ar__gguf_need(&a, r->g, t->name, err);
    if (!s) s = ar__gguf_need(&b, r->g, name.data, err);
    ar_gguf_expert x;
    if (!s) s = ar__gguf_expert_stem(&x, stem) ? add_experts(r, x, a, b, err) : add_pair(r, stem, a, b, err);
    ar__buf_release(&name);
    free(stem);
    return s;
}

/* A key that must have this text. */
static ar_status need_text(const struct gguf_reader *r, const char *key, const char *wanted, ar_error *err) {
    ar_gguf_string found = {"missing", 7};
    ar_status s = ar__gguf_get_string(&found, r->g, key, err);
    if (s || ar__gguf_string_is(found, wanted)) return s;
    return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' is %.*s, wanted %s: this is no LoRA adapter", r->c->path, key,
                    (int)(found.len < 60 ? found.len : 60), found.at, wanted);
}

static ar_status read_alpha(struct gguf_reader *r, ar_error *err) {
    r->alpha = NAN;
    ar_status s = ar__gguf_get_double(&r->alpha, r->g, AR_GGUF_ALPHA, err);
    if (s) return s;
    if (!ar__gguf_kv_find(r->g, AR_GGUF_ALPHA)) {
        if (!r->c->options.has_alpha)
            return ar__fail(err, AR_ERR_FORMAT,
                            "%s: '" AR_GGUF_ALPHA "' is missing, and tools guess it differently; supply it with --alpha", r->c->path);
        r->alpha = r->c->options.alpha;
    }
    if (!isfinite(r->alpha))
        return ar__fail(err, AR_ERR_NUMERIC, "%s: '" AR_GGUF_ALPHA "' is %g, wanted a finite number", r->c->path, r->alpha);
    if (r->alpha == 0) ar__log_warn(&r->c->log, "%s: '" AR_GGUF_ALPHA "' is 0, which llama.cpp takes for s = 1: read as that", r->c->path);
    return AR_OK;
}

static ar_status copy_text(char **out, const ar_gguf *g, const char *key, ar_error *err) {
    ar_gguf_string text = {NULL, 0};
    ar_status s = ar__gguf_get_string(&text, g, key, err);
    if (s || !text.at || *out) return s;
    return (*out = ar__strndup(text.at, text.len)) ? AR_OK : ar__fail_memory(err, key);
}

/* Pairs of experts or of a router: then llama's other name counts. */
static bool has_experts(const struct gguf_reader *r) {
    for (int i = 0; i < ar__gguf_count(r->g); i++) {
        const char *name = ar__gguf_at(r->g, i)->name;
        if (strstr(name, "_exps.weight.lora_") || strstr(name, ".ffn_gate_inp.weight.lora_")) return ar__gguf_expert_map(r->map) != NULL;
    }
    return false;
}

static ar_status read_architecture(struct gguf_reader *r, ar_error *err) {
    char *name = NULL;
    ar_status s = ar__gguf_need_key(r->g, "general.architecture", err);
    if (!s) s = copy_text(&name, r->g, "general.architecture", err);
    if (s) return s;
    r->map = ar__names_for_gguf(name);
    if (r->map && has_experts(r)) r->map = ar__gguf_expert_map(r->map);
    if (!r->map)
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "%s: architecture '%s' is not in Alphar's table of names (docs/families.md)", r->c->path,
                     name);
    else
        s = ar__adapter_set_note(r->ad, AR_NOTE_ARCHITECTURE, name, err);
    free(name);
    return s;
}

/* "alphar.KEY" strings that our writer left. */
static ar_status read_notes(struct gguf_reader *r, ar_error *err) {
    const size_t n = sizeof AR_GGUF_NOTE_PREFIX - 1;
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__gguf_kv_count(r->g); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(r->g, i);
        ar_gguf_string text;
        if (strncmp(kv->key, AR_GGUF_NOTE_PREFIX, n) != 0 || kv->is_array || !ar__gguf_string_at(&text, kv, 0)) continue;
        if (!strcmp(kv->key + n, "version")) continue;
        char *value = ar__strndup(text.at, text.len);
        s = value ? ar__adapter_set_note(r->ad, kv->key + n, value, err) : ar__fail_memory(err, kv->key);
        free(value);
    }
    return s;
}

static double rank_of(const ar_pair *p) { return p->rank; }

static ar_status read_settings(struct gguf_reader *r, ar_error *err) {
    ar_adapter_settings *set = &r->ad->settings;
    ar_status s = copy_text(&set->base, r->g, "general.base_model.0.repo_url", err);
    if (!s) s = copy_text(&set->base, r->g, "general.base_model.0.name", err);
    set->alpha = r->alpha;
    set->rank = (int)ar__most_common(r->ad, rank_of);
    if (r->alpha == 0) set->alpha = set->rank;
    return s;
}

/* An adapter that is on only behind certain tokens, which no plain pair can stand for. */
static ar_status check_always_on(const struct gguf_reader *r, ar_error *err) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(r->g, AR_GGUF_ALORA);
    if (!kv || !kv->count) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: '" AR_GGUF_ALORA
                    "' has %zu tokens: an activated LoRA (aLoRA), off until they appear, wanted one that is always on",
                    r->c->path, kv->count);
}

static void warn_of_norms(const struct gguf_reader *r) {
    if (r->norms)
        ar__log_warn(&r->c->log,
                     "%s: %d whole norm vector%s ('%s'%s), which llama.cpp ignores in an adapter: left out here too, and what is written "
                     "lacks %s; merge the adapter that this was converted from to keep what they trained",
                     r->c->path, r->norms, r->norms > 1 ? "s" : "", r->norm, r->norms > 1 ? ", …" : "", r->norms > 1 ? "them" : "it");
}

static ar_status read_all(struct gguf_reader *r, ar_error *err) {
    ar_status s;
    if ((s = need_text(r, "general.type", "adapter", err)) || (s = need_text(r, "adapter.type", "lora", err)) || (s = read_notes(r, err)) ||
        (s = ar__gguf_keys_read(r->ad, r->g, err)) || (s = check_always_on(r, err)) || (s = read_architecture(r, err)) ||
        (s = read_alpha(r, err)))
        return s;
    r->count = ar__gguf_heads(r->ad, r->c->base, r->c->options.heads, r->c->options.kv_heads);
    for (int i = 0; !s && i < ar__gguf_count(r->g); i++) s = read_tensor(r, ar__gguf_at(r->g, i), err);
    if (!s && !r->ad->pair_count) s = ar__fail(err, AR_ERR_FORMAT, "%s: holds no adapter tensors", r->c->path);
    if (!s) warn_of_norms(r);
    return s ? s : read_settings(r, err);
}

static void close_file(void *g) { ar__gguf_close(g); }

ar_status ar__gguf_adapter_read(ar_adapter **out, const ar_read_context *c, ar_error *err) {
    struct gguf_reader r = {.c = c};
    ar_gguf *g;
    *out = NULL;
    ar_status s = ar__adapter_new(&r.ad, err);
    if (s) return s;
    if (!(s = ar__gguf_open(&g, c->path, err)) && !(s = ar__adapter_keep(r.ad, g, close_file, err))) {
        r.g = g;
        r.ad->place = ar__strdup(c->path);
        s = r.ad->place ? read_all(&r, err) : ar__fail_memory(err, c->path);
    }
    if (s)
        ar_adapter_free(r.ad);
    else
        *out = r.ad;
    return s;
}
