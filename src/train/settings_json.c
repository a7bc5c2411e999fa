/* Settings as JSON: what run.json holds, and whether a resumed run may have others. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/lines.h"
#include "format/json.h"
#include "train/objective.h"
#include "train/settings.h"

static json_t *text_or_null(const char *s) { return s ? json_string(s) : json_null(); }

/* The place of an input wherever a later command runs; a name that leads nowhere stays as it is. */
static json_t *path_or_null(const char *path) {
    char *whole = path ? realpath(path, NULL) : NULL;
    json_t *j = text_or_null(whole ? whole : path);
    free(whole);
    return j;
}

static json_t *list_of(const ar_texts *list) {
    json_t *a = json_array();
    for (size_t i = 0; a && i < list->count; i++) json_array_append_new(a, json_string(list->items[i]));
    return a;
}

/* A file of samples, whose path may end in the share that is taken of it. */
static json_t *data_path(const char *path) {
    double share;
    char *file = ar__share_split(&share, path), *whole = file ? realpath(file, NULL) : NULL;
    json_t *j = whole ? json_sprintf("%s%s", whole, path + strlen(file)) : json_string(path);
    free(whole);
    free(file);
    return j;
}

/* One file is a string, several are a list. */
static json_t *files_of(const ar_texts *files) {
    if (files->count < 2) return files->count ? data_path(files->items[0]) : json_null();
    json_t *a = json_array();
    for (size_t i = 0; a && i < files->count; i++) json_array_append_new(a, data_path(files->items[i]));
    return a;
}

static json_t *choice_of(const ar_train_options *o, const ar_setting *s) {
    size_t n = 0;
    const char *name = "";
    ar__setting_choice(&n, &name, s, (int)ar__setting_integer(o, s));
    return json_stringn(name, n);
}

static json_t *value_of(const ar_train_options *o, const ar_setting *s) {
    switch (s->type) {
    case AR_SETTING_FLAG: return json_boolean(ar__setting_integer(o, s));
    case AR_SETTING_INT:
    case AR_SETTING_LONG:
    case AR_SETTING_BYTES: return json_integer(ar__setting_integer(o, s));
    case AR_SETTING_NUMBER: return json_real(ar__setting_number(o, s));
    case AR_SETTING_CHOICE: return choice_of(o, s);
    case AR_SETTING_TEXT:
    case AR_SETTING_NAMES: return text_or_null(ar__setting_text(o, s));
    case AR_SETTING_PATH: return path_or_null(ar__setting_text(o, s));
    case AR_SETTING_TEXTS: return list_of(ar__setting_texts(o, s));
    case AR_SETTING_FILES: return files_of(ar__setting_texts(o, s));
    case AR_SETTING_SECTION: break;
    }
    return NULL;
}

/* What an objective does not ask for says nothing, nor a balance of experts that nobody asked for. */
static bool is_idle(const char *name, const ar_learner_options *l) {
    ar_objective o = l->preference.objective;
    if (!strcmp(name, "router-aux-loss")) return !l->router_aux_loss_given;
    if (!strcmp(name, "objective") || !strcmp(name, "beta")) return !o;
    if (!strcmp(name, "gamma")) return o != AR_OBJECTIVE_SIMPO;
    return !strcmp(name, "label-smoothing") && (!o || o == AR_OBJECTIVE_ORPO);
}

json_t *ar__settings_parts_json(const ar_train_options *o, unsigned parts) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    json_t *j = json_object();
    int bad = !j;
    for (size_t i = 0; !bad && i < count; i++) {
        if (rows[i].type == AR_SETTING_SECTION || rows[i].flags & AR_SETTING_PASSING || !(parts & 1u << ar_setting_part_of(&rows[i])))
            continue;
        bool idle = is_idle(rows[i].name, &o->learner);
        bad = json_object_set_new(j, rows[i].name, idle ? json_null() : value_of(o, &rows[i]));
    }
    if (!bad) return j;
    json_decref(j);
    return NULL;
}

