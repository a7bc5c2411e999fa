#include "ops/ref/ref.h"

static size_t scratch_bytes(const ar_runtime *rt, const ar_work *work) {
    (void)rt, (void)work;
    return 0;
}

#define AR_REF_OP(op) .op = ar__ref_##op,
const ar_ops ar__ops_ref = {.name = "ref",
                            .memory = &ar__memory_host,
                            .enough_rows = 1024,
                            .enough_head_rows = 512,
                            .scratch_bytes = scratch_bytes,
                            AR_EACH_OP(AR_REF_OP)};
