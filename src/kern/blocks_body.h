/* Block types to f32: as ggml lays them out, each value formed by the operations that ggml's own reference does, so that
 * the bits are the same (no contraction; tests/oracle/blocks.py).
 *
 *     type     block  bytes   layout                                                   value
 *     q4_0       32     18    f16 d | 16 nibbles' bytes                                d (q − 8)
 *     q4_1       32     20    f16 d, m | 16                                            d q + m
 *     q5_0       32     22    f16 d | u32 fifth bits | 16                              d (q − 16)
 *     q5_1       32     24    f16 d, m | u32 | 16                                      d q + m
 *     q8_0       32     34    f16 d | 32 i8                                            d q
 *     q2_K      256     84    16 of scale, min (4 bits each) | 64 of 2 bits | f16 d, e   (d s) q − (e m)    s, m of 16 values
 *     q3_K      256    110    32 third bits | 64 of 2 bits | 12 of 16 scales | f16 d     (d (s − 32)) (q − 4)
 *     q4_K      256    144    f16 d, e | 12 of 8 scales, 8 mins of 6 bits | 128          (d s) q − (e m)    s, m of 32 values
 *     q5_K      256    176    the same | 32 fifth bits | 128                             (d s) q − (e m)
 *     q6_K      256    210    128 low nibbles | 64 of 2 high bits | 16 i8 | f16 d        (d s) (q − 32)     s of 16
 *     iq4_nl     32     18    f16 d | 16                                               d table[q]
 *     iq4_xs    256    136    f16 d | u16, 4 of 8 scales of 6 bits | 128                 (d (s − 32)) table[q]
 *     mxfp4      32     17    e8m0 d/2 | 16                                            d/2 · 2 e2m1(q)
 *     nvfp4      64     36    4 unsigned e4m3 | 4 · 8                                  d/2 · 2 e2m1(q)    d of 16
 *     tq1_0     256     54    48 of five digits, 4 of four | f16 d                       d (digit − 1)
 *     tq2_0     256     66    64 of 2 bits | f16 d                                       d (q − 1)
 *     q1_0      128     18    f16 d | 16 of 8 bits                                     ±d
 *     q2_0       64     18    f16 d | 16 of 2 bits, neighbours                         d (q − 1)
 *     nf4        64     36    f32 absmax | 32, the first value in the high nibble      absmax table[q]; nf4-bf16, nf4-f16: rounded
 *
 * Those of 1 to 3 bits that name points of a lattice are in kern/grids.h.  nf4 is the only one that is not ggml's: bitsandbytes' 4-bit
 * NormalFloat, its scales brought beside their blocks.
 *
 * In blocks of 32 the low nibbles are the first half; in the K types each run of 32 bytes is read at every shift in turn.
 * Included once per ISA, as elem_body.h is. */
#include <string.h>

#include "kern/dtype.h"
#include "kern/grids.h"
#include "kern/half.h"
#include "kern/nf4.h"
#ifdef AR_BLOCK_DOTS
#include "kern/kernels.h"
#endif

#define AR_K_BLOCK 256

#ifdef __F16C__
#include <immintrin.h>

static inline float half_at(const unsigned char *p) { return _cvtsh_ss((unsigned short)(p[0] | p[1] << 8)); }
#else
static inline float half_at(const unsigned char *p) { return ar__f16_value((uint32_t)(p[0] | p[1] << 8)); }
#endif

/* For AVX2 GCC unrolls a loop of 16 before it makes vectors of it, and then makes few: kept a loop, it is two to four times as fast. */
#if defined(__AVX2__) && !defined(__AVX512F__)
#define AS_A_LOOP _Pragma("GCC unroll 1")
#else
#define AS_A_LOOP
#endif

/* ---- blocks of 32 ---- */

static void unpack_q4_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 18, dst += 32) {
        float d = half_at(p);
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[i] = d * (float)((p[2 + i] & 15) - 8);
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[16 + i] = d * (float)((p[2 + i] >> 4) - 8);
    }
}

