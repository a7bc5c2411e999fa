#include "format/npz.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/map.h"
#include "base/utf8.h"
#include "format/foreign.h"
#include "format/npy.h"
#include "format/zip.h"

struct ar_npz {
    char *path;
    ar_filemap map;
    ar_npz_array *array;
    size_t count, cap;
    ar_map names; /* → index */
};

static ar_status check_entry(const ar_npz *z, const ar_zip_entry *e, ar_error *err) {
    int len = e->name_len < 100 ? (int)e->name_len : 100;
    if (memchr(e->name, 0, e->name_len) || ar__utf8_valid(e->name, e->name_len) != e->name_len)
        return ar__fail(err, AR_ERR_FORMAT, "%s: an entry's name is no UTF-8 text", z->path);
    if (e->name_len < 4 || memcmp(e->name + e->name_len - 4, ".npy", 4) != 0)
        return ar__fail(err, AR_ERR_FORMAT, "%s: entry '%.*s' is no .npy array", z->path, len, e->name);
    if (e->encrypted) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: entry '%.*s' is encrypted", z->path, len, e->name);
    if (e->method)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: entry '%.*s' is compressed, wanted plain arrays: load the file and save it again with numpy.savez or "
                        "mlx.core.savez",
                        z->path, len, e->name);
    if (e->bytes != e->unpacked_bytes)
        return ar__fail(err, AR_ERR_FORMAT, "%s: entry '%.*s' has two sizes, %zu and %zu: the archive is damaged", z->path, len, e->name,
                        e->bytes, e->unpacked_bytes);
    return AR_OK;
}

static ar_status add_entry(ar_npz *z, const ar_zip_entry *e, ar_error *err) {
    char place[400];
    ar_status s = check_entry(z, e, err);
    if (s) return s;
    if (z->count == INT_MAX) return ar__fail(err, AR_ERR_FORMAT, "%s: more than %d arrays", z->path, INT_MAX);
    ar_npz_array *list = ar__grow(z->array, &z->cap, z->count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, z->path);
    z->array = list;
    ar_npz_array *a = &list[z->count];
    if (!(a->name = ar__strndup(e->name, e->name_len - 4))) return ar__fail_memory(err, z->path);
    z->count++;
    snprintf(place, sizeof place, "%.250s: array '%.100s'", z->path, a->name);
    if (ar__map_find_str(&z->names, a->name) != AR_MAP_NONE) return ar__fail(err, AR_ERR_FORMAT, "%s: stands there twice", place);
    if (!ar__map_put(&z->names, a->name, strlen(a->name), z->count - 1)) return ar__fail_memory(err, z->path);
    return ar__npy_read(a, e->data, e->bytes, place, err);
}

static ar_status read_archive(ar_npz *z, ar_error *err) {
    ar_zip zip;
    ar_zip_entry e;
    bool found = false;
    ar_status s;
    if (!ar__foreign_is_npz(&z->map) && !(z->map.size >= 4 && !memcmp(z->map.data, "PK\5\6", 4)))
        return ar__foreign_file(&z->map, z->path, "npz", "no zip archive of .npy arrays", err);
    if ((s = ar__zip_begin(&zip, &z->map, z->path, err))) return s;
    while (!(s = ar__zip_next(&e, &found, &zip, err)) && found)
        if ((s = add_entry(z, &e, err))) break;
    return s;
}

ar_status ar__npz_open(ar_npz **out, const char *path, ar_error *err) {
    ar_status s;
    ar_npz *z = ar__alloc(1, sizeof *z);
    *out = NULL;
    if (!z || !(z->path = ar__strdup(path)))
        s = ar__fail_memory(err, path);
    else
        (void)((s = ar__filemap_open(&z->map, path, err)) || (s = read_archive(z, err)));
    if (s)
        ar__npz_close(z);
    else
        *out = z;
    return s;
}

void ar__npz_close(ar_npz *z) {
    if (!z) return;
    for (size_t i = 0; i < z->count; i++) free((void *)(uintptr_t)z->array[i].name);
    free(z->array);
    ar__map_release(&z->names);
    ar__filemap_close(&z->map);
    free(z->path);
    free(z);
}

const char *ar__npz_path(const ar_npz *z) { return z->path; }
int ar__npz_count(const ar_npz *z) { return (int)z->count; }
const ar_npz_array *ar__npz_at(const ar_npz *z, int i) { return &z->array[i]; }

const ar_npz_array *ar__npz_find(const ar_npz *z, const char *name) {
    size_t i = ar__map_find_str(&z->names, name);
    return i == AR_MAP_NONE ? NULL : &z->array[i];
}

ar_status ar__npz_need(const ar_npz_array **out, const ar_npz *z, const char *name, ar_error *err) {
    const ar_npz_array *a = *out = ar__npz_find(z, name);
    if (!a) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no array '%s'", z->path, name);
    if (!ar__dtype_is_float(a->dtype))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: array '%s' has type '%s', wanted '<f4', '<f2' or bfloat16 ('<V2')", z->path, name,
                        a->dtype_name);
    return AR_OK;
}
