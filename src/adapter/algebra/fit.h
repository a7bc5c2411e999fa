/* What resize, combine and extract share: the choice of a rank, the report, and factors on their way into a pair. */
#ifndef AR_ADAPTER_ALGEBRA_FIT_H
#define AR_ADAPTER_ALGEBRA_FIT_H

#include "adapter/adapter.h"
#include "alphar/algebra.h"
#include "ops/linalg.h"

/* Errors: AR_ERR_VALUE for numbers out of range. */
ar_status ar__rank_rule(ar_rank_rule *out, const ar_rank_choice *choice, ar_error *err);

/* Appends a site; x NULL: nothing was left out. */
ar_status ar__fit_add(ar_fit *report, const char *name, int rank, const ar_low_rank *x, ar_error *err);

/* Factors of a pair into arrays of a pair whose rank is at least theirs; what is beyond stays zero.  to_b multiplies B, to_a
 * multiplies A.  transposed: x approximates the transpose of B·A. */
typedef struct ar_fill {
    double to_b, to_a;
    bool transposed;
} ar_fill;
void ar__pair_fill(ar_pair *p, const ar_low_rank *x, const ar_fill *how);

#endif
