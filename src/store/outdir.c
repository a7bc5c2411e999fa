/* A folder of a model's files, written under a temporary name beside its place. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "store/output.h"

enum { SMALL_FILE = 64 << 20 };

ar_status ar__outdir_begin(ar_outdir *d, const char *out, const ar_log *log, ar_error *err) {
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    ar_buf temporary = {0}, old = {0};
    *d = (ar_outdir){.out = ar__strndup(out, n), .log = log};
    ar__buf_printf(&temporary, "%s.tmp-%ld", d->out ? d->out : "", (long)getpid());
    ar__buf_printf(&old, "%s.old-%ld", d->out ? d->out : "", (long)getpid());
    d->temporary = temporary.data;
    d->old = old.data;
    if (!d->out || temporary.failed || old.failed) return ar__fail_memory(err, out);
    ar_status s = ar__dir_remove(d->temporary, err);
    return s ? s : ar__dir_make(d->temporary, err);
}

char *ar__outdir_path(const ar_outdir *d, const char *name) { return ar__path_join(d->temporary, name); }

ar_status ar__outdir_note(ar_outdir *d, const char *name, ar_error *err) {
    return ar__strings_add(&d->files, name) ? AR_OK : ar__fail_memory(err, name);
}

ar_status ar__outdir_put(ar_outdir *d, const char *name, const void *bytes, size_t n, ar_error *err) {
    char *path = ar__outdir_path(d, name);
    ar_status s = path ? ar__file_write(path, bytes, n, err) : ar__fail_memory(err, name);
    free(path);
    return s ? s : ar__outdir_note(d, name, err);
}

static bool ends_in(const char *name, const char *const *endings) {
    size_t n = strlen(name);
    for (; *endings; endings++) {
        size_t k = strlen(*endings);
        if (n >= k && !strcmp(name + n - k, *endings)) return true;
    }
    return false;
}

bool ar__outdir_is_carried(const char *name) {
    static const char *const weights[] = {".safetensors", ".bin", ".gguf", ".pth",  ".pt",      ".onnx",   ".onnx_data",  ".h5",
                                          ".msgpack",     ".ot",  ".npz",  ".ckpt", ".mlmodel", ".tflite", ".index.json", NULL};
    static const char *const own[] = {"config.json",   "run.json",     "metrics.jsonl",       "strength.jsonl",     "merge.json",
                                      "quantize.json", "convert.json", "adapter_config.json", "trainer_state.json", NULL};
    if (*name == '.' || strstr(name, ".tmp-") || ends_in(name, weights)) return false;
    for (const char *const *p = own; *p; p++)
        if (!strcmp(*p, name)) return false;
    return true;
}

static ar_status carry_file(ar_outdir *d, const char *dir, const char *name, ar_error *err) {
    char *path = ar__path_join(dir, name);
    struct stat st;
    ar_buf bytes = {0};
    ar_status s = path ? AR_OK : ar__fail_memory(err, name);
    bool regular = path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (regular && st.st_size > SMALL_FILE)
        ar__log_warn(d->log, "%s: %lld bytes, too large to be carried along; copy it yourself where it is needed", path,
                     (long long)st.st_size);
    else if (regular && !(s = ar__file_read(&bytes, path, SMALL_FILE, err)))
        s = ar__outdir_put(d, name, bytes.data, bytes.len, err);
    ar__buf_release(&bytes);
    free(path);
    return s;
}

ar_status ar__outdir_carry(ar_outdir *d, const char *dir, bool (*wants)(const void *user, const char *name), const void *user,
                           ar_error *err) {
    ar_status s = AR_OK;
    DIR *list = opendir(dir);
    if (!list) return ar__fail_errno(err, "%s: cannot open folder", dir);
    for (struct dirent *e; !s && (e = readdir(list));)
        if (wants(user, e->d_name)) s = carry_file(d, dir, e->d_name, err);
    closedir(list);
    return s;
}

ar_status ar__outdir_mark(ar_outdir *d, const char *command, json_t *more, ar_error *err) {
    ar_buf name = {0};
    json_t *files = json_array();
    for (size_t i = 0; i < d->files.count; i++) json_array_append_new(files, json_string(d->files.at[i]));
    json_t *root = json_pack("{s:s, s:s}", "alphar", ar_version(), "command", command);
    bool ok = root && more && json_array_size(files) == d->files.count && !json_object_update(root, more) &&
              !json_object_set(root, "files", files);
    char *text = ok ? json_dumps(root, JSON_INDENT(1)) : NULL;
    ar__buf_printf(&name, "%s.json", command);
    ar_status s = text && !name.failed ? ar__outdir_put(d, name.data, text, strlen(text), err) : ar__fail_memory(err, command);
    free(text);
    ar__buf_release(&name);
    json_decref(root);
    json_decref(files);
    json_decref(more);
    return s;
}

ar_status ar__outdir_install(ar_outdir *d, ar_error *err) {
    ar_status s = ar__dir_sync(d->temporary, err);
    bool replaces = !s && ar__path_exists(d->out) && !ar__dir_is_empty(d->out);
    if (replaces) s = ar__path_rename(d->out, d->old, err);
    if (s) return s;
    if ((s = ar__path_rename(d->temporary, d->out, err))) {
        if (replaces) rename(d->old, d->out);
        return s;
    }
    if (replaces && ar__dir_remove(d->old, NULL)) ar__log_warn(d->log, "%s: the replaced folder could not be removed", d->old);
    return AR_OK;
}

void ar__outdir_end(ar_outdir *d) {
    if (d->temporary) ar__dir_remove(d->temporary, NULL);
    free(d->out);
    free(d->temporary);
    free(d->old);
    ar__strings_release(&d->files);
    *d = (ar_outdir){0};
}
