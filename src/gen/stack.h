/* Several adapters on one base at once: their updates add up, s_1 B_1 A_1 + s_2 B_2 A_2 + …, exactly, by laying the
 * factors side by side: A = [A_1; A_2], B = [s_1 B_1, s_2 B_2], s = 1. */
#ifndef AR_GEN_STACK_H
#define AR_GEN_STACK_H

#include "adapter/adapter.h"

/* *out: a new adapter with the sum of the given ones.  AR_ERR_UNSUPPORTED for DoRA and whole tensors, which do not add. */
ar_status ar__adapters_stack(ar_adapter **out, ar_adapter *const *adapters, int count, ar_error *err);

#endif
