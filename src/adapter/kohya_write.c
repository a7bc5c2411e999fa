/* Pairs → a kohya file.
 *
 * Its readers' rule is s = alpha / r, so alpha' = s · r, in f32; rsLoRA disappears in it, as in LyCORIS's files.  Modules
 * that came from a diffusers file keep their names, and its loaders read no alpha there: s goes into B. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

struct kohya_writer {
    const ar_write_context *c;
    const ar_adapter *ad;
    ar_st_writer *st;
    ar_map keys;   /* module → pair */
    json_t *sites; /* module → path, where they differ */
    ar_buf name;
    ar_emit *emit; /* two a pair */
    float *alpha;
};

static bool ends(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* The ends of A's and B's names in diffusers' manner, where the key is not a module's but A's whole name; NULL else. */
static const char *const *diffusers_ends(const ar_pair *p) {
    static const char *const pairs[][2] = {{"lora.down.weight", "lora.up.weight"},
                                           {".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"},
                                           {".lora_A.weight", ".lora_B.weight"},
                                           {".lora_A.default.weight", ".lora_B.default.weight"}};
    for (size_t i = 0; p->key && i < sizeof pairs / sizeof *pairs; i++)
        if (ends(p->key, pairs[i][0])) return pairs[i];
    return NULL;
}

static double written_scale(const ar_pair *p) { return diffusers_ends(p) ? 1 : p->scale; }
static double noted_scale(const ar_pair *p, const void *user) {
    (void)user;
    return written_scale(p);
}
static double written_alpha(const ar_pair *p) { return (double)(float)(written_scale(p) * p->rank); }

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static ar_status check_alpha(const ar_pair *p, ar_error *err) {
    double wanted = written_scale(p) * p->rank, got = written_alpha(p);
    if (wanted == 0)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "site '%s': alpha is 0, which kohya's readers take as alpha = rank (s = 1); --fold writes zeros into B instead",
                        p->site);
    if (!(fabs(got) <= (double)FLT_MAX) || !(fabs(got - wanted) <= 1e-7 * fabs(wanted)))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "site '%s': alpha %g does not fit the format's f32; --fold moves it into B", p->site,
                        wanted);
    return AR_OK;
}

static ar_status check(const ar_adapter *ad, const ar_write_context *c, ar_error *err) {
    (void)c;
    ar_status s = ar__check_plain_pairs(ad, "a kohya file", false, err);
    for (size_t i = 0; !s && i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        if (p->is_embedding)
            s = ar__fail(
                err, AR_ERR_UNSUPPORTED,
                "site '%s' is an embedding, for which kohya files have no pairs: merge the adapter into its base instead (alphar merge)",
                p->site);
        else if (p->has_gguf_rows)
            s = ar__fail(err, AR_ERR_UNSUPPORTED,
                         "site '%s': its rows are in llama.cpp's order, and only the base says how many heads there are: give --model "
                         "or --heads H,KV",
                         p->site);
        else
            s = check_alpha(p, err);
    }
    return s;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* The module's name: as it was, or `lora_te_` + path. */
static bool module_name(ar_buf *out, const ar_pair *p) {
    ar__buf_clear(out);
    ar__buf_printf(out, "%s%s", p->key ? "" : "lora_te_", p->key ? p->key : p->site);
    for (char *c = out->data; !out->failed && !p->key && *c; c++)
        if (*c == '.') *c = '_';
    return !out->failed;
}

static ar_status claim(struct kohya_writer *w, size_t i, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    if (!module_name(&w->name, p)) return ar__fail_memory(err, p->site);
    size_t other = ar__map_find_str(&w->keys, w->name.data);
    if (other != AR_MAP_NONE)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "sites '%s' and '%s' have the same name in a kohya file, '%s'", w->ad->pair[other].site,
                        p->site, w->name.data);
    bool ok = ar__map_put(&w->keys, w->name.data, w->name.len, i);
    if (ok && !diffusers_ends(p) && strcmp(w->name.data, p->site) != 0)
        ok = !json_object_set_new(w->sites, w->name.data, json_string(p->site));
    return ok ? AR_OK : ar__fail(err, AR_ERR_VALUE, "site '%s': no UTF-8, or out of memory", p->site);
}

