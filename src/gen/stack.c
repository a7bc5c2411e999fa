#include "gen/stack.h"

#include <string.h>

#include "base/fail.h"

static ar_status check(const ar_adapter *ad, ar_error *err) {
    if (ad->whole_count)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "several adapters: one holds the whole tensor '%s', which does not add; give it alone",
                        ad->whole[0].name);
    for (size_t i = 0; i < ad->pair_count; i++)
        if (ad->pair[i].magnitude || ad->pair[i].b_bias)
            return ar__fail(err, AR_ERR_UNSUPPORTED, "several adapters: '%s' has DoRA or a bias on B, which does not add; give it alone",
                            ad->pair[i].site);
    return AR_OK;
}

/* Rows of A and scaled columns of B behind the `first` ones already there. */
static void lay_beside(ar_pair *to, const ar_pair *from, size_t first) {
    size_t r = (size_t)to->rank, r0 = (size_t)from->rank, n_in = (size_t)from->n_in;
    memcpy(to->a + first * n_in, from->a, r0 * n_in * sizeof *to->a);
    for (size_t i = 0; i < (size_t)from->n_out; i++)
        for (size_t j = 0; j < r0; j++) to->b[i * r + first + j] = (float)(from->scale * (double)from->b[i * r0 + j]);
}

static ar_status stack_site(ar_adapter *out, const ar_pair *like, ar_adapter *const *adapters, int count, ar_error *err) {
    int rank = 0;
    for (int k = 0; k < count; k++) {
        const ar_pair *p = ar__adapter_find_pair(adapters[k], like->site);
        if (p && (p->n_in != like->n_in || p->n_out != like->n_out))
            return ar__fail(err, AR_ERR_MISMATCH, "several adapters: '%s' has other shapes in one than in another", like->site);
        rank += p ? p->rank : 0;
    }
    ar_pair *to;
    ar_pair_shape shape = {.site = like->site, .n_in = like->n_in, .n_out = like->n_out, .rank = rank, .alpha = rank};
    shape.is_embedding = like->is_embedding;
    shape.expert = like->expert;
    shape.experts = like->experts;
    shape.is_apart = like->is_apart;
    ar_status s = ar__adapter_add_pair(&to, out, &shape, err);
    size_t first = 0;
    for (int k = 0; !s && k < count; k++) {
        const ar_pair *p = ar__adapter_find_pair(adapters[k], like->site);
        if (!p) continue;
        lay_beside(to, p, first);
        first += (size_t)p->rank;
    }
    return s;
}

ar_status ar__adapters_stack(ar_adapter **out, ar_adapter *const *adapters, int count, ar_error *err) {
    ar_status s = ar__adapter_new(out, err);
    for (int k = 0; !s && k < count; k++) s = check(adapters[k], err);
    for (int k = 0; !s && k < count; k++)
        for (size_t i = 0; !s && i < adapters[k]->pair_count; i++)
            if (!ar__adapter_find_pair(*out, adapters[k]->pair[i].site)) s = stack_site(*out, &adapters[k]->pair[i], adapters, count, err);
    if (s) {
        ar_adapter_free(*out);
        *out = NULL;
    }
    return s;
}
