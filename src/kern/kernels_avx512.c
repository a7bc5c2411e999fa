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
 * are too much for the hardware's prefetching, so what comes later is asked for here, as the one stream that it is (a hint: it may
 * not be there). */
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
        for (size_t at = 0; at < AR_DOTS * LANES * bytes; at += 64)
            _mm_prefetch((const char *)w + AR_DOTS_AHEAD + i * AR_DOTS * bytes + at, _MM_HINT_T1);
#pragma GCC unroll 4
        for (size_t r = 0; r < AR_DOTS; r++)
            acc[r] = _mm512_mask_add_ps(acc[r], there, acc[r], _mm512_mul_ps(load(w, from[r] + i, there), part));
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

/* ---- rows of blocks times x: blocks_body.h's lanes, those of even runs below those of odd ones ---- */

typedef struct sum512 {
    __m512 acc;
    __m256 least;
} sum512;

/* x of two runs: the first sixteen of each, then the last. */
typedef struct runs512 {
    __m512i first, last;
} runs512;

static inline __m512i load32(const int16_t *even, const int16_t *odd) {
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)even), high = _mm256_loadu_si256((const __m256i *)(const void *)odd);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
static inline runs512 load_runs(const int16_t *x, const int16_t *odd) { return (runs512){load32(x, odd), load32(x + 16, odd + 16)}; }

/* Scale by run, for the lanes of runs j and j + 1. */
static inline __m512 scales_of(__m512 scale, int j) {
    __m512i at = _mm512_inserti64x4(_mm512_set1_epi32(j), _mm256_set1_epi32(j + 1), 1);
    return _mm512_permutexvar_ps(at, scale);
}
static inline __m512 scaled(__m512 acc, __m512 scale, __m512i sum) {
    return _mm512_add_ps(acc, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum)));
}
static inline __m512i signed_runs(__m256i first, __m256i last, runs512 x) {
    return _mm512_add_epi32(_mm512_madd_epi16(_mm512_cvtepi8_epi16(first), x.first), _mm512_madd_epi16(_mm512_cvtepi8_epi16(last), x.last));
}

static inline __m256i both(__m128i even, __m128i odd) { return _mm256_inserti128_si256(_mm256_castsi128_si256(even), odd, 1); }

/* Sixteen bytes whose low nibbles are of an even run, the high ones of the odd run behind it. */
static inline __m256i nibbles_of(__m128i v) {
    __m256i shift = _mm256_inserti128_si256(_mm256_setzero_si256(), _mm_set1_epi16(4), 1);
    return _mm256_and_si256(_mm256_srlv_epi16(_mm256_broadcastsi128_si256(v), shift), _mm256_set1_epi8(15));
}
/* Bits j and j + 1 of sixteen bytes, as 16 or 0. */
static inline __m256i fifths_of(__m128i v, int j) {
    __m256i shift = _mm256_inserti128_si256(_mm256_set1_epi16((short)j), _mm_set1_epi16((short)(j + 1)), 1);
    __m256i bit = _mm256_and_si256(_mm256_srlv_epi16(_mm256_broadcastsi128_si256(v), shift), _mm256_set1_epi8(1));
    return _mm256_slli_epi16(bit, 4);
}

static inline void row512_q4_k(sum512 *s, const unsigned char *p, ar_codes x, const runs512 *q) {
    __m256 scale, least;
    k4_scales(&scale, &least, p);
    __m512 all = _mm512_castps256_ps512(_mm256_mul_ps(scale, _mm256_loadu_ps(x.scale)));
    s->least = _mm256_add_ps(s->least, _mm256_mul_ps(least, _mm256_loadu_ps(x.sum)));
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        s->acc = scaled(s->acc, scales_of(all, 2 * j),
                        signed_runs(nibbles_of(load16(p + 16 + 32 * j)), nibbles_of(load16(p + 32 + 32 * j)), q[j]));
}

static inline void row512_q5_k(sum512 *s, const unsigned char *p, ar_codes x, const runs512 *q) {
    __m128i h0 = load16(p + 16), h1 = load16(p + 32);
    __m256 scale, least;
    k4_scales(&scale, &least, p);
    __m512 all = _mm512_castps256_ps512(_mm256_mul_ps(scale, _mm256_loadu_ps(x.scale)));
    s->least = _mm256_add_ps(s->least, _mm256_mul_ps(least, _mm256_loadu_ps(x.sum)));
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m256i first = _mm256_or_si256(nibbles_of(load16(p + 48 + 32 * j)), fifths_of(h0, 2 * j));
        __m256i last = _mm256_or_si256(nibbles_of(load16(p + 64 + 32 * j)), fifths_of(h1, 2 * j));
        s->acc = scaled(s->acc, scales_of(all, 2 * j), signed_runs(first, last, q[j]));
    }
}

static inline __m256i bytes32(const unsigned char *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }

