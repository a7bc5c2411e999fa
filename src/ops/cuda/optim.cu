/* The optimizer: one launch over the flat list, cut into chunks; a tensor's chunks follow each other.
 *
 *     tensors   | A | B   | A | …           first   0 1 3 4 …  the chunk that each begins with
 *     chunks    |0 |1 |2 |3 | … */
#include <math.h>

#include "ops/cuda/reduce.h"

enum { CHUNK = 4096 };

struct tensor {
    float *value, *grad, *m, *v, *tied;
    size_t count;
    float rate, keep; /* keep: 1 - rate decay */
};

struct tensors {
    const tensor *at;
    const uint32_t *first; /* [count + 1] */
    size_t count, chunks;
};

static tensors stage(const ar_runtime *rt, const ar_trainable *list, size_t count, double rate, double decay) {
    cu_device *d = cu_of(rt);
    tensor *at = (tensor *)cu_table(d, count * sizeof *at + (count + 1) * sizeof(uint32_t));
    uint32_t *first = (uint32_t *)(at + count), chunks = 0;
    if (!at) return tensors{};
    memset(at, 0, count * sizeof *at);
    for (size_t i = 0; i < count; i++) {
        const ar_trainable *x = &list[i];
        at[i].value = cu_at(d, x->value);
        at[i].grad = cu_at(d, x->grad);
        at[i].m = cu_at(d, x->m);
        at[i].v = cu_at(d, x->v);
        at[i].tied = cu_at(d, x->grad_tied);
        at[i].count = x->count;
        at[i].rate = (float)(rate * x->rate_factor);
        at[i].keep = (float)(1.0 - rate * x->rate_factor * decay);
        first[i] = chunks;
        chunks += (uint32_t)((x->count + CHUNK - 1) / CHUNK);
    }
    first[count] = chunks;
    const tensor *staged = cu_stage(d, at, count);
    return tensors{staged, cu_stage(d, first, count + 1), count, chunks};
}

/* The tensor of a chunk. */
CU_FN const tensor *find(const tensors &t, uint32_t chunk, size_t *from) {
    uint32_t low = 0, high = (uint32_t)t.count;
    while (high - low > 1) {
        uint32_t mid = (low + high) / 2;
        if (t.first[mid] <= chunk)
            low = mid;
        else
            high = mid;
    }
    *from = (size_t)(chunk - t.first[low]) * CHUNK;
    return &t.at[low];
}

struct step {
    int sgd;
    float beta1, beta2, rest1, rest2, eps, grad_scale, bias1, root2; /* 1 - b1, 1 - b2; 1 - b1^t; sqrt(1 - b2^t) */
};

__global__ void update_chunks(tensors t, step u) {
    size_t from;
    const tensor *x = find(t, blockIdx.x, &from);
    size_t end = from + CHUNK < x->count ? from + CHUNK : x->count;
    for (size_t i = from + threadIdx.x; i < end; i += blockDim.x) {
        float g = x->grad[i] * u.grad_scale, w = x->value[i] * x->keep;
        if (u.sgd) {
            x->value[i] = w - x->rate * g;
            continue;
        }
        float m = u.beta1 * x->m[i] + u.rest1 * g, v = u.beta2 * x->v[i] + u.rest2 * g * g;
        x->value[i] = w - x->rate / u.bias1 * m / (sqrtf(v) / u.root2 + u.eps);
        x->m[i] = m;
        x->v[i] = v;
    }
}

void ar__cuda_update(const ar_runtime *rt, ar_trainable *list, size_t count, const ar_update *u) {
    cu_device *d = cu_of(rt);
    if (!count) return;
    tensors t = stage(rt, list, count, u->rate, u->decay);
    if (!t.chunks) return;
    step s = {u->sgd,
              (float)u->beta1,
              (float)u->beta2,
              (float)(1.0 - u->beta1),
              (float)(1.0 - u->beta2),
              (float)u->eps,
              (float)u->grad_scale,
              (float)(1.0 - pow(u->beta1, (double)u->t)),
              (float)sqrt(1.0 - pow(u->beta2, (double)u->t))};
    CU_LAUNCH_FLAT(d, update_chunks, dim3((unsigned)t.chunks), CU_THREADS, t, s);
}

/* Sums of squares, one a chunk, in double. */
__global__ void square_chunks(double *out, tensors t) {
    __shared__ double sum[CU_THREADS];
    size_t from;
    const tensor *x = find(t, blockIdx.x, &from);
    size_t end = from + CHUNK < x->count ? from + CHUNK : x->count;
    double own = 0.0;
    for (size_t i = from + threadIdx.x; i < end; i += CU_THREADS) own += (double)x->grad[i] * (double)x->grad[i];
    own = block_sum(own, sum);
    if (threadIdx.x == 0) out[blockIdx.x] = own;
}

double ar__cuda_grad_norm(const ar_runtime *rt, const ar_trainable *list, size_t count) {
    cu_device *d = cu_of(rt);
    double sum = 0.0;
    if (!count) return 0.0;
    tensors t = stage(rt, list, count, 0.0, 0.0);
    if (!t.chunks) return 0.0;
    double *out = (double *)cu_scratch(d, CU_SLOT_SUMS, t.chunks * sizeof *out);
    CU_LAUNCH(d, square_chunks, dim3((unsigned)t.chunks), dim3(CU_THREADS), 0, out, t);
    double *host = (double *)cu_table(d, t.chunks * sizeof *host);
    if (!host) return 0.0;
    cu_download(d, host, out, t.chunks * sizeof *host);
    for (size_t i = 0; i < t.chunks; i++) sum += host[i];
    return sqrt(sum);
}

__global__ void zero_chunks(tensors t) {
    size_t from;
    const tensor *x = find(t, blockIdx.x, &from);
    size_t end = from + CHUNK < x->count ? from + CHUNK : x->count;
    for (size_t i = from + threadIdx.x; i < end; i += blockDim.x) {
        x->grad[i] = 0.0f;
        if (x->tied) x->tied[i] = 0.0f;
    }
}

__global__ void join_chunks(tensors t) {
    size_t from;
    const tensor *x = find(t, blockIdx.x, &from);
    size_t end = from + CHUNK < x->count ? from + CHUNK : x->count;
    for (size_t i = from + threadIdx.x; x->tied && i < end; i += blockDim.x) x->grad[i] += x->tied[i];
}

void ar__cuda_zero_grads(const ar_runtime *rt, ar_trainable *list, size_t count) {
    if (!count) return;
    tensors t = stage(rt, list, count, 0.0, 0.0);
    if (t.chunks) CU_LAUNCH_FLAT(cu_of(rt), zero_chunks, dim3((unsigned)t.chunks), CU_THREADS, t);
}

void ar__cuda_join_grads(const ar_runtime *rt, ar_trainable *list, size_t count) {
    bool any = false;
    for (size_t i = 0; i < count; i++) any = any || list[i].grad_tied;
    if (!any) return;
    tensors t = stage(rt, list, count, 0.0, 0.0);
    if (t.chunks) CU_LAUNCH_FLAT(cu_of(rt), join_chunks, dim3((unsigned)t.chunks), CU_THREADS, t);
}
