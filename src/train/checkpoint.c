#include "train/checkpoint.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"

static char *step_path(const char *dir, int64_t step, const char *file) {
    ar_buf b = {0};
    ar__buf_printf(&b, "%s/checkpoints/step-%" PRId64 "%s%s", dir, step, file ? "/" : "", file ? file : "");
    return b.failed ? NULL : b.data;
}

static ar_status add(ar_st_writer *w, const char *name, const char *suffix, const float *data, size_t count, ar_error *err) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s%s", name, suffix);
    ar_status s =
        full.failed ? ar__fail_memory(err, name) : ar__st_writer_add(w, full.data, AR_F32, 1, (const int64_t[]){(int64_t)count}, data, err);
    ar__buf_release(&full);
    return s;
}

static ar_status add_number(ar_st_writer *w, const char *key, double value, ar_error *err) {
    char text[64];
    snprintf(text, sizeof text, "%.17g", value);
    return ar__st_writer_meta(w, key, text, err);
}

static ar_status write_state(const ar_trainer *t, const char *path, ar_error *err) {
    ar_st_writer *w = NULL;
    ar_status s = ar__st_writer_new(&w, err);
    for (size_t i = 0; !s && i < t->list.count; i++) {
        const ar_trainable *x = &t->list.at[i];
        s = add(w, x->name, "", x->value, x->count, err);
        if (!s && x->m) s = add(w, x->name, "#m", x->m, x->count, err);
        if (!s && x->v) s = add(w, x->name, "#v", x->v, x->count, err);
    }
    if (!s) s = add_number(w, "step", (double)t->step, err);
    if (!s) s = add_number(w, "loss", t->loss, err);
    if (!s) s = add_number(w, "eval_loss", t->eval_loss, err);
    if (!s) s = add_number(w, "strength", t->strength, err);
    if (!s) s = add_number(w, "best_eval", t->best_eval, err);
    if (!s) s = add_number(w, "best_step", (double)t->best_step, err);
    if (!s) s = add_number(w, "evals_since_best", (double)t->evals_since_best, err);
    if (!s) s = ar__st_writer_save(w, path, err);
    ar__st_writer_free(w);
    return s;
}

/* Step numbers of the whole checkpoints, newest first.  Returns their count; *out is malloc'ed. */
static size_t list_steps(int64_t **out, const char *dir) {
    char *folder = ar__path_join(dir, "checkpoints");
    DIR *d = folder ? opendir(folder) : NULL;
    size_t n = 0, cap = 0;
    *out = NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char *end;
        if (strncmp(e->d_name, "step-", 5)) continue;
        int64_t step = strtoll(e->d_name + 5, &end, 10);
        char *state = *end ? NULL : step_path(dir, step, "state.safetensors");
        int64_t *list = state && ar__path_exists(state) ? ar__grow(*out, &cap, n + 1, sizeof *list) : NULL;
        free(state);
        if (!list) continue;
        *out = list;
        size_t at = n++;
        for (; at > 0 && list[at - 1] < step; at--) list[at] = list[at - 1];
        list[at] = step;
    }
    if (d) closedir(d);
    free(folder);
    return n;
}

static ar_status prune(const ar_trainer *t, const char *dir, ar_error *err) {
    int64_t *steps;
    size_t n = list_steps(&steps, dir), kept = 0;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < n; i++) {
        if (steps[i] == t->best_step && t->o.early_stop) continue;
        if (kept++ < (size_t)t->o.keep) continue;
        char *path = step_path(dir, steps[i], NULL);
        s = path ? ar__dir_remove(path, err) : ar__fail_memory(err, dir);
        free(path);
    }
    free(steps);
    return s;
}

ar_status ar__checkpoint_save(const ar_trainer *t, const char *dir, ar_error *err) {
    char *folder = step_path(dir, t->step, NULL), *state = step_path(dir, t->step, "state.safetensors");
    ar_status s = folder && state ? ar__dir_make(folder, err) : ar__fail_memory(err, dir);
    if (!s) s = write_state(t, state, err);
    if (s && folder && !ar__path_exists(state)) ar__dir_remove(folder, NULL);
    if (!s) s = prune(t, dir, err);
    free(folder);
    free(state);
    return s;
}

/* A file that does not open is no checkpoint, whatever its name says. */
static bool is_whole(const char *dir, int64_t step) {
    char *path = step_path(dir, step, "state.safetensors");
    ar_st_set *st = NULL;
    bool opens = path && ar__st_open(&st, path, NULL) == AR_OK;
    ar__st_close(st);
    free(path);
    return opens;
}

int64_t ar__checkpoint_newest(const char *dir) {
    int64_t *steps, newest = -1;
    size_t n = list_steps(&steps, dir);
    for (size_t i = 0; newest < 0 && i < n; i++)
        if (is_whole(dir, steps[i])) newest = steps[i];
    free(steps);
    return newest;
}

static ar_status take(float *out, size_t count, const ar_st_set *st, const char *path, const char *name, const char *suffix,
                      ar_error *err) {
    if (!out) return AR_OK;
    ar_buf full = {0};
    ar__buf_printf(&full, "%s%s", name, suffix);
    const ar_st_tensor *x = full.failed ? NULL : ar__st_find(st, full.data);
    ar__buf_release(&full);
    if (!x || x->dtype != AR_F32 || x->count != count)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: holds no '%s%s' of %zu numbers; the checkpoint belongs to another run", path, name,
                        suffix, count);
    memcpy(out, x->data, count * sizeof *out);
    return AR_OK;
}

static double number(const ar_st_set *st, const char *key, double otherwise) {
    const char *text = ar__st_metadata(st, key);
    return text ? strtod(text, NULL) : otherwise;
}

static ar_status load(ar_trainer *t, const char *dir, int64_t step, bool values_only, ar_error *err) {
    char *path = step_path(dir, step, "state.safetensors");
    ar_st_set *st = NULL;
    ar_status s = path ? ar__st_open(&st, path, err) : ar__fail_memory(err, dir);
    for (size_t i = 0; !s && i < t->list.count; i++) {
        ar_trainable *x = &t->list.at[i];
        s = take(x->value, x->count, st, path, x->name, "", err);
        if (!s && !values_only) s = take(x->m, x->count, st, path, x->name, "#m", err);
        if (!s && !values_only) s = take(x->v, x->count, st, path, x->name, "#v", err);
    }
    if (!s && !values_only) {
        t->step = step;
        t->loss = number(st, "loss", 0.0);
        t->eval_loss = number(st, "eval_loss", -1.0);
        t->strength = number(st, "strength", -1.0);
        t->best_eval = number(st, "best_eval", t->best_eval);
        t->best_step = (int64_t)number(st, "best_step", 0.0);
        t->evals_since_best = (int64_t)number(st, "evals_since_best", 0.0);
    }
    if (!s && t->attachment) ar__attach_refresh(t->attachment);
    ar__st_close(st);
    free(path);
    return s;
}

ar_status ar__checkpoint_load(ar_trainer *t, const char *dir, int64_t step, ar_error *err) { return load(t, dir, step, false, err); }
ar_status ar__checkpoint_load_values(ar_trainer *t, const char *dir, int64_t step, ar_error *err) { return load(t, dir, step, true, err); }
