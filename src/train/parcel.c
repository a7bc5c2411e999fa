#include "train/parcel.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/size.h"
#include "train/checkpoint.h"
#include "train/events.h"
#include "train/metrics.h"
#include "train/output.h"
#include "train/start.h"

#define CARD "README.md"

enum { PIECE = 8 << 20 }; /* bytes of a file that are in memory at a time */

/* ---- the list --------------------------------------------------------------------------------------------------------*/

/* Adds `prefix`name as it stands on the disk; one that is not there is left out.  Its size is what is sent of it. */
static void add_file(json_t *files, const char *dir, const char *prefix, const char *name) {
    struct stat st;
    ar_buf whole = {0};
    ar__buf_printf(&whole, "%s%s", prefix, name);
    char *path = whole.failed ? NULL : ar__path_join(dir, whole.data);
    if (path && !stat(path, &st) && S_ISREG(st.st_mode))
        json_array_append_new(files, json_pack("[s, I]", whole.data, (json_int_t)st.st_size));
    free(path);
    ar__buf_release(&whole);
}

static void add_folder(json_t *files, const char *dir, const char *folder) {
    char *path = ar__path_join(dir, folder);
    DIR *d = path ? opendir(path) : NULL;
    ar_buf prefix = {0};
    ar__buf_printf(&prefix, "%s/", folder);
    for (struct dirent *e; d && !prefix.failed && (e = readdir(d));) add_file(files, dir, prefix.data, e->d_name);
    if (d) closedir(d);
    ar__buf_release(&prefix);
    free(path);
}

static json_t *list_files(const char *dir, bool whole) {
    json_t *files = json_array();
    char *events = ar__events_find(dir);
    add_file(files, dir, "", AR_METRICS_FILE);
    add_file(files, dir, "", AR_STRENGTH_FILE);
    if (events) add_file(files, dir, "", ar__path_base(events));
    add_file(files, dir, "", AR_RUN_RECORD);
    if (whole) add_folder(files, dir, AR_START_FOLDER);
    free(events);
    return files;
}

/* One checkpoint, its files by their names in its own folder. */
static json_t *list_checkpoint(const char *dir, int64_t step) {
    json_t *files = json_array();
    char *folder = ar__checkpoint_folder(dir, step);
    DIR *d = folder ? opendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) add_file(files, folder, "", e->d_name);
    if (d) closedir(d);
    free(folder);
    return json_pack("{s:I, s:o}", "step", (json_int_t)step, "files", files);
}

json_t *ar__parcel_list(const char *dir, int64_t sent, int64_t published) {
    int64_t *steps;
    size_t n = ar__checkpoint_list(&steps, dir);
    json_t *all = json_array(), *new = json_array(), *last = json_array();
    for (size_t i = n; i-- > 0;) { /* the oldest first */
        json_array_append_new(all, json_integer((json_int_t)steps[i]));
        if (steps[i] > sent) json_array_append_new(new, list_checkpoint(dir, steps[i]));
    }
    free(steps);
    add_file(last, dir, "", CARD);
    return json_pack("{s:o, s:o, s:o, s:o, s:I}", "files", list_files(dir, sent < 0), "checkpoints", new, "last", last, "steps", all,
                     "published", (json_int_t)published);
}

/* ---- files -----------------------------------------------------------------------------------------------------------*/

static ar_status send_file(ar_ranks *r, int to, const char *path, size_t bytes, ar_error *err) {
    ar_filemap map;
    ar_status s = ar__filemap_open(&map, path, err);
    if (s) return s;
    if (map.size < bytes) s = ar__fail(err, AR_ERR_IO, "%s: has become shorter while it was read", path);
    for (size_t at = 0; !s && at < bytes; at += PIECE)
        s = ar__comm_hand(r, r->index, to, (void *)(uintptr_t)(map.data + at), ar__min(PIECE, bytes - at), err);
    ar__filemap_close(&map);
    return s;
}

/* The name is another rank's word. */
static bool is_below(const char *name) { return name && *name && *name != '/' && !strstr(name, ".."); }

