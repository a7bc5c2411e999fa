/* adapter_model.safetensors → pairs, whose factors stay in the file until they are loaded, and whole tensors in f32.
 * Halves must come together and shapes agree. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/fingerprint.h"
#include "adapter/peft.h"
#include "adapter/provenance.h"
#include "adapter/site_name.h"
#include "adapter/targets.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "format/safetensors.h"

/* The tensors of one site. */
struct site {
    char *path; /* as ar__site_name has it */
    char *raw;  /* as the first key has it, which patterns may mean */
    const ar_st_tensor *part[AR_PEFT_PART_COUNT];
};

struct reader {
    const char *place; /* path of the weights */
    const ar_read_context *c;
    ar_st_set *st;
    ar_adapter *ad;
    struct site *site;
    size_t count, cap;
    ar_map names;
    ar_pattern_set ranks, alphas;
    const char *odd, *named; /* keys that PEFT, or its releases before 0.21, would pass over; NULL: none */
    bool has_other_base;
};

static ar_status copy_values(float *out, const struct reader *r, const ar_st_tensor *t, ar_error *err) {
    ar__dtype(t->dtype)->to_f32(out, t->data, t->count);
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(out[i]))
            return ar__fail(err, AR_ERR_NUMERIC, "%s: tensor '%s' holds %s at element %zu, wanted finite numbers", r->place, t->name,
                            isnan(out[i]) ? "NaN" : "infinity", i);
    return AR_OK;
}

static ar_stored stored(const ar_st_tensor *t) {
    return (ar_stored){.name = t->name, .bytes = t->data, .type = t->dtype, .is_there = true};
}

/* Takes path and raw.  NULL when memory runs out. */
static struct site *find_site(struct reader *r, char *path, char *raw) {
    ar_buf key = {0}; /* what all spellings of one module share */
    ar__names_key(&key, NULL, path);
    size_t at = key.failed ? AR_MAP_NONE : ar__map_find(&r->names, key.data, key.len);
    struct site *list = at != AR_MAP_NONE ? r->site : ar__grow(r->site, &r->cap, r->count + 1, sizeof *list);
    if (list) r->site = list;
    bool fresh = at == AR_MAP_NONE, ok = list && !key.failed && (!fresh || ar__map_put(&r->names, key.data, key.len, r->count));
    ar__buf_release(&key);
    if (ok && fresh) {
        at = r->count++;
        list[at] = (struct site){.path = path, .raw = raw};
    } else {
        free(path);
        free(raw);
    }
    return ok ? &list[at] : NULL;
}

static bool is_same(const ar_st_tensor *a, const void *bytes, ar_dtype type, size_t count) {
    return a->dtype == type && a->count == count && !memcmp(a->data, bytes, a->bytes);
}

/* ZeRO-3 leaves each process a part, and a tensor that was not gathered is saved with no elements. */
static ar_status not_gathered(const struct reader *r, const ar_st_tensor *t, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT,
                    "%s: tensor '%s' is empty, as DeepSpeed ZeRO-3 leaves one whose parts were not gathered: the trained "
                    "numbers are not in this file; save with stage3_gather_16bit_weights_on_model_save, or run zero_to_fp32.py on the "
                    "checkpoint",
                    r->place, t->name);
}

/* PEFT may save a tensor twice, under PATH.weight and under PATH.modules_to_save.weight. */
static ar_status read_whole(struct reader *r, const ar_st_tensor *t, const char *name, ar_error *err) {
    ar_whole *w = ar__adapter_find_whole(r->ad, name);
    if (w && is_same(t, w->stored.bytes, w->stored.type, w->count)) return AR_OK;
    if (w)
        return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' and '%s' are the same tensor of the base, and their values differ", r->place,
                        w->stored.name, t->name);
    if (!t->count) return not_gathered(r, t, err);
    ar_status s = ar__adapter_add_whole_stored(&w, r->ad, name, t->dims, t->shape, err);
    if (!s) w->stored = stored(t);
    return s;
}

/* Takes path and raw. */
static ar_status read_pair_part(struct reader *r, const ar_st_tensor *t, ar_peft_part part, char *path, char *raw, ar_error *err) {
    struct site *site = find_site(r, path, raw);
    if (!site) return ar__fail_memory(err, r->place);
    const ar_st_tensor *before = site->part[part];
    if (before && !is_same(t, before->data, before->dtype, before->count))
        return ar__fail(err, AR_ERR_FORMAT,
                        "%s: '%s' and '%s' are the same part of one site, and their values differ: the file holds several adapters",
                        r->place, before->name, t->name);
    if (!before) site->part[part] = t;
    return AR_OK;
}

