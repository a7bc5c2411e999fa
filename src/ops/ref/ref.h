/* The operators as they are defined: plain loops in double, each result rounded to f32 once.  No threads, no kernels, nothing kept:
 * what a formula names twice is computed twice.  For small sizes. */
#ifndef AR_OPS_REF_REF_H
#define AR_OPS_REF_REF_H

#include "ops/ops.h"

#define AR_REF_OP(op) ar_##op##_fn ar__ref_##op;
AR_EACH_OP(AR_REF_OP)
#undef AR_REF_OP

#endif
