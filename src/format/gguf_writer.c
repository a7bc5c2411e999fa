/* Writes one GGUF file, version 3: key-values in the order first set, tensors in the order added, each padded with zeros
 * to 32 bytes, the last one too (as ggml writes it). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fail.h"
#include "base/map.h"
#include "base/utf8.h"
#include "format/gguf_file.h"

enum { ALIGNMENT = 32, VERSION = 3, KEY_MAX = 65535 };

struct pair {
    char *key;
    ar_buf value; /* type word and value */
};

struct item {
    char *name;
    uint32_t type;
    int dims;
    int64_t ne[AR_GGUF_MAX_DIMS];
    size_t bytes;
    const void *data; /* NULL where stream makes it */
    ar_stream_fn stream;
    void *user;
};

struct ar_gguf_writer {
    struct pair *kv;
    size_t kv_count, kv_cap;
    struct item *item;
    size_t count, cap;
    ar_map keys, names; /* → index */
};

ar_status ar__gguf_writer_new(ar_gguf_writer **out, ar_error *err) {
    *out = ar__alloc(1, sizeof **out);
    return *out ? AR_OK : ar__fail_memory(err, "GGUF writer");
}

void ar__gguf_writer_free(ar_gguf_writer *w) {
    if (!w) return;
    for (size_t i = 0; i < w->kv_count; i++) {
        free(w->kv[i].key);
        ar__buf_release(&w->kv[i].value);
    }
    for (size_t i = 0; i < w->count; i++) free(w->item[i].name);
    free(w->kv);
    free(w->item);
    ar__map_release(&w->keys);
    ar__map_release(&w->names);
    free(w);
}

static void put_number(ar_buf *b, uint64_t value, size_t bytes) {
    unsigned char le[8];
    ar__le_store(le, value, bytes);
    ar__buf_add(b, le, bytes);
}

static void put_string(ar_buf *b, const char *s, size_t n) {
    put_number(b, n, 8);
    ar__buf_add(b, s, n);
}

static bool is_text(const char *s) {
    size_t n = strlen(s);
    return ar__utf8_valid(s, n) == n;
}

/* The value to fill, emptied where the key has one already; NULL with the message set. */
static ar_buf *value_of(ar_gguf_writer *w, const char *key, ar_status *s, ar_error *err) {
    size_t n = strlen(key), at = ar__map_find(&w->keys, key, n);
    *s = AR_OK;
    if (n > KEY_MAX || !is_text(key)) {
        *s = ar__fail(err, AR_ERR_VALUE, "key '%.100s': wanted UTF-8 of at most %d bytes", key, KEY_MAX);
        return NULL;
    }
    if (at != AR_MAP_NONE) {
        ar__buf_clear(&w->kv[at].value);
        return &w->kv[at].value;
    }
    struct pair *list = ar__grow(w->kv, &w->kv_cap, w->kv_count + 1, sizeof *list);
    if (list) w->kv = list;
    char *copy = ar__strndup(key, n);
    if (!list || !copy || !ar__map_put(&w->keys, key, n, w->kv_count)) {
        free(copy);
        *s = ar__fail_memory(err, key);
        return NULL;
    }
    list[w->kv_count] = (struct pair){.key = copy};
    return &list[w->kv_count++].value;
}

/* Begins a value with its type word; the writer's own key is refused. */
static ar_buf *begin_value(ar_gguf_writer *w, const char *key, ar_gguf_type type, ar_status *s, ar_error *err) {
    if (!strcmp(key, "general.alignment")) {
        *s = ar__fail(err, AR_ERR_VALUE, "key 'general.alignment': files are written with %d, nothing else", ALIGNMENT);
        return NULL;
    }
    ar_buf *b = value_of(w, key, s, err);
    if (b) put_number(b, type, 4);
    return b;
}

static ar_status end_value(const ar_buf *b, const char *key, ar_error *err) { return b->failed ? ar__fail_memory(err, key) : AR_OK; }

static ar_status set_number(ar_gguf_writer *w, const char *key, ar_gguf_type type, uint64_t bits, size_t bytes, ar_error *err) {
    ar_status s;
    ar_buf *b = begin_value(w, key, type, &s, err);
    if (!b) return s;
    put_number(b, bits, bytes);
    return end_value(b, key, err);
}

ar_status ar__gguf_writer_set_u32(ar_gguf_writer *w, const char *key, uint32_t value, ar_error *err) {
    return set_number(w, key, AR_GGUF_U32, value, 4, err);
}

