/* What a process-wide computation runs on: threads, kernels, the matrix-product backend, and where log lines go. */
#ifndef ALPHAR_RUNTIME_H
#define ALPHAR_RUNTIME_H

#include "alphar/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_runtime ar_runtime;

/* Arithmetic of the products with the base's weights: bf16 rounds both operands and sums in f32.  Everything else
 * (pairs, norms, attention, the optimizer) is f32 in both.  auto: bf16 where the CPU multiplies it faster than f32: AMX,
 * and AVX512-BF16 of AMD (Zen 4 and later). */
typedef enum ar_compute { AR_COMPUTE_F32, AR_COMPUTE_BF16, AR_COMPUTE_AUTO } ar_compute;

typedef struct ar_runtime_options {
    int threads;     /* 0: the cores that this process may use */
    const char *isa; /* "c", "avx2", "avx512", "neon"; NULL: environment ALPHAR_ISA, else the best the CPU has */
    const char
        *backend; /* "own", "openblas", "reference", "bf16", "bf16-matrix"; NULL: environment ALPHAR_GEMM, else the first that accepts */
    ar_compute compute; /* default f32 */
    const char *device; /* "cpu", "cuda", "cuda:N"; "auto": cuda where there is one, else the CPU; NULL: the CPU */
    ar_log_fn log;      /* NULL: silence */
    void *log_user;
} ar_runtime_options;

/* options NULL: all defaults.  Caller frees with ar_runtime_free, after everything opened with it.
 *
 * Threads: a runtime and everything opened with it (sessions, models, trainings) serve one call at a time; a call that computes
 * while another thread is in one is AR_ERR_BUSY.  Threads that work at once take a runtime each, and share nothing else but
 * files.  What only looks (an adapter's sites, a tokenizer's ids) may be called from anywhere while nothing changes it.
 *
 * The process: OpenMP's number of threads, and everything else of the program around, stays as it is. */
AR_API ar_status ar_runtime_new(ar_runtime **out, const ar_runtime_options *options, ar_error *err);
/* Call it first in main.  libgomp's threads spin for milliseconds at every barrier unless GOMP_SPINCOUNT or OMP_WAIT_POLICY say
 * otherwise, which is read before main; beside other work on the machine that made training up to ten times slower.  Where neither
 * is set this starts the program again, once, with GOMP_SPINCOUNT=2000.  Returns where nothing is to be done or that fails. */
AR_API void ar_process_settle(char **argv);
AR_API void ar_runtime_free(ar_runtime *rt); /* NULL is fine */
AR_API int ar_runtime_threads(const ar_runtime *rt);
AR_API ar_compute ar_runtime_compute(const ar_runtime *rt); /* f32 or bf16: what auto became */
AR_API const char *ar_runtime_device(const ar_runtime *rt); /* "cpu", "cuda:0" */
/* What a device is and holds, for people: "cuda:0  NVIDIA H100 80GB HBM3, 79.2 GiB, products by cublas"; or why there is none.  Opens it.
 */
AR_API void ar_device_describe(char *out, size_t size);
/* One line each for `--version`: the ISA in use with the CPU's features; the backends in order of preference. */
AR_API const char *ar_runtime_isa(const ar_runtime *rt);
AR_API const char *ar_runtime_backends(const ar_runtime *rt);

#ifdef __cplusplus
}
#endif
#endif