/* The one name of the module that a key's path means; a whole tensor keeps its ending. */
static char *name_of(const struct reader *r, const char *path, bool whole) {
    const char *dot = whole ? strrchr(path, '.') : NULL;
    char *module = dot ? ar__strndup(path, (size_t)(dot - path)) : ar__strdup(path);
    ar_buf name = {0};
    if (module) ar__site_name(&name, r->c->base, module);
    if (dot) ar__buf_puts(&name, dot);
    if (!module || name.failed) ar__buf_release(&name);
    free(module);
    return name.data;
}

/* A copy of the base's weight says which base the adapter was trained on. */
static ar_status compare_copy(struct reader *r, const char *name, const char *path, ar_error *err) {
    const ar_st_tensor *t;
    bool same = true;
    char *module = r->c->base ? name_of(r, path, true) : NULL, *dot = module ? strrchr(module, '.') : NULL;
    ar_status s = dot && !strcmp(dot, ".weight") ? ar__st_need(&t, r->st, name, err) : AR_OK;
    if (!s && dot && !strcmp(dot, ".weight")) {
        *dot = '\0';
        s = ar__base_compare_copy(&same, r->c->base, module, t, err);
    }
    r->has_other_base |= !same;
    free(module);
    return s;
}

static ar_status sort_tensor(struct reader *r, const char *name, ar_error *err) {
    char *raw;
    ar_peft_spelling spelling;
    const ar_st_tensor *t;
    ar_peft_part part = ar__peft_key_parse(&raw, &spelling, name);
    if (part == AR_PEFT_TOKENS)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s': trained tokens replace rows of the embedding, which Alphar cannot do",
                        r->place, name);
    if (part == AR_PEFT_UNKNOWN)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' is no part of a PEFT LoRA adapter (keys begin with base_model.model.)",
                        r->place, name);
    bool whole = part == AR_PEFT_WHOLE;
    char *path = raw ? name_of(r, raw, whole || part == AR_PEFT_COPY) : NULL;
    ar_status s = path ? ar__st_need(&t, r->st, name, err) : ar__fail_memory(err, r->place);
    if (!s && !r->odd && (spelling == AR_PEFT_ODD || strcmp(path, raw) != 0)) r->odd = name;
    if (!s && !r->named && spelling == AR_PEFT_NAMED) r->named = name;
    if (!s && part < AR_PEFT_PART_COUNT) return read_pair_part(r, t, part, path, raw, err);
    if (!s) s = whole ? read_whole(r, t, path, err) : compare_copy(r, name, raw, err);
    free(path);
    free(raw);
    return s;
}

static ar_status halves(bool *embedding, const struct reader *r, const struct site *site, ar_error *err) {
    const ar_st_tensor *const *p = site->part;
    static const char *const names[] = {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"};
    bool linear = p[AR_PEFT_A] || p[AR_PEFT_B];
    *embedding = p[AR_PEFT_EMBEDDING_A] || p[AR_PEFT_EMBEDDING_B];
    if (linear && *embedding)
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s' is both a linear layer and an embedding", r->place, site->path);
    int a = *embedding ? AR_PEFT_EMBEDDING_A : AR_PEFT_A, b = a + 1;
    if (!p[a] || !p[b])
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s' has no %s; a pair needs both halves", r->place, site->path, names[p[a] ? b : a]);
    return AR_OK;
}

/* The columns of A as a matrix: a convolution's are channels times kernel. */
static int64_t columns(const ar_st_tensor *a) { return a->shape[0] < 1 ? 0 : (int64_t)a->count / a->shape[0]; }

/* The number of elements of a vector that may carry dimensions of 1 (PEFT's magnitudes did). */
static bool is_vector(const ar_st_tensor *t, int64_t n) {
    for (int i = 0; i < t->dims; i++)
        if (t->shape[i] != 1 && t->shape[i] != n) return false;
    return t->count == (size_t)n;
}

static ar_status check_shapes(const struct reader *r, const struct site *site, const ar_st_tensor *a, const ar_st_tensor *b,
                              ar_error *err) {
    if (!a->count || !b->count) return not_gathered(r, a->count ? b : a, err);
    bool conv = a->dims == 4 && b->dims == 4 && b->shape[2] == 1 && b->shape[3] == 1;
    if ((a->dims != 2 || b->dims != 2) && !conv)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' has factors of %d and %d dimensions, wanted 2, or [r, in, h, w] and [out, r, 1, 1] of a convolution",
                        r->place, site->path, a->dims, b->dims);
    if (a->shape[0] != b->shape[1])
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': A is [%lld, %lld] and B [%lld, %lld], wanted A's rows to be B's columns",
                        r->place, site->path, (long long)a->shape[0], (long long)a->shape[1], (long long)b->shape[0],
                        (long long)b->shape[1]);
    if (a->shape[0] > INT_MAX) return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': impossible shape", r->place, site->path);
    for (int part = AR_PEFT_MAGNITUDE; part <= AR_PEFT_B_BIAS; part++)
        if (site->part[part] && !is_vector(site->part[part], b->shape[0]))
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %zu elements, wanted %lld", r->place, site->part[part]->name,
                            site->part[part]->count, (long long)b->shape[0]);
    return AR_OK;
}

