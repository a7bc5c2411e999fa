/* The seam: chooses the backend, and the shapes that the rest of the program asks for. */
#include "kern/gemm.h"

#include <omp.h>

#include "kern/runtime.h"

void ar__gemm(const ar_runtime *rt, const ar_gemm *g) {
    if (g->m == 0 || g->n == 0) return;
    for (int i = 0; i < AR_GEMM_BACKENDS && rt->gemm[i]; i++) {
        if (!rt->gemm[i]->accepts(rt, g)) continue;
        rt->gemm[i]->run(rt, g);
        return;
    }
}

void ar__gemm_xwt(const ar_runtime *rt, float *y, const float *x, const void *w, ar_dtype t, size_t m, size_t n, size_t k,
                  bool accumulate) {
    ar__gemm(rt, &(ar_gemm){.m = m,
                            .n = n,
                            .k = k,
                            .a = x,
                            .a_row = k,
                            .a_col = 1,
                            .b = w,
                            .b_type = t,
                            .b_ld = k,
                            .b_rows = true,
                            .c = y,
                            .c_ld = n,
                            .accumulate = accumulate});
}

void ar__gemm_dyw(const ar_runtime *rt, float *dx, const float *dy, const void *w, ar_dtype t, size_t m, size_t n, size_t k,
                  bool accumulate) {
    ar__gemm(rt, &(ar_gemm){.m = m,
                            .n = k,
                            .k = n,
                            .a = dy,
                            .a_row = n,
                            .a_col = 1,
                            .b = w,
                            .b_type = t,
                            .b_ld = k,
                            .b_rows = false,
                            .c = dx,
                            .c_ld = k,
                            .accumulate = accumulate});
}

void ar__gemm_dytx(const ar_runtime *rt, float *dw, const float *dy, const float *x, size_t m, size_t n, size_t k) {
    ar__gemm(rt, &(ar_gemm){.m = n,
                            .n = k,
                            .k = m,
                            .a = dy,
                            .a_row = 1,
                            .a_col = n,
                            .b = x,
                            .b_type = AR_F32,
                            .b_ld = k,
                            .b_rows = false,
                            .c = dw,
                            .c_ld = k,
                            .accumulate = true});
}

void ar__gemv(const ar_runtime *rt, float *y, const float *x, const void *w, ar_dtype t, size_t n, size_t k) {
    const ar_kernels *kn = &rt->kern;
    const ar_dtype_info *info = ar__dtype(t);
    size_t row_bytes = k / info->block * info->bytes;
#pragma omp parallel for num_threads(ar__team(rt, n *k)) schedule(static)
    for (size_t j = 0; j < n; j++) {
        const char *row = (const char *)w + j * row_bytes;
        if (t == AR_F32) {
            y[j] = kn->dot((const float *)(const void *)row, x, k);
        } else if (t == AR_BF16) {
            y[j] = kn->dot_bf16((const uint16_t *)(const void *)row, x, k);
        } else {
            float part[AR_GEMM_KC], sum = 0.0f;
            for (size_t p = 0; p < k; p += AR_GEMM_KC) {
                size_t len = k - p < AR_GEMM_KC ? k - p : AR_GEMM_KC;
                info->to_f32(part, row + p / info->block * info->bytes, len);
                sum += kn->dot(part, x + p, len);
            }
            y[j] = sum;
        }
    }
}
