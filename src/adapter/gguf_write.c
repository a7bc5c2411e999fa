/* Pairs → a GGUF adapter.  The file has one α, and its readers take s = α / r at each pair, so with
 *
 *     α₀ = the most common sᵢ·rᵢ        Bᵢ' = Bᵢ · sᵢ·rᵢ / α₀
 *
 * every pair keeps its s·B·A. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/gguf.h"
#include "adapter/gguf_experts.h"
#include "adapter/provenance.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/gguf.h"
#include "weights/base.h"

/* The pairs of all experts of one tensor, in their order. */
struct experts {
    ar_emit *emit; /* of all pairs */
    size_t *pair;  /* their places, by expert */
    size_t count;
    ar_factor which;
};

struct gguf_writer {
    ar_write_context *c;
    const ar_adapter *ad;
    ar_gguf_writer *w;
    const ar_name_map *map;
    ar_head_counts count;
    ar_emit *emit;           /* two a pair */
    uint32_t **rows;         /* per pair, or columns; NULL: in order */
    struct experts *experts; /* two a pair, of the first of each stack */
};

static double alpha_of(const ar_pair *p) { return p->scale * (double)p->rank; }

/* The family: of the base, or by the heads given by hand, which only llama needs, or as the adapter remembers it. */
static const ar_name_map *map_of(const ar_adapter *ad, const ar_write_context *c) {
    const char *note = ar__adapter_note(ad, AR_NOTE_ARCHITECTURE);
    if (c->base) return ar__base_info(c->base)->names;
    return c->heads ? ar__names_for_gguf("llama") : note ? ar__names_for_gguf(note) : NULL;
}

/* llama.cpp looks every name up among the tensors of the GGUF base and loads no adapter with one that is not there. */
static ar_status check_tensor(const ar_pair *p, const struct ar_base *base, ar_error *err) {
    const ar_base_weight *w;
    bool listed = !base || !ar__base_info(base)->is_gguf || ar__base_find(base, p->site);
    return listed ? AR_OK : ar__base_need(&w, base, p, err);
}

/* Places of the pairs of all experts beside this one, the caller's to free; fails where some are missing or of another shape. */
static ar_status find_experts(size_t **pair, size_t *count, const ar_adapter *ad, const ar_name_map *map, const ar_pair *first,
                              ar_error *err) {
    ar_gguf_expert x;
    ar_buf site = {0};
    *pair = ar__alloc((size_t)first->experts, sizeof **pair);
    *count = (size_t)first->experts;
    ar_status s = *pair ? AR_OK : ar__fail_memory(err, first->site);
    ar__gguf_expert_find(&x, map, first->site);
    for (x.index = 0; !s && x.index < first->experts; x.index++) {
        ar__buf_clear(&site);
        ar__gguf_expert_site(&site, map, &x);
        const ar_pair *p = site.failed ? NULL : ar__adapter_find_pair(ad, site.data);
        if (p && p->rank == first->rank && p->n_in == first->n_in && p->n_out == first->n_out)
            (*pair)[x.index] = (size_t)(p - ad->pair);
        else
            s = ar__fail(
                err, AR_ERR_UNSUPPORTED,
                "site '%s': GGUF has the experts of a layer in one tensor, and expert %lld has no pair of its rank and shape: merge the "
                "adapter instead (alphar merge)",
                first->site, (long long)x.index);
    }
    ar__buf_release(&site);
    return s;
}

static ar_status check_expert(const ar_adapter *ad, const ar_name_map *map, const ar_pair *p, ar_error *err) {
    size_t *pair = NULL, count;
    ar_gguf_expert x;
    ar_status s = AR_OK;
    if (!ar__gguf_expert_find(&x, ar__gguf_expert_map(map), p->site))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': of an expert, which the GGUF architecture %s has not", p->site, map->gguf);
    if (ar__gguf_expert_is_behind_factor(ar__gguf_expert_map(map), &x))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': " AR_GGUF_BEHIND_FACTOR ": merge the adapter instead (alphar merge)", p->site);
    if (x.index == 0) s = find_experts(&pair, &count, ad, ar__gguf_expert_map(map), p, err);
    free(pair);
    return s;
}

