/* The runtime that everything computing is given: threads, the kernel table, the product backends, scratch, log. */
#ifndef AR_KERN_RUNTIME_H
#define AR_KERN_RUNTIME_H

#include "alphar/runtime.h"
#include "base/log.h"
#include "base/mem.h"
#include "kern/gemm.h"
#include "kern/kernels.h"

struct ar_runtime {
    int threads;
    ar_kernels kern;
    const ar_gemm_backend *gemm[AR_GEMM_BACKENDS]; /* in order of preference, NULL-terminated unless full */
    const struct ar_ops *ops;                      /* ops/ops.h, whose ar_runtime_new sets them */
    struct ar_device *device;                      /* ops/device.h; NULL: the CPU computes */
    void *device_state;                            /* what its operators find themselves by */
    bool bf16;                                     /* products with weights of the base round their operands to bf16 */
    /* For one product at a time: panels of the left operand, shared; a block of the right one and a copy per thread. */
    ar_arena scratch;
    float *left;
    float *right; /* threads * AR_GEMM_RIGHT_FLOATS */
    ar_log log;
    struct ar_busy *busy; /* who is in a call, apart because calls take a const runtime */
    char isa_line[256], backend_line[128];
};

/* As ar_runtime_new, but without operators: what kern/ can build, and its own tests need. */
ar_status ar__runtime_new(ar_runtime **out, const ar_runtime_options *options, ar_error *err);
void ar__runtime_free(ar_runtime *rt);

/* Scratch serves one product at a time, so a runtime serves one thread at a time.  A public call that computes begins with
 * AR_ONE_CALL, behind the reset of its outputs: while another thread is in such a call it returns AR_ERR_BUSY.  Calls from
 * within calls are fine; the last one to return leaves the runtime. */
const ar_runtime *ar__runtime_enter(const ar_runtime *rt, ar_error *err); /* NULL: busy */
void ar__runtime_leave(const ar_runtime *const *entered);
#define AR_ONE_CALL(rt, err)                                                                                                               \
    __attribute__((cleanup(ar__runtime_leave))) const ar_runtime *const ar__entered = ar__runtime_enter(rt, err);                          \
    if (!ar__entered) return AR_ERR_BUSY

/* Threads for a loop of `work` simple operations: a region costs some microseconds (far more on a busy machine), so
 * that small ones run on the calling thread.  Never changes a result. */
static inline int ar__team(const ar_runtime *rt, size_t work) { return work < ((size_t)1 << 17) ? 1 : rt->threads; }

static inline float *ar__runtime_right(const ar_runtime *rt, int thread) { return rt->right + (size_t)thread * AR_GEMM_RIGHT_FLOATS; }

#endif
