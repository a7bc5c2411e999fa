/* AVX-512 (F, BW, DQ, VL): the element-wise loops compiled for it and a 12x32 product tile.  Packing stays AVX2's. */
#include <immintrin.h>

static inline void look_up(float *restrict dst, const float table[16], const unsigned char *index, int n, float d) {
    __m512 all = _mm512_mul_ps(_mm512_set1_ps(d), _mm512_loadu_ps(table));
    for (int i = 0; i < n; i += 16)
        _mm512_storeu_ps(dst + i,
                         _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(index + i))), all));
}
#define AR_LOOK_UP
#include "kern/blocks_body.h"
#include "kern/codes128.h"
#include "kern/elem_body.h"

enum { MR = 12, NR = 32 };

static void tile(size_t k, const float *a, const float *b, float *c, size_t ldc, bool accumulate) {
    __m512 acc[MR][2];
#pragma GCC unroll 12
    for (int i = 0; i < MR; i++) acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < k; p++) {
        __m512 b0 = _mm512_load_ps(b + p * NR), b1 = _mm512_load_ps(b + p * NR + 16);
        _mm_prefetch((const char *)(b + (p + 16) * NR), _MM_HINT_T0);
        _mm_prefetch((const char *)(b + (p + 16) * NR + 16), _MM_HINT_T0);
#pragma GCC unroll 12
        for (int i = 0; i < MR; i++) {
            __m512 x = _mm512_set1_ps(a[p * MR + (size_t)i]);
            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < MR; i++) {
        float *to = c + (size_t)i * ldc;
        if (accumulate) {
            acc[i][0] = _mm512_add_ps(_mm512_loadu_ps(to), acc[i][0]);
            acc[i][1] = _mm512_add_ps(_mm512_loadu_ps(to + 16), acc[i][1]);
        }
        _mm512_storeu_ps(to, acc[i][0]);
        _mm512_storeu_ps(to + 16, acc[i][1]);
    }
}

/* `rows` is a constant where this is inlined. */
static inline __attribute__((always_inline)) void outer_rows(float *c, const float *left, size_t left_ld, const float *right,
                                                             size_t right_ld, const __mmask16 there[3], size_t m, int rows) {
    __m512 acc[AR_OUTER_ROWS][3];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = acc[i][2] = _mm512_setzero_ps();
    for (size_t t = 0; t < m; t++, left += left_ld, right += right_ld) {
        __m512 b0 = _mm512_maskz_loadu_ps(there[0], right), b1 = _mm512_maskz_loadu_ps(there[1], right + 16),
               b2 = _mm512_maskz_loadu_ps(there[2], right + 32);
        for (int q = 0; q < 3; q++) _mm_prefetch((const char *)(right + 8 * right_ld + 16 * q), _MM_HINT_T0);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(left[i]);
            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
            acc[i][2] = _mm512_fmadd_ps(x, b2, acc[i][2]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) {
            float *to = c + i * AR_OUTER_COLS + 16 * q;
            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), acc[i][q]));
        }
}

static void outer(float *c, const float *left, size_t left_ld, size_t rows, const float *right, size_t right_ld, size_t cols, size_t m) {
    __mmask16 there[3];
    for (size_t q = 0; q < 3; q++) there[q] = (__mmask16)(cols >= 16 * q + 16 ? 0xffffu : cols > 16 * q ? (1u << (cols - 16 * q)) - 1 : 0);
    if (rows == AR_OUTER_ROWS) {
        outer_rows(c, left, left_ld, right, right_ld, there, m, AR_OUTER_ROWS);
        return;
    }
    for (size_t i = 0, n; i < rows; i += n) {
        n = rows - i >= 4 ? 4 : rows - i >= 2 ? 2 : 1;
        float *to = c + i * AR_OUTER_COLS;
        if (n == 4) outer_rows(to, left + i, left_ld, right, right_ld, there, m, 4);
        if (n == 2) outer_rows(to, left + i, left_ld, right, right_ld, there, m, 2);
        if (n == 1) outer_rows(to, left + i, left_ld, right, right_ld, there, m, 1);
    }
}

static inline __m512 load_f32(const void *w, size_t at, __mmask16 there) { return _mm512_maskz_loadu_ps(there, (const float *)w + at); }
static inline __m512 load_bf16(const void *w, size_t at, __mmask16 there) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, (const uint16_t *)w + at)), 16));
}

/* Four rows at a time hide the latency of the additions; a row that is not there repeats the last.  Four short streams
 * are too much for the hardware's prefetching, so the next four rows are asked for here (a hint: they may not be there). */