/* Runs of sixteen: two of them are 32 bytes that lie together, as does their x. */
static inline void row512_q6_k(sum512 *s, const unsigned char *p, ar_codes x, const runs512 *q) {
    __m512i each = _mm512_srli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 1);
    __m512 by_run = _mm512_permutexvar_ps(each, _mm512_castps256_ps512(_mm256_loadu_ps(x.scale)));
    __m512 own = _mm512_mul_ps(_mm512_set1_ps(half_at(p + 208)), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p + 192))));
    __m512 all = _mm512_mul_ps(own, by_run);
    __m256i low_bits = _mm256_set1_epi8(15), high_bits = _mm256_set1_epi8(3), middle = _mm256_set1_epi8(32);
#pragma GCC unroll 8
    for (int g = 0; g < 16; g += 2) {
        __m256i low = bytes32(p + g / 8 * 64 + g % 4 * 16), high = bytes32(p + 128 + g / 8 * 32);
        low = _mm256_and_si256(_mm256_srli_epi16(low, g % 8 / 4 * 4), low_bits);
        high = _mm256_and_si256(_mm256_srli_epi16(high, g % 8 / 2 * 2), high_bits);
        __m256i code = _mm256_sub_epi8(_mm256_or_si256(low, _mm256_slli_epi16(high, 4)), middle);
        __m512i y = g % 4 ? q[g / 4].last : q[g / 4].first;
        s->acc = scaled(s->acc, scales_of(all, g), _mm512_madd_epi16(_mm512_cvtepi8_epi16(code), y));
    }
}

/* In their own order, as q6_k has them. */
static inline runs512 load_plain(const int16_t *x) { return (runs512){load32(x, x + 16), load32(x + 32, x + 48)}; }
static inline runs512 load_by_run(const int16_t *x) { return load_runs(x, x + 32); }

static inline float total512(__m512 acc, float least) {
    float lanes[LANES];
    _mm512_storeu_ps(lanes, acc);
    return lane_sum(lanes) - least;
}

/* Up to four rows while the same x is in registers; a row that is not there repeats the last. */
#define ROWS_OF_K(name, bytes, load)                                                                                                       \
    static void dots512_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n) {                   \
        sum512 sum[AR_DOTS];                                                                                                               \
        for (size_t r = 0; r < AR_DOTS; r++) sum[r] = (sum512){_mm512_setzero_ps(), _mm256_setzero_ps()};                                  \
        for (size_t i = 0; i < n; i += AR_K_BLOCK) {                                                                                       \
            runs512 q[4];                                                                                                                  \
            for (size_t j = 0; j < 4; j++) q[j] = load(x.q + i + 64 * j);                                                                  \
            for (size_t r = 0; r < AR_DOTS; r++) {                                                                                         \
                const unsigned char *p = (const unsigned char *)w + (r < rows ? r : rows - 1) * row_bytes + i / AR_K_BLOCK * (bytes);      \
                const char *later = (const char *)w + AR_DOTS_AHEAD + (i / AR_K_BLOCK * AR_DOTS + r) * (bytes);                            \
                for (size_t at = 0; at < (bytes); at += 64) _mm_prefetch(later + at, _MM_HINT_T1);                                         \
                row512_##name(&sum[r], p, ar__codes_at(x, i), q);                                                                          \
            }                                                                                                                              \
        }                                                                                                                                  \
        for (size_t r = 0; r < rows; r++) out[r] = total512(sum[r].acc, eight_sum(sum[r].least));                                          \
    }

/* Two blocks of 32: the codes of the first below those of the second, in two halves; and both scales. */
typedef struct pair32 {
    __m256i first, last;
    __m128 scale;
} pair32;

static inline __m128 two_halves(const unsigned char *even, const unsigned char *odd) {
    uint16_t a, b;
    memcpy(&a, even, sizeof a);
    memcpy(&b, odd, sizeof b);
    return _mm_cvtph_ps(_mm_cvtsi32_si128((int)(a | (uint32_t)b << 16)));
}

static inline pair32 nibble_pair(const unsigned char *even, const unsigned char *odd, size_t at) {
    __m256i v = both(load16(even + at), load16(odd + at)), low = _mm256_set1_epi8(15);
    return (pair32){_mm256_and_si256(v, low), _mm256_and_si256(_mm256_srli_epi16(v, 4), low), two_halves(even, odd)};
}

static inline pair32 pair_q8_0(const unsigned char *even, const unsigned char *odd) {
    return (pair32){both(load16(even + 2), load16(odd + 2)), both(load16(even + 18), load16(odd + 18)), two_halves(even, odd)};
}

static inline pair32 pair_q4_0(const unsigned char *even, const unsigned char *odd) {
    pair32 p = nibble_pair(even, odd, 2);
    __m256i eight = _mm256_set1_epi8(8);
    return (pair32){_mm256_sub_epi8(p.first, eight), _mm256_sub_epi8(p.last, eight), p.scale};
}

static inline pair32 pair_q4_1(const unsigned char *even, const unsigned char *odd) { return nibble_pair(even, odd, 4); }

