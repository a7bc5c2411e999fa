/* The types whose scale comes from a block's largest value, or from its range, alone.
 *
 *     q8_0         d = max|x| / 127             q = x / d rounded, halves away from zero
 *     q4_0, q5_0   d = x of max|x|, / -8, -16   q = x / d + 8, 16, halves up: the largest is the most negative, which q reaches
 *     q4_1, q5_1   d = (max − min) / 15, 31     q = (x − min) / d, halves up
 *
 * Division is by multiplying with 1/d in f32, d before it becomes an f16; q is cut at the largest. */
#include <math.h>
#include <string.h>

#include "kern/dtype.h"
#include "kern/half.h"
#include "kern/pack.h"

enum { BLOCK = 32, HALF = BLOCK / 2 };

static void put_half(unsigned char *to, float d) { ar__dtype(AR_F16)->from_f32(to, &d, 1); }

/* The element of the largest |x|, the first of several; *finite: whether all are. */
static float widest(bool *finite, const float *x) {
    float found = 0, top = 0;
    uint32_t bits = 0; /* of |x| compare as |x| does, NaN above all */
    for (int i = 0; i < BLOCK; i++) {
        float a = fabsf(x[i]);
        uint32_t u = ar__bits_of(a);
        bits = u > bits ? u : bits;
        if (a > top) {
            top = a;
            found = x[i];
        }
    }
    *finite = bits < 0x7f800000u;
    return found;
}

static float reciprocal(float d) { return d != 0 && fabsf(1.0f / d) <= 0x1.fffffep127f ? 1.0f / d : 0.0f; }

/* |v| ≤ 127 and a little.  Not roundf, which without SSE4.1 is a call per element. */
static signed char round_away(float v) {
    float a = v < 0 ? -v : v;
    int whole = (int)a;
    whole += a - (float)whole >= 0.5f;
    return (signed char)(v < 0 ? -whole : whole);
}

void ar__pack_q8_0(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += 2 + BLOCK, src += BLOCK) {
        bool finite;
        float d = fabsf(widest(&finite, src)) / 127.0f, by = finite ? reciprocal(d) : 0.0f;
        put_half(p, finite ? d : NAN);
        for (int i = 0; i < BLOCK; i++) p[2 + i] = (unsigned char)(by > 0 ? round_away(src[i] * by) : 0);
    }
}

/* Nibbles and fifth bits of 32 codes. */
static void put_codes(unsigned char *nibbles, unsigned char *fifth, const unsigned char *code) {
    uint32_t high = 0;
    for (int i = 0; i < HALF; i++) nibbles[i] = (unsigned char)((code[i] & 15) | (code[HALF + i] & 15) << 4);
    for (int i = 0; i < BLOCK; i++) high |= (uint32_t)(code[i] >> 4 & 1) << i;
    if (fifth) memcpy(fifth, &high, sizeof high);
}

static unsigned char code_of(float v, int most) {
    int q = (int)v;
    return (unsigned char)(q > most ? most : q < 0 ? 0 : q);
}

static void pack_signed(unsigned char *p, size_t bytes, int bits, const float *src, size_t n) {
    int zero = 1 << (bits - 1);
    for (; n; n -= BLOCK, p += bytes, src += BLOCK) {
        unsigned char code[BLOCK];
        bool finite;
        float d = widest(&finite, src) / (float)-zero, by = finite ? reciprocal(d) : 0.0f;
        put_half(p, finite ? d : NAN);
        for (int i = 0; i < BLOCK; i++) code[i] = finite ? code_of(src[i] * by + ((float)zero + 0.5f), 2 * zero - 1) : 0;
        put_codes(p + bytes - HALF, bits == 5 ? p + 2 : NULL, code);
    }
}

void ar__pack_q4_0(void *dst, const float *src, size_t n) { pack_signed(dst, 18, 4, src, n); }
void ar__pack_q5_0(void *dst, const float *src, size_t n) { pack_signed(dst, 22, 5, src, n); }

static void pack_ranged(unsigned char *p, size_t bytes, int bits, const float *src, size_t n) {
    int most = (1 << bits) - 1;
    for (; n; n -= BLOCK, p += bytes, src += BLOCK) {
        unsigned char code[BLOCK];
        bool finite;
        float least = src[0], top = src[0];
        (void)widest(&finite, src);
        for (int i = 1; i < BLOCK; i++) {
            least = src[i] < least ? src[i] : least;
            top = src[i] > top ? src[i] : top;
        }
        float d = (top - least) / (float)most, by = finite ? reciprocal(d) : 0.0f;
        put_half(p, finite ? d : NAN);
        put_half(p + 2, finite ? least : NAN);
        for (int i = 0; i < BLOCK; i++) code[i] = finite ? code_of((src[i] - least) * by + 0.5f, most) : 0;
        put_codes(p + bytes - HALF, bits == 5 ? p + 4 : NULL, code);
    }
}

void ar__pack_q4_1(void *dst, const float *src, size_t n) { pack_ranged(dst, 20, 4, src, n); }
void ar__pack_q5_1(void *dst, const float *src, size_t n) { pack_ranged(dst, 24, 5, src, n); }