static ar_status check_site(const ar_pair *p, const ar_name_map *map, const struct ar_base *base, const ar_head_counts *count,
                            ar_error *err) {
    ar_buf name = {0};
    ar_name found;
    ar_status s = AR_OK;
    /* One tensor in the file, which llama.cpp would look up for both; or none of the head's name at all. */
    if (base && ar__base_info(base)->is_tied && ar__names_find(&found, map, p->site) &&
        (found.row->kind == AR_MODULE_EMBEDDING || found.row->kind == AR_MODULE_HEAD))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "site '%s': the base's embedding and head are tied: one tensor, of which llama.cpp cannot adapt one side: merge the "
                     "adapter "
                     "instead (alphar merge)",
                     p->site);
    else if (ar__names_find(&found, map, p->site) && !strcmp(found.row->gguf, "position_embd"))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "site '%s': llama.cpp applies no adapter to position embeddings: merge the adapter instead (alphar merge)", p->site);
    else if (p->kernel[0])
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': the pair of a convolution, which llama.cpp's adapters cannot hold", p->site);
    if (!s) s = ar__names_to_gguf(&name, map, p->site, err);
    if (!s) s = check_tensor(p, base, err);
    if (!s && ar__names_find(&found, map, p->site) && !ar__order_is_known(found.row->order, count) && !p->has_gguf_rows)
        s = ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "site '%s': llama.cpp orders its rows by heads, and only the base says how many there are: give --model or --heads H,KV",
            p->site);
    ar__buf_release(&name);
    return s;
}

static ar_status check_gguf(const ar_adapter *ad, const ar_write_context *c, ar_error *err) {
    const ar_name_map *map = map_of(ad, c);
    ar_status s = ar__check_plain_pairs(ad, "a GGUF adapter", map && map->fused_stacks, err);
    if (s) return s;
    if (!map)
        return c->base
                   ? ar__fail(err, AR_ERR_UNSUPPORTED, "%s: model type '%s' is not in Alphar's table of GGUF names (docs/families.md)",
                              ar__base_info(c->base)->path,
                              ar__base_info(c->base)->model_type ? ar__base_info(c->base)->model_type : "none")
                   : ar__fail(err, AR_ERR_UNSUPPORTED,
                              "a GGUF adapter names its base's architecture, which this one does not say: give --model BASE (or --heads "
                              "H,KV for a base of architecture llama)");
    ar_head_counts count = ar__gguf_heads(ad, c->base, c->heads, c->kv_heads);
    for (size_t i = 0; !s && i < ad->pair_count; i++)
        s = ad->pair[i].experts ? check_expert(ad, map, &ad->pair[i], err) : check_site(&ad->pair[i], map, c->base, &count, err);
    double alpha = ar__most_common(ad, alpha_of);
    if (!s && alpha != 0 && !isnormal((float)alpha))
        s = ar__fail(err, AR_ERR_UNSUPPORTED, "alpha %g does not fit the format's f32; --fold moves it into B", alpha);
    if (!s && alpha == 0)
        s = ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "alpha is 0, which turns the adapter off here, but llama.cpp takes 0 for s = 1 and would turn it on: --fold multiplies "
            "the 0 into B instead");
    return s;
}

static ar_status set_keys(struct gguf_writer *w, ar_error *err) {
    const ar_adapter *ad = w->ad;
    ar_buf key = {0};
    ar_status s;
    (void)((s = ar__gguf_writer_set_string(w->w, "general.type", "adapter", err)) ||
           (s = ar__gguf_writer_set_string(w->w, "general.architecture", w->map->gguf, err)) ||
           (s = ar__gguf_writer_set_string(w->w, "adapter.type", "lora", err)) ||
           (s = ar__gguf_writer_set_f32(w->w, AR_GGUF_ALPHA, (float)w->c->alpha, err)) ||
           (s = ar__gguf_keys_write(w->w, ad, w->c->keep, err)) ||
           (s = ar__gguf_writer_set_string(w->w, AR_GGUF_NOTE_PREFIX "version", ar_version(), err)));
    for (size_t i = 0; !s && i < ad->note_keys.count; i++) {
        if (!strncmp(ad->note_keys.at[i], AR_NOTE_GGUF, sizeof AR_NOTE_GGUF - 1)) continue;
        ar__buf_clear(&key);
        ar__buf_printf(&key, AR_GGUF_NOTE_PREFIX "%s", ad->note_keys.at[i]);
        s = key.failed ? ar__fail_memory(err, "metadata") : ar__gguf_writer_set_string(w->w, key.data, ad->note_values.at[i], err);
    }
    if (!s && w->count.heads) {
        char heads[120];
        ar__head_counts_print(heads, sizeof heads, &w->count);
        s = ar__gguf_writer_set_string(w->w, AR_GGUF_NOTE_PREFIX AR_NOTE_HEADS, heads, err);
    }
    ar__buf_release(&key);
    return s;
}

