/* What the two ways of attention share. */
#ifndef AR_OPS_CUDA_ATTENTION_H
#define AR_OPS_CUDA_ATTENTION_H

#include "ops/cuda/cuda.h"

enum { CU_MOST_HEAD = 512 };

struct cu_attention {
    size_t heads, kv_heads, head_dim, window;
    float scale, cap;
    const float *sinks;
};

CU_FN float cu_score(const cu_attention &at, float qk) {
    float s = at.scale * qk;
    return at.cap > 0.0f ? at.cap * tanhf(s / at.cap) : s;
}

/* d score / d (q · k), of the score */
CU_FN float cu_score_slope(const cu_attention &at, float s) {
    float t = at.cap > 0.0f ? s / at.cap : 0.0f;
    return at.scale * (1.0f - t * t);
}

/* Heads, keys and samples that the tensor cores' way takes; blocks: the host's. */
bool cu_attention_bf16_fits(const cu_attention *at, const ar_block *blocks, size_t block_count);
void cu_attention_bf16_fwd(cu_device *d, float *o, float *lse, const float *q, const float *k, const float *v, cu_attention at,
                           const ar_block *blocks, const ar_block *staged, size_t block_count);
void cu_attention_bf16_bwd(cu_device *d, float *dq, float *dk, float *dv, const float *dsum, const float *d_o, const float *q,
                           const float *k, const float *v, const float *lse, cu_attention at, const ar_block *blocks,
                           const ar_block *staged, size_t block_count);
void cu_attention_dots(cu_device *d, float *dsum, const float *d_o, const float *o, size_t count, size_t head_dim);

#endif
