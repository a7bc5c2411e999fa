#include "train/init.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

enum { MOST_ROUNDS = 1000 };

ar_status ar__init_read(ar_init *out, const char *text, ar_error *err) {
    static const char *const names[] = {"base", "random", "pissa", "loftq"};
    char *end = NULL;
    *out = (ar_init){.rounds = 1};
    for (int k = AR_INIT_BASE; text && k <= AR_INIT_LOFTQ; k++) {
        size_t n = strlen(names[k]);
        if (strncmp(text, names[k], n) != 0 || (text[n] && (k != AR_INIT_LOFTQ || text[n] != ':'))) continue;
        long rounds = text[n] ? strtol(text + n + 1, &end, 10) : 1;
        if (text[n] && (end == text + n + 1 || *end || rounds < 1 || rounds > MOST_ROUNDS)) break;
        *out = (ar_init){(ar_init_kind)k, (int)rounds};
        return AR_OK;
    }
    return text ? ar__fail(err, AR_ERR_USAGE, "init: found '%s', wanted base, random, pissa, or loftq:N with N from 1 to %d", text,
                           MOST_ROUNDS)
                : AR_OK;
}

/* Where pairs begin is said twice, or by what knows nothing of W. */
static ar_status check_pairs(const ar_train_options *o, const ar_init *init, ar_error *err) {
    const char *name = o->course.init;
    const ar_learner_options *l = &o->learner;
    if (!ar__init_from_weights(init)) return AR_OK;
    if (o->course.init_adapter)
        return ar__fail(err, AR_ERR_USAGE, "init %s: found init-adapter, which says where the pairs begin too; leave one out", name);
    if (l->method == AR_METHOD_FULL)
        return ar__fail(err, AR_ERR_USAGE, "init %s: found method full, which has no pairs that could begin so; leave one out", name);
    if (l->dora)
        return ar__fail(err, AR_ERR_USAGE, "init %s: found dora, whose magnitudes are those of another base then; leave one out", name);
    if (l->init_scale != 0.0 && l->init_scale != 1.0)
        return ar__fail(err, AR_ERR_USAGE, "init %s: found init-scale %g, with which the pairs would no longer add up; leave one out", name,
                        l->init_scale);
    if (init->kind != AR_INIT_LOFTQ) return AR_OK;
    if (!o->course.quantize)
        return ar__fail(err, AR_ERR_USAGE, "init %s: quantize is not given, wanted a type such as nf4: without it nothing is taken off W",
                        name);
    if (l->alpha_warmup)
        return ar__fail(err, AR_ERR_USAGE,
                        "init %s: found alpha-warmup, under which most of the correction is missing at first; leave one out", name);
    return AR_OK;
}

ar_status ar__init_check(const ar_train_options *o, ar_error *err) {
    ar_init init;
    ar_status s = ar__init_read(&init, o->course.init, err);
    bool random = init.kind == AR_INIT_RANDOM;
    if (s) return s;
    if (random && !o->course.model_config)
        return ar__fail(err, AR_ERR_USAGE, "init random: model-config is not given, wanted its config.json");
    if (random && o->learner.method != AR_METHOD_FULL)
        return ar__fail(err, AR_ERR_USAGE, "init random: wanted method full with it; an adapter on random weights learns nothing of use");
    if (!random && o->course.model_config) return ar__fail(err, AR_ERR_USAGE, "model-config: wanted init random with it");
    if (!random && !o->course.model) return ar__fail(err, AR_ERR_USAGE, "model: not given");
    return check_pairs(o, &init, err);
}
