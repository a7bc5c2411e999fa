/* One site of a combination.  Internal to algebra/combine*.c. */
#ifndef AR_ADAPTER_ALGEBRA_COMBINE_H
#define AR_ADAPTER_ALGEBRA_COMBINE_H

#include "adapter/algebra/fit.h"
#include "kern/runtime.h"

typedef struct ar_combine_part {
    const ar_adapter *ad;
    ar_pair *pair;
    size_t source; /* its place in the list of sources */
    double weight;
} ar_combine_part;

typedef struct ar_combine_site {
    const char *name;
    size_t n_out, n_in;
    ar_combine_part *part;
    size_t count, rank; /* of parts; of all of them together */
} ar_combine_site;

/* The best approximation of the TIES or DARE combination, [n_out, n_in], by rule.  Loads the parts' factors and lets them go. */
ar_status ar__combine_dense(ar_low_rank *out, const ar_runtime *rt, const ar_combine_site *site, const ar_combine_options *o,
                            const ar_rank_rule *rule, ar_error *err);

#endif
