/* Plain C: the definition of every kernel, and the fallback on any CPU. */
#define AR_BLOCK_DOTS
#include "kern/blocks_body.h"
#include "kern/elem_body.h"

enum { MR = 4, NR = 16 };

static void tile(size_t k, const float *a, const float *b, float *c, size_t ldc, bool accumulate) {
    float acc[MR][NR] = {{0}};
    for (size_t p = 0; p < k; p++)
        for (int i = 0; i < MR; i++)
            for (int j = 0; j < NR; j++) acc[i][j] += a[p * MR + (size_t)i] * b[p * NR + (size_t)j];
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NR; j++) {
            float *to = &c[(size_t)i * ldc + (size_t)j];
            *to = accumulate ? *to + acc[i][j] : acc[i][j];
        }
}

/* Four by sixteen sums at a time. */
static void outer(float *c, const float *left, size_t left_ld, size_t rows, const float *right, size_t right_ld, size_t cols, size_t m) {
    for (size_t i0 = 0; i0 < rows; i0 += MR)
        for (size_t j0 = 0; j0 < cols; j0 += NR) {
            float acc[MR][NR] = {{0}};
            size_t down = rows - i0 < MR ? rows - i0 : MR, across = cols - j0 < NR ? cols - j0 : NR;
            for (size_t t = 0; t < m; t++)
                for (size_t i = 0; i < down; i++)
                    for (size_t j = 0; j < across; j++) acc[i][j] += left[t * left_ld + i0 + i] * right[t * right_ld + j0 + j];
            for (size_t i = 0; i < down; i++)
                for (size_t j = 0; j < across; j++) c[(i0 + i) * AR_OUTER_COLS + j0 + j] += acc[i][j];
        }
}

typedef float (*widener)(const void *src, size_t at);
static inline float from_f32(const void *src, size_t at) { return ((const float *)src)[at]; }
static inline float from_bf16(const void *src, size_t at) { return ar__bf16_to_f32(((const uint16_t *)src)[at]); }
static inline float from_f16(const void *src, size_t at) { return ar__f16_value(((const uint16_t *)src)[at]); }

/* dst[p][i] = src[i * across + p * along] */
static inline __attribute__((always_inline)) void gather(float *dst, size_t width, const void *src, size_t across, size_t along,
                                                         size_t count, size_t k, widener from) {
    for (size_t p = 0; p < k; p++) {
        for (size_t i = 0; i < count; i++) dst[p * width + i] = from(src, i * across + p * along);
        for (size_t i = count; i < width; i++) dst[p * width + i] = 0.0f;
    }
}

static void interleave(float *dst, size_t width, const float *src, size_t ld, size_t rows, size_t k) {
    gather(dst, width, src, ld, 1, rows, k, from_f32);
}
static void interleave_bf16(float *dst, size_t width, const uint16_t *src, size_t ld, size_t rows, size_t k) {
    gather(dst, width, src, ld, 1, rows, k, from_bf16);
}
static void interleave_f16(float *dst, size_t width, const uint16_t *src, size_t ld, size_t rows, size_t k) {
    gather(dst, width, src, ld, 1, rows, k, from_f16);
}
static void copy_f32(float *dst, size_t width, const float *src, size_t ld, size_t cols, size_t k) {
    gather(dst, width, src, 1, ld, cols, k, from_f32);
}
static void copy_bf16(float *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    gather(dst, width, src, 1, ld, cols, k, from_bf16);
}
static void copy_f16(float *dst, size_t width, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    gather(dst, width, src, 1, ld, cols, k, from_f16);
}

void ar__kernels_c(ar_kernels *k) {
    *k = (ar_kernels){.isa = "c",
                      .mr = MR,
                      .nr = NR,
                      .tile = tile,
                      .outer = outer,
                      .interleave = interleave,
                      .interleave_bf16 = interleave_bf16,
                      .interleave_f16 = interleave_f16,
                      .copy_f32 = copy_f32,
                      .copy_bf16 = copy_bf16,
                      .copy_f16 = copy_f16};
    elem_fill(k);
#define FILL(type, name, block, bytes, is_weight, to, from) k->unpack[type] = to;
    AR_EACH_BLOCK_TYPE(FILL)
#undef FILL
    block_dots_fill(k);
}
