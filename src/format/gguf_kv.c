/* Reads the key-values of a GGUF file.  Nothing is allocated from a count or length that the file claims: lists grow as
 * elements are met, and each of them takes bytes of the file. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "format/gguf_file.h"

enum { NAME_MAX_BYTES = 65535 /* the format's limit for keys */ };

static const struct {
    const char *name, *list;
    size_t bytes;
} types[AR_GGUF_TYPE_COUNT] = {
    [AR_GGUF_U8] = {"u8", "list of u8", 1},
    [AR_GGUF_I8] = {"i8", "list of i8", 1},
    [AR_GGUF_U16] = {"u16", "list of u16", 2},
    [AR_GGUF_I16] = {"i16", "list of i16", 2},
    [AR_GGUF_U32] = {"u32", "list of u32", 4},
    [AR_GGUF_I32] = {"i32", "list of i32", 4},
    [AR_GGUF_F32] = {"f32", "list of f32", 4},
    [AR_GGUF_BOOL] = {"bool", "list of bool", 1},
    [AR_GGUF_STRING] = {"string", "list of strings", 0},
    [AR_GGUF_ARRAY] = {"list", "list", 0},
    [AR_GGUF_U64] = {"u64", "list of u64", 8},
    [AR_GGUF_I64] = {"i64", "list of i64", 8},
    [AR_GGUF_F64] = {"f64", "list of f64", 8},
};

const char *ar__gguf_type_name(const ar_gguf_kv *kv) { return kv->is_array ? types[kv->type].list : types[kv->type].name; }
size_t ar__gguf_value_bytes(ar_gguf_type t) { return types[t].bytes; }

void ar__gguf_say(const ar_gguf_cursor *c, const char *format, ...) {
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    ar__fail(c->err, AR_ERR_FORMAT, "%s: %s: %s", c->file->path, c->what, text);
}

ar_status ar__gguf_take(const unsigned char **out, ar_gguf_cursor *c, size_t n) {
    const ar_filemap *m = &c->file->map;
    if (n > m->size - c->at)
        return ar__gguf_bad(c, "needs %zu bytes from byte %zu on, file has %zu: it is cut short or damaged, download or save it again", n,
                            c->at, m->size);
    *out = m->data + c->at;
    c->at += n;
    return AR_OK;
}

ar_status ar__gguf_take_u32(uint32_t *out, ar_gguf_cursor *c) {
    const unsigned char *p = NULL;
    ar_status s = ar__gguf_take(&p, c, 4);
    if (!s) *out = (uint32_t)ar__le_load(p, 4);
    return s;
}

ar_status ar__gguf_take_u64(uint64_t *out, ar_gguf_cursor *c) {
    const unsigned char *p = NULL;
    ar_status s = ar__gguf_take(&p, c, 8);
    if (!s) *out = ar__le_load(p, 8);
    return s;
}

static ar_status take_string(ar_gguf_string *out, ar_gguf_cursor *c) {
    uint64_t n = 0;
    const unsigned char *p = NULL;
    ar_status s;
    if ((s = ar__gguf_take_u64(&n, c)) || (s = ar__gguf_take(&p, c, n))) return s;
    *out = (ar_gguf_string){(const char *)p, n};
    return AR_OK;
}

ar_status ar__gguf_take_name(char **out, ar_gguf_cursor *c) {
    ar_gguf_string name;
    *out = NULL;
    ar_status s = take_string(&name, c);
    if (s) return s;
    if (name.len > NAME_MAX_BYTES) return ar__gguf_bad(c, "a name of %zu bytes, at most %d are allowed", name.len, NAME_MAX_BYTES);
    if (memchr(name.at, 0, name.len) || ar__utf8_valid(name.at, name.len) != name.len) return ar__gguf_bad(c, "its name is no UTF-8 text");
    *out = ar__strndup(name.at, name.len);
    return *out ? AR_OK : ar__fail_memory(c->err, c->file->path);
}

