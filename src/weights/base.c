/* The list of a base's weights: every `X.weight` under X's canonical path with `X.bias` beside it, everything else under
 * its whole name. */
#include "weights/base.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/folder.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/impl.h"

/* The length of `X` in `X.SUFFIX`; 0 if the name ends otherwise. */
static size_t stem_length(const char *name, const char *suffix) {
    size_t n = strlen(name), k = strlen(suffix);
    return n > k && !strcmp(name + n - k, suffix) ? n - k : 0;
}

static const char *last_part(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static bool is_one_of(const char *s, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(s, *list)) return true;
    return false;
}

static const char *const heads[] = {"lm_head", "embed_out", "output", NULL};
static const char *const embeddings[] = {"embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "token_embd", NULL};

/* For families without a table. */
static ar_module_kind guess_kind(const char *site, int dims) {
    const char *name = last_part(site);
    if (is_one_of(name, heads)) return AR_MODULE_HEAD;
    if (is_one_of(name, embeddings)) return AR_MODULE_EMBEDDING;
    return dims < 2 ? AR_MODULE_NORM : AR_MODULE_LINEAR;
}

static bool is_head(const ar_base *base, const char *site) {
    const ar_name_row *row = base->info.names ? ar__names_row(base->info.names, site) : NULL;
    return row ? row->kind == AR_MODULE_HEAD : is_one_of(last_part(site), heads);
}

/* What the table says about a weight whose module is `path`; the site's name goes to out. */
static void name_weight(ar_buf *out, ar_base_weight *w, const ar_base *base, const char *path) {
    const ar_name_map *names = base->info.names;
    ar_name name;
    bool known = names && (base->gguf ? ar__names_find_gguf(&name, names, path) : ar__names_find(&name, names, path));
    if (!known) {
        ar__buf_puts(out, path);
        w->kind = guess_kind(path, w->dims);
        return;
    }
    ar__names_print(out, names, &name);
    w->kind = name.row->kind;
    w->is_conv1d = !base->gguf && name.row->is_conv1d && w->dims == 2;
    w->order = base->gguf ? name.row->order : AR_ROWS_SAME;
    w->is_plus_one = base->gguf && ar__names_add_one(names, name.row);
    w->is_rate = base->gguf && name.row->slot == AR_SLOT_DELTA_RATE;
}

static void set_shape(ar_base_weight *w) {
    int64_t rest = 1;
    for (int i = 1; i < w->dims; i++)
        if (__builtin_mul_overflow(rest, w->shape[i], &rest)) rest = 0; /* the file has no such bytes: some size is 0 */
    w->n_out = w->dims ? w->shape[0] : 1;
    w->n_in = rest;
    if (!w->is_conv1d) return;
    w->n_out = w->shape[1];
    w->n_in = w->shape[0];
}

/* Adds a tensor described but for its site; `length` bytes of its name are the module's path. */
static ar_status add_weight(ar_base *base, ar_base_weight w, size_t length, ar_error *err) {
    ar_buf site = {0};
    char *path = ar__strndup(w.tensor, length);
    ar_base_weight *list = ar__grow(base->weight, &base->cap, base->count + 1, sizeof *list);
    if (list) base->weight = list;
    char **sites = ar__grow(base->site, &base->site_cap, base->count + 1, sizeof *sites);
    if (sites) base->site = sites;
    bool whole = length == strlen(w.tensor), named = !whole || base->gguf; /* GGUF's table has whole names too: ffn_gate_inp.scale */
    if (path && !named) ar__buf_puts(&site, path);
    if (path && named) name_weight(&site, &w, base, path);
    free(path);
    if (!list || !sites || !site.data || site.failed) {
        ar__buf_release(&site);
        return ar__fail_memory(err, base->path);
    }
    if (!named) w.kind = guess_kind(site.data, w.dims);
    set_shape(&w);
    w.site = sites[base->count] = site.data;
    list[base->count++] = w;
    return AR_OK;
}

/* How many bytes of a tensor's name name its module: all of them unless it is a weight.  0: the bias of a weight that is
 * there, which comes along with it. */
static size_t module_length(const char *name, bool has_weight) {
    size_t bias = stem_length(name, ".bias"), weight = stem_length(name, ".weight");
    return bias && has_weight ? 0 : weight ? weight : strlen(name);
}

/* `X.weight` of `X.bias`, or the other way round, into b; NULL where the name has no such ending. */
static const char *sibling(ar_buf *b, const char *name, const char *from, const char *to) {
    size_t n = stem_length(name, from);
    ar__buf_clear(b);
    if (!n) return NULL;
    ar__buf_add(b, name, n);
    ar__buf_puts(b, to);
    return b->failed ? NULL : b->data;
}

/* Parts that do not fit are no reason to refuse the base: names are enough for much.  They are listed as they stand. */
static ar_status find_packed(ar_packed_role *role, ar_packed *p, size_t *stem, ar_base *base, const ar_tensor *t, ar_error *err) {
    ar_error mine = {0};
    ar_status s = ar__packed_find(role, p, stem, base->files, t, base->packing, base->dtype, base->path, &mine);
    if (!s) return AR_OK;
    *role = AR_PACKED_NOT;
    if (!base->unreadable && !(base->info.unreadable = base->unreadable = ar__strdup(mine.message)))
        return ar__fail_memory(err, base->path);
    return AR_OK;
}

/* The weight that a tensor and its parts make; *role says whether it is one. */
static ar_status add_packed(ar_packed_role *role, ar_base *base, const ar_tensor *t, ar_error *err) {
    ar_packed p;
    size_t stem = 0;
    ar_status s = find_packed(role, &p, &stem, base, t, err);
    if (s || *role != AR_PACKED_MAIN) return s;
    struct ar_packed_slot *list = ar__grow(base->packed, &base->packed_cap, base->packed_count + 1, sizeof *list);
    ar_packed *own = ar__alloc(1, sizeof *own);
    if (list) base->packed = list;
    if (!list || !own) {
        free(own);
        return ar__fail_memory(err, base->path);
    }
    *own = p;
    list[base->packed_count++].of = own;
    ar_base_weight w = {.tensor = t->name,
                        .type = p.type,
                        .type_name = t->dtype_name,
                        .dims = 2,
                        .shape = {p.n_out, p.n_in},
                        .packed = own,
                        .data = t->data,
                        .bytes = t->bytes,
                        .file = t->file};
    ar_buf name = {0};
    ar__buf_printf(&name, "%.*s.bias", (int)stem, t->name);
    const ar_tensor *bias = name.failed ? NULL : ar__tensors_find(base->files, name.data);
    ar__buf_release(&name);
    if (bias) {
        w.bias_tensor = bias->name;
        w.bias = bias->data;
        w.bias_type = bias->dtype;
        w.bias_count = bias->count;
    }
    return add_weight(base, w, stem, err);
}

/* Is there a main tensor of a packed weight beside `X.bias`? */
static bool is_bias_of_packed(const ar_base *base, const char *name, ar_buf *b) {
    static const char *const mains[] = {".qweight", ".weight_packed"};
    for (size_t i = 0; i < 2; i++) {
        const char *other = sibling(b, name, ".bias", mains[i]);
        if (other && ar__tensors_find(base->files, other)) return true;
    }
    return false;
}

/* Beside `X.weight` of a GGUF file: X.scale, by which llama.cpp multiplies what W x comes to, and X.input_scale, of x in arithmetic of 4
 * bits, which is for some GPUs.  A family may have a weight of such a name (ffn_gate_inp.scale). */
static bool is_scale(const ar_base *base, const char *name, ar_buf *b) {
    static const char *const ends[] = {".scale", ".input_scale"};
    ar_name own;
    if (base->info.names && ar__names_find_gguf(&own, base->info.names, name)) return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *weight = sibling(b, name, ends[i], ".weight");
        if (weight && ar__tensors_find(base->files, weight)) return true;
    }
    return false;
}

