/* adapters.safetensors or adapters.npz → pairs, whose factors stay in the file.  What mlx-lm would drop, or take for
 * something else, is an error. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/mlx.h"
#include "adapter/provenance.h"
#include "arch/names.h"
#include "base/fail.h"
#include "base/map.h"
#include "format/npz.h"
#include "format/safetensors.h"
#include "weights/base.h"

/* A tensor of either container. */
struct tensor {
    const char *name, *type_name;
    ar_dtype type;
    int dims;
    int64_t shape[AR_TENSOR_DIMS];
    size_t count;
    const void *data;
};

enum part { PART_A, PART_B, PART_M, PART_COUNT };

/* One module, by mlx-lm's path. */
struct site {
    char *module;
    struct tensor part[PART_COUNT]; /* name NULL: not there */
    int expert, experts;            /* one of a stack of the base; experts 0: none */
};

struct reader {
    const ar_read_context *c;
    const char *place;
    ar_mlx_config config;
    ar_st_set *st; /* one of these */
    ar_npz *npz;
    ar_adapter *ad;
    struct site *site;
    size_t count, cap;
    ar_map names;
    int64_t layers, seen; /* of the base, 0: not known; of the file */
};

static struct tensor tensor_at(const struct reader *r, int i) {
    if (r->st) {
        const ar_tensor *x = ar__st_at(r->st, i);
        struct tensor t = {x->name, x->dtype_name, x->dtype, x->dims, {0}, x->count, x->data};
        memcpy(t.shape, x->shape, sizeof t.shape);
        return t;
    }
    const ar_npz_array *y = ar__npz_at(r->npz, i);
    struct tensor t = {y->name, y->dtype_name, y->dtype, y->dims, {0}, y->count, y->data};
    memcpy(t.shape, y->shape, sizeof t.shape);
    return t;
}

static ar_status check_tensor(const struct reader *r, const struct tensor *t, enum part part, ar_error *err) {
    if (part == PART_COUNT)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' is no part of an adapter (MODULE.lora_a, MODULE.lora_b, MODULE.m)", r->place,
                        t->name);
    if (!ar__dtype_is_float(t->type))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' has dtype %s, wanted f32, f16 or bf16", r->place, t->name, t->type_name);
    static const char *const holders[] = {".switch_mlp.", ".experts.switch_glu.", ".mlp.experts."}; /* the last: gpt_oss's */
    bool switched = false;
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) switched = switched || strstr(t->name, holders[i]);
    if (t->dims == 3 && part != PART_M && switched) return AR_OK; /* a pair for each expert */
    if (t->dims == 3)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: tensor '%s' has a pair for each of %lld experts in a module that is no switch_mlp, whose experts have no "
                        "names elsewhere",
                        r->place, t->name, (long long)t->shape[0]);
    if (t->dims != (part == PART_M ? 1 : 2))
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %d dimensions, wanted %d", r->place, t->name, t->dims,
                        part == PART_M ? 1 : 2);
    return AR_OK;
}

static struct site *find_site(struct reader *r, const char *module, size_t n) {
    size_t at = ar__map_find(&r->names, module, n);
    if (at != AR_MAP_NONE) return &r->site[at];
    struct site *list = ar__grow(r->site, &r->cap, r->count + 1, sizeof *list);
    if (!list) return NULL;
    r->site = list;
    char *copy = ar__strndup(module, n);
    if (!copy || !ar__map_put(&r->names, module, n, r->count)) {
        free(copy);
        return NULL;
    }
    list[r->count] = (struct site){.module = copy};
    return &list[r->count++];
}

static ar_status sort_tensor(struct reader *r, const struct tensor *t, ar_error *err) {
    static const char *const names[2][PART_COUNT] = {{"lora_a", "lora_b", "m"}, {"A", "B", ""}};
    const char *const *tails = names[r->config.is_vlm];
    const char *dot = strrchr(t->name, '.'), *rest;
    int part = 0;
    while (part < PART_COUNT && !(dot && dot > t->name && !strcmp(dot + 1, tails[part]))) part++;
    ar_status s = check_tensor(r, t, (enum part)part, err);
    if (s) return s;
    struct site *site = find_site(r, t->name, (size_t)(dot - t->name));
    if (!site) return ar__fail_memory(err, r->place);
    site->part[part] = *t;
    int64_t block = ar__mlx_block(&rest, site->module);
    if (block >= r->seen) r->seen = block + 1;
    return AR_OK;
}

