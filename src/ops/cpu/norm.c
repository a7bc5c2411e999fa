#include "ops/cpu/cpu.h"

#include <assert.h>
#include <math.h>

enum { LANES = 16 };

static float lane_sum(const float lanes[LANES]) {
    float sum = 0.0f;
    for (int l = 0; l < LANES; l++) sum += lanes[l];
    return sum;
}

/* What is taken off x: its mean under LayerNorm. */
static float centre_of(const ar_norm *norm, const float *x, size_t n) {
    float lanes[LANES] = {0};
    size_t j = 0;
    if (!norm->centred) return 0.0f;
    for (; j + LANES <= n; j += LANES)
        for (size_t l = 0; l < LANES; l++) lanes[l] += x[j + l];
    for (; j < n; j++) lanes[j & (LANES - 1)] += x[j];
    return lane_sum(lanes) / (float)n;
}

static float squares(const ar_runtime *rt, const float *x, float centre, size_t n) {
    float lanes[LANES] = {0};
    size_t j = 0;
    if (centre == 0.0f) return rt->kern.sum_squares(x, n);
    for (; j + LANES <= n; j += LANES)
        for (size_t l = 0; l < LANES; l++) lanes[l] += (x[j + l] - centre) * (x[j + l] - centre);
    for (; j < n; j++) lanes[j & (LANES - 1)] += (x[j] - centre) * (x[j] - centre);
    return lane_sum(lanes);
}

static void apply(float *y, const ar_norm *norm, const float *w, const float *x, float centre, float r, size_t n) {
    float offset = norm->offset;
    for (size_t j = 0; j < n; j++) y[j] = (w[j] + offset) * ((x[j] - centre) * r);
    for (size_t j = 0; norm->b && j < n; j++) y[j] += norm->b[j];
}

static float norm_row(const ar_runtime *rt, float *y, const ar_norm *norm, const float *w, const float *x, size_t n) {
    float centre = centre_of(norm, x, n), r = 1.0f / sqrtf(squares(rt, x, centre, n) / (float)n + norm->eps);
    apply(y, norm, w, x, centre, r, n);
    return r;
}

void ar__cpu_norm_fwd(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, const float *x, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        float kept = norm_row(rt, y + i * n, norm, ar__norm_weights(norm, i, n), x + i * n, n);
        if (r) r[i] = kept;
    }
}

void ar__cpu_norm_fwd_add(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, float *sum, const float *add, size_t rows,
                          size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 2)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        rt->kern.axpy(sum + i * n, 1.0f, add + i * n, n);
        r[i] = norm_row(rt, y + i * n, norm, ar__norm_weights(norm, i, n), sum + i * n, n);
    }
}

void ar__cpu_norm_again(const ar_runtime *rt, float *y, const float *r, const ar_norm *norm, const float *x, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        apply(y + i * n, norm, ar__norm_weights(norm, i, n), x + i * n, centre_of(norm, x + i * n, n), r[i], n);
}

static void add_sample(float *grad, const float *of, const ar_rows *rows, size_t sample, size_t j0, size_t len) {
    float *to = ar__slot_of(grad, rows, sample) + j0;
    for (size_t j = 0; j < len; j++) to[j] += of[j];
}

/* dw and db, sample by sample, so that their bits do not depend on the micro-batch. */
static void weight_grads(const ar_runtime *rt, const ar_norm *norm, const float *dy, const float *x, const float *r, const ar_rows *rows,
                         size_t per_row, size_t n) {
    enum { COLUMNS = 64 };
#pragma omp parallel for num_threads(ar__team(rt, rows->count *per_row *n)) schedule(static)
    for (size_t j0 = 0; j0 < n; j0 += COLUMNS) {
        size_t len = n - j0 < COLUMNS ? n - j0 : COLUMNS;
        for (size_t s = 0; s < rows->samples; s++) {
            float dw[COLUMNS] = {0}, db[COLUMNS] = {0};
            for (size_t i = rows->start[s] * per_row; i < rows->start[s + 1] * per_row; i++) {
                float centre = centre_of(norm, x + i * n, n);
                for (size_t j = 0; j < len; j++) {
                    dw[j] += dy[i * n + j0 + j] * (x[i * n + j0 + j] - centre) * r[i];
                    db[j] += dy[i * n + j0 + j];
                }
            }
            if (norm->dw) add_sample(norm->dw, dw, rows, s, j0, len);
            if (norm->db) add_sample(norm->db, db, rows, s, j0, len);
        }
    }
}

/* Sums of g and of g c over a row. */
static void row_sums(float *sum_g, float *sum_gc, const ar_norm *norm, const float *w, const float *dy, const float *x, float centre,
                     size_t n) {
    float g[LANES] = {0}, gc[LANES] = {0}, offset = norm->offset;
    size_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (size_t l = 0; l < LANES; l++) gc[l] += (w[j + l] + offset) * dy[j + l] * (x[j + l] - centre);
    for (; j < n; j++) gc[j & (LANES - 1)] += (w[j] + offset) * dy[j] * (x[j] - centre);
    *sum_gc = lane_sum(gc);
    *sum_g = 0.0f;
    if (!norm->centred) return;
    for (j = 0; j < n; j++) g[j & (LANES - 1)] += (w[j] + offset) * dy[j];
    *sum_g = lane_sum(g);
}

void ar__cpu_norm_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x,
                      const float *r, const ar_rows *rows, size_t per_row, size_t n) {
    assert(!norm->heads || (!norm->dw && !norm->db));
    if (norm->dw || norm->db) weight_grads(rt, norm, dy, x, r, rows, per_row, n);
    if (!dx) return;
#pragma omp parallel for num_threads(ar__team(rt, rows->count *per_row *n)) schedule(static)
    for (size_t i = 0; i < rows->count * per_row; i++) {
        const float *d = dy + i * n, *from = x + i * n, *w = ar__norm_weights(norm, i, n);
        float centre = centre_of(norm, from, n), offset = norm->offset, sum_g, sum_gc;
        row_sums(&sum_g, &sum_gc, norm, w, d, from, centre, n);
        float shift = sum_g / (float)n, pull = r[i] * r[i] * sum_gc / (float)n;
        for (size_t j = 0; j < n; j++) {
            float v = r[i] * ((w[j] + offset) * d[j] - (from[j] - centre) * pull - shift);
            dx[i * n + j] = accumulate ? dx[i * n + j] + v : v;
        }
    }
}
