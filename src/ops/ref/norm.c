#include <math.h>

#include "ops/ref/ref.h"

/* What is taken off x: its mean under LayerNorm. */
static double centre_of(const ar_norm *norm, const float *x, size_t n) {
    double sum = 0.0;
    for (size_t j = 0; norm->centred && j < n; j++) sum += (double)x[j];
    return sum / (double)n;
}

static double inverse_deviation(const ar_norm *norm, const float *x, double centre, size_t n) {
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) sum += ((double)x[j] - centre) * ((double)x[j] - centre);
    return 1.0 / sqrt(sum / (double)n + (double)norm->eps);
}

static double gain_of(const ar_norm *norm, const float *w, size_t j) { return (double)w[j] + (double)norm->offset; }

static void apply(float *y, const ar_norm *norm, const float *w, const float *x, double centre, double r, size_t n) {
    for (size_t j = 0; j < n; j++) y[j] = (float)(gain_of(norm, w, j) * ((double)x[j] - centre) * r + (norm->b ? (double)norm->b[j] : 0.0));
}

void ar__ref_norm_fwd(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, const float *x, size_t rows, size_t n) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) {
        double centre = centre_of(norm, x + i * n, n), kept = inverse_deviation(norm, x + i * n, centre, n);
        apply(y + i * n, norm, ar__norm_weights(norm, i, n), x + i * n, centre, kept, n);
        if (r) r[i] = (float)kept;
    }
}

void ar__ref_norm_fwd_add(const ar_runtime *rt, float *y, float *r, const ar_norm *norm, float *sum, const float *add, size_t rows,
                          size_t n) {
    ar__ref_add(rt, sum, add, rows * n);
    ar__ref_norm_fwd(rt, y, r, norm, sum, rows, n);
}

void ar__ref_norm_again(const ar_runtime *rt, float *y, const float *r, const ar_norm *norm, const float *x, size_t rows, size_t n) {
    (void)rt;
    for (size_t i = 0; i < rows; i++)
        apply(y + i * n, norm, ar__norm_weights(norm, i, n), x + i * n, centre_of(norm, x + i * n, n), (double)r[i], n);
}

static void weight_grads(const ar_norm *norm, const float *dy, const float *x, const float *r, size_t rows, size_t n) {
    for (size_t j = 0; j < n; j++) {
        double dw = 0.0, db = 0.0;
        for (size_t i = 0; i < rows; i++) {
            dw += (double)dy[i * n + j] * ((double)x[i * n + j] - centre_of(norm, x + i * n, n)) * (double)r[i];
            db += (double)dy[i * n + j];
        }
        if (norm->dw) norm->dw[j] = (float)((double)norm->dw[j] + dw);
        if (norm->db) norm->db[j] = (float)((double)norm->db[j] + db);
    }
}

/* dx may be dy: the sums come first. */
static void row_bwd(float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *w, const float *x, double r, size_t n) {
    double centre = centre_of(norm, x, n), mean_g = 0.0, mean_gc = 0.0;
    for (size_t j = 0; j < n; j++) {
        double g = gain_of(norm, w, j) * (double)dy[j] / (double)n;
        if (norm->centred) mean_g += g;
        mean_gc += g * ((double)x[j] - centre);
    }
    for (size_t j = 0; j < n; j++) {
        double v = r * (gain_of(norm, w, j) * (double)dy[j] - mean_g - ((double)x[j] - centre) * r * r * mean_gc);
        dx[j] = (float)(accumulate ? (double)dx[j] + v : v);
    }
}

void ar__ref_norm_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x,
                      const float *r, const ar_rows *rows, size_t per_row, size_t n) {
    (void)rt;
    if (norm->dw || norm->db) weight_grads(norm, dy, x, r, rows->count * per_row, n);
    for (size_t i = 0; dx && i < rows->count * per_row; i++)
        row_bwd(dx + i * n, accumulate, dy + i * n, norm, ar__norm_weights(norm, i, n), x + i * n, (double)r[i], n);
}
