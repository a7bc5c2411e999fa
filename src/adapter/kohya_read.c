/* A kohya or diffusers file → pairs, whose factors stay in it until they are loaded.
 *
 *     s = alpha / r       r: rows of lora_down       no alpha, or alpha 0 under kohya's names: s = 1
 *
 * as sd-scripts and LyCORIS compute it; under diffusers' names alpha 0 is off, as for diffusers and ComfyUI.  Whatever is no plain pair is
 * refused by name: loaders skip such tensors and warn at best, which leaves another adapter than was trained. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/kohya.h"
#include "base/fail.h"
#include "base/mem.h"

/* The tensors of one module. */
struct module {
    char *name;
    const ar_tensor *part[AR_KOHYA_PART_COUNT];
    bool is_diffusers;
};

struct reader {
    const char *place;
    const ar_read_context *c;
    ar_st_set *st;
    ar_adapter *ad;
    struct module *module;
    size_t count, cap;
    ar_map index;  /* name → module */
    json_t *paths; /* "alphar.sites": name → path; NULL: none */
    ar_kohya_names names;
    ar_map sites; /* site → module that has it */
    ar_diffusers diffusers;
    /* Modules without alpha, with alpha 0 by kohya's and by diffusers' name, with another module's alpha, with a
     * configuration that gives another s than 1, with one that is not theirs. */
    size_t absent, zero, off, lent, told, passed;
};

static struct module *find_module(struct reader *r, const char *name, size_t n) {
    size_t at = ar__map_find(&r->index, name, n);
    if (at != AR_MAP_NONE) return &r->module[at];
    struct module *list = ar__grow(r->module, &r->cap, r->count + 1, sizeof *list);
    if (!list) return NULL;
    r->module = list;
    char *own = ar__strndup(name, n);
    if (!own || !ar__map_put(&r->index, name, n, r->count)) {
        free(own);
        return NULL;
    }
    list[r->count] = (struct module){.name = own};
    return &list[r->count++];
}

static ar_status sort_tensor(struct reader *r, const ar_tensor *t, ar_error *err) {
    ar_kohya_key key = ar__kohya_key_parse(t->name, &r->diffusers);
    if (key.part == AR_KOHYA_OTHER)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: tensor '%s' belongs to %s, wanted plain pairs lora_down, lora_up, alpha: merge the adapter into its base with "
                        "the tool that made it, then `alphar extract` gives a plain one",
                        r->place, t->name, key.method);
    if (key.part == AR_KOHYA_UNKNOWN)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' is no part of a kohya or diffusers LoRA (lora_down, lora_up, alpha)",
                        r->place, t->name);
    struct module *m = find_module(r, t->name, key.module);
    if (!m) return ar__fail_memory(err, r->place);
    if (m->part[key.part])
        return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' and '%s' are the same part of one module: the file holds several adapters", r->place,
                        m->part[key.part]->name, t->name);
    m->part[key.part] = t;
    m->is_diffusers |= key.is_diffusers;
    return AR_OK;
}

/* The one number of a tensor of any plain type. */
static ar_status read_number(double *out, const struct reader *r, const ar_tensor *t, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(t->dtype);
    union {
        float f32;
        double f64;
        int64_t i64;
        int32_t i32;
        int16_t i16;
        int8_t i8;
        uint8_t u8;
    } v = {.i64 = 0};
    if (t->count != 1) return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %zu elements, wanted one", r->place, t->name, t->count);
    if (ar__dtype_is_float(t->dtype))
        type->to_f32(&v.f32, t->data, 1);
    else if (t->bytes <= sizeof v)
        memcpy(&v, t->data, t->bytes);
    switch (t->dtype) {
    case AR_F64: *out = v.f64; break;
    case AR_I64: *out = (double)v.i64; break;
    case AR_I32: *out = v.i32; break;
    case AR_I16: *out = v.i16; break;
    case AR_I8: *out = v.i8; break;
    case AR_U8: *out = v.u8; break;
    default:
        if (!ar__dtype_is_float(t->dtype))
            return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' has dtype %s, wanted a plain number", r->place, t->name,
                            t->dtype_name);
        *out = (double)v.f32;
    }
    if (!isfinite(*out)) return ar__fail(err, AR_ERR_NUMERIC, "%s: tensor '%s' is %g, wanted a finite number", r->place, t->name, *out);
    return AR_OK;
}

