/* Packing bf16 by pairs of k with AVX-512: [k / 2][width][2], seen as 32-bit elements [k / 2][width].
 *
 * Included by the files of the instruction sets that multiply such pairs. */
#ifndef AR_KERN_PAIRS512_H
#define AR_KERN_PAIRS512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* r[i][j] becomes r[j][i], 16 x 16 elements of 32 bits: by 1 and 2 within lanes of 128 bits, by 4 and 8 across them. */
static inline void transpose16(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int j = 0; j < 4; j++) { /* r[4 i + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4 i .. 4 i + 3 */
        t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
        r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
        r[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
        r[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
    }
}

static inline __mmask32 first32(size_t n) { return n >= 32 ? 0xffffffffu : (1u << n) - 1; }
static inline __mmask16 first16(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1); }

/* Rows of k elements become columns of pairs; k is padded to `depth` (even) and the columns to width with zeros. */
static inline void pairs_of_rows(uint16_t *dst, size_t width, const uint16_t *src, size_t ld, size_t rows, size_t k, size_t depth) {
    uint32_t *to = (uint32_t *)(void *)dst;
    for (size_t p = 0; p < depth; p += 32)
        for (size_t i0 = 0; i0 < width; i0 += 16) {
            __m512i r[16];
            __mmask32 there = first32(p < k ? k - p : 0);
            for (size_t i = 0; i < 16; i++) _mm_prefetch((const char *)(src + (i0 + i + width) * ld + p), _MM_HINT_T1);
            for (size_t i = 0; i < 16; i++)
                r[i] = i0 + i < rows ? _mm512_maskz_loadu_epi16(there, src + (i0 + i) * ld + p) : _mm512_setzero_si512();
            transpose16(r);
            for (size_t q = 0; q < 16 && p / 2 + q < depth / 2; q++)
                _mm512_mask_storeu_epi32(to + (p / 2 + q) * width + i0, first16(width - i0), r[q]);
        }
}

/* k rows of `cols` elements: two rows become one of pairs.  Few bytes of each row are wanted, too few for the hardware's
 * prefetching to see a stream. */
static inline void pairs_of_columns(uint16_t *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k, size_t depth) {
    uint32_t *to = (uint32_t *)(void *)dst;
    for (size_t p = 0; p < depth; p += 2)
        for (size_t j = 0; j < width; j += 16) {
            _mm_prefetch((const char *)(src + (p + 16) * ld + j), _MM_HINT_T0);
            _mm_prefetch((const char *)(src + (p + 17) * ld + j), _MM_HINT_T0);
            __mmask16 there = first16(j < cols ? cols - j : 0), even = p < k ? there : 0, odd = p + 1 < k ? there : 0;
            __m512i lo = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(even, src + p * ld + j));
            __m512i hi = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(odd, src + (p + 1) * ld + j));
            _mm512_mask_storeu_epi32(to + p / 2 * width + j, first16(width - j), _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16)));
        }
}

/* 32 elements of f32 from src, those past n zero, rounded to nearest even. */
static inline __m512i round32(const float *src, size_t n) {
    __m512 lo = _mm512_maskz_loadu_ps(first16(n), src), hi = _mm512_maskz_loadu_ps(first16(n > 16 ? n - 16 : 0), src + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
}

#endif
