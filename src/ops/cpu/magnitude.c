#include "ops/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double row_dot(const float *x, const float *y, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static double weight_norm(const ar_weight *w) {
    enum { PART = 4096 };
    const ar_dtype_info *t = ar__dtype(w->type);
    size_t n = w->rows * w->cols;
    double sum = 0.0;
    float part[PART];
    for (size_t at = 0; at < n; at += PART) {
        size_t len = n - at < PART ? n - at : PART;
        t->to_f32(part, (const char *)w->data + at / t->block * t->bytes, len);
        sum += row_dot(part, part, len);
    }
    return sqrt(sum);
}

void ar__cpu_weight_norms(const ar_runtime *rt, double *out, const ar_weight *w, size_t count) {
#pragma omp parallel for num_threads(rt->threads) schedule(static, 1)
    for (size_t i = 0; i < count; i++) out[i] = weight_norm(&w[i]);
}

static double update_norm(const ar_factors *f) {
    size_t r = f->rank;
    double total = 0.0;
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j <= i; j++) {
            double b = 0.0, a = row_dot(f->a + i * f->n_in, f->a + j * f->n_in, f->n_in);
            for (size_t q = 0; q < f->n_out; q++) b += (double)f->b[q * r + i] * (double)f->b[q * r + j];
            total += (i == j ? 1.0 : 2.0) * a * b;
        }
    return sqrt(total > 0.0 ? total : 0.0);
}

void ar__cpu_update_norms(const ar_runtime *rt, double *out, const ar_factors *f, size_t count) {
#pragma omp parallel for num_threads(rt->threads) schedule(static, 1)
    for (size_t i = 0; i < count; i++) out[i] = update_norm(&f[i]);
}

ar_status ar__cpu_row_squares(const ar_runtime *rt, double *out, const ar_weight *w, bool by_column) {
    (void)rt;
    const ar_dtype_info *t = ar__dtype(w->type);
    size_t row_bytes = w->cols / t->block * t->bytes;
    float *row = malloc(w->cols * sizeof *row);
    if (!row) return AR_ERR_MEMORY;
    for (size_t i = 0; i < w->rows; i++) {
        t->to_f32(row, (const char *)w->data + i * row_bytes, w->cols);
        double sum = 0.0;
        for (size_t j = 0; j < w->cols; j++) {
            double square = (double)row[j] * (double)row[j];
            if (by_column)
                out[j] += square;
            else
                sum += square;
        }
        if (!by_column) out[i] = sum;
    }
    free(row);
    return AR_OK;
}

void ar__cpu_row_norms_measure(const ar_runtime *rt, ar_row_norms *out, const ar_factors *f, const ar_weight *w, bool by_column) {
    size_t r = f->rank, n = f->n_out, k = f->n_in;
    if (by_column)
        ar__gemm_dyw(rt, out->aw, f->a, w->data, w->type, r, k, n, false);
    else
        ar__gemm_xwt(rt, out->aw, f->a, w->data, w->type, r, n, k, false);
    memset(out->update2, 0, n * sizeof(double));
    memset(out->cross, 0, n * sizeof(double));
    for (size_t a = 0; a < r; a++) {
        for (size_t j = 0; j < n; j++) out->cross[j] += (double)f->b[j * r + a] * (double)out->aw[a * n + j];
        for (size_t b = 0; b <= a; b++) {
            double g = row_dot(f->a + a * k, f->a + b * k, k);
            if (a != b) g *= 2.0;
            for (size_t j = 0; j < n; j++) out->update2[j] += g * (double)f->b[j * r + a] * (double)f->b[j * r + b];
        }
    }
}

void ar__cpu_dora_gains(const ar_runtime *rt, float *gain, float *inv_norm, const float *magnitude, const ar_row_norms *r, size_t n_out,
                        double s) {
    (void)rt;
    for (size_t j = 0; j < n_out; j++) {
        double norm = ar__row_norm(r, j, s);
        inv_norm[j] = (float)(1.0 / norm);
        gain[j] = (float)((double)magnitude[j] / norm);
    }
}