ar_status ar__gguf_writer_set_i32(ar_gguf_writer *w, const char *key, int32_t value, ar_error *err) {
    return set_number(w, key, AR_GGUF_I32, (uint32_t)value, 4, err);
}

ar_status ar__gguf_writer_set_u64(ar_gguf_writer *w, const char *key, uint64_t value, ar_error *err) {
    return set_number(w, key, AR_GGUF_U64, value, 8, err);
}

ar_status ar__gguf_writer_set_f32(ar_gguf_writer *w, const char *key, float value, ar_error *err) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return set_number(w, key, AR_GGUF_F32, bits, 4, err);
}

ar_status ar__gguf_writer_set_f64(ar_gguf_writer *w, const char *key, double value, ar_error *err) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return set_number(w, key, AR_GGUF_F64, bits, 8, err);
}

ar_status ar__gguf_writer_set_bool(ar_gguf_writer *w, const char *key, bool value, ar_error *err) {
    return set_number(w, key, AR_GGUF_BOOL, value, 1, err);
}

ar_status ar__gguf_writer_set_string(ar_gguf_writer *w, const char *key, const char *text, ar_error *err) {
    ar_status s;
    if (!is_text(text)) return ar__fail(err, AR_ERR_VALUE, "key '%.100s': wanted UTF-8 text", key);
    ar_buf *b = begin_value(w, key, AR_GGUF_STRING, &s, err);
    if (!b) return s;
    put_string(b, text, strlen(text));
    return end_value(b, key, err);
}

ar_status ar__gguf_writer_set_strings(ar_gguf_writer *w, const char *key, const char *const *text, size_t count, ar_error *err) {
    ar_status s;
    for (size_t i = 0; i < count; i++)
        if (!is_text(text[i])) return ar__fail(err, AR_ERR_VALUE, "key '%.100s': wanted UTF-8 text", key);
    ar_buf *b = begin_value(w, key, AR_GGUF_ARRAY, &s, err);
    if (!b) return s;
    put_number(b, AR_GGUF_STRING, 4);
    put_number(b, count, 8);
    for (size_t i = 0; i < count; i++) put_string(b, text[i], strlen(text[i]));
    return end_value(b, key, err);
}

ar_status ar__gguf_writer_set_array(ar_gguf_writer *w, const char *key, ar_gguf_type type, size_t count, const void *data, ar_error *err) {
    size_t size = ar__gguf_value_bytes(type);
    ar_status s;
    assert(size);
    ar_buf *b = begin_value(w, key, AR_GGUF_ARRAY, &s, err);
    if (!b) return s;
    put_number(b, type, 4);
    put_number(b, count, 8);
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = 0;
        memcpy(&bits, (const char *)data + i * size, size); /* low bytes first on every CPU that this is built for */
        put_number(b, bits, size);
    }
    return end_value(b, key, err);
}

ar_status ar__gguf_writer_copy_kv(ar_gguf_writer *w, const ar_gguf_kv *kv, ar_error *err) {
    ar_status s;
    if (!strcmp(kv->key, "general.alignment")) return AR_OK;
    ar_buf *b = value_of(w, kv->key, &s, err);
    if (!b) return s;
    ar__buf_add(b, kv->raw, kv->raw_bytes);
    return end_value(b, kv->key, err);
}

static ar_status add(ar_gguf_writer *w, const char *name, struct item it, const int64_t *ne, ar_error *err) {
    size_t n = strlen(name), count;
    ar_ggml_type type = ar__ggml_type(it.type);
    if (n > AR_GGUF_MAX_NAME || !n || !is_text(name))
        return ar__fail(err, AR_ERR_VALUE, "tensor '%.200s': a name of %zu bytes, GGUF's readers take UTF-8 of 1 to %d", name, n,
                        AR_GGUF_MAX_NAME);
    if (ar__map_find(&w->names, name, n) != AR_MAP_NONE) return ar__fail(err, AR_ERR_VALUE, "tensor '%s': the name is taken", name);
    if (it.dims < 1 || it.dims > AR_GGUF_MAX_DIMS)
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': %d dimensions, GGUF has 1 to %d", name, it.dims, AR_GGUF_MAX_DIMS);
    memcpy(it.ne, ne, (size_t)it.dims * sizeof *ne);
    if (type.block && !ar__ggml_size(&count, &it.bytes, &type, it.dims, ne))
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': impossible shape, or rows of %lld that are no multiple of %zu as %s wants", name,
                        (long long)ne[0], type.block, type.name);
    struct item *list = ar__grow(w->item, &w->cap, w->count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, name);
    w->item = list;
    if (!(it.name = ar__strndup(name, n))) return ar__fail_memory(err, name);
    list[w->count++] = it;
    return ar__map_put(&w->names, name, n, 0) ? AR_OK : ar__fail_memory(err, name);
}