static ar_status check_site(const struct reader *r, const struct site *site, ar_error *err) {
    const struct tensor *a = &site->part[PART_A], *b = &site->part[PART_B], *m = &site->part[PART_M];
    if (!a->name || !b->name)
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s' has no %s; a pair needs both halves", r->place, site->module,
                        a->name ? "lora_b" : "lora_a");
    if (a->shape[1] != b->shape[0] || a->shape[0] < 1 || a->shape[1] < 1 || a->shape[1] > INT_MAX || b->shape[1] < 1)
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': lora_a is [%lld, %lld] and lora_b [%lld, %lld], wanted [in, r] and [r, out]",
                        r->place, site->module, (long long)a->shape[0], (long long)a->shape[1], (long long)b->shape[0],
                        (long long)b->shape[1]);
    if (r->config.rank && a->shape[1] != r->config.rank)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s' has rank %lld, %s says %d: correct the configuration", r->place, site->module,
                        (long long)a->shape[1], AR_MLX_CONFIG, r->config.rank);
    if (!r->config.dora && m->name)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is there, but fine_tune_type is no dora in %s", r->place, m->name,
                        AR_MLX_CONFIG);
    if (r->config.dora && !m->name)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: fine_tune_type is dora, but site '%s' has no magnitudes (m)", r->place, site->module);
    return r->config.is_vlm ? AR_OK : ar__mlx_instantiates(&r->config, site->module, r->layers, r->seen, err);
}

/* Only mlx-lm's own model says what a module is; without a base its name has to. */
static bool is_embedding(const char *path, const ar_base_weight *w) {
    static const char *const names[] = {"embed_tokens", "tok_embeddings", "word_embeddings", "embed_in", "embedding", "embeddings", "wte",
                                        "wpe"};
    const char *dot = strrchr(path, '.'), *last = dot ? dot + 1 : path;
    if (w) return w->kind == AR_MODULE_EMBEDDING;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(last, names[i])) return true;
    return false;
}

static ar_status check_base(const struct reader *r, const struct site *site, const ar_base_weight *w, ar_error *err) {
    int64_t in = site->part[PART_A].shape[0], out = site->part[PART_B].shape[1];
    if (!w || w->is_tied)
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': %s", site->module,
                        w ? "the base's head is tied to the embedding, so mlx-lm has no such module and drops it"
                          : "the base has no such module: the adapter was made for another base");
    bool turned = w->kind == AR_MODULE_EMBEDDING;
    if ((turned ? w->n_in : w->n_out) != out || (turned ? w->n_out : w->n_in) != in)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s': the pair is for a weight of [%lld, %lld], the base's is [%lld, %lld]",
                        r->place, site->module, (long long)(turned ? in : out), (long long)(turned ? out : in), (long long)w->n_out,
                        (long long)w->n_in);
    return AR_OK;
}

static void warn_of_tie(const struct reader *r, const char *path) {
    if (!r->c->base || ar__base_info(r->c->base)->is_tied)
        ar__log_warn(&r->c->log,
                     "%s: site '%s': on a base whose head is tied to the embedding mlx-lm applies this pair to the head too; other formats "
                     "do not",
                     r->place, path);
}

static ar_status read_magnitude(const struct reader *r, ar_pair *p, const struct tensor *m, ar_error *err) {
    if (m->count != (size_t)p->n_out)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %zu elements, wanted %lld", r->place, m->name, m->count,
                        (long long)p->n_out);
    ar__dtype(m->type)->to_f32(p->magnitude, m->data, m->count);
    for (size_t i = 0; i < m->count; i++)
        if (!isfinite(p->magnitude[i]))
            return ar__fail(err, AR_ERR_NUMERIC, "%s: tensor '%s' holds no finite number at element %zu", r->place, m->name, i);
    return AR_OK;
}

static ar_stored stored(const struct tensor *t) {
    return (ar_stored){.name = t->name, .bytes = t->data, .type = t->type, .is_there = true, .is_transposed = true};
}

/* The two halves as a pair of two dimensions; of experts that of one. */
struct half {
    struct tensor a, b;
    bool stacked;
};

static ar_status add_pair(struct reader *r, const struct site *site, const struct half *h, const char *path, bool embedding,
                          ar_error *err) {
    const struct tensor *a = &h->a, *b = &h->b;
    ar_pair *p;
    if (ar__adapter_find_pair(r->ad, path))
        return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' names a site that is there under another name already", r->place, site->module);
    if (embedding && r->config.dora)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s': DoRA of an embedding, whose magnitudes mlx-lm has per token and others per dimension", r->place,
                        path);
    ar_pair_shape shape = {.site = path, .n_in = a->shape[0], .n_out = b->shape[1], .rank = (int)a->shape[1], .is_embedding = embedding};
    shape.alpha = r->config.scale * shape.rank;
    shape.dora = r->config.dora;
    shape.is_apart = site->experts > 0;
    shape.expert = site->expert;
    shape.experts = site->experts;
    ar_status s = ar__adapter_add_stored(&p, r->ad, &shape, err);
    if (s) return s;
    p->scale = r->config.scale; /* not α / r, which may differ in the last bit */
    p->stored[AR_FACTOR_A] = stored(a);
    p->stored[AR_FACTOR_B] = stored(b);
    p->stored[AR_FACTOR_A].is_transposed = p->stored[AR_FACTOR_B].is_transposed = !h->stacked;
    if (embedding) warn_of_tie(r, path);
    return p->magnitude ? read_magnitude(r, p, &site->part[PART_M], err) : AR_OK;
}