/* α and policy: by diffusers' configuration, by the tensor, by the user, by the format's rule. */
static ar_status read_alpha(ar_pair_shape *out, struct reader *r, const struct module *m, ar_error *err) {
    const ar_adapter_options *o = &r->c->options;
    const ar_tensor *t = m->part[AR_KOHYA_ALPHA];
    bool is_told = false;
    ar_status s = m->is_diffusers ? ar__diffusers_find(&is_told, &out->alpha, &out->policy, &r->diffusers, m->name, out->rank, err) : AR_OK;
    if (s) return ar__fail_at(err, s, r->place);
    if (is_told) {
        r->told += ar__policy_scale(out->policy, out->alpha, out->rank) != 1;
        return t ? ar__fail(err, AR_ERR_FORMAT, "%s: module '%s' has an alpha in the metadata and one of its own, wanted one of them",
                            r->place, m->name)
                 : AR_OK;
    }
    const ar_tensor *lender = !t && !o->has_alpha && m->is_diffusers ? ar__diffusers_lender(&r->diffusers, m->name) : NULL;
    out->alpha = o->has_alpha ? o->alpha : out->rank;
    r->lent += lender != NULL;
    r->absent += !t && !lender && !o->has_alpha;
    r->passed += m->is_diffusers && ar__diffusers_passes_over(&r->diffusers, m->name);
    if (lender) t = lender;
    if (!t || (s = read_number(&out->alpha, r, t, err)) || out->alpha != 0) return s;
    if (m->is_diffusers) {
        r->off++;
        return AR_OK;
    }
    r->zero++;
    out->alpha = out->rank;
    return AR_OK;
}

static ar_status check_shapes(const struct reader *r, const struct module *m, ar_error *err) {
    const ar_tensor *a = m->part[AR_KOHYA_DOWN], *b = m->part[AR_KOHYA_UP];
    bool conv = a->dims == 4 && b->dims == 4 && b->shape[2] == 1 && b->shape[3] == 1;
    if ((a->dims != 2 || b->dims != 2) && !conv)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: module '%s' has factors of %d and %d dimensions, wanted [r, in] and [out, r], or [r, in, h, w] and "
                        "[out, r, 1, 1] of a convolution",
                        r->place, m->name, a->dims, b->dims);
    if (a->shape[0] != b->shape[1])
        return ar__fail(err, AR_ERR_FORMAT,
                        "%s: module '%s': lora_down is [%lld, %lld] and lora_up [%lld, %lld], wanted rows to be columns", r->place, m->name,
                        (long long)a->shape[0], (long long)a->shape[1], (long long)b->shape[0], (long long)b->shape[1]);
    if (a->count < 1 || b->count < 1 || a->shape[0] > INT_MAX)
        return ar__fail(err, AR_ERR_FORMAT, "%s: module '%s' is empty, or its rank past all sense", r->place, m->name);
    return AR_OK;
}

static ar_status check_halves(const struct reader *r, const struct module *m, ar_error *err) {
    static const char *const halves[] = {"lora_down", "lora_up"};
    const ar_tensor *t;
    for (int i = AR_KOHYA_DOWN; i <= AR_KOHYA_UP; i++) {
        if (!m->part[i])
            return ar__fail(err, AR_ERR_FORMAT, "%s: module '%s' has no %s; a pair needs both halves", r->place, m->name, halves[i]);
        ar_status s = ar__st_need(&t, r->st, m->part[i]->name, err);
        if (s) return s;
    }
    return check_shapes(r, m, err);
}

static ar_stored stored(const ar_tensor *t) { return (ar_stored){.name = t->name, .bytes = t->data, .type = t->dtype, .is_there = true}; }

static ar_status claim_site(struct reader *r, const char *site, size_t module, ar_error *err) {
    size_t at = ar__map_find_str(&r->sites, site);
    if (at != AR_MAP_NONE)
        return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' and '%s' are both '%s'", r->place, r->module[at].name, r->module[module].name, site);
    return ar__map_put(&r->sites, site, strlen(site), module) ? AR_OK : ar__fail_memory(err, site);
}

static ar_status read_pair(struct reader *r, size_t i, ar_error *err) {
    const struct module *m = &r->module[i];
    const ar_tensor *a = m->part[AR_KOHYA_DOWN], *b = m->part[AR_KOHYA_UP];
    ar_pair_shape shape = {.policy = AR_POLICY_STANDARD};
    ar_pair *p;
    ar_status s;
    if ((s = check_halves(r, m, err))) return s;
    if ((s = ar__kohya_names_find(&shape.site, &r->names, m->name, err))) return ar__fail_at(err, s, r->place);
    shape.rank = (int)a->shape[0];
    if ((s = claim_site(r, shape.site, i, err)) || (s = read_alpha(&shape, r, m, err))) return s;
    shape.key = m->is_diffusers ? a->name : m->name;
    shape.n_in = (int64_t)a->count / a->shape[0];
    shape.n_out = b->shape[0];
    if (a->dims == 4) memcpy(shape.kernel, &a->shape[2], sizeof shape.kernel);
    if ((s = ar__adapter_add_stored(&p, r->ad, &shape, err))) return s;
    p->stored[AR_FACTOR_A] = stored(a);
    p->stored[AR_FACTOR_B] = stored(b);
    return AR_OK;
}

