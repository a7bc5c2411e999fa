/* Reads the header of one safetensors file.  Every number in it is hostile until checked:
 *
 *     0        8            8+n                              size
 *     | u64 n  | JSON       | tensor 0 | tensor 1 | …        |       offsets count from 8+n
 */
#include "format/safetensors_file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/foreign.h"
#include "format/json.h"

enum { HEADER_MAX = 100000000 }; /* the reference library's limit */

static ar_status read_header(ar_st_file *f, uint64_t *begin, ar_error *err) {
    char found[120];
    uint64_t n = 0;
    const ar_filemap *m = &f->map;
    if (m->size < 8) {
        snprintf(found, sizeof found, "%zu bytes long, wanted at least 8", m->size);
        return ar__foreign_file(m, f->path, "safetensors", found, err);
    }
    for (int i = 7; i >= 0; i--) n = n << 8 | m->data[i];
    if (n > m->size - 8 || n > HEADER_MAX) {
        snprintf(found, sizeof found, "header of %llu bytes, %s", (unsigned long long)n,
                 n > HEADER_MAX ? "at most 100000000 are allowed" : "");
        if (n <= HEADER_MAX) snprintf(found, sizeof found, "header of %llu bytes, file has %zu", (unsigned long long)n, m->size);
        return ar__foreign_file(m, f->path, "safetensors", found, err);
    }
    if (n == 0 || m->data[8] != '{') return ar__foreign_file(m, f->path, "safetensors", "header does not begin with '{'", err);
    *begin = 8 + n;
    ar_buf place = {0};
    ar__buf_printf(&place, "%s (header)", f->path);
    ar_status s =
        place.failed ? ar__fail_memory(err, f->path) : ar__json_parse(&f->header, (const char *)m->data + 8, (size_t)n, place.data, err);
    ar__buf_release(&place);
    return s;
}

/* Bits of the types that the format has and the dtype table does not; 0 for a name that nobody knows. */
static unsigned foreign_bits(const char *name) {
    static const struct {
        const char *name;
        unsigned bits;
    } known[] = {{"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},
                 {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U16", 16},    {"U32", 32},        {"U64", 64},        {"C64", 64}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name)) return known[i].bits;
    return 0;
}

static bool size_of(size_t *bytes, const ar_tensor *t) {
    if (t->dtype != AR_DTYPE_COUNT) return ar__dtype_bytes(bytes, t->dtype, t->count);
    size_t bits;
    if (!ar__mul(&bits, t->count, foreign_bits(t->dtype_name)) || bits % 8) return false;
    *bytes = bits / 8;
    return true;
}

static ar_status bad(const ar_st_file *f, const char *name, const char *what, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s': %s", f->path, name, what);
}

static ar_status read_shape(ar_tensor *t, const ar_st_file *f, const json_t *shape, ar_error *err) {
    size_t dims = json_array_size(shape);
    if (!json_is_array(shape)) return bad(f, t->name, "no 'shape' list", err);
    if (dims > AR_TENSOR_DIMS) return bad(f, t->name, "more than 8 dimensions", err);
    t->dims = (int)dims;
    t->count = 1;
    for (size_t i = 0; i < dims; i++) {
        int64_t n = -1;
        if (!ar__json_as_int(&n, json_array_get(shape, i)) || n < 0) return bad(f, t->name, "'shape' holds no size", err);
        t->shape[i] = n;
        if (!ar__mul(&t->count, t->count, (size_t)n)) return bad(f, t->name, "'shape' overflows", err);
    }
    return AR_OK;
}

static bool all_integers(const json_t *array) {
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_integer(json_array_get(array, i))) return false;
    return true;
}

static ar_status read_tensor(ar_tensor *t, const ar_st_file *f, const char *name, const json_t *v, uint64_t begin, ar_error *err) {
    const json_t *dtype = json_object_get(v, "dtype"), *offsets = json_object_get(v, "data_offsets");
    int64_t from = -1, to = -1;
    *t = (ar_tensor){.name = name, .dtype = AR_DTYPE_COUNT, .dtype_name = json_string_value(dtype)};
    if (!t->dtype_name) return bad(f, name, "no 'dtype' string", err);
    ar__dtype_from_safetensors(&t->dtype, t->dtype_name, strlen(t->dtype_name));
    ar_status s = read_shape(t, f, json_object_get(v, "shape"), err);
    if (s) return s;
    if (json_array_size(offsets) != 2 || !ar__json_as_int(&from, json_array_get(offsets, 0)) ||
        !ar__json_as_int(&to, json_array_get(offsets, 1)) || from < 0 || to < from)
        return bad(f, name, "'data_offsets' is no [begin, end]", err);
    /* Last, since one integer past 64 bits makes reals of all: the checks above have named that one. */
    if (!all_integers(json_object_get(v, "shape")) || !all_integers(offsets)) return bad(f, name, "a size is no integer", err);
    if ((uint64_t)to > f->map.size - begin)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' ends at byte %llu, file has %zu: it is cut short, download or save it again",
                        f->path, name, (unsigned long long)to + begin, f->map.size);
    t->bytes = (size_t)(to - from);
    t->data = f->map.data + begin + (uint64_t)from;
    size_t wanted;
    bool known = t->dtype != AR_DTYPE_COUNT || foreign_bits(t->dtype_name);
    if (known && !size_of(&wanted, t)) return bad(f, name, "its size overflows", err);
    if (known && wanted != t->bytes)
        return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %zu bytes, its %s shape wants %zu", f->path, name, t->bytes, t->dtype_name,
                        wanted);
    return AR_OK;
}

