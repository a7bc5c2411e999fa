/* Builds the runtime: which ISA, which backends, how many threads.  Decided once, never changed. */
#include "kern/runtime.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kern/cpu.h"

struct ar_busy {
    _Atomic(const void *) owner; /* an address of the thread's own; NULL: nobody */
    int depth;                   /* its calls within calls; only the owner touches it */
};

const ar_runtime *ar__runtime_enter(const ar_runtime *rt, ar_error *err) {
    static _Thread_local char self;
    const void *nobody = NULL;
    bool mine = atomic_load(&rt->busy->owner) == &self;
    if (!mine && !atomic_compare_exchange_strong(&rt->busy->owner, &nobody, &self)) {
        ar__fail(err, AR_ERR_BUSY,
                 "runtime: another thread is in a call with it, wanted one call at a time; give each thread a runtime of its own");
        return NULL;
    }
    rt->busy->depth++;
    return rt;
}

void ar__runtime_leave(const ar_runtime *const *entered) {
    const ar_runtime *rt = *entered;
    if (rt && --rt->busy->depth == 0) atomic_store(&rt->busy->owner, NULL);
}

enum { MAX_THREADS = 1024 };

static ar_status choose_isa(ar_runtime *rt, const char *wanted, ar_error *err) {
    ar_cpu cpu = ar__cpu_detect();
    ar__kernels_c(&rt->kern);
    bool all = !wanted || !*wanted || !strcmp(wanted, "auto"), known = all || !strcmp(wanted, "c");
#if defined(__x86_64__)
    bool want512 = !all && !strcmp(wanted, "avx512"), want2 = !all && !strcmp(wanted, "avx2");
    known = known || want512 || want2;
    if ((want512 && !cpu.avx512) || (want2 && !cpu.avx2))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "ISA %s: this CPU does not have it", wanted);
    if (cpu.avx2 && (all || want2 || want512)) ar__kernels_avx2(&rt->kern);
    if (cpu.avx512 && (all || want512)) {
        ar__kernels_avx512(&rt->kern);
        if (cpu.avx512_bf16) ar__kernels_avx512bf16(&rt->kern);
        if (cpu.amx_bf16 && ar__cpu_enable_amx()) ar__kernels_amx(&rt->kern);
    }
#endif
#if defined(__aarch64__)
    bool want_neon = !all && !strcmp(wanted, "neon");
    known = known || want_neon;
    if (all || want_neon) ar__kernels_neon(&rt->kern);
#endif
    if (!known) return ar__fail(err, AR_ERR_VALUE, "ISA '%s': wanted auto, c, avx2, avx512 or neon, of those that the CPU has", wanted);
    snprintf(rt->isa_line, sizeof rt->isa_line, "%s (CPU has:%s%s%s%s%s%s)", rt->kern.isa, cpu.avx2 ? " avx2" : "",
             cpu.avx512 ? " avx512" : "", cpu.avx512_bf16 ? " avx512-bf16" : "", cpu.amx_bf16 ? " amx-bf16" : "", cpu.neon ? " neon" : "",
             cpu.avx2 || cpu.neon ? "" : " nothing that Alphar has kernels for");
    return AR_OK;
}

/* Where bf16 products are faster than f32 ones, as measured (docs/performance.md), by what the kernels in use run on:
 *
 *   AMX, whoever makes it                  16 times the multiplications of an f32 instruction
 *   AVX512-BF16 of AMD (Zen 4 and later)   twice
 *   AVX512-BF16 of others, AMX out of use  not measured: f32
 *   anything else                          no instruction for it: f32 */
static bool bf16_pays(const ar_runtime *rt) { return rt->kern.matrix.run || (rt->kern.bf16.run && ar__cpu_detect().amd); }

static bool available(const ar_runtime *rt, const ar_gemm_backend *b) {
    if (b == &ar__gemm_matrix) return rt->bf16 && rt->kern.matrix.run;
    if (b == &ar__gemm_bf16) return rt->bf16 && rt->kern.bf16.run;
    return true;
}

