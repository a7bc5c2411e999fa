/* NF4 (Dettmers et al., arXiv 2305.14314), as bitsandbytes' own code rounds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kern/dtype.h"
#include "kern/half.h"
#include "kern/pack.h"

enum { BLOCK = 64, BYTES = 36, SCALES = 256 };

/* Half-way between neighbours of the table, in f32. */
static const float middle[15] = {-0.8480964004993439f,  -0.6106329262256622f,  -0.4599952697753906f,   -0.33967943489551544f,
                                 -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,
                                 0.1202552504837513f,   0.2035212516784668f,   0.2920137718319893f,    0.3893125355243683f,
                                 0.5016634166240692f,   0.6427869200706482f,   0.8614784181118011f};

static unsigned code_of(float v) {
    unsigned q = 0;
    for (int i = 0; i < 15; i++) q += v > middle[i];
    return q;
}

void ar__pack_nf4(void *dst, const float *src, size_t n) {
    unsigned char *p = dst;
    for (; n; n -= BLOCK, p += BYTES, src += BLOCK) {
        uint32_t bits = 0; /* of |x| compare as |x| does, NaN above all */
        for (int i = 0; i < BLOCK; i++) {
            uint32_t u = ar__bits_of(src[i]) & 0x7fffffffu;
            bits = u > bits ? u : bits;
        }
        float most = ar__float_of(bits < 0x7f800000u ? bits : 0x7fc00000u), by = most > 0 ? 1.0f / most : 0.0f;
        memcpy(p, &most, sizeof most);
        for (int i = 0; i < BLOCK / 2; i++) p[4 + i] = (unsigned char)(code_of(src[2 * i] * by) << 4 | code_of(src[2 * i + 1] * by));
    }
}

/* ---- double quantisation ------------------------------------------------------------------------------------------------*/

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Step i of `steps` equal ones from 0.1 to 1, as torch.linspace rounds: from the nearer end, with one rounding. */
static float boundary(int i, int steps) {
    float step = (1.0f - 0.1f) / (float)steps;
    return i < (steps + 1) / 2 ? fmaf(step, (float)i, 0.1f) : fmaf(-step, (float)(steps - i), 1.0f);
}

/* The dynamic map of 8 bits with a sign: for each of 7 exponents of ten the middles of 1, 2, 4 … 64 equal steps from 0.1 to 1, both
 * signs, and 0 and 1. */
static void dynamic_map(float map[256]) {
    size_t n = 0;
    for (int e = 0; e < 7; e++) {
        float power = (float)pow(10.0, e - 6);
        for (int i = 0; i < 1 << e; i++) {
            float mean = (boundary(i, 1 << e) + boundary(i + 1, 1 << e)) / 2.0f;
            map[n++] = power * mean;
            map[n++] = -power * mean;
        }
    }
    map[n++] = 0.0f;
    map[n++] = 1.0f;
    qsort(map, n, sizeof *map, ascending);
}

/* The place in the map of the nearest, ties to the lower. */
static unsigned nearest(const float map[256], float v) {
    unsigned low = 0, high = 255;
    while (high - low > 1) {
        unsigned mid = (low + high) / 2;
        *(map[mid] <= v ? &low : &high) = mid;
    }
    return v > (map[low] + map[high]) / 2.0f ? high : low;
}

bool ar__nf4_scales_twice(ar_nf4_scales *out, const void *blocks, size_t count) {
    const unsigned char *p = blocks;
    float *scale = ar__alloc(count, sizeof *scale);
    double sum = 0;
    *out = (ar_nf4_scales){.code = ar__alloc(count, 1), .nested_count = count / SCALES + (count % SCALES != 0)};
    out->nested = ar__alloc(out->nested_count, sizeof *out->nested);
    dynamic_map(out->map);
    for (size_t i = 0; scale && i < count; i++) {
        memcpy(&scale[i], p + i * BYTES, sizeof *scale);
        sum += (double)scale[i];
    }
    out->mean = count ? (float)(sum / (double)count) : 0.0f;
    for (size_t at = 0; scale && out->code && out->nested && at < count; at += SCALES) {
        size_t n = count - at < SCALES ? count - at : SCALES;
        float most = 0;
        for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(scale[at + i] - out->mean));
        float by = most > 0 ? 1.0f / most : 0.0f;
        out->nested[at / SCALES] = most;
        for (size_t i = 0; i < n; i++) out->code[at + i] = (unsigned char)nearest(out->map, (scale[at + i] - out->mean) * by);
    }
    bool ok = scale && out->code && out->nested;
    free(scale);
    return ok;
}

void ar__nf4_scales_release(ar_nf4_scales *s) {
    free(s->code);
    free(s->nested);
    *s = (ar_nf4_scales){0};
}

bool ar__nf4_quantise_scales(void *blocks, size_t count) {
    unsigned char *p = blocks;
    ar_nf4_scales s;
    bool ok = ar__nf4_scales_twice(&s, blocks, count);
    for (size_t i = 0; ok && i < count; i++) {
        float back = s.map[s.code[i]] * s.nested[i / SCALES] + s.mean;
        memcpy(p + i * BYTES, &back, sizeof back);
    }
    ar__nf4_scales_release(&s);
    return ok;
}
