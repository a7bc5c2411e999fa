/* The weight that a pair sits on. */
#include "adapter/base_weights.h"
#include "adapter/formats.h"
#include "base/fail.h"

ar_status ar__base_need(const ar_base_weight **out, const ar_base *base, const ar_pair *p, ar_error *err) {
    const ar_base_weight *w = ar__base_find(base, p->site);
    int64_t rows = p->is_embedding ? p->n_in : p->n_out, columns = p->is_embedding ? p->n_out : p->n_in;
    *out = w;
    if (!w) return ar__fail(err, AR_ERR_MISMATCH, "site '%s': the base has no such weight: the adapter was made for another base", p->site);
    if (w->n_out == rows && w->n_in == columns) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "site '%s': the adapter is for a weight of [%lld, %lld], the base has [%lld, %lld]: it was made for another base",
                    p->site, (long long)rows, (long long)columns, (long long)w->n_out, (long long)w->n_in);
}
