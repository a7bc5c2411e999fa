#include "ops/ref/ref.h"

#define AR_REF_OP(op) .op = ar__ref_##op,
const ar_ops ar__ops_ref = {.name = "ref", .memory = &ar__memory_host, AR_EACH_OP(AR_REF_OP)};
