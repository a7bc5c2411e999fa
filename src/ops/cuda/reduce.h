/* Sums and maxima over the threads of a row, in a fixed order: 32 threads (a warp) or CU_THREADS (a block). */
#ifndef AR_OPS_CUDA_REDUCE_H
#define AR_OPS_CUDA_REDUCE_H

#include "ops/cuda/cuda.h"

CU_FN float warp_sum(float x) {
    for (int o = 16; o; o /= 2) x += __shfl_xor_sync(0xffffffffu, x, o);
    return x;
}

CU_FN float warp_max(float x) {
    for (int o = 16; o; o /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, o));
    return x;
}

template <int THREADS> CU_FN float row_sum(float x, float *shared) {
    x = warp_sum(x);
    if (THREADS == 32) return x;
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < THREADS / 32; i++) sum += shared[i];
    return sum;
}

template <int THREADS> CU_FN float row_max(float x, float *shared) {
    x = warp_max(x);
    if (THREADS == 32) return x;
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    float top = shared[0];
    for (int i = 1; i < THREADS / 32; i++) top = fmaxf(top, shared[i]);
    return top;
}

/* Of a whole block, in double; `shared` holds CU_THREADS. */
CU_FN double block_sum(double x, double *shared) {
    shared[threadIdx.x] = x;
    __syncthreads();
    for (int half = CU_THREADS / 2; half; half /= 2) {
        if ((int)threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    return shared[0];
}

#endif
