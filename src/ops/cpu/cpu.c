#include "ops/cpu/cpu.h"
#include "base/size.h"

/* The left operands of products lie packed, all of k, up to a limit; in bf16 dY lies packed twice in one group: for W, and in f32 for B. */
static size_t scratch_bytes(const ar_runtime *rt, const ar_work *w) {
    size_t rows = ar__min(w->head_rows, w->rows), element = sizeof(float) + (rt->bf16 ? sizeof(uint16_t) : 0);
    size_t left = ar__max(w->rows * w->widest, rows * w->vocab) * element;
    return ar__min(left, AR_GEMM_LEFT_BYTES) + (size_t)rt->threads * AR_GEMM_RIGHT_FLOATS * sizeof(float);
}

/* Of rows, since the weights are packed once for that many. */
#define AR_CPU_OP(op) .op = ar__cpu_##op,
const ar_ops ar__ops_cpu = {.name = "cpu",
                            .memory = &ar__memory_host,
                            .enough_rows = 1024,
                            .enough_head_rows = 512,
                            .scratch_bytes = scratch_bytes,
                            AR_EACH_OP(AR_CPU_OP)};
