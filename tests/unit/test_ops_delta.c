/* The delta rule and its convolution: cpu, in chunks, beside ref, row by row; ref's backward beside its slope; a state that goes on.
 *
 * Keys are unit vectors and beta < 1, so that a step of the rule never makes a state longer than what is written to it: an error of the
 * chunk's sums, of at most rows + key_dim + value_dim terms, stays of its size.  Sizes are taken from the results themselves. */
#include <math.h>
#include <string.h>

#include "ops_check.h"

typedef struct bench {
    ar_delta d;
    ar_rows rows;
    size_t start[4], count, width;
    float *x, *b, *a, *o, *weight, *dx, *db, *da;
} bench;

static const ar_delta shapes[] = {
    {.key_heads = 1, .value_heads = 1, .key_dim = 1, .value_dim = 1},  {.key_heads = 1, .value_heads = 3, .key_dim = 3, .value_dim = 5},
    {.key_heads = 2, .value_heads = 2, .key_dim = 17, .value_dim = 7}, {.key_heads = 2, .value_heads = 4, .key_dim = 16, .value_dim = 24},
    {.key_heads = 1, .value_heads = 1, .key_dim = 70, .value_dim = 9}, {.key_heads = 1, .value_heads = 2, .key_dim = 128, .value_dim = 128},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static size_t value_floats(const bench *b) { return b->count * b->d.value_heads * b->d.value_dim; }

static float *scratch_of(const ar_runtime *rt, const ar_delta *d, size_t longest) {
    return ops_zeros(rt->ops->delta_scratch(rt, d, longest) * (size_t)rt->threads);
}

/* Samples of 1, a third and the rest of the rows; heads that forget at once, and some that never do. */
static void make_bench(bench *b, size_t count, const ar_delta *shape) {
    *b = (bench){.d = *shape, .count = count, .width = ar__delta_width(shape)};
    size_t samples = count < 4 ? 1 : 3, gates = count * shape->value_heads;
    b->start[1] = samples == 1 ? count : 1;
    b->start[2] = count / 3 + 1;
    b->start[3] = count;
    b->rows = (ar_rows){.count = count, .samples = samples, .start = b->start};
    float *rate = ops_zeros(shape->value_heads);
    for (size_t h = 0; h < shape->value_heads; h++) rate[h] = (float)(0.02 * pow(100.0, (double)h / 3.0));
    b->d.rate = rate;
    b->d.shift = ops_random(shape->value_heads);
    b->x = ops_random(count * b->width), b->b = ops_random(gates), b->a = ops_random(gates);
    b->o = ops_zeros(value_floats(b)), b->weight = ops_random(value_floats(b));
    b->dx = ops_zeros(count * b->width), b->db = ops_zeros(gates), b->da = ops_zeros(gates);
}

static void forward(const ar_runtime *rt, bench *b, const ar_recurrence *memory) {
    rt->ops->delta_fwd(rt, b->o, b->x, b->b, b->a, &b->d, &b->rows, memory, scratch_of(rt, &b->d, 0));
}

static void backward(const ar_runtime *rt, bench *b) {
    rt->ops->delta_bwd(rt, b->dx, b->db, b->da, b->weight, b->x, b->b, b->a, &b->d, &b->rows, scratch_of(rt, &b->d, b->count));
}

static double roundings(const bench *b) { return 8.0 * (double)(64 + b->d.key_dim + b->d.value_dim); }

static void chunks_agree_with_rows(void **state) {
    static const size_t rows[] = {1, 3, 17, 65, 150, 260};
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            bench ref;
            make_bench(&ref, rows[k], &shapes[i]);
            bench cpu = ref;
            size_t gates = ref.count * ref.d.value_heads;
            cpu.o = ops_zeros(value_floats(&ref)), cpu.dx = ops_zeros(ref.count * ref.width);
            cpu.db = ops_zeros(gates), cpu.da = ops_zeros(gates);
            forward(ops_ref, &ref, NULL);
            forward(ops_cpu, &cpu, NULL);
            ops_assert_within(cpu.o, ref.o, ops_largest(ref.o, value_floats(&ref)), value_floats(&ref), roundings(&ref), "delta_fwd");
            backward(ops_ref, &ref);
            backward(ops_cpu, &cpu);
            ops_assert_within(cpu.dx, ref.dx, ops_largest(ref.dx, ref.count * ref.width), ref.count * ref.width, roundings(&ref),
                              "delta_bwd, dx");
            ops_assert_within(cpu.db, ref.db, ops_largest(ref.db, gates), gates, roundings(&ref), "delta_bwd, db");
            ops_assert_within(cpu.da, ref.da, ops_largest(ref.da, gates), gates, roundings(&ref), "delta_bwd, da");
            ops_forget();
        }
}