static ar_status find_scale(ar_base_weight *w, const ar_base *base, const ar_tensor *t, ar_buf *b, ar_error *err) {
    const char *name = sibling(b, t->name, ".weight", ".scale");
    const ar_tensor *scale = name ? ar__tensors_find(base->files, name) : NULL;
    if (!scale || !is_scale(base, scale->name, b)) return AR_OK;
    size_t matrices = t->dims == 3 ? (size_t)t->shape[0] : 1;
    if (scale->dtype != AR_F32 || (scale->count != 1 && scale->count != matrices))
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' holds %zu values of %s, wanted one of F32%s: it is the scale of '%s'",
                        base->path, scale->name, scale->count, scale->dtype_name, t->dims == 3 ? ", or one of each expert" : "", t->name);
    w->scale = scale->data;
    w->scale_count = scale->count;
    for (size_t i = 0; i < scale->count; i++) {
        float by = ar__base_scale(w, (int64_t)i);
        if (!isfinite(by) || by == 0.0F)
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s', the scale of '%s', holds %g: the file is damaged", base->path,
                            scale->name, t->name, (double)by);
    }
    return AR_OK;
}

float ar__base_scale(const ar_base_weight *w, int64_t matrix) {
    float by = 1.0F;
    if (w->scale) memcpy(&by, (const char *)w->scale + (w->scale_count > 1 ? (size_t)matrix : 0) * sizeof by, sizeof by);
    return by;
}