/* Row i of the file is row rows[i] of B, or its columns are of A. */
static ar_status order_rows(struct gguf_writer *w, size_t i, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    ar_name name;
    ar_row_map m;
    if (p->has_gguf_rows || !ar__names_find(&name, w->map, p->site) || name.row->order == AR_ROWS_SAME) return AR_OK;
    int64_t n = ar__order_is_of_columns(name.row->order) ? p->n_in : p->n_out;
    ar_status s = ar__row_map_init(&m, name.row->order, n, &w->count, err);
    if (s) return ar__fail_at(err, s, p->site);
    w->rows[i] = ar__alloc((size_t)n, sizeof *w->rows[i]);
    if (!w->rows[i]) return ar__fail_memory(err, p->site);
    for (int64_t j = 0; j < n; j++) w->rows[i][ar__row_to_gguf(&m, j)] = (uint32_t)j;
    return AR_OK;
}

/* Rounding α to f32 moves s by at most 6e-8: no reason to touch B. */
static double factor_of(const struct gguf_writer *w, const ar_pair *p) {
    double factor = alpha_of(p) / (double)(float)w->c->alpha;
    return fabs(factor - 1) <= 1e-7 ? 1 : factor;
}

static ar_status add_factor(struct gguf_writer *w, size_t i, ar_factor which, const char *stem, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    bool transposed = p->is_embedding && which == AR_FACTOR_A;
    int64_t rows = (int64_t)ar__factor_rows(p, which), columns = (int64_t)ar__factor_columns(p, which);
    ar_buf name = {0};
    ar_emit *e = &w->emit[2 * i + which];
    *e = (ar_emit){.ad = w->ad, .pair = i, .which = which, .factor = 1, .type = ar__write_dtype(w->c, p, which), .transposed = transposed};
    ar_name found;
    bool turned = w->rows[i] && ar__names_find(&found, w->map, p->site) && ar__order_is_of_columns(found.row->order);
    if (which == AR_FACTOR_A && turned) e->columns = w->rows[i];
    if (which == AR_FACTOR_B) {
        e->factor = factor_of(w, p);
        e->rows = turned ? NULL : w->rows[i];
        w->c->folded += e->factor != 1;
    }
    ar__buf_printf(&name, "%s.weight.lora_%c", stem, which == AR_FACTOR_A ? 'a' : 'b');
    ar_status s = name.failed
                      ? ar__fail_memory(err, p->site)
                      : ar__gguf_writer_add_stream(w->w, name.data, e->type, 2,
                                                   (int64_t[]){transposed ? rows : columns, transposed ? columns : rows}, ar__emit, e, err);
    ar__buf_release(&name);
    return s;
}

static ar_status emit_experts(void *user, ar_writer *file, ar_error *err) {
    const struct experts *k = user;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < k->count; i++) s = ar__emit(&k->emit[2 * k->pair[i] + k->which], file, err);
    return s;
}

