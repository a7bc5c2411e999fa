/* Packing is copying: exact, zeros behind the last row, nothing outside. */
#include "checkasm.h"

typedef struct shape {
    size_t width, rows, k, ld;
} shape;

static shape random_shape(size_t width, size_t k) {
    size_t rows = check_below(4) ? width : 1 + check_below(width);
    return (shape){width, rows, k, 0};
}

typedef void (*pack)(float *dst, size_t width, const void *src, size_t ld, size_t count, size_t k);

/* One call: the source's rows lie ld apart, at an odd address; across: it is `count` rows of k, else k rows of `count`. */
static void one(check_failure *f, pack kernel, shape s, ar_dtype t, bool across) {
    size_t bytes = ar__dtype(t)->bytes, stored = across ? s.rows : s.k;
    s.ld = (across ? s.k : s.rows) + check_below(9);
    size_t count = stored ? (stored - 1) * s.ld + (across ? s.k : s.rows) : 0;
    check_block src = check_block_new(count * bytes, bytes * check_below(16));
    check_block dst = check_block_new(s.width * s.k * sizeof(float), 0);
    check_fill_type(src.data, t, count);
    float *to = check_f32(&dst);
    kernel(to, s.width, src.data, s.ld, s.rows, s.k);
    for (size_t p = 0; p < s.k; p++)
        for (size_t i = 0; i < s.width; i++) {
            float wanted = 0.0f;
            if (i < s.rows) ar__dtype(t)->to_f32(&wanted, src.data + (across ? i * s.ld + p : p * s.ld + i) * bytes, 1);
            if (!check_same_bits(&to[p * s.width + i], &wanted, sizeof wanted))
                check_fail(f, "%zu of %zu, k %zu, ld %zu: [%zu][%zu] is %a, wanted %a", s.rows, s.width, s.k, s.ld, p, i,
                           (double)to[p * s.width + i], (double)wanted);
        }
    if (!check_block_intact(&dst)) check_fail(f, "%zu of %zu, k %zu: written outside", s.rows, s.width, s.k);
    check_block_free(&src);
    check_block_free(&dst);
}

static void check_pack(const ar_kernels *kn, const char *name, pack kernel, ar_dtype t, bool across) {
    check_failure f = {0};
    size_t widths[2] = {(size_t)kn->mr, (size_t)kn->nr};
    for (int w = 0; w < 2; w++) {
        for (size_t k = 0; k < CHECK_SMALL; k++)
            for (int again = 0; again < 3; again++) one(&f, kernel, random_shape(widths[w], k), t, across);
        one(&f, kernel, random_shape(widths[w], 515), t, across);
    }
    check_result(kn->isa, name, check_text(&f));
}

/* Slots of one shape but for the type of the source. */
#define SLOT(name, type)                                                                                                                   \
    static const ar_kernels *name##_table;                                                                                                 \
    static void call_##name(float *dst, size_t width, const void *src, size_t ld, size_t count, size_t k) {                                \
        name##_table->name(dst, width, (const type *)src, ld, count, k);                                                                   \
    }
SLOT(interleave, float)
SLOT(interleave_bf16, uint16_t)
SLOT(interleave_f16, uint16_t)
SLOT(copy_f32, float)
SLOT(copy_bf16, uint16_t)
SLOT(copy_f16, uint16_t)

/* The bits of what to_bf16 makes of those values. */
static void check_unpack_bf16(check_failure *f, const ar_kernels *kn, ar_dtype t, const void *src, const float *values, size_t n) {
    check_block dst = check_block_new(n * sizeof(uint16_t), 2 * check_below(32)), want = check_block_new(n * sizeof(uint16_t), 0);
    kn->to_bf16((uint16_t *)(void *)want.data, values, n);
    kn->unpack_bf16[t]((uint16_t *)(void *)dst.data, src, n);
    if (!check_same_bits(dst.data, want.data, n * sizeof(uint16_t))) check_fail(f, "%zu values to bf16: other bits", n);
    if (!check_block_intact(&dst)) check_fail(f, "%zu values to bf16: written outside", n);
    check_block_free(&dst);
    check_block_free(&want);
}