static ar_status check_stack(const struct reader *r, const struct site *site, ar_error *err) {
    const struct tensor *a = &site->part[PART_A], *b = &site->part[PART_B];
    bool fit = a->name && b->name && a->dims == 3 && b->dims == 3 && a->shape[0] == b->shape[0] && a->shape[1] == b->shape[2];
    for (int i = 0; fit && i < 3; i++) fit = a->shape[i] > 0 && b->shape[i] > 0;
    if (!fit || a->shape[1] > INT_MAX)
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': wanted lora_a [experts, r, in] and lora_b [experts, out, r]", r->place,
                        site->module);
    if (r->config.rank && a->shape[1] != r->config.rank)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s' has rank %lld, %s says %d: correct the configuration", r->place, site->module,
                        (long long)a->shape[1], AR_MLX_CONFIG, r->config.rank);
    if (r->config.dora)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: site '%s': DoRA of experts, which mlx-lm has not", r->place, site->module);
    return ar__mlx_instantiates(&r->config, site->module, r->layers, r->seen, err);
}

/* Expert `index` of a stack: its numbers lie together. */
static struct tensor slice(const struct tensor *t, int64_t index) {
    struct tensor out = *t;
    out.count = t->count / (size_t)t->shape[0];
    out.data = (const char *)t->data + (size_t)index * out.count * ar__dtype(t->type)->bytes;
    out.dims = 2;
    /* As the pairs of two dimensions have them: [in, r] and [r, out]. */
    out.shape[0] = t->shape[2];
    out.shape[1] = t->shape[1];
    return out;
}

/* One of a stack's, where the base has that and no matrix of its own: of `PATH.3.up_proj` half of the rows of PATH.gate_up_proj. */
static ar_status check_base_stack(const struct reader *r, const struct site *site, const char *path, ar_error *err) {
    const ar_base *base = r->c->base;
    const ar_name_map *names = ar__base_info(base)->names;
    const char *part = strrchr(path, '.') + 1, *number = part - 1;
    while (number > path && number[-1] != '.') number--;
    bool down = !strcmp(part, "down_proj"), turned = names && names->turned_stacks;
    ar_buf stack = {0};
    ar__buf_printf(&stack, "%.*s%s", (int)(number - path), path, down ? "down_proj" : "gate_up_proj");
    const ar_base_weight *w = stack.failed ? NULL : ar__base_find(base, stack.data);
    ar_status s = stack.failed ? ar__fail_memory(err, path) : AR_OK;
    ar__buf_release(&stack);
    if (s || !w || w->dims != 3) return s ? s : check_base(r, site, NULL, err);
    int64_t in = site->part[PART_A].shape[0], out = site->part[PART_B].shape[1] * (down ? 1 : 2);
    if (w->shape[turned ? 1 : 2] == in && w->shape[turned ? 2 : 1] == out) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s': the pairs are for [%lld, %lld], the base's '%s' has experts of [%lld, %lld]",
                    r->place, site->module, (long long)out, (long long)in, w->tensor, (long long)w->shape[1], (long long)w->shape[2]);
}

static ar_status read_expert(struct reader *r, const struct site *site, const char *stack, int64_t index, ar_error *err) {
    const ar_base *base = r->c->base;
    const ar_base_weight *w = NULL;
    struct half h = {slice(&site->part[PART_A], index), slice(&site->part[PART_B], index), true};
    struct site one = *site;
    ar_buf path = {0};
    const ar_name_map *names = base ? ar__base_info(base)->names : NULL;
    bool mixtral = strstr(stack, "block_sparse_moe") && !(names && names->stacked_files); /* granitemoe's have the usual names */
    ar__mlx_expert_site(&path, stack, index, mixtral);
    ar_status s = path.failed ? ar__fail_memory(err, r->place) : AR_OK;
    one.part[PART_A] = h.a;
    one.part[PART_B] = h.b;
    if (!s && base) w = ar__base_find(base, path.data);
    if (!s && base) s = w ? check_base(r, &one, w, err) : check_base_stack(r, &one, path.data, err);
    one.expert = (int)index;
    one.experts = base && !w ? (int)site->part[PART_A].shape[0] : 0;
    if (!s) s = add_pair(r, &one, &h, path.data, false, err);
    ar__buf_release(&path);
    return s;
}

