#include "train/settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/base_name.h"
#include "adapter/name_list.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "train/init.h"
#include "train/objective.h"

/* ---- the table -------------------------------------------------------------------------------------------------------*/

static void *at(ar_train_options *o, const ar_setting *s) { return (char *)o + s->offset; }
static const void *seen_at(const ar_train_options *o, const ar_setting *s) { return (const char *)o + s->offset; }

int64_t ar__setting_integer(const ar_train_options *o, const ar_setting *s) {
    const void *from = seen_at(o, s);
    switch (s->type) {
    case AR_SETTING_FLAG: return *(const bool *)from;
    case AR_SETTING_INT:
    case AR_SETTING_CHOICE: return *(const int *)from;
    case AR_SETTING_LONG:
    case AR_SETTING_BYTES: return *(const int64_t *)from;
    default: return 0;
    }
}

double ar__setting_number(const ar_train_options *o, const ar_setting *s) {
    return s->type == AR_SETTING_NUMBER ? *(const double *)seen_at(o, s) : (double)ar__setting_integer(o, s);
}

const char *ar__setting_text(const ar_train_options *o, const ar_setting *s) { return *(const char *const *)seen_at(o, s); }
const ar_texts *ar__setting_texts(const ar_train_options *o, const ar_setting *s) { return seen_at(o, s); }

int ar__setting_choice(size_t *length, const char **name, const ar_setting *s, int i) {
    int count = 0;
    for (const char *p = s->choices; p; count++) {
        size_t n = strcspn(p, "|");
        if (count == i) {
            *name = p;
            *length = n;
        }
        p = p[n] ? p + n + 1 : NULL;
    }
    return count;
}

static int place_of(const ar_setting *s, const char *text) {
    size_t n = 0;
    const char *name = "";
    int count = ar__setting_choice(&n, &name, s, -1), i = 0;
    for (; i < count; i++) {
        ar__setting_choice(&n, &name, s, i);
        if (strlen(text) == n && !strncmp(text, name, n)) break;
    }
    return i;
}

/* The rows are the program's own: their texts are good. */
static void set_initial(ar_train_options *o, const ar_setting *s) {
    switch (s->type) {
    case AR_SETTING_FLAG: *(bool *)at(o, s) = !strcmp(s->initial, "true"); break;
    case AR_SETTING_INT: *(int *)at(o, s) = (int)strtol(s->initial, NULL, 10); break; /* a word is 0 */
    case AR_SETTING_LONG:
    case AR_SETTING_BYTES: *(int64_t *)at(o, s) = strtoll(s->initial, NULL, 10); break;
    case AR_SETTING_NUMBER: *(double *)at(o, s) = strtod(s->initial, NULL); break;
    case AR_SETTING_CHOICE: *(int *)at(o, s) = place_of(s, s->initial); break;
    case AR_SETTING_TEXT: *(const char **)at(o, s) = s->initial; break;
    default: break;
    }
}

void ar_train_options_init(ar_train_options *o) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    *o = (ar_train_options){0};
    for (size_t i = 0; i < count; i++)
        if (rows[i].initial) set_initial(o, &rows[i]);
}

/* ---- checks ----------------------------------------------------------------------------------------------------------*/

static ar_status check_range(const ar_train_options *o, const ar_setting *s, ar_error *err) {
    bool whole = s->type == AR_SETTING_INT || s->type == AR_SETTING_LONG || s->type == AR_SETTING_BYTES;
    if (!whole && s->type != AR_SETTING_NUMBER && s->type != AR_SETTING_CHOICE) return AR_OK;
    double x = ar__setting_number(o, s), most = s->most;
    size_t n;
    const char *name;
    if (s->type == AR_SETTING_CHOICE) most = ar__setting_choice(&n, &name, s, -1) - 1;
    bool any = s->type == AR_SETTING_NUMBER && most == 0.0 && s->least == 0.0;
    if (most == 0.0 && whole) most = s->type == AR_SETTING_INT ? INT32_MAX : 0x1p63;
    if (x == 0.0 && (s->flags & AR_SETTING_OR_ZERO)) return AR_OK;
    bool low = s->flags & AR_SETTING_ABOVE ? x > s->least : x >= s->least, high = s->flags & AR_SETTING_BELOW ? x < most : x <= most;
    if (any ? isfinite(x) : low && high) return AR_OK;
    if (any) return ar__fail(err, AR_ERR_USAGE, "%s: found %g, wanted a finite number", s->name, x);
    return ar__fail(err, AR_ERR_USAGE, "%s: found %g, wanted %s%g to %s%g", s->name, x, s->flags & AR_SETTING_ABOVE ? "above " : "",
                    s->least, s->flags & AR_SETTING_BELOW ? "below " : "", most);
}