static ar_status take_file(ar_ranks *r, int from, const char *path, size_t bytes, ar_error *err) {
    ar_writer w;
    char *piece = ar__alloc(ar__min(PIECE, bytes) + 1, 1);
    if (!piece) return ar__fail_memory(err, path);
    ar_status s = ar__writer_open(&w, path, err);
    for (size_t at = 0; !s && at < bytes; at += PIECE) {
        size_t n = ar__min(PIECE, bytes - at);
        s = ar__comm_hand(r, from, r->index, piece, n, err);
        if (!s) s = ar__writer_put(&w, piece, n, err);
    }
    if (!s) s = ar__writer_commit(&w, err);
    ar__writer_abort(&w);
    free(piece);
    return s;
}

/* All of a list, in dir; to or from the other rank. */
static ar_status pass_files(ar_ranks *r, int other, bool take, const char *dir, const json_t *files, ar_error *err) {
    ar_status s = AR_OK;
    size_t i;
    json_t *file;
    json_array_foreach((json_t *)(uintptr_t)files, i, file) {
        const char *name = json_string_value(json_array_get(file, 0));
        size_t bytes = (size_t)json_integer_value(json_array_get(file, 1));
        char *path = is_below(name) ? ar__path_join(dir, name) : NULL, *above = path ? ar__path_parent(path) : NULL;
        if (!above) s = ar__fail(err, AR_ERR_FORMAT, "rank %d: sent a list of files that cannot be followed", other);
        if (!s && take) s = ar__dir_make(above, err);
        if (!s) s = take ? take_file(r, other, path, bytes, err) : send_file(r, other, path, bytes, err);
        free(above);
        free(path);
        if (s) break;
    }
    return s;
}

/* ---- both ways -------------------------------------------------------------------------------------------------------*/

ar_status ar__parcel_send(ar_ranks *r, int to, const char *dir, const json_t *list, ar_error *err) {
    size_t i;
    json_t *c;
    ar_status s = pass_files(r, to, false, dir, json_object_get(list, "files"), err);
    json_array_foreach(json_object_get(list, "checkpoints"), i, c) {
        char *folder = ar__checkpoint_folder(dir, json_integer_value(json_object_get(c, "step")));
        if (!s) s = folder ? pass_files(r, to, false, folder, json_object_get(c, "files"), err) : ar__fail_memory(err, dir);
        free(folder);
    }
    return s ? s : pass_files(r, to, false, dir, json_object_get(list, "last"), err);
}

static ar_status take_checkpoint(ar_ranks *r, int from, const char *dir, const json_t *c, ar_error *err) {
    char *half;
    ar_status s = ar__checkpoint_receive(&half, dir, err);
    if (!s) s = pass_files(r, from, true, half, json_object_get(c, "files"), err);
    if (!s) s = ar__checkpoint_adopt(dir, json_integer_value(json_object_get(c, "step")), err);
    free(half);
    return s;
}

static bool holds(const json_t *steps, int64_t step) {
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (json_integer_value(json_array_get(steps, i)) == step) return true;
    return false;
}

static ar_status drop_others(const char *dir, const json_t *kept, ar_error *err) {
    int64_t *steps;
    size_t n = ar__checkpoint_list(&steps, dir);
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < n; i++)
        if (!holds(kept, steps[i])) s = ar__checkpoint_drop(dir, steps[i], err);
    free(steps);
    return s;
}

ar_status ar__parcel_take(ar_ranks *r, int from, const char *dir, const json_t *list, ar_error *err) {
    size_t i;
    json_t *c;
    int64_t published = json_integer_value(json_object_get(list, "published"));
    ar_status s = ar__dir_make(dir, err);
    if (!s) s = pass_files(r, from, true, dir, json_object_get(list, "files"), err);
    json_array_foreach(json_object_get(list, "checkpoints"), i, c) if (!s) s = take_checkpoint(r, from, dir, c, err);
    if (!s && published >= 0) s = ar__checkpoint_publish(dir, published, err);
    if (!s) s = pass_files(r, from, true, dir, json_object_get(list, "last"), err);
    return s ? s : drop_others(dir, json_object_get(list, "steps"), err);
}
