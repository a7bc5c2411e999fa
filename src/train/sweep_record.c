/* sweep.json:
 *
 *     {"alphar": VERSION, "settings": {of the course and the runs}, "halving": true,
 *      "candidates": [{"dir": "run-01", "rank", "alpha", "policy", "scale", "lr", …, "steps", "loss", "eval_loss", "state",
 *                      "settings": {of the learner}, "given": [names]}],
 *      "rungs": [{"step": […], "loss": […], "left": […]}], "best": "run-03"} */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "train/settings.h"
#include "train/sweep_ranks.h"

static json_t *real_or_null(double x) { return isfinite(x) && x >= 0.0 ? json_real(x) : json_null(); }

static ar_train_options options_of(const ar_sweep_state *s, int i) {
    ar_train_options o = s->o->common;
    o.learner = s->o->candidates[i];
    return o;
}

/* Everything that two candidates may differ in. */
static json_t *settings_of(const ar_sweep_state *s, int i) {
    ar_train_options o = options_of(s, i);
    return ar__settings_parts_json(&o, 1u << AR_PART_LEARNER);
}

/* Whether the candidates have different values of this setting. */
static bool varies(const json_t *const *settings, int count, const char *key) {
    for (int i = 1; i < count; i++)
        if (!json_equal(json_object_get(settings[0], key), json_object_get(settings[i], key))) return true;
    return false;
}

static json_t *candidate_json(const ar_sweep_state *s, int i, const json_t *const *settings) {
    static const char *const always[] = {"policy", "lr", "lr-ratio", "seed"};
    const ar_candidate *c = &s->candidate[i];
    ar_train_options o = options_of(s, i);
    json_t *j = json_pack("{s:s, s:i, s:o, s:o, s:I, s:o, s:o, s:s}", "dir", c->dir, "rank", c->rank, "alpha", json_real(c->alpha), "scale",
                          json_real(c->scale), "steps", (json_int_t)c->steps, "loss", real_or_null(c->loss), "eval_loss",
                          real_or_null(c->eval_loss), "state", ar_candidate_state_name(c->state));
    if (j && c->scale_least < c->scale_most) json_object_set_new(j, "scale_range", json_pack("[f, f]", c->scale_least, c->scale_most));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)settings[i], key, value) {
        bool shown = varies(settings, s->count, key);
        for (size_t k = 0; !shown && k < sizeof always / sizeof *always; k++) shown = !strcmp(key, always[k]);
        if (shown && j && !json_object_get(j, key)) json_object_set(j, key, value);
    }
    if (j && *c->error) json_object_set_new(j, "error", json_string(c->error));
    if (j) json_object_set(j, "settings", (json_t *)(uintptr_t)settings[i]);
    if (j) json_object_set_new(j, "given", ar__train_given_json(&o));
    return j;
}

static int best_of(const ar_sweep_state *s) {
    int best = -1;
    for (int i = 0; i < s->count; i++) {
        const ar_candidate *c = &s->candidate[i];
        if (c->state == AR_CANDIDATE_DONE && c->eval_loss >= 0.0 && (best < 0 || c->eval_loss < s->candidate[best].eval_loss)) best = i;
    }
    return best;
}

ar_status ar__sweep_record_write(const ar_sweep_state *s, ar_error *err) {
    if (!ar__sweep_is_first(s)) return AR_OK;
    json_t **settings = ar__alloc((size_t)s->count, sizeof(json_t *)), *list = json_array();
    char *path = ar__path_join(s->dir, AR_SWEEP_RECORD);
    for (int i = 0; settings && i < s->count; i++) settings[i] = settings_of(s, i);
    for (int i = 0; settings && list && i < s->count; i++)
        json_array_append_new(list, candidate_json(s, i, (const json_t *const *)settings));
    int best = best_of(s);
    json_t *j = json_pack("{s:s, s:o, s:b, s:o, s:O, s:o}", "alphar", ar_version(), "settings",
                          ar__settings_parts_json(&s->o->common, 1u << AR_PART_COURSE | 1u << AR_PART_RUN), "halving", s->o->halving,
                          "candidates", list, "rungs", s->rungs, "best", best < 0 ? json_null() : json_string(s->candidate[best].dir));
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    ar_buf b = {0};
    if (text) ar__buf_printf(&b, "%s\n", text);
    ar_status st = text && path && settings && !b.failed ? ar__file_write(path, b.data, b.len, err) : ar__fail_memory(err, s->dir);
    for (int i = 0; settings && i < s->count; i++) json_decref(settings[i]);
    ar__buf_release(&b);
    free(settings);
    free(path);
    free(text);
    json_decref(j);
    return st;
}

/* ---- going on --------------------------------------------------------------------------------------------------------*/

static ar_status differs(const char *path, const char *what, ar_error *err) {
    return ar__fail(
        err, AR_ERR_MISMATCH,
        "%s: the sweep was started with other %s; resume with the same (lists may have more values), or start anew with another --out",
        path, what);
}

/* What does not touch the course of its runs may change; the samples are compared by each run. */
static ar_status check_settings(const json_t *old, const ar_sweep_state *s, const char *path, ar_error *err) {
    json_t *now = ar__settings_parts_json(&s->o->common, 1u << AR_PART_COURSE | 1u << AR_PART_RUN);
    const char *key;
    json_t *value;
    ar_status st = now ? AR_OK : ar__fail_memory(err, path);
    json_object_foreach(now, key, value) {
        const ar_setting *row = ar_train_setting(key);
        const json_t *before = json_object_get(old, key);
        if (!st && before && !(row->flags & AR_SETTING_RESUME) && strcmp(key, "compute") != 0 && !json_equal(before, value))
            st = ar__fail(err, AR_ERR_MISMATCH, "%s: the sweep was started with another %s; resume with the same", path, key);
    }
    json_decref(now);
    return st;
}