static void unpack_q4_1(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 20, dst += 32) {
        float d = half_at(p), m = half_at(p + 2);
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[i] = d * (float)(p[4 + i] & 15) + m;
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[16 + i] = d * (float)(p[4 + i] >> 4) + m;
    }
}

static inline uint32_t word_at(const unsigned char *p) {
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

static void unpack_q5_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 22, dst += 32) {
        float d = half_at(p);
        uint32_t high = word_at(p + 2);
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[i] = d * (float)((int)((p[6 + i] & 15u) | (high >> i & 1u) << 4) - 16);
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[16 + i] = d * (float)((int)(((uint32_t)p[6 + i] >> 4) | (high >> (16 + i) & 1u) << 4) - 16);
    }
}

static void unpack_q5_1(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 24, dst += 32) {
        float d = half_at(p), m = half_at(p + 2);
        uint32_t high = word_at(p + 4);
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[i] = d * (float)(int)((p[8 + i] & 15u) | (high >> i & 1u) << 4) + m;
        AS_A_LOOP
        for (int i = 0; i < 16; i++) dst[16 + i] = d * (float)(int)(((uint32_t)p[8 + i] >> 4) | (high >> (16 + i) & 1u) << 4) + m;
    }
}

static void unpack_q8_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 34, dst += 32) {
        float d = half_at(p);
        AS_A_LOOP
        for (int i = 0; i < 32; i++) dst[i] = d * (float)(signed char)p[2 + i];
    }
}

/* ---- blocks of 256 ---- */

static void unpack_q2_k(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 84) {
        float d = half_at(p + 80), e = half_at(p + 82);
        for (int g = 0; g < 16; g++, dst += 16) {
            const unsigned char *q = p + 16 + g / 8 * 32 + g % 2 * 16;
            int shift = g % 8 / 2 * 2;
            float scale = d * (float)(p[g] & 15), least = e * (float)(p[g] >> 4);
            AS_A_LOOP
            for (int i = 0; i < 16; i++) dst[i] = scale * (float)(q[i] >> shift & 3) - least;
        }
    }
}

/* Scale k of a q3_K block: four bits in bytes 0..7 (the low nibbles first), two in bytes 8..11. */
static inline int q3_scale(const unsigned char *s, int k) { return (s[k % 8] >> k / 8 * 4 & 15) | (s[8 + k % 4] >> k / 4 * 2 & 3) << 4; }

static void unpack_q3_k(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 110) {
        float d = half_at(p + 108);
        for (int g = 0; g < 16; g++, dst += 16) {
            const unsigned char *q = p + 32 + g / 8 * 32 + g % 2 * 16, *high = p + g % 2 * 16;
            int shift = g % 8 / 2 * 2, bit = g / 2;
            float scale = d * (float)(q3_scale(p + 96, g) - 32);
            AS_A_LOOP
            for (int i = 0; i < 16; i++) dst[i] = scale * (float)((q[i] >> shift & 3) - (~(high[i] >> bit) & 1) * 4);
        }
    }
}

/* Scale and min j of 8: six bits in bytes j and 4 + j; from the fifth on four bits in byte 4 + j, two on top of the others. */
static inline void k4_scale(float *scale, float *least, const unsigned char *s, int j, float d, float e) {
    int low = j < 4 ? s[j] & 63 : (s[4 + j] & 15) | s[j - 4] >> 6 << 4;
    int min = j < 4 ? s[4 + j] & 63 : s[4 + j] >> 4 | s[j] >> 6 << 4;
    *scale = d * (float)low;
    *least = e * (float)min;
}

static void unpack_q4_k(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 144) {
        float d = half_at(p), e = half_at(p + 2), scale, least;
        for (int j = 0; j < 8; j++, dst += 32) {
            const unsigned char *q = p + 16 + j / 2 * 32;
            int shift = j % 2 * 4;
            k4_scale(&scale, &least, p + 4, j, d, e);
            AS_A_LOOP
            for (int i = 0; i < 32; i++) dst[i] = scale * (float)(q[i] >> shift & 15) - least;
        }
    }
}

