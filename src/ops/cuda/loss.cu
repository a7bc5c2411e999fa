/* Cross entropy (ops/loss.h): a block a row of logits. */
#include "ops/cuda/reduce.h"

CU_FN float capped(float x, float cap) { return cap > 0.0f ? cap * tanhf(x / cap) : x; }

__global__ void entropy_rows(float *nll, float *logits, const int32_t *targets, const float *grad_scale, float cap, size_t vocab) {
    __shared__ float shared[32];
    size_t row = blockIdx.x;
    float *x = logits + row * vocab, top = -INFINITY, sum = 0.0f;
    for (size_t j = threadIdx.x; j < vocab; j += CU_THREADS) top = fmaxf(top, x[j]);
    top = capped(row_max<CU_THREADS>(top, shared), cap);
    for (size_t j = threadIdx.x; j < vocab; j += CU_THREADS) sum += expf(capped(x[j], cap) - top);
    sum = row_sum<CU_THREADS>(sum, shared);
    size_t target = (size_t)targets[row];
    float at_target = capped(x[target], cap);
    __syncthreads(); /* all have read the target's before one of them writes */
    if (threadIdx.x == 0) nll[row] = logf(sum) + (top - at_target);
    for (size_t j = threadIdx.x; grad_scale && j < vocab; j += CU_THREADS) {
        float z = capped(x[j], cap), g = expf(z - top) / sum;
        if (j == target) g -= 1.0f;
        if (cap > 0.0f) g *= 1.0f - z / cap * (z / cap);
        x[j] = g * grad_scale[row];
    }
}

void ar__cuda_cross_entropy(const ar_runtime *rt, float *nll, float *logits, const int32_t *targets, size_t rows, size_t vocab, double cap,
                            const float *grad_scale) {
    cu_device *d = cu_of(rt);
    if (!rows) return;
    CU_LAUNCH(d, entropy_rows, dim3((unsigned)rows), dim3(CU_THREADS), 0, cu_at(d, nll), cu_at(d, logits), cu_stage(d, targets, rows),
              cu_stage(d, grad_scale, rows), (float)cap, vocab);
}