/* The bits of the row's own to_f32. */
static void check_unpack(const ar_kernels *kn, ar_dtype t) {
    const ar_dtype_info *info = ar__dtype(t);
    check_failure f = {0};
    char name[64];
    snprintf(name, sizeof name, "unpack/%s", info->name);
    for (size_t blocks = 0; blocks < 9; blocks++) {
        size_t n = blocks * info->block;
        check_block src = check_block_new(blocks * info->bytes, 1 + 2 * check_below(8));
        check_block dst = check_block_new(n * sizeof(float), 4 * check_below(16)), want = check_block_new(n * sizeof(float), 0);
        check_fill_type(src.data, t, n);
        info->to_f32(check_f32(&want), src.data, n);
        kn->unpack[t](check_f32(&dst), src.data, n);
        if (!check_same_bits(dst.data, want.data, n * sizeof(float))) check_fail(&f, "%zu blocks: other bits", blocks);
        if (!check_block_intact(&dst)) check_fail(&f, "%zu blocks: written outside", blocks);
        if (kn->unpack_bf16[t]) check_unpack_bf16(&f, kn, t, src.data, check_f32(&want), n);
        check_block_free(&src);
        check_block_free(&dst);
        check_block_free(&want);
    }
    check_result(kn->isa, name, check_text(&f));
}

typedef struct coded {
    check_block q, scale, sum;
} coded;

static coded coded_new(const ar_kernels *kn, const float *x, size_t n) {
    coded c = {check_block_new(n * sizeof(int16_t), 2 * check_below(32)), check_block_new(n / 32 * sizeof(float), 4 * check_below(16)),
               check_block_new(n / 32 * sizeof(float), 4 * check_below(16))};
    kn->to_codes((int16_t *)(void *)c.q.data, check_f32(&c.scale), check_f32(&c.sum), x, n);
    return c;
}

static ar_codes codes_of(const coded *c) {
    return (ar_codes){(const int16_t *)(const void *)c->q.data, check_f32(&c->scale), check_f32(&c->sum)};
}

static void coded_free(coded *c) {
    check_block_free(&c->q);
    check_block_free(&c->scale);
    check_block_free(&c->sum);
}

/* Each value within half a step, zeros and small numbers too, and NaN for the 32 around one; the bits of plain C.  A code is up to 32767
 * times what three roundings leave of 1: of the step, of its inverse, of the product with it. */
static void check_codes(const ar_kernels *kn) {
    ar_kernels plain;
    check_failure f = {0};
    ar__kernels_c(&plain);
    for (size_t runs = 1; runs < 9; runs++) {
        const double half = 0.5 + 32767.0 * check_gamma(3);
        size_t n = 32 * runs, odd = check_below(runs), none = check_below(runs);
        check_block x = check_block_new(n * sizeof(float), 4 * check_below(16));
        check_fill(check_f32(&x), n);
        memset(check_f32(&x) + 32 * none, 0, 31 * sizeof(float));
        check_f32(&x)[32 * none + 31] = check_below(2) ? 0x1p-120f : 0.0f;
        if (runs > 1) check_f32(&x)[32 * odd + check_below(32)] = check_below(2) ? -INFINITY : NAN;
        coded got = coded_new(kn, check_f32(&x), n), wanted = coded_new(&plain, check_f32(&x), n);
        ar_codes c = codes_of(&got);
        if (!check_same_bits(got.q.data, wanted.q.data, n * sizeof(int16_t)) ||
            !check_same_bits(got.scale.data, wanted.scale.data, runs * sizeof(float)) ||
            !check_same_bits(got.sum.data, wanted.sum.data, runs * sizeof(float)))
            check_fail(&f, "%zu values: other bits than plain C", n);
        if (!check_block_intact(&got.q) || !check_block_intact(&got.scale) || !check_block_intact(&got.sum))
            check_fail(&f, "%zu values: written outside", n);
        for (size_t i = 0; i < n; i++) {
            double step = (double)c.scale[i / 32], v = (double)check_f32(&x)[i];
            if (runs > 1 && i / 32 == odd ? step == step : fabs(step * c.q[i] - v) > half * step + 0x1p-100)
                check_fail(&f, "value %zu: %a as %d of %a", i, v, c.q[i], step);
        }
        coded_free(&got);
        coded_free(&wanted);
        check_block_free(&x);
    }
    check_result(kn->isa, "to_codes", check_text(&f));
}

