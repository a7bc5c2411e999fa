/* The product as it is defined: three loops, f32 (of operands rounded to bf16 where asked), k ascending.  Kept for ever as what the others
 * are measured against. */
#include "kern/gemm.h"
#include "kern/runtime.h"

static float element(const ar_gemm *g, const ar_dtype_info *t, size_t p, size_t j) {
    size_t row = g->b_rows ? j : p, col = g->b_rows ? p : j, first = col / t->block * t->block;
    float block[256];
    t->to_f32(block, (const char *)g->b + (row * g->b_ld + first) / t->block * t->bytes, t->block);
    return block[col - first];
}

static float rounded(float x) {
    ar__round_to_bf16(&x, 1);
    return x;
}

static bool accepts(const ar_runtime *rt, const ar_gemm *g) {
    (void)rt;
    return ar__dtype(g->b_type)->is_weight;
}

static void run(const ar_runtime *rt, const ar_gemm *g) {
    const ar_dtype_info *t = ar__dtype(g->b_type);
    bool bf16 = ar__gemm_in_bf16(rt, g);
#pragma omp parallel for num_threads(rt->threads) schedule(static)
    for (size_t j = 0; j < g->n; j++)
        for (size_t i = 0; i < g->m; i++) {
            float sum = 0.0f;
            for (size_t p = 0; p < g->k; p++) {
                float a = g->a[i * g->a_row + p * g->a_col], b = element(g, t, p, j);
                sum += (bf16 ? rounded(a) : a) * (bf16 && !g->is_pair ? rounded(b) : b);
            }
            float *c = &g->c[i * g->c_ld + j];
            *c = g->accumulate ? *c + sum : sum;
        }
}

const ar_gemm_backend ar__gemm_reference = {"reference", accepts, run, NULL, 0};
