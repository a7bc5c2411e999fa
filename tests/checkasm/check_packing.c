/* Packing is copying: exact, zeros behind the last row, nothing outside. */
#include "checkasm.h"

typedef struct shape {
    size_t width, rows, k, ld;
} shape;

static shape random_shape(size_t width, size_t k) {
    size_t rows = check_below(4) ? width : 1 + check_below(width);
    return (shape){width, rows, k, 0};
}

static float at_f32(const void *src, size_t i) { return ((const float *)src)[i]; }
static float at_bf16(const void *src, size_t i) { return ar__bf16_to_f32(((const uint16_t *)src)[i]); }

/* One call: source rows lie `ld` apart (columns of k, or rows of width where `side`), at an odd address. */
static void one(check_failure *f, const ar_kernels *kn, shape s, ar_dtype t) {
    size_t bytes = ar__dtype(t)->bytes;
    s.ld = s.k + check_below(9);
    check_block src = check_block_new(s.rows * s.ld * bytes + bytes, bytes * check_below(16));
    check_block dst = check_block_new(s.width * s.k * sizeof(float), 0);
    check_fill_type(src.data, t, s.rows * s.ld);
    float *to = check_f32(&dst);
    if (t == AR_F32)
        kn->interleave(to, s.width, check_f32(&src), s.ld, s.rows, s.k);
    else
        kn->interleave_bf16(to, s.width, (const uint16_t *)(const void *)src.data, s.ld, s.rows, s.k);
    for (size_t p = 0; p < s.k; p++)
        for (size_t i = 0; i < s.width; i++) {
            float wanted = i >= s.rows ? 0.0f : t == AR_F32 ? at_f32(src.data, i * s.ld + p) : at_bf16(src.data, i * s.ld + p);
            if (!check_same_bits(&to[p * s.width + i], &wanted, sizeof wanted))
                check_fail(f, "%zu of %zu rows, k %zu, ld %zu: [%zu][%zu] is %a, wanted %a", s.rows, s.width, s.k, s.ld, p, i,
                           (double)to[p * s.width + i], (double)wanted);
        }
    if (!check_block_intact(&dst)) check_fail(f, "%zu of %zu rows, k %zu: written outside", s.rows, s.width, s.k);
    check_block_free(&src);
    check_block_free(&dst);
}

static void check_interleave(const ar_kernels *kn, ar_dtype t, const char *name) {
    check_failure f = {0};
    size_t widths[2] = {(size_t)kn->mr, (size_t)kn->nr};
    for (int w = 0; w < 2; w++) {
        for (size_t k = 0; k < CHECK_SMALL; k++)
            for (int again = 0; again < 3; again++) one(&f, kn, random_shape(widths[w], k), t);
        one(&f, kn, random_shape(widths[w], 515), t);
    }
    check_result(kn->isa, name, check_text(&f));
}

void check_packing(const ar_runtime *rt) {
    check_interleave(&rt->kern, AR_F32, "interleave");
    check_interleave(&rt->kern, AR_BF16, "interleave_bf16");
}