static ar_candidate_state state_of(const char *name) {
    for (int k = AR_CANDIDATE_RUNNING; name && k <= AR_CANDIDATE_FAILED; k++)
        if (!strcmp(name, ar_candidate_state_name((ar_candidate_state)k))) return (ar_candidate_state)k;
    return AR_CANDIDATE_RUNNING;
}

static double number(const json_t *j, const char *key) {
    const json_t *x = json_object_get(j, key);
    return json_is_number(x) ? json_number_value(x) : -1.0;
}

static ar_status take_candidate(ar_sweep_state *s, int i, const json_t *old, const char *path, ar_error *err) {
    ar_candidate *c = &s->candidate[i];
    json_t *now = settings_of(s, i);
    bool same = now && json_equal(now, json_object_get(old, "settings"));
    json_decref(now);
    if (!same) return differs(path, "candidates", err);
    const char *error = json_string_value(json_object_get(old, "error"));
    c->state = state_of(json_string_value(json_object_get(old, "state")));
    if (c->state == AR_CANDIDATE_FAILED && error) snprintf(c->error, sizeof c->error, "%s", error);
    c->rank = (int)json_integer_value(json_object_get(old, "rank"));
    c->alpha = json_number_value(json_object_get(old, "alpha"));
    c->scale = c->scale_least = c->scale_most = json_number_value(json_object_get(old, "scale"));
    const json_t *range = json_object_get(old, "scale_range");
    if (json_array_size(range) == 2) {
        c->scale_least = json_number_value(json_array_get(range, 0));
        c->scale_most = json_number_value(json_array_get(range, 1));
    }
    c->steps = json_integer_value(json_object_get(old, "steps"));
    c->loss = number(old, "loss");
    c->eval_loss = number(old, "eval_loss");
    return AR_OK;
}

/* What the disk has; NULL: nothing. */
static ar_status load(json_t **out, const char *path, ar_error *err) {
    *out = NULL;
    return ar__path_exists(path) ? ar__json_load_object(out, path, 1 << 26, err) : AR_OK;
}

/* The same in all ranks. */
static ar_status spread(json_t **old, ar_ranks *ranks, ar_error *err) {
    char *text = *old ? json_dumps(*old, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    ar_status st = *old && !text ? ar__fail_memory(err, AR_SWEEP_RECORD) : ar_ranks_text(ranks, &text, err);
    if (!st && !*old && text && !(*old = json_loads(text, 0, NULL))) st = ar__fail_memory(err, AR_SWEEP_RECORD);
    free(text);
    return st;
}

static ar_status take(ar_sweep_state *s, const json_t *old, const char *path, ar_error *err) {
    const json_t *list = json_object_get(old, "candidates"), *rungs = json_object_get(old, "rungs");
    ar_status st = AR_OK;
    int known = (int)json_array_size(list); /* others may follow, where none waits for another */
    if (known > s->count) st = differs(path, "candidates", err);
    if (!st && json_is_true(json_object_get(old, "halving")) != s->o->halving) st = differs(path, "halving", err);
    if (!st) st = check_settings(json_object_get(old, "settings"), s, path, err);
    for (int i = 0; !st && i < known; i++) st = take_candidate(s, i, json_array_get(list, (size_t)i), path, err);
    if (!st && known < s->count && s->o->halving)
        st = ar__fail(
            err, AR_ERR_MISMATCH,
            "%s: found %d candidates and %d now; with halving, which compares them on the way, none can join later: resume with the "
            "same, or start anew with another --out",
            path, known, s->count);
    if (!st && json_is_array(rungs)) {
        json_decref(s->rungs);
        s->rungs = json_incref((json_t *)(uintptr_t)rungs);
        s->rung_count = (int)json_array_size(rungs);
    }
    return st;
}

ar_status ar__sweep_record_read(ar_sweep_state *s, ar_error *err) {
    char *path = ar__path_join(s->dir, AR_SWEEP_RECORD);
    json_t *old = NULL;
    ar_status st = path ? AR_OK : ar__fail_memory(err, s->dir);
    if (!st && ar__sweep_is_first(s)) st = load(&old, path, err);
    if (!st && s->over_ranks) st = spread(&old, s->over_ranks->ranks, err);
    if (!st && old) st = take(s, old, path, err);
    json_decref(old);
    free(path);
    return st;
}

ar_status ar__sweep_clear(const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, AR_SWEEP_RECORD), *best = ar__path_join(dir, "best");
    json_t *old = NULL;
    ar_status st = path && best ? AR_OK : ar__fail_memory(err, dir);
    if (!st && ar__path_exists(path)) st = ar__json_load_object(&old, path, 1 << 26, err);
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(old, "candidates"), i, c) {
        const char *name = json_string_value(json_object_get(c, "dir"));
        char *run = name && !strncmp(name, "run-", 4) && !strchr(name, '/') ? ar__path_join(dir, name) : NULL;
        if (!st && run) st = ar__dir_remove(run, err);
        free(run);
    }
    if (!st && old) st = ar__dir_remove(best, err);
    if (!st && old) st = ar__dir_remove(path, err); /* last: until then the folder is known as ours */
    json_decref(old);
    free(path);
    free(best);
    return st;
}
