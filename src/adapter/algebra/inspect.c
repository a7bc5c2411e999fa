/* What an adapter is: figures per site and in total.  What is odd about it: warnings.c. */
#include <math.h>
#include <stdlib.h>

#include "adapter/algebra/figures.h"
#include "adapter/algebra/warnings.h"
#include "alphar/algebra.h"
#include "base/fail.h"
#include "base/mem.h"

static ar_status inspect_site(ar_site_figures *out, ar_adapter *ad, size_t i, const ar_runtime *rt, const ar_base *base, ar_error *err) {
    ar_pair *p = &ad->pair[i];
    ar_norms n;
    double *singular = ar__alloc((size_t)p->rank, sizeof *singular);
    ar_status s = singular ? ar__pair_norms(&n, singular, rt, ad, p, err) : ar__fail_memory(err, p->site);
    if (s) {
        free(singular);
        return s;
    }
    for (int k = 0; k < p->rank; k++) singular[k] *= fabs(p->scale);
    *out = (ar_site_figures){.site = ar_adapter_site(ad, (int)i),
                             .norm_a = n.a,
                             .norm_b = n.b,
                             .norm_update = fabs(p->scale) * n.update,
                             .norm_weight = NAN,
                             .strength = NAN,
                             .stable_rank = n.largest > 0 ? (n.update / n.largest) * (n.update / n.largest) : 0,
                             .rank_90 = n.rank_90,
                             .rank_99 = n.rank_99,
                             .singular = singular,
                             .norm_noise = NAN,
                             .over_noise = NAN};
    if (!base) return AR_OK;
    s = ar__site_weight_norm(&out->norm_weight, base, p, err);
    /* A weight that a GGUF base has only inside another is not packed: it is missing. */
    bool packed = ar__base_info(base)->quantised || (ar__base_info(base)->is_gguf && ar__base_find(base, p->site));
    if (s == AR_ERR_UNSUPPORTED && packed) return AR_OK; /* the rest needs no weights */
    if (s) return s;
    out->strength = out->norm_weight > 0 ? out->norm_update / out->norm_weight : NAN;
    return AR_OK;
}

static void add_up(ar_inspection *x) {
    double squares = 0, strengths = 0;
    for (size_t i = 0; i < x->count; i++) {
        const ar_site_figures *f = &x->sites[i];
        x->parameters += (double)f->site.rank * (double)(f->site.n_in + f->site.n_out);
        squares += f->norm_update * f->norm_update;
        strengths += f->strength;
        if (!i || f->site.scale < x->scale_min) x->scale_min = f->site.scale;
        if (!i || f->site.scale > x->scale_max) x->scale_max = f->site.scale;
        if (!i || f->site.rank < x->rank_min) x->rank_min = f->site.rank;
        if (!i || f->site.rank > x->rank_max) x->rank_max = f->site.rank;
    }
    x->norm_update = sqrt(squares);
    x->strength = x->count ? strengths / (double)x->count : NAN;
}

static ar_status inspect(ar_inspection *x, ar_adapter *ad, const ar_runtime *rt, const ar_base *base, ar_error *err) {
    x->sites = ar__alloc(ad->pair_count, sizeof *x->sites);
    if (!x->sites) return ar__fail_memory(err, "inspection");
    while (x->count < ad->pair_count) {
        ar_status s = inspect_site(&x->sites[x->count], ad, x->count, rt, base, err);
        if (x->sites[x->count].singular) x->count++;
        if (s) return s;
    }
    add_up(x);
    return ar__inspection_warn(x, ad, base, err);
}

ar_status ar_adapter_inspect(ar_inspection *out, ar_adapter *ad, const ar_runtime *rt, const char *model, ar_error *err) {
    ar_base *base = NULL;
    *out = (ar_inspection){0};
    AR_ONE_CALL(rt, err);
    ar_status s = model ? ar__base_open(&base, model, err) : AR_OK;
    if (base) ar__base_warn_head(base, &rt->log);
    if (!s) s = inspect(out, ad, rt, base, err);
    ar__base_close(base);
    if (s) ar_inspection_release(out);
    return s;
}

void ar_inspection_release(ar_inspection *x) {
    for (size_t i = 0; i < x->count; i++) free(x->sites[i].singular);
    free(x->sites);
    for (size_t i = 0; i < x->warning_count; i++) free(x->warnings[i].text);
    free(x->warnings);
    *x = (ar_inspection){0};
}