static ar_status check_ranges(const ar_train_options *o, ar_error *err) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    ar_status st = AR_OK;
    for (size_t i = 0; !st && i < count; i++) st = check_range(o, &rows[i], err);
    return st;
}

/* run.json keeps every text, and JSON has no others. */
static ar_status check_text(const ar_setting *s, const char *text, ar_error *err) {
    if (!text || ar__utf8_valid(text, strlen(text)) == strlen(text)) return AR_OK;
    return ar__fail(err, AR_ERR_USAGE, "%s: found a text or name that is no UTF-8, which run.json could not keep; rename it", s->name);
}

static ar_status check_texts(const ar_train_options *o, ar_error *err) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    ar_status st = AR_OK;
    for (size_t i = 0; !st && i < count; i++) {
        ar_setting_type type = rows[i].type;
        bool list = type == AR_SETTING_TEXTS || type == AR_SETTING_FILES;
        if (type == AR_SETTING_PATH || type == AR_SETTING_TEXT || type == AR_SETTING_NAMES)
            st = check_text(&rows[i], ar__setting_text(o, &rows[i]), err);
        const ar_texts *texts = list ? ar__setting_texts(o, &rows[i]) : NULL;
        for (size_t k = 0; texts && !st && k < texts->count; k++) st = check_text(&rows[i], texts->items[k], err);
    }
    return st;
}

/* A list is given with its count, which says that it is there. */
static ar_status check_lists(const ar_train_options *o, ar_error *err) {
    const ar_course_options *c = &o->course;
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].type != AR_SETTING_TEXTS && rows[i].type != AR_SETTING_FILES) continue;
        const ar_texts *list = ar__setting_texts(o, &rows[i]);
        if (list->count && !list->items) return ar__fail(err, AR_ERR_VALUE, "%s: is NULL, its count says that it is there", rows[i].name);
    }
    if ((c->data.sample_count && !c->data.samples) || (c->eval_data.sample_count && !c->eval_data.samples))
        return ar__fail(err, AR_ERR_VALUE, "samples: is NULL, its count says that it is there");
    return AR_OK;
}

static ar_status check_preference(const ar_train_options *o, ar_error *err) {
    ar_preference p = o->learner.preference;
    ar_status s = ar__preference_resolve(&p, err);
    if (s || !p.objective || o->course.train_on != AR_TRAIN_ON_ALL) return s;
    return ar__fail(err, AR_ERR_USAGE, "train-on all: found an objective, which compares completions, not their prompts");
}

ar_status ar_train_options_check(const ar_train_options *o, ar_error *err) {
    ar_status s = check_ranges(o, err);
    if (!s) s = check_lists(o, err);
    if (!s) s = check_texts(o, err);
    if (!s) s = check_preference(o, err);
    if (s) return s;
    if (o->learner.alpha_given && !isfinite(o->learner.alpha))
        return ar__fail(err, AR_ERR_USAGE, "alpha: found %g, wanted a finite number", o->learner.alpha);
    if (o->learner.alpha_given && o->learner.alpha <= 0.0)
        return ar__fail(err, AR_ERR_USAGE,
                        "alpha: found %g, wanted more than 0: at 0 the adapter is off, below it training would push away",
                        o->learner.alpha);
    if (o->learner.policy == AR_POLICY_RSLORA && !o->learner.alpha_given && !o->course.init_adapter)
        return ar__fail(err, AR_ERR_USAGE,
                        "policy rslora: alpha is not given; under s = alpha/sqrt(rank) the usual 2*rank would be far too strong");
    if ((s = ar__init_check(o, err))) return s;
    bool lora = o->course.init_adapter || o->learner.dora || o->learner.modules_to_save || o->learner.rank_given ||
                o->learner.alpha_given || o->learner.policy_given || o->learner.targets || o->learner.exclude || o->learner.layers ||
                o->learner.rank_patterns.count || o->learner.alpha_patterns.count || o->learner.dropout > 0.0 ||
                o->learner.bias != AR_BIAS_NONE || o->learner.lr_ratio != 1.0;
    lora = lora || o->learner.alpha_warmup || o->learner.train_scale || (o->learner.init_scale != 0.0 && o->learner.init_scale != 1.0);
    if (o->learner.alpha_warmup && o->learner.dora)
        return ar__fail(err, AR_ERR_USAGE, "alpha-warmup: found dora, whose direction turns with s; leave one out");
    if (o->learner.method == AR_METHOD_FULL && lora)
        return ar__fail(err, AR_ERR_USAGE, "method full: trains every weight and takes no adapter options");
    if (o->learner.method == AR_METHOD_FULL && o->course.quantize)
        return ar__fail(err, AR_ERR_USAGE,
                        "quantize: found method full, which trains every weight in f32 and would begin with rounded ones; leave one out");
    if (o->run.early_stop && !ar__has_samples(&o->course.eval_data))
        return ar__fail(err, AR_ERR_USAGE, "early-stop: eval-data is not given");
    if (o->run.eval_every && !ar__has_samples(&o->course.eval_data))
        return ar__fail(err, AR_ERR_USAGE, "eval-every: eval-data is not given");
    if (o->learner.min_lr > o->learner.lr)
        return ar__fail(err, AR_ERR_USAGE, "min-lr: found %g, wanted at most the rate itself, %g", o->learner.min_lr, o->learner.lr);
    return AR_OK;
}

