#ifndef AR_TRAIN_SHARE_CUT_H
#define AR_TRAIN_SHARE_CUT_H

#include <stdbool.h>
#include <stddef.h>

#include "arch/arch.h"

typedef struct ar_cut {
    const double *cost; /* [count] of each sample */
    const size_t *need; /* the same: floats that it keeps apart */
    size_t count, unit; /* runs begin at multiples of unit, which divides count */
    size_t slots;       /* floats of each rank but the first */
} ar_cut;

/* bound [ranks + 1]: rank i has bound[i] .. bound[i + 1), which may be empty. */
void ar__cut(size_t *bound, const ar_cut *c, int ranks);

/* What a sample costs, in no unit: of its work in a layer the products grow with its tokens, attention with their square: 12 dim² against
 * 1/2 · 2 dim tokens. */
static inline double ar__cut_cost(const ar_arch *a, int tokens) {
    return (double)tokens * (1.0 + (double)tokens / (12.0 * (double)a->dim));
}

#endif
