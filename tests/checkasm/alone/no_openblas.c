/* In place of gemm_openblas.c where checkasm is built without libraries: a backend that takes nothing. */
#include "kern/gemm.h"

static bool accepts(const ar_runtime *rt, const ar_gemm *g) {
    (void)rt, (void)g;
    return false;
}

const ar_gemm_backend ar__gemm_openblas = {.name = "absent", .accepts = accepts};
void ar__openblas_prepare(void) {}
