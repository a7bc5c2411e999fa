/* Do the tensors that an adapter saved whole fit the adapter itself and the base?  One rule for every command, in the words of
 * the merge, which needs most of it. */
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "adapter/formats.h"
#include "adapter/peft.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/base.h"

/* The tensor's name, taken apart. */
struct name {
    char *module; /* owned */
    bool is_weight, is_bias;
};

static ar_status split(struct name *out, const ar_whole *w, ar_error *err) {
    const char *dot = strrchr(w->name, '.');
    *out = (struct name){.is_weight = dot && !strcmp(dot, ".weight"), .is_bias = dot && !strcmp(dot, ".bias")};
    bool plain = out->is_weight || out->is_bias;
    out->module = plain ? ar__strndup(w->name, (size_t)(dot - w->name)) : ar__strdup(w->name);
    return out->module ? AR_OK : ar__fail_memory(err, w->name);
}

/* A pair adds to the base's weight, a whole tensor takes its place; readers take one of them, and not the same one. */
static ar_status check_alone(const ar_adapter *ad, const ar_whole *w, const struct name *name, ar_error *err) {
    if (!name->is_weight || !ar__adapter_find_pair(ad, name->module)) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "'%s': %s replaces it and adds to it, with a whole tensor and a pair, which have no common result: save the adapter "
                    "anew with one of them",
                    w->name, ad->place);
}

static ar_status check_shape(const ar_adapter *ad, const ar_whole *w, const ar_base_weight *at, bool is_bias, ar_error *err) {
    bool vocabulary = at->kind == AR_MODULE_EMBEDDING || at->kind == AR_MODULE_HEAD; /* may have been extended */
    bool same = is_bias ? vocabulary || w->count == at->bias_count : w->dims == at->dims;
    size_t count = is_bias ? at->bias_count : 1;
    for (int i = 0; !is_bias && i < at->dims; i++) {
        same &= i < w->dims && ((vocabulary && i == 0) || w->shape[i] == at->shape[i]);
        count *= (size_t)at->shape[i];
    }
    if (same) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' has %zu elements in another shape than the base's with %zu", ad->place, w->name,
                    w->count, count);
}

static ar_status not_there(const ar_adapter *ad, const ar_base *base, const ar_whole *w, const char *module, const ar_log *log,
                           ar_error *err) {
    const ar_base_info *info = ar__base_info(base);
    const char *fused = ar__base_fused(base, module);
    /* Packed, or fused in a GGUF file: what to say is for whoever needs its numbers. */
    if ((info->quantised && ar__base_has_parts(base, module)) || (fused && info->is_gguf)) return AR_OK;
    if (fused) return ar__base_fail_fused(base, module, fused, err);
    if (ar__peft_is_own_head(ad, base, module)) {
        ar__log_warn(log,
                     "%s: tensor '%s' is a head of the training's own, which the base %s has not: it is kept, and cannot be merged or run "
                     "there",
                     ad->place, w->name, info->path);
        return AR_OK;
    }
    return ar__fail(err, AR_ERR_MISMATCH, "%s: no tensor for '%s', which the adapter changes: it was made for another base", info->path,
                    w->name);
}

static ar_status check_on(const ar_adapter *ad, const ar_base *base, const ar_whole *w, const struct name *name, const ar_log *log,
                          ar_error *err) {
    const ar_base_weight *at = ar__base_find(base, name->module);
    if (!at) return not_there(ad, base, w, name->module, log, err);
    if (name->is_bias && !at->bias_tensor)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: no tensor for '%s', which the adapter changes: the base's module has no bias",
                        ar__base_info(base)->path, w->name);
    /* A packed weight has another shape in the file, and GGUF turns some. */
    bool plain = ar__dtype(at->type)->to_f32 && !ar__base_info(base)->is_gguf;
    return plain ? check_shape(ad, w, at, name->is_bias, err) : AR_OK;
}

ar_status ar__wholes_check(const ar_adapter *ad, const ar_base *base, const ar_log *log, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < ad->whole_count; i++) {
        struct name name;
        const ar_whole *w = &ad->whole[i];
        if (!(s = split(&name, w, err))) s = check_alone(ad, w, &name, err);
        if (!s && base) s = check_on(ad, base, w, &name, log, err);
        free(name.module);
    }
    return s;
}
