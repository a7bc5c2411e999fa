#include "train/output.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "train/events.h"
#include "train/metrics.h"
#include "train/settings.h"
#include "train/start.h"

static ar_status check_input(const char *option, const char *path, const char *out, ar_error *err) {
    if (!path || !ar__path_lies_in(path, out)) return AR_OK;
    return ar__fail(err, AR_ERR_EXISTS, "%s: is or holds --%s %s, which this run reads; give another --out", out, option, path);
}

static ar_status check_inputs(const ar_train_options *o, ar_error *err) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < count; i++) {
        if (rows[i].type == AR_SETTING_PATH) s = check_input(rows[i].name, ar__setting_text(o, &rows[i]), o->run.out, err);
        const ar_texts *files = rows[i].type == AR_SETTING_FILES ? ar__setting_texts(o, &rows[i]) : NULL;
        for (size_t k = 0; files && !s && k < files->count; k++) s = check_input(rows[i].name, files->items[k], o->run.out, err);
    }
    return s;
}

void ar__output_abandon(const ar_train_options *o) {
    ar__events_remove(o->run.out);
    static const char *const begun[] = {AR_METRICS_FILE, AR_STRENGTH_FILE, "run.json", "checkpoints", AR_START_FOLDER};
    for (size_t i = 0; i < sizeof begun / sizeof *begun; i++) {
        char *path = ar__path_join(o->run.out, begun[i]);
        if (path) ar__dir_remove(path, NULL);
        free(path);
    }
}

/* What a killed process was about to write: NAME.tmp-PID of a file that is a run's.  Only while the lock is held. */
static void sweep(const char *dir) {
    static const char *const files[] = {AR_RUN_RECORD,
                                        AR_SWEEP_RECORD,
                                        AR_METRICS_FILE,
                                        AR_STRENGTH_FILE,
                                        "README.md",
                                        "adapter_config.json",
                                        "adapter_model.safetensors",
                                        "config.json",
                                        "model.safetensors"};
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *end = strstr(e->d_name, ".tmp-");
        bool ours = false;
        for (size_t i = 0; end && !ours && i < sizeof files / sizeof *files; i++)
            ours = strlen(files[i]) == (size_t)(end - e->d_name) && !strncmp(e->d_name, files[i], strlen(files[i]));
        char *path = ours ? ar__path_join(dir, e->d_name) : NULL;
        if (path) unlink(path);
        free(path);
    }
    if (d) closedir(d);
}

/* The settings of the run (or the sweep) that left the folder; NULL where none of ours did. */
static json_t *run_settings(const char *dir, const char *record) {
    char *path = ar__path_join(dir, record);
    json_t *run = NULL, *settings = NULL;
    if (path && ar__path_exists(path) && ar__json_load_object(&run, path, 1 << 24, NULL) == AR_OK && json_object_get(run, "alphar"))
        settings = json_incref(json_object_get(run, "settings"));
    json_decref(run);
    free(path);
    return settings;
}

/* Holds nothing but what a killed run was about to write, and the lock. */
static bool is_empty_dir(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = d != NULL;
    for (struct dirent *e; d && empty && (e = readdir(d));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, AR_LOCK_NAME) || strstr(e->d_name, ".tmp-");
    if (d) closedir(d);
    return empty;
}

/* Whoever is at work there is the better explanation. */
static ar_status fail_taken(const char *dir, const char *record, ar_error *err) {
    ar_status s = ar__lock_check(dir, err);
    if (s) return s;
    if (!ar__path_is_dir(dir)) return ar__fail(err, AR_ERR_EXISTS, "%s: is a file, wanted a new folder; give another --out", dir);
    json_t *settings = run_settings(dir, record);
    bool ours = settings || is_empty_dir(dir);
    json_decref(settings);
    if (!ours) return ar__fail(err, AR_ERR_EXISTS, "%s: exists already and holds other files than a run's; give another --out", dir);
    return ar__fail(err, AR_ERR_EXISTS, "%s: exists already; give another --out, or --overwrite, or --resume", dir);
}

static ar_status check_left_by_us(const ar_train_options *o, const char *record, ar_error *err) {
    if (is_empty_dir(o->run.out)) return AR_OK;
    json_t *settings = run_settings(o->run.out, record);
    if (!settings)
        return ar__fail(err, AR_ERR_EXISTS, "%s: exists and was not left by a run of alphar (no %s of its own); give another --out",
                        o->run.out, record);
    json_decref(settings);
    return o->run.resume || o->run.overwrite ? AR_OK : fail_taken(o->run.out, record, err);
}

