#include "ops/norm.h"

#include <math.h>

void ar__norm_fwd(const ar_runtime *rt, float *y, float *rstd, const ar_norm *norm, const float *x, size_t rows, size_t n) {
#pragma omp parallel for num_threads(rt->threads) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        const float *from = x + i * n;
        float r = 1.0f / sqrtf(rt->kern.sum_squares(from, n) / (float)n + norm->eps);
        if (rstd) rstd[i] = r;
        for (size_t j = 0; j < n; j++) y[i * n + j] = norm->w[j] * (from[j] * r);
    }
}

/* dw, sample by sample, so that its bits do not depend on the micro-batch. */
static void weight_grad(const ar_runtime *rt, const ar_norm *norm, const float *dy, const float *x, const float *rstd, const ar_rows *rows,
                        size_t per_row, size_t n) {
#pragma omp parallel for num_threads(rt->threads) schedule(static)
    for (size_t j = 0; j < n; j++)
        for (size_t s = 0; s < rows->samples; s++) {
            float sum = 0.0f;
            for (size_t i = rows->start[s] * per_row; i < rows->start[s + 1] * per_row; i++) sum += dy[i * n + j] * x[i * n + j] * rstd[i];
            norm->dw[j] += sum;
        }
}

void ar__norm_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x, const float *rstd,
                  const ar_rows *rows, size_t per_row, size_t n) {
    if (norm->dw) weight_grad(rt, norm, dy, x, rstd, rows, per_row, n);
    if (!dx) return;
#pragma omp parallel for num_threads(rt->threads) schedule(static)
    for (size_t i = 0; i < rows->count * per_row; i++) {
        const float *g = dy + i * n, *from = x + i * n;
        float lanes[16] = {0}, dot = 0.0f, r = rstd[i];
        for (size_t j = 0; j < n; j++) lanes[j & 15] += norm->w[j] * g[j] * from[j];
        for (int l = 0; l < 16; l++) dot += lanes[l];
        float pull = r * r * dot / (float)n;
        for (size_t j = 0; j < n; j++) {
            float v = r * (norm->w[j] * g[j] - from[j] * pull);
            dx[i * n + j] = accumulate ? dx[i * n + j] + v : v;
        }
    }
}
