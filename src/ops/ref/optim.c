#include <math.h>

#include "ops/ref/ref.h"

double ar__ref_grad_norm(const ar_runtime *rt, const ar_trainable *list, size_t count) {
    double sum = 0.0;
    (void)rt;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].count; j++) sum += (double)list[i].grad[j] * (double)list[i].grad[j];
    return sqrt(sum);
}

static void adamw(ar_trainable *x, size_t j, const ar_update *u) {
    double g = (double)x->grad[j] * u->grad_scale, rate = u->rate * x->rate_factor;
    double m = u->beta1 * (double)x->m[j] + (1.0 - u->beta1) * g, v = u->beta2 * (double)x->v[j] + (1.0 - u->beta2) * g * g;
    double bias1 = 1.0 - pow(u->beta1, (double)u->t), bias2 = 1.0 - pow(u->beta2, (double)u->t);
    x->value[j] = (float)((double)x->value[j] * (1.0 - rate * u->decay) - rate / bias1 * m / (sqrt(v) / sqrt(bias2) + u->eps));
    x->m[j] = (float)m;
    x->v[j] = (float)v;
}

static void sgd(ar_trainable *x, size_t j, const ar_update *u) {
    double rate = u->rate * x->rate_factor;
    x->value[j] = (float)((double)x->value[j] * (1.0 - rate * u->decay) - rate * (double)x->grad[j] * u->grad_scale);
}

void ar__ref_update(const ar_runtime *rt, ar_trainable *list, size_t count, const ar_update *u) {
    (void)rt;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].count; j++) {
            if (u->sgd)
                sgd(&list[i], j, u);
            else
                adamw(&list[i], j, u);
        }
}

void ar__ref_zero_grads(const ar_runtime *rt, ar_trainable *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        ar__ref_zero_rows(rt, list[i].grad, 1, list[i].count);
        if (list[i].grad_tied) ar__ref_zero_rows(rt, list[i].grad_tied, 1, list[i].count);
    }
}

void ar__ref_join_grads(const ar_runtime *rt, ar_trainable *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (list[i].grad_tied) ar__ref_add(rt, list[i].grad, list[i].grad_tied, list[i].count);
}

void ar__ref_zero_bytes(const ar_runtime *rt, void *memory, size_t bytes) {
    char *p = memory;
    (void)rt;
    for (size_t i = 0; i < bytes; i++) p[i] = 0;
}
