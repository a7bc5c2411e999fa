#include <math.h>

#include "ops/cpu/cpu.h"

/* The first of the largest that are not taken; among NaN, some. */
static size_t largest_left(const float *logits, const bool *taken, size_t experts) {
    size_t best = experts;
    for (size_t e = 0; e < experts; e++)
        if (!taken[e] && (best == experts || logits[e] > logits[best])) best = e;
    return best;
}

static bool has_nan(const float *x, size_t n) {
    bool nan = false;
    for (size_t i = 0; i < n; i++) nan |= isnan(x[i]);
    return nan;
}

/* The sum over what the weights are shares of, each term by the largest: chosen[0]. */
static double denominator(const ar_router *r, const int32_t *chosen, const float *logits) {
    double sum = 0.0, most = (double)logits[chosen[0]];
    for (size_t i = 0; i < (r->of_all ? r->experts : r->used); i++) sum += exp((double)logits[r->of_all ? i : (size_t)chosen[i]] - most);
    return sum;
}

static void route_row(int32_t *chosen, float *weight, const ar_router *r, const float *logits) {
    bool taken[AR_MOST_EXPERTS] = {false}, nan = has_nan(logits, r->experts);
    for (size_t j = 0; j < r->used; j++) {
        size_t e = largest_left(logits, taken, r->experts);
        taken[e] = true;
        chosen[j] = (int32_t)e;
    }
    double sum = denominator(r, chosen, logits), most = (double)logits[chosen[0]];
    for (size_t j = 0; j < r->used; j++) weight[j] = nan ? NAN : (float)(exp((double)logits[chosen[j]] - most) / sum);
}

void ar__cpu_route_fwd(const ar_runtime *rt, int32_t *chosen, float *weight, const ar_router *r, const float *logits, size_t rows) {
#pragma omp parallel for num_threads(ar__team(rt, rows * r->experts * 16)) schedule(static)
    for (size_t i = 0; i < rows; i++) route_row(chosen + i * r->used, weight + i * r->used, r, logits + i * r->experts);
}

static void route_row_bwd(float *dlogits, const ar_router *r, const int32_t *chosen, const float *weight, const float *dweight,
                          const float *logits) {
    double mean = 0.0, most = (double)logits[chosen[0]], sum = denominator(r, chosen, logits), own[AR_MOST_EXPERTS];
    for (size_t j = 0; j < r->used; j++) mean += (double)weight[j] * (double)dweight[j];
    for (size_t j = 0; j < r->used; j++) own[j] = (double)weight[j] * ((double)dweight[j] - mean);
    for (size_t e = 0; e < r->experts; e++) dlogits[e] = r->of_all ? (float)(-mean * exp((double)logits[e] - most) / sum) : 0.0f;
    for (size_t j = 0; j < r->used; j++) dlogits[chosen[j]] = (float)own[j];
}

void ar__cpu_route_bwd(const ar_runtime *rt, float *dlogits, const ar_router *r, const int32_t *chosen, const float *weight,
                       const float *dweight, const float *logits, size_t rows) {
#pragma omp parallel for num_threads(ar__team(rt, rows * r->experts * 16)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        route_row_bwd(dlogits + i * r->experts, r, chosen + i * r->used, weight + i * r->used, dweight + i * r->used,
                      logits + i * r->experts);
}

static void softmax(double *p, const float *logits, size_t n) {
    double most = (double)logits[0], sum = 0.0;
    for (size_t e = 1; e < n; e++) most = fmax(most, (double)logits[e]);
    for (size_t e = 0; e < n; e++) sum += p[e] = exp((double)logits[e] - most);
    for (size_t e = 0; e < n; e++) p[e] /= sum;
}

void ar__cpu_balance_fwd(const ar_runtime *rt, float *count, float *share, const ar_router *r, const int32_t *chosen, const float *logits,
                         const ar_rows *rows) {
#pragma omp parallel for num_threads(ar__team(rt, rows->count * r->experts * 16)) schedule(static)
    for (size_t s = 0; s < rows->samples; s++) {
        double sum[AR_MOST_EXPERTS] = {0}, p[AR_MOST_EXPERTS];
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++) {
            for (size_t j = 0; j < r->used; j++) count[s * r->experts + (size_t)chosen[i * r->used + j]] += 1.0f;
            softmax(p, logits + i * r->experts, r->experts);
            for (size_t e = 0; e < r->experts; e++) sum[e] += p[e];
        }
        for (size_t e = 0; e < r->experts; e++) share[s * r->experts + e] += (float)sum[e];
    }
}

static void balance_row_bwd(float *dlogits, const float *count, double by, const float *logits, size_t n) {
    double p[AR_MOST_EXPERTS], mean = 0.0;
    softmax(p, logits, n);
    for (size_t e = 0; e < n; e++) mean += p[e] * (double)count[e];
    for (size_t e = 0; e < n; e++) dlogits[e] += (float)(by * p[e] * ((double)count[e] - mean));
}

void ar__cpu_balance_bwd(const ar_runtime *rt, float *dlogits, const ar_router *r, const float *count, const float *by, const float *logits,
                         const ar_rows *rows) {
    for (size_t s = 0; s < rows->samples; s++) {
#pragma omp parallel for num_threads(ar__team(rt, (rows->start[s + 1] - rows->start[s]) * r->experts * 16)) schedule(static)
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++)
            balance_row_bwd(dlogits + i * r->experts, count + s * r->experts, (double)by[s], logits + i * r->experts, r->experts);
    }
}

void ar__cpu_rows_add(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
#pragma omp parallel for num_threads(ar__team(rt, count *width)) schedule(static)
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < width; j++) dst[row[i] * width + j] += src[i * width + j];
}

void ar__cpu_rows_weigh(const ar_runtime *rt, float *x, const float *weight, size_t rows, size_t width) {
#pragma omp parallel for num_threads(ar__team(rt, rows *width)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++) x[i * width + j] *= weight[i];
}

void ar__cpu_rows_weigh_bwd(const ar_runtime *rt, float *dweight, float *dx, const float *x, const float *weight, size_t rows,
                            size_t width) {
#pragma omp parallel for num_threads(ar__team(rt, rows *width * 2)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        dweight[i] += rt->kern.dot(dx + i * width, x + i * width, width);
        for (size_t j = 0; j < width; j++) dx[i * width + j] *= weight[i];
    }
}

void ar__cpu_rows_bias(const ar_runtime *rt, float *y, const float *weight, const float *bias, size_t rows, size_t width) {
#pragma omp parallel for num_threads(ar__team(rt, rows *width)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++) y[i * width + j] += weight[i] * bias[j];
}

void ar__cpu_rows_bias_bwd(const ar_runtime *rt, float *dweight, const float *dy, const float *bias, size_t rows, size_t width) {
#pragma omp parallel for num_threads(ar__team(rt, rows *width)) schedule(static)
    for (size_t i = 0; i < rows; i++) dweight[i] += rt->kern.dot(dy + i * width, bias, width);
}

void ar__cpu_sigmoid_fwd(const ar_runtime *rt, float *y, const float *x, size_t n) {
    (void)rt;
    for (size_t i = 0; i < n; i++) y[i] = 1.0f / (1.0f + expf(-x[i]));
}

void ar__cpu_sigmoid_bwd(const ar_runtime *rt, float *dx, const float *y, const float *dy, size_t n) {
    (void)rt;
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * y[i] * (1.0f - y[i]);
}