static void unpack_q5_k(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 176) {
        float d = half_at(p), e = half_at(p + 2), scale, least;
        for (int j = 0; j < 8; j++, dst += 32) {
            const unsigned char *q = p + 48 + j / 2 * 32, *high = p + 16;
            int shift = j % 2 * 4;
            k4_scale(&scale, &least, p + 4, j, d, e);
            AS_A_LOOP
            for (int i = 0; i < 32; i++) dst[i] = scale * (float)((q[i] >> shift & 15) | (high[i] >> j & 1) << 4) - least;
        }
    }
}

static void unpack_q6_k(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 210) {
        float d = half_at(p + 208);
        for (int g = 0; g < 16; g++, dst += 16) {
            const unsigned char *low = p + g / 8 * 64 + g % 4 * 16, *high = p + 128 + g / 8 * 32 + g % 2 * 16;
            int low_shift = g % 8 / 4 * 4, high_shift = g % 8 / 2 * 2;
            float scale = d * (float)(signed char)p[192 + g];
            AS_A_LOOP
            for (int i = 0; i < 16; i++) dst[i] = scale * (float)(((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
        }
    }
}

/* ---- values by table ---- */

static const float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const float e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* dst[i] = d table[index[i]] for `n` indices below 16.  An ISA that finds 16 values at once has its own. */
#ifndef AR_LOOK_UP
static inline void look_up(float *restrict dst, const float table[16], const unsigned char *index, int n, float d) {
    for (int i = 0; i < n; i++) dst[i] = d * table[index[i]];
}
#endif

/* The low nibbles, then the high ones; bytes: 8 or 16. */
static inline __attribute__((always_inline)) void look_up_halves(float *restrict dst, const float table[16], const unsigned char *q,
                                                                 int bytes, float d) {
    unsigned char index[32];
    for (int i = 0; i < bytes; i += 8) { /* eight at once: byte by byte the compiler inserts each into a register */
        uint64_t v, low, high;
        memcpy(&v, q + i, sizeof v);
        low = v & 0x0f0f0f0f0f0f0f0f, high = v >> 4 & 0x0f0f0f0f0f0f0f0f;
        memcpy(index + i, &low, sizeof low);
        memcpy(index + bytes + i, &high, sizeof high);
    }
    look_up(dst, table, index, 2 * bytes, d);
}

static void unpack_iq4_nl(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 18, dst += 32) look_up_halves(dst, iq4_values, p + 2, 16, half_at(p));
}

static void unpack_iq4_xs(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 136) {
        float d = half_at(p);
        for (int j = 0; j < 8; j++, dst += 32) {
            int scale = (p[4 + j / 2] >> j % 2 * 4 & 15) | ((p[2] | p[3] << 8) >> 2 * j & 3) << 4;
            look_up_halves(dst, iq4_values, p + 8 + 16 * j, 16, d * (float)(scale - 32));
        }
    }
}

/* 2^(e − 128): half the scale, since the table's values are doubled. */
static inline float e8m0_half(unsigned char e) { return ar__float_of(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23); }

static void unpack_mxfp4(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 32, p += 17, dst += 32) look_up_halves(dst, e2m1_doubled, p + 1, 16, e8m0_half(p[0]));
}

/* Half the scale: 4 bits of exponent (bias 7), 3 of mantissa; 0x7f counts as 0. */
static inline float e4m3_half(unsigned char u) {
    uint32_t exponent = u >> 3 & 15u, mantissa = u & 7u;
    float small = (float)mantissa * 0x1p-10f, normal = ar__float_of((exponent + 119u) << 23 | mantissa << 20);
    return u == 0x7f ? 0.0f : exponent ? normal : small;
}

static void unpack_nvfp4(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 64, p += 36)
        for (int j = 0; j < 4; j++, dst += 16) look_up_halves(dst, e2m1_doubled, p + 4 + 8 * j, 8, e4m3_half(p[j]));
}

/* ---- three values and two ---- */