/* The nearest folder above, or dir itself, that is there; malloc'ed. */
static char *nearest_folder(const char *dir) {
    char *at = ar__strdup(dir);
    while (at && !ar__path_exists(at)) {
        char *up = ar__path_parent(at);
        free(at);
        at = up;
    }
    return at;
}

/* The folder appears with the lock in it, so that of several runs that begin at once all but one find it taken. */
static ar_status make_locked(ar_output *out, const char *record, ar_error *err) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%s.tmp-%ld", out->dir, (long)getpid());
    char *path = ar__path_join(out->dir, AR_LOCK_NAME);
    char *above = ar__path_parent(out->dir);
    ar_status s = path && above && !name.failed ? ar__dir_make(above, err) : ar__fail_memory(err, out->dir);
    if (!s && mkdir(name.data, 0777) != 0 && errno != EEXIST) s = ar__fail_errno(err, "%s: cannot create folder", out->dir);
    if (!s) s = ar__lock_take(&out->lock, name.data, err);
    if (!s && rename(name.data, out->dir) != 0)
        s = ar__path_exists(out->dir) ? fail_taken(out->dir, record, err) : ar__fail_errno(err, "%s: cannot create folder", out->dir);
    if (!s) ar__lock_rename(&out->lock, path);
    if (s) {
        ar__lock_drop(&out->lock);
        if (!name.failed) rmdir(name.data);
    }
    ar__buf_release(&name);
    free(above);
    free(path);
    return s;
}

char *ar__output_name(const char *out) {
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    return ar__strndup(out, n);
}

ar_status ar__output_take(ar_output *out, const ar_train_options *o, const char *record, ar_error *err) {
    *out = AR_OUTPUT_NONE;
    bool there = ar__path_exists(o->run.out);
    if (there && !o->run.resume && !o->run.overwrite) return fail_taken(o->run.out, record, err);
    ar_status s = there ? check_inputs(o, err) : AR_OK;
    if (!s && there) s = check_left_by_us(o, record, err);
    if (s) return s;

    out->dir = ar__output_name(o->run.out);
    out->found = nearest_folder(o->run.out);
    if (!out->found || !out->dir)
        s = ar__fail_memory(err, o->run.out);
    else
        s = there ? ar__lock_take(&out->lock, o->run.out, err) : make_locked(out, record, err);
    /* Another run may have come and gone between the first look and the lock. */
    if (!s) s = check_left_by_us(o, record, err);
    if (!s)
        sweep(out->dir);
    else
        ar__output_drop(out);
    return s;
}

void ar__output_drop(ar_output *out) {
    ar__lock_drop(&out->lock);
    char *at = out->found && out->dir ? ar__strdup(out->dir) : NULL;
    while (at && strcmp(at, out->found) != 0 && rmdir(at) == 0) {
        char *up = ar__path_parent(at);
        free(at);
        at = up;
    }
    free(at);
    free(out->found);
    free(out->dir);
    *out = AR_OUTPUT_NONE;
}

ar_status ar__output_clear(const ar_train_options *o, ar_error *err) {
    static const char *const lora[] = {"adapter_config.json", "adapter_model.safetensors", NULL},
                             *const full[] = {"config.json", "model.safetensors", NULL}, *const every[] = {"README.md",
                                                                                                           AR_METRICS_FILE,
                                                                                                           AR_STRENGTH_FILE,
                                                                                                           "checkpoints",
                                                                                                           AR_START_FOLDER,
                                                                                                           "run.json",
                                                                                                           NULL};
    json_t *settings = run_settings(o->run.out, AR_RUN_RECORD);
    const char *method = json_string_value(json_object_get(settings, "method"));
    const char *const *lists[] = {method && !strcmp(method, "full") ? full : lora, every};
    ar_status s = AR_OK;
    if (settings) ar__events_remove(o->run.out);
    for (int k = 0; settings && k < 2; k++)
        for (int i = 0; !s && lists[k][i]; i++) { /* run.json last: until then the folder is known as ours */
            char *path = ar__path_join(o->run.out, lists[k][i]);
            s = path ? ar__dir_remove(path, err) : ar__fail_memory(err, o->run.out);
            free(path);
        }
    json_decref(settings);
    return s;
}
