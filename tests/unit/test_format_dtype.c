/* The dtype table: every half and bfloat16 there and back, rounding on every boundary, unaligned sources. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kern/dtype.h"

static float value_of_half(unsigned h) {
    int e = (int)(h >> 10 & 31);
    double m = (double)(h & 1023), v = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);
    if (e == 31) v = m != 0 ? (double)NAN : (double)INFINITY;
    return (float)(h & 0x8000 ? -v : v);
}

static void every_half_reads_and_writes_back(void **state) {
    (void)state;
    const ar_dtype_info *d = ar__dtype(AR_F16);
    for (unsigned h = 0; h < 65536; h++) {
        uint16_t in = (uint16_t)h, out;
        float f, wanted = value_of_half(h);
        d->to_f32(&f, &in, 1);
        d->from_f32(&out, &f, 1);
        if (isnan(wanted)) {
            assert_true(isnan(f));
            assert_int_equal(out & 0x7e00, 0x7e00);
        } else {
            assert_memory_equal(&f, &wanted, sizeof f);
            assert_int_equal(out, in);
        }
    }
}

/* Between neighbours lo < hi: the middle goes to the even one, one f32 step beside it to the nearer. */
static void check_rounding(ar_dtype t, unsigned last, float overflow) {
    const ar_dtype_info *d = ar__dtype(t);
    for (unsigned h = 0; h < last; h++) {
        uint16_t pair[2] = {(uint16_t)h, (uint16_t)(h + 1)}, out[3];
        float v[2], in[3];
        d->to_f32(v, pair, 2);
        if (isinf(v[1])) v[1] = overflow; /* what would come next, were there an exponent for it */
        float mid = (float)(((double)v[0] + (double)v[1]) / 2);
        in[0] = nextafterf(mid, -INFINITY);
        in[1] = mid;
        in[2] = nextafterf(mid, INFINITY);
        d->from_f32(out, in, 3);
        assert_int_equal(out[0], pair[0]);
        assert_int_equal(out[1], h % 2 ? pair[1] : pair[0]);
        assert_int_equal(out[2], pair[1]);
    }
}

static void rounding_is_to_nearest_even(void **state) {
    (void)state;
    check_rounding(AR_F16, 0x7c00, 65536.0f);
    check_rounding(AR_BF16, 0x7f7f, 0);
}

static void bfloat_keeps_infinity_and_nan(void **state) {
    (void)state;
    const ar_dtype_info *d = ar__dtype(AR_BF16);
    float in[4] = {INFINITY, -INFINITY, NAN, 3.4028235e38f};
    uint32_t tiny_nan = 0x7f800001u;
    uint16_t out[4];
    memcpy(&in[2], &tiny_nan, 4);
    d->from_f32(out, in, 4);
    assert_int_equal(out[0], 0x7f80);
    assert_int_equal(out[1], 0xff80);
    assert_true((out[2] & 0x7f80) == 0x7f80 && (out[2] & 0x7f));
    assert_int_equal(out[3], 0x7f80);
}

static void sources_may_be_unaligned(void **state) {
    (void)state;
    static const ar_dtype types[] = {AR_F32, AR_F16, AR_BF16};
    float in[37], out[37];
    char bytes[37 * 4 + 1];
    for (int i = 0; i < 37; i++) in[i] = (float)(i - 18) * 0.25f;
    for (size_t t = 0; t < 3; t++) {
        ar__dtype(types[t])->from_f32(bytes + 1, in, 37);
        ar__dtype(types[t])->to_f32(out, bytes + 1, 37);
        assert_memory_equal(in, out, sizeof in);
    }
}

/* By ggml's definition, in its order of operations. */
static void q8_0_is_ggmls(void **state) {
    (void)state;
    const ar_dtype_info *d = ar__dtype(AR_Q8_0);
    float in[64], out[64];
    unsigned char bytes[1 + 2 * 34];
    for (int i = 0; i < 64; i++) in[i] = (float)(i * i - 700) * (i < 32 ? 0.37f : -1e-3f);
    d->from_f32(bytes + 1, in, 64);
    d->to_f32(out, bytes + 1, 64);
    for (int b = 0; b < 2; b++) {
        float top = 0, scale;
        for (int i = 0; i < 32; i++) top = fmaxf(top, fabsf(in[b * 32 + i]));
        ar__dtype(AR_F16)->to_f32(&scale, bytes + 1 + b * 34, 1);
        assert_true(fabsf(scale - top / 127) <= top / 127 * 0x1p-11f);
        for (int i = 0; i < 32; i++) {
            int q = (int8_t)bytes[1 + b * 34 + 2 + i];
            assert_int_equal(q, (int)roundf(in[b * 32 + i] * (1 / (top / 127))));
            assert_true(out[b * 32 + i] == scale * (float)q);
        }
    }
}