static ar_status add_tensor(ar_base *base, const ar_tensor *t, ar_buf *b, ar_error *err) {
    ar_packed_role role = AR_PACKED_NOT;
    ar_status s = base->gguf ? AR_OK : add_packed(&role, base, t, err);
    bool part = role == AR_PACKED_PART && base->has_packed;
    if (s || role == AR_PACKED_MAIN || part || (!base->gguf && is_bias_of_packed(base, t->name, b))) return s;
    if (base->gguf && is_scale(base, t->name, b)) return AR_OK;
    const char *other = sibling(b, t->name, ".bias", ".weight");
    size_t length = module_length(t->name, other && ar__tensors_find(base->files, other));
    if (!length) return AR_OK;
    ar_base_weight w = {.tensor = t->name,
                        .type = t->dtype,
                        .type_name = t->dtype_name,
                        .dims = t->dims,
                        .data = t->data,
                        .bytes = t->bytes,
                        .file = t->file};
    memcpy(w.shape, t->shape, sizeof w.shape);
    if (base->gguf && (s = find_scale(&w, base, t, b, err))) return s;
    other = sibling(b, t->name, ".weight", ".bias");
    const ar_tensor *bias = other ? ar__tensors_find(base->files, other) : NULL;
    if (bias) {
        w.bias_tensor = bias->name;
        w.bias = bias->data;
        w.bias_type = bias->dtype;
        w.bias_count = bias->count;
    }
    return add_weight(base, w, length, err);
}

static ar_status look_for_packed(ar_base *base, ar_error *err) {
    ar_packed_role role;
    ar_packed p;
    size_t stem;
    ar_status s = AR_OK;
    for (int i = 0; !s && !base->gguf && !base->has_packed && i < ar__tensors_count(base->files); i++) {
        s = find_packed(&role, &p, &stem, base, ar__tensors_at(base->files, i), err);
        base->has_packed = role == AR_PACKED_MAIN;
    }
    return s;
}

static ar_status list_weights(ar_base *base, ar_error *err) {
    ar_buf b = {0};
    ar_status s = look_for_packed(base, err);
    for (int i = 0; !s && i < ar__tensors_count(base->files); i++) s = add_tensor(base, ar__tensors_at(base->files, i), &b, err);
    for (size_t i = 0; !s && i < base->count; i++) {
        ar__buf_clear(&b);
        ar__names_key(&b, base->info.names, base->weight[i].site);
        if (b.failed || !ar__map_put(&base->keys, b.data, b.len, i)) s = ar__fail_memory(err, base->path);
    }
    if (!s && b.failed) s = ar__fail_memory(err, base->path);
    ar__buf_release(&b);
    return s;
}

static const ar_base_weight *find_listed(const ar_base *base, const char *site) {
    ar_buf key = {0};
    ar__names_key(&key, base->info.names, site);
    size_t i = key.failed || !key.data ? AR_MAP_NONE : ar__map_find(&base->keys, key.data, key.len);
    ar__buf_release(&key);
    return i == AR_MAP_NONE ? NULL : &base->weight[i];
}

static bool same_numbers(const ar_base_weight *a, const ar_base_weight *b) {
    size_t count;
    if (a->n_out != b->n_out || a->n_in != b->n_in || !ar__mul(&count, (size_t)a->n_out, (size_t)a->n_in)) return false;
    return ar__dtype_equal(a->type, a->data, b->type, b->data, count);
}

