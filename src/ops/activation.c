#include "ops/activation.h"

void ar__swiglu_fwd(const ar_runtime *rt, float *y, const float *gate, const float *up, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++) rt->kern.silu_mul(y + i * n, gate + i * n, up + i * n, n);
}

void ar__swiglu_bwd(const ar_runtime *rt, float *gate, float *up, const float *dy, size_t rows, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, rows *n * 8)) schedule(static)
    for (size_t i = 0; i < rows; i++) rt->kern.silu_mul_bwd(gate + i * n, up + i * n, dy + i * n, n);
}
