/* Pairs → an MLX folder.  The file has one scale and one rank, so with
 *
 *     s₀ = the most common sᵢ        Bᵢ' = Bᵢ · sᵢ / s₀        r = the largest rᵢ, zeros behind the smaller pairs
 *
 * every site keeps its s·B·A.  num_layers −1 and keys that are whole paths make mlx-lm of any age instantiate every site
 * and no other. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/mlx.h"
#include "adapter/provenance.h"
#include "arch/names.h"
#include "arch/names_mlx.h"
#include "base/fail.h"
#include "format/json.h"
#include "weights/base.h"

enum { CONFIG_MAX = 64 << 20 };

/* The pairs of all experts of one module, in their order: what a tensor of three dimensions streams. */
struct stack {
    ar_emit *emit; /* of all pairs */
    size_t *pair;  /* their places, by expert */
    size_t count;
    ar_factor which;
};

struct mlx_writer {
    const ar_write_context *c;
    const ar_adapter *ad;
    ar_st_writer *st;
    ar_mlx_naming names;
    double scale;
    int rank;
    ar_emit *emit;       /* two a pair */
    struct stack *stack; /* two a pair, of the first expert of each stack */
    json_t *keys;        /* mlx-lm's paths, in the order of the pairs */
};

static double scale_of(const ar_pair *p) { return p->scale; }
static double scale_not_zero(const ar_pair *p) { return p->scale != 0 ? p->scale : NAN; }

/* The most common s; a 0 only where nothing else is, because no factor undoes it. */
static double common_scale(const ar_adapter *ad) {
    double s = ar__most_common(ad, scale_of);
    return s != 0 ? s : ar__most_common(ad, scale_not_zero);
}

static ar_status add_factor(struct mlx_writer *w, size_t i, ar_factor which, const char *module, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    ar_emit *e = &w->emit[2 * i + which];
    ar_buf key = {0};
    int64_t shape[2] = {which == AR_FACTOR_A ? p->n_in : w->rank, which == AR_FACTOR_A ? w->rank : p->n_out};
    *e = (ar_emit){.ad = w->ad, .pair = i, .which = which, .factor = 1, .type = ar__write_dtype(w->c, p, which), .transposed = true};
    e->rank = w->rank;
    if (which == AR_FACTOR_B && p->scale != w->scale) e->factor = p->scale / w->scale;
    ar__buf_printf(&key, "%s.lora_%c", module, which == AR_FACTOR_A ? 'a' : 'b');
    ar_status s =
        key.failed ? ar__fail_memory(err, p->site) : ar__st_writer_add_stream(w->st, key.data, e->type, 2, shape, ar__emit, e, err);
    ar__buf_release(&key);
    return s;
}

static ar_status emit_stack(void *user, ar_writer *w, ar_error *err) {
    const struct stack *k = user;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < k->count; i++) s = ar__emit(&k->emit[2 * k->pair[i] + k->which], w, err);
    return s;
}

/* The one dtype of a stack: the pairs' own where that is the same for all. */
static ar_dtype type_of_stack(const struct mlx_writer *w, const struct stack *k) {
    ar_dtype type = ar__write_dtype(w->c, &w->ad->pair[k->pair[0]], k->which);
    for (size_t i = 1; i < k->count; i++)
        if (ar__write_dtype(w->c, &w->ad->pair[k->pair[i]], k->which) != type) return AR_F32;
    return type;
}

static ar_status add_stacked(struct mlx_writer *w, struct stack *k, const char *module, ar_error *err) {
    const ar_pair *first = &w->ad->pair[k->pair[0]];
    bool is_a = k->which == AR_FACTOR_A;
    int64_t shape[3] = {(int64_t)k->count, is_a ? w->rank : first->n_out, is_a ? first->n_in : w->rank};
    ar_dtype type = type_of_stack(w, k);
    ar_buf key = {0};
    for (size_t i = 0; i < k->count; i++) {
        const ar_pair *p = &w->ad->pair[k->pair[i]];
        if (p->n_in != first->n_in || p->n_out != first->n_out)
            return ar__fail(err, AR_ERR_MISMATCH, "site '%s': another shape than '%s' has", p->site, first->site);
        ar_emit *e = &w->emit[2 * k->pair[i] + k->which];
        *e = (ar_emit){.ad = w->ad, .pair = k->pair[i], .which = k->which, .factor = 1, .type = type, .rank = w->rank};
        if (!is_a && p->scale != w->scale) e->factor = p->scale / w->scale;
    }
    ar__buf_printf(&key, "%s.lora_%c", module, is_a ? 'a' : 'b');
    ar_status s = key.failed ? ar__fail_memory(err, module) : ar__st_writer_add_stream(w->st, key.data, type, 3, shape, emit_stack, k, err);
    ar__buf_release(&key);
    return s;
}