/* A tensor's whole name. */
static const char *tensor_name(struct kohya_writer *w, const ar_pair *p, ar_factor which) {
    const char *const *turn = diffusers_ends(p);
    module_name(&w->name, p);
    if (!turn)
        ar__buf_puts(&w->name, which == AR_FACTOR_A ? ".lora_down.weight" : ".lora_up.weight");
    else if (which == AR_FACTOR_B && !w->name.failed) {
        w->name.len -= strlen(turn[0]);
        ar__buf_puts(&w->name, turn[1]);
    }
    return w->name.failed ? NULL : w->name.data;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static ar_status add_factor(struct kohya_writer *w, size_t i, ar_factor which, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    ar_emit *e = &w->emit[2 * i + which];
    bool folded = which == AR_FACTOR_B && diffusers_ends(p);
    *e = (ar_emit){.ad = w->ad, .pair = i, .which = which, .factor = folded ? p->scale : 1, .type = ar__write_dtype(w->c, p, which)};
    int64_t shape[4] = {(int64_t)ar__factor_rows(p, which), (int64_t)ar__factor_columns(p, which), 1, 1};
    if (p->kernel[0] && which == AR_FACTOR_A) {
        shape[1] = p->n_in / (p->kernel[0] * p->kernel[1]);
        memcpy(&shape[2], p->kernel, sizeof p->kernel);
    }
    const char *name = tensor_name(w, p, which);
    return name ? ar__st_writer_add_stream(w->st, name, e->type, p->kernel[0] ? 4 : 2, shape, ar__emit, e, err)
                : ar__fail_memory(err, p->site);
}

static ar_status add_alpha(struct kohya_writer *w, size_t i, ar_error *err) {
    const ar_pair *p = &w->ad->pair[i];
    w->alpha[i] = (float)written_alpha(p);
    module_name(&w->name, p);
    ar__buf_puts(&w->name, ".alpha");
    return w->name.failed ? ar__fail_memory(err, p->site) : ar__st_writer_add(w->st, w->name.data, AR_F32, 0, NULL, &w->alpha[i], err);
}

static ar_status add_pair(struct kohya_writer *w, size_t i, ar_error *err) {
    ar_status s = claim(w, i, err);
    if (!s) s = add_factor(w, i, AR_FACTOR_A, err);
    if (!s) s = add_factor(w, i, AR_FACTOR_B, err);
    return s || diffusers_ends(&w->ad->pair[i]) ? s : add_alpha(w, i, err);
}

static ar_status add_sites(struct kohya_writer *w, ar_error *err) {
    if (!json_object_size(w->sites)) return AR_OK;
    char *text = json_dumps(w->sites, JSON_COMPACT);
    ar_status s = text ? ar__st_writer_meta(w->st, AR_NOTE_PREFIX "sites", text, err) : ar__fail_memory(err, "metadata");
    free(text);
    return s;
}

static ar_status write_all(struct kohya_writer *w, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < w->ad->pair_count; i++) s = add_pair(w, i, err);
    if (!s) s = add_sites(w, err);
    if (!s) s = ar__kohya_settings_write(w->st, w->ad, written_alpha, err);
    if (!s) s = ar__provenance_write_but(w->st, w->ad, AR_NOTE_FOREIGN, noted_scale, NULL, err);
    return s ? s : ar__st_writer_save(w->st, w->c->path, err);
}

static ar_status write_kohya(ar_write_context *c, const ar_adapter *ad, ar_error *err) {
    struct kohya_writer w = {.c = c, .ad = ad, .sites = json_object()};
    w.emit = ar__alloc(2 * ad->pair_count, sizeof *w.emit);
    w.alpha = ar__alloc(ad->pair_count, sizeof *w.alpha);
    ar_status s = w.sites && w.emit && w.alpha ? ar__st_writer_new(&w.st, err) : ar__fail_memory(err, c->path);
    if (!s) s = write_all(&w, err);
    c->folded = 0;
    for (size_t i = 0; i < ad->pair_count; i++) c->folded += written_scale(&ad->pair[i]) != ad->pair[i].scale;
    c->alpha = ar__most_common(ad, written_alpha);
    c->base = NULL; /* the file says itself what its names stand for, and those that it cannot say stay names in the proof */
    ar__st_writer_free(w.st);
    ar__map_release(&w.keys);
    ar__buf_release(&w.name);
    json_decref(w.sites);
    free(w.emit);
    free(w.alpha);
    return s;
}

const ar_format ar__format_kohya = {
    .name = "kohya", .files = NULL, .is_it = ar__kohya_is_it, .read = ar__kohya_read, .check = check, .write = write_kohya};