static void warn(const struct reader *r) {
    if (r->absent)
        ar__log_warn(&r->c->log,
                     "%s: %zu of %zu modules have no alpha, which in this format means alpha = rank (s = 1); --alpha gives another",
                     r->place, r->absent, r->count);
    if (r->zero)
        ar__log_warn(&r->c->log,
                     "%s: %zu of %zu modules have alpha 0, which kohya's readers take as alpha = rank (s = 1) and ComfyUI as off: read as "
                     "s = 1, rescale to 0 for off",
                     r->place, r->zero, r->count);
    if (r->off)
        ar__log_warn(&r->c->log,
                     "%s: %zu of %zu modules have alpha 0 under diffusers' names, which diffusers and ComfyUI take as off, kohya's readers "
                     "as s = 1: read as off",
                     r->place, r->off, r->count);
    if (r->lent)
        ar__log_warn(&r->c->log,
                     "%s: %zu of %zu modules have no alpha where others of their component have one: read as diffusers does, which gives "
                     "them the first one in the file; ComfyUI takes s = 1; --alpha gives another",
                     r->place, r->lent, r->count);
    if (r->told)
        ar__log_warn(&r->c->log,
                     "%s: %zu of %zu modules have their alpha in the metadata alone, where diffusers reads it and ComfyUI takes s = 1",
                     r->place, r->told, r->count);
    if (r->passed)
        ar__log_warn(&r->c->log,
                     "%s: the metadata's configuration (lora_adapter_metadata) names no component and holds for modules without one: it "
                     "is not that of %zu of %zu modules, which have a component's name in front; diffusers passes over it, too",
                     r->place, r->passed, r->count);
}

/* layers.2 before layers.10 */
static int by_name(const void *a, const void *b) { return strverscmp(((const struct module *)a)->name, ((const struct module *)b)->name); }

static ar_status read_modules(struct reader *r, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__st_count(r->st); i++) s = sort_tensor(r, ar__st_at(r->st, i), err);
    ar__map_release(&r->index);
    if (r->count) qsort(r->module, r->count, sizeof *r->module, by_name);
    for (size_t i = 0; !s && i < r->count; i++) s = read_pair(r, i, err);
    if (!s && !r->count) s = ar__fail(err, AR_ERR_FORMAT, "%s: holds no adapter tensors", r->place);
    if (!s) warn(r);
    return s;
}

static ar_status read_metadata(struct reader *r, ar_error *err) {
    ar_status s = ar__kohya_names_init(&r->names, r->st, r->c->base, err);
    if (!s) s = ar__diffusers_init(&r->diffusers, r->st, r->c, err);
    return s ? ar__fail_at(err, s, r->place) : AR_OK;
}

static ar_status read_all(struct reader *r, ar_error *err) {
    /* An f32 alpha is within 2^-24 of what was meant. */
    const ar_provenance rule = {.source = "its alpha", .tolerance = 2e-7, .trust = r->c->options.trust};
    ar_status s;
    (void)((s = read_metadata(r, err)) || (s = read_modules(r, err)) || (s = ar__kohya_settings_read(r->ad, r->st, err)) ||
           (s = ar__provenance_read(r->ad, r->st, r->place, &rule, err)));
    for (size_t i = 0; i < r->count; i++) free(r->module[i].name);
    free(r->module);
    ar__map_release(&r->index);
    ar__map_release(&r->sites);
    ar__kohya_names_release(&r->names);
    ar__diffusers_release(&r->diffusers);
    return s;
}

static void close_file(void *st) { ar__st_close(st); }

ar_status ar__kohya_read(ar_adapter **out, const ar_read_context *c, ar_error *err) {
    struct reader r = {.c = c};
    ar_status s;
    *out = NULL;
    if (!(s = ar__adapter_new(&r.ad, err)) && !(s = ar__st_open(&r.st, c->path, err)) &&
        !(s = ar__adapter_keep(r.ad, r.st, close_file, err))) {
        r.place = r.ad->place = ar__strdup(c->path);
        s = r.place ? read_all(&r, err) : ar__fail_memory(err, c->path);
    }
    if (s)
        ar_adapter_free(r.ad);
    else
        *out = r.ad;
    return s;
}

/* A whole safetensors file with at least one half of a pair, or of what another method has in its stead. */
bool ar__kohya_is_it(const char *path) {
    ar_st_set *st = NULL;
    ar_diffusers d;
    bool found = false;
    if (!ar__path_exists(path) || ar__path_is_dir(path) || ar__st_open(&st, path, NULL)) return false;
    (void)ar__diffusers_init(&d, st, NULL, NULL); /* broken metadata: the reader has words for it */
    for (int i = 0; !found && i < ar__st_count(st); i++) {
        ar_kohya_part part = ar__kohya_key_parse(ar__st_at(st, i)->name, &d).part;
        found = part == AR_KOHYA_DOWN || part == AR_KOHYA_UP || part == AR_KOHYA_OTHER;
    }
    ar__diffusers_release(&d);
    ar__st_close(st);
    return found;
}