static ar_status read_stack(struct reader *r, const struct site *site, ar_error *err) {
    const ar_base *base = r->c->base;
    ar_buf path = {0};
    ar_status s = check_stack(r, site, err);
    if (s) return s;
    ar__names_from_mlx(&path, base ? ar__base_info(base)->names : NULL, site->module);
    if (path.failed) s = ar__fail_memory(err, r->place);
    for (int64_t e = 0; !s && e < site->part[PART_A].shape[0]; e++) s = read_expert(r, site, path.data, e, err);
    ar__buf_release(&path);
    return s;
}

static ar_status read_site(struct reader *r, const struct site *site, ar_error *err) {
    const ar_base *base = r->c->base;
    ar_buf path = {0};
    if (site->part[PART_A].dims == 3 || site->part[PART_B].dims == 3) return read_stack(r, site, err);
    ar_status s = check_site(r, site, err);
    if (s) return s;
    ar__names_from_mlx(&path, base ? ar__base_info(base)->names : NULL, site->module);
    if (path.failed) s = ar__fail_memory(err, r->place);
    const ar_base_weight *w = !s && base ? ar__base_find(base, path.data) : NULL;
    if (!s && base) s = check_base(r, site, w, err);
    struct half h = {site->part[PART_A], site->part[PART_B], false};
    if (!s) s = add_pair(r, site, &h, path.data, is_embedding(path.data, w), err);
    ar__buf_release(&path);
    return s;
}

/* layers.2 before layers.10 */
static int by_module(const void *a, const void *b) {
    return strverscmp(((const struct site *)a)->module, ((const struct site *)b)->module);
}

static ar_status read_sites(struct reader *r, ar_error *err) {
    ar_status s = AR_OK;
    int n = r->st ? ar__st_count(r->st) : ar__npz_count(r->npz);
    for (int i = 0; !s && i < n; i++) {
        struct tensor t = tensor_at(r, i);
        s = sort_tensor(r, &t, err);
    }
    if (r->count) qsort(r->site, r->count, sizeof *r->site, by_module);
    for (size_t i = 0; !s && i < r->count; i++) s = read_site(r, &r->site[i], err);
    if (!s && !r->count) s = ar__fail(err, AR_ERR_FORMAT, "%s: holds no adapter tensors", r->place);
    return s;
}

static ar_status read_settings(struct reader *r, ar_error *err) {
    ar_adapter_settings *set = &r->ad->settings;
    set->rank = r->ad->pair[0].rank;
    set->alpha = r->config.scale * set->rank;
    set->dora = r->config.dora;
    set->dropout = r->config.dropout;
    set->base = r->config.model;
    r->config.model = NULL;
    ar_status s = r->config.rest ? ar__adapter_set_note(r->ad, AR_NOTE_MLX_CONFIG, r->config.rest, err) : AR_OK;
    if (s || !r->st) return s;
    ar_provenance rule = {.source = AR_MLX_CONFIG, .trust = r->c->options.trust};
    return ar__provenance_read(r->ad, r->st, r->place, &rule, err);
}

static void close_st(void *st) { ar__st_close(st); }
static void close_npz(void *z) { ar__npz_close(z); }

static ar_status open_weights(struct reader *r, ar_error *err) {
    char *path = ar__path_join(r->c->path, AR_MLX_WEIGHTS), *old = ar__path_join(r->c->path, AR_MLX_OLD_WEIGHTS);
    ar_status s = path && old ? AR_OK : ar__fail_memory(err, r->c->path);
    bool npz = !s && !ar__path_exists(path) && ar__path_exists(old);
    if (!s && !npz && !ar__path_exists(path)) s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: no " AR_MLX_WEIGHTS, r->c->path);
    r->place = r->ad->place = npz ? old : path;
    free(npz ? path : old);
    if (s) return s;
    s = npz ? ar__npz_open(&r->npz, r->place, err) : ar__st_open(&r->st, r->place, err);
    if (s) return s;
    return npz ? ar__adapter_keep(r->ad, r->npz, close_npz, err) : ar__adapter_keep(r->ad, r->st, close_st, err);
}

ar_status ar__mlx_read(ar_adapter **out, const ar_read_context *c, ar_error *err) {
    struct reader r = {.c = c, .layers = c->base ? ar__base_info(c->base)->layers : 0};
    *out = NULL;
    ar_status s = ar__adapter_new(&r.ad, err);
    if (s) return s;
    (void)((s = ar__mlx_config_read(&r.config, c->path, c, err)) || (s = open_weights(&r, err)) || (s = read_sites(&r, err)) ||
           (s = read_settings(&r, err)));
    for (size_t i = 0; i < r.count; i++) free(r.site[i].module);
    free(r.site);
    ar__map_release(&r.names);
    ar__mlx_config_release(&r.config);
    if (s)
        ar_adapter_free(r.ad);
    else
        *out = r.ad;
    return s;
}