/* Within the rounding of x and of the sums of what the row's own values give, and the bits of plain C. */
static void check_block_dots(const ar_kernels *kn, ar_dtype t) {
    const ar_dtype_info *info = ar__dtype(t);
    ar_kernels plain;
    check_failure f = {0};
    char name[64];
    ar__kernels_c(&plain);
    snprintf(name, sizeof name, "block_dots/%s", info->name);
    for (size_t blocks = 1; blocks < 12; blocks++) {
        size_t n = blocks * info->block, row = blocks * info->bytes, rows = 1 + check_below(AR_DOTS);
        check_block w = check_block_new(AR_DOTS * row, 1 + 2 * check_below(8)), x = check_block_new(n * sizeof(float), 4 * check_below(16));
        check_block wide = check_block_new(n * sizeof(float), 0);
        float got[AR_DOTS] = {0}, wanted[AR_DOTS] = {0};
        check_fill_type(w.data, t, AR_DOTS * n);
        check_fill(check_f32(&x), n);
        coded c = coded_new(kn, check_f32(&x), n);
        kn->block_dots[t](got, w.data, row, rows, codes_of(&c), n);
        plain.block_dots[t](wanted, w.data, row, rows, codes_of(&c), n);
        if (!check_same_bits(got, wanted, rows * sizeof(float)))
            check_fail(&f, "%zu blocks, %zu rows: other bits than plain C", blocks, rows);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, size = 0, steps = 0;
            info->to_f32(check_f32(&wide), w.data + r * row, n);
            for (size_t i = 0; i < n; i++) {
                double v = (double)check_f32(&wide)[i], u = (double)check_f32(&x)[i];
                sum += v * u;
                size += fabs(v * u) + fabs(u); /* a code and its min are apart on the way, each below 1.6 here */
                steps += (fabs(v) + 1) * 0.5001 * (double)codes_of(&c).scale[i / 32];
            }
            if (!(fabs((double)got[r] - sum) <= check_gamma(n + 4) * 4 * size + steps))
                check_fail(&f, "%zu blocks: %a, wanted %a", blocks, (double)got[r], sum);
        }
        coded_free(&c);
        check_block_free(&w);
        check_block_free(&x);
        check_block_free(&wide);
    }
    check_result(kn->isa, name, check_text(&f));
}

static void check_to_bf16(const ar_kernels *kn) {
    check_failure f = {0};
    for (size_t n = 0; n < CHECK_SMALL; n++) {
        check_block src = check_block_new(n * sizeof(float), 4 * check_below(16)), dst = check_block_new(2 * n, 2 * check_below(16));
        check_block want = check_block_new(2 * n, 0);
        check_fill(check_f32(&src), n);
        ar__dtype(AR_BF16)->from_f32(want.data, check_f32(&src), n);
        kn->to_bf16((uint16_t *)(void *)dst.data, check_f32(&src), n);
        if (!check_same_bits(dst.data, want.data, 2 * n)) check_fail(&f, "n %zu: other bits", n);
        if (!check_block_intact(&dst)) check_fail(&f, "n %zu: written outside", n);
        check_block_free(&src);
        check_block_free(&dst);
        check_block_free(&want);
    }
    check_result(kn->isa, "to_bf16", check_text(&f));
}

static void check_from_bf16(const ar_kernels *kn) {
    check_failure f = {0};
    for (size_t n = 0; n < CHECK_SMALL; n++) {
        check_block src = check_block_new(2 * n, 2 * check_below(16)), dst = check_block_new(n * sizeof(float), 4 * check_below(16));
        check_block want = check_block_new(n * sizeof(float), 0);
        uint16_t *bits = (uint16_t *)(void *)src.data;
        for (size_t i = 0; i < n; i++) bits[i] = (uint16_t)check_below(1 << 16);
        ar__dtype(AR_BF16)->to_f32(check_f32(&want), bits, n);
        kn->from_bf16(check_f32(&dst), bits, n);
        if (!check_same_bits(dst.data, want.data, n * sizeof(float))) check_fail(&f, "n %zu: other bits", n);
        if (!check_block_intact(&dst)) check_fail(&f, "n %zu: written outside", n);
        check_block_free(&src);
        check_block_free(&dst);
        check_block_free(&want);
    }
    check_result(kn->isa, "from_bf16", check_text(&f));
}

void check_packing(const ar_runtime *rt) {
    const ar_kernels *kn = &rt->kern;
#define CHECK(name, type, across) (name##_table = kn, check_pack(kn, #name, call_##name, type, across))
    CHECK(interleave, AR_F32, true);
    CHECK(interleave_bf16, AR_BF16, true);
    CHECK(interleave_f16, AR_F16, true);
    CHECK(copy_f32, AR_F32, false);
    CHECK(copy_bf16, AR_BF16, false);
    CHECK(copy_f16, AR_F16, false);
    for (int t = 0; t < AR_DTYPE_COUNT; t++)
        if (ar__dtype((ar_dtype)t)->block > 1) check_unpack(kn, (ar_dtype)t);
    check_to_bf16(kn);
    check_from_bf16(kn);
    check_codes(kn);
    for (int t = 0; t < AR_DTYPE_COUNT; t++)
        if (kn->block_dots[t]) check_block_dots(kn, (ar_dtype)t);
}
