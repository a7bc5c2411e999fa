/* A set of tensors: one file, or the shards of a Hugging Face folder.
 *
 *     model.safetensors.index.json: {"metadata": {…}, "weight_map": {"TENSOR": "model-00001-of-00002.safetensors", …}}
 *
 * Map and shards must name the same tensors; shard names stay below the folder. */
#include "format/safetensors.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/map.h"
#include "format/json.h"
#include "format/safetensors_file.h"

enum { INDEX_MAX = 256 << 20 };

struct ar_st_set {
    ar_st_file *file;
    size_t file_count, file_cap;
    ar_tensor *tensor; /* sorted by name */
    size_t count;
    ar_map names;
};

static ar_status add_file(ar_st_set *st, const char *path, ar_error *err) {
    ar_st_file *list = ar__grow(st->file, &st->file_cap, st->file_count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, path);
    st->file = list;
    ar_status s = ar__st_file_open(&list[st->file_count], path, err);
    if (s) return s;
    for (size_t i = 0; i < list[st->file_count].count; i++) list[st->file_count].tensor[i].file = (int)st->file_count;
    st->count += list[st->file_count].count;
    st->file_count++;
    return AR_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const ar_tensor *)a)->name, ((const ar_tensor *)b)->name); }

/* Moves the tensors of all files into one sorted list and names them; a name may stand in one file only. */
static ar_status join_files(ar_st_set *st, const char *path, ar_error *err) {
    size_t at = 0;
    if (st->count > INT_MAX) return ar__fail(err, AR_ERR_FORMAT, "%s: more than %d tensors", path, INT_MAX);
    st->tensor = ar__alloc(st->count, sizeof *st->tensor);
    if (!st->tensor) return ar__fail_memory(err, path);
    for (size_t f = 0; f < st->file_count; f++) {
        ar_st_file *file = &st->file[f];
        if (file->count) memcpy(st->tensor + at, file->tensor, file->count * sizeof *st->tensor);
        at += file->count;
        free(file->tensor);
        file->tensor = NULL;
    }
    if (at) qsort(st->tensor, at, sizeof *st->tensor, by_name);
    for (size_t i = 0; i < at; i++) {
        const ar_tensor *t = &st->tensor[i];
        if (i && !strcmp(t->name, t[-1].name))
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' stands in %s too", ar__st_path(st, t[-1].file), t->name,
                            ar__st_path(st, t->file));
        if (!ar__map_put(&st->names, t->name, strlen(t->name), i)) return ar__fail_memory(err, path);
    }
    return AR_OK;
}

/* A shard's name may not lead out of the folder. */
static bool stays_inside(const char *name) {
    if (!*name || *name == '/') return false;
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (!strncmp(p, "..", 2) && (p[2] == '/' || p[2] == '\0')) return false;
    }
    return true;
}

static ar_status open_shard(ar_st_set *st, const char *dir, const char *name, const char *index, ar_error *err) {
    if (!stays_inside(name))
        return ar__fail(err, AR_ERR_FORMAT, "%s: shard name '%s' leads out of the folder, wanted a file beside the index", index, name);
    char *path = ar__path_join(dir, name);
    if (!path) return ar__fail_memory(err, index);
    ar_status s = ar__path_exists(path)
                      ? add_file(st, path, err)
                      : ar__fail(err, AR_ERR_NOT_FOUND, "%s: the shard is missing, %s names it: download it", path, ar__path_base(index));
    free(path);
    return s;
}

static ar_status open_shards(ar_st_set *st, ar_map *shards, const char *dir, const json_t *map, const char *index, ar_error *err) {
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name)
            return ar__fail(err, AR_ERR_FORMAT, "%s: weight_map '%s': found %s, wanted a file name", index, tensor, ar__json_type(value));
        if (ar__map_find_str(shards, name) != AR_MAP_NONE) continue;
        ar_status s = open_shard(st, dir, name, index, err);
        if (s) return s;
        if (!ar__map_put(shards, name, strlen(name), st->file_count - 1)) return ar__fail_memory(err, index);
    }
    return AR_OK;
}

static ar_status check_index(const ar_st_set *st, const ar_map *shards, const json_t *map, const char *index, ar_error *err) {
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value) {
        const char *name = json_string_value(value);
        const ar_tensor *t = ar__st_find(st, tensor);
        size_t file = ar__map_find_str(shards, name);
        if (!t) return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is not in %s, where the index puts it", index, tensor, name);
        if ((size_t)t->file != file)
            return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is in %s, the index says %s", index, tensor,
                            ar__path_base(ar__st_path(st, t->file)), name);
    }
    for (size_t i = 0; i < st->count; i++)
        if (!json_object_get(map, st->tensor[i].name))
            return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is not in %s", ar__st_path(st, st->tensor[i].file), st->tensor[i].name,
                            index);
    return AR_OK;
}

