/* Opens a GGUF file: header, key-values, then the tensor infos.  Every number in it is hostile until checked. */
#include "format/gguf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/foreign.h"
#include "format/gguf_file.h"

enum { DEFAULT_ALIGNMENT = 32 };

static ar_status check_version(uint32_t version, ar_gguf_cursor *c) {
    if (version == 2 || version == 3) return AR_OK;
    if ((version & 0xffff) == 0 && version)
        return ar__fail(c->err, AR_ERR_UNSUPPORTED,
                        "%s: a big-endian GGUF file, wanted little-endian: convert it with gguf-convert-endian of the Python package gguf",
                        c->file->path);
    return ar__fail(c->err, AR_ERR_UNSUPPORTED, "%s: GGUF version %u, wanted 2 or 3: make the file again with a current llama.cpp",
                    c->file->path, version);
}

static ar_status read_header(uint64_t *tensors, uint64_t *kvs, ar_gguf_cursor *c) {
    const ar_filemap *m = &c->file->map;
    const unsigned char *magic;
    uint32_t version;
    ar_status s;
    snprintf(c->what, sizeof c->what, "header");
    if (m->size < 4 || memcmp(m->data, "GGUF", 4) != 0)
        return ar__foreign_file(m, c->file->path, "GGUF", "does not begin with 'GGUF'", c->err);
    if ((s = ar__gguf_take(&magic, c, 4)) || (s = ar__gguf_take_u32(&version, c)) || (s = check_version(version, c)) ||
        (s = ar__gguf_take_u64(tensors, c)) || (s = ar__gguf_take_u64(kvs, c)))
        return s;
    return AR_OK;
}

bool ar__gguf_is_name(const char *path) {
    size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".gguf") && !ar__path_is_dir(path);
}

/* Leaves the default alone where the key is absent. */
static ar_status read_alignment(size_t *out, const ar_gguf_cursor *c) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(c->file, "general.alignment");
    int64_t v = (int64_t)*out;
    if (kv && (kv->is_array || kv->type != AR_GGUF_U32 || !ar__gguf_int_at(&v, kv, 0)))
        return ar__fail(c->err, AR_ERR_FORMAT, "%s: 'general.alignment': found %s, wanted u32", c->file->path, ar__gguf_type_name(kv));
    if (v <= 0 || (v & (v - 1)) != 0)
        return ar__fail(c->err, AR_ERR_FORMAT, "%s: 'general.alignment': found %lld, wanted a power of two", c->file->path, (long long)v);
    *out = (size_t)v;
    return AR_OK;
}

static ar_status read_type(ar_gguf_tensor *t, ar_ggml_type *type, ar_gguf_cursor *c) {
    ar_status s = ar__gguf_take_u32(&t->type, c);
    if (s) return s;
    *type = ar__ggml_type(t->type);
    t->type_name = type->name;
    t->dtype = type->dtype;
    t->padded_to = type->block ? 0 : c->file->alignment;
    if (t->padded_to) type->block = 1; /* for the count of elements */
    return AR_OK;
}

/* Everything but the place of the data, which is known only behind the last info. */
static ar_status read_info(ar_gguf_tensor *t, ar_gguf_cursor *c) {
    uint32_t dims;
    ar_ggml_type type;
    ar_status s = ar__gguf_take_u32(&dims, c);
    if (s) return s;
    if (dims > AR_GGUF_MAX_DIMS) return ar__gguf_bad(c, "%u dimensions, at most %d are allowed", dims, AR_GGUF_MAX_DIMS);
    t->dims = (int)dims;
    for (uint32_t i = 0; i < AR_GGUF_MAX_DIMS; i++) {
        uint64_t n = 1;
        if (i < dims && (s = ar__gguf_take_u64(&n, c))) return s;
        if (n > INT64_MAX) return ar__gguf_bad(c, "impossible size %llu", (unsigned long long)n);
        t->ne[i] = (int64_t)n;
    }
    if ((s = read_type(t, &type, c)) || (s = ar__gguf_take_u64(&t->offset, c))) return s;
    if (t->ne[0] % (int64_t)type.block)
        return ar__gguf_bad(c, "rows of %lld, wanted a multiple of %zu for %s", (long long)t->ne[0], type.block, type.name);
    if (t->padded_to) type.bytes = 0; /* until the offsets of all are known */
    return ar__ggml_size(&t->count, &t->bytes, &type, t->dims, t->ne) ? AR_OK : ar__gguf_bad(c, "its size overflows");
}

static ar_status read_infos(ar_gguf *g, ar_gguf_cursor *c, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        char *name;
        snprintf(c->what, sizeof c->what, "tensor %llu of %llu", (unsigned long long)i + 1, (unsigned long long)count);
        if (i == INT_MAX) return ar__gguf_bad(c, "more than Alphar counts");
        ar_status s = ar__gguf_take_name(&name, c);
        if (s) return s;
        ar_gguf_tensor *list = ar__grow(g->tensor, &g->cap, i + 1, sizeof *list);
        if (!list) {
            free(name);
            return ar__fail_memory(c->err, g->path);
        }
        g->tensor = list;
        list[i].name = name;
        g->count++;
        snprintf(c->what, sizeof c->what, "tensor '%.*s'", 100, name);
        if (ar__map_find_str(&g->names, name) != AR_MAP_NONE) return ar__gguf_bad(c, "stands there twice");
        if (!ar__map_put(&g->names, name, strlen(name), i)) return ar__fail_memory(c->err, g->path);
        if ((s = read_info(&list[i], c))) return s;
    }
    return AR_OK;
}

struct extent {
    ar_gguf_tensor *tensor;
};

