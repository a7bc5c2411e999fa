/* How hard the adapter pushes: ||s B A||_F / ||W||_F. */
#include <math.h>
#include <stdlib.h>

#include "adapter/algebra/figures.h"
#include "train/learner.h"

void ar__learner_scales(double *least, double *most, const ar_learner *l) {
    *least = *most = l->adapter->pair[0].scale;
    for (size_t i = 1; i < l->adapter->pair_count; i++) {
        *least = fmin(*least, l->adapter->pair[i].scale);
        *most = fmax(*most, l->adapter->pair[i].scale);
    }
}

void ar__learner_measure_rank(ar_learner *l) {
    ar_norms n;
    l->rank_used = 0;
    ar__trainables_get(&l->list);
    for (size_t i = 0; l->adapter && i < l->adapter->pair_count; i++) {
        if (ar__pair_norms(&n, NULL, l->course->rt, l->adapter, &l->adapter->pair[i], NULL)) {
            l->rank_used = 0;
            return;
        }
        if (n.rank_99 > l->rank_used) l->rank_used = n.rank_99;
    }
}

/* Of experts' gate and up together the two are one matrix. */
static void measure_weights(ar_learner *l, size_t n) {
    const ar_runtime *rt = l->course->rt;
    rt->ops->weight_norms(rt, l->weight_norm, l->weights, n);
    for (size_t i = 0; i < n; i++) {
        double second;
        if (l->attachment->second[i] == SIZE_MAX) continue;
        ar_weight w = ar__model_weight(l->course->model, l->attachment->second[i]);
        rt->ops->weight_norms(rt, &second, &w, 1);
        l->weight_norm[i] = hypot(l->weight_norm[i], second);
    }
}

double ar__learner_strength(ar_learner *l) {
    const ar_runtime *rt = l->course->rt;
    const ar_model *m = l->course->model;
    size_t n = l->adapter->pair_count;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        l->factors[i] = (ar_factors){p->a, p->b, (size_t)p->rank, (size_t)p->n_in, (size_t)p->n_out};
        l->weights[i] = ar__model_weight(m, l->attachment->module[i]);
    }
    if (n && l->weight_norm[0] < 0.0) measure_weights(l, n);
    rt->ops->update_norms(rt, l->site_strength, l->factors, n);
    for (size_t i = 0; i < n; i++) {
        l->site_strength[i] = fabs(l->adapter->pair[i].scale) * l->site_strength[i] / (l->weight_norm[i] > 0.0 ? l->weight_norm[i] : 1.0);
        sum += l->site_strength[i];
    }
    return n ? sum / (double)n : 0.0;
}
