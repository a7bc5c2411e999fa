/* Whether two updates point the same way, and how much longer one is: what tells a lost factor from another adapter. */
#ifndef AR_ADAPTER_ALGEBRA_LIKENESS_H
#define AR_ADAPTER_ALGEBRA_LIKENESS_H

#include "adapter/adapter.h"
#include "alphar/algebra.h"
#include "kern/runtime.h"

/* norm_a, norm_b, cosine and factor of one site; shapes are equal.  Factors are loaded, and unloaded as they were found. */
ar_status ar__pair_likeness(ar_site_difference *out, const ar_runtime *rt, const ar_adapter *x, ar_pair *px, const ar_adapter *y,
                            ar_pair *py, ar_error *err);

/* cosine, factor and conclusion of the whole, from its sites. */
void ar__diff_conclude(ar_difference *out, const ar_adapter *a, const ar_adapter *b);

#endif