static ar_status add_typed(ar_gguf_writer *w, const char *name, ar_dtype t, struct item it, const int64_t *ne, ar_error *err) {
    if (!ar__ggml_type_of(&it.type, t))
        return ar__fail(err, AR_ERR_VALUE, "tensor '%s': GGUF has no type for %s", name, ar__dtype(t)->name);
    return add(w, name, it, ne, err);
}

ar_status ar__gguf_writer_add(ar_gguf_writer *w, const char *name, ar_dtype t, int dims, const int64_t *ne, const void *data,
                              ar_error *err) {
    return add_typed(w, name, t, (struct item){.dims = dims, .data = data}, ne, err);
}

ar_status ar__gguf_writer_add_stream(ar_gguf_writer *w, const char *name, ar_dtype t, int dims, const int64_t *ne, ar_stream_fn stream,
                                     void *user, ar_error *err) {
    return add_typed(w, name, t, (struct item){.dims = dims, .stream = stream, .user = user}, ne, err);
}

ar_status ar__gguf_writer_copy(ar_gguf_writer *w, const ar_gguf_tensor *t, ar_error *err) {
    /* A scalar has no dimension in some files; one of size 1 says the same. */
    struct item it = {.type = t->type, .dims = t->dims ? t->dims : 1, .data = t->data, .bytes = t->bytes};
    /* Readers that know the type want the next tensor right behind its own padded size, which is not known here. */
    if (t->padded_to > ALIGNMENT)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "tensor '%s': %s, whose size Alphar does not know, in a file that pads to %zu bytes; wanted at most %d: write the "
                        "file again with a current llama.cpp (llama-quantize --allow-requantize, type COPY)",
                        t->name, t->type_name, t->padded_to, ALIGNMENT);
    return add(w, t->name, it, t->ne, err);
}

static size_t padding(uint64_t at) { return (size_t)(-at % ALIGNMENT); }

static ar_status put_zeros(ar_writer *file, size_t n, ar_error *err) {
    static const char zeros[ALIGNMENT];
    return ar__writer_put(file, zeros, n, err);
}

static ar_status build_header(ar_buf *out, const ar_gguf_writer *w, const char *path, ar_error *err) {
    uint64_t at = 0;
    ar__buf_puts(out, "GGUF");
    put_number(out, VERSION, 4);
    put_number(out, w->count, 8);
    put_number(out, w->kv_count, 8);
    for (size_t i = 0; i < w->kv_count; i++) {
        put_string(out, w->kv[i].key, strlen(w->kv[i].key));
        ar__buf_add(out, w->kv[i].value.data, w->kv[i].value.len);
    }
    for (size_t i = 0; i < w->count; i++) {
        const struct item *it = &w->item[i];
        put_string(out, it->name, strlen(it->name));
        put_number(out, (uint64_t)it->dims, 4);
        for (int d = 0; d < it->dims; d++) put_number(out, (uint64_t)it->ne[d], 8);
        put_number(out, it->type, 4);
        put_number(out, at, 8);
        if (__builtin_add_overflow(at, it->bytes, &at) || at > INT64_MAX - ALIGNMENT)
            return ar__fail(err, AR_ERR_VALUE, "%s: the tensors together are too large", path);
        at += padding(at);
    }
    return out->failed ? ar__fail_memory(err, path) : AR_OK;
}

static ar_status put_item(const struct item *it, ar_writer *file, ar_error *err) {
    uint64_t before = file->bytes;
    ar_status s = it->stream ? it->stream(it->user, file, err) : ar__writer_put(file, it->data, it->bytes, err);
    assert(s || file->bytes - before == it->bytes);
    return s ? s : put_zeros(file, padding(it->bytes), err);
}

ar_status ar__gguf_writer_save(ar_gguf_writer *w, const char *path, ar_error *err) {
    ar_buf header = {0};
    ar_writer file = {.fd = -1};
    ar_status s;
    if (!(s = build_header(&header, w, path, err)) && !(s = ar__writer_open(&file, path, err))) {
        if (!(s = ar__writer_put(&file, header.data, header.len, err))) s = put_zeros(&file, padding(header.len), err);
        for (size_t i = 0; i < w->count && !s; i++) s = put_item(&w->item[i], &file, err);
        if (!s)
            s = ar__writer_commit(&file, err);
        else
            ar__writer_abort(&file);
    }
    ar__buf_release(&header);
    return s;
}
