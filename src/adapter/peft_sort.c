/* The keys of a file, sorted: which module and which part of it each tensor is.  A module may be spelt in several ways, and
 * a tensor be there twice as long as both are equal to the bit. */
#include <stdlib.h>
#include <string.h>

#include "adapter/fingerprint.h"
#include "adapter/peft_impl.h"
#include "adapter/site_name.h"
#include "base/fail.h"
#include "base/mem.h"

/* Takes path and raw.  NULL when memory runs out. */
static ar_peft_site *find_site(ar_peft_reader *r, char *path, char *raw) {
    ar_buf key = {0}; /* what all spellings of one module share */
    ar__names_key(&key, NULL, path);
    size_t at = key.failed ? AR_MAP_NONE : ar__map_find(&r->names, key.data, key.len);
    ar_peft_site *list = at != AR_MAP_NONE ? r->site : ar__grow(r->site, &r->cap, r->count + 1, sizeof *list);
    if (list) r->site = list;
    bool fresh = at == AR_MAP_NONE, ok = list && !key.failed && (!fresh || ar__map_put(&r->names, key.data, key.len, r->count));
    ar__buf_release(&key);
    if (ok && fresh) {
        at = r->count++;
        list[at] = (ar_peft_site){.path = path, .raw = raw};
    } else {
        free(path);
        free(raw);
    }
    return ok ? &list[at] : NULL;
}

static bool is_same(const ar_tensor *a, const void *bytes, ar_dtype type, size_t count) {
    return a->dtype == type && a->count == count && !memcmp(a->data, bytes, a->bytes);
}

/* ZeRO-3 leaves each process a part, and a tensor that was not gathered is saved with no elements. */
ar_status ar__peft_not_gathered(const ar_peft_reader *r, const ar_tensor *t, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT,
                    "%s: tensor '%s' is empty, as DeepSpeed ZeRO-3 leaves one whose parts were not gathered: the trained "
                    "numbers are not in this file; save with stage3_gather_16bit_weights_on_model_save, or run zero_to_fp32.py on the "
                    "checkpoint",
                    r->place, t->name);
}

/* PEFT may save a tensor twice, under PATH.weight and under PATH.modules_to_save.weight. */
static ar_status read_whole(ar_peft_reader *r, const ar_tensor *t, const char *name, ar_error *err) {
    ar_whole *w = ar__adapter_find_whole(r->ad, name);
    if (w && is_same(t, w->stored.bytes, w->stored.type, w->count)) return AR_OK;
    if (w)
        return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' and '%s' are the same tensor of the base, and their values differ", r->place,
                        w->stored.name, t->name);
    if (!t->count) return ar__peft_not_gathered(r, t, err);
    ar_status s = ar__adapter_add_whole_stored(&w, r->ad, name, t->dims, t->shape, err);
    if (!s) w->stored = ar__peft_stored(t);
    return s;
}

/* Takes path and raw. */
static ar_status read_pair_part(ar_peft_reader *r, const ar_tensor *t, ar_peft_part part, char *path, char *raw, ar_error *err) {
    ar_peft_site *site = find_site(r, path, raw);
    if (!site) return ar__fail_memory(err, r->place);
    const ar_tensor *before = site->part[part];
    if (before && !is_same(t, before->data, before->dtype, before->count))
        return ar__fail(err, AR_ERR_FORMAT,
                        "%s: '%s' and '%s' are the same part of one site, and their values differ: the file holds several adapters",
                        r->place, before->name, t->name);
    if (!before) site->part[part] = t;
    return AR_OK;
}

/* The one name of the module that a key's path means; a whole tensor keeps its ending. */
static char *name_of(const ar_peft_reader *r, const char *path, bool whole) {
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
static ar_status compare_copy(ar_peft_reader *r, const char *name, const char *path, ar_error *err) {
    const ar_tensor *t = NULL;
    bool same = true;
    char *module = r->c->base ? name_of(r, path, true) : NULL, *dot = module ? strrchr(module, '.') : NULL;
    ar_status s = AR_OK;
    if (dot && !strcmp(dot, ".weight")) {
        *dot = '\0';
        s = ar__st_need(&t, r->st, name, err);
        if (!s) s = ar__base_compare_copy(&same, r->c->base, module, t, err);
    }
    r->has_other_base |= !same;
    free(module);
    return s;
}

static bool ends_so(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n > k && !strcmp(name + n - k, end);
}

/* What stands as a whole tensor may be another method's; a parameter by another name than weight or bias is whole only where
 * the configuration says so. */
static ar_status check_key(const ar_peft_reader *r, ar_peft_part part, const char *name, const char *raw, ar_error *err) {
    if (part != AR_PEFT_UNKNOWN && part != AR_PEFT_WHOLE) return AR_OK;
    if (raw && ar__peft_is_announced(&r->ad->settings, raw)) return AR_OK;
    const char *method = ar__peft_other_method(name);
    if (method)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: tensor '%s' belongs to %s, wanted pairs lora_A and lora_B and whole tensors alone: merge the adapter into "
                        "its base with PEFT, then `alphar extract` gives a plain one",
                        r->place, name, method);
    if (part == AR_PEFT_UNKNOWN)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' is no part of a PEFT LoRA adapter (keys begin with base_model.model.)",
                        r->place, name);
    if (!raw || ends_so(raw, ".weight") || ends_so(raw, ".bias")) return AR_OK;
    return ar__fail(
        err, AR_ERR_FORMAT,
        "%s: tensor '%s' is no part of a PEFT LoRA adapter: neither a pair's nor a weight or bias, and modules_to_save of " AR_PEFT_CONFIG
        " names nothing above it",
        r->place, name);
}

ar_status ar__peft_sort(ar_peft_reader *r, const char *name, ar_error *err) {
    char *raw;
    ar_peft_spelling spelling;
    const ar_tensor *t;
    ar_peft_part part = ar__peft_key_parse(&raw, &spelling, name);
    if (part == AR_PEFT_TOKENS)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s': trained tokens replace rows of the embedding, which Alphar cannot do",
                        r->place, name);
    ar_status s = check_key(r, part, name, raw, err);
    if (s) {
        free(raw);
        return s;
    }
    bool whole = part == AR_PEFT_WHOLE;
    char *path = raw ? name_of(r, raw, whole || part == AR_PEFT_COPY) : NULL;
    s = path ? ar__st_need(&t, r->st, name, err) : ar__fail_memory(err, r->place);
    if (!s && !r->odd && (spelling == AR_PEFT_ODD || strcmp(path, raw) != 0)) r->odd = name;
    if (!s && !r->named && spelling == AR_PEFT_NAMED) r->named = name;
    if (!s && part < AR_PEFT_PART_COUNT) return read_pair_part(r, t, part, path, raw, err);
    if (!s) s = whole ? read_whole(r, t, path, err) : compare_copy(r, name, raw, err);
    free(path);
    free(raw);
    return s;
}
