#include "train/init_adapter.h"

#include <stdlib.h>
#include <string.h>

#include "adapter/correction.h"
#include "base/fail.h"
#include "data/parts.h"
#include "train/changes.h"
#include "train/objective.h"

/* With the base, by which modules are named.  log NULL: whoever opens it again speaks. */
static ar_status open_source(ar_adapter **out, const ar_course_options *o, const ar_log *log, ar_error *err) {
    ar_adapter_options how = {.model = o->model, .keeps_stacks = true, .log = log ? log->fn : NULL, .log_user = log ? log->user : NULL};
    return ar_adapter_open(out, o->init_adapter, &how, err);
}

static ar_status differs(const ar_train_options *o, const char *what, const char *name, ar_error *err) {
    return ar__fail(err, AR_ERR_MISMATCH, "%s: %s '%s'; give options that describe the adapter you start from", o->course.init_adapter,
                    what, name);
}

static ar_status check_sites(const ar_adapter *ad, const ar_adapter *from, const ar_train_options *o, ar_error *err) {
    for (size_t i = 0; i < from->pair_count; i++)
        if (!ar__adapter_find_pair(ad, from->pair[i].site))
            return differs(o, "has a site that --targets does not select:", from->pair[i].site, err);
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *old = ar__adapter_find_pair(from, ad->pair[i].site);
        if (!old) return differs(o, "lacks a site that --targets selects:", ad->pair[i].site, err);
        if (!old->magnitude != !ad->pair[i].magnitude) return differs(o, old->magnitude ? "has DoRA at" : "has no DoRA at", old->site, err);
        if (old->n_in != ad->pair[i].n_in || old->n_out != ad->pair[i].n_out) return differs(o, "has another shape at", old->site, err);
        if (old->rank > ad->pair[i].rank)
            return ar__fail(err, AR_ERR_MISMATCH, "%s: rank %d at '%s', --rank %d would lose some of it; use at least that rank",
                            o->course.init_adapter, old->rank, old->site, ad->pair[i].rank);
    }
    for (size_t i = 0; i < from->whole_count; i++)
        if (!ar__adapter_find_whole(ad, from->whole[i].name))
            return differs(o, "holds a whole tensor that the options do not:", from->whole[i].name, err);
    for (size_t i = 0; i < ad->whole_count; i++)
        if (!ar__adapter_find_whole(from, ad->whole[i].name)) return differs(o, "lacks the whole tensor", ad->whole[i].name, err);
    return AR_OK;
}

static void take_pair(ar_pair *p, const ar_pair *old) {
    size_t r = (size_t)p->rank, r0 = (size_t)old->rank;
    double factor = old->scale != 0.0 ? old->scale / p->scale : 0.0; /* a site that was off is so still, and may learn */
    memcpy(p->a, old->a, r0 * (size_t)p->n_in * sizeof *p->a);       /* rows past r0 keep their fresh start values */
    if (p->is_embedding)
        for (size_t j = r0; j < r; j++) memset(p->a + j * (size_t)p->n_in, 0, (size_t)p->n_in * sizeof *p->a);
    for (size_t i = 0; i < (size_t)p->n_out; i++)
        for (size_t j = 0; j < r; j++)
            if (j < r0)
                p->b[i * r + j] = (float)((double)old->b[i * r0 + j] * factor);
            else if (!p->is_embedding)
                p->b[i * r + j] = 0.0f;
    if (p->magnitude) memcpy(p->magnitude, old->magnitude, (size_t)p->n_out * sizeof *p->magnitude);
}

ar_status ar__init_adapter_options(ar_train_options *o, ar_error *err) {
    ar_adapter *from = NULL;
    ar_status s = open_source(&from, &o->course, NULL, err);
    if (s) return s;
    bool untouched = !o->learner.rank_given && !o->learner.alpha_given;
    if (!o->learner.policy_given) o->learner.policy = from->settings.policy;
    if (!o->learner.rank_given) o->learner.rank = from->settings.rank;
    if (!o->learner.alpha_given) o->learner.alpha = untouched ? from->settings.alpha : 2.0 * o->learner.rank;
    o->learner.alpha_given = true;
    ar_adapter_free(from);
    if (o->learner.alpha == 0.0)
        return ar__fail(err, AR_ERR_VALUE, "%s: its alpha is 0, with which nothing is learned; give --alpha", o->course.init_adapter);
    return AR_OK;
}

static bool copy_patterns(ar_patterns *out, const ar_patterns *from) {
    for (size_t i = 0; i < from->count; i++)
        if (!ar__patterns_add(out, from->at[i].key, from->at[i].value)) return false;
    return true;
}

