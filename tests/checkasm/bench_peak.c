/* The fastest a core multiplies and adds: independent fused multiply-adds on registers, nothing loaded. */
#include "bench.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 24, ROUNDS = 1 << 20 };

#define PROBE(name, isa, type, set, op, chains)                                                                                            \
    __attribute__((target(isa), noinline)) static void name(float *out) {                                                                  \
        type acc[chains], x = set(1e-9f), y = set(0.5f);                                                                                   \
        for (int i = 0; i < chains; i++) acc[i] = set((float)i);                                                                           \
        __asm__ volatile("" : "+v"(x), "+v"(y));                                                                                           \
        for (int r = 0; r < ROUNDS; r++) {                                                                                                 \
            _Pragma("GCC unroll 24") for (int i = 0; i < chains; i++) acc[i] = op;                                                         \
        }                                                                                                                                  \
        for (int i = 1; i < chains; i++) acc[0] += acc[i];                                                                                 \
        *out = acc[0][0];                                                                                                                  \
    }

PROBE(probe_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps(x, y, acc[i]), 12)
PROBE(probe_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps(x, y, acc[i]), CHAINS)
PROBE(probe_bf16, "avx512f,avx512bf16", __m512, _mm512_set1_ps, _mm512_dpbf16_ps(acc[i], (__m512bh)x, (__m512bh)y), CHAINS)
#endif

double bench_peak(const char *isa, bool bf16, int threads) {
#if defined(__x86_64__)
    void (*probe)(float *) = bf16 ? probe_bf16 : !strcmp(isa, "avx2") ? probe_avx2 : !strcmp(isa, "avx512") ? probe_avx512 : NULL;
    double flops = bf16 ? 64 * CHAINS : probe == probe_avx2 ? 16 * 12 : 32 * CHAINS;
    if (!probe) return 0;
    float out[64];
    double start = bench_now(threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < threads; i++) probe(&out[i % 64]);
    double seconds = bench_now(threads) - start;
    volatile float keep = out[0];
    (void)keep;
    return flops * ROUNDS / seconds / 1e9;
#else
    (void)isa, (void)bf16, (void)threads;
    return 0;
#endif
}
