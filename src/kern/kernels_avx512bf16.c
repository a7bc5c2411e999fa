/* AVX512-BF16: a 12x32 tile of vdpbf16ps, which adds two products to each sum. */
#include "kern/kernels.h"
#include "kern/nf4.h"
#include "kern/pairs512.h"

enum { MR = 12, NR = 32, KR = 2, STEP = 4 };

/* `rows` is a constant where this is inlined. */
static inline __attribute__((always_inline)) void run_rows(size_t k, const uint16_t *a, const uint16_t *b, float *c, size_t ldc,
                                                           bool accumulate, int rows) {
    __m512 acc[MR][2];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < k; p += 2) {
        const char *left = (const char *)(a + p * MR), *right = (const char *)(b + p * NR);
        __m512bh b0 = (__m512bh)_mm512_load_si512(right), b1 = (__m512bh)_mm512_load_si512(right + 64);
        _mm_prefetch(right + 2048, _MM_HINT_T0);
        _mm_prefetch(right + 2048 + 64, _MM_HINT_T0);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            int pair;
            memcpy(&pair, left + 4 * i, sizeof pair);
            __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
            acc[i][0] = _mm512_dpbf16_ps(acc[i][0], x, b0);
            acc[i][1] = _mm512_dpbf16_ps(acc[i][1], x, b1);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        float *to = c + (size_t)i * ldc;
        if (accumulate) {
            acc[i][0] = _mm512_add_ps(_mm512_loadu_ps(to), acc[i][0]);
            acc[i][1] = _mm512_add_ps(_mm512_loadu_ps(to + 16), acc[i][1]);
        }
        _mm512_storeu_ps(to, acc[i][0]);
        _mm512_storeu_ps(to + 16, acc[i][1]);
    }
}

static void run(size_t k, const uint16_t *a, const uint16_t *b, float *c, size_t ldc, size_t rows, bool accumulate) {
    switch (rows) {
    case STEP: run_rows(k, a, b, c, ldc, accumulate, STEP); break;
    case 2 * STEP: run_rows(k, a, b, c, ldc, accumulate, 2 * STEP); break;
    default: run_rows(k, a, b, c, ldc, accumulate, MR);
    }
}

static size_t depth_of(size_t k) { return (k + KR - 1) / KR * KR; }

static void left(uint16_t *dst, const float *src, size_t ld, size_t rows, size_t k) {
    uint32_t *to = (uint32_t *)(void *)dst;
    for (size_t p = 0; p < k; p += 32) {
        __m512i r[16];
        for (size_t i = 0; i < 16; i++) r[i] = i < rows ? round32(src + i * ld + p, k - p) : _mm512_setzero_si512();
        transpose16(r);
        for (size_t q = 0; q < 16 && p / 2 + q < depth_of(k) / 2; q++) _mm512_mask_storeu_epi32(to + (p / 2 + q) * MR, first16(MR), r[q]);
    }
}

static void right_rows(uint16_t *dst, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    pairs_of_rows(dst, NR, src, ld, cols, k, depth_of(k));
}

static void right_columns(uint16_t *dst, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    pairs_of_columns(dst, NR, src, ld, cols, k, depth_of(k));
}

/* As X is rounded when it is packed: what is subnormal becomes 0. */
static void to_bf16(uint16_t *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i += 32) {
        __mmask32 there = first32(n - i);
        _mm512_mask_storeu_epi16(dst + i, there, round32(src + i, n - i));
    }
}

/* A block's sixteen values, rounded, are a table that 32 codes at a time are looked up in: first the high nibble of a byte, then the low.
 */
static void unpack_nf4(uint16_t *dst, const void *src, size_t n) {
    const char *p = src;
    __m512 values = _mm512_loadu_ps(ar__nf4_values);
    __m512i low = _mm512_set1_epi32(15 << 16);
    for (; n; n -= 64, p += 36, dst += 64) {
        float scale;
        memcpy(&scale, p, sizeof scale);
        __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_set1_ps(scale), values));
        __m512i table = _mm512_broadcast_i64x4(rounded);
        for (int half = 0; half < 2; half++) {
            __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + 4 + 16 * half)));
            __m512i codes = _mm512_or_si512(_mm512_srli_epi32(bytes, 4), _mm512_and_si512(_mm512_slli_epi32(bytes, 16), low));
            _mm512_storeu_si512(dst + 32 * half, _mm512_permutexvar_epi16(codes, table));
        }
    }
}

void ar__kernels_avx512bf16(ar_kernels *k) {
    k->to_bf16 = to_bf16;
    k->unpack_bf16[AR_NF4] = k->unpack_bf16[AR_NF4_BF16] = unpack_nf4;
    k->bf16 = (ar_bf16_tile){
        .mr = MR, .nr = NR, .kr = KR, .step = STEP, .run = run, .left = left, .right_rows = right_rows, .right_columns = right_columns};
}
