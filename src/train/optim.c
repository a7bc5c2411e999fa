#include "train/optim.h"

#include <math.h>

int64_t ar__warmup_steps(double warmup, int64_t steps) {
    if (warmup < 1.0) return (int64_t)ceil(warmup * (double)steps);
    return (int64_t)warmup;
}

double ar__rate_at(const ar_train_options *o, int64_t t, int64_t steps) {
    int64_t w = ar__warmup_steps(o->learner.warmup, steps);
    if (t <= w) return o->learner.lr * (double)t / (double)w;
    double p = (double)(t - w) / (double)(steps - w + 1);
    switch (o->learner.schedule) {
    case AR_SCHEDULE_COSINE: return o->learner.min_lr + (o->learner.lr - o->learner.min_lr) * (1.0 + cos(3.14159265358979323846 * p)) / 2.0;
    case AR_SCHEDULE_LINEAR: return o->learner.min_lr + (o->learner.lr - o->learner.min_lr) * (1.0 - p);
    case AR_SCHEDULE_CONSTANT: return o->learner.lr;
    }
    return o->learner.lr;
}

enum { STRETCH = 4096 };

static double square_sum(const ar_kernels *kn, const float *g, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i += STRETCH) sum += (double)kn->sum_squares(g + i, n - i < STRETCH ? n - i : STRETCH);
    return sum;
}

double ar__grad_norm(const ar_runtime *rt, const ar_trainables *t) {
    double total = 0.0;
    /* Ordered: each trainable's own sum is formed by one thread and added in list order. */
#pragma omp parallel for ordered num_threads(ar__team(rt, t->total)) schedule(static, 1)
    for (size_t i = 0; i < t->count; i++) {
        double sum = square_sum(&rt->kern, t->at[i].grad, t->at[i].count);
#pragma omp ordered
        total += sum;
    }
    return sqrt(total);
}

static void sgd(float *w, const float *g, size_t n, float rate, float decay, float grad_scale) {
    float shrink = 1.0f - rate * decay;
    for (size_t i = 0; i < n; i++) w[i] = w[i] * shrink - rate * (g[i] * grad_scale);
}

void ar__optim_step(const ar_runtime *rt, ar_trainables *list, const ar_train_options *o, double rate, int64_t t, double norm) {
    double clip = o->learner.clip > 0.0 ? fmin(1.0, o->learner.clip / (norm + 1e-6)) : 1.0;
    double bias1 = 1.0 - pow(o->learner.beta1, (double)t), bias2 = 1.0 - pow(o->learner.beta2, (double)t);
#pragma omp parallel num_threads(ar__team(rt, list->total * 4))
    for (size_t i = 0; i < list->count; i++) {
        ar_trainable *x = &list->at[i];
        double r = rate * x->rate_factor;
        ar_adamw_step st = {.step = (float)(r / bias1),
                            .shrink = (float)(1.0 - r * o->learner.weight_decay),
                            .beta2 = (float)o->learner.beta2,
                            .rest1 = (float)(1.0 - o->learner.beta1),
                            .rest2 = (float)(1.0 - o->learner.beta2),
                            .eps = (float)o->learner.eps,
                            .grad_scale = (float)clip,
                            .correction2 = (float)sqrt(bias2)};
#pragma omp for schedule(static) nowait
        for (size_t at = 0; at < x->count; at += STRETCH) {
            size_t n = x->count - at < STRETCH ? x->count - at : STRETCH;
            if (o->learner.optimizer == AR_OPTIMIZER_SGD)
                sgd(x->value + at, x->grad + at, n, (float)r, (float)o->learner.weight_decay, (float)clip);
            else
                rt->kern.adamw(x->value + at, x->m + at, x->v + at, x->grad + at, n, &st);
        }
    }
}
