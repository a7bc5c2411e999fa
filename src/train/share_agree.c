#include "train/share_agree.h"

#include <string.h>

#include "base/fail.h"
#include "train/agree.h"
#include "train/settings.h"
#include "train/share.h"

/* Places on a disk may differ, and what each machine has room for. */
static bool may_differ(const char *key) {
    static const char *const own[] = {"memory", "micro-batch", "checkpoint-layers"};
    const ar_setting *s = ar_train_setting(key);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(key, own[i])) return true;
    return s && (s->type == AR_SETTING_PATH || s->type == AR_SETTING_FILES);
}

void ar__agree_settings(json_t *card, const json_t *settings) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)settings, key, value) if (card && !may_differ(key)) json_object_set(card, key, value);
}

ar_status ar__agree_course(json_t *card, const ar_course *c, ar_error *err) {
    ar_status s = ar__agree_base(card, c->model, err);
    ar__agree_data(card, "the samples of --data, by their hash", c->data);
    ar__agree_data(card, "the samples of --eval-data, by their hash", c->eval_data);
    return s;
}

ar_status ar__share_agree(const ar_learner *l, ar_ranks *ranks, ar_error *err) {
    json_t *card = ar__agree_card(), *settings = ar__train_settings_json(&l->o, l->steps, NULL);
    ar__agree_settings(card, settings);
    ar_status s = settings ? ar__agree_course(card, l->course, err) : ar__fail_memory(err, "ranks");
    json_decref(settings);
    if (!s) return ar__agree(ranks, l->course->rt, card, err);
    json_decref(card);
    return s;
}

void ar__share_tell(const ar_learner *l) {
    const ar_share *s = &l->course->share;
    char more[120];
    snprintf(more, sizeof more, "; %.1f MiB of gradients go around each step, up to %.1f MiB are kept apart",
             (double)(s->width[0] + s->width[1]) * sizeof(float) / (1 << 20), (double)s->slot_floats * sizeof(float) / (1 << 20));
    ar__agree_tell(l->o.ranks, l->course->rt, more);
}
