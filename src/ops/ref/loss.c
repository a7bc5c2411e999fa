#include <math.h>

#include "ops/ref/ref.h"

static double capped(double logit, double cap) { return cap > 0.0 ? cap * tanh(logit / cap) : logit; }

static double capped_slope(double logit, double cap) {
    double t = cap > 0.0 ? tanh(logit / cap) : 0.0;
    return 1.0 - t * t;
}

static double log_sum_exp(const float *row, size_t vocab, double cap) {
    double top = -INFINITY, sum = 0.0;
    for (size_t j = 0; j < vocab; j++) top = fmax(top, capped((double)row[j], cap));
    for (size_t j = 0; j < vocab; j++) sum += exp(capped((double)row[j], cap) - top);
    return top + log(sum);
}

void ar__ref_cross_entropy(const ar_runtime *rt, float *nll, float *logits, const int32_t *targets, size_t rows, size_t vocab, double cap,
                           const float *grad_scale) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) {
        float *row = logits + i * vocab;
        double all = log_sum_exp(row, vocab, cap);
        nll[i] = (float)(all - capped((double)row[targets[i]], cap));
        for (size_t j = 0; grad_scale && j < vocab; j++) {
            double z = (double)row[j], hit = j == (size_t)targets[i] ? 1.0 : 0.0;
            row[j] = (float)((exp(capped(z, cap) - all) - hit) * (double)grad_scale[i] * capped_slope(z, cap));
        }
    }
}
