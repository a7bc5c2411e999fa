/* Mixtures of experts (ops/experts.h): the router's choice goes to the host, which sorts rows by it; the rest stays. */
#include "ops/cuda/reduce.h"

/* A thread a row: few experts, and little of a step. */
__global__ void route_rows(int32_t *chosen, float *weight, size_t experts, size_t used, int of_all, const float *logits, size_t rows) {
    for (size_t i = CU_FIRST; i < rows; i += CU_STRIDE) {
        const float *l = logits + i * experts;
        int32_t *c = chosen + i * used;
        double sum = 0.0;
        int nan = 0;
        for (size_t e = 0; e < experts; e++) nan |= l[e] != l[e];
        for (size_t j = 0; j < used; j++) {
            size_t best = experts;
            for (size_t e = 0; e < experts; e++) {
                bool taken = false;
                for (size_t q = 0; q < j; q++) taken = taken || c[q] == (int32_t)e;
                if (!taken && (best == experts || l[e] > l[best])) best = e;
            }
            c[j] = (int32_t)best;
        }
        double top = (double)l[c[0]]; /* few numbers, and all that the experts give is multiplied by them: in double */
        if (of_all)
            for (size_t e = 0; e < experts; e++) sum += exp((double)l[e] - top);
        else
            for (size_t j = 0; j < used; j++) sum += exp((double)l[c[j]] - top);
        for (size_t j = 0; j < used; j++) weight[i * used + j] = nan ? NAN : (float)(exp((double)l[c[j]] - top) / sum);
    }
}

__global__ void route_rows_bwd(float *dlogits, size_t experts, size_t used, int of_all, const int32_t *chosen, const float *weight,
                               const float *dweight, const float *logits, size_t rows) {
    for (size_t i = CU_FIRST; i < rows; i += CU_STRIDE) {
        const float *l = logits + i * experts, *w = weight + i * used, *dw = dweight + i * used;
        const int32_t *c = chosen + i * used;
        float *dl = dlogits + i * experts, mean = 0.0f, l0 = l[c[0]], w0 = w[0];
        for (size_t j = 0; j < used; j++) mean += w[j] * dw[j];
        for (size_t e = 0; e < experts; e++) {
            float own = 0.0f, share = of_all ? w0 * expf(l[e] - l0) : 0.0f;
            for (size_t j = 0; j < used; j++)
                if (c[j] == (int32_t)e) {
                    own = dw[j];
                    share = w[j];
                }
            dl[e] = share * (own - mean);
        }
    }
}

void ar__cuda_route_fwd(const ar_runtime *rt, int32_t *chosen, float *weight, const ar_router *r, const float *logits, size_t rows) {
    cu_device *d = cu_of(rt);
    if (!rows) return;
    int32_t *own = (int32_t *)cu_scratch(d, CU_SLOT_SUMS, rows * r->used * sizeof *own);
    CU_LAUNCH_FLAT(d, route_rows, cu_grid(rows), CU_THREADS, own, cu_at(d, weight), r->experts, r->used, (int)r->of_all, cu_at(d, logits),
                   rows);
    cu_download(d, chosen, own, rows * r->used * sizeof *chosen);
    for (size_t i = 0; d->failed && i < rows * r->used; i++)
        chosen[i] = (int32_t)(i % r->used); /* a choice, so that rows can be sorted by it */
}

void ar__cuda_route_bwd(const ar_runtime *rt, float *dlogits, const ar_router *r, const int32_t *chosen, const float *weight,
                        const float *dweight, const float *logits, size_t rows) {
    cu_device *d = cu_of(rt);
    if (!rows) return;
    CU_LAUNCH_FLAT(d, route_rows_bwd, cu_grid(rows), CU_THREADS, cu_at(d, dlogits), r->experts, r->used, (int)r->of_all,
                   cu_stage(d, chosen, rows * r->used), cu_at(d, weight), cu_at(d, dweight), cu_at(d, logits), rows);
}

/* A block a sample: a thread an expert, over the sample's rows in their order. */
__global__ void count_balance(float *count, float *share, size_t experts, size_t used, const int32_t *chosen, const float *logits,
                              const size_t *start) {
    size_t s = blockIdx.x;
    for (size_t e = threadIdx.x; e < experts; e += CU_THREADS) {
        double sum = 0.0;
        float picks = 0.0f;
        for (size_t i = start[s]; i < start[s + 1]; i++) {
            const float *l = logits + i * experts;
            double all = 0.0;
            for (size_t j = 0; j < used; j++) picks += chosen[i * used + j] == (int32_t)e ? 1.0f : 0.0f;
            for (size_t q = 0; q < experts; q++) all += exp((double)l[q] - (double)l[e]);
            sum += 1.0 / all;
        }
        count[s * experts + e] += picks;
        share[s * experts + e] += (float)sum;
    }
}

/* A thread a row. */
__global__ void spread_balance(float *dlogits, size_t experts, const float *count, const float *by, const float *logits,
                               const int32_t *sample, size_t rows) {
    for (size_t i = CU_FIRST; i < rows; i += CU_STRIDE) {
        const float *l = logits + i * experts, *c = count + (size_t)sample[i] * experts;
        double top = (double)l[0], sum = 0.0, mean = 0.0;
        for (size_t e = 1; e < experts; e++) top = fmax(top, (double)l[e]);
        for (size_t e = 0; e < experts; e++) {
            double p = exp((double)l[e] - top);
            sum += p;
            mean += p * (double)c[e];
        }
        for (size_t e = 0; e < experts; e++)
            dlogits[i * experts + e] += (float)((double)by[sample[i]] * exp((double)l[e] - top) / sum * ((double)c[e] - mean / sum));
    }
}

