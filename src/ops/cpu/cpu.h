/* The operators on the CPU's cores, in blocks, over the runtime's kernels and products. */
#ifndef AR_OPS_CPU_CPU_H
#define AR_OPS_CPU_CPU_H

#include "ops/ops.h"

#define AR_CPU_OP(op) ar_##op##_fn ar__cpu_##op;
AR_EACH_OP(AR_CPU_OP)
#undef AR_CPU_OP

#endif
