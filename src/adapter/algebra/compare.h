/* How far apart two adapters' updates are, site by site. */
#ifndef AR_ADAPTER_ALGEBRA_COMPARE_H
#define AR_ADAPTER_ALGEBRA_COMPARE_H

#include "adapter/adapter.h"
#include "kern/runtime.h"

typedef struct ar_distance {
    double relative; /* ‖sBA(x) − sBA(y)‖_F / ‖sBA(x)‖_F; against y where x is zero, 0 where both are */
    double max_abs;  /* largest difference of one element */
} ar_distance;

/* Both pairs of one site; factors are loaded, and unloaded as they were found.  Formed by blocks of rows, so that memory
 * is that of the factors and of a few rows.  A factor that is the same in both does not add its rounding: the other one's
 * difference is formed in double first. */
ar_status ar__pair_distance(ar_distance *out, const ar_runtime *rt, const ar_adapter *x, ar_pair *px, const ar_adapter *y, ar_pair *py,
                            ar_error *err);

#endif
