#include "ops/loss.h"

#include <math.h>

/* exp(x - top) in place; the sum in double over stretches, since a vocabulary is long. */
static double exp_all(const ar_kernels *kn, float *x, float top, size_t n) {
    enum { STRETCH = 2048 };
    double sum = 0.0;
    for (size_t i = 0; i < n; i += STRETCH) sum += (double)kn->exp_sum(x + i, top, n - i < STRETCH ? n - i : STRETCH);
    return sum;
}

void ar__cross_entropy(const ar_runtime *rt, float *nll, float *logits, const int32_t *targets, size_t rows, size_t vocab,
                       const float *grad_scale) {
#pragma omp parallel for num_threads(ar__team(rt, rows *vocab)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        float *row = logits + i * vocab, top = rt->kern.max(row, vocab), hit = row[targets[i]];
        double sum = exp_all(&rt->kern, row, top, vocab);
        nll[i] = (float)(log(sum) + (double)top - (double)hit);
        if (!grad_scale) continue;
        float each = (float)((double)grad_scale[i] / sum);
        for (size_t j = 0; j < vocab; j++) row[j] *= each;
        row[targets[i]] -= grad_scale[i];
    }
}