ar_status ar__init_adapter_template(char **text, bool *turns, const ar_course_options *o, ar_error *err) {
    ar_adapter *from = NULL;
    *text = NULL;
    ar_status s = open_source(&from, o, NULL, err);
    if (s) return s;
    const char *form = ar__adapter_note(from, AR_NOTE_FORM), *own = ar__adapter_note(from, AR_NOTE_TEMPLATE_TEXT);
    *turns = form && !strcmp(form, ar__parts_kind_name(AR_DATA_MESSAGES));
    if (own && !(*text = ar__strdup(own))) s = ar__fail_memory(err, o->init_adapter);
    ar_adapter_free(from);
    return s;
}

/* Of a stack's pairs the stack, once. */
static bool add_target(ar_strings *list, const ar_pair *p) {
    if (!ar__pair_in_stack(p)) return ar__strings_add(list, p->site);
    if (p->expert) return true;
    char *stack = ar__strndup(p->site, (size_t)(strrchr(p->site, '[') - p->site));
    bool ok = stack && ar__strings_add(list, stack);
    free(stack);
    return ok;
}

/* Of transformers 4: a pair for each linear of each expert, which PEFT adapts in stacks since. */
static ar_status refuse_single_experts(const ar_adapter *from, const ar_train_options *o, ar_error *err) {
    for (size_t i = 0; i < from->pair_count; i++) {
        const char *site = from->pair[i].site, *at = strstr(site, ".experts."), *number = at ? at + 9 : "";
        size_t digits = strspn(number, "0123456789");
        if (from->pair[i].experts || !digits || number[digits] != '.') continue;
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "%s: has a pair on one expert, '%s', as transformers 4 trained them; experts train in stacks, as PEFT has them since: "
            "merge it (alphar merge) and train on the result",
            o->course.init_adapter, site);
    }
    return AR_OK;
}

ar_status ar__init_adapter_settings(ar_adapter_settings *s, const ar_train_options *o, bool own_strengths, ar_error *err) {
    ar_adapter *from = NULL;
    ar_status st = open_source(&from, &o->course, NULL, err);
    if (!st) st = refuse_single_experts(from, o, err);
    if (st) {
        ar_adapter_free(from);
        return st;
    }
    bool ok = true;
    if (!o->learner.targets) { /* exact paths, which are sites whatever the layers */
        free(s->targets.regex);
        s->targets.regex = NULL;
        for (size_t i = 0; ok && i < from->pair_count; i++) ok = add_target(&s->targets.list, &from->pair[i]);
    }
    if (ok && own_strengths && !s->rank_pattern.count && !s->alpha_pattern.count)
        ok = copy_patterns(&s->rank_pattern, &from->settings.rank_pattern) &&
             copy_patterns(&s->alpha_pattern, &from->settings.alpha_pattern);
    ar_adapter_free(from);
    return ok ? AR_OK : ar__fail_memory(err, o->course.init_adapter);
}

/* What makes up for a quantised base does so still. */
static ar_status take_correction(ar_adapter *ad, const ar_adapter *from, const ar_train_options *o, const ar_log *log, ar_error *err) {
    ar__adapter_warn_correction(from, o->course.init_adapter, o->course.quantize, log);
    return ar__adapter_corrects(from) ? ar__adapter_set_note(ad, AR_NOTE_INIT, ar__adapter_note(from, AR_NOTE_INIT), err) : AR_OK;
}

ar_status ar__init_adapter(ar_adapter *ad, const ar_train_options *o, const ar_log *log, ar_error *err) {
    ar_adapter *from = NULL;
    ar_status s = open_source(&from, &o->course, log, err);
    if (!s) s = check_sites(ad, from, o, err);
    if (!s) s = ar__adapter_load(from, err);
    if (!s) ar__changes_warn_of_adapter(from, o, log);
    if (!s) s = take_correction(ad, from, o, log, err);
    size_t changed = 0;
    for (size_t i = 0; !s && i < ad->pair_count; i++) {
        const ar_pair *old = ar__adapter_find_pair(from, ad->pair[i].site);
        changed += old->rank != ad->pair[i].rank || old->scale != ad->pair[i].scale;
        take_pair(&ad->pair[i], old);
    }
    for (size_t i = 0; !s && i < ad->whole_count; i++) {
        const ar_whole *old = ar__adapter_find_whole(from, ad->whole[i].name);
        memcpy(ad->whole[i].data, old->data, ad->whole[i].count * sizeof *old->data);
    }
    if (!s && changed)
        ar__log_info(
            log,
            "%s: rank or alpha changed at %zu site%s; the function is kept (B is multiplied by s_old/s_new, new rows start at zero effect)",
            o->course.init_adapter, changed, changed == 1 ? "" : "s");
    ar_adapter_free(from);
    return s;
}