static int by_place(const void *a, const void *b) {
    const ar_tensor *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q) return p < q ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

static ar_status check_extents(const ar_st_file *f, uint64_t begin, ar_error *err) {
    const unsigned char *at = f->map.data + begin, *end = f->map.data + f->map.size;
    for (size_t i = 0; i < f->count; i++) {
        const ar_tensor *t = &f->tensor[i];
        const unsigned char *p = t->data;
        size_t where = (size_t)(p - f->map.data), wanted = (size_t)(at - f->map.data);
        if (p < at)
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' begins at byte %zu, inside '%s' which ends at byte %zu", f->path, t->name,
                            where, f->tensor[i - 1].name, wanted);
        if (p > at)
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' begins at byte %zu, wanted %zu: a gap that no tensor owns", f->path,
                            t->name, where, wanted);
        at = p + t->bytes;
    }
    if (at != end)
        return ar__fail(err, AR_ERR_FORMAT, "%s: the last tensor ends at byte %zu, file has %zu: it is damaged, download or save it again",
                        f->path, (size_t)(at - f->map.data), f->map.size);
    return AR_OK;
}

static ar_status check_metadata(const ar_st_file *f, json_t *meta, ar_error *err) {
    const char *key;
    json_t *value;
    if (json_is_null(meta)) return AR_OK;
    if (!json_is_object(meta)) return ar__fail(err, AR_ERR_FORMAT, "%s: '__metadata__' is no object of strings", f->path);
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return ar__fail(err, AR_ERR_FORMAT, "%s: metadata '%s': found %s, wanted string", f->path, key, ar__json_type(value));
    }
    return AR_OK;
}

static ar_status read_tensors(ar_st_file *f, uint64_t begin, ar_error *err) {
    const char *key;
    json_t *value;
    f->tensor = ar__alloc(json_object_size(f->header), sizeof *f->tensor);
    if (!f->tensor) return ar__fail_memory(err, f->path);
    json_object_foreach(f->header, key, value) {
        bool meta = !strcmp(key, "__metadata__");
        ar_status s = meta ? check_metadata(f, value, err) : read_tensor(&f->tensor[f->count], f, key, value, begin, err);
        if (s) return s;
        if (!meta) f->count++;
    }
    if (f->count) qsort(f->tensor, f->count, sizeof *f->tensor, by_place);
    return check_extents(f, begin, err);
}

ar_status ar__st_file_open(ar_st_file *f, const char *path, ar_error *err) {
    uint64_t begin = 0;
    ar_status s;
    *f = (ar_st_file){.path = ar__strdup(path)};
    if (!f->path) return ar__fail_memory(err, path);
    if ((s = ar__filemap_open(&f->map, path, err)) || (s = read_header(f, &begin, err)) || (s = read_tensors(f, begin, err)))
        ar__st_file_release(f);
    return s;
}

void ar__st_file_release(ar_st_file *f) {
    free(f->tensor);
    json_decref(f->header);
    ar__filemap_close(&f->map);
    free(f->path);
    *f = (ar_st_file){0};
}