static inline __attribute__((always_inline)) void four_dots(float out[AR_DOTS], const void *w, size_t bytes, size_t ld, size_t rows,
                                                            const float *x, size_t n, __m512 (*load)(const void *, size_t, __mmask16)) {
    __m512 acc[AR_DOTS];
    size_t from[AR_DOTS];
    float lanes[AR_DOTS][LANES];
#pragma GCC unroll 4
    for (size_t r = 0; r < AR_DOTS; r++) {
        acc[r] = _mm512_setzero_ps();
        from[r] = (r < rows ? r : rows - 1) * ld;
    }
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 there = (__mmask16)(n - i < LANES ? (1u << (n - i)) - 1 : 0xffffu);
        __m512 part = _mm512_maskz_loadu_ps(there, x + i);
#pragma GCC unroll 4
        for (size_t r = 0; r < AR_DOTS; r++) {
            _mm_prefetch((const char *)w + (from[r] + AR_DOTS * ld + i) * bytes, _MM_HINT_T0);
            acc[r] = _mm512_mask_add_ps(acc[r], there, acc[r], _mm512_mul_ps(load(w, from[r] + i, there), part));
        }
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < AR_DOTS; r++) _mm512_storeu_ps(lanes[r], acc[r]);
    for (size_t r = 0; r < AR_DOTS && r < rows; r++) out[r] = lane_sum(lanes[r]);
}

static void dots512(float out[AR_DOTS], const float *w, size_t ld, size_t rows, const float *x, size_t n) {
    four_dots(out, w, sizeof *w, ld, rows, x, n, load_f32);
}
static void dots512_bf16(float out[AR_DOTS], const uint16_t *w, size_t ld, size_t rows, const float *x, size_t n) {
    four_dots(out, w, sizeof *w, ld, rows, x, n, load_bf16);
}

/* ---- rows of blocks times x: blocks_body.h's lanes, one register of sixteen ---- */

static inline __m512 codes16(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }
static inline __m512 signed16(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }

static inline __m512 times(__m512 q0, __m512 x0, __m512 q1, __m512 x1) {
    return _mm512_add_ps(_mm512_mul_ps(q0, x0), _mm512_mul_ps(q1, x1));
}
static inline __m512 scaled(__m512 acc, float scale, __m512 v) { return _mm512_add_ps(acc, _mm512_mul_ps(_mm512_set1_ps(scale), v)); }
static inline __m512 ranged(__m512 acc, float scale, __m512 v, float least, __m512 sum) {
    return _mm512_add_ps(acc, _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(scale), v), _mm512_mul_ps(_mm512_set1_ps(least), sum)));
}

static inline __m512 row512_q8_0(__m512 acc, const unsigned char *p, const __m512 *x) {
    return scaled(acc, half_at(p), times(signed16(load16(p + 2)), x[0], signed16(load16(p + 18)), x[1]));
}

static inline __m512 row512_q4_0(__m512 acc, const unsigned char *p, const __m512 *x) {
    __m128i v = load16(p + 2), eight = _mm_set1_epi8(8);
    return scaled(acc, half_at(p),
                  times(signed16(_mm_sub_epi8(low_nibbles(v), eight)), x[0], signed16(_mm_sub_epi8(high_nibbles(v), eight)), x[1]));
}

static inline __m512 row512_q4_k(__m512 acc, const unsigned char *p, const __m512 *x) {
    float scale[8], least[8];
    k4_scales(scale, least, p);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m128i a = load16(p + 16 + 32 * j), b = load16(p + 32 + 32 * j);
        const __m512 *y = x + 4 * j;
        acc = ranged(acc, scale[2 * j], times(codes16(low_nibbles(a)), y[0], codes16(low_nibbles(b)), y[1]), least[2 * j],
                     _mm512_add_ps(y[0], y[1]));
        acc = ranged(acc, scale[2 * j + 1], times(codes16(high_nibbles(a)), y[2], codes16(high_nibbles(b)), y[3]), least[2 * j + 1],
                     _mm512_add_ps(y[2], y[3]));
    }
    return acc;
}

/* Nibbles with bit j of `high` above them. */
static inline __m512 fives(__m128i nibbles, __m128i high, int j) {
    __m128i bit = _mm_and_si128(_mm_srl_epi16(high, _mm_cvtsi32_si128(j)), _mm_set1_epi8(1));
    return codes16(_mm_or_si128(nibbles, _mm_slli_epi16(bit, 4)));
}

