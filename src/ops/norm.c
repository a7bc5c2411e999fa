#include "ops/norm.h"

#include <math.h>

static void norm_row(float *y, const float *x, const float *w, float r, size_t n) {
    for (size_t j = 0; j < n; j++) y[j] = w[j] * (x[j] * r);
}

static float rstd_of(const ar_runtime *rt, const ar_norm *norm, const float *x, size_t n) {
    return 1.0f / sqrtf(rt->kern.sum_squares(x, n) / (float)n + norm->eps);
}

void ar__norm_fwd(const ar_runtime *rt, float *y, float *rstd, const ar_norm *norm, const float *x, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        float r = rstd_of(rt, norm, x + i * n, n);
        if (rstd) rstd[i] = r;
        norm_row(y + i * n, x + i * n, norm->w, r, n);
    }
}

void ar__norm_fwd_add(const ar_runtime *rt, float *y, float *rstd, const ar_norm *norm, float *sum, const float *add, size_t rows,
                      size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 2)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        rt->kern.axpy(sum + i * n, 1.0f, add + i * n, n);
        rstd[i] = rstd_of(rt, norm, sum + i * n, n);
        norm_row(y + i * n, sum + i * n, norm->w, rstd[i], n);
    }
}

void ar__norm_again(const ar_runtime *rt, float *y, const float *rstd, const ar_norm *norm, const float *x, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++) norm_row(y + i * n, x + i * n, norm->w, rstd[i], n);
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
        size_t j = 0;
        for (; j + 16 <= n; j += 16)
            for (size_t l = 0; l < 16; l++) lanes[l] += norm->w[j + l] * g[j + l] * from[j + l];
        for (; j < n; j++) lanes[j & 15] += norm->w[j] * g[j] * from[j];
        for (int l = 0; l < 16; l++) dot += lanes[l];
        float pull = r * r * dot / (float)n;
        for (j = 0; j < n; j++) {
            float v = r * (norm->w[j] * g[j] - from[j] * pull);
            dx[i * n + j] = accumulate ? dx[i * n + j] + v : v;
        }
    }
}