/* Tied: the configuration says so and the file does not bring another head, or it is silent and the file has none. */
static void tie_head(ar_base *base) {
    const ar_base_weight *head = NULL, *embedding = NULL;
    for (size_t i = 0; i < base->count; i++) {
        const ar_base_weight *w = &base->weight[i];
        if (!head && w->kind == AR_MODULE_HEAD) head = w;
        if (!embedding && w->kind == AR_MODULE_EMBEDDING && is_one_of(last_part(w->site), embeddings)) embedding = w;
    }
    base->info.has_own_head = embedding && head && base->says_tied == 1 && !same_numbers(embedding, head);
    base->info.is_tied = embedding && !base->info.has_own_head && (base->says_tied == 1 || !head);
    base->embedding = embedding;
    base->head = head;
    if (!base->info.is_tied) return;
    base->head = &base->tied;
    base->tied = *embedding;
    base->tied.kind = AR_MODULE_HEAD;
    base->tied.is_tied = true;
    base->tied.site = "lm_head";
}

void ar__base_warn_head(const ar_base *base, const ar_log *log) {
    const ar_base_weight *own = base->info.has_own_head ? ar__base_own_head(base) : NULL;
    if (own) ar__log_warn(log, AR_OWN_HEAD, base->path, own->tensor);
}

const ar_base_weight *ar__base_own_head(const ar_base *base) {
    for (size_t i = 0; i < base->count; i++)
        if (base->weight[i].kind == AR_MODULE_HEAD && base->weight[i].dims == 2) return &base->weight[i];
    return NULL;
}

const ar_base_weight *ar__base_find_exact(const ar_base *base, const char *site) {
    return base->info.is_tied && is_head(base, site) ? &base->tied : find_listed(base, site);
}

const ar_base_weight *ar__base_find(const ar_base *base, const char *site) {
    const ar_base_weight *w = ar__base_find_exact(base, site);
    return w || base->gguf ? w : ar__base_find_renamed(base, site);
}

static ar_status open_files(ar_base *base, ar_error *err) {
    ar_status s;
    bool folder = ar__path_is_dir(base->path);
    if (ar__gguf_is_name(base->path)) {
        s = ar__tensors_open(&base->files, base->path, err);
        base->info.is_gguf = true;
        base->gguf = s ? NULL : ar__tensors_gguf(base->files);
        return s ? s : ar__base_gguf_read(base, err);
    }
    base->says_tied = -1;
    bool adapter = folder && ar__dir_holds(base->path, "adapter_config.json") && !ar__dir_holds(base->path, "config.json");
    if ((adapter || !ar__path_exists(base->path) || ar__dir_holds(base->path, "snapshots") || ar__dir_is_empty(base->path)) &&
        (s = ar__folder_check(base->path, err)))
        return s;
    if (folder && (s = ar__base_config_read(base, base->path, err))) return s;
    return ar__tensors_open(&base->files, base->path, err);
}

ar_status ar__base_open(ar_base **out, const char *path, ar_error *err) {
    ar_base *base = ar__alloc(1, sizeof *base);
    *out = NULL;
    if (!base) return ar__fail_memory(err, path);
    base->info.path = base->path = ar__strdup(path);
    ar_status s = base->path ? open_files(base, err) : ar__fail_memory(err, path);
    if (!s) s = list_weights(base, err);
    if (!s) s = ar__base_quantised_guess(base, err);
    if (s) {
        ar__base_close(base);
        return s;
    }
    tie_head(base);
    *out = base;
    return AR_OK;
}

void ar__base_close(ar_base *base) {
    if (!base) return;
    for (size_t i = 0; i < base->count; i++) free(base->site[i]);
    free(base->site);
    free(base->weight);
    ar__map_release(&base->keys);
    ar__tensors_close(base->files);
    free(base->path);
    free(base->model_type);
    free(base->quantised);
    free(base->own_name);
    free(base->unreadable);
    for (size_t i = 0; i < base->packed_count; i++) free(base->packed[i].of);
    free(base->packed);
    free(base->dtype);
    json_decref(base->packing);
    free(base);
}

bool ar__base_is_buffer(const char *tensor) {
    static const char *const ends[] = {".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
                                       "rotary_emb.inv_freq"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (stem_length(tensor, ends[i])) return true;
    return false;
}

const ar_base_info *ar__base_info(const ar_base *base) { return &base->info; }
const ar_tensors *ar__base_files(const ar_base *base) { return base->files; }
const ar_base_weight *ar__base_embedding(const ar_base *base) { return base->embedding; }
const ar_base_weight *ar__base_head(const ar_base *base) { return base->head; }
int ar__base_count(const ar_base *base) { return (int)base->count; }
const ar_base_weight *ar__base_at(const ar_base *base, int i) { return &base->weight[i]; }