static inline __m512 row512_q5_k(__m512 acc, const unsigned char *p, const __m512 *x) {
    float scale[8], least[8];
    __m128i h0 = load16(p + 16), h1 = load16(p + 32);
    k4_scales(scale, least, p);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m128i a = load16(p + 48 + 32 * j), b = load16(p + 64 + 32 * j);
        const __m512 *y = x + 4 * j;
        acc = ranged(acc, scale[2 * j], times(fives(low_nibbles(a), h0, 2 * j), y[0], fives(low_nibbles(b), h1, 2 * j), y[1]), least[2 * j],
                     _mm512_add_ps(y[0], y[1]));
        acc = ranged(acc, scale[2 * j + 1], times(fives(high_nibbles(a), h0, 2 * j + 1), y[2], fives(high_nibbles(b), h1, 2 * j + 1), y[3]),
                     least[2 * j + 1], _mm512_add_ps(y[2], y[3]));
    }
    return acc;
}

static inline __m512 row512_q6_k(__m512 acc, const unsigned char *p, const __m512 *x) {
    float d = half_at(p + 208);
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) {
        __m128i low = load16(p + g / 8 * 64 + g % 4 * 16), high = load16(p + 128 + g / 8 * 32 + g % 2 * 16);
        low = g % 8 / 4 ? high_nibbles(low) : low_nibbles(low);
        high = _mm_and_si128(_mm_srli_epi16(high, g % 8 / 2 * 2), _mm_set1_epi8(3));
        __m128i q = _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
        acc = scaled(acc, d * (float)(signed char)p[192 + g], _mm512_mul_ps(signed16(q), x[g]));
    }
    return acc;
}

/* Up to four rows while the same x is in registers; a row that is not there repeats the last. */
#define ROWS_OF(name, block, bytes)                                                                                                        \
    static void dots512_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, const float *x, size_t n) {               \
        const unsigned char *from[AR_DOTS];                                                                                                \
        __m512 acc[AR_DOTS], part[(block) / LANES];                                                                                        \
        float lanes[LANES];                                                                                                                \
        for (size_t r = 0; r < AR_DOTS; r++) {                                                                                             \
            from[r] = (const unsigned char *)w + (r < rows ? r : rows - 1) * row_bytes;                                                    \
            acc[r] = _mm512_setzero_ps();                                                                                                  \
        }                                                                                                                                  \
        for (size_t i = 0; i < n; i += (block)) {                                                                                          \
            for (size_t l = 0; l < (block) / LANES; l++) part[l] = _mm512_loadu_ps(x + i + LANES * l);                                     \
            for (size_t r = 0; r < AR_DOTS; r++) {                                                                                         \
                for (size_t at = 0; at < (bytes); at += 64) _mm_prefetch((const char *)from[r] + AR_DOTS * row_bytes + at, _MM_HINT_T0);   \
                acc[r] = row512_##name(acc[r], from[r], part);                                                                             \
                from[r] += (bytes);                                                                                                        \
            }                                                                                                                              \
        }                                                                                                                                  \
        for (size_t r = 0; r < rows; r++) {                                                                                                \
            _mm512_storeu_ps(lanes, acc[r]);                                                                                               \
            out[r] = lane_sum(lanes);                                                                                                      \
        }                                                                                                                                  \
    }

ROWS_OF(q8_0, 32, 34)
ROWS_OF(q4_0, 32, 18)
ROWS_OF(q4_k, AR_K_BLOCK, 144)
ROWS_OF(q5_k, AR_K_BLOCK, 176)
ROWS_OF(q6_k, AR_K_BLOCK, 210)

void ar__kernels_avx512(ar_kernels *k) {
    k->isa = "avx512";
    k->mr = MR;
    k->nr = NR;
    k->tile = tile;
    k->outer = outer;
    elem_fill(k);
#define FILL(type, name, block, bytes, is_weight, to, from) k->unpack[type] = to;
    AR_EACH_BLOCK_TYPE(FILL)
#undef FILL
    k->dots = dots512;
    k->dots_bf16 = dots512_bf16;
    k->block_dots[AR_Q8_0] = dots512_q8_0;
    k->block_dots[AR_Q4_0] = dots512_q4_0;
    k->block_dots[AR_Q4_K] = dots512_q4_k;
    k->block_dots[AR_Q5_K] = dots512_q5_k;
    k->block_dots[AR_Q6_K] = dots512_q6_k;
}
