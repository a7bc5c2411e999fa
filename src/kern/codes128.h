/* Sixteen codes of a block in a register of 128 bits, for the x86 sets that multiply blocks where they lie; behind
 * kern/blocks_body.h, whose readers of numbers it takes. */
#ifndef ALPHAR_KERN_CODES128_H
#define ALPHAR_KERN_CODES128_H

#include <immintrin.h>

static inline __m128i load16(const unsigned char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline __m128i low_nibbles(__m128i v) { return _mm_and_si128(v, _mm_set1_epi8(15)); }
static inline __m128i high_nibbles(__m128i v) { return low_nibbles(_mm_srli_epi16(v, 4)); }

/* A block of 32: its codes in two halves, the scale, and what is taken off every value. */
typedef struct run32 {
    __m128i first, last;
    float scale, least;
} run32;

/* Bit i of sixteen, as 16 or 0 in byte i. */
static inline __m128i fifth_bits(uint32_t bits) {
    __m128i both = _mm_shuffle_epi8(_mm_cvtsi32_si128((int)bits), _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    __m128i each = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(both, each), each), _mm_set1_epi8(16));
}

static inline run32 run_q8_0(const unsigned char *p) { return (run32){load16(p + 2), load16(p + 18), half_at(p), 0}; }

static inline run32 run_q4_0(const unsigned char *p) {
    __m128i v = load16(p + 2), eight = _mm_set1_epi8(8);
    return (run32){_mm_sub_epi8(low_nibbles(v), eight), _mm_sub_epi8(high_nibbles(v), eight), half_at(p), 0};
}

static inline run32 run_q4_1(const unsigned char *p) {
    __m128i v = load16(p + 4);
    return (run32){low_nibbles(v), high_nibbles(v), half_at(p), -half_at(p + 2)};
}

static inline run32 run_fives(const unsigned char *nibbles, uint32_t high, float scale, float least) {
    __m128i v = load16(nibbles);
    return (run32){_mm_or_si128(low_nibbles(v), fifth_bits(high)), _mm_or_si128(high_nibbles(v), fifth_bits(high >> 16)), scale, least};
}

static inline run32 run_q5_0(const unsigned char *p) {
    run32 r = run_fives(p + 6, word_at(p + 2), half_at(p), 0);
    __m128i middle = _mm_set1_epi8(16);
    return (run32){_mm_sub_epi8(r.first, middle), _mm_sub_epi8(r.last, middle), r.scale, 0};
}

static inline run32 run_q5_1(const unsigned char *p) { return run_fives(p + 8, word_at(p + 4), half_at(p), -half_at(p + 2)); }

static inline run32 run_of_table(__m128i table, const unsigned char *nibbles, float scale) {
    __m128i v = load16(nibbles);
    return (run32){_mm_shuffle_epi8(table, low_nibbles(v)), _mm_shuffle_epi8(table, high_nibbles(v)), scale, 0};
}

static inline __m128i iq4_nl_table(void) { return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113); }
static inline __m128i mxfp4_table(void) { return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12); }

static inline run32 run_iq4_nl(const unsigned char *p) { return run_of_table(iq4_nl_table(), p + 2, half_at(p)); }
static inline run32 run_mxfp4(const unsigned char *p) { return run_of_table(mxfp4_table(), p + 1, e8m0_half(p[0])); }

/* The eight scales and mins of a block of q4_K or q5_K at once. */
static inline void k4_scales(__m256 *scale, __m256 *least, const unsigned char *p) {
    uint32_t a = word_at(p + 4), b = word_at(p + 8), c = word_at(p + 12);
    uint64_t low = (a & 0x3f3f3f3f) | (uint64_t)((c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4) << 32;
    uint64_t min = (b & 0x3f3f3f3f) | (uint64_t)((c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4) << 32;
    __m256 s = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)low)));
    __m256 m = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)min)));
    *scale = _mm256_mul_ps(_mm256_set1_ps(half_at(p)), s);
    *least = _mm256_mul_ps(_mm256_set1_ps(half_at(p + 2)), m);
}

static inline float eight_sum(__m256 v) {
    float lane[8], sum = 0;
    _mm256_storeu_ps(lane, v);
    for (int l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

#endif