/* A backend asked for by name stands alone, but for bf16's, which leave f32 products to our own. */
static ar_status choose_backends(ar_runtime *rt, const char *wanted, ar_error *err) {
    static const ar_gemm_backend *const all[AR_GEMM_BACKENDS] = {&ar__gemm_matrix, &ar__gemm_bf16, &ar__gemm_own, &ar__gemm_openblas,
                                                                 &ar__gemm_reference};
    int n = 0;
    bool any = !wanted || !*wanted || !strcmp(wanted, "auto"), bf16 = !any && !strncmp(wanted, "bf16", 4);
    for (int i = 0; i < AR_GEMM_BACKENDS && all[i]; i++)
        if (available(rt, all[i]) && (any || !strcmp(wanted, all[i]->name) || (bf16 && n > 0 && all[i] == &ar__gemm_own)))
            rt->gemm[n++] = all[i];
    if (n == 0)
        return ar__fail(err, AR_ERR_VALUE,
                        "product backend '%s': wanted auto, own, openblas or reference, or with bf16 arithmetic where the CPU has it bf16 "
                        "or bf16-matrix",
                        wanted);
    for (int i = 0; i < n; i++) {
        size_t at = strlen(rt->backend_line);
        snprintf(rt->backend_line + at, sizeof rt->backend_line - at, "%s%s", i ? ", " : "", rt->gemm[i]->name);
    }
    return AR_OK;
}

static bool take_scratch(ar_runtime *rt) {
    size_t right = (size_t)rt->threads * AR_GEMM_RIGHT_FLOATS * sizeof(float);
    if (!ar__arena_init(&rt->scratch, AR_GEMM_LEFT_BYTES + right)) return false;
    rt->left = ar__arena_take(&rt->scratch, AR_GEMM_LEFT_BYTES);
    rt->right = ar__arena_take(&rt->scratch, right);
    return true;
}

ar_status ar__runtime_new(ar_runtime **out, const ar_runtime_options *options, ar_error *err) {
    static const ar_runtime_options defaults = {0};
    const ar_runtime_options *o = options ? options : &defaults;
    *out = NULL;
    if (o->threads < 0 || o->threads > MAX_THREADS)
        return ar__fail(err, AR_ERR_VALUE, "threads: found %d, wanted 1 to %d (or 0 for all cores)", o->threads, MAX_THREADS);
    ar_runtime *rt = ar__alloc(1, sizeof *rt);
    if (!rt) return ar__fail_memory(err, "runtime");
    rt->threads = o->threads ? o->threads : ar__cpu_count();
    rt->log = (ar_log){o->log, o->log_user};
    rt->busy = ar__alloc(1, sizeof *rt->busy);
    ar_status s = rt->busy && take_scratch(rt) ? AR_OK : ar__fail_memory(err, "runtime");
    if (!s) s = choose_isa(rt, o->isa ? o->isa : getenv("ALPHAR_ISA"), err);
    rt->bf16 = o->compute == AR_COMPUTE_BF16 || (o->compute == AR_COMPUTE_AUTO && bf16_pays(rt));
    if (!s) s = choose_backends(rt, o->backend ? o->backend : getenv("ALPHAR_GEMM"), err);
    if (s) {
        ar__runtime_free(rt);
        return s;
    }
    ar__openblas_prepare();
    *out = rt;
    return AR_OK;
}

void ar__runtime_free(ar_runtime *rt) {
    if (!rt) return;
    ar__arena_release(&rt->scratch);
    free(rt->busy);
    free(rt);
}

ar_compute ar_runtime_compute(const ar_runtime *rt) { return rt->bf16 ? AR_COMPUTE_BF16 : AR_COMPUTE_F32; }
int ar_runtime_threads(const ar_runtime *rt) { return rt->threads; }
const char *ar_runtime_isa(const ar_runtime *rt) { return rt->isa_line; }
const char *ar_runtime_backends(const ar_runtime *rt) { return rt->backend_line; }
