#include <math.h>

#include "ops/ref/pair.h"
#include "ops/ref/ref.h"

void ar__ref_weight_norms(const ar_runtime *rt, double *out, const ar_weight *w, size_t count) {
    (void)rt;
    for (size_t n = 0; n < count; n++) {
        double sum = 0.0;
        for (size_t i = 0; i < w[n].rows; i++)
            for (size_t j = 0; j < w[n].cols; j++) sum += ar__ref_weight(&w[n], i, j) * ar__ref_weight(&w[n], i, j);
        out[n] = sqrt(sum);
    }
}

/* (B A)_jk */
static double update_at(const ar_factors *f, size_t j, size_t k) {
    double sum = 0.0;
    for (size_t q = 0; q < f->rank; q++) sum += (double)f->b[j * f->rank + q] * (double)f->a[q * f->n_in + k];
    return sum;
}

void ar__ref_update_norms(const ar_runtime *rt, double *out, const ar_factors *f, size_t count) {
    (void)rt;
    for (size_t n = 0; n < count; n++) {
        double sum = 0.0;
        for (size_t j = 0; j < f[n].n_out; j++)
            for (size_t k = 0; k < f[n].n_in; k++) sum += update_at(&f[n], j, k) * update_at(&f[n], j, k);
        out[n] = sqrt(sum);
    }
}

ar_status ar__ref_row_squares(const ar_runtime *rt, double *out, const ar_weight *w, bool by_column) {
    (void)rt;
    for (size_t j = 0; j < (by_column ? w->cols : w->rows); j++) out[j] = 0.0;
    for (size_t i = 0; i < w->rows; i++)
        for (size_t j = 0; j < w->cols; j++) out[by_column ? j : i] += ar__ref_weight(w, i, j) * ar__ref_weight(w, i, j);
    return AR_OK;
}

void ar__ref_row_norms_measure(const ar_runtime *rt, ar_row_norms *out, const ar_factors *f, const ar_weight *w, bool by_column) {
    (void)rt;
    for (size_t j = 0; j < f->n_out; j++) {
        out->cross[j] = out->update2[j] = 0.0;
        for (size_t k = 0; k < f->n_in; k++) {
            double update = update_at(f, j, k);
            out->cross[j] += update * (by_column ? ar__ref_weight(w, k, j) : ar__ref_weight(w, j, k));
            out->update2[j] += update * update;
        }
    }
}

void ar__ref_dora_gains(const ar_runtime *rt, float *gain, float *inv_norm, const float *magnitude, const ar_row_norms *r, size_t n_out,
                        double s) {
    (void)rt;
    for (size_t j = 0; j < n_out; j++) {
        double norm = ar__row_norm(r, j, s);
        inv_norm[j] = (float)(1.0 / norm);
        gain[j] = (float)((double)magnitude[j] / norm);
    }
}
