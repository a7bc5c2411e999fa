#include "kern/grids.h"

#include "kern/half.h"

enum { BLOCK = 256 };

static const float two_bits[4] = {8, 25, 43, 0};
static const float three_bits[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const float odd[8] = {1, 3, 5, 7, 9, 11, 13, 15};

static uint32_t half_word(const unsigned char *p) { return (uint32_t)(p[0] | p[1] << 8); }
static uint32_t word(const unsigned char *p) { return half_word(p) | half_word(p + 2) << 16; }
static float half_at(const unsigned char *p) { return ar__f16_value(half_word(p)); }
static unsigned all_signs(uint32_t seven) { return (seven & 127) | (unsigned)(__builtin_popcount(seven & 127) & 1) << 7; }

/* n values of a point of `bits` each, signed by the bits of `signs`. */
static float *put_point(float *dst, unsigned point, int n, int bits, const float *values, unsigned signs, float scale) {
    for (int i = 0; i < n; i++) {
        float v = scale * values[point >> bits * i & ((1u << bits) - 1)];
        *dst++ = signs >> i & 1 ? -v : v;
    }
    return dst;
}

void ar__unpack_iq2_xxs(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 66)
        for (int g = 0; g < 8; g++) {
            const unsigned char *q = p + 2 + 8 * g;
            uint32_t signs = word(q + 4);
            float scale = half_at(p) * (0.5f + (float)(signs >> 28)) * 0.25f;
            for (int j = 0; j < 4; j++) dst = put_point(dst, ar__grid_iq2_xxs[q[j]], 8, 2, two_bits, all_signs(signs >> 7 * j), scale);
        }
}

void ar__unpack_iq2_xs(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 74)
        for (int i = 0; i < 32; i++) {
            uint32_t q = half_word(p + 2 + 2 * i);
            float scale = half_at(p) * (0.5f + (float)(p[66 + i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
            dst = put_point(dst, ar__grid_iq2_xs[q & 511], 8, 2, two_bits, all_signs(q >> 9), scale);
        }
}

void ar__unpack_iq2_s(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 82)
        for (int i = 0; i < 32; i++) {
            unsigned q = p[2 + i] | ((unsigned)p[66 + i / 4] >> i % 4 * 2 & 3u) << 8;
            float scale = half_at(p) * (0.5f + (float)(p[74 + i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
            dst = put_point(dst, ar__grid_iq2_s[q], 8, 2, two_bits, p[34 + i], scale);
        }
}

void ar__unpack_iq3_xxs(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 98)
        for (int i = 0; i < 64; i++) {
            uint32_t signs = word(p + 66 + i / 8 * 4);
            float scale = half_at(p) * (0.5f + (float)(signs >> 28)) * 0.5f;
            dst = put_point(dst, ar__grid_iq3_xxs[p[2 + i]], 4, 3, three_bits, all_signs(signs >> i / 2 % 4 * 7) >> i % 2 * 4, scale);
        }
}

void ar__unpack_iq3_s(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 110)
        for (int i = 0; i < 64; i++) {
            unsigned q = p[2 + i] | ((unsigned)p[66 + i / 8] >> i % 8 & 1u) << 8;
            float scale = half_at(p) * (float)(1 + 2 * (p[106 + i / 16] >> i / 8 % 2 * 4 & 15));
            dst = put_point(dst, ar__grid_iq3_s[q], 4, 3, odd, (unsigned)p[74 + i / 2] >> i % 2 * 4, scale);
        }
}

/* Coordinates −1, 0, 1, all moved by an eighth. */
static float *put_shifted(float *dst, unsigned point, float shift, float scale) {
    for (int i = 0; i < 8; i++) *dst++ = scale * ((float)((int)(point >> 2 * i & 3) - 1) + shift);
    return dst;
}

void ar__unpack_iq1_s(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 50)
        for (int i = 0; i < 32; i++) {
            uint32_t high = half_word(p + 34 + i / 4 * 2);
            float scale = half_at(p) * (float)(2 * (high >> 12 & 7) + 1);
            dst = put_shifted(dst, ar__grid_iq1[p[2 + i] | (high >> i % 4 * 3 & 7) << 8], high & 0x8000 ? -0.125f : 0.125f, scale);
        }
}

void ar__unpack_iq1_m(float *dst, const void *src, size_t n) {
    const unsigned char *p = src;
    for (; n; n -= BLOCK, p += 56) {
        const unsigned char *s = p + 48;
        uint32_t d = half_word(s) >> 12 | (half_word(s + 2) >> 8 & 0xf0) | (half_word(s + 4) >> 4 & 0xf00) | (half_word(s + 6) & 0xf000);
        for (int i = 0; i < 32; i++) {
            unsigned high = (unsigned)p[32 + i / 2] >> i % 2 * 4 & 15u;
            float scale = ar__f16_value(d) * (float)(2 * (half_word(s + i / 8 * 2) >> i / 2 % 4 * 3 & 7) + 1);
            dst = put_shifted(dst, ar__grid_iq1[p[i] | (high & 7) << 8], high & 8 ? -0.125f : 0.125f, scale);
        }
    }
}