/* The fifth bits of both blocks' first halves, and of their last. */
static inline __mmask32 first_fifths(uint32_t even, uint32_t odd) { return (even & 0xffffu) | odd << 16; }
static inline __mmask32 last_fifths(uint32_t even, uint32_t odd) { return even >> 16 | (odd & 0xffff0000u); }

static inline pair32 pair_q5_0(const unsigned char *even, const unsigned char *odd) {
    pair32 p = nibble_pair(even, odd, 6);
    uint32_t a = word_at(even + 2), b = word_at(odd + 2);
    __m256i middle = _mm256_set1_epi8(16);
    return (pair32){_mm256_mask_sub_epi8(p.first, ~first_fifths(a, b), p.first, middle),
                    _mm256_mask_sub_epi8(p.last, ~last_fifths(a, b), p.last, middle), p.scale};
}

static inline pair32 pair_q5_1(const unsigned char *even, const unsigned char *odd) {
    pair32 p = nibble_pair(even, odd, 8);
    uint32_t a = word_at(even + 4), b = word_at(odd + 4);
    __m256i fifth = _mm256_set1_epi8(16);
    return (pair32){_mm256_mask_add_epi8(p.first, first_fifths(a, b), p.first, fifth),
                    _mm256_mask_add_epi8(p.last, last_fifths(a, b), p.last, fifth), p.scale};
}

static inline pair32 table_pair(__m128i table, pair32 p) {
    __m256i t = _mm256_broadcastsi128_si256(table);
    return (pair32){_mm256_shuffle_epi8(t, p.first), _mm256_shuffle_epi8(t, p.last), p.scale};
}

static inline pair32 pair_iq4_nl(const unsigned char *even, const unsigned char *odd) {
    return table_pair(iq4_nl_table(), nibble_pair(even, odd, 2));
}

static inline pair32 pair_mxfp4(const unsigned char *even, const unsigned char *odd) {
    pair32 p = table_pair(mxfp4_table(), nibble_pair(even, odd, 1));
    p.scale = _mm_setr_ps(e8m0_half(even[0]), e8m0_half(odd[0]), 0.0f, 0.0f);
    return p;
}

/* Two blocks at a time; where the second is missing it is the first again, with a scale of 0. */
#define ROWS_OF_32(name, bytes, has_least)                                                                                                 \
    static void dots512_##name(float out[AR_DOTS], const void *w, size_t row_bytes, size_t rows, ar_codes x, size_t n) {                   \
        __m512 acc[AR_DOTS];                                                                                                               \
        float least[AR_DOTS][2] = {{0}};                                                                                                   \
        for (size_t r = 0; r < AR_DOTS; r++) acc[r] = _mm512_setzero_ps();                                                                 \
        for (size_t b = 0; b < n / 32; b += 2) {                                                                                           \
            size_t next = b + (b + 1 < n / 32);                                                                                            \
            float last = next > b ? x.scale[next] : 0.0f;                                                                                  \
            __m128 by = _mm_setr_ps(x.scale[b], last, 0.0f, 0.0f);                                                                         \
            runs512 q = load_runs(x.q + 32 * b, x.q + 32 * next);                                                                          \
            for (size_t at = 0; at < 2 * AR_DOTS * (bytes); at += 64)                                                                      \
                _mm_prefetch((const char *)w + AR_DOTS_AHEAD + b * AR_DOTS * (bytes) + at, _MM_HINT_T1);                                   \
            for (size_t r = 0; r < AR_DOTS; r++) {                                                                                         \
                const unsigned char *p = (const unsigned char *)w + (r < rows ? r : rows - 1) * row_bytes;                                 \
                const unsigned char *even = p + b * (bytes), *odd = p + next * (bytes);                                                    \
                pair32 two = pair_##name(even, odd);                                                                                       \
                __m512 scale = scales_of(_mm512_castps128_ps512(_mm_mul_ps(two.scale, by)), 0);                                            \
                acc[r] = scaled(acc[r], scale, signed_runs(two.first, two.last, q));                                                       \
                if (has_least) least[r][0] += -half_at(even + 2) * x.sum[b];                                                               \
                if ((has_least) && next > b) least[r][1] += -half_at(odd + 2) * x.sum[next];                                               \
            }                                                                                                                              \
        }                                                                                                                                  \
        for (size_t r = 0; r < rows; r++) out[r] = total512(acc[r], least[r][0] + least[r][1]);                                            \
    }

#define DOTS_32(type, name, bytes, has_least) ROWS_OF_32(name, bytes, has_least)
AR_EACH_DOTS_32(DOTS_32)
#undef DOTS_32
ROWS_OF_K(q4_k, 144, load_by_run)
ROWS_OF_K(q5_k, 176, load_by_run)
ROWS_OF_K(q6_k, 210, load_plain)

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
#define FILL(type, name, ...) k->block_dots[type] = dots512_##name;
    AR_EACH_DOTS_32(FILL)
    AR_EACH_DOTS_K(FILL)
#undef FILL
}
