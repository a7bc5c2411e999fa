/* How hard the adapter pushes: ||s B A||_F / ||W||_F, from r x r Gram matrices, never a dense product:
 *     ||B A||_F^2 = sum over i, j of (B^T B)_ij (A A^T)_ij */
#include <math.h>
#include <stdlib.h>

#include "adapter/algebra/figures.h"
#include "train/learner.h"

static double row_dot(const float *x, const float *y, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

double ar__pair_update_norm(const ar_pair *p) {
    size_t r = (size_t)p->rank, n = (size_t)p->n_out;
    double total = 0.0;
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j <= i; j++) {
            double b = 0.0, a = row_dot(p->a + i * (size_t)p->n_in, p->a + j * (size_t)p->n_in, (size_t)p->n_in);
            for (size_t q = 0; q < n; q++) b += (double)p->b[q * r + i] * (double)p->b[q * r + j];
            total += (i == j ? 1.0 : 2.0) * a * b;
        }
    return sqrt(total > 0.0 ? total : 0.0);
}

static double weight_norm(const ar_weight *w) {
    const ar_dtype_info *t = ar__dtype(w->type);
    size_t n = w->rows * w->cols;
    double sum = 0.0;
    float part[4096];
    for (size_t at = 0; at < n; at += 4096) {
        size_t len = n - at < 4096 ? n - at : 4096;
        t->to_f32(part, (const char *)w->data + at / t->block * t->bytes, len);
        sum += row_dot(part, part, len);
    }
    return sqrt(sum);
}

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
    for (size_t i = 0; l->adapter && i < l->adapter->pair_count; i++) {
        if (ar__pair_norms(&n, NULL, l->course->rt, l->adapter, &l->adapter->pair[i], NULL)) {
            l->rank_used = 0;
            return;
        }
        if (n.rank_99 > l->rank_used) l->rank_used = n.rank_99;
    }
}

double ar__learner_strength(ar_learner *l) {
    size_t n = l->adapter->pair_count;
    double sum = 0.0;
#pragma omp parallel for num_threads(l->course->rt->threads) schedule(static, 1)
    for (size_t i = 0; i < n; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        if (l->weight_norm[i] < 0.0) {
            ar_weight w = ar__model_weight(l->course->model, ar__model_find(l->course->model, p->site));
            l->weight_norm[i] = weight_norm(&w);
        }
        l->site_strength[i] = fabs(p->scale) * ar__pair_update_norm(p) / (l->weight_norm[i] > 0.0 ? l->weight_norm[i] : 1.0);
    }
    for (size_t i = 0; i < n; i++) sum += l->site_strength[i];
    return n ? sum / (double)n : 0.0;
}