/* All experts of pair i's module, once: with the first of them. */
static ar_status add_experts(struct mlx_writer *w, size_t i, const ar_mlx_expert *x, ar_error *err) {
    const ar_adapter *ad = w->ad;
    const char *own = ad->pair[i].site;
    ar_buf module = {0};
    ar_status s = AR_OK;
    if (x->index) return AR_OK;
    ar__mlx_print_stack(&module, &w->names, own, x);
    if (module.failed || json_array_append_new(w->keys, json_string(module.data))) s = ar__fail_memory(err, own);
    for (int f = 0; !s && f < 2; f++) {
        struct stack *k = &w->stack[2 * i + (size_t)f];
        *k = (struct stack){.emit = w->emit, .pair = ar__alloc(ad->pair_count, sizeof *k->pair), .which = (ar_factor)f};
        if (!k->pair) s = ar__fail_memory(err, own);
        for (size_t j = 0; !s && j < ad->pair_count; j++) {
            ar_mlx_expert y;
            const char *site = ad->pair[j].site;
            if (!ar__mlx_expert_read(&y, site) || y.stem != x->stem || strncmp(site, own, x->stem) != 0 || strcmp(y.part, x->part) != 0)
                continue;
            if ((size_t)y.index < ad->pair_count) k->pair[y.index] = j;
            k->count++;
        }
        if (!s) s = add_stacked(w, k, module.data, err);
    }
    ar__buf_release(&module);
    return s;
}

static ar_status add_pair(struct mlx_writer *w, size_t i, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    ar_mlx_expert x;
    if (ar__mlx_expert_read(&x, p->site)) return add_experts(w, i, &x, err);
    ar_buf module = {0}, key = {0};
    ar__mlx_print_module(&module, &w->names, p->site);
    ar__buf_printf(&key, "%s.m", module.data ? module.data : "");
    bool failed = module.failed || key.failed || json_array_append_new(w->keys, json_string(module.data));
    ar_status s = failed ? ar__fail(err, AR_ERR_VALUE, "site '%s': a name that is no UTF-8, or out of memory", p->site) : AR_OK;
    if (!s) s = add_factor(w, i, AR_FACTOR_A, module.data, err);
    if (!s) s = add_factor(w, i, AR_FACTOR_B, module.data, err);
    if (!s && p->magnitude) s = ar__st_writer_add(w->st, key.data, AR_F32, 1, &p->n_out, p->magnitude, err);
    ar__buf_release(&module);
    ar__buf_release(&key);
    return s;
}

static double scale_in_file(const ar_pair *p, const void *user) {
    (void)p;
    return *(const double *)user;
}

static ar_status write_weights(struct mlx_writer *w, const char *path, ar_error *err) {
    ar_status s = ar__provenance_write(w->st, w->ad, scale_in_file, &w->scale, err);
    if (!s) s = ar__st_writer_meta(w->st, "format", "mlx", err);
    for (size_t i = 0; !s && i < w->ad->pair_count; i++) s = add_pair(w, i, err);
    return s ? s : ar__st_writer_save(w->st, path, err);
}

/* The fields of the configuration that the adapter was read from; NULL: none. */
static json_t *noted_fields(const ar_adapter *ad) {
    const char *text = ar__adapter_note(ad, AR_NOTE_MLX_CONFIG);
    json_t *fields = NULL;
    if (text && ar__json_parse(&fields, text, strlen(text), "metadata alphar." AR_NOTE_MLX_CONFIG, NULL)) return NULL;
    if (json_is_object(fields)) return fields;
    json_decref(fields);
    return NULL;
}

static ar_status write_config(struct mlx_writer *w, const char *path, ar_error *err) {
    const ar_adapter_settings *set = &w->ad->settings;
    bool dora = w->ad->pair_count && w->ad->pair[0].magnitude;
    unsigned digits = ar__json_digits(ar__json_digits(15, w->scale), set->dropout);
    json_t *noted = noted_fields(w->ad);
    json_t *root =
        json_pack("{s:s, s:i, s:s?, s:{s:i, s:f, s:f, s:O}}", "fine_tune_type", dora ? "dora" : "lora", "num_layers", -1, "model",
                  set->base, "lora_parameters", "rank", w->rank, "scale", w->scale, "dropout", set->dropout, "keys", w->keys);
    if (root && noted) json_object_update_missing(root, noted);
    json_decref(noted);
    char *text = root ? json_dumps(root, JSON_INDENT(4) | JSON_SORT_KEYS | JSON_REAL_PRECISION(digits)) : NULL;
    json_decref(root);
    if (!text) return ar__fail(err, AR_ERR_VALUE, "%s: a name that is no UTF-8, or out of memory", path);
    ar_status s = ar__file_write(path, text, strlen(text), err);
    free(text);
    return s;
}

