/* Plain C: the definition of every kernel, and the fallback on any CPU. */
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

static void interleave(float *dst, size_t width, const float *src, size_t src_ld, size_t rows, size_t k) {
    for (size_t p = 0; p < k; p++) {
        for (size_t i = 0; i < rows; i++) dst[p * width + i] = src[i * src_ld + p];
        for (size_t i = rows; i < width; i++) dst[p * width + i] = 0.0f;
    }
}

static void interleave_bf16(float *dst, size_t width, const uint16_t *src, size_t src_ld, size_t rows, size_t k) {
    for (size_t p = 0; p < k; p++) {
        for (size_t i = 0; i < rows; i++) dst[p * width + i] = ar__bf16_to_f32(src[i * src_ld + p]);
        for (size_t i = rows; i < width; i++) dst[p * width + i] = 0.0f;
    }
}

void ar__kernels_c(ar_kernels *k) {
    *k = (ar_kernels){.isa = "c", .mr = MR, .nr = NR, .tile = tile, .interleave = interleave, .interleave_bf16 = interleave_bf16};
    elem_fill(k);
}
