#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { STRETCH = 4096, ZERO_STRETCH = 2 << 20 };

static size_t total_of(const ar_trainable *list, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += list[i].count;
    return n;
}

static double square_sum(const ar_kernels *kn, const float *g, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i += STRETCH) sum += (double)kn->sum_squares(g + i, n - i < STRETCH ? n - i : STRETCH);
    return sum;
}

double ar__cpu_grad_norm(const ar_runtime *rt, const ar_trainable *list, size_t count) {
    double total = 0.0;
    /* Ordered: each tensor's own sum is formed by one thread and added in list order. */
#pragma omp parallel for ordered num_threads(ar__team(rt, total_of(list, count))) schedule(static, 1)
    for (size_t i = 0; i < count; i++) {
        double sum = square_sum(&rt->kern, list[i].grad, list[i].count);
#pragma omp ordered
        total += sum;
    }
    return sqrt(total);
}

static void sgd(float *w, const float *g, size_t n, float rate, float decay, float grad_scale) {
    float shrink = 1.0f - rate * decay;
    for (size_t i = 0; i < n; i++) w[i] = w[i] * shrink - rate * (g[i] * grad_scale);
}

void ar__cpu_update(const ar_runtime *rt, ar_trainable *list, size_t count, const ar_update *u) {
    double bias1 = 1.0 - pow(u->beta1, (double)u->t), bias2 = 1.0 - pow(u->beta2, (double)u->t);
#pragma omp parallel num_threads(ar__team(rt, total_of(list, count) * 4))
    for (size_t i = 0; i < count; i++) {
        ar_trainable *x = &list[i];
        double rate = u->rate * x->rate_factor;
        ar_adamw_step st = {.step = (float)(rate / bias1),
                            .shrink = (float)(1.0 - rate * u->decay),
                            .beta2 = (float)u->beta2,
                            .rest1 = (float)(1.0 - u->beta1),
                            .rest2 = (float)(1.0 - u->beta2),
                            .eps = (float)u->eps,
                            .grad_scale = (float)u->grad_scale,
                            .correction2 = (float)sqrt(bias2)};
#pragma omp for schedule(static) nowait
        for (size_t at = 0; at < x->count; at += STRETCH) {
            size_t n = x->count - at < STRETCH ? x->count - at : STRETCH;
            if (u->sgd)
                sgd(x->value + at, x->grad + at, n, (float)rate, (float)u->decay, (float)u->grad_scale);
            else
                rt->kern.adamw(x->value + at, x->m + at, x->v + at, x->grad + at, n, &st);
        }
    }
}

void ar__cpu_zero_grads(const ar_runtime *rt, ar_trainable *list, size_t count) {
#pragma omp parallel for num_threads(ar__team(rt, total_of(list, count))) schedule(dynamic, 1)
    for (size_t i = 0; i < count; i++) {
        memset(list[i].grad, 0, list[i].count * sizeof(float));
        if (list[i].grad_tied) memset(list[i].grad_tied, 0, list[i].count * sizeof(float));
    }
}

void ar__cpu_join_grads(const ar_runtime *rt, ar_trainable *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (list[i].grad_tied) rt->kern.axpy(list[i].grad, 1.0f, list[i].grad_tied, list[i].count);
}

void ar__cpu_zero_bytes(const ar_runtime *rt, void *memory, size_t bytes) {
    char *p = memory;
#pragma omp parallel for num_threads(ar__team(rt, bytes / 4)) schedule(static)
    for (size_t at = 0; at < bytes; at += ZERO_STRETCH) memset(p + at, 0, bytes - at < ZERO_STRETCH ? bytes - at : ZERO_STRETCH);
}