static ar_status write_mlx(ar_write_context *c, const ar_adapter *ad, ar_error *err) {
    struct mlx_writer w = {.c = c, .ad = ad, .emit = ar__alloc(2 * ad->pair_count, sizeof *w.emit), .keys = json_array()};
    w.stack = ar__alloc(2 * ad->pair_count, sizeof *w.stack);
    char *weights = ar__path_join(c->path, AR_MLX_WEIGHTS), *config = ar__path_join(c->path, AR_MLX_CONFIG);
    w.names = ar__mlx_naming_of(ad, c->base);
    w.scale = c->alpha = common_scale(ad);
    for (size_t i = 0; i < ad->pair_count; i++) {
        if (ad->pair[i].rank > w.rank) w.rank = ad->pair[i].rank;
        c->folded += ad->pair[i].scale != w.scale;
    }
    ar_status s = w.emit && w.stack && w.keys && weights && config ? ar__st_writer_new(&w.st, err) : ar__fail_memory(err, c->path);
    if (!s) s = write_weights(&w, weights, err);
    if (!s) s = write_config(&w, config, err);
    ar__st_writer_free(w.st);
    json_decref(w.keys);
    free(weights);
    free(config);
    for (size_t i = 0; w.stack && i < 2 * ad->pair_count; i++) free(w.stack[i].pair);
    free(w.stack);
    free(w.emit);
    return s;
}

/* Reads nothing but the names in the file, and nothing of what the writer knew. */
static ar_status prove_names(ar_write_context *c, ar_error *err) {
    const char *type = ar__mlx_type_of(c->base);
    const ar_mlx_family *family = type ? ar__mlx_family(type) : NULL;
    if (!family) return AR_OK;
    char *path = ar__path_join(c->path, AR_MLX_WEIGHTS);
    ar_st_set *st = NULL;
    ar_status s = path ? ar__st_open(&st, path, err) : ar__fail_memory(err, c->path);
    for (int i = 0; !s && i < ar__st_count(st); i++) {
        const ar_tensor *t = ar__st_at(st, i);
        const char *dot = strrchr(t->name, '.');
        char *module = ar__strndup(t->name, dot ? (size_t)(dot - t->name) : 0);
        ar_mlx_kind wanted = t->dims == 3 ? AR_MLX_SWITCH : AR_MLX_MODULE;
        if (!module)
            s = ar__fail_memory(err, c->path);
        else if (ar__mlx_module(family, module) != wanted)
            s = ar__fail(err, AR_ERR_MISMATCH, "tensor '%s': mlx-lm %s has no such module in its %s models; nothing is left", t->name,
                         ar__mlx_lm_version, family->type);
        free(module);
    }
    ar__st_close(st);
    free(path);
    if (!s) snprintf(c->names, sizeof c->names, "mlx-lm %s: %s", ar__mlx_lm_version, family->type);
    return s;
}

/* PEFT's folders have a configuration of the same name: what stands in it tells, else the weights beside it. */
static bool is_mlx(const char *path) {
    char *file[] = {ar__path_join(path, AR_MLX_CONFIG), ar__path_join(path, AR_MLX_WEIGHTS), ar__path_join(path, AR_MLX_OLD_WEIGHTS)};
    json_t *root = NULL;
    bool is = file[0] && file[1] && file[2] && ar__path_is_dir(path);
    if (is && ar__path_exists(file[0])) (void)ar__json_load_object(&root, file[0], CONFIG_MAX, NULL);
    bool told = ar__json_has(root, "fine_tune_type") || ar__json_has(root, "lora_parameters");
    is = is && !ar__json_has(root, "peft_type") && (told || ar__path_exists(file[1]) || ar__path_exists(file[2]));
    json_decref(root);
    for (int i = 0; i < 3; i++) free(file[i]);
    return is;
}

static const char *const files[] = {AR_MLX_WEIGHTS, AR_MLX_CONFIG, NULL};

const ar_format ar__format_mlx = {.name = "mlx",
                                  .files = files,
                                  .is_it = is_mlx,
                                  .read = ar__mlx_read,
                                  .check = ar__mlx_check,
                                  .write = write_mlx,
                                  .prove_names = prove_names};
