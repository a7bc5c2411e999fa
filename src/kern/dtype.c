/* The rows of the dtype table.  Sources may be unaligned (tensors lie anywhere in a mapped file), so every load and
 * store goes through a type of alignment 1; the loops are branch-free so that the compiler vectorises them. */
#include "kern/dtype.h"

#include <string.h>

#include "base/mem.h"

typedef uint16_t __attribute__((aligned(1), may_alias)) raw16;

static inline uint32_t bits_of(float f) {
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    return v.u;
}

static inline float float_of(uint32_t u) {
    union {
        uint32_t u;
        float f;
    } v = {.u = u};
    return v.f;
}

static void f32_to_f32(float *dst, const void *src, size_t n) {
    if (n) memcpy(dst, src, n * sizeof *dst);
}

static void f32_from_f32(void *dst, const float *src, size_t n) {
    if (n) memcpy(dst, src, n * sizeof *src);
}

static void bf16_to_f32(float *dst, const void *src, size_t n) {
    const raw16 *p = src;
#pragma omp simd
    for (size_t i = 0; i < n; i++) dst[i] = float_of((uint32_t)p[i] << 16);
}

/* Nearest even by carrying into the kept half; a NaN would carry into infinity, so it is cut and made quiet. */
static inline uint32_t bf16_bits(uint32_t u) {
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    uint32_t nan = (u >> 16) | 0x40u;
    return (u & 0x7fffffffu) > 0x7f800000u ? nan : rounded;
}

static void bf16_from_f32(void *dst, const float *src, size_t n) {
    raw16 *p = dst;
#pragma omp simd
    for (size_t i = 0; i < n; i++) p[i] = (uint16_t)bf16_bits(bits_of(src[i]));
}

void ar__round_to_bf16(float *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) x[i] = float_of(bf16_bits(bits_of(x[i])) << 16);
}

/* By mask, not `?:`: the compiler would branch around the floating-point operation behind one side, and then not
 * vectorise (measured: f16 to f32 at half the speed). */
static inline uint32_t choose(bool c, uint32_t yes, uint32_t no) {
    uint32_t mask = 0u - (uint32_t)c;
    return (yes & mask) | (no & ~mask);
}

/* Normal halves only move their exponent (15 → 127).  Subnormals are h·2^-24: put under the exponent of 2^-14 they
 * read 2^-14 + h·2^-24, and the subtraction is exact.  Infinity and NaN get the largest exponent. */
static inline uint32_t f16_to_bits(uint32_t h) {
    uint32_t body = (h & 0x7fffu) << 13, exponent = body & 0x0f800000u;
    uint32_t normal = body + (112u << 23);
    uint32_t special = body + (224u << 23);
    uint32_t small = bits_of(float_of(body + (113u << 23)) - float_of(113u << 23));
    uint32_t u = exponent == 0x0f800000u ? special : normal;
    u = choose(exponent == 0, small, u);
    return u | (h & 0x8000u) << 16;
}

static void f16_to_f32(float *dst, const void *src, size_t n) {
    const raw16 *p = src;
#pragma omp simd
    for (size_t i = 0; i < n; i++) dst[i] = float_of(f16_to_bits(p[i]));
}

float ar__f16_to_f32(uint16_t h) { return float_of(f16_to_bits(h)); }

/* The normal range rounds by carry, as bf16 (a carry past the largest half lands on infinity, as it should); below
 * 2^-14 adding 0.5 makes the FPU round to multiples of 2^-24. */
static inline uint32_t f16_bits(uint32_t u) {
    uint32_t sign = u & 0x80000000u;
    u ^= sign;
    uint32_t normal = (u - (112u << 23) + 0xfffu + ((u >> 13) & 1u)) >> 13;
    uint32_t small = bits_of(float_of(u) + 0.5f) - bits_of(0.5f);
    uint32_t special = u > 0x7f800000u ? 0x7e00u | ((u >> 13) & 0x3ffu) : 0x7c00u;
    uint32_t h = u >= (143u << 23) ? special : normal;
    h = choose(u < (113u << 23), small, h);
    return h | sign >> 16;
}

static void f16_from_f32(void *dst, const float *src, size_t n) {
    raw16 *p = dst;
#pragma omp simd
    for (size_t i = 0; i < n; i++) p[i] = (uint16_t)f16_bits(bits_of(src[i]));
}

/* q8_0, as ggml's reference: 32 elements are an f16 scale d and 32 int8, x ≈ d·q.
 *
 *     d = max|x| / 127        q = x · (1/d) rounded, halves away from zero        (d before it becomes an f16)
 *
 * A block with a NaN or an infinity in it gets the scale NaN: no finite q could tell. */
enum { Q8_0_BLOCK = 32, Q8_0_BYTES = 34 };

static void q8_0_to_f32(float *dst, const void *src, size_t n) {
    const char *p = src;
    for (; n; n -= Q8_0_BLOCK, p += Q8_0_BYTES, dst += Q8_0_BLOCK) {
        const int8_t *q = (const int8_t *)(p + 2);
        float d;
        f16_to_f32(&d, p, 1);
        for (int i = 0; i < Q8_0_BLOCK; i++) dst[i] = d * (float)q[i];
    }
}

/* |v| ≤ 127 and a little.  Not roundf, which without SSE4.1 is a call per element. */
static inline int8_t round_away(float v) {
    float a = v < 0 ? -v : v;
    int whole = (int)a;
    whole += a - (float)whole >= 0.5f;
    return (int8_t)(v < 0 ? -whole : whole);
}

static void q8_0_from_f32(void *dst, const float *src, size_t n) {
    char *p = dst;
    for (; n; n -= Q8_0_BLOCK, p += Q8_0_BYTES, src += Q8_0_BLOCK) {
        int8_t *q = (int8_t *)(p + 2);
        int32_t top = 0; /* the bits of |x| compare as |x| does, NaN above all */
        for (int i = 0; i < Q8_0_BLOCK; i++) {
            int32_t u = (int32_t)(bits_of(src[i]) & 0x7fffffffu);
            top = u > top ? u : top;
        }
        float d = top < 0x7f800000 ? float_of((uint32_t)top) / 127.0f : float_of(0x7fc00000u);
        float inverse = d > 0 ? 1.0f / d : 0.0f;
        if (!(inverse <= 0x1.fffffep127f)) inverse = 0; /* of a subnormal d, which is 0 as an f16 anyhow; of NaN */
        f16_from_f32(p, &d, 1);
        for (int i = 0; i < Q8_0_BLOCK; i++) q[i] = inverse > 0 ? round_away(src[i] * inverse) : 0;
    }
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
    [AR_Q8_0] = {"q8_0", NULL, Q8_0_BLOCK, Q8_0_BYTES, false, q8_0_to_f32, q8_0_from_f32},
    /* What a file may hold and Alphar does not compute with: never a weight, no conversions. */
    [AR_DTYPE_COUNT] = {"unsupported", NULL, 1, 1, false, NULL, NULL},
};

const ar_dtype_info *ar__dtype(ar_dtype t) { return &table[(unsigned)t < AR_DTYPE_COUNT ? t : AR_DTYPE_COUNT]; }

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
