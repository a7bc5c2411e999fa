/* What is odd about an adapter, each with what to do about it (docs/alpha.md explains them). */
#ifndef AR_ADAPTER_ALGEBRA_WARNINGS_H
#define AR_ADAPTER_ALGEBRA_WARNINGS_H

#include "adapter/adapter.h"
#include "alphar/algebra.h"
#include "weights/base.h"

/* Adds the warnings to an inspection whose figures are complete.  base NULL: none given. */
ar_status ar__inspection_warn(ar_inspection *x, const ar_adapter *ad, const ar_base *base, ar_error *err);

#endif
