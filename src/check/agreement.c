#include "check/agreement.h"

#include <stdio.h>

#include "base/fail.h"
#include "train/agree.h"

static json_t *numbers(const double *list, int count) {
    json_t *j = list ? json_array() : json_null();
    for (int i = 0; list && i < count; i++) json_array_append_new(j, json_real(list[i]));
    return j;
}

static json_t *card_of(const ar_evaluation *e) {
    const ar_eval_options *o = &e->o;
    const ar_preference *p = &o->preference;
    json_t *card = ar__agree_card();
    json_t *settings = json_pack("{s:s, s:s?, s:i, s:s?, s:f, s:f, s:f, s:b, s:o, s:o}", "compute",
                                 ar_runtime_compute(e->session->rt) == AR_COMPUTE_BF16 ? "bf16" : "f32", "quantize",
                                 e->session->model->quantised, "max-length", o->max_length, "objective", ar__objective_name(p->objective),
                                 "beta", p->beta, "gamma", p->gamma, "label-smoothing", p->label_smoothing, "reference",
                                 o->reference != NULL, "alpha", numbers(o->alphas, o->count), "scale", numbers(o->scales, o->count));
    bool ok = card && settings && !json_object_update(card, settings);
    json_decref(settings);
    if (ok) return card;
    json_decref(card);
    return NULL;
}

ar_status ar__evaluation_agree(const ar_evaluation *e, const char *name, ar_error *err) {
    char samples[80];
    uint64_t hash = 0;
    if (!ar__is_shared(e->o.ranks)) return AR_OK;
    json_t *card = card_of(e);
    snprintf(samples, sizeof samples, "the samples of --%s, by their hash", name);
    ar_status s = ar__agree_base(card, e->session->model, err);
    if (!s) s = ar_session_fingerprint(&hash, e->session, err);
    if (s) {
        json_decref(card);
        return s;
    }
    ar__agree_hash(card, "the adapter and the chat template, by their fingerprint", hash);
    ar__agree_data(card, samples, e->data);
    return ar__agree(e->o.ranks, e->session->rt, card, err);
}

ar_status ar__search_agree(const ar_strengths_options *o, const ar_runtime *rt, ar_error *err) {
    if (!ar__is_shared(o->eval.ranks)) return AR_OK;
    json_t *card = ar__agree_card(),
           *settings = json_pack("{s:b, s:b, s:f}", "refine", o->refine, "retention", o->retention.files.count || o->retention.sample_count,
                                 "max-forgetting", o->has_max_forgetting ? o->max_forgetting : -1.0);
    if (card && settings) json_object_update(card, settings);
    json_decref(settings);
    ar_status s = ar__agree(o->eval.ranks, rt, card, err);
    if (!s) ar__agree_tell(o->eval.ranks, rt, "");
    return s;
}

ar_status ar__session_agree(const ar_session *s, const char *name, ar_ranks *ranks, ar_error *err) {
    uint64_t hash = 0;
    if (!ar__is_shared(ranks)) return AR_OK;
    ar_status st = ar_session_fingerprint(&hash, s, err);
    if (st) return st;
    json_t *card = ar__agree_card();
    ar__agree_hash(card, name, hash);
    return ar__agree(ranks, s->rt, card, err);
}
