/* AVX2 + FMA: the element-wise loops compiled for it, a 6x16 product tile, 8x8 transposes for packing. */
#include <immintrin.h>

/* Eight of sixteen values: from the half of the table that an index's fourth bit says. */
static inline void look_up(float *restrict dst, const float table[16], const unsigned char *index, int n, float d) {
    __m256 by = _mm256_set1_ps(d), low = _mm256_mul_ps(by, _mm256_loadu_ps(table)), high = _mm256_mul_ps(by, _mm256_loadu_ps(table + 8));
    for (int i = 0; i < n; i += 8) {
        __m256i at = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(index + i)));
        __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)); /* its sign is the fourth bit */
        _mm256_storeu_ps(dst + i, _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, at), _mm256_permutevar8x32_ps(high, at), upper));
    }
}
#define AR_LOOK_UP
#include "kern/blocks_body.h"
#include "kern/codes128.h"
#include "kern/elem_body.h"

enum { MR = 6, NR = 16 };

static void tile(size_t k, const float *a, const float *b, float *c, size_t ldc, bool accumulate) {
    __m256 acc[MR][2];
    for (int i = 0; i < MR; i++) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t p = 0; p < k; p++) {
        __m256 b0 = _mm256_load_ps(b + p * NR), b1 = _mm256_load_ps(b + p * NR + 8);
#pragma GCC unroll 6
        for (int i = 0; i < MR; i++) {
            __m256 x = _mm256_broadcast_ss(a + p * MR + (size_t)i);
            acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        float *to = c + (size_t)i * ldc;
        if (accumulate) {
            acc[i][0] = _mm256_add_ps(_mm256_loadu_ps(to), acc[i][0]);
            acc[i][1] = _mm256_add_ps(_mm256_loadu_ps(to + 8), acc[i][1]);
        }
        _mm256_storeu_ps(to, acc[i][0]);
        _mm256_storeu_ps(to + 8, acc[i][1]);
    }
}

enum { OUTER_ROWS = 4, OUTER_COLS = 24 };

/* `rows` is a constant where this is inlined.  Columns that are not there are loaded as zeros. */
static inline __attribute__((always_inline)) void outer_rows(float *c, const float *left, size_t left_ld, const float *right,
                                                             size_t right_ld, const __m256i there[3], size_t m, int rows) {
    __m256 acc[OUTER_ROWS][3];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = acc[i][2] = _mm256_setzero_ps();
    for (size_t t = 0; t < m; t++, left += left_ld, right += right_ld) {
        __m256 b0 = _mm256_maskload_ps(right, there[0]), b1 = _mm256_maskload_ps(right + 8, there[1]),
               b2 = _mm256_maskload_ps(right + 16, there[2]);
        _mm_prefetch((const char *)(right + 8 * right_ld), _MM_HINT_T0);
        _mm_prefetch((const char *)(right + 8 * right_ld + 16), _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            __m256 x = _mm256_broadcast_ss(left + i);
            acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
            acc[i][2] = _mm256_fmadd_ps(x, b2, acc[i][2]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (int q = 0; q < 3; q++) {
            float *to = c + i * AR_OUTER_COLS + 8 * q;
            _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), acc[i][q]));
        }
}

static void outer(float *c, const float *left, size_t left_ld, size_t rows, const float *right, size_t right_ld, size_t cols, size_t m) {
    for (size_t j = 0; j < cols; j += OUTER_COLS) {
        __m256i there[3], lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for (int q = 0; q < 3; q++) there[q] = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(cols - j) - 8 * q), lane);
        for (size_t i = 0; i < rows;) {
            float *to = c + i * AR_OUTER_COLS + j;
            if (rows - i >= OUTER_ROWS) {
                outer_rows(to, left + i, left_ld, right + j, right_ld, there, m, OUTER_ROWS);
                i += OUTER_ROWS;
            } else {
                outer_rows(to, left + i, left_ld, right + j, right_ld, there, m, 1);
                i++;
            }
        }
    }
}

static inline void transpose8(__m256 r[8]) {
    __m256 t[8], u[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

static inline __m256 load_f32(const void *src, size_t at) { return _mm256_loadu_ps((const float *)src + at); }
static inline __m256 load_bf16(const void *src, size_t at) {
    __m128i h = _mm_loadu_si128((const __m128i *)((const uint16_t *)src + at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline __m256 load_f16(const void *src, size_t at) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)src + at)));
}
static inline float one_f16(const void *src, size_t at) { return _cvtsh_ss(((const uint16_t *)src)[at]); }
static inline float one_f32(const void *src, size_t at) { return ((const float *)src)[at]; }
static inline float one_bf16(const void *src, size_t at) { return ar__bf16_to_f32(((const uint16_t *)src)[at]); }