static ar_status open_index(ar_st_set *st, const char *dir, const char *index, ar_error *err) {
    json_t *root;
    const json_t *map = NULL;
    ar_map shards = {0};
    ar_status s = ar__json_load_object(&root, index, INDEX_MAX, err);
    if (s) return s;
    if (!(s = ar__json_need(root, "weight_map", index, err)) && !(s = ar__json_get_object(&map, root, "weight_map", index, err)) &&
        !(s = open_shards(st, &shards, dir, map, index, err)) && !(s = join_files(st, index, err)))
        s = check_index(st, &shards, map, index, err);
    ar__map_release(&shards);
    json_decref(root);
    return s;
}

static ar_status no_weights(const char *dir, ar_error *err) {
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        char *path = ar__path_join(dir, pickles[i]);
        bool there = path && ar__path_exists(path);
        free(path);
        if (there)
            return ar__fail(
                err, AR_ERR_UNSUPPORTED,
                "%s: weights only as pickles (%s), which can run code when read; wanted model.safetensors: convert them where you trust "
                "them, with transformers' save_pretrained",
                dir, pickles[i]);
    }
    return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no model.safetensors and no model.safetensors.index.json", dir);
}

static ar_status open_folder(ar_st_set *st, const char *dir, ar_error *err) {
    ar_status s;
    char *single = ar__path_join(dir, "model.safetensors");
    char *index = ar__path_join(dir, "model.safetensors.index.json");
    if (!single || !index)
        s = ar__fail_memory(err, dir);
    else if (ar__path_exists(single))
        (void)((s = add_file(st, single, err)) || (s = join_files(st, single, err)));
    else if (ar__path_exists(index))
        s = open_index(st, dir, index, err);
    else
        s = no_weights(dir, err);
    free(single);
    free(index);
    return s;
}

ar_status ar__st_open(ar_st_set **out, const char *path, ar_error *err) {
    ar_status s;
    ar_st_set *st = ar__alloc(1, sizeof *st);
    *out = NULL;
    if (!st) return ar__fail_memory(err, path);
    if (ar__path_is_dir(path))
        s = open_folder(st, path, err);
    else
        (void)((s = add_file(st, path, err)) || (s = join_files(st, path, err)));
    if (s)
        ar__st_close(st);
    else
        *out = st;
    return s;
}

void ar__st_close(ar_st_set *st) {
    if (!st) return;
    for (size_t i = 0; i < st->file_count; i++) ar__st_file_release(&st->file[i]);
    free(st->file);
    free(st->tensor);
    ar__map_release(&st->names);
    free(st);
}

int ar__st_count(const ar_st_set *st) { return (int)st->count; }
const ar_tensor *ar__st_at(const ar_st_set *st, int i) { return &st->tensor[i]; }

const ar_tensor *ar__st_find(const ar_st_set *st, const char *name) {
    size_t i = ar__map_find_str(&st->names, name);
    return i == AR_MAP_NONE ? NULL : &st->tensor[i];
}

ar_status ar__st_need(const ar_tensor **out, const ar_st_set *st, const char *name, ar_error *err) {
    const ar_tensor *t = ar__st_find(st, name);
    *out = t;
    if (!t)
        return ar__fail(err, AR_ERR_NOT_FOUND, "%s%s: no tensor '%s'", ar__st_path(st, 0),
                        st->file_count > 1 ? " and the other shards" : "", name);
    if (!ar__dtype_is_float(t->dtype))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: tensor '%s' has dtype %s, wanted F32, F16 or BF16: convert it with the tool that wrote it",
                        ar__st_path(st, t->file), name, t->dtype_name);
    return AR_OK;
}

int ar__st_file_count(const ar_st_set *st) { return (int)st->file_count; }

const json_t *ar__st_file_metadata(const ar_st_set *st, int file) {
    return (size_t)file < st->file_count ? json_object_get(st->file[file].header, "__metadata__") : NULL;
}

const json_t *ar__st_metadata_all(const ar_st_set *st) { return ar__st_file_metadata(st, 0); }

const char *ar__st_metadata(const ar_st_set *st, const char *key) {
    return json_string_value(json_object_get(ar__st_metadata_all(st), key));
}

const char *ar__st_path(const ar_st_set *st, int file) { return (size_t)file < st->file_count ? st->file[file].path : ""; }