/* Digit k of a byte that holds a fraction of 243 in 256ths, most significant digit first. */
static inline float digit(unsigned char byte, unsigned power) { return (float)((int)((unsigned char)(byte * power) * 3u >> 8) - 1); }

static inline float *tq1_digits(float *dst, const unsigned char *q, int bytes, int digits, float d) {
    unsigned power = 1;
    for (int k = 0; k < digits; k++, power *= 3)
        for (int i = 0; i < bytes; i++) *dst++ = d * digit(q[i], power);
    return dst;
}

static void unpack_tq1_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 54) {
        float d = half_at(p + 52);
        dst = tq1_digits(dst, p, 32, 5, d);
        dst = tq1_digits(dst, p + 32, 16, 5, d);
        dst = tq1_digits(dst, p + 48, 4, 4, d);
    }
}

static void unpack_tq2_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= AR_K_BLOCK, p += 66) {
        float d = half_at(p + 64);
        for (int g = 0; g < 8; g++, dst += 32) AS_A_LOOP
        for (int i = 0; i < 32; i++) dst[i] = d * (float)((p[g / 4 * 32 + i] >> g % 4 * 2 & 3) - 1);
    }
}

static void unpack_q1_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 128, p += 18, dst += 128) {
        float d = half_at(p);
        for (int i = 0; i < 128; i++) dst[i] = p[2 + i / 8] >> i % 8 & 1 ? d : -d;
    }
}

static void unpack_q2_0(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 64, p += 18, dst += 64) {
        float d = half_at(p);
        AS_A_LOOP
        for (int i = 0; i < 64; i++) dst[i] = d * (float)((p[2 + i / 4] >> i % 4 * 2 & 3) - 1);
    }
}

/* ---- bitsandbytes' ----------------------------------------------------------------------------------------------------*/

static void unpack_nf4(float *restrict dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= 64, p += 36, dst += 64) {
        unsigned char index[64];
        for (int i = 0; i < 32; i++) {
            index[2 * i] = p[4 + i] >> 4;
            index[2 * i + 1] = p[4 + i] & 15;
        }
        look_up(dst, ar__nf4_values, index, 64, ar__float_of(word_at(p)));
    }
}

static void unpack_nf4_bf16(float *restrict dst, const void *src, size_t n) {
    unpack_nf4(dst, src, n);
    for (size_t i = 0; i < n; i++) dst[i] = ar__float_of(ar__bf16_bits(ar__bits_of(dst[i])) << 16);
}

static void unpack_nf4_f16(float *restrict dst, const void *src, size_t n) {
    unpack_nf4(dst, src, n);
    for (size_t i = 0; i < n; i++) dst[i] = ar__f16_value(ar__f16_bits(ar__bits_of(dst[i])));
}

/* ---- dot products without forming the values ------------------------------------------------------------------------------
 *
 * x comes as codes too (ar_codes), so that the sum over a run of W's codes that share a scale is one of whole numbers, which are exact in
 * any order.  A run is 32 values, of q6_k 16.  Run j adds to eight lanes of its own parity: lane l takes the values 2 l, 2 l + 1, and
 * 16 + 2 l, 17 + 2 l:
 *
 *     acc[j % 2][l] += scale_W scale_x (q · x over those four)        least[j] += least_W sum_x        Σ acc − Σ least
 *
 * The order is the same on every ISA, and so are the bits. */

#ifdef AR_BLOCK_DOTS /* not where the rows alone are wanted */
enum { RUN_LANES = 8 };

typedef struct block_sum {
    float acc[2][RUN_LANES], least[RUN_LANES];
} block_sum;

static inline void add_run(float *restrict acc, const int16_t *restrict q, const int16_t *restrict x, int n, float scale) {
    int32_t sum[RUN_LANES] = {0};
    for (int h = 0; h < n; h += 16)
        for (int l = 0; l < RUN_LANES; l++) sum[l] += q[h + 2 * l] * x[h + 2 * l] + q[h + 2 * l + 1] * x[h + 2 * l + 1];
    for (int l = 0; l < RUN_LANES; l++) acc[l] += scale * (float)sum[l];
}