/* One factor of all experts beside pair i, in the dtype of the first. */
static ar_status add_stack(struct gguf_writer *w, size_t i, ar_factor which, const char *stem, ar_error *err) {
    const ar_pair *first = &w->ad->pair[i];
    struct experts *k = &w->experts[2 * i + which];
    ar_dtype type = ar__write_dtype(w->c, first, which);
    ar_buf name = {0};
    *k = (struct experts){.emit = w->emit, .which = which};
    ar_status s = find_experts(&k->pair, &k->count, w->ad, ar__gguf_expert_map(w->map), first, err);
    for (size_t e = 0; !s && e < k->count; e++) {
        ar_emit *x = &w->emit[2 * k->pair[e] + which];
        *x = (ar_emit){.ad = w->ad, .pair = k->pair[e], .which = which, .factor = 1, .type = type};
        if (which == AR_FACTOR_B) x->factor = factor_of(w, &w->ad->pair[k->pair[e]]);
        w->c->folded += x->factor != 1;
    }
    ar__buf_printf(&name, "%s.weight.lora_%c", stem, which == AR_FACTOR_A ? 'a' : 'b');
    int64_t ne[3] = {(int64_t)ar__factor_columns(first, which), (int64_t)ar__factor_rows(first, which), first->experts};
    if (!s) s = name.failed ? ar__fail_memory(err, stem) : ar__gguf_writer_add_stream(w->w, name.data, type, 3, ne, emit_experts, k, err);
    ar__buf_release(&name);
    return s;
}

/* With the first of them. */
static ar_status add_experts(struct gguf_writer *w, size_t i, ar_error *err) {
    ar_gguf_expert x;
    ar_buf stem = {0};
    ar_status s = AR_OK;
    if (!ar__gguf_expert_find(&x, ar__gguf_expert_map(w->map), w->ad->pair[i].site) || x.index) return AR_OK;
    ar__gguf_expert_print(&stem, &x);
    if (stem.failed) s = ar__fail_memory(err, w->ad->pair[i].site);
    for (int f = 0; !s && f < 2; f++) s = add_stack(w, i, (ar_factor)f, stem.data, err);
    ar__buf_release(&stem);
    return s;
}

static ar_status add_pairs(struct gguf_writer *w, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < w->ad->pair_count; i++) {
        ar_buf stem = {0};
        if (w->ad->pair[i].experts) {
            s = add_experts(w, i, err);
            continue;
        }
        s = ar__names_to_gguf(&stem, w->map, w->ad->pair[i].site, err);
        if (!s && stem.failed) s = ar__fail_memory(err, w->ad->pair[i].site);
        ar_name name;
        if (ar__names_find(&name, w->map, w->ad->pair[i].site) && name.row->slot == AR_SLOT_PLE_MIX) w->c->unrun = w->ad->pair[i].site;
        if (!s) s = order_rows(w, i, err);
        if (!s) s = add_factor(w, i, AR_FACTOR_A, stem.data, err);
        if (!s) s = add_factor(w, i, AR_FACTOR_B, stem.data, err);
        ar__buf_release(&stem);
    }
    return s;
}

static ar_status write_gguf(ar_write_context *c, const ar_adapter *ad, ar_error *err) {
    struct gguf_writer w = {.c = c, .ad = ad, .map = map_of(ad, c)};
    size_t n = ad->pair_count;
    assert(w.map && "it was looked up before: of a base or a family that GGUF has");
    w.count = ar__gguf_heads(ad, c->base, c->heads, c->kv_heads);
    snprintf(c->names, sizeof c->names, "llama.cpp: %s", w.map->gguf); /* reading back looks every name up in its table */
    c->alpha = (double)(float)ar__most_common(ad, alpha_of);
    w.emit = ar__alloc(2 * n, sizeof *w.emit);
    w.rows = ar__alloc(n, sizeof(uint32_t *));
    w.experts = ar__alloc(2 * n, sizeof *w.experts);
    ar_status s = w.emit && w.rows && w.experts ? ar__gguf_writer_new(&w.w, err) : ar__fail_memory(err, c->path);
    if (!s && !(s = set_keys(&w, err)) && !(s = add_pairs(&w, err))) s = ar__gguf_writer_save(w.w, c->path, err);
    ar__gguf_writer_free(w.w);
    for (size_t i = 0; w.rows && i < n; i++) free(w.rows[i]);
    for (size_t i = 0; w.experts && i < 2 * n; i++) free(w.experts[i].pair);
    free(w.experts);
    free(w.rows);
    free(w.emit);
    return s;
}

static bool is_gguf(const char *path) {
    char magic[4];
    return ar__file_peek(magic, sizeof magic, path) && !memcmp(magic, "GGUF", 4);
}

const ar_format ar__format_gguf = {
    .name = "gguf", .is_it = is_gguf, .read = ar__gguf_adapter_read, .check = check_gguf, .write = write_gguf};
