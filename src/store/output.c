#include "store/output.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"

enum { MARK_MAX = 64 << 20 };

static ar_status check_inputs(const ar_output *o, ar_error *err) {
    for (size_t i = 0; i < o->inputs.count; i++)
        if (ar__path_lies_in(o->inputs.at[i], o->path))
            return ar__fail(err, AR_ERR_EXISTS, "%s: is or holds %s, which this %s reads; give another --out", o->path, o->inputs.at[i],
                            o->command);
    return AR_OK;
}

static bool is_dots(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

static bool lists(const json_t *files, const char *name) {
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *s = json_string_value(json_array_get(files, i));
        if (s && !strcmp(s, name)) return true;
    }
    return false;
}

/* The folder holds what an earlier run of the command wrote, and nothing else. */
static ar_status check_ours(const ar_output *o, ar_error *err) {
    ar_buf mark = {0};
    ar__buf_printf(&mark, "%s.json", o->command);
    char *path = mark.failed ? NULL : ar__path_join(o->path, mark.data);
    json_t *marker = NULL;
    ar_status s = path ? AR_OK : ar__fail_memory(err, o->path);
    bool ours = path && ar__path_exists(path) && ar__json_load_object(&marker, path, MARK_MAX, NULL) == AR_OK &&
                json_object_get(marker, "alphar") && json_is_array(json_object_get(marker, "files"));
    DIR *d = ours ? opendir(o->path) : NULL;
    if (!s && !d)
        s = ar__fail(err, AR_ERR_EXISTS, "%s: exists and was not written by a %s of alphar; give another --out", o->path, o->command);
    for (struct dirent *e; !s && (e = readdir(d));)
        if (!is_dots(e->d_name) && strcmp(e->d_name, mark.data) != 0 && !lists(json_object_get(marker, "files"), e->d_name))
            s = ar__fail(err, AR_ERR_EXISTS, "%s: holds '%s', which no %s wrote; move it away or give another --out", o->path, e->d_name,
                         o->command);
    if (d) closedir(d);
    json_decref(marker);
    ar__buf_release(&mark);
    free(path);
    return s;
}

ar_status ar__output_check_folder(const ar_output *o, ar_error *err) {
    struct stat st;
    if (!ar__path_exists(o->path)) return AR_OK;
    if (lstat(o->path, &st) != 0 || !S_ISDIR(st.st_mode))
        return ar__fail(err, AR_ERR_EXISTS, "%s: exists and is no folder; give another --out", o->path);
    ar_status s = check_inputs(o, err);
    if (s || ar__dir_is_empty(o->path)) return s;
    if (!o->overwrite) return ar__fail(err, AR_ERR_EXISTS, "%s: exists already; give another --out, or --overwrite", o->path);
    return check_ours(o, err);
}

static bool is_marked(const ar_output *o) {
    ar_buf key = {0};
    ar_gguf *g;
    ar__buf_printf(&key, "alphar.%s", o->command);
    bool ours = !key.failed && !ar__gguf_open(&g, o->path, NULL);
    if (ours) {
        ours = ar__gguf_kv_find(g, key.data);
        ar__gguf_close(g);
    }
    ar__buf_release(&key);
    return ours;
}

ar_status ar__output_check_file(const ar_output *o, ar_error *err) {
    struct stat st;
    if (!ar__path_exists(o->path)) return AR_OK;
    if (lstat(o->path, &st) != 0 || !S_ISREG(st.st_mode)) return ar__fail(err, AR_ERR_EXISTS, "%s: exists and is no file", o->path);
    ar_status s = check_inputs(o, err);
    if (s) return s;
    if (!o->overwrite) return ar__fail(err, AR_ERR_EXISTS, "%s: exists already; give another --out, or --overwrite", o->path);
    return is_marked(o)
               ? AR_OK
               : ar__fail(err, AR_ERR_EXISTS, "%s: exists and was not written by a %s of alphar; give another --out", o->path, o->command);
}

ar_status ar__output_mark(ar_gguf_writer *w, const char *command, const char *what, ar_error *err) {
    ar_buf key = {0}, text = {0};
    ar__buf_printf(&key, "alphar.%s", command);
    ar__buf_printf(&text, "alphar %s: %s", ar_version(), what);
    ar_status s = key.failed || text.failed ? ar__fail_memory(err, command) : ar__gguf_writer_set_string(w, key.data, text.data, err);
    ar__buf_release(&key);
    ar__buf_release(&text);
    return s;
}
