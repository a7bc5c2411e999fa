/* Sixteen codes of a block in a register of 128 bits, for the x86 sets that multiply blocks where they lie; behind
 * kern/blocks_body.h, whose readers of numbers it takes. */
#ifndef ALPHAR_KERN_CODES128_H
#define ALPHAR_KERN_CODES128_H

#include <immintrin.h>

static inline __m128i load16(const unsigned char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline __m128i low_nibbles(__m128i v) { return _mm_and_si128(v, _mm_set1_epi8(15)); }
static inline __m128i high_nibbles(__m128i v) { return low_nibbles(_mm_srli_epi16(v, 4)); }

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

#endif
