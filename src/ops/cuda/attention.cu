/* Attention in f32 (ops/attention.h): a warp takes one query's head, or one key's, and walks over what it sees 32 at a time, a lane each.
 * Under bf16 attention_bf16.cu does the same on tensor cores where heads have its sizes. */
#include <stdio.h>

#include "ops/cuda/attention.h"
#include "ops/cuda/reduce.h"

enum { WARPS = 8, MOST = CU_MOST_HEAD / 32 };

CU_FN float dot(const float *x, const float *y, size_t n) {
    float sum = 0.0f;
    for (size_t e = 0; e < n; e++) sum += x[e] * y[e];
    return sum;
}

/* The first key that a query sees. */
CU_FN size_t first_seen(const cu_attention &at, size_t position) {
    return at.window && position + 1 > at.window ? position + 1 - at.window : 0;
}

CU_FN size_t kv_place(const cu_attention &at, size_t key_row, size_t head) {
    return (key_row * at.kv_heads + head / (at.heads / at.kv_heads)) * at.head_dim;
}

/* out[e] += sum over the lanes of weight * row[e], rows of the lanes in their order; mine: the lane's row. */
CU_FN void add_weighted(float out[MOST], float weight, size_t mine, const float *x, int count, size_t d) {
    for (int l = 0; l < count; l++) {
        float w = __shfl_sync(0xffffffffu, weight, l);
        size_t at = __shfl_sync(0xffffffffu, mine, l);
        for (size_t e = threadIdx.x % 32, i = 0; e < d; e += 32, i++) out[i] += w * x[at + e];
    }
}

__global__ void attend_f32(float *o, float *lse, const float *q, const float *k, const float *v, cu_attention at, const ar_block *blocks) {
    ar_block b = blocks[blockIdx.x];
    size_t head = blockIdx.y, d = at.head_dim;
    int lane = threadIdx.x % 32;
    for (size_t i = threadIdx.x / 32; i < b.count; i += WARPS) {
        size_t place = (b.row + i) * at.heads + head, position = b.position + i;
        float sum[MOST] = {}, top = at.sinks ? at.sinks[head] : -INFINITY, total = at.sinks ? 1.0f : 0.0f;
        for (size_t j0 = first_seen(at, position); j0 <= position; j0 += 32) {
            size_t j = j0 + lane, mine = kv_place(at, b.keys + (j <= position ? j : position), head);
            float s = j <= position ? cu_score(at, dot(q + place * d, k + mine, d)) : -INFINITY, most = fmaxf(top, warp_max(s)),
                  p = expf(s - most);
            float shrink = expf(top - most);
            total = total * shrink + warp_sum(p);
            for (int e = 0; e < MOST; e++) sum[e] *= shrink;
            add_weighted(sum, p, mine, v, position - j0 < 31 ? (int)(position - j0) + 1 : 32, d);
            top = most;
        }
        for (size_t e = lane, n = 0; e < d; e += 32, n++) o[place * d + e] = sum[n] / total;
        if (lse && lane == 0) lse[place] = top + logf(total);
    }
}

/* D = dO · O, a warp a head of a row. */
__global__ void attention_dots(float *dsum, const float *d_o, const float *o, size_t count, size_t d) {
    size_t i = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;
    float sum = 0.0f;
    if (i >= count) return;
    for (size_t e = threadIdx.x % 32; e < d; e += 32) sum += d_o[i * d + e] * o[i * d + e];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) dsum[i] = sum;
}

void cu_attention_dots(cu_device *d, float *dsum, const float *d_o, const float *o, size_t count, size_t head_dim) {
    if (count)
        CU_LAUNCH(d, attention_dots, dim3((unsigned)((count + WARPS - 1) / WARPS)), dim3(32 * WARPS), 0, dsum, d_o, o, count, head_dim);
}

/* Of a score: p, and the slope of q · k. */
CU_FN float weight_of(float *ds, const cu_attention &at, float qk, float lse, float dp, float dsum) {
    float s = cu_score(at, qk), p = expf(s - lse);
    *ds = p * (dp - dsum) * cu_score_slope(at, s);
    return p;
}

__global__ void attend_f32_dq(float *dq, const float *d_o, const float *q, const float *k, const float *v, const float *lse,
                              const float *dsum, cu_attention at, const ar_block *blocks) {
    ar_block b = blocks[blockIdx.x];
    size_t head = blockIdx.y, d = at.head_dim;
    int lane = threadIdx.x % 32;
    for (size_t i = threadIdx.x / 32; i < b.count; i += WARPS) {
        size_t place = (b.row + i) * at.heads + head, position = b.position + i;
        float sum[MOST] = {};
        for (size_t j0 = first_seen(at, position); j0 <= position; j0 += 32) {
            size_t j = j0 + lane, mine = kv_place(at, b.keys + (j <= position ? j : position), head);
            float ds = 0.0f;
            if (j <= position)
                weight_of(&ds, at, dot(q + place * d, k + mine, d), lse[place], dot(d_o + place * d, v + mine, d), dsum[place]);
            add_weighted(sum, ds, mine, k, position - j0 < 31 ? (int)(position - j0) + 1 : 32, d);
        }
        for (size_t e = lane, n = 0; e < d; e += 32, n++) dq[place * d + e] = sum[n];
    }
}