static ar_status set_names(ar_names *out, const char *option, const char *text, ar_error *err) {
    return text ? ar__names_parse(out, option, text, err) : AR_OK;
}

/* Names alone, where PEFT has no pattern. */
static ar_status set_saved(ar_strings *out, const char *text, ar_error *err) {
    return text ? ar__strings_parse(out, "modules-to-save", text, err) : AR_OK;
}

/* "0-11,13" to a list of layers. */
static ar_status set_layers(ar_adapter_settings *s, const char *text, ar_error *err) {
    size_t cap = 0;
    for (const char *p = text; p;) {
        char *end;
        long long first = strtoll(p, &end, 10), last = first;
        bool ok = end != p && first >= 0;
        end += strspn(end, " ");
        if (ok && *end == '-') {
            p = end + 1;
            last = strtoll(p, &end, 10);
            ok = end != p && last >= first;
            end += strspn(end, " ");
        }
        if (!ok || (*end && *end != ',') || last > 100000)
            return ar__fail(err, AR_ERR_USAGE, "layers: found '%s', wanted something like 0-11 or 0,3,5-7", text);
        for (long long l = first; l <= last; l++) {
            int64_t *list = ar__grow(s->layers, &cap, s->layer_count + 1, sizeof *list);
            if (!list) return ar__fail_memory(err, "layers");
            s->layers = list;
            list[s->layer_count++] = l;
        }
        p = *end ? end + 1 : NULL;
    }
    return AR_OK;
}

/* "RE=N": the value follows the last '='. */
static ar_status add_pattern(ar_patterns *out, const char *text, const char *option, ar_error *err) {
    const char *eq = strrchr(text, '=');
    char *end = NULL;
    double value = eq ? strtod(eq + 1, &end) : 0.0;
    size_t n = eq ? (size_t)(eq - text) : 0;
    const char *begin = ar__trimmed(&n, text);
    if (!n || end == eq + 1 || end[strspn(end, " ")] || !isfinite(value))
        return ar__fail(err, AR_ERR_USAGE, "%s: found '%s', wanted REGEX=NUMBER", option, text);
    char *key = ar__strndup(begin, n);
    bool ok = key && ar__patterns_add(out, key, value);
    free(key);
    return ok ? AR_OK : ar__fail_memory(err, option);
}

ar_status ar__train_adapter_settings(ar_adapter_settings *out, const ar_train_options *o, ar_error *err) {
    ar__settings_init(out);
    out->rank = o->learner.rank;
    out->alpha = o->learner.alpha_given ? o->learner.alpha : 2.0 * o->learner.rank;
    out->policy = o->learner.policy;
    out->dora = o->learner.dora;
    out->dropout = o->learner.dropout;
    out->bias = o->learner.bias;
    out->base = ar__base_reference(o->course.model);
    out->task_type = ar__strdup("CAUSAL_LM");
    ar_status s = out->base && out->task_type ? AR_OK : ar__fail_memory(err, "settings");
    if (!s) s = set_names(&out->targets, "targets", o->learner.targets ? o->learner.targets : "all-linear", err);
    if (!s) s = set_names(&out->exclude, "exclude", o->learner.exclude, err);
    if (!s) s = set_saved(&out->save, o->learner.modules_to_save, err);
    if (!s) s = set_layers(out, o->learner.layers, err);
    for (size_t i = 0; !s && i < o->learner.rank_patterns.count; i++)
        s = add_pattern(&out->rank_pattern, o->learner.rank_patterns.items[i], "rank-pattern", err);
    for (size_t i = 0; !s && i < o->learner.alpha_patterns.count; i++)
        s = add_pattern(&out->alpha_pattern, o->learner.alpha_patterns.items[i], "alpha-pattern", err);
    if (s) ar__settings_release(out);
    return s;
}
