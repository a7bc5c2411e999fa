#include "adapter/algebra/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/formats.h"
#include "base/fail.h"
#include "base/mem.h"
#include "ops/linalg.h"

static double trace_root(const double *g, size_t r) {
    double sum = 0;
    for (size_t i = 0; i < r; i++) sum += g[i * r + i];
    return sqrt(sum);
}

static int rank_holding(const double *sigma, size_t r, double energy) {
    return (int)ar__rank_for(&(ar_rank_rule){.energy = energy}, sigma, r, 0);
}

static ar_status norms_loaded(ar_norms *out, double *singular, const ar_runtime *rt, const ar_pair *p, double *work, ar_error *err) {
    size_t r = (size_t)p->rank;
    double *rows = work, *columns = work + r * r, *sigma = work + 2 * r * r;
    ar_status s;
    if ((s = ar__gram_rows(rows, rt, p->a, r, (size_t)p->n_in, err)) ||
        (s = ar__gram_columns(columns, rt, p->b, (size_t)p->n_out, r, err)) || (s = ar__update_spectrum(sigma, rows, columns, r, err)))
        return ar__fail_at(err, s, p->site);
    *out = (ar_norms){.a = trace_root(rows, r), .b = trace_root(columns, r), .update = sqrt(ar__update_norm2(rows, columns, r))};
    out->largest = sigma[0];
    if (singular) memcpy(singular, sigma, r * sizeof *sigma);
    if (out->update > 0) {
        out->rank_90 = rank_holding(sigma, r, 0.90);
        out->rank_99 = rank_holding(sigma, r, 0.99);
    }
    return AR_OK;
}

ar_status ar__pair_norms(ar_norms *out, double *singular, const ar_runtime *rt, const ar_adapter *ad, ar_pair *p, ar_error *err) {
    size_t r = (size_t)p->rank, n;
    bool keep = p->a && p->b;
    double *work = ar__mul(&n, r, 2 * r + 1) ? ar__alloc(n, sizeof *work) : NULL;
    ar_status s = work ? ar__pair_load(ad, p, err) : ar__fail_memory(err, p->site);
    if (!s) s = norms_loaded(out, singular, rt, p, work, err);
    if (!keep) ar__pair_unload(p);
    free(work);
    return s;
}

/* Of matrices apart, and of one in a stack: to the base a row of it. */
static ar_status expert_norm2(double *out, const ar_base *base, const ar_base_weight *w, const ar_pair *p, ar_error *err) {
    if (w->dims < 3) {
        const ar_base_weight *more = ar__base_expert_part(base, p, 1);
        double second = 0;
        ar_status s = ar__base_norm2(out, base, w, err);
        if (!s && more) s = ar__base_norm2(&second, base, more, err);
        *out += second;
        return s;
    }
    size_t n = (size_t)w->n_in;
    float *x = ar__alloc(n, sizeof *x);
    ar_status s = x ? ar__base_read_rows(x, base, w, p->expert, 1, err) : ar__fail_memory(err, p->site);
    *out = 0;
    for (size_t i = 0; !s && i < n; i++) *out += (double)x[i] * (double)x[i];
    free(x);
    return s;
}

ar_status ar__site_weight_norm(double *out, const ar_base *base, const ar_pair *p, ar_error *err) {
    const ar_base_weight *w;
    double norm2;
    ar_status s = ar__base_need(&w, base, p, err);
    if (!s) s = ar__pair_in_stack(p) ? expert_norm2(&norm2, base, w, p, err) : ar__base_norm2(&norm2, base, w, err);
    if (!s) *out = sqrt(norm2);
    return s;
}