void ar__cuda_balance_fwd(const ar_runtime *rt, float *count, float *share, const ar_router *r, const int32_t *chosen, const float *logits,
                          const ar_rows *rows) {
    cu_device *d = cu_of(rt);
    if (!rows->count) return;
    CU_LAUNCH(d, count_balance, dim3((unsigned)rows->samples), dim3(CU_THREADS), 0, cu_at(d, count), cu_at(d, share), r->experts, r->used,
              cu_stage(d, chosen, rows->count * r->used), cu_at(d, logits), cu_stage(d, rows->start, rows->samples + 1));
}

void ar__cuda_balance_bwd(const ar_runtime *rt, float *dlogits, const ar_router *r, const float *count, const float *by,
                          const float *logits, const ar_rows *rows) {
    cu_device *d = cu_of(rt);
    if (!rows->count) return;
    const float *own = cu_stage(d, by, rows->samples);
    CU_LAUNCH_FLAT(d, spread_balance, cu_grid(rows->count), CU_THREADS, cu_at(d, dlogits), r->experts, cu_at(d, count), own,
                   cu_at(d, logits), cu_rows(d, rows, NULL).sample, rows->count);
}

__global__ void add_rows(float *to, const float *from, const size_t *row, size_t count, size_t width) {
    for (size_t i = CU_FIRST; i < count * width; i += CU_STRIDE) to[row[i / width] * width + i % width] += from[i];
}

__global__ void weigh_rows(float *x, const float *weight, size_t rows, size_t width) {
    for (size_t i = CU_FIRST; i < rows * width; i += CU_STRIDE) x[i] *= weight[i / width];
}

/* A block a row: dweight += dx · x, where weight is given then dx *= weight; x: a row of its own, or one for all. */
__global__ void weigh_rows_bwd(float *dweight, float *dx, const float *x, size_t x_ld, const float *weight, size_t width) {
    __shared__ float shared[32];
    size_t row = blockIdx.x;
    float sum = 0.0f;
    dx += row * width;
    x += row * x_ld;
    for (size_t j = threadIdx.x; j < width; j += CU_THREADS) sum += dx[j] * x[j];
    sum = row_sum<CU_THREADS>(sum, shared);
    if (threadIdx.x == 0) dweight[row] += sum;
    for (size_t j = threadIdx.x; weight && j < width; j += CU_THREADS) dx[j] *= weight[row];
}

__global__ void bias_rows(float *y, const float *weight, const float *bias, size_t rows, size_t width) {
    for (size_t i = CU_FIRST; i < rows * width; i += CU_STRIDE) y[i] += weight[i / width] * bias[i % width];
}

void ar__cuda_rows_add(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    cu_device *d = cu_of(rt);
    if (count)
        CU_LAUNCH_FLAT(d, add_rows, cu_grid(count * width), CU_THREADS, cu_at(d, dst), cu_at(d, src), cu_stage(d, row, count), count,
                       width);
}

void ar__cuda_rows_weigh(const ar_runtime *rt, float *x, const float *weight, size_t rows, size_t width) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, weigh_rows, cu_grid(rows * width), CU_THREADS, cu_at(d, x), cu_at(d, weight), rows, width);
}

void ar__cuda_rows_weigh_bwd(const ar_runtime *rt, float *dweight, float *dx, const float *x, const float *weight, size_t rows,
                             size_t width) {
    cu_device *d = cu_of(rt);
    if (rows)
        CU_LAUNCH(d, weigh_rows_bwd, dim3((unsigned)rows), dim3(CU_THREADS), 0, cu_at(d, dweight), cu_at(d, dx), cu_at(d, x), width,
                  cu_at(d, weight), width);
}

void ar__cuda_rows_bias(const ar_runtime *rt, float *y, const float *weight, const float *bias, size_t rows, size_t width) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, bias_rows, cu_grid(rows * width), CU_THREADS, cu_at(d, y), cu_at(d, weight), cu_at(d, bias), rows, width);
}

void ar__cuda_rows_bias_bwd(const ar_runtime *rt, float *dweight, const float *dy, const float *bias, size_t rows, size_t width) {
    cu_device *d = cu_of(rt);
    if (rows)
        CU_LAUNCH(d, weigh_rows_bwd, dim3((unsigned)rows), dim3(CU_THREADS), 0, cu_at(d, dweight), (float *)cu_at(d, dy), cu_at(d, bias),
                  (size_t)0, (const float *)NULL, width);
}

__global__ void squash(float *y, const float *x, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) y[i] = 1.0f / (1.0f + expf(-x[i]));
}

__global__ void squash_bwd(float *dx, const float *y, const float *dy, size_t n) {
    for (size_t i = CU_FIRST; i < n; i += CU_STRIDE) dx[i] = dy[i] * y[i] * (1.0f - y[i]);
}

void ar__cuda_sigmoid_fwd(const ar_runtime *rt, float *y, const float *x, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, squash, cu_grid(n), CU_THREADS, cu_at(d, y), cu_at(d, x), n);
}

void ar__cuda_sigmoid_bwd(const ar_runtime *rt, float *dx, const float *y, const float *dy, size_t n) {
    cu_device *d = cu_of(rt);
    CU_LAUNCH_FLAT(d, squash_bwd, cu_grid(n), CU_THREADS, cu_at(d, dx), cu_at(d, y), cu_at(d, dy), n);
}
