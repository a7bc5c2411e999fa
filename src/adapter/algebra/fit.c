#include "adapter/algebra/fit.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"

ar_status ar__rank_rule(ar_rank_rule *out, const ar_rank_choice *choice, ar_error *err) {
    *out = (ar_rank_rule){.rank = (size_t)choice->rank, .energy = choice->energy, .max_error = choice->max_error};
    if (choice->rank < 0) return ar__fail(err, AR_ERR_VALUE, "rank: found %d, wanted at least 1", choice->rank);
    if (!(choice->energy >= 0.0 && choice->energy <= 1.0))
        return ar__fail(err, AR_ERR_VALUE, "energy: found %g, wanted a share above 0 and at most 1", choice->energy);
    if (!(choice->max_error >= 0.0 && choice->max_error < 1.0))
        return ar__fail(err, AR_ERR_VALUE, "max-error: found %g, wanted a relative error above 0 and below 1", choice->max_error);
    return AR_OK;
}

ar_status ar__fit_add(ar_fit *report, const char *name, int rank, const ar_low_rank *x, ar_error *err) {
    ar_site_fit *list = ar__grow(report->sites, &report->cap, report->count + 1, sizeof *list);
    if (!list) return ar__fail_memory(err, name);
    double lost = x ? ar__lost_energy(x->sigma, x->count, x->rest, x->rank) : 0.0;
    report->sites = list;
    list[report->count++] = (ar_site_fit){.name = name, .rank = rank, .relative_error = sqrt(lost), .energy = 1.0 - lost};
    return AR_OK;
}

void ar_fit_release(ar_fit *fit) {
    free(fit->sites);
    *fit = (ar_fit){0};
}

static float times(float x, double factor) { return factor == 1.0 ? x : (float)((double)x * factor); }

void ar__pair_fill(ar_pair *p, const ar_low_rank *x, const ar_fill *how) {
    size_t n_out = (size_t)p->n_out, n_in = (size_t)p->n_in, rank = (size_t)p->rank, k = x->rank;
    for (size_t i = 0; i < n_out; i++)
        for (size_t j = 0; j < k; j++) p->b[i * rank + j] = times(how->transposed ? x->a[j * n_out + i] : x->b[i * k + j], how->to_b);
    for (size_t j = 0; j < k; j++)
        for (size_t i = 0; i < n_in; i++) p->a[j * n_in + i] = times(how->transposed ? x->b[i * k + j] : x->a[j * n_in + i], how->to_a);
}
