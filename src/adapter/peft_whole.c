/* What a configuration announces as trained and saved whole must be in the file: a head or a bias that is missing was
 * trained and lost, and the adapter without it is another one. */
#include <string.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "weights/base.h"

/* The module, or one above it, ends with the name (no dot needed, as in PEFT). */
static bool is_below(const char *path, size_t n, const char *name) {
    size_t k = strlen(name);
    for (size_t end = k; end <= n; end++)
        if ((end == n || path[end] == '.') && !strncmp(path + end - k, name, k)) return true;
    return false;
}

static bool has_whole(const ar_adapter *ad, const char *name) {
    bool there = false;
    for (size_t i = 0; i < ad->whole_count && !there; i++) {
        const char *path = ad->whole[i].name, *dot = strrchr(path, '.');
        there = is_below(path, dot ? (size_t)(dot - path) : strlen(path), name);
    }
    return there;
}

static bool has_module(const ar_base *base, const char *name) {
    bool there = false;
    for (int i = 0; i < ar__base_count(base) && !there; i++) {
        const char *site = ar__base_at(base, i)->site;
        there = is_below(site, strlen(site), name);
    }
    return there || (ar__base_head(base) && is_below("lm_head", 7, name));
}

/* PEFT itself adds both names for a classifier, of which a model has one. */
static bool is_classifier(const ar_adapter *ad, const char *name) {
    const char *task = ad->settings.task_type;
    bool classifies = task && (!strcmp(task, "SEQ_CLS") || !strcmp(task, "TOKEN_CLS"));
    return classifies && (!strcmp(name, "classifier") || !strcmp(name, "score")) && (has_whole(ad, "classifier") || has_whole(ad, "score"));
}

static ar_status check_saved(const ar_adapter *ad, const ar_read_context *c, const char *name, ar_error *err) {
    if (has_whole(ad, name) || is_classifier(ad, name)) return AR_OK;
    if (c->base && !ar__base_info(c->base)->is_gguf && !has_module(c->base, name)) {
        ar__log_warn(&c->log, "%s: '%s' in modules_to_save is no module of the base, and PEFT trains without it", AR_PEFT_CONFIG, name);
        return AR_OK;
    }
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: has no tensor of '%s', which modules_to_save of " AR_PEFT_CONFIG
                    " says was trained and saved whole: that part of the training is lost in this file; save the adapter anew, or take "
                    "the name out of modules_to_save if the base's own is meant",
                    ad->place, name);
}

bool ar__peft_is_announced(const ar_adapter_settings *s, const char *module) {
    bool announced = false;
    for (size_t i = 0; i < s->save.count && !announced; i++) announced = is_below(module, strlen(module), s->save.at[i]);
    return announced;
}

bool ar__peft_is_own_head(const ar_adapter *ad, const ar_base *base, const char *module) {
    const ar_strings *save = &ad->settings.save;
    bool own = false;
    for (size_t i = 0; i < save->count && !own; i++) own = is_below(module, strlen(module), save->at[i]) && !has_module(base, save->at[i]);
    return own;
}

static ar_status check_bias(const ar_adapter *ad, const ar_base_weight *w, const char *site, ar_error *err) {
    ar_buf name = {0};
    if (!w || !w->bias_tensor) return AR_OK;
    ar__buf_printf(&name, "%s.bias", site);
    bool there = !name.failed && ar__adapter_find_whole(ad, name.data);
    ar_status s = name.failed ? ar__fail_memory(err, site) : AR_OK;
    ar__buf_release(&name);
    if (s || there) return s;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: has no bias of '%s', which the base has and 'bias' of " AR_PEFT_CONFIG
                    " says was trained: that part of the training is lost in this file; save the adapter anew, or set 'bias' to none",
                    ad->place, site);
}

/* Only the base knows which modules have biases. */
static ar_status check_biases(const ar_adapter *ad, const ar_read_context *c, ar_error *err) {
    bool any = false;
    ar_status s = AR_OK;
    for (size_t i = 0; i < ad->whole_count; i++) {
        const char *dot = strrchr(ad->whole[i].name, '.');
        any |= dot && !strcmp(dot, ".bias");
    }
    if (!c->base && !any)
        ar__log_warn(&c->log,
                     "%s: 'bias' is on in " AR_PEFT_CONFIG ", and there is no bias in the file: right only where the base has none",
                     ad->place);
    if (!c->base || ar__base_info(c->base)->is_gguf) return AR_OK;
    for (size_t i = 0; !s && i < ad->pair_count; i++) s = check_bias(ad, ar__base_find(c->base, ad->pair[i].site), ad->pair[i].site, err);
    for (int i = 0; !s && ad->settings.bias == AR_BIAS_ALL && i < ar__base_count(c->base); i++)
        s = check_bias(ad, ar__base_at(c->base, i), ar__base_at(c->base, i)->site, err);
    return s;
}

ar_status ar__peft_check_whole(const ar_adapter *ad, const ar_read_context *c, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < ad->settings.save.count; i++) s = check_saved(ad, c, ad->settings.save.at[i], err);
    return s || ad->settings.bias == AR_BIAS_NONE ? s : check_biases(ad, c, err);
}