static void q8_0_rounds_halves_away_and_keeps_what_is_not_finite(void **state) {
    (void)state;
    const ar_dtype_info *d = ar__dtype(AR_Q8_0);
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    float in[32] = {127, 0.5f, -0.5f, 1.5f, 0.49999997f, -2.5f}, out[32];
    int8_t bytes[34];
    d->from_f32(bytes, in, 32);
    static const int8_t wanted[] = {127, 1, -1, 2, 0, -3, 0};
    assert_memory_equal(bytes + 2, wanted, sizeof wanted);
    for (size_t k = 0; k < 3; k++) {
        in[7] = odd[k];
        d->from_f32(bytes, in, 32);
        d->to_f32(out, bytes, 32);
        for (int i = 0; i < 32; i++) assert_true(isnan(out[i]));
    }
    for (int i = 0; i < 32; i++) in[i] = i == 3 ? 1e-42f : 0; /* a scale whose reciprocal is infinite */
    d->from_f32(bytes, in, 32);
    d->to_f32(out, bytes, 32);
    for (int i = 0; i < 32; i++) assert_true(out[i] == 0);
    size_t n;
    assert_true(ar__dtype_bytes(&n, AR_Q8_0, 96) && n == 102);
    assert_false(ar__dtype_bytes(&n, AR_Q8_0, 33));
    assert_true(d->is_weight && !ar__dtype_is_float(AR_Q8_0) && ar__dtype_is_float(AR_BF16));
}

/* What a quantiser writes reads back within half a step of the block's range, and again to the same bytes' values. */
static void simple_blocks_round(void **state) {
    static const struct {
        ar_dtype type;
        float steps; /* in the range from least to largest, or from -largest to largest */
    } of[] = {{AR_Q4_0, 16}, {AR_Q4_1, 15}, {AR_Q5_0, 32}, {AR_Q5_1, 31}};
    float in[64], out[64], again[64];
    unsigned char bytes[48];
    (void)state;
    for (int i = 0; i < 64; i++) in[i] = (float)((i * 37) % 64 - 20) * (i < 32 ? 0.25f : -3e-3f);
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        const ar_dtype_info *d = ar__dtype(of[k].type);
        d->from_f32(bytes, in, 64);
        d->to_f32(out, bytes, 64);
        for (int i = 0; i < 64; i++) {
            float range = i < 32 ? 0.25f * 86 : 3e-3f * 86; /* twice the largest, which is more than the range */
            assert_true(fabsf(out[i] - in[i]) <= range / of[k].steps * 0.51f);
        }
        d->from_f32(bytes, out, 64);
        d->to_f32(again, bytes, 64);
        for (int i = 0; i < 64; i++) assert_true(fabsf(again[i] - out[i]) <= fabsf(out[i]) * 0x1p-9f + 1e-4f);
        in[5] = NAN;
        d->from_f32(bytes, in, 32);
        d->to_f32(out, bytes, 32);
        for (int i = 0; i < 32; i++) assert_true(isnan(out[i]));
        in[5] = 0;
    }
}

static void names_and_sizes(void **state) {
    (void)state;
    ar_dtype t;
    size_t n;
    assert_true(ar__dtype_from_name(&t, "torch.bfloat16") && t == AR_BF16);
    assert_true(ar__dtype_from_name(&t, "f16") && t == AR_F16);
    assert_false(ar__dtype_from_name(&t, "float8_e4m3fn"));
    assert_true(ar__dtype_from_safetensors(&t, "BF16", 4) && t == AR_BF16);
    assert_false(ar__dtype_from_safetensors(&t, "BF1", 3));
    assert_true(ar__dtype_bytes(&n, AR_F64, 3) && n == 24);
    assert_false(ar__dtype_bytes(&n, AR_F32, SIZE_MAX / 2));
    assert_false(ar__dtype(AR_DTYPE_COUNT)->is_weight);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_reads_and_writes_back),
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(bfloat_keeps_infinity_and_nan),
        cmocka_unit_test(sources_may_be_unaligned),
        cmocka_unit_test(q8_0_is_ggmls),
        cmocka_unit_test(q8_0_rounds_halves_away_and_keeps_what_is_not_finite),
        cmocka_unit_test(simple_blocks_round),
        cmocka_unit_test(names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
