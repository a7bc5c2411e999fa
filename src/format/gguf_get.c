/* Typed access to the key-values of an open GGUF file. */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fail.h"
#include "format/gguf_file.h"

bool ar__gguf_int_at(int64_t *out, const ar_gguf_kv *kv, size_t i) {
    assert(i < kv->count);
    size_t n = ar__gguf_value_bytes(kv->type);
    bool is_signed = kv->type == AR_GGUF_I8 || kv->type == AR_GGUF_I16 || kv->type == AR_GGUF_I32 || kv->type == AR_GGUF_I64;
    bool is_unsigned = kv->type == AR_GGUF_U8 || kv->type == AR_GGUF_U16 || kv->type == AR_GGUF_U32 || kv->type == AR_GGUF_U64;
    if (!is_signed && !is_unsigned) return false;
    uint64_t u = ar__le_load(kv->data + i * n, n);
    if (is_unsigned && u > INT64_MAX) return false;
    if (is_signed && n < 8 && u >> (8 * n - 1)) u |= UINT64_MAX << (8 * n);
    *out = (int64_t)u;
    return true;
}

bool ar__gguf_double_at(double *out, const ar_gguf_kv *kv, size_t i) {
    assert(i < kv->count);
    if (kv->type == AR_GGUF_F32) {
        float f;
        uint32_t u = (uint32_t)ar__le_load(kv->data + i * 4, 4);
        memcpy(&f, &u, 4);
        *out = (double)f;
        return true;
    }
    if (kv->type == AR_GGUF_F64) {
        uint64_t u = ar__le_load(kv->data + i * 8, 8);
        memcpy(out, &u, 8);
        return true;
    }
    int64_t v;
    if (!ar__gguf_int_at(&v, kv, i)) return false;
    *out = (double)v;
    return true;
}

bool ar__gguf_bool_at(bool *out, const ar_gguf_kv *kv, size_t i) {
    assert(i < kv->count);
    if (kv->type != AR_GGUF_BOOL) return false;
    *out = kv->data[i] != 0;
    return true;
}

bool ar__gguf_string_at(ar_gguf_string *out, const ar_gguf_kv *kv, size_t i) {
    assert(i < kv->count);
    if (kv->type != AR_GGUF_STRING) return false;
    const unsigned char *p = kv->data + kv->mark[i / AR_GGUF_MARK_STEP];
    for (size_t skip = i % AR_GGUF_MARK_STEP; skip; skip--) p += 8 + ar__le_load(p, 8);
    *out = (ar_gguf_string){(const char *)p + 8, ar__le_load(p, 8)};
    return true;
}

bool ar__gguf_string_is(ar_gguf_string s, const char *text) { return strlen(text) == s.len && !memcmp(s.at, text, s.len); }

int ar__gguf_kv_count(const ar_gguf *g) { return (int)g->kv_count; }
const ar_gguf_kv *ar__gguf_kv_at(const ar_gguf *g, int i) { return &g->kv[i]; }

const ar_gguf_kv *ar__gguf_kv_find(const ar_gguf *g, const char *key) {
    size_t i = ar__map_find_str(&g->keys, key);
    return i == AR_MAP_NONE ? NULL : &g->kv[i];
}

ar_status ar__gguf_need_key(const ar_gguf *g, const char *key, ar_error *err) {
    if (ar__gguf_kv_find(g, key)) return AR_OK;
    return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' is missing", g->path, key);
}

static ar_status wrong(const ar_gguf *g, const ar_gguf_kv *kv, const char *wanted, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': found %s, wanted %s", g->path, kv->key, ar__gguf_type_name(kv), wanted);
}

ar_status ar__gguf_get_int(int64_t *out, const ar_gguf *g, const char *key, ar_error *err) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(g, key);
    if (!kv || (!kv->is_array && ar__gguf_int_at(out, kv, 0))) return AR_OK;
    return wrong(g, kv, kv->type == AR_GGUF_U64 && !kv->is_array ? "an integer below 2^63" : "integer", err);
}

ar_status ar__gguf_get_double(double *out, const ar_gguf *g, const char *key, ar_error *err) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(g, key);
    return !kv || (!kv->is_array && ar__gguf_double_at(out, kv, 0)) ? AR_OK : wrong(g, kv, "number", err);
}

ar_status ar__gguf_get_bool(bool *out, const ar_gguf *g, const char *key, ar_error *err) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(g, key);
    return !kv || (!kv->is_array && ar__gguf_bool_at(out, kv, 0)) ? AR_OK : wrong(g, kv, "bool", err);
}

ar_status ar__gguf_get_string(ar_gguf_string *out, const ar_gguf *g, const char *key, ar_error *err) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(g, key);
    return !kv || (!kv->is_array && ar__gguf_string_at(out, kv, 0)) ? AR_OK : wrong(g, kv, "string", err);
}

ar_status ar__gguf_get_array(const ar_gguf_kv **out, const ar_gguf *g, const char *key, ar_gguf_type of, ar_error *err) {
    const ar_gguf_kv *kv = ar__gguf_kv_find(g, key), wanted = {.type = of, .is_array = true};
    if (kv && (!kv->is_array || kv->type != of)) return wrong(g, kv, ar__gguf_type_name(&wanted), err);
    if (kv) *out = kv;
    return AR_OK;
}
