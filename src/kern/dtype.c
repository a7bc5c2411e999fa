/* The rows of the dtype table.  Sources may be unaligned (tensors lie anywhere in a mapped file), so every load and
 * store goes through a type of alignment 1; the loops are branch-free so that the compiler vectorises them. */
#include "kern/dtype.h"

#include <string.h>

#include "base/mem.h"
#include "kern/blocks_body.h"
#include "kern/pack.h"

typedef uint16_t __attribute__((aligned(1), may_alias)) raw16;

static void f32_to_f32(float *dst, const void *src, size_t n) {
    if (n) memcpy(dst, src, n * sizeof *dst);
}

static void f32_from_f32(void *dst, const float *src, size_t n) {
    if (n) memcpy(dst, src, n * sizeof *src);
}

static void bf16_to_f32(float *dst, const void *src, size_t n) {
    const raw16 *p = src;
#pragma omp simd
    for (size_t i = 0; i < n; i++) dst[i] = ar__bf16_to_f32(p[i]);
}

static void bf16_from_f32(void *dst, const float *src, size_t n) {
    raw16 *p = dst;
#pragma omp simd
    for (size_t i = 0; i < n; i++) p[i] = (uint16_t)ar__bf16_bits(ar__bits_of(src[i]));
}

void ar__round_to_bf16(float *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) x[i] = ar__float_of(ar__bf16_bits(ar__bits_of(x[i])) << 16);
}

static void f16_to_f32(float *dst, const void *src, size_t n) {
    const raw16 *p = src;
#pragma omp simd
    for (size_t i = 0; i < n; i++) dst[i] = ar__f16_value(p[i]);
}

static void f16_from_f32(void *dst, const float *src, size_t n) {
    raw16 *p = dst;
#pragma omp simd
    for (size_t i = 0; i < n; i++) p[i] = (uint16_t)ar__f16_bits(ar__bits_of(src[i]));
}

static const ar_dtype_info table[AR_DTYPE_COUNT + 1] = {
    [AR_F32] = {"f32", "F32", 1, 4, true, f32_to_f32, f32_from_f32},
    [AR_F16] = {"f16", "F16", 1, 2, true, f16_to_f32, f16_from_f32},
    [AR_BF16] = {"bf16", "BF16", 1, 2, true, bf16_to_f32, bf16_from_f32},
    [AR_F64] = {"f64", "F64", 1, 8, false, NULL, NULL},
    [AR_I64] = {"i64", "I64", 1, 8, false, NULL, NULL},
    [AR_I32] = {"i32", "I32", 1, 4, false, NULL, NULL},
    [AR_I16] = {"i16", "I16", 1, 2, false, NULL, NULL},
    [AR_I8] = {"i8", "I8", 1, 1, false, NULL, NULL},
    [AR_U8] = {"u8", "U8", 1, 1, false, NULL, NULL},
    [AR_BOOL] = {"bool", "BOOL", 1, 1, false, NULL, NULL},
#define ROW(type, name, block, bytes, is_weight, to, from) [type] = {name, NULL, block, bytes, is_weight, to, from},
    AR_EACH_BLOCK_TYPE(ROW)
#undef ROW
        /* What a file may hold and Alphar does not compute with: never a weight, no conversions. */
        [AR_DTYPE_COUNT] = {"unsupported", NULL, 1, 1, false, NULL, NULL},
};

const ar_dtype_info *ar__dtype(ar_dtype t) { return &table[(unsigned)t < AR_DTYPE_COUNT ? t : AR_DTYPE_COUNT]; }

bool ar__dtype_is_float(ar_dtype t) { return ar__dtype(t)->block == 1 && ar__dtype(t)->to_f32; }

bool ar__dtype_from_safetensors(ar_dtype *out, const char *name, size_t len) {
    for (int i = 0; i < AR_DTYPE_COUNT; i++) {
        const char *s = table[i].safetensors;
        if (s && strlen(s) == len && !memcmp(s, name, len)) {
            *out = (ar_dtype)i;
            return true;
        }
    }
    return false;
}

bool ar__dtype_from_name(ar_dtype *out, const char *name) {
    static const struct {
        const char *name;
        ar_dtype type;
    } torch[] = {{"float32", AR_F32}, {"float", AR_F32}, {"float16", AR_F16}, {"half", AR_F16}, {"bfloat16", AR_BF16}, {"float64", AR_F64},
                 {"int64", AR_I64},   {"int32", AR_I32}, {"int16", AR_I16},   {"int8", AR_I8},  {"uint8", AR_U8}};
    if (!strncmp(name, "torch.", 6)) name += 6;
    for (size_t i = 0; i < sizeof torch / sizeof *torch; i++) {
        if (strcmp(torch[i].name, name)) continue;
        *out = torch[i].type;
        return true;
    }
    for (int i = 0; i < AR_DTYPE_COUNT; i++) {
        if (strcmp(table[i].name, name)) continue;
        *out = (ar_dtype)i;
        return true;
    }
    return false;
}

bool ar__dtype_bytes(size_t *out, ar_dtype t, size_t count) {
    const ar_dtype_info *d = ar__dtype(t);
    return count % d->block == 0 && ar__mul(out, count / d->block, d->bytes);
}

bool ar__dtype_equal(ar_dtype ta, const void *a, ar_dtype tb, const void *b, size_t count) {
    enum { BLOCK = 1024 };
    const ar_dtype_info *da = ar__dtype(ta), *db = ar__dtype(tb);
    size_t bytes;
    if (ta == tb && ar__dtype_bytes(&bytes, ta, count) && !memcmp(a, b, bytes)) return true;
    if (!da->to_f32 || !db->to_f32) return false;
    float x[BLOCK], y[BLOCK];
    for (size_t at = 0; at < count; at += BLOCK) {
        size_t n = count - at < BLOCK ? count - at : BLOCK;
        da->to_f32(x, (const char *)a + at / da->block * da->bytes, n);
        db->to_f32(y, (const char *)b + at / db->block * db->bytes, n);
        for (size_t i = 0; i < n; i++)
            if (!(x[i] == y[i])) return false;
    }
    return true;
}
