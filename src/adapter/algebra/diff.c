/* How far apart two adapters' updates are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/algebra/compare.h"
#include "adapter/algebra/likeness.h"
#include "alphar/algebra.h"
#include "base/fail.h"
#include "base/mem.h"

/* s·B·A says all about a pair only without DoRA; with equal magnitudes it says all about the difference. */
static ar_status check_magnitudes(const ar_pair *x, const ar_pair *y, ar_error *err) {
    if (!x->magnitude && !y->magnitude) return AR_OK;
    bool same = x->magnitude && y->magnitude && x->n_out == y->n_out &&
                !memcmp(x->magnitude, y->magnitude, (size_t)x->n_out * sizeof *x->magnitude);
    return same ? AR_OK
                : ar__fail(err, AR_ERR_UNSUPPORTED,
                           "site '%s': DoRA magnitudes differ (or only one adapter has them), so s·B·A does not tell the adapters apart; "
                           "merge both and compare the models",
                           x->site);
}

static void find_lonely(const char **out, size_t *count, const ar_adapter *from, const ar_adapter *in) {
    for (size_t i = 0; i < from->pair_count; i++)
        if (!ar__adapter_find_pair(in, from->pair[i].site)) out[(*count)++] = from->pair[i].site;
}

static ar_status compare_sites(ar_difference *out, ar_adapter *a, ar_adapter *b, const ar_runtime *rt, ar_error *err) {
    for (size_t i = 0; i < a->pair_count; i++) {
        ar_pair *x = &a->pair[i], *y = ar__adapter_find_pair(b, x->site);
        ar_distance d;
        if (!y) continue;
        ar_status s = check_magnitudes(x, y, err);
        if (!s) s = ar__pair_distance(&d, rt, a, x, b, y, err);
        if (s) return s;
        ar_site_difference *site = &out->sites[out->count++];
        *site = (ar_site_difference){.name = x->site, .relative = d.relative, .max_abs = d.max_abs};
        site->norm_noise = site->over_noise = site->over_noise_a = site->over_noise_b = NAN;
        if ((s = ar__pair_likeness(site, rt, a, x, b, y, err))) return s;
        if (!(d.relative <= out->max_relative)) out->max_relative = d.relative;
    }
    return AR_OK;
}

ar_status ar_adapter_diff(ar_difference *out, ar_adapter *a, ar_adapter *b, const ar_runtime *rt, ar_error *err) {
    *out = (ar_difference){0};
    AR_ONE_CALL(rt, err);
    out->sites = ar__alloc(a->pair_count, sizeof *out->sites);
    out->only_in_a = ar__alloc(a->pair_count, sizeof *out->only_in_a);
    out->only_in_b = ar__alloc(b->pair_count, sizeof *out->only_in_b);
    ar_status s = out->sites && out->only_in_a && out->only_in_b ? AR_OK : ar__fail_memory(err, "difference");
    if (!s) {
        find_lonely(out->only_in_a, &out->only_in_a_count, a, b);
        find_lonely(out->only_in_b, &out->only_in_b_count, b, a);
        s = compare_sites(out, a, b, rt, err);
    }
    if (s)
        ar_difference_release(out);
    else
        ar__diff_conclude(out, a, b);
    return s;
}

void ar_difference_release(ar_difference *x) {
    free(x->sites);
    free(x->only_in_a);
    free(x->only_in_b);
    *x = (ar_difference){0};
}
