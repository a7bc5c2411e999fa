/* The K types: 256 values share a scale in f16, and each 16 or 32 of them a scale (and a min) of few bits of it.
 *
 *     q4_K, q5_K, q2_K   x ≈ a q − b      q = 0 … most         a, b ≥ 0
 *     q6_K, q3_K         x ≈ a q          q = −half … half − 1
 *
 * a and b of a group are those of least weighted squares over a row of tries: for each of some first scales near range / most the
 * codes are rounded, and then a and b fitted to the codes.  Then scales are rounded to their few bits, and the codes once more, to what
 * will be read.  Not ggml's bytes, but no further from x than its own (tests/oracle/gguf_files.py). */
#include <math.h>
#include <string.h>

#include "kern/dtype.h"
#include "kern/half.h"
#include "kern/pack.h"

enum { BLOCK = 256, MOST_GROUP = 32, MOST_GROUPS = 16 };

#define TINY 1e-30f /* far below what a scale in f16 can be */

static float put_half(unsigned char *to, float d) {
    float back;
    ar__dtype(AR_F16)->from_f32(to, &d, 1);
    ar__dtype(AR_F16)->to_f32(&back, to, 1);
    return back;
}

static bool all_finite(const float *x, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * 0.0f;
    return sum == 0.0f;
}

/* A block that no code could tell: the first f16 of it is NaN, and so reads every value. */
static void put_nan(unsigned char *block, size_t bytes, size_t at, size_t second) {
    memset(block, 0, bytes);
    put_half(block + at, NAN);
    if (second) put_half(block + second, NAN);
}

/* To the nearest, halves to even, by the rounding of an addition: a call to nearbyintf for each value took half of the time. */
static inline int clamp(float v, int least, int most) {
    float cut = v > (float)most ? (float)most : v > (float)least ? v : (float)least;
    return (int)((cut + 12582912.0f) - 12582912.0f);
}

/* ---- with a min ------------------------------------------------------------------------------------------------------*/

/* Values of a group in units of the largest, and what a fit sums of them: x weighs w.  Sums have fixed lanes, which compilers turn into
 * vectors; f32 is enough for 32 values of one size. */
typedef struct group {
    int n;
    float x[MOST_GROUP], w[MOST_GROUP], wx[MOST_GROUP];
    double sum_w, sum_wx, sum_wxx;
} group;

typedef struct sums {
    double q, qq, xq;
} sums;

enum { LANES = 8 };

static double total(const float lane[LANES]) {
    return (double)(((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7])));
}

/* Of the codes that x has with this scale and min: q = (x + b) / a, between least and most. */
static sums sums_of(const group *g, float inverse, float b, float least, float most) {
    float q[LANES] = {0}, qq[LANES] = {0}, xq[LANES] = {0};
    for (int i = 0; i < g->n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float v = inverse * (g->x[i + l] + b);
            v = v > most ? most : v;
            v = v > least ? v : least;
            v = (v + 12582912.0f) - 12582912.0f;
            float wq = g->w[i + l] * v;
            q[l] += wq;
            qq[l] += wq * v;
            xq[l] += g->wx[i + l] * v;
        }
    return (sums){total(q), total(qq), total(xq)};
}

static void weigh(group *g) {
    for (int i = 0; i < g->n; i++) {
        g->wx[i] = g->w[i] * g->x[i];
        g->sum_w += (double)g->w[i];
        g->sum_wx += (double)g->wx[i];
        g->sum_wxx += (double)g->wx[i] * (double)g->x[i];
    }
}

/* a and b of least weighted squares for given codes, b ≥ 0, and that error; false: the codes are all alike. */
static bool fit(float *a, float *b, double *error, const group *g, const sums *s) {
    double det = g->sum_w * s->qq - s->q * s->q;
    if (!(det > 1e-6 * g->sum_w * s->qq)) return false;
    double scale = (g->sum_w * s->xq - g->sum_wx * s->q) / det, least = (s->q * s->xq - s->qq * g->sum_wx) / det;
    if (least < 0) {
        least = 0;
        scale = s->xq / s->qq;
    }
    *error = g->sum_wxx + scale * scale * s->qq + least * least * g->sum_w + 2 * (least * g->sum_wx - scale * least * s->q - scale * s->xq);
    *a = (float)scale;
    *b = (float)least;
    return scale > 0;
}

