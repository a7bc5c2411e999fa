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

void ar__kernels_avx512(ar_kernels *k) {
    k->isa = "avx512";
    k->mr = MR;
    k->nr = NR;
    k->tile = tile;
    elem_fill(k);
#define FILL(type, name, block, bytes, is_weight, to, from) k->unpack[type] = to;
    AR_EACH_BLOCK_TYPE(FILL)
#undef FILL
    k->dots = dots512;
    k->dots_bf16 = dots512_bf16;
}
