/* NEON (every aarch64 has it): a 6x16 product tile.  The element-wise loops and packing stay plain C, which the compiler
 * vectorises for NEON as it is. */
#include <arm_neon.h>

#include "kern/kernels.h"

enum { MR = 6, NR = 16, QUADS = NR / 4 };

static void tile(size_t k, const float *a, const float *b, float *c, size_t ldc, bool accumulate) {
    float32x4_t acc[MR][QUADS];
    for (int i = 0; i < MR; i++)
        for (int q = 0; q < QUADS; q++) acc[i][q] = vdupq_n_f32(0.0f);
    for (size_t p = 0; p < k; p++) {
        float32x4_t upper = vld1q_f32(a + p * MR);
        float32x2_t lower = vld1_f32(a + p * MR + 4);
#pragma GCC unroll 4
        for (int q = 0; q < QUADS; q++) {
            float32x4_t v = vld1q_f32(b + p * NR + 4 * (size_t)q);
            acc[0][q] = vfmaq_laneq_f32(acc[0][q], v, upper, 0);
            acc[1][q] = vfmaq_laneq_f32(acc[1][q], v, upper, 1);
            acc[2][q] = vfmaq_laneq_f32(acc[2][q], v, upper, 2);
            acc[3][q] = vfmaq_laneq_f32(acc[3][q], v, upper, 3);
            acc[4][q] = vfmaq_lane_f32(acc[4][q], v, lower, 0);
            acc[5][q] = vfmaq_lane_f32(acc[5][q], v, lower, 1);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (int q = 0; q < QUADS; q++) {
            float *to = c + (size_t)i * ldc + 4 * (size_t)q;
            vst1q_f32(to, accumulate ? vaddq_f32(vld1q_f32(to), acc[i][q]) : acc[i][q]);
        }
}

void ar__kernels_neon(ar_kernels *k) {
    k->isa = "neon";
    k->mr = MR;
    k->nr = NR;
    k->tile = tile;
}
