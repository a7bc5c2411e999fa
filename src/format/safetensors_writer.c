/* Writes one safetensors file, laid out as the reference library does: tensors by falling dtype (the widest first, so
 * that each is aligned), then by name; the header padded with spaces to a multiple of 8. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/map.h"
#include "format/safetensors.h"

struct item {
    char *name;
    const char *type; /* as the header writes it */
    int dims;
    int64_t shape[AR_TENSOR_DIMS];
    size_t bytes;
    const void *data; /* NULL where stream makes it */
    ar_stream_fn stream;
    void *user;
};

struct ar_st_writer {
    struct item *item;
    size_t count, cap;
    ar_map names;
    json_t *meta;
};

/* Place in the reference library's order of types, -1 for one that it does not know. */
static int type_rank(const char *type) {
    static const char *const order[] = {"BOOL",    "F4",          "F6_E2M3",     "F6_E3M2", "U8",  "I8",  "F8_E5M2", "F8_E4M3",
                                        "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",     "U16", "F16", "BF16",    "I32",
                                        "U32",     "F32",         "C64",         "F64",     "I64", "U64"};
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (!strcmp(order[i], type)) return i;
    return -1;
}

static int by_layout(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    int p = type_rank(x->type), q = type_rank(y->type);
    return p != q ? q - p : strcmp(x->name, y->name);
}

ar_status ar__st_writer_new(ar_st_writer **out, ar_error *err) {
    ar_st_writer *w = ar__alloc(1, sizeof *w);
    *out = w;
    return w ? AR_OK : ar__fail_memory(err, "safetensors writer");
}

void ar__st_writer_free(ar_st_writer *w) {
    if (!w) return;
    for (size_t i = 0; i < w->count; i++) free(w->item[i].name);
    free(w->item);
    ar__map_release(&w->names);
    json_decref(w->meta);
    free(w);
}

static ar_status read_shape(struct item *it, size_t *count, const char *name, const int64_t *shape, ar_error *err) {
    if (it->dims < 0 || it->dims > AR_TENSOR_DIMS)
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': %d dimensions, wanted at most %d", name, it->dims, AR_TENSOR_DIMS);
    *count = 1;
    for (int i = 0; i < it->dims; i++) {
        it->shape[i] = shape[i];
        if (shape[i] < 0 || !ar__mul(count, *count, (size_t)shape[i]))
            return ar__fail(err, AR_ERR_VALUE, "tensor '%s': impossible shape", name);
    }
    return AR_OK;
}

static ar_status add(ar_st_writer *w, const char *name, struct item it, ar_error *err) {
    if (!strcmp(name, "__metadata__") || ar__map_find_str(&w->names, name) != AR_MAP_NONE)
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': the name is taken", name);
    struct item *list = ar__grow(w->item, &w->cap, w->count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, name);
    w->item = list;
    if (!(it.name = ar__strdup(name))) return ar__fail_memory(err, name);
    list[w->count++] = it;
    return ar__map_put(&w->names, name, strlen(name), 0) ? AR_OK : ar__fail_memory(err, name);
}

static ar_status add_plain(ar_st_writer *w, const char *name, ar_dtype t, struct item it, const int64_t *shape, ar_error *err) {
    size_t count;
    if (!(it.type = ar__dtype(t)->safetensors))
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': safetensors has no type %s", name, ar__dtype(t)->name);
    ar_status s = read_shape(&it, &count, name, shape, err);
    if (s) return s;
    if (!ar__dtype_bytes(&it.bytes, t, count)) return ar__fail(err, AR_ERR_VALUE, "tensor '%s': too large", name);
    return add(w, name, it, err);
}

ar_status ar__st_writer_add(ar_st_writer *w, const char *name, ar_dtype t, int dims, const int64_t *shape, const void *data,
                            ar_error *err) {
    return add_plain(w, name, t, (struct item){.dims = dims, .data = data}, shape, err);
}

ar_status ar__st_writer_add_stream(ar_st_writer *w, const char *name, ar_dtype t, int dims, const int64_t *shape, ar_stream_fn stream,
                                   void *user, ar_error *err) {
    return add_plain(w, name, t, (struct item){.dims = dims, .stream = stream, .user = user}, shape, err);
}

ar_status ar__st_writer_add_like(ar_st_writer *w, const ar_tensor *t, ar_stream_fn stream, void *user, ar_error *err) {
    struct item it = {.type = t->dtype_name, .dims = t->dims, .bytes = t->bytes, .stream = stream, .user = user};
    size_t count;
    ar_status s = read_shape(&it, &count, t->name, t->shape, err);
    return s ? s : add(w, t->name, it, err);
}

ar_status ar__st_writer_meta(ar_st_writer *w, const char *key, const char *value, ar_error *err) {
    if (!w->meta && !(w->meta = json_object())) return ar__fail_memory(err, key);
    json_t *v = json_string(value);
    if (!v) return ar__fail(err, AR_ERR_VALUE, "metadata '%s': wanted UTF-8 text", key);
    return json_object_set_new(w->meta, key, v) ? ar__fail(err, AR_ERR_VALUE, "metadata '%s': wanted a UTF-8 key", key) : AR_OK;
}

static json_t *describe(const struct item *it, size_t begin) {
    json_t *shape = json_array();
    for (int i = 0; i < it->dims; i++) json_array_append_new(shape, json_integer(it->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", it->type, "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + it->bytes));
}

/* u64 length and padded JSON. */
static ar_status build_header(ar_buf *out, const ar_st_writer *w, const char *path, ar_error *err) {
    size_t at = 0;
    json_t *root = json_object();
    bool bad = !root;
    if (w->meta) bad |= json_object_set(root, "__metadata__", w->meta) != 0;
    for (size_t i = 0; i < w->count && !bad; i++) {
        bad = at > (size_t)INT64_MAX - w->item[i].bytes || json_object_set_new(root, w->item[i].name, describe(&w->item[i], at)) != 0;
        at += w->item[i].bytes;
    }
    char *text = bad ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!text) return ar__fail(err, AR_ERR_VALUE, "%s: cannot build the header (a name that is no UTF-8, or out of memory)", path);
    size_t n = (strlen(text) + 7) / 8 * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)n >> (8 * i));
    ar__buf_add(out, length, 8);
    ar__buf_printf(out, "%-*s", (int)n, text);
    free(text);
    return out->failed ? ar__fail_memory(err, path) : AR_OK;
}

static ar_status put_item(const struct item *it, ar_writer *file, ar_error *err) {
    uint64_t before = file->bytes;
    if (!it->stream) return ar__writer_put(file, it->data, it->bytes, err);
    ar_status s = it->stream(it->user, file, err);
    assert(s || file->bytes - before == it->bytes);
    return s;
}

ar_status ar__st_writer_save(ar_st_writer *w, const char *path, ar_error *err) {
    ar_buf header = {0};
    ar_writer file = {.fd = -1};
    ar_status s;
    if (w->count) qsort(w->item, w->count, sizeof *w->item, by_layout);
    if (!(s = build_header(&header, w, path, err)) && !(s = ar__writer_open(&file, path, err))) {
        s = ar__writer_put(&file, header.data, header.len, err);
        for (size_t i = 0; i < w->count && !s; i++) s = put_item(&w->item[i], &file, err);
        if (!s)
            s = ar__writer_commit(&file, err);
        else
            ar__writer_abort(&file);
    }
    ar__buf_release(&header);
    return s;
}
