/* s multiplied into B. */
#ifndef AR_ADAPTER_ALGEBRA_FOLD_H
#define AR_ADAPTER_ALGEBRA_FOLD_H

#include "adapter/adapter.h"

/* A copy whose pairs have B' = s·B, s = 1 and α = r under the standard policy; its numbers wait in a spool in dir. */
ar_status ar__adapter_folded(ar_adapter **out, const ar_adapter *ad, const char *dir, ar_error *err);

#endif