static ar_status check_bools(const ar_gguf_cursor *c, const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] > 1) return ar__gguf_bad(c, "found %d, wanted a bool of 0 or 1", p[i]);
    return AR_OK;
}

/* Steps over strings and notes where each 16th begins. */
static ar_status walk_strings(size_t **mark, ar_gguf_cursor *c, uint64_t n) {
    size_t cap = 0, begin = c->at;
    ar_gguf_string text;
    for (uint64_t i = 0; i < n; i++) {
        if (i % AR_GGUF_MARK_STEP == 0) {
            size_t *list = ar__grow(*mark, &cap, i / AR_GGUF_MARK_STEP + 1, sizeof *list);
            if (!list) return ar__fail_memory(c->err, c->file->path);
            *mark = list;
            list[i / AR_GGUF_MARK_STEP] = c->at - begin;
        }
        ar_status s = take_string(&text, c);
        if (s) return s;
    }
    return AR_OK;
}

/* Steps over n values of a type.  Lists of lists are in the format's text; ggml refuses them, as no file has any. */
static ar_status walk_values(size_t **mark, ar_gguf_cursor *c, uint32_t type, uint64_t n) {
    const unsigned char *p = NULL;
    size_t bytes;
    if (type >= AR_GGUF_TYPE_COUNT) return ar__gguf_bad(c, "value type %u, there are 0 to %d", type, AR_GGUF_TYPE_COUNT - 1);
    if (type == AR_GGUF_ARRAY) return ar__gguf_bad(c, "found a list of lists, wanted a list of plain values");
    if (type == AR_GGUF_STRING) return walk_strings(mark, c, n);
    if (!ar__mul(&bytes, n, types[type].bytes)) return ar__gguf_bad(c, "%llu values overflow", (unsigned long long)n);
    ar_status s = ar__gguf_take(&p, c, bytes);
    return s || type != AR_GGUF_BOOL ? s : check_bools(c, p, bytes);
}

static ar_status read_value(ar_gguf_kv *kv, ar_gguf_cursor *c) {
    uint32_t type = 0;
    uint64_t count = 1;
    size_t *mark = NULL, begin = c->at;
    ar_status s = ar__gguf_take_u32(&type, c);
    kv->is_array = !s && type == AR_GGUF_ARRAY;
    if (kv->is_array) (void)((s = ar__gguf_take_u32(&type, c)) || (s = ar__gguf_take_u64(&count, c)));
    kv->data = c->file->map.data + c->at;
    if (!s) s = walk_values(&mark, c, type, count);
    kv->mark = mark;
    kv->type = s ? AR_GGUF_U8 : (ar_gguf_type)type;
    kv->count = count;
    kv->raw = c->file->map.data + begin;
    kv->raw_bytes = c->at - begin;
    return s;
}

ar_status ar__gguf_read_kvs(ar_gguf *g, ar_gguf_cursor *c, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        char *key;
        snprintf(c->what, sizeof c->what, "key-value %llu of %llu", (unsigned long long)i + 1, (unsigned long long)count);
        if (i == INT_MAX) return ar__gguf_bad(c, "more than Alphar counts");
        ar_status s = ar__gguf_take_name(&key, c);
        if (s) return s;
        ar_gguf_kv *list = ar__grow(g->kv, &g->kv_cap, i + 1, sizeof *list);
        if (!list) {
            free(key);
            return ar__fail_memory(c->err, g->path);
        }
        g->kv = list;
        list[i].key = key;
        g->kv_count++;
        snprintf(c->what, sizeof c->what, "key '%.*s'", 100, key);
        if (ar__map_find_str(&g->keys, key) != AR_MAP_NONE) return ar__gguf_bad(c, "stands there twice");
        if (!ar__map_put(&g->keys, key, strlen(key), i)) return ar__fail_memory(c->err, g->path);
        if ((s = read_value(&list[i], c))) return s;
    }
    return AR_OK;
}
