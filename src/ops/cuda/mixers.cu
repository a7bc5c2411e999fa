/* The delta rule and the short convolution (ops/delta.h) have no kernels here yet: what they read is brought to the host, which computes,
 * and what they give is brought back.  Right, and as slow as the way there and back. */
#include <stdlib.h>

#include "ops/cuda/cuda.h"

/* A copy on the host of `count` floats, of zeros where x is NULL; freed by the caller.  NULL, and a failure kept, without memory. */
static float *brought(cu_device *d, const float *x, size_t count) {
    float *copy = (float *)calloc(count ? count : 1, sizeof *copy);
    if (!copy) cu_check(d, cudaErrorMemoryAllocation, "a copy on the host");
    if (copy && x) cu_download(d, copy, cu_at(d, x), count * sizeof *copy);
    return copy;
}

static void bring_back(cu_device *d, float *x, float *copy, size_t count) {
    if (count && copy && !d->failed)
        cu_check(d, cudaMemcpyAsync(cu_at(d, x), copy, count * sizeof *copy, cudaMemcpyHostToDevice, d->stream), "copying to the device");
    cu_check(d, cudaStreamSynchronize(d->stream), "running");
    free(copy);
}

/* All sequences up to the last that the batch goes on from. */
static size_t memory_floats(const ar_recurrence *m, const ar_rows *rows) {
    size_t last = 0;
    for (size_t s = 0; s < rows->samples; s++) last = m->sequence[s] + 1 > last ? m->sequence[s] + 1 : last;
    return last * m->each;
}

static ar_recurrence bring_memory(cu_device *d, const ar_recurrence *m, const ar_rows *rows) {
    ar_recurrence own = *m;
    own.at = brought(d, m->at, memory_floats(m, rows));
    return own;
}

void ar__cuda_conv_fwd(const ar_runtime *rt, float *y, const float *x, const ar_conv *conv, const ar_rows *rows,
                       const ar_recurrence *memory) {
    cu_device *d = cu_of(rt);
    size_t n = rows->count * conv->width;
    float *in = brought(d, x, n), *out = brought(d, NULL, n);
    ar_recurrence own = memory ? bring_memory(d, memory, rows) : ar_recurrence{};
    if (!d->failed) d->host->conv_fwd(rt, out, in, conv, rows, memory ? &own : NULL);
    bring_back(d, y, out, n);
    if (memory) bring_back(d, memory->at, own.at, memory_floats(memory, rows));
    free(in);
}

void ar__cuda_conv_bwd(const ar_runtime *rt, float *dx, float *dy, const float *x, const ar_conv *conv, const ar_rows *rows) {
    cu_device *d = cu_of(rt);
    size_t n = rows->count * conv->width;
    float *in = x ? brought(d, x, n) : NULL, *slope = brought(d, dy, n), *out = brought(d, NULL, n);
    if (!d->failed) d->host->conv_bwd(rt, out, slope, in, conv, rows);
    bring_back(d, dx, out, n);
    bring_back(d, dy, slope, n);
    free(in);
}

size_t ar__cuda_delta_scratch(const ar_runtime *rt, const ar_delta *delta, size_t longest) {
    (void)rt, (void)delta, (void)longest;
    return 0;
}

static size_t longest_of(const ar_rows *rows) {
    size_t longest = 0;
    for (size_t s = 0; s < rows->samples; s++) {
        size_t n = rows->start[s + 1] - rows->start[s];
        if (n > longest) longest = n;
    }
    return longest;
}

static float *host_scratch(cu_device *d, const ar_runtime *rt, const ar_delta *delta, size_t longest) {
    size_t each = (d->host->delta_scratch(rt, delta, longest) + 15) / 16 * 16;
    return (float *)aligned_alloc(64, (each * (size_t)rt->threads + 16) * sizeof(float) / 64 * 64);
}

void ar__cuda_delta_fwd(const ar_runtime *rt, float *o, const float *x, const float *b, const float *a, const ar_delta *delta,
                        const ar_rows *rows, const ar_recurrence *memory, float *scratch) {
    cu_device *d = cu_of(rt);
    size_t heads = rows->count * delta->value_heads, width = rows->count * ar__delta_width(delta);
    float *hx = brought(d, x, width), *hb = brought(d, b, heads), *ha = brought(d, a, heads),
          *out = brought(d, NULL, heads * delta->value_dim);
    float *own_scratch = host_scratch(d, rt, delta, 0);
    ar_recurrence own = memory ? bring_memory(d, memory, rows) : ar_recurrence{};
    (void)scratch;
    if (!d->failed && own_scratch) d->host->delta_fwd(rt, out, hx, hb, ha, delta, rows, memory ? &own : NULL, own_scratch);
    bring_back(d, o, out, heads * delta->value_dim);
    if (memory) bring_back(d, memory->at, own.at, memory_floats(memory, rows));
    free(own_scratch);
    free(hx);
    free(hb);
    free(ha);
}

void ar__cuda_delta_bwd(const ar_runtime *rt, float *dx, float *db, float *da, const float *d_o, const float *x, const float *b,
                        const float *a, const ar_delta *delta, const ar_rows *rows, float *scratch) {
    cu_device *d = cu_of(rt);
    size_t heads = rows->count * delta->value_heads, width = rows->count * ar__delta_width(delta);
    float *hx = brought(d, x, width), *hb = brought(d, b, heads), *ha = brought(d, a, heads),
          *ho = brought(d, d_o, heads * delta->value_dim);
    float *out = brought(d, NULL, width), *ob = brought(d, NULL, heads), *oa = brought(d, NULL, heads);
    float *own_scratch = host_scratch(d, rt, delta, longest_of(rows));
    (void)scratch;
    if (!d->failed && own_scratch) d->host->delta_bwd(rt, out, ob, oa, ho, hx, hb, ha, delta, rows, own_scratch);
    bring_back(d, dx, out, width);
    bring_back(d, db, ob, heads);
    bring_back(d, da, oa, heads);
    free(own_scratch);
    free(hx);
    free(hb);
    free(ha);
    free(ho);
}