/* Rows i0..i0+8 of the panel, all of k; rows at and past `rows` count as zero.  A line of each row of the next panel is asked for with its
 * namesake here (a hint: it may point past the end).  Whole stores where they may be: masked ones take six times as long on a Zen 4. */
static inline __attribute__((always_inline)) void interleave8(float *dst, size_t width, size_t i0, const void *src, size_t bytes, size_t ld,
                                                              size_t rows, size_t k, __m256 (*load)(const void *, size_t),
                                                              float (*one)(const void *, size_t)) {
    enum { CACHE_LINE = 64 };
    size_t n = width - i0 < 8 ? width - i0 : 8, p = 0;
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for (; p + 8 <= k; p += 8) {
        __m256 r[8];
        if (p * bytes % CACHE_LINE == 0)
            for (size_t i = 0; i < n; i++) _mm_prefetch((const char *)src + ((i0 + i + width) * ld + p) * bytes, _MM_HINT_T1);
        for (size_t i = 0; i < 8; i++) r[i] = i0 + i < rows && i < n ? load(src, (i0 + i) * ld + p) : _mm256_setzero_ps();
        transpose8(r);
        if (n == 8)
            for (size_t q = 0; q < 8; q++) _mm256_storeu_ps(dst + (p + q) * width + i0, r[q]);
        else
            for (size_t q = 0; q < 8; q++) _mm256_maskstore_ps(dst + (p + q) * width + i0, mask, r[q]);
    }
    for (; p < k; p++)
        for (size_t i = 0; i < n; i++) dst[p * width + i0 + i] = i0 + i < rows ? one(src, (i0 + i) * ld + p) : 0.0f;
}

static void interleave(float *dst, size_t width, const float *src, size_t src_ld, size_t rows, size_t k) {
    for (size_t i = 0; i < width; i += 8) interleave8(dst, width, i, src, sizeof *src, src_ld, rows, k, load_f32, one_f32);
}

static void interleave_bf16(float *dst, size_t width, const uint16_t *src, size_t src_ld, size_t rows, size_t k) {
    for (size_t i = 0; i < width; i += 8) interleave8(dst, width, i, src, sizeof *src, src_ld, rows, k, load_bf16, one_bf16);
}

static void interleave_f16(float *dst, size_t width, const uint16_t *src, size_t src_ld, size_t rows, size_t k) {
    for (size_t i = 0; i < width; i += 8) interleave8(dst, width, i, src, sizeof *src, src_ld, rows, k, load_f16, one_f16);
}

/* Rows are far apart, and few bytes of each are wanted: too little for the hardware's prefetching to see a stream. */
static inline __attribute__((always_inline)) void copy_rows(float *dst, size_t width, const void *src, size_t bytes, size_t ld, size_t cols,
                                                            size_t k, __m256 (*load)(const void *, size_t),
                                                            float (*one)(const void *, size_t)) {
    enum { AHEAD = 16, CACHE_LINE = 64 };
    for (size_t p = 0; p < k; p++) {
        const char *later = (const char *)src + (p + AHEAD) * ld * bytes;
        size_t i = 0;
        for (size_t at = 0; at < cols * bytes; at += CACHE_LINE) _mm_prefetch(later + at, _MM_HINT_T0);
        for (; i + 8 <= cols; i += 8) _mm256_storeu_ps(dst + p * width + i, load(src, p * ld + i));
        for (; i < cols; i++) dst[p * width + i] = one(src, p * ld + i);
        for (; i < width; i++) dst[p * width + i] = 0.0f;
    }
}

static void copy_f32(float *dst, size_t width, const float *src, size_t ld, size_t cols, size_t k) {
    copy_rows(dst, width, src, sizeof *src, ld, cols, k, load_f32, one_f32);
}
static void copy_bf16(float *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    copy_rows(dst, width, src, sizeof *src, ld, cols, k, load_bf16, one_bf16);
}
static void copy_f16(float *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    copy_rows(dst, width, src, sizeof *src, ld, cols, k, load_f16, one_f16);
}

/* Four rows at a time hide the latency of the additions; a row that is not there repeats the last.  Four short streams
 * are too much for the hardware's prefetching, so what comes later is asked for here, as the one stream that it is (a hint: it may
 * not be there). */