/* Weights grow with |x|: an error in a large value moves a product more. */
static void find_range(float *a, float *b, const float *x, int n, int most) {
    enum { TRIES = 24 };
    group g = {.n = n};
    float least = 0, top = x[0], largest = 0;
    double square = 0, best = INFINITY;
    for (int i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        top = x[i] > top ? x[i] : top;
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    *a = 0;
    *b = -least;
    if (!(top > least) || largest < TINY) return;
    for (int i = 0; i < n; i++) {
        g.x[i] = x[i] / largest;
        square += (double)g.x[i] * (double)g.x[i];
    }
    for (int i = 0; i < n; i++) g.w[i] = (float)sqrt(square / n) + fabsf(g.x[i]);
    weigh(&g);
    for (int t = 0; t <= TRIES; t++) {
        float scale = (top - least) / largest / ((float)most - 1.2f + 0.1f * (float)t), min = -least / largest;
        for (int again = 0; again < 2; again++) { /* the second time with the codes of the first fit */
            double e;
            sums s = sums_of(&g, 1.0f / scale, min, 0, (float)most);
            if (!fit(&scale, &min, &e, &g, &s)) break;
            if (e >= best) continue;
            best = e;
            *a = scale * largest;
            *b = min * largest;
        }
    }
}

typedef struct ranges {
    int scale[MOST_GROUPS], least[MOST_GROUPS]; /* 0 … steps */
    unsigned char code[BLOCK];
    float d, e;
} ranges;

/* Groups of `size` values, codes 0 … most, scales of 0 … steps; d and e go to `halves` as f16. */
static void range_block(ranges *r, unsigned char *halves, const float *x, int size, int most, int steps) {
    float a[MOST_GROUPS], b[MOST_GROUPS], top_a = 0, top_b = 0;
    int groups = BLOCK / size;
    for (int g = 0; g < groups; g++) {
        find_range(&a[g], &b[g], x + g * size, size, most);
        top_a = a[g] > top_a ? a[g] : top_a;
        top_b = b[g] > top_b ? b[g] : top_b;
    }
    r->d = put_half(halves, top_a / (float)steps);
    r->e = put_half(halves + 2, top_b / (float)steps);
    for (int g = 0; g < groups; g++) {
        r->scale[g] = top_a > 0 ? clamp((float)steps * a[g] / top_a, 0, steps) : 0;
        r->least[g] = top_b > 0 ? clamp((float)steps * b[g] / top_b, 0, steps) : 0;
        float scale = r->d * (float)r->scale[g], least = r->e * (float)r->least[g];
        for (int i = 0; i < size; i++)
            r->code[g * size + i] = (unsigned char)(scale > 0 ? clamp((x[g * size + i] + least) / scale, 0, most) : 0);
    }
}

/* Scales and mins j of 8: six bits in bytes j and 4 + j; from the fifth on four bits in byte 4 + j, two on top of the others. */
static void put_k4_scales(unsigned char *s, const ranges *r) {
    memset(s, 0, 12);
    for (int j = 0; j < 4; j++) {
        s[j] = (unsigned char)(r->scale[j] | (r->scale[4 + j] >> 4) << 6);
        s[4 + j] = (unsigned char)(r->least[j] | (r->least[4 + j] >> 4) << 6);
        s[8 + j] = (unsigned char)((r->scale[4 + j] & 15) | (r->least[4 + j] & 15) << 4);
    }
}

void ar__pack_q4_k(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += 144, src += BLOCK) {
        ranges r;
        if (!all_finite(src, BLOCK)) {
            put_nan(p, 144, 0, 2);
            continue;
        }
        range_block(&r, p, src, 32, 15, 63);
        put_k4_scales(p + 4, &r);
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 32; i++) p[16 + 32 * j + i] = (unsigned char)(r.code[64 * j + i] | r.code[64 * j + 32 + i] << 4);
    }
}

void ar__pack_q5_k(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += 176, src += BLOCK) {
        ranges r;
        if (!all_finite(src, BLOCK)) {
            put_nan(p, 176, 0, 2);
            continue;
        }
        range_block(&r, p, src, 32, 31, 63);
        put_k4_scales(p + 4, &r);
        memset(p + 16, 0, 32);
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < 32; i++) p[16 + i] = (unsigned char)(p[16 + i] | (r.code[32 * j + i] >> 4) << j);
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 32; i++)
                p[48 + 32 * j + i] = (unsigned char)((r.code[64 * j + i] & 15) | (r.code[64 * j + 32 + i] & 15) << 4);
    }
}

/* 64 bytes of 2 bits: byte i of each half holds the codes i, 32 + i, 64 + i, 96 + i of its 128. */
static void put_twos(unsigned char *to, const unsigned char *code) {
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 32; i++) {
            const unsigned char *c = code + 128 * h + i;
            to[32 * h + i] = (unsigned char)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
}