/* The keys of a block's rows; queries of the group's heads in their order. */
__global__ void attend_f32_dkv(float *dk, float *dv, const float *d_o, const float *q, const float *k, const float *v, const float *lse,
                               const float *dsum, cu_attention at, const ar_block *blocks) {
    ar_block b = blocks[blockIdx.x];
    size_t kv_head = blockIdx.y, d = at.head_dim, group = at.heads / at.kv_heads;
    int lane = threadIdx.x % 32;
    for (size_t i = threadIdx.x / 32; i < b.count; i += WARPS) {
        size_t j = b.position + i, own = ((b.row + i) * at.kv_heads + kv_head) * d;
        size_t end = at.window && j + at.window < b.length ? j + at.window : b.length;
        float k_sum[MOST] = {}, v_sum[MOST] = {};
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
            for (size_t i0 = j; i0 < end; i0 += 32) {
                size_t query = i0 + lane < end ? i0 + lane : end - 1, place = (b.keys + query) * at.heads + head;
                float ds = 0.0f, p = 0.0f;
                int count = end - i0 < 32 ? (int)(end - i0) : 32;
                if (i0 + lane < end)
                    p = weight_of(&ds, at, dot(q + place * d, k + own, d), lse[place], dot(d_o + place * d, v + own, d), dsum[place]);
                add_weighted(k_sum, ds, place * d, q, count, d);
                add_weighted(v_sum, p, place * d, d_o, count, d);
            }
        for (size_t e = lane, n = 0; e < d; e += 32, n++) {
            dk[own + e] = k_sum[n];
            dv[own + e] = v_sum[n];
        }
    }
}

/* ---- the operators ---- */

size_t ar__cuda_attention_scratch(const ar_runtime *rt, const ar_attention *at) {
    (void)rt, (void)at;
    return 0;
}

static bool fits(cu_device *d, const ar_attention *at) {
    if (at->head_dim <= CU_MOST_HEAD) return true;
    char what[96];
    snprintf(what, sizeof what, "attention: heads of %zu numbers, at most %d are done there", at->head_dim, CU_MOST_HEAD);
    return cu_check(d, cudaErrorInvalidValue, what);
}

static cu_attention attention_of(const cu_device *d, const ar_attention *at) {
    return cu_attention{at->heads, at->kv_heads, at->head_dim, at->window, at->scale, at->cap, cu_at(d, at->sinks)};
}

void ar__cuda_attention_fwd(const ar_runtime *rt, float *o, float *lse, const float *q, const float *k, const float *v,
                            const ar_attention *at, const ar_block *blocks, size_t block_count, float *scratch) {
    cu_device *d = cu_of(rt);
    const ar_block *staged = cu_stage(d, blocks, block_count);
    cu_attention a = attention_of(d, at);
    (void)scratch;
    if (!block_count || !fits(d, at)) return;
    o = cu_at(d, o);
    lse = cu_at(d, lse);
    if (rt->bf16 && cu_attention_bf16_fits(&a, blocks, block_count)) {
        cu_attention_bf16_fwd(d, o, lse, cu_at(d, q), cu_at(d, k), cu_at(d, v), a, blocks, staged, block_count);
        return;
    }
    dim3 grid((unsigned)block_count, (unsigned)at->heads);
    CU_LAUNCH(d, attend_f32, grid, dim3(32 * WARPS), 0, o, lse, cu_at(d, q), cu_at(d, k), cu_at(d, v), a, staged);
}

/* Rows that the blocks cover, from the batch's first on. */
static size_t rows_of(const ar_block *blocks, size_t count) {
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) rows = blocks[i].row + blocks[i].count > rows ? blocks[i].row + blocks[i].count : rows;
    return rows;
}

void ar__cuda_attention_bwd(const ar_runtime *rt, float *dq, float *dk, float *dv, float *dsum, const float *d_o, const float *q,
                            const float *k, const float *v, const float *o, const float *lse, const ar_attention *at,
                            const ar_block *blocks, size_t block_count, float *scratch) {
    cu_device *d = cu_of(rt);
    const ar_block *staged = cu_stage(d, blocks, block_count);
    cu_attention a = attention_of(d, at);
    (void)scratch;
    if (!block_count || !fits(d, at)) return;
    d_o = cu_at(d, d_o);
    dq = cu_at(d, dq);
    dk = cu_at(d, dk);
    dv = cu_at(d, dv);
    dsum = cu_at(d, dsum);
    lse = cu_at(d, lse);
    cu_attention_dots(d, dsum, d_o, cu_at(d, o), rows_of(blocks, block_count) * at->heads, at->head_dim);
    if (rt->bf16 && cu_attention_bf16_fits(&a, blocks, block_count)) {
        cu_attention_bf16_bwd(d, dq, dk, dv, dsum, d_o, cu_at(d, q), cu_at(d, k), cu_at(d, v), lse, a, blocks, staged, block_count);
        return;
    }
    CU_LAUNCH(d, attend_f32_dq, dim3((unsigned)block_count, (unsigned)at->heads), dim3(32 * WARPS), 0, dq, d_o, cu_at(d, q), cu_at(d, k),
              cu_at(d, v), lse, (const float *)dsum, a, staged);
    CU_LAUNCH(d, attend_f32_dkv, dim3((unsigned)block_count, (unsigned)at->kv_heads), dim3(32 * WARPS), 0, dk, dv, d_o, cu_at(d, q),
              cu_at(d, k), cu_at(d, v), lse, (const float *)dsum, a, staged);
}
