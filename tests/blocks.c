#include "blocks.h"

#include "base/rng.h"

/* Where a block's f16 numbers are; -1: none.  least: the second is what is taken off. */
static const struct {
    ar_dtype type;
    int scale, second;
    float largest; /* what the scale multiplies */
} halves[] = {{AR_Q8_0, 0, -1, 127}, {AR_Q4_0, 0, -1, 8},      {AR_Q4_1, 0, 2, 15},     {AR_Q5_0, 0, -1, 16},
              {AR_Q5_1, 0, 2, 31},   {AR_Q2_K, 80, 82, 45},    {AR_Q3_K, 108, -1, 128}, {AR_Q4_K, 0, 2, 945},
              {AR_Q5_K, 0, 2, 1953}, {AR_Q6_K, 208, -1, 4064}, {AR_IQ4_NL, 0, -1, 127}, {AR_IQ4_XS, 0, -1, 4064},
              {AR_TQ1_0, 52, -1, 1}, {AR_TQ2_0, 64, -1, 1},    {AR_Q1_0, 0, -1, 1},     {AR_Q2_0, 0, -1, 2}};

static void put_half(unsigned char *block, int at, float value) {
    if (at >= 0) ar__dtype(AR_F16)->from_f32(block + at, &value, 1);
}

static uint64_t draw(uint64_t seed, size_t i) {
    ar_rng g = ar__rng_stream(seed, AR_RNG_INIT, 0, 0);
    return ar__rng_u64(&g, i);
}

void blocks_fill(void *dst, ar_dtype type, size_t count, uint64_t seed) {
    const ar_dtype_info *t = ar__dtype(type);
    unsigned char *p = dst;
    for (size_t b = 0; b < count / t->block; b++, p += t->bytes) {
        float size = 1.0f + (float)(draw(seed, b) >> 60) / 16.0f;
        for (size_t i = 0; i < t->bytes; i++) p[i] = (unsigned char)(draw(seed + 1, b * t->bytes + i) >> 56);
        for (size_t k = 0; k < sizeof halves / sizeof *halves; k++) {
            if (halves[k].type != type) continue;
            put_half(p, halves[k].scale, size / halves[k].largest);
            put_half(p, halves[k].second, -size / 3.0f / (type == AR_Q4_1 || type == AR_Q5_1 ? 1.0f : 15.0f));
        }
        if (type == AR_MXFP4) p[0] = (unsigned char)(125 + b % 3);
        if (type == AR_NF4 || type == AR_NF4_BF16 || type == AR_NF4_F16) ar__dtype(AR_F32)->from_f32(p, &size, 1);
        for (int i = 0; type == AR_NVFP4 && i < 4; i++) p[i] = (unsigned char)(0x20 + (b + (size_t)i) % 8);
        float value = (float)((int)(draw(seed + 2, b) >> 48) - 32768) / 32768.0f;
        if (t->block == 1) t->from_f32(p, &value, 1);
    }
}