/* A vector that the configuration announces must be there, one that it does not would be ignored by PEFT. */
static ar_status check_announced(const struct reader *r, const struct site *site, int part, bool on, const char *field, ar_error *err) {
    const ar_st_tensor *t = site->part[part];
    if (on && !t)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: '%s' is on, but site '%s' has no such tensor in %s", AR_PEFT_CONFIG, field, site->path,
                        r->place);
    if (!on && t)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is there, but '%s' is off in %s", r->place, t->name, field, AR_PEFT_CONFIG);
    return AR_OK;
}

/* A pattern means the path, or the key's own spelling of it. */
static ar_status find_pattern(double *out, const struct reader *r, const ar_pattern_set *set, const struct site *site, ar_error *err) {
    ar_status s = ar__pattern_set_find(out, set, site->raw, err);
    if (!s && ar__peft_targets_parameter(&r->ad->settings, site->path, strlen(site->path), "weight")) {
        ar_buf full = {0};
        ar__buf_printf(&full, "%s.weight", site->path);
        s = full.failed ? ar__fail_memory(err, site->path) : ar__pattern_set_find(out, set, full.data, err);
        ar__buf_release(&full);
    }
    return s ? s : ar__pattern_set_find(out, set, site->path, err);
}

static ar_status check_rank(const struct reader *r, const struct site *site, int rank, ar_error *err) {
    double wanted = r->ad->settings.rank;
    ar_status s = find_pattern(&wanted, r, &r->ranks, site, err);
    if (s || wanted == 0 || wanted == rank) return s;
    return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s' has rank %d, %s says %g ('r' or 'rank_pattern'): correct the configuration",
                    r->place, site->path, rank, AR_PEFT_CONFIG, wanted);
}

static ar_status check_site(const struct reader *r, const struct site *site, const ar_st_tensor *a, const ar_st_tensor *b, ar_error *err) {
    const ar_adapter_settings *set = &r->ad->settings;
    ar_status s;
    if ((s = check_shapes(r, site, a, b, err)) || (s = check_announced(r, site, AR_PEFT_MAGNITUDE, set->dora, "use_dora", err)) ||
        (s = check_announced(r, site, AR_PEFT_B_BIAS, set->lora_bias, "lora_bias", err)))
        return s;
    return check_rank(r, site, (int)a->shape[0], err);
}

/* The other level of the same experts: with `.base_layer` behind the path, or without. */
static const struct site *other_level(const struct reader *r, const struct site *site) {
    static const char inner[] = ".base_layer";
    size_t n = strlen(site->path), k = sizeof inner - 1;
    bool is_inner = n > k && !strcmp(site->path + n - k, inner);
    for (size_t i = 0; i < r->count; i++) {
        const char *path = r->site[i].path;
        size_t m = strlen(path);
        const char *longer = is_inner ? site->path : path, *shorter = is_inner ? path : site->path;
        size_t length = is_inner ? m : n;
        if ((is_inner ? m + k == n : n + k == m) && !strncmp(longer, shorter, length) && !strcmp(longer + length, inner))
            return &r->site[i];
    }
    return NULL;
}

static ar_status read_stack(struct reader *r, const struct site *site, ar_error *err) {
    const struct site *other = other_level(r, site);
    bool embedding;
    ar_status s = other ? halves(&embedding, r, other, err) : AR_OK;
    const ar_st_tensor *a = site->part[AR_PEFT_A], *b = site->part[AR_PEFT_B];
    if (!s) s = check_shapes(r, site, a, b, err);
    if (!s && (a->dims != 2 || (other && (embedding || other->part[AR_PEFT_A]->dims != 2 || other->part[AR_PEFT_B]->dims != 2))))
        s = ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': stacked experts with factors that are no matrices", r->place, site->path);
    if (s) return s;
    ar_peft_stack x = {.place = r->place, .path = site->path, .a = a, .b = b, .ranks = &r->ranks, .alphas = &r->alphas};
    x.other_a = other ? other->part[AR_PEFT_A] : NULL;
    x.other_b = other ? other->part[AR_PEFT_B] : NULL;
    return ar__peft_read_stack(r->ad, r->c, &x, err);
}

