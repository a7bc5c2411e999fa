/* AVX-512 (F, BW, DQ, VL): the element-wise loops compiled for it and a 12x32 product tile.  Packing stays AVX2's. */
#include <immintrin.h>

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

void ar__kernels_avx512(ar_kernels *k) {
    k->isa = "avx512";
    k->mr = MR;
    k->nr = NR;
    k->tile = tile;
    elem_fill(k);
}
