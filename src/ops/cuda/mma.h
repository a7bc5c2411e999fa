/* Tensor cores, and what feeds them: the few instructions of sm_80 that C++ has no word for; under the emulator what they are defined as.
 *
 * mma_bf16 is d[16, 8] += a[16, 16] b[16, 8] of a warp.  With g = lane / 4 and t = lane % 4 a lane holds, two neighbours a register,
 *     a   [g, 2t] [g + 8, 2t] [g, 2t + 8] [g + 8, 2t + 8]       b   [2t, g] [2t + 8, g]       d   [g, 2t], [g + 8, 2t], f32 */
#ifndef AR_OPS_CUDA_MMA_H
#define AR_OPS_CUDA_MMA_H

#include "ops/cuda/cuda.h"

extern "C" {
#include "kern/half.h"
}

/* f16 */
CU_FN float f16_value(uint32_t bits) {
#ifdef EMULATED_CUDA
    return ar__f16_value(bits);
#else
    float f;
    asm("{.reg .f16 h; mov.b16 h, %1; cvt.f32.f16 %0, h;}" : "=f"(f) : "h"((uint16_t)bits));
    return f;
#endif
}

/* bf16 */
CU_FN float bf16_value(uint32_t bits) {
    uint32_t u = bits << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

#ifdef EMULATED_CUDA

static inline uint16_t bf16_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline uint32_t bf16_pair(float low, float high) { return bf16_bits(low) | (uint32_t)bf16_bits(high) << 16; }

/* 8 x 8 matrices of 16 bits, whose row r of matrix i is at the address that lane 8 i + r brings; turned: each transposed. */
static inline void load_matrices(uint32_t r[4], const uint16_t *row, bool turned) {
    uint32_t mine[2];
    int stride, lane = emulator::lane();
    emulator::check_aligned(row, 16);
    memcpy(mine, &row, sizeof row);
    const uint32_t *all = emulator::exchange(mine, 2, &stride);
    for (int i = 0; i < 4; i++) {
        uint16_t v[2];
        for (int e = 0; e < 2; e++) {
            int from = turned ? 2 * (lane % 4) + e : lane / 4, column = turned ? lane / 4 : 2 * (lane % 4) + e;
            const uint16_t *at;
            memcpy(&at, all + (8 * i + from) * stride, sizeof at);
            v[e] = at[column];
        }
        r[i] = v[0] | (uint32_t)v[1] << 16;
    }
}

static inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    uint32_t mine[6];
    int stride, lane = emulator::lane(), g = lane / 4, t = lane % 4;
    memcpy(mine, a, 16);
    memcpy(mine + 4, b, 8);
    const uint32_t *all = emulator::exchange(mine, 6, &stride);
    for (int i = 0; i < 4; i++) {
        int row = g + i / 2 * 8, column = 2 * t + i % 2;
        float sum = 0.0f;
        for (int k = 0; k < 16; k++) {
            uint32_t left = all[(row % 8 * 4 + k % 8 / 2) * stride + (row / 8 + k / 8 * 2)];
            uint32_t right = all[(column * 4 + k % 8 / 2) * stride + 4 + k / 8];
            sum += bf16_value(k % 2 ? left >> 16 : left & 0xffffu) * bf16_value(k % 2 ? right >> 16 : right & 0xffffu);
        }
        d[i] += sum;
    }
}

/* 16 bytes to shared memory, of which those past `bytes` are zero. */
static inline void copy_async(void *to, const void *from, int bytes) {
    emulator::check_aligned(to, 16);
    emulator::check_aligned(from, 16);
    memset(to, 0, 16);
    memcpy(to, from, (size_t)bytes);
}
static inline void copies_close() {}
template <int left> static inline void copies_wait() {}

#else

CU_FN uint32_t bf16_pair(float low, float high) {
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

CU_FN uint16_t bf16_bits(float x) { return (uint16_t)bf16_pair(x, 0.0f); }

CU_FN void load_matrices(uint32_t r[4], const uint16_t *row, bool turned) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    if (turned)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
}

CU_FN void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

CU_FN void copy_async(void *to, const void *from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from), "r"(bytes)
                 : "memory");
}
CU_FN void copies_close() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int left> CU_FN void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory"); }

#endif

/* A 16 x 16 of the left side out of shared memory, rows ld apart: stored [m, k], or turned [k, m]. */
CU_FN void load_left(uint32_t a[4], const uint16_t *tile, int ld, bool turned) {
    int lane = threadIdx.x % 32, r = lane % 8, i = lane / 8;
    if (turned)
        load_matrices(a, tile + (i / 2 * 8 + r) * ld + i % 2 * 8, true);
    else
        load_matrices(a, tile + (i % 2 * 8 + r) * ld + i / 2 * 8, false);
}

/* A 16 x 16 of the right side, [k, n], as two of 8 columns: stored [k, n], or turned [n, k]. */
CU_FN void load_right(uint32_t b[2][2], const uint16_t *tile, int ld, bool turned) {
    int lane = threadIdx.x % 32, r = lane % 8, i = lane / 8;
    if (turned)
        load_matrices(&b[0][0], tile + (i / 2 * 8 + r) * ld + i % 2 * 8, false);
    else
        load_matrices(&b[0][0], tile + (i % 2 * 8 + r) * ld + i / 2 * 8, true);
}

#endif
