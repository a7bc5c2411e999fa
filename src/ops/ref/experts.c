#include <math.h>

#include "ops/ref/pair.h"
#include "ops/ref/ref.h"

static bool is_chosen(const int32_t *chosen, size_t count, size_t e) {
    for (size_t j = 0; j < count; j++)
        if (chosen[j] == (int32_t)e) return true;
    return false;
}

/* The first of the largest that are left; among NaN, some. */
static size_t largest_left(const float *logits, const int32_t *chosen, size_t taken, size_t experts) {
    size_t best = experts;
    for (size_t e = 0; e < experts; e++) {
        if (is_chosen(chosen, taken, e)) continue;
        if (best == experts || logits[e] > logits[best]) best = e;
    }
    return best;
}

/* Of expert e among all, or among the chosen. */
static double share(const ar_router *r, const int32_t *chosen, const float *logits, size_t e) {
    double sum = 0.0;
    for (size_t i = 0; i < r->experts; i++)
        if (r->of_all || is_chosen(chosen, r->used, i)) sum += exp((double)logits[i] - (double)logits[e]);
    return 1.0 / sum;
}

static void route_row(int32_t *chosen, float *weight, const ar_router *r, const float *logits) {
    bool nan = false;
    for (size_t e = 0; e < r->experts; e++) nan = nan || isnan(logits[e]);
    for (size_t j = 0; j < r->used; j++) chosen[j] = (int32_t)largest_left(logits, chosen, j, r->experts);
    for (size_t j = 0; j < r->used; j++) weight[j] = nan ? NAN : (float)share(r, chosen, logits, (size_t)chosen[j]);
}

void ar__ref_route_fwd(const ar_runtime *rt, int32_t *chosen, float *weight, const ar_router *r, const float *logits, size_t rows) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) route_row(chosen + i * r->used, weight + i * r->used, r, logits + i * r->experts);
}

/* dl_i = p_i (g_i - sum of p_j g_j), of those whose exp stands in the sum; g is dweight for the chosen, 0 for others. */
static double slope_of(const ar_router *r, const int32_t *chosen, const float *dweight, const float *logits, size_t e) {
    double own = 0.0, mean = 0.0;
    if (!r->of_all && !is_chosen(chosen, r->used, e)) return 0.0;
    for (size_t j = 0; j < r->used; j++) {
        mean += share(r, chosen, logits, (size_t)chosen[j]) * (double)dweight[j];
        if (chosen[j] == (int32_t)e) own = (double)dweight[j];
    }
    return share(r, chosen, logits, e) * (own - mean);
}

void ar__ref_route_bwd(const ar_runtime *rt, float *dlogits, const ar_router *r, const int32_t *chosen, const float *weight,
                       const float *dweight, const float *logits, size_t rows) {
    (void)rt;
    (void)weight;
    for (size_t i = 0; i < rows; i++) {
        double slope[AR_MOST_EXPERTS];
        for (size_t e = 0; e < r->experts; e++)
            slope[e] = slope_of(r, chosen + i * r->used, dweight + i * r->used, logits + i * r->experts, e);
        for (size_t e = 0; e < r->experts; e++) dlogits[i * r->experts + e] = (float)slope[e];
    }
}

/* p_e of a row. */
static double probability(const float *logits, size_t n, size_t e) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)logits[e]);
    return 1.0 / sum;
}

void ar__ref_balance_fwd(const ar_runtime *rt, float *count, float *share, const ar_router *r, const int32_t *chosen, const float *logits,
                         const ar_rows *rows) {
    size_t n = r->experts;
    (void)rt;
    for (size_t s = 0; s < rows->samples; s++)
        for (size_t e = 0; e < n; e++) {
            double picks = 0.0, sum = 0.0;
            for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++) {
                picks += is_chosen(chosen + i * r->used, r->used, e);
                sum += probability(logits + i * n, n, e);
            }
            ar__ref_into(&count[s * n + e], picks);
            ar__ref_into(&share[s * n + e], sum);
        }
}

void ar__ref_balance_bwd(const ar_runtime *rt, float *dlogits, const ar_router *r, const float *count, const float *by, const float *logits,
                         const ar_rows *rows) {
    size_t n = r->experts;
    (void)rt;
    for (size_t s = 0; s < rows->samples; s++)
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++) {
            double mean = 0.0;
            for (size_t e = 0; e < n; e++) mean += probability(logits + i * n, n, e) * (double)count[s * n + e];
            for (size_t e = 0; e < n; e++)
                ar__ref_into(&dlogits[i * n + e], (double)by[s] * probability(logits + i * n, n, e) * ((double)count[s * n + e] - mean));
        }
}

void ar__ref_rows_add(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    for (size_t i = 0; i < count; i++) ar__ref_add(rt, dst + row[i] * width, src + i * width, width);
}

void ar__ref_rows_weigh(const ar_runtime *rt, float *x, const float *weight, size_t rows, size_t width) {
    for (size_t i = 0; i < rows; i++) ar__ref_multiple(rt, x + i * width, x + i * width, (double)weight[i], width);
}

void ar__ref_rows_weigh_bwd(const ar_runtime *rt, float *dweight, float *dx, const float *x, const float *weight, size_t rows,
                            size_t width) {
    for (size_t i = 0; i < rows; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < width; j++) sum += (double)dx[i * width + j] * (double)x[i * width + j];
        dweight[i] = (float)((double)dweight[i] + sum);
    }
    ar__ref_rows_weigh(rt, dx, weight, rows, width);
}

void ar__ref_rows_bias(const ar_runtime *rt, float *y, const float *weight, const float *bias, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++) y[i * width + j] = (float)((double)y[i * width + j] + (double)weight[i] * (double)bias[j]);
}

void ar__ref_rows_bias_bwd(const ar_runtime *rt, float *dweight, const float *dy, const float *bias, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < width; j++) sum += (double)dy[i * width + j] * (double)bias[j];
        dweight[i] = (float)((double)dweight[i] + sum);
    }
}

void ar__ref_sigmoid_fwd(const ar_runtime *rt, float *y, const float *x, size_t n) {
    (void)rt;
    for (size_t i = 0; i < n; i++) y[i] = (float)(1.0 / (1.0 + exp(-(double)x[i])));
}

void ar__ref_sigmoid_bwd(const ar_runtime *rt, float *dx, const float *y, const float *dy, size_t n) {
    (void)rt;
    for (size_t i = 0; i < n; i++) dx[i] = (float)((double)dy[i] * (double)y[i] * (1.0 - (double)y[i]));
}