void ar__pack_q2_k(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += 84, src += BLOCK) {
        ranges r;
        if (!all_finite(src, BLOCK)) {
            put_nan(p, 84, 80, 82);
            continue;
        }
        range_block(&r, p + 80, src, 16, 3, 15);
        for (int g = 0; g < 16; g++) p[g] = (unsigned char)(r.scale[g] | r.least[g] << 4);
        put_twos(p + 16, r.code);
    }
}

/* ---- without ---------------------------------------------------------------------------------------------------------*/

/* a of either sign: the largest value gets the code −half, which the other end does not have.  Weights grow with x², but with |x| where
 * there are few codes, of which the large values would take all. */
static float find_scale(const float *x, int n, int half) {
    enum { TRIES = 9 };
    group g = {.n = n};
    float top = 0, found = 0;
    double best = -1;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(top)) top = x[i];
    if (fabsf(top) < TINY) return 0;
    for (int i = 0; i < n; i++) {
        g.x[i] = x[i] / top;
        g.w[i] = half > 4 ? g.x[i] * g.x[i] : fabsf(g.x[i]);
    }
    weigh(&g);
    for (int t = -TRIES; t <= TRIES; t++) {
        float scale = -1.0f / ((float)half + 0.1f * (float)t);
        for (int again = 0; again < 2; again++) {
            sums s = sums_of(&g, 1.0f / scale, 0, -(float)half, (float)half - 1.0f);
            if (!(s.qq > 0) || s.xq == 0) break;
            scale = (float)(s.xq / s.qq);
            if (s.xq * s.xq / s.qq <= best) continue; /* what the fit takes off the error */
            best = s.xq * s.xq / s.qq;
            found = scale;
        }
    }
    return found * top;
}

typedef struct scales {
    int scale[MOST_GROUPS];
    unsigned char code[BLOCK]; /* q + half */
} scales;

/* Groups of 16; scales of −steps … steps − 1. */
static void scale_block(scales *r, unsigned char *half_at, const float *x, int half, int steps) {
    float a[MOST_GROUPS], top = 0;
    for (int g = 0; g < 16; g++) {
        a[g] = find_scale(x + 16 * g, 16, half);
        if (fabsf(a[g]) > fabsf(top)) top = a[g];
    }
    float d = put_half(half_at, -top / (float)steps);
    for (int g = 0; g < 16; g++) {
        r->scale[g] = top != 0 ? clamp(-(float)steps * a[g] / top, -steps, steps - 1) : 0;
        float scale = d * (float)r->scale[g];
        for (int i = 0; i < 16; i++)
            r->code[16 * g + i] = (unsigned char)(half + (scale != 0 ? clamp(x[16 * g + i] / scale, -half, half - 1) : 0));
    }
}

void ar__pack_q6_k(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += 210, src += BLOCK) {
        scales r;
        if (!all_finite(src, BLOCK)) {
            put_nan(p, 210, 208, 0);
            continue;
        }
        scale_block(&r, p + 208, src, 32, 128);
        for (int g = 0; g < 16; g++) p[192 + g] = (unsigned char)(signed char)r.scale[g];
        for (int h = 0; h < 2; h++)
            for (int i = 0; i < 32; i++) {
                const unsigned char *c = r.code + 128 * h + i;
                p[64 * h + i] = (unsigned char)((c[0] & 15) | (c[64] & 15) << 4);
                p[64 * h + 32 + i] = (unsigned char)((c[32] & 15) | (c[96] & 15) << 4);
                p[128 + 32 * h + i] = (unsigned char)(c[0] >> 4 | (c[32] >> 4) << 2 | (c[64] >> 4) << 4 | (c[96] >> 4) << 6);
            }
    }
}

void ar__pack_q3_k(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += 110, src += BLOCK) {
        scales r;
        if (!all_finite(src, BLOCK)) {
            put_nan(p, 110, 108, 0);
            continue;
        }
        scale_block(&r, p + 108, src, 4, 32);
        memset(p, 0, 32);
        for (int i = 0; i < BLOCK; i++) p[i % 32] = (unsigned char)(p[i % 32] | (r.code[i] >> 2) << i / 32);
        put_twos(p + 32, r.code);
        memset(p + 96, 0, 12);
        for (int k = 0; k < 16; k++) {
            int s = r.scale[k] + 32;
            p[96 + k % 8] = (unsigned char)(p[96 + k % 8] | (s & 15) << k / 8 * 4);
            p[104 + k % 4] = (unsigned char)(p[104 + k % 4] | (s >> 4) << k / 4 * 2);
        }
    }
}
