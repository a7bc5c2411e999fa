#include "ops/cpu/pair.h"

#include "base/rng.h"

void ar__dropout(const ar_runtime *rt, float *dst, const float *x, const size_t *position, size_t rows, size_t width, const ar_pair_op *p,
                 uint64_t sample_key, bool accumulate) {
    ar_rng g = ar__rng_stream(p->seed, AR_RNG_DROPOUT, p->site_hash, sample_key);
    uint32_t bound = (uint32_t)((double)p->dropout * 4294967296.0);
    float keep = 1.0f / (1.0f - p->dropout);
    size_t blocks = (width + 3) / 4;
#pragma omp parallel for num_threads(ar__team(rt, rows *width * 8)) schedule(static)
    for (size_t r = 0; r < rows; r++)
        for (size_t q = 0; q < blocks; q++) {
            uint32_t w[4];
            ar__rng_block(w, &g, (position ? position[r] : r) * blocks + q);
            for (size_t i = q * 4; i < width && i < q * 4 + 4; i++) {
                float v = w[i & 3] < bound ? 0.0f : x[r * width + i] * keep;
                dst[r * width + i] = accumulate ? dst[r * width + i] + v : v;
            }
        }
}

static void multiply(float *x, float by, size_t n) {
    if (by != 1.0f)
        for (size_t i = 0; i < n; i++) x[i] *= by;
}

void ar__pair_down(const ar_runtime *rt, float *su, const ar_pair_op *p, const float *x, size_t rows, size_t n_in) {
    ar_gemm g = ar__gemm_forward(su, x, p->a, AR_F32, rows, (size_t)p->rank, n_in);
    g.is_pair = true;
    ar__gemm(rt, &g);
    multiply(su, (float)p->scale, rows * (size_t)p->rank);
}

void ar__pair_up(const ar_runtime *rt, float *y, const ar_pair_op *p, const float *su, size_t rows, size_t n_out) {
    ar__gemm_xwt(rt, y, su, p->b, AR_F32, rows, n_out, (size_t)p->rank, true);
}

void ar__pair_up_bwd(const ar_runtime *rt, float *du, const ar_pair_op *p, const float *dz, size_t rows, size_t n_out) {
    ar_gemm g = ar__gemm_backward(du, dz, p->b, AR_F32, rows, n_out, (size_t)p->rank);
    g.is_pair = true;
    ar__gemm(rt, &g);
    multiply(du, (float)p->scale, rows * (size_t)p->rank);
}

void ar__pair_down_bwd(const ar_runtime *rt, float *dx, const ar_pair_op *p, const float *du, size_t rows, size_t n_in) {
    ar__gemm_dyw(rt, dx, du, p->a, AR_F32, rows, (size_t)p->rank, n_in, true);
}

void ar__pair_scale_bwd(const ar_pair_op *p, const float *du, const float *su, const ar_rows *rows, const ar_segment *seg) {
    size_t r = (size_t)p->rank, base = rows->start[seg->first];
    if (!p->dscale || p->scale == 0.0) return;
    for (size_t s = seg->first; s < seg->last; s++) {
        double sum = 0.0;
        for (size_t i = (rows->start[s] - base) * r; i < (rows->start[s + 1] - base) * r; i++) sum += (double)du[i] * (double)su[i];
        p->dscale[rows->dscale_stride * (rows->dscale_first + s)] += sum / (p->scale * p->scale);
    }
}
