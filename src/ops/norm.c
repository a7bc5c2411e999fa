#include "ops/norm.h"

#include <math.h>

void ar__norm_fwd(const ar_runtime *rt, float *y, float *rstd, const ar_norm *norm, const float *x, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
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
    enum { COLUMNS = 64 };
#pragma omp parallel for num_threads(ar__team(rt, rows->count *per_row *n)) schedule(static)
    for (size_t j0 = 0; j0 < n; j0 += COLUMNS) {
        size_t len = n - j0 < COLUMNS ? n - j0 : COLUMNS;
        for (size_t s = 0; s < rows->samples; s++) {
            float sum[COLUMNS] = {0};
            for (size_t i = rows->start[s] * per_row; i < rows->start[s + 1] * per_row; i++)
                for (size_t j = 0; j < len; j++) sum[j] += dy[i * n + j0 + j] * x[i * n + j0 + j] * rstd[i];
            for (size_t j = 0; j < len; j++) norm->dw[j0 + j] += sum[j];
        }
    }
}

void ar__norm_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x, const float *rstd,
                  const ar_rows *rows, size_t per_row, size_t n) {
    if (norm->dw) weight_grad(rt, norm, dy, x, rstd, rows, per_row, n);
    if (!dx) return;
#pragma omp parallel for num_threads(ar__team(rt, rows->count *per_row *n)) schedule(static)
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
