#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

enum { STRETCH = 2048 };

/* exp(x - top) in place; the sum in double over stretches, since a vocabulary is long. */
static double exp_all(const ar_kernels *kn, float *x, float top, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i += STRETCH) sum += (double)kn->exp_sum(x + i, top, ar__min(STRETCH, n - i));
    return sum;
}

static void plain_row(const ar_kernels *kn, float *nll, float *row, int32_t target, size_t vocab, const float *grad_scale) {
    float top = kn->max(row, vocab), hit = row[target];
    double sum = exp_all(kn, row, top, vocab);
    *nll = (float)(log(sum) + (double)top - (double)hit);
    if (!grad_scale) return;
    float each = (float)((double)*grad_scale / sum);
    for (size_t j = 0; j < vocab; j++) row[j] *= each;
    row[target] -= *grad_scale;
}

/* The capped row is needed until its slope, 1 - (z / cap)², is: exponentials are formed beside it, twice with a gradient. */
static void capped_row(const ar_kernels *kn, float *nll, float *row, int32_t target, size_t vocab, float cap, const float *grad_scale) {
    float part[STRETCH];
    double sum = 0.0;
    kn->softcap(row, cap, vocab);
    float top = kn->max(row, vocab), hit = row[target];
    for (size_t i = 0; i < vocab; i += STRETCH) {
        size_t n = ar__min(STRETCH, vocab - i);
        memcpy(part, row + i, n * sizeof *part);
        sum += (double)kn->exp_sum(part, top, n);
    }
    *nll = (float)(log(sum) + (double)top - (double)hit);
    if (!grad_scale) return;
    float each = (float)((double)*grad_scale / sum);
    for (size_t i = 0; i < vocab; i += STRETCH) {
        size_t n = ar__min(STRETCH, vocab - i);
        memcpy(part, row + i, n * sizeof *part);
        kn->exp_sum(part, top, n);
        for (size_t j = 0; j < n; j++) {
            float t = row[i + j] / cap;
            row[i + j] = part[j] * each * (1.0f - t * t);
        }
    }
    row[target] -= *grad_scale * (1.0f - hit / cap * (hit / cap));
}

void ar__cpu_cross_entropy(const ar_runtime *rt, float *nll, float *logits, const int32_t *targets, size_t rows, size_t vocab, double cap,
                           const float *grad_scale) {
#pragma omp parallel for num_threads(ar__team(rt, rows *vocab)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        const float *by = grad_scale ? grad_scale + i : NULL;
        if (cap > 0.0)
            capped_row(&rt->kern, nll + i, logits + i * vocab, targets[i], vocab, (float)cap, by);
        else
            plain_row(&rt->kern, nll + i, logits + i * vocab, targets[i], vocab, by);
    }
}
