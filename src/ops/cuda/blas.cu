/* cuBLAS, opened at run time where it is installed: the few entries that products need, declared here. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/cuda/cuda.h"

/* Values of the library's enumerations. */
enum { OP_N = 0, OP_T = 1, TYPE_F32 = 0, TYPE_BF16 = 14, COMPUTE_F32 = 68, ALGORITHM_DEFAULT = -1 };

struct cu_blas {
    void *library, *handle, *workspace;
    int (*gemm)(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda, const void *b,
                int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int algorithm);
    int (*destroy)(void *handle);
    char name[48];
};

static const size_t workspace_bytes = (size_t)32 << 20;

#ifdef EMULATED_CUDA
cu_blas *cu_blas_open(cudaStream_t) { return NULL; }
#else
template <class F> static bool find(F *out, void *library, const char *name) {
    *out = (F)dlsym(library, name);
    return *out != NULL;
}

static bool start(cu_blas *b, cudaStream_t stream) {
    int (*create)(void **), (*set_stream)(void *, cudaStream_t), (*set_workspace)(void *, void *, size_t), (*version)(void *, int *),
        number = 0;
    bool ok = find(&create, b->library, "cublasCreate_v2") && find(&set_stream, b->library, "cublasSetStream_v2") &&
              find(&set_workspace, b->library, "cublasSetWorkspace_v2") && find(&version, b->library, "cublasGetVersion_v2") &&
              find(&b->destroy, b->library, "cublasDestroy_v2") && find(&b->gemm, b->library, "cublasGemmEx");
    ok = ok && create(&b->handle) == 0 && set_stream(b->handle, stream) == 0 && cudaMalloc(&b->workspace, workspace_bytes) == cudaSuccess &&
         set_workspace(b->handle, b->workspace, workspace_bytes) == 0 && version(b->handle, &number) == 0;
    snprintf(b->name, sizeof b->name, "cublas %d.%d", number / 10000, number / 100 % 100);
    return ok;
}

/* The first of them that is there and works. */
cu_blas *cu_blas_open(cudaStream_t stream) {
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
    const char *off = getenv("ALPHAR_CUBLAS");
    for (size_t i = 0; !(off && off[0] == '0') && i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        cu_blas *b = library ? (cu_blas *)calloc(1, sizeof *b) : NULL;
        if (!b) continue;
        b->library = library;
        if (start(b, stream)) return b;
        cu_blas_close(b);
    }
    return NULL;
}
#endif

void cu_blas_close(cu_blas *b) {
    if (!b) return;
    if (b->handle) b->destroy(b->handle);
    cudaFree(b->workspace);
    dlclose(b->library);
    free(b);
}

const char *cu_blas_name(const cu_blas *b) { return b->name; }

/* Row-major c = left right is column-major cᵀ = rightᵀ leftᵀ. */
bool cu_blas_gemm(cu_blas *b, float *c, size_t ldc, bool accumulate, float alpha, cu_operand left, cu_operand right, size_t m, size_t n,
                  size_t k) {
    float beta = accumulate ? 1.0f : 0.0f;
    int type = left.half ? TYPE_BF16 : TYPE_F32;
    if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX) return false;
    return b->gemm(b->handle, right.turned ? OP_T : OP_N, left.turned ? OP_T : OP_N, (int)n, (int)m, (int)k, &alpha, right.at, type,
                   (int)right.ld, left.at, type, (int)left.ld, &beta, c, TYPE_F32, (int)ldc, COMPUTE_F32, ALGORITHM_DEFAULT) == 0;
}
