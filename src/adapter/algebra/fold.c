#include "adapter/algebra/fold.h"

#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

static ar_status fold_pair(ar_adapter *out, const ar_adapter *ad, const ar_pair *p, ar_error *err) {
    ar_pair *q;
    ar_pair_shape shape = ar__pair_shape_of(p);
    shape.policy = AR_POLICY_STANDARD;
    shape.alpha = p->rank;
    ar_status s = ar__adapter_add_pair(&q, out, &shape, err);
    if (!s) s = ar__factor_read(q->a, ad, p, AR_FACTOR_A, err);
    if (!s) s = ar__factor_read(q->b, ad, p, AR_FACTOR_B, err);
    if (s) return s;
    size_t n = ar__factor_rows(p, AR_FACTOR_B) * ar__factor_columns(p, AR_FACTOR_B);
    for (size_t i = 0; i < n; i++) q->b[i] = (float)(p->scale * (double)q->b[i]);
    if (p->magnitude) memcpy(q->magnitude, p->magnitude, (size_t)p->n_out * sizeof *p->magnitude);
    for (int64_t i = 0; p->b_bias && i < p->n_out; i++) q->b_bias[i] = (float)(p->scale * (double)p->b_bias[i]);
    return ar__pair_settle(out, q, err);
}

static ar_status fold_all(ar_adapter *out, const ar_adapter *ad, const char *dir, ar_error *err) {
    ar_status s = ar__adapter_copy_settings(out, ad, err);
    if (!s) s = ar__adapter_use_spool(out, dir, err);
    for (size_t i = 0; !s && i < ad->pair_count; i++) s = fold_pair(out, ad, &ad->pair[i], err);
    if (!s) s = ar__adapter_copy_wholes(out, ad, err);
    out->settings.policy = AR_POLICY_STANDARD;
    out->settings.alpha = out->settings.rank;
    return s;
}

ar_status ar__adapter_folded(ar_adapter **out, const ar_adapter *ad, const char *dir, ar_error *err) {
    *out = NULL;
    ar_adapter *copy;
    ar_status s = ar__adapter_new(&copy, err);
    if (!s && (s = fold_all(copy, ad, dir, err))) ar_adapter_free(copy);
    if (!s) *out = copy;
    return s;
}