static ops_sum value(void *user) {
    bench *b = user;
    forward(ops_ref, b, NULL);
    return ops_weigh(b->weight, b->o, value_floats(b));
}

/* But of keys of one element, whose unit vector is a sign. */
static void backward_is_the_slope(void **state) {
    (void)state;
    for (size_t i = 1; i < SHAPES; i++) {
        bench b;
        make_bench(&b, 17, &shapes[i]);
        backward(ops_ref, &b);
        ops_assert_slope(value, &b, b.x, b.dx, b.count * b.width, "delta by x");
        ops_assert_slope(value, &b, b.b, b.db, b.count * b.d.value_heads, "delta by b");
        ops_assert_slope(value, &b, b.a, b.da, b.count * b.d.value_heads, "delta by a");
        ops_forget();
    }
}

/* On any threads, alone or beside others, a sample has the same bits. */
static void neighbours_and_threads_change_no_bit(void **state) {
    if (ops_on_device()) skip(); /* it has the bits of a device */
    ar_runtime *four;
    ar_error err;
    (void)state;
    assert_ok(ar_runtime_new(&four, &(ar_runtime_options){.threads = 4}, &err), err);
    for (size_t i = 0; i < SHAPES; i++) {
        bench all;
        make_bench(&all, 150, &shapes[i]);
        forward(four, &all, NULL);
        backward(four, &all);
        for (size_t s = 0; s < 3; s++) {
            bench one = all;
            size_t from = all.start[s], start[2] = {0, all.start[s + 1] - from}, wide = all.d.value_heads * all.d.value_dim;
            one.rows = (ar_rows){.count = start[1], .samples = 1, .start = start};
            one.count = start[1];
            one.x += from * all.width, one.b += from * all.d.value_heads, one.a += from * all.d.value_heads, one.weight += from * wide;
            one.o = ops_zeros(value_floats(&one)), one.dx = ops_zeros(one.count * one.width);
            one.db = ops_copy(one.b, one.count * one.d.value_heads), one.da = ops_copy(one.a, one.count * one.d.value_heads);
            one.b = one.db, one.a = one.da; /* in place */
            forward(ops_cpu, &one, NULL);
            backward(ops_cpu, &one);
            ops_assert_same(one.o, all.o + from * wide, value_floats(&one), "a sample alone, o");
            ops_assert_same(one.dx, all.dx + from * all.width, one.count * one.width, "a sample alone, dx");
            ops_assert_same(one.db, all.db + from * all.d.value_heads, one.count * one.d.value_heads, "a sample alone, db");
            ops_assert_same(one.da, all.da + from * all.d.value_heads, one.count * one.d.value_heads, "a sample alone, da");
        }
    }
    ar_runtime_free(four);
}

/* A sample in three calls, of 70 rows, of 5 and then row by row, gives what the whole gave; another sequence lies between. */
static void a_state_goes_on(void **state) {
    enum { ROWS = 80 };
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        for (int which = 0; which < 2; which++) {
            const ar_runtime *rt = which ? ops_cpu : ops_ref;
            bench b;
            make_bench(&b, ROWS, &shapes[i]);
            size_t start[2] = {0, ROWS}, sequence = 1, past = 0, each = b.d.value_heads * b.d.key_dim * b.d.value_dim;
            size_t wide = b.d.value_heads * b.d.value_dim;
            b.rows = (ar_rows){.count = ROWS, .samples = 1, .start = start};
            forward(ops_ref, &b, NULL);
            ar_recurrence memory = {.at = ops_random(2 * each), .each = each, .sequence = &sequence, .past = &past};
            float *got = ops_zeros(ROWS * wide);
            for (size_t n; past < ROWS; past += n) {
                n = past == 0 ? 70 : past == 70 ? 5 : 1;
                start[1] = n;
                bench part = b;
                part.rows = (ar_rows){.count = n, .samples = 1, .start = start, .decoding = n == 1};
                part.x += past * b.width, part.b += past * b.d.value_heads, part.a += past * b.d.value_heads;
                part.o = got + past * wide;
                forward(rt, &part, &memory);
            }
            ops_assert_within(got, b.o, ops_largest(b.o, ROWS * wide), ROWS * wide, roundings(&b), "delta over a state");
        }
}

