/* Block types to numbers, a thread a number: layouts and values as kern/blocks_body.h has them, to the bit (so no product and sum become
 * one). */
#include "ops/cuda/mma.h"

#ifdef EMULATED_CUDA
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __uint_as_float(unsigned u) { return ar__float_of(u); }
#define CU_TABLE static const
#else
#define CU_TABLE static __device__ const
#endif

#define AR_NF4_TABLE CU_TABLE
#include "kern/nf4.h"

CU_TABLE float iq4_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
CU_TABLE float e2m1_table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* To f16 and back. */
CU_FN float through_f16(float x) {
#ifdef EMULATED_CUDA
    return ar__f16_value(ar__f16_bits(ar__bits_of(x)));
#else
    float f;
    asm("{.reg .f16 h; cvt.rn.f16.f32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(f) : "f"(x));
    return f;
#endif
}

CU_FN float f16_at(const unsigned char *p) { return f16_value((uint32_t)p[0] | (uint32_t)p[1] << 8); }
CU_FN uint32_t word_at(const unsigned char *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

/* Of a block of 32, the low nibbles are the first half. */
CU_FN int nibble(const unsigned char *p, int i) { return i < 16 ? p[i] & 15 : p[i - 16] >> 4; }

CU_FN float k4_value(const unsigned char *p, int i, int q) {
    const unsigned char *s = p + 4;
    int j = i / 32, low = j < 4 ? s[j] & 63 : (s[4 + j] & 15) | s[j - 4] >> 6 << 4,
        min = j < 4 ? s[4 + j] & 63 : s[4 + j] >> 4 | s[j] >> 6 << 4;
    return __fsub_rn(__fmul_rn(__fmul_rn(f16_at(p), (float)low), (float)q), __fmul_rn(f16_at(p + 2), (float)min));
}

CU_FN float q2_value(const unsigned char *p, int i) {
    int g = i / 16, q = p[16 + g / 8 * 32 + g % 2 * 16 + i % 16] >> g % 8 / 2 * 2 & 3;
    return __fsub_rn(__fmul_rn(__fmul_rn(f16_at(p + 80), (float)(p[g] & 15)), (float)q), __fmul_rn(f16_at(p + 82), (float)(p[g] >> 4)));
}

CU_FN float q3_value(const unsigned char *p, int i) {
    int g = i / 16, e = i % 16, low = p[32 + g / 8 * 32 + g % 2 * 16 + e] >> g % 8 / 2 * 2 & 3, high = p[g % 2 * 16 + e] >> g / 2;
    const unsigned char *s = p + 96;
    int scale = (s[g % 8] >> g / 8 * 4 & 15) | (s[8 + g % 4] >> g / 4 * 2 & 3) << 4;
    return __fmul_rn(__fmul_rn(f16_at(p + 108), (float)(scale - 32)), (float)(low - (~high & 1) * 4));
}

CU_FN float q6_value(const unsigned char *p, int i) {
    int g = i / 16, e = i % 16, low = p[g / 8 * 64 + g % 4 * 16 + e] >> g % 8 / 4 * 4 & 15;
    int high = p[128 + g / 8 * 32 + g % 2 * 16 + e] >> g % 8 / 2 * 2 & 3;
    return __fmul_rn(__fmul_rn(f16_at(p + 208), (float)(signed char)p[192 + g]), (float)((low | high << 4) - 32));
}

CU_FN float iq4_xs_value(const unsigned char *p, int i) {
    int j = i / 32, scale = (p[4 + j / 2] >> j % 2 * 4 & 15) | ((p[2] | p[3] << 8) >> 2 * j & 3) << 4;
    return __fmul_rn(__fmul_rn(f16_at(p), (float)(scale - 32)), iq4_table[nibble(p + 8 + 16 * j, i % 32)]);
}

CU_FN float nf4_value(const unsigned char *p, int i) {
    int q = i % 2 ? p[4 + i / 2] & 15 : p[4 + i / 2] >> 4;
    return __fmul_rn(__uint_as_float(word_at(p)), ar__nf4_values[q]);
}

/* Number i of the block at p. */
CU_FN float block_value(int type, const unsigned char *p, int i) {
    uint32_t e;
    switch (type) {
    case AR_Q4_0: return __fmul_rn(f16_at(p), (float)(nibble(p + 2, i) - 8));
    case AR_Q4_1: return __fadd_rn(__fmul_rn(f16_at(p), (float)nibble(p + 4, i)), f16_at(p + 2));
    case AR_Q5_0: return __fmul_rn(f16_at(p), (float)((nibble(p + 6, i) | (int)(word_at(p + 2) >> i & 1u) << 4) - 16));
    case AR_Q5_1: return __fadd_rn(__fmul_rn(f16_at(p), (float)(nibble(p + 8, i) | (int)(word_at(p + 4) >> i & 1u) << 4)), f16_at(p + 2));
    case AR_Q8_0: return __fmul_rn(f16_at(p), (float)(signed char)p[2 + i]);
    case AR_Q2_K: return q2_value(p, i);
    case AR_Q3_K: return q3_value(p, i);
    case AR_Q4_K: return k4_value(p, i, p[16 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15);
    case AR_Q5_K: return k4_value(p, i, (p[48 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15) | (p[16 + i % 32] >> i / 32 & 1) << 4);
    case AR_Q6_K: return q6_value(p, i);
    case AR_IQ4_NL: return __fmul_rn(f16_at(p), iq4_table[nibble(p + 2, i)]);
    case AR_IQ4_XS: return iq4_xs_value(p, i);
    case AR_MXFP4: e = p[0]; return __fmul_rn(__uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23), e2m1_table[nibble(p + 1, i)]);
    case AR_NF4: return nf4_value(p, i);
    case AR_NF4_BF16: return bf16_value(bf16_bits(nf4_value(p, i)));
    case AR_NF4_F16: return through_f16(nf4_value(p, i));
    default: return NAN; /* no type of a product */
    }
}

__global__ void unpack_f32(float *to, const unsigned char *from, int type, unsigned block, unsigned bytes, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) to[i] = block_value(type, from + i / block * bytes, (int)(i % block));
}

__global__ void unpack_bf16(uint16_t *to, const unsigned char *from, int type, unsigned block, unsigned bytes, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) to[i] = bf16_bits(block_value(type, from + i / block * bytes, (int)(i % block)));
}

__global__ void unpack_rows(float *to, const unsigned char *from, int type, unsigned block, unsigned bytes, const int32_t *ids,
                            size_t count, size_t n) {
    for (size_t i = CU_FIRST; i < count * n; i += CU_STRIDE) {
        size_t at = (size_t)ids[i / n] * n + i % n;
        to[i] = block_value(type, from + at / block * bytes, (int)(at % block));
    }
}

void cu_unpack(cu_device *d, void *to, bool half, const void *from, ar_dtype type, size_t n) {
    const ar_dtype_info *t = ar__dtype(type);
    const unsigned char *p = (const unsigned char *)from;
    if (half)
        CU_LAUNCH_FLAT(d, unpack_bf16, cu_grid(n), CU_THREADS, (uint16_t *)to, p, (int)type, (unsigned)t->block, (unsigned)t->bytes, n);
    else
        CU_LAUNCH_FLAT(d, unpack_f32, cu_grid(n), CU_THREADS, (float *)to, p, (int)type, (unsigned)t->block, (unsigned)t->bytes, n);
}

void cu_unpack_rows(cu_device *d, float *out, const void *from, ar_dtype type, const int32_t *ids, size_t count, size_t n) {
    const ar_dtype_info *t = ar__dtype(type);
    CU_LAUNCH_FLAT(d, unpack_rows, cu_grid(count * n), CU_THREADS, out, (const unsigned char *)from, (int)type, (unsigned)t->block,
                   (unsigned)t->bytes, ids, count, n);
}