/* Blocks of 32: their codes, the scale, and what is taken off every value. */
static inline void read_halves(int16_t q[32], const unsigned char *nibbles) {
    for (int i = 0; i < 16; i++) q[i] = nibbles[i] & 15;
    for (int i = 0; i < 16; i++) q[16 + i] = nibbles[i] >> 4;
}

static inline float read_q8_0(int16_t q[32], float *least, const unsigned char *p) {
    *least = 0;
    for (int i = 0; i < 32; i++) q[i] = (signed char)p[2 + i];
    return half_at(p);
}

static inline float read_q4_0(int16_t q[32], float *least, const unsigned char *p) {
    *least = 0;
    read_halves(q, p + 2);
    for (int i = 0; i < 32; i++) q[i] = (int16_t)(q[i] - 8);
    return half_at(p);
}

static inline float read_q4_1(int16_t q[32], float *least, const unsigned char *p) {
    *least = -half_at(p + 2);
    read_halves(q, p + 4);
    return half_at(p);
}

static inline float read_q5_0(int16_t q[32], float *least, const unsigned char *p) {
    *least = 0;
    read_halves(q, p + 6);
    for (int i = 0; i < 32; i++) q[i] = (int16_t)((q[i] | (int)(word_at(p + 2) >> i & 1u) << 4) - 16);
    return half_at(p);
}

static inline float read_q5_1(int16_t q[32], float *least, const unsigned char *p) {
    *least = -half_at(p + 2);
    read_halves(q, p + 8);
    for (int i = 0; i < 32; i++) q[i] = (int16_t)(q[i] | (int)(word_at(p + 4) >> i & 1u) << 4);
    return half_at(p);
}

static inline float read_iq4_nl(int16_t q[32], float *least, const unsigned char *p) {
    *least = 0;
    read_halves(q, p + 2);
    for (int i = 0; i < 32; i++) q[i] = (int16_t)iq4_values[q[i]];
    return half_at(p);
}

static inline float read_mxfp4(int16_t q[32], float *least, const unsigned char *p) {
    *least = 0;
    read_halves(q, p + 1);
    for (int i = 0; i < 32; i++) q[i] = (int16_t)e2m1_doubled[q[i]];
    return e8m0_half(p[0]);
}

/* x is that of the block. */
static inline void add_q4_k(block_sum *s, const unsigned char *p, ar_codes x) {
    float d = half_at(p), e = half_at(p + 2), scale, least;
    int16_t q[32];
    for (int j = 0; j < 8; j++) {
        const unsigned char *from = p + 16 + j / 2 * 32;
        int shift = j % 2 * 4;
        k4_scale(&scale, &least, p + 4, j, d, e);
        for (int i = 0; i < 32; i++) q[i] = (int16_t)(from[i] >> shift & 15);
        add_run(s->acc[j % 2], q, x.q + 32 * j, 32, scale * x.scale[j]);
        s->least[j] += least * x.sum[j];
    }
}

static inline void add_q5_k(block_sum *s, const unsigned char *p, ar_codes x) {
    float d = half_at(p), e = half_at(p + 2), scale, least;
    int16_t q[32];
    for (int j = 0; j < 8; j++) {
        const unsigned char *from = p + 48 + j / 2 * 32, *high = p + 16;
        int shift = j % 2 * 4;
        k4_scale(&scale, &least, p + 4, j, d, e);
        for (int i = 0; i < 32; i++) q[i] = (int16_t)((from[i] >> shift & 15) | (high[i] >> j & 1) << 4);
        add_run(s->acc[j % 2], q, x.q + 32 * j, 32, scale * x.scale[j]);
        s->least[j] += least * x.sum[j];
    }
}