static inline __attribute__((always_inline)) void four_dots(float out[AR_DOTS], const void *w, size_t bytes, size_t ld, size_t rows,
                                                            const float *x, size_t n, __m256 (*load)(const void *, size_t),
                                                            float (*one)(const void *, size_t)) {
    __m256 low[AR_DOTS], high[AR_DOTS];
    size_t from[AR_DOTS], i = 0;
    float lanes[AR_DOTS][LANES];
#pragma GCC unroll 4
    for (size_t r = 0; r < AR_DOTS; r++) {
        low[r] = high[r] = _mm256_setzero_ps();
        from[r] = (r < rows ? r : rows - 1) * ld;
    }
    for (; i + LANES <= n; i += LANES) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        for (size_t at = 0; at < AR_DOTS * LANES * bytes; at += 64)
            _mm_prefetch((const char *)w + AR_DOTS_AHEAD + i * AR_DOTS * bytes + at, _MM_HINT_T1);
#pragma GCC unroll 4
        for (size_t r = 0; r < AR_DOTS; r++) {
            low[r] = _mm256_add_ps(low[r], _mm256_mul_ps(load(w, from[r] + i), a));
            high[r] = _mm256_add_ps(high[r], _mm256_mul_ps(load(w, from[r] + i + 8), b));
        }
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < AR_DOTS; r++) {
        _mm256_storeu_ps(lanes[r], low[r]);
        _mm256_storeu_ps(lanes[r] + 8, high[r]);
    }
    for (size_t r = 0; r < AR_DOTS && r < rows; r++) {
        for (size_t l = 0; i + l < n; l++) lanes[r][l] += one(w, from[r] + i + l) * x[i + l];
        out[r] = lane_sum(lanes[r]);
    }
}

static void dots256(float out[AR_DOTS], const float *w, size_t ld, size_t rows, const float *x, size_t n) {
    four_dots(out, w, sizeof *w, ld, rows, x, n, load_f32, one_f32);
}
static void dots256_bf16(float out[AR_DOTS], const uint16_t *w, size_t ld, size_t rows, const float *x, size_t n) {
    four_dots(out, w, sizeof *w, ld, rows, x, n, load_bf16, one_bf16);
}

/* ---- rows of blocks times x: blocks_body.h's lanes ---- */

typedef struct sum256 {
    __m256 acc[2], least; /* of even and odd runs */
} sum256;

static inline __m256i load16s(const int16_t *x) { return _mm256_loadu_si256((const __m256i *)(const void *)x); }
static inline __m256i signed_half(__m128i codes, const int16_t *x) { return _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), load16s(x)); }
static inline __m256i signed_run(__m128i first, __m128i last, const int16_t *x) {
    return _mm256_add_epi32(signed_half(first, x), signed_half(last, x + 16));
}
static inline __m256 scaled(__m256 acc, float scale, __m256i sum) {
    return _mm256_add_ps(acc, _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(sum)));
}

static inline void k4_scales_of(float scale[8], sum256 *s, const unsigned char *p, ar_codes x) {
    __m256 own, least;
    k4_scales(&own, &least, p);
    _mm256_storeu_ps(scale, _mm256_mul_ps(own, _mm256_loadu_ps(x.scale)));
    s->least = _mm256_add_ps(s->least, _mm256_mul_ps(least, _mm256_loadu_ps(x.sum)));
}

static inline void row256_q4_k(sum256 *s, const unsigned char *p, ar_codes x) {
    float scale[8];
    k4_scales_of(scale, s, p, x);
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
        __m128i first = load16(p + 16 + 16 * j), last = load16(p + 32 + 16 * j);
        s->acc[0] = scaled(s->acc[0], scale[j], signed_run(low_nibbles(first), low_nibbles(last), x.q + 32 * j));
        s->acc[1] = scaled(s->acc[1], scale[j + 1], signed_run(high_nibbles(first), high_nibbles(last), x.q + 32 * j + 32));
    }
}

/* Nibbles with bit j of `high` above them. */
static inline __m128i fives(__m128i nibbles, __m128i high, int j) {
    __m128i bit = _mm_and_si128(_mm_srl_epi16(high, _mm_cvtsi32_si128(j)), _mm_set1_epi8(1));
    return _mm_or_si128(nibbles, _mm_slli_epi16(bit, 4));
}

static inline void row256_q5_k(sum256 *s, const unsigned char *p, ar_codes x) {
    __m128i h0 = load16(p + 16), h1 = load16(p + 32);
    float scale[8];
    k4_scales_of(scale, s, p, x);
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
        __m128i first = load16(p + 48 + 16 * j), last = load16(p + 64 + 16 * j);
        __m128i low0 = fives(low_nibbles(first), h0, j), low1 = fives(low_nibbles(last), h1, j);
        __m128i high0 = fives(high_nibbles(first), h0, j + 1), high1 = fives(high_nibbles(last), h1, j + 1);
        s->acc[0] = scaled(s->acc[0], scale[j], signed_run(low0, low1, x.q + 32 * j));
        s->acc[1] = scaled(s->acc[1], scale[j + 1], signed_run(high0, high1, x.q + 32 * j + 32));
    }
}