typedef struct conv_bench {
    ar_conv c;
    ar_rows rows;
    size_t start[4], count;
    float *x, *y, *weight, *dx, *dy;
} conv_bench;

static void make_conv(conv_bench *b, size_t count, size_t width, size_t taps, bool silu, bool bias) {
    *b = (conv_bench){.count = count};
    b->c = (ar_conv){.w = ops_random(width * taps), .bias = bias ? ops_random(width) : NULL, .width = width, .taps = taps, .silu = silu};
    size_t samples = count < 4 ? 1 : 3;
    b->start[1] = samples == 1 ? count : 1;
    b->start[2] = count / 3 + 1;
    b->start[3] = count;
    b->rows = (ar_rows){.count = count, .samples = samples, .start = b->start};
    b->x = ops_random(count * width), b->y = ops_zeros(count * width), b->weight = ops_random(count * width);
    b->dx = ops_zeros(count * width), b->dy = ops_copy(b->weight, count * width);
}

static ops_sum conv_value(void *user) {
    conv_bench *b = user;
    ops_ref->ops->conv_fwd(ops_ref, b->y, b->x, &b->c, &b->rows, NULL);
    return ops_weigh(b->weight, b->y, b->count * b->c.width);
}

static void convolution_agrees_and_its_backward_is_the_slope(void **state) {
    static const size_t widths[] = {1, 7, 64, 600}, taps[] = {1, 2, 4, 5}, rows[] = {1, 3, 17, 40};
    (void)state;
    for (size_t i = 0; i < 64; i++) {
        size_t n = rows[i / 4 % 4] * widths[i / 16];
        conv_bench b;
        make_conv(&b, rows[i / 4 % 4], widths[i / 16], taps[i / 4 % 4], i % 2 == 0, i / 2 % 2 != 0);
        float *y = ops_zeros(n), *dx = ops_zeros(n), *dy = ops_copy(b.weight, n);
        conv_value(&b);
        ops_cpu->ops->conv_fwd(ops_cpu, y, b.x, &b.c, &b.rows, NULL);
        ops_assert_within(y, b.y, 8.0 * ops_largest(b.x, n), n, 16.0, "conv_fwd");
        ops_ref->ops->conv_bwd(ops_ref, b.dx, b.dy, b.x, &b.c, &b.rows);
        memcpy(dx, b.x, n * sizeof *dx);
        ops_cpu->ops->conv_bwd(ops_cpu, dx, dy, b.c.silu ? dx : NULL, &b.c, &b.rows); /* in x's memory, where it is read */
        ops_assert_within(dx, b.dx, 8.0 * ops_largest(b.weight, n) + ops_largest(b.dx, n), n, 64.0, "conv_bwd");
        ops_assert_slope(conv_value, &b, b.x, b.dx, n, "convolution by x");
    }
}

static void a_convolution_goes_on(void **state) {
    static const size_t parts[] = {2, 1, 1, 5, 1};
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        size_t taps = 1 + i / 2, start[2] = {0, 10}, sequence = 1, past = 0, each = (taps - 1) * 9;
        conv_bench b;
        make_conv(&b, 10, 9, taps, i % 2 == 0, i % 2 != 0);
        b.rows = (ar_rows){.count = 10, .samples = 1, .start = start};
        ops_cpu->ops->conv_fwd(ops_cpu, b.y, b.x, &b.c, &b.rows, NULL);
        for (int which = 0; which < 2; which++) {
            const ar_runtime *rt = which ? ops_cpu : ops_ref;
            ar_recurrence memory = {.at = ops_random(2 * each + 1), .each = each, .sequence = &sequence, .past = &past};
            float *got = ops_zeros(90);
            past = 0;
            for (size_t k = 0; k < 5; past += parts[k++]) {
                start[1] = parts[k];
                b.rows.count = parts[k];
                rt->ops->conv_fwd(rt, got + past * 9, b.x + past * 9, &b.c, &b.rows, &memory);
            }
            ops_assert_within(got, b.y, 8.0 * ops_largest(b.x, 90), 90, 16.0, "convolution over what was kept");
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_agree_with_rows),
        cmocka_unit_test(backward_is_the_slope),
        cmocka_unit_test(neighbours_and_threads_change_no_bit),
        cmocka_unit_test(a_state_goes_on),
        cmocka_unit_test(convolution_agrees_and_its_backward_is_the_slope),
        cmocka_unit_test(a_convolution_goes_on),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
