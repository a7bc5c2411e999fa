#ifndef AR_TRAIN_SHARE_CUT_H
#define AR_TRAIN_SHARE_CUT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ar_cut {
    const double *cost; /* [count] of each sample */
    const size_t *need; /* the same: slots that it takes */
    size_t count, unit; /* runs begin at multiples of unit, which divides count */
    size_t slots;       /* of each rank but the first */
} ar_cut;

/* bound [ranks + 1]: rank i has bound[i] .. bound[i + 1), which may be empty. */
void ar__cut(size_t *bound, const ar_cut *c, int ranks);

#endif