static ar_status read_pair(struct reader *r, const struct site *site, ar_error *err) {
    const ar_adapter_settings *set = &r->ad->settings;
    bool embedding;
    double alpha = set->alpha;
    ar_pair *pair;
    ar_status s = halves(&embedding, r, site, err);
    if (s) return s;
    if (!embedding && ar__peft_is_stack(set, site->path)) return read_stack(r, site, err);
    const ar_st_tensor *a = site->part[embedding ? AR_PEFT_EMBEDDING_A : AR_PEFT_A],
                       *b = site->part[embedding ? AR_PEFT_EMBEDDING_B : AR_PEFT_B];
    if ((s = check_site(r, site, a, b, err)) || (s = find_pattern(&alpha, r, &r->alphas, site, err))) return s;
    ar_pair_shape shape = {.site = site->path, .n_in = columns(a), .n_out = b->shape[0], .rank = (int)a->shape[0], .alpha = alpha};
    if (a->dims == 4) memcpy(shape.kernel, &a->shape[2], sizeof shape.kernel);
    shape.policy = set->policy;
    shape.is_embedding = embedding;
    shape.dora = set->dora;
    shape.b_bias = set->lora_bias;
    if ((s = ar__adapter_add_stored(&pair, r->ad, &shape, err))) return s;
    pair->stored[AR_FACTOR_A] = stored(a);
    pair->stored[AR_FACTOR_B] = stored(b);
    if (pair->magnitude && (s = copy_values(pair->magnitude, r, site->part[AR_PEFT_MAGNITUDE], err))) return s;
    return pair->b_bias ? copy_values(pair->b_bias, r, site->part[AR_PEFT_B_BIAS], err) : AR_OK;
}

/* layers.2 before layers.10 */
static int by_path(const void *a, const void *b) { return strverscmp(((const struct site *)a)->path, ((const struct site *)b)->path); }

static ar_status read_tensors(struct reader *r, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__st_count(r->st); i++) s = sort_tensor(r, ar__st_at(r->st, i)->name, err);
    if (r->count) qsort(r->site, r->count, sizeof *r->site, by_path);
    for (size_t i = 0; !s && i < r->count; i++) s = read_pair(r, &r->site[i], err);
    if (!s && !r->count && !r->ad->whole_count) s = ar__fail(err, AR_ERR_FORMAT, "%s: holds no adapter tensors", r->place);
    return s;
}

/* Gives the pairs the paths of their keys, or takes these away again: pairs stand in the order of the sites. */
static void swap_names(const struct reader *r) {
    size_t k = 0;
    for (size_t i = 0; i < r->ad->pair_count; i++) {
        ar_pair *p = &r->ad->pair[i];
        if (p->experts) continue;
        while (k < r->count && !r->site[k].part[AR_PEFT_EMBEDDING_A] && ar__peft_is_stack(&r->ad->settings, r->site[k].path)) k++;
        if (k == r->count) return;
        char *name = p->site;
        p->site = r->site[k].raw;
        r->site[k].raw = name;
        k++;
    }
}

/* Names and patterns may mean the paths that the keys have. */
static ar_status find_unselected(size_t *out, const struct reader *r, ar_error *err) {
    size_t by_key = SIZE_MAX;
    ar_status s = ar__adapter_unselected(out, r->ad, err);
    if (s || *out == SIZE_MAX || !r->odd) return s;
    swap_names(r);
    s = ar__adapter_unselected(&by_key, r->ad, NULL);
    swap_names(r);
    if (!s && by_key == SIZE_MAX) *out = SIZE_MAX;
    return AR_OK;
}

static ar_status check_targets(const struct reader *r, ar_error *err) {
    const ar_names *targets = &r->ad->settings.targets;
    size_t i;
    bool given = targets->regex || targets->list.count || targets->is_empty;
    ar_status s = ar__peft_default_targets(r->ad, r->c, err);
    if (!s) s = find_unselected(&i, r, err);
    if (s) return ar__fail_at(err, s, AR_PEFT_CONFIG);
    if (i == SIZE_MAX) return AR_OK;
    if (!given)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "%s: site '%s' has a pair, but target_modules of " AR_PEFT_CONFIG
                        " is null, for which PEFT takes the default of the base's family (%s) and passes over all other pairs: write the "
                        "names that were trained into target_modules",
                        r->place, r->ad->pair[i].site, ar__base_info(r->c->base)->model_type);
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: site '%s' has a pair, but target_modules of " AR_PEFT_CONFIG
                    " (with exclude_modules and layers_to_transform) do not "
                    "select it, so that PEFT would ignore it: correct the configuration",
                    r->place, r->ad->pair[i].site);
}

