#include "train/schedule.h"

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

ar_update ar__update_at(const ar_train_options *o, double rate, int64_t t, double norm) {
    const ar_learner_options *l = &o->learner;
    return (ar_update){.sgd = l->optimizer == AR_OPTIMIZER_SGD,
                       .rate = rate,
                       .decay = l->weight_decay,
                       .beta1 = l->beta1,
                       .beta2 = l->beta2,
                       .eps = l->eps,
                       .grad_scale = l->clip > 0.0 ? fmin(1.0, l->clip / (norm + 1e-6)) : 1.0,
                       .t = t};
}