static inline void row256_q6_k(sum256 *s, const unsigned char *p, ar_codes x) {
    float d = half_at(p + 208);
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) {
        __m128i low = load16(p + g / 8 * 64 + g % 4 * 16), high = load16(p + 128 + g / 8 * 32 + g % 2 * 16);
        low = g % 8 / 4 ? high_nibbles(low) : low_nibbles(low);
        high = _mm_and_si128(_mm_srli_epi16(high, g % 8 / 2 * 2), _mm_set1_epi8(3));
        __m128i q = _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
        s->acc[g % 2] = scaled(s->acc[g % 2], d * (float)(signed char)p[192 + g] * x.scale[g / 2], signed_half(q, x.q + 16 * g));
    }
}

static inline float total256(const __m256 acc[2], float least) {
    float lanes[LANES];
    _mm256_storeu_ps(lanes, acc[0]);
    _mm256_storeu_ps(lanes + 8, acc[1]);
    return lane_sum(lanes) - least;
}

/* Up to four rows while the same x is in L1; a row that is not there repeats the last. */
#define ROWS_OF_K(name, bytes)                                                                                                             \
    static void dots256_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n) {                   \
        sum256 sum[AR_DOTS];                                                                                                               \
        for (size_t r = 0; r < AR_DOTS; r++) sum[r].acc[0] = sum[r].acc[1] = sum[r].least = _mm256_setzero_ps();                           \
        for (size_t b = 0; b < n / AR_K_BLOCK; b++)                                                                                        \
            for (size_t r = 0; r < AR_DOTS; r++) {                                                                                         \
                const unsigned char *p = (const unsigned char *)w + (r < rows ? r : rows - 1) * row_bytes + b * (bytes);                   \
                const char *later = (const char *)w + AR_DOTS_AHEAD + (b * AR_DOTS + r) * (bytes);                                         \
                for (size_t at = 0; at < (bytes); at += 64) _mm_prefetch(later + at, _MM_HINT_T1);                                         \
                row256_##name(&sum[r], p, ar__codes_at(x, b *AR_K_BLOCK));                                                                 \
            }                                                                                                                              \
        for (size_t r = 0; r < rows; r++) out[r] = total256(sum[r].acc, eight_sum(sum[r].least));                                          \
    }

#define ROWS_OF_32(name, bytes, has_least)                                                                                                 \
    static void dots256_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n) {                   \
        __m256 acc[AR_DOTS][2];                                                                                                            \
        float least[AR_DOTS][2] = {{0}};                                                                                                   \
        for (size_t r = 0; r < AR_DOTS; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();                                                  \
        for (size_t b = 0; b < n / 32; b++) {                                                                                              \
            for (size_t at = 0; at < AR_DOTS * (bytes); at += 64)                                                                          \
                _mm_prefetch((const char *)w + AR_DOTS_AHEAD + b * AR_DOTS * (bytes) + at, _MM_HINT_T1);                                   \
            for (size_t r = 0; r < AR_DOTS; r++) {                                                                                         \
                const unsigned char *p = (const unsigned char *)w + (r < rows ? r : rows - 1) * row_bytes + b * (bytes);                   \
                run32 run = run_##name(p);                                                                                                 \
                acc[r][b % 2] = scaled(acc[r][b % 2], run.scale * x.scale[b], signed_run(run.first, run.last, x.q + 32 * b));              \
                if (has_least) least[r][b % 2] += run.least * x.sum[b];                                                                    \
            }                                                                                                                              \
        }                                                                                                                                  \
        for (size_t r = 0; r < rows; r++) out[r] = total256(acc[r], least[r][0] + least[r][1]);                                            \
    }

#define DOTS_32(type, name, bytes, has_least) ROWS_OF_32(name, bytes, has_least)
AR_EACH_DOTS_32(DOTS_32)
#undef DOTS_32
#define DOTS_K(type, name, bytes) ROWS_OF_K(name, bytes)
AR_EACH_DOTS_K(DOTS_K)
#undef DOTS_K

void ar__kernels_avx2(ar_kernels *k) {
    k->isa = "avx2";
    k->mr = MR;
    k->nr = NR;
    k->tile = tile;
    k->outer = outer;
    k->interleave = interleave;
    k->interleave_bf16 = interleave_bf16;
    k->interleave_f16 = interleave_f16;
    k->copy_f32 = copy_f32;
    k->copy_bf16 = copy_bf16;
    k->copy_f16 = copy_f16;
    elem_fill(k);
#define FILL(type, name, block, bytes, is_weight, to, from) k->unpack[type] = to;
    AR_EACH_BLOCK_TYPE(FILL)
#undef FILL
    k->dots = dots256;
    k->dots_bf16 = dots256_bf16;
#define FILL(type, name, ...) k->block_dots[type] = dots256_##name;
    AR_EACH_DOTS_32(FILL)
    AR_EACH_DOTS_K(FILL)
#undef FILL
}