static int by_offset(const void *a, const void *b) {
    const ar_gguf_tensor *x = ((const struct extent *)a)->tensor, *y = ((const struct extent *)b)->tensor;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

/* A type that ggml has removed, or that came after this table: its tensor reaches to where the next one begins. */
static void measure_by_offsets(struct extent *list, size_t count, size_t room) {
    size_t next = room;
    for (size_t i = count; i-- > 0;) {
        ar_gguf_tensor *t = list[i].tensor;
        if (i + 1 < count && list[i + 1].tensor->offset > t->offset) next = list[i + 1].tensor->offset;
        if (!t->padded_to) continue;
        bool shared = i + 1 < count && list[i + 1].tensor->offset == t->offset;
        t->bytes = shared || next < t->offset ? 0 : next - t->offset;
        if (t->type_name) continue;
        snprintf(t->type_text, sizeof t->type_text, "type %u", t->type);
        t->type_name = t->type_text;
    }
}

/* Gaps are fine, overlaps are not. */
static ar_status check_overlap(ar_gguf *g, size_t room, ar_error *err) {
    struct extent *list = ar__alloc(g->count, sizeof *list);
    const ar_gguf_tensor *last = NULL;
    ar_status s = AR_OK;
    if (!list) return ar__fail_memory(err, g->path);
    for (size_t i = 0; i < g->count; i++) list[i].tensor = &g->tensor[i];
    qsort(list, g->count, sizeof *list, by_offset);
    measure_by_offsets(list, g->count, room);
    for (size_t i = 0; i < g->count && !s; i++) {
        const ar_gguf_tensor *t = list[i].tensor;
        if (!t->bytes) continue;
        if (last && t->offset < last->offset + last->bytes)
            s = ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' begins at offset %llu, inside '%s' which ends at %llu", g->path, t->name,
                         (unsigned long long)t->offset, last->name, (unsigned long long)last->offset + last->bytes);
        last = t;
    }
    free(list);
    return s;
}

/* A file without tensor data may end right behind the infos. */
static ar_status place_tensors(ar_gguf *g, size_t infos_end, size_t alignment, ar_error *err) {
    size_t begin = (infos_end + alignment - 1) / alignment * alignment;
    if (begin > g->map.size) begin = g->map.size;
    size_t room = g->map.size - begin;
    for (size_t i = 0; i < g->count; i++) {
        ar_gguf_tensor *t = &g->tensor[i];
        unsigned long long at = t->offset;
        if (t->offset % alignment)
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' begins at offset %llu, wanted a multiple of %zu", g->path, t->name, at,
                            alignment);
        if (t->offset > room || t->bytes > room - t->offset)
            return ar__fail(err, AR_ERR_FORMAT,
                            "%s: tensor '%s' has %zu bytes from offset %llu on, file has %zu there: it is cut short, download or save it "
                            "again",
                            g->path, t->name, t->bytes, at, room);
        t->data = g->map.data + begin + t->offset;
    }
    return check_overlap(g, room, err);
}

static ar_status read_file(ar_gguf *g, ar_error *err) {
    uint64_t tensors = 0, kvs = 0;
    ar_status s;
    ar_gguf_cursor c = {.file = g, .err = err};
    g->alignment = DEFAULT_ALIGNMENT;
    if ((s = read_header(&tensors, &kvs, &c)) || (s = ar__gguf_read_kvs(g, &c, kvs)) || (s = read_alignment(&g->alignment, &c)) ||
        (s = read_infos(g, &c, tensors)))
        return s;
    return place_tensors(g, c.at, g->alignment, err);
}

ar_status ar__gguf_open(ar_gguf **out, const char *path, ar_error *err) {
    ar_status s;
    ar_gguf *g = ar__alloc(1, sizeof *g);
    *out = NULL;
    if (!g || !(g->path = ar__strdup(path)))
        s = ar__fail_memory(err, path);
    else
        (void)((s = ar__filemap_open(&g->map, path, err)) || (s = read_file(g, err)));
    if (s)
        ar__gguf_close(g);
    else
        *out = g;
    return s;
}

void ar__gguf_close(ar_gguf *g) {
    if (!g) return;
    for (size_t i = 0; i < g->kv_count; i++) {
        free((void *)(uintptr_t)g->kv[i].key);
        free((void *)(uintptr_t)g->kv[i].mark);
    }
    for (size_t i = 0; i < g->count; i++) free((void *)(uintptr_t)g->tensor[i].name);
    free(g->kv);
    free(g->tensor);
    ar__map_release(&g->keys);
    ar__map_release(&g->names);
    ar__filemap_close(&g->map);
    free(g->path);
    free(g);
}

const char *ar__gguf_path(const ar_gguf *g) { return g->path; }
int ar__gguf_count(const ar_gguf *g) { return (int)g->count; }
const ar_gguf_tensor *ar__gguf_at(const ar_gguf *g, int i) { return &g->tensor[i]; }

const ar_gguf_tensor *ar__gguf_find(const ar_gguf *g, const char *name) {
    size_t i = ar__map_find_str(&g->names, name);
    return i == AR_MAP_NONE ? NULL : &g->tensor[i];
}

ar_status ar__gguf_need(const ar_gguf_tensor **out, const ar_gguf *g, const char *name, ar_error *err) {
    const ar_gguf_tensor *t = *out = ar__gguf_find(g, name);
    if (!t) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no tensor '%s'", g->path, name);
    if (!ar__dtype(t->dtype)->to_f32)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: tensor '%s' has type %s, wanted F32, F16, BF16 or Q8_0", g->path, name, t->type_name);
    return AR_OK;
}