static void say_what_is_odd(const struct reader *r) {
    if (r->odd)
        ar__log_warn(&r->c->log,
                     "%s: '%s' does not name its module as %s does: PEFT finds modules by exact name and would load nothing from such "
                     "keys; it is read here as what is meant, and alphar convert IN OUT --to peft mends it",
                     r->place, r->odd, r->c->base ? "the base" : "PEFT");
    else if (r->named)
        ar__log_warn(
            &r->c->log,
            "%s: '%s' has the adapter's name in it: PEFT before 0.21 would load nothing from such keys; alphar convert IN OUT --to "
            "peft mends it",
            r->place, r->named);
    if (r->has_other_base) ar__base_warn_copies(r->place, r->c->base, &r->c->log);
}

static ar_status read_all(struct reader *r, ar_error *err) {
    const ar_provenance rule = {.source = AR_PEFT_CONFIG, .trust = r->c->options.trust};
    ar_status s;
    (void)((s = ar__pattern_set_init(&r->ranks, &r->ad->settings.rank_pattern, err)) ||
           (s = ar__pattern_set_init(&r->alphas, &r->ad->settings.alpha_pattern, err)) || (s = read_tensors(r, err)) ||
           (s = check_targets(r, err)) || (s = ar__peft_check_whole(r->ad, r->c, err)) ||
           (s = ar__provenance_read(r->ad, r->st, r->place, &rule, err)));
    if (!s) say_what_is_odd(r);
    ar__pattern_set_release(&r->ranks);
    ar__pattern_set_release(&r->alphas);
    for (size_t i = 0; i < r->count; i++) {
        free(r->site[i].path);
        free(r->site[i].raw);
    }
    free(r->site);
    ar__map_release(&r->names);
    return s;
}

/* Full paths among the names may carry wrappers as the keys do. */
static ar_status unwrap_names(ar_strings *list, ar_error *err) {
    for (size_t i = 0; i < list->count; i++) {
        ar_buf plain = {0};
        const char *wrapper;
        ar__site_unwrapped(&plain, list->at[i], &wrapper);
        if (plain.failed) return ar__fail_memory(err, AR_PEFT_CONFIG);
        if (wrapper && plain.len) {
            free(list->at[i]);
            list->at[i] = plain.data;
        } else {
            ar__buf_release(&plain);
        }
    }
    return AR_OK;
}

static ar_status find_weights(char **out, const char *dir, ar_error *err) {
    *out = ar__path_join(dir, AR_PEFT_WEIGHTS);
    char *pickle = ar__path_join(dir, "adapter_model.bin");
    ar_status s = AR_OK;
    if (!*out || !pickle)
        s = ar__fail_memory(err, dir);
    else if (ar__path_exists(*out))
        s = AR_OK;
    else if (ar__path_exists(pickle))
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "%s: a Python pickle, which can run code when read; wanted " AR_PEFT_WEIGHTS
                     ": convert it where you trust it, with torch.load(..., weights_only=True) and safetensors.torch.save_file",
                     pickle);
    else
        s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: no " AR_PEFT_WEIGHTS, dir);
    free(pickle);
    return s;
}

static void close_files(void *st) { ar__st_close(st); }

ar_status ar__peft_read(ar_adapter **out, const ar_read_context *c, ar_error *err) {
    struct reader r = {.c = c};
    char *config = ar__path_join(c->path, AR_PEFT_CONFIG);
    ar_status s;
    *out = NULL;
    if (!config) return ar__fail_memory(err, c->path);
    if (!(s = ar__adapter_new(&r.ad, err)) && !(s = ar__peft_config_read(&r.ad->settings, config, &c->options, err)) &&
        !(s = unwrap_names(&r.ad->settings.targets.list, err)) && !(s = unwrap_names(&r.ad->settings.exclude.list, err)) &&
        !(s = unwrap_names(&r.ad->settings.save, err)) && !(s = find_weights(&r.ad->place, c->path, err)) &&
        !(s = ar__st_open(&r.st, r.ad->place, err)) && !(s = ar__adapter_keep(r.ad, r.st, close_files, err))) {
        r.place = r.ad->place;
        s = read_all(&r, err);
    }
    free(config);
    if (s)
        ar_adapter_free(r.ad);
    else
        *out = r.ad;
    return s;
}