static inline void add_q6_k(block_sum *s, const unsigned char *p, ar_codes x) {
    float d = half_at(p + 208);
    int16_t q[16];
    for (int g = 0; g < 16; g++) {
        const unsigned char *low = p + g / 8 * 64 + g % 4 * 16, *high = p + 128 + g / 8 * 32 + g % 2 * 16;
        int low_shift = g % 8 / 4 * 4, high_shift = g % 8 / 2 * 2;
        for (int i = 0; i < 16; i++) q[i] = (int16_t)(((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
        add_run(s->acc[g % 2], q, x.q + 16 * g, 16, d * (float)(signed char)p[192 + g] * x.scale[g / 2]);
    }
}

static inline float block_total(const block_sum *s) {
    float sum = 0, least = 0;
    for (int l = 0; l < 2 * RUN_LANES; l++) sum += s->acc[l / RUN_LANES][l % RUN_LANES];
    for (int l = 0; l < RUN_LANES; l++) least += s->least[l];
    return sum - least;
}

#define BLOCK_DOTS_32(name, bytes, has_least)                                                                                              \
    static void dots_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n) {                      \
        for (size_t r = 0; r < rows; r++) {                                                                                                \
            block_sum s = {0};                                                                                                             \
            for (size_t b = 0; b < n / 32; b++) {                                                                                          \
                int16_t q[32];                                                                                                             \
                float least, scale = read_##name(q, &least, (const unsigned char *)w + r * row_bytes + b * (bytes));                       \
                add_run(s.acc[b % 2], q, x.q + 32 * b, 32, scale * x.scale[b]);                                                            \
                if (has_least) s.least[b % 2] += least * x.sum[b];                                                                         \
            }                                                                                                                              \
            out[r] = block_total(&s);                                                                                                      \
        }                                                                                                                                  \
    }

#define BLOCK_DOTS_K(name, bytes)                                                                                                          \
    static void dots_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n) {                      \
        for (size_t r = 0; r < rows; r++) {                                                                                                \
            block_sum s = {0};                                                                                                             \
            for (size_t b = 0; b < n / AR_K_BLOCK; b++)                                                                                    \
                add_##name(&s, (const unsigned char *)w + r * row_bytes + b * (bytes), ar__codes_at(x, b * AR_K_BLOCK));                   \
            out[r] = block_total(&s);                                                                                                      \
        }                                                                                                                                  \
    }
#endif

/* Those that have them: type, name, bytes, whether something is taken off. */
#define AR_EACH_DOTS_32(X)                                                                                                                 \
    X(AR_Q8_0, q8_0, 34, false)                                                                                                            \
    X(AR_Q4_0, q4_0, 18, false)                                                                                                            \
    X(AR_Q4_1, q4_1, 20, true)                                                                                                             \
    X(AR_Q5_0, q5_0, 22, false)                                                                                                            \
    X(AR_Q5_1, q5_1, 24, true)                                                                                                             \
    X(AR_IQ4_NL, iq4_nl, 18, false)                                                                                                        \
    X(AR_MXFP4, mxfp4, 17, false)
#define AR_EACH_DOTS_K(X)                                                                                                                  \
    X(AR_Q4_K, q4_k, 144)                                                                                                                  \
    X(AR_Q5_K, q5_k, 176)                                                                                                                  \
    X(AR_Q6_K, q6_k, 210)

#ifdef AR_BLOCK_DOTS
#define DOTS_32(type, name, bytes, has_least) BLOCK_DOTS_32(name, bytes, has_least)
AR_EACH_DOTS_32(DOTS_32)
#undef DOTS_32
#define DOTS_K(type, name, bytes) BLOCK_DOTS_K(name, bytes)
AR_EACH_DOTS_K(DOTS_K)
#undef DOTS_K

static void block_dots_fill(ar_kernels *k) {
#define FILL(type, name, ...) k->block_dots[type] = dots_##name;
    AR_EACH_DOTS_32(FILL)
    AR_EACH_DOTS_K(FILL)
#undef FILL
}
#endif

/* The rows: type, name, block, bytes, may be an operand of a product, to f32, from f32 (kern/pack.h; NULL: not written). */
#define AR_EACH_BLOCK_TYPE(X)                                                                                                              \
    X(AR_Q8_0, "q8_0", 32, 34, true, unpack_q8_0, ar__pack_q8_0)                                                                           \
    X(AR_Q4_0, "q4_0", 32, 18, true, unpack_q4_0, ar__pack_q4_0)                                                                           \
    X(AR_Q4_1, "q4_1", 32, 20, true, unpack_q4_1, ar__pack_q4_1)                                                                           \
    X(AR_Q5_0, "q5_0", 32, 22, true, unpack_q5_0, ar__pack_q5_0)                                                                           \
    X(AR_Q5_1, "q5_1", 32, 24, true, unpack_q5_1, ar__pack_q5_1)                                                                           \
    X(AR_Q2_K, "q2_k", AR_K_BLOCK, 84, true, unpack_q2_k, ar__pack_q2_k)                                                                   \
    X(AR_Q3_K, "q3_k", AR_K_BLOCK, 110, true, unpack_q3_k, ar__pack_q3_k)                                                                  \
    X(AR_Q4_K, "q4_k", AR_K_BLOCK, 144, true, unpack_q4_k, ar__pack_q4_k)                                                                  \
    X(AR_Q5_K, "q5_k", AR_K_BLOCK, 176, true, unpack_q5_k, ar__pack_q5_k)                                                                  \
    X(AR_Q6_K, "q6_k", AR_K_BLOCK, 210, true, unpack_q6_k, ar__pack_q6_k)                                                                  \
    X(AR_IQ4_NL, "iq4_nl", 32, 18, true, unpack_iq4_nl, NULL)                                                                              \
    X(AR_IQ4_XS, "iq4_xs", AR_K_BLOCK, 136, true, unpack_iq4_xs, NULL)                                                                     \
    X(AR_MXFP4, "mxfp4", 32, 17, true, unpack_mxfp4, NULL)                                                                                 \
    X(AR_NVFP4, "nvfp4", 64, 36, false, unpack_nvfp4, NULL)                                                                                \
    X(AR_TQ1_0, "tq1_0", AR_K_BLOCK, 54, false, unpack_tq1_0, NULL)                                                                        \
    X(AR_TQ2_0, "tq2_0", AR_K_BLOCK, 66, false, unpack_tq2_0, NULL)                                                                        \
    X(AR_Q1_0, "q1_0", 128, 18, false, unpack_q1_0, NULL)                                                                                  \
    X(AR_Q2_0, "q2_0", 64, 18, false, unpack_q2_0, NULL)                                                                                   \
    X(AR_IQ1_S, "iq1_s", AR_K_BLOCK, 50, false, ar__unpack_iq1_s, NULL)                                                                    \
    X(AR_IQ1_M, "iq1_m", AR_K_BLOCK, 56, false, ar__unpack_iq1_m, NULL)                                                                    \
    X(AR_IQ2_XXS, "iq2_xxs", AR_K_BLOCK, 66, false, ar__unpack_iq2_xxs, NULL)                                                              \
    X(AR_IQ2_XS, "iq2_xs", AR_K_BLOCK, 74, false, ar__unpack_iq2_xs, NULL)                                                                 \
    X(AR_IQ2_S, "iq2_s", AR_K_BLOCK, 82, false, ar__unpack_iq2_s, NULL)                                                                    \
    X(AR_IQ3_XXS, "iq3_xxs", AR_K_BLOCK, 98, false, ar__unpack_iq3_xxs, NULL)                                                              \
    X(AR_IQ3_S, "iq3_s", AR_K_BLOCK, 110, false, ar__unpack_iq3_s, NULL)                                                                   \
    X(AR_NF4, "nf4", 64, 36, true, unpack_nf4, ar__pack_nf4)                                                                               \
    X(AR_NF4_BF16, "nf4-bf16", 64, 36, true, unpack_nf4_bf16, ar__pack_nf4)                                                                \
    X(AR_NF4_F16, "nf4-f16", 64, 36, true, unpack_nf4_f16, ar__pack_nf4)