json_t *ar__train_settings_json(const ar_train_options *o, int64_t steps, const uint64_t *data_hash) {
    char hash[32];
    json_t *j = ar__settings_parts_json(o, 1u << AR_PART_COURSE | 1u << AR_PART_LEARNER | 1u << AR_PART_RUN);
    if (data_hash) snprintf(hash, sizeof hash, "%016llx", (unsigned long long)*data_hash);
    if (j && !json_object_set_new(j, "steps", json_integer(steps)) &&
        !json_object_set_new(j, "data-hash", text_or_null(data_hash ? hash : NULL)))
        return j;
    json_decref(j);
    return NULL;
}

json_t *ar__train_given_json(const ar_train_options *o) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        bool given = rows[i].given && *(const bool *)((const char *)o + rows[i].given);
        if (given || (!strcmp(rows[i].name, "steps") && o->learner.steps > 0)) json_array_append_new(list, json_string(rows[i].name));
    }
    return list;
}

/* Steps (and with them epochs) and the samples are judged apart. */
static bool may_change(const char *key) {
    const ar_setting *s = ar_train_setting(key);
    return s ? s->flags & AR_SETTING_RESUME : !strcmp(key, "data-hash");
}

static ar_status differ(const char *place, const char *key, const json_t *before, const json_t *now, ar_error *err) {
    char *a = json_dumps(before, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)),
         *b = json_dumps(now, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    ar_status s = ar__fail(err, AR_ERR_MISMATCH,
                           "%s: the run was started with %s %s, found %s now; resume with the same, or start anew with another --out",
                           place, key, a ? a : "nothing", b ? b : "nothing");
    free(a);
    free(b);
    return s;
}

/* Under any schedule but the constant one every rate follows from the number of steps. */
static ar_status check_steps(const json_t *before, const json_t *now, const char *place, ar_error *err) {
    json_int_t then = json_integer_value(json_object_get(before, "steps")), wanted = json_integer_value(json_object_get(now, "steps"));
    const char *schedule = json_string_value(json_object_get(now, "schedule"));
    if (wanted == then || (wanted > then && schedule && !strcmp(schedule, "constant"))) return AR_OK;
    return ar__fail(
        err, AR_ERR_MISMATCH,
        "%s: the run was started with steps %lld, found %lld now, and the rates of its %s schedule follow from their number; to "
        "train on from what it learned: --init-adapter with this folder, and another --out",
        place, (long long)then, (long long)wanted, schedule ? schedule : "old");
}

/* The samples are compared last: another setting, such as the length they are cut at, is the better explanation. */
static ar_status check_data(const json_t *before, const json_t *now, const char *place, ar_error *err) {
    const json_t *then = json_object_get(before, "data-hash"), *hash = json_object_get(now, "data-hash");
    if (json_is_null(then) || json_equal(then, hash)) return AR_OK; /* null: killed before its first checkpoint */
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: the samples are not those that the run was started with: the data or the tokenizer has changed; resume with the "
                    "same, or start anew with another --out",
                    place);
}

static ar_status agree(const json_t *before, const json_t *now, const json_t *usual, const char *place, ar_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)now, key, value) {
        const json_t *old = json_object_get(before, key);
        bool off = ar__json_is_off(value) || (json_is_number(value) && json_number_value(value) == 0.0);
        if (!old && (off || json_equal(value, json_object_get(usual, key)))) continue; /* an option that there was not yet */
        if (!may_change(key) && !json_equal(old, value)) return differ(place, key, old, value, err);
    }
    ar_status s = check_steps(before, now, place, err);
    return s ? s : check_data(before, now, place, err);
}

ar_status ar__train_settings_agree(const json_t *before, const json_t *now, const char *place, ar_error *err) {
    ar_train_options o;
    ar_train_options_init(&o);
    json_t *usual = ar__train_settings_json(&o, 0, NULL);
    ar_status s = usual ? agree(before, now, usual, place, err) : ar__fail_memory(err, place);
    json_decref(usual);
    return s;
}
