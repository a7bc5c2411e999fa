/* Routing, rows by expert, and what weighs them: cpu beside ref, ref's backward beside its slope, and routings that are hard. */
#include <math.h>
#include <string.h>

#include "ops_check.h"

static const struct { size_t rows, experts, used; } shapes[] = {{1, 1, 1}, {3, 2, 2}, {7, 5, 1}, {17, 6, 3}, {65, 60, 4}, {130, 128, 8}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct routed {
    ar_router router;
    size_t rows;
    float *logits, *weight, *by;
    int32_t *chosen;
} routed;

static routed make_routed(size_t i, bool of_all) {
    routed q = {.router = {shapes[i].experts, shapes[i].used, of_all}, .rows = shapes[i].rows};
    q.logits = ops_random(q.rows * q.router.experts);
    q.weight = ops_zeros(q.rows * q.router.used);
    q.by = ops_random(q.rows * q.router.used);
    q.chosen = ops_memory(q.rows * q.router.used * sizeof *q.chosen);
    return q;
}

/* The choice is held: it has no slope. */
static ops_sum routed_value(void *user) {
    routed *q = user;
    ar_router some = q->router;
    double value = 0.0, size = 0.0;
    for (size_t i = 0; i < q->rows; i++) {
        const float *l = q->logits + i * some.experts;
        const int32_t *c = q->chosen + i * some.used;
        double sum = 0.0;
        for (size_t e = 0; e < (some.of_all ? some.experts : some.used); e++) sum += exp((double)l[some.of_all ? e : (size_t)c[e]]);
        for (size_t j = 0; j < some.used; j++) {
            double x = (double)q->by[i * some.used + j] * exp((double)l[c[j]]) / sum;
            value += x;
            size += fabs(x);
        }
    }
    return (ops_sum){value, size};
}

static void check_routing(size_t i, bool of_all) {
    routed q = make_routed(i, of_all);
    size_t n = q.rows * q.router.used, all = q.rows * q.router.experts;
    float *weight = ops_zeros(n), *dl[2] = {ops_copy(q.logits, all), ops_zeros(all)}, *size = ops_zeros(all);
    int32_t *chosen = ops_memory(n * sizeof *chosen);
    ops_ref->ops->route_fwd(ops_ref, q.chosen, q.weight, &q.router, q.logits, q.rows);
    ops_cpu->ops->route_fwd(ops_cpu, chosen, weight, &q.router, q.logits, q.rows);
    assert_memory_equal(chosen, q.chosen, n * sizeof *chosen);
    ops_assert_rounding(weight, q.weight, q.weight, n, 2.0, "route_fwd");
    ops_cpu->ops->route_bwd(ops_cpu, dl[0], &q.router, q.chosen, q.weight, q.by, dl[0], q.rows); /* in place */
    ops_ref->ops->route_bwd(ops_ref, dl[1], &q.router, q.chosen, q.weight, q.by, q.logits, q.rows);
    for (size_t k = 0; k < all; k++) size[k] = (float)ops_largest(q.by, n);
    ops_assert_rounding(dl[0], dl[1], size, all, 8.0, "route_bwd");
    if (q.router.used < q.router.experts || of_all || q.router.used > 1)
        ops_assert_slope(routed_value, &q, q.logits, dl[1], all, "weights by logits");
}

static void routing_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        check_routing(i, false);
        check_routing(i, true);
    }
}

/* Two samples, one of no rows between them; what one layer adds to another's. */
typedef struct balanced {
    routed q;
    size_t start[4];
    ar_rows rows;
    float *count, by[3];
} balanced;

/* The loss, whose counts are held: they have no slope. */
static ops_sum balance_value(void *user) {
    balanced *b = user;
    size_t n = b->q.router.experts;
    float *count = ops_zeros(3 * n), *share = ops_zeros(3 * n);
    double value = 0.0;
    ops_ref->ops->balance_fwd(ops_ref, count, share, &b->q.router, b->q.chosen, b->q.logits, &b->rows);
    for (size_t i = 0; i < 3 * n; i++) value += (double)b->by[i / n] * (double)b->count[i] * (double)share[i];
    return (ops_sum){value, fabs(value)};
}

static void check_balance(size_t i) {
    balanced b = {.q = make_routed(i, i % 2), .by = {0.7f, 2.0f, -0.3f}};
    size_t n = b.q.router.experts, rows = b.q.rows, all = 3 * n;
    b.start[1] = b.start[2] = rows / 3;
    b.start[3] = rows;
    b.rows = (ar_rows){.count = rows, .samples = 3, .start = b.start};
    ops_ref->ops->route_fwd(ops_ref, b.q.chosen, b.q.weight, &b.q.router, b.q.logits, rows);
    float *before = ops_abs(ops_random(all), all), *share[2] = {ops_copy(before, all), ops_copy(before, all)}, *size = ops_zeros(rows * n);
    float *count[2] = {ops_zeros(all), ops_zeros(all)}, *dl[2], *slope = ops_zeros(rows * n);
    dl[0] = ops_random(rows * n);
    dl[1] = ops_copy(dl[0], rows * n);
    ops_cpu->ops->balance_fwd(ops_cpu, count[0], share[0], &b.q.router, b.q.chosen, b.q.logits, &b.rows);
    ops_ref->ops->balance_fwd(ops_ref, count[1], share[1], &b.q.router, b.q.chosen, b.q.logits, &b.rows);
    ops_assert_same(count[0], count[1], all, "count");
    ops_assert_rounding(share[0], share[1], share[1], all, 4.0, "share");
    b.count = count[1];
    for (size_t k = 0; k < rows * n; k++) size[k] = (float)(fabs((double)dl[1][k]) + 2.0 * ops_largest(b.count, all));
    ops_cpu->ops->balance_bwd(ops_cpu, dl[0], &b.q.router, b.count, b.by, b.q.logits, &b.rows);
    ops_ref->ops->balance_bwd(ops_ref, dl[1], &b.q.router, b.count, b.by, b.q.logits, &b.rows);
    ops_assert_rounding(dl[0], dl[1], size, rows * n, 8.0, "balance_bwd");
    ops_ref->ops->balance_bwd(ops_ref, slope, &b.q.router, b.count, b.by, b.q.logits, &b.rows);
    if (n > b.q.router.used) ops_assert_slope(balance_value, &b, b.q.logits, slope, rows * n, "balance by logits");
}

static void balance_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) check_balance(i);
}

static void hard_routings_are_taken(void **state) {
    (void)state;
    ar_router router = {4, 2, true};
    const float hard[] = {1, 1, 1, 1, 0, 200, -200, 0, NAN, 0, 1, 2, 0, INFINITY, 0, 0};
    float *logits = ops_copy(hard, sizeof hard / sizeof *hard), *weight = ops_zeros(8);
    int32_t chosen[8];
    ops_cpu->ops->route_fwd(ops_cpu, chosen, weight, &router, logits, 4);
    assert_int_equal(chosen[0], 0); /* the first of equals */
    assert_int_equal(chosen[1], 1);
    assert_true(weight[0] == 0.25f && weight[1] == 0.25f);
    assert_int_equal(chosen[2], 1);
    assert_true(weight[2] == 1.0f && weight[3] == 0.0f);
    assert_true(isnan(weight[4]) && isnan(weight[5]) && isnan(weight[6]));
    for (int i = 0; i < 8; i += 2) assert_true(chosen[i] != chosen[i + 1] && chosen[i] >= 0 && chosen[i] < 4 && chosen[i + 1] < 4);
}

/* Of five rows in two samples, one expert has all, one none. */
static void rows_are_sorted_by_expert(void **state) {
    (void)state;
    static const int32_t chosen[] = {1, 0, 1, 3, 3, 1, 1, 0, 0, 1};
    static const size_t start[] = {0, 3, 5}, whole[] = {0, 1, 2, 3, 4};
    size_t first[5], row[10], pick[10], position[10], starts[4 * 3];
    ar_routes r = {first, row, pick, position, starts};
    ar_router router = {4, 2, false};
    ar_rows rows = {.count = 5, .samples = 2, .start = start};
    ar__routes_sort(&r, &router, chosen, &rows);
    ar_rows zero = ar__routes_rows(&r, 0, &rows), one = ar__routes_rows(&r, 1, &rows), two = ar__routes_rows(&r, 2, &rows);
    assert_int_equal(zero.count, 3);
    assert_int_equal(one.count, 5);
    assert_int_equal(two.count, 0);
    assert_memory_equal(row + first[1], whole, sizeof whole);
    assert_memory_equal(zero.start, ((size_t[]){0, 1, 3}), 3 * sizeof(size_t));
    assert_memory_equal(one.start, start, sizeof start);
    assert_memory_equal(row, ((size_t[]){0, 3, 4}), 3 * sizeof(size_t));
    assert_memory_equal(pick, ((size_t[]){1, 7, 8}), 3 * sizeof(size_t));
    assert_memory_equal(zero.position, ((size_t[]){0, 0, 1}), 3 * sizeof(size_t));
}

static ops_sum weighed_value(void *user) {
    float **x = user; /* x, weight, by: [17, 9] */
    float *y = ops_copy(x[0], 17 * 9);
    ops_ref->ops->rows_weigh(ops_ref, y, x[1], 17, 9);
    return ops_weigh(x[2], y, 17 * 9);
}

static ops_sum sigmoid_value(void *user) {
    float **x = user;
    float *y = ops_zeros(17);
    ops_ref->ops->sigmoid_fwd(ops_ref, y, x[1], 17);
    return ops_weigh(x[2], y, 17);
}

static ops_sum biased_value(void *user) {
    float **x = user; /* what there is, weight, by, bias */
    float *y = ops_copy(x[0], 17 * 9);
    ops_ref->ops->rows_bias(ops_ref, y, x[1], x[3], 17, 9);
    return ops_weigh(x[2], y, 17 * 9);
}

static void weighed_biases_agree(void **state) {
    (void)state;
    enum { R = 17, N = 9 };
    float *x[] = {ops_random(R * N), ops_random(R), ops_random(R * N), ops_random(N)};
    float *y[] = {ops_copy(x[0], R * N), ops_copy(x[0], R * N)}, *dw[] = {ops_zeros(R), ops_zeros(R)};
    ops_cpu->ops->rows_bias(ops_cpu, y[0], x[1], x[3], R, N);
    ops_ref->ops->rows_bias(ops_ref, y[1], x[1], x[3], R, N);
    ops_assert_within(y[0], y[1], ops_largest(x[0], R * N) + ops_largest(x[1], R) * ops_largest(x[3], N), R * N, 3.0, "rows_bias");
    ops_cpu->ops->rows_bias_bwd(ops_cpu, dw[0], x[2], x[3], R, N);
    ops_ref->ops->rows_bias_bwd(ops_ref, dw[1], x[2], x[3], R, N);
    ops_assert_within(dw[0], dw[1], ops_largest(x[2], R * N) * ops_largest(x[3], N) * N, R, 20.0, "rows_bias_bwd");
    ops_assert_slope(biased_value, x, x[1], dw[1], R, "weighed bias by weight");
}

static void weighing_agrees(void **state) {
    (void)state;
    enum { R = 17, N = 9 };
    static const size_t row[] = {3, 0, 16, 7};
    float *x[] = {ops_random(R * N), ops_random(R), ops_random(R * N)}, *a = ops_copy(x[0], R * N), *b = ops_copy(x[0], R * N);
    float *dx[] = {ops_copy(x[2], R * N), ops_copy(x[2], R * N)}, *dw[] = {ops_zeros(R), ops_zeros(R)};
    ops_cpu->ops->rows_weigh(ops_cpu, a, x[1], R, N);
    ops_ref->ops->rows_weigh(ops_ref, b, x[1], R, N);
    ops_assert_same(a, b, R * N, "rows_weigh");
    ops_cpu->ops->rows_weigh_bwd(ops_cpu, dw[0], dx[0], x[0], x[1], R, N);
    ops_ref->ops->rows_weigh_bwd(ops_ref, dw[1], dx[1], x[0], x[1], R, N);
    ops_assert_same(dx[0], dx[1], R * N, "rows_weigh_bwd, dx");
    ops_assert_within(dw[0], dw[1], ops_largest(x[0], R * N) * ops_largest(x[2], R * N) * N, R, 20.0, "rows_weigh_bwd, dweight");
    ops_assert_slope(weighed_value, x, x[0], dx[1], R * N, "weighed rows by x");
    ops_assert_slope(weighed_value, x, x[1], dw[1], R, "weighed rows by weight");
    ops_cpu->ops->rows_add(ops_cpu, a, x[2], row, 4, N);
    ops_ref->ops->rows_add(ops_ref, b, x[2], row, 4, N);
    ops_assert_same(a, b, R * N, "rows_add");
    ops_cpu->ops->sigmoid_fwd(ops_cpu, a, x[1], R);
    ops_ref->ops->sigmoid_fwd(ops_ref, b, x[1], R);
    ops_assert_rounding(a, b, b, R, 6.0, "sigmoid_fwd");
    ops_cpu->ops->sigmoid_bwd(ops_cpu, dx[0], b, x[2], R);
    ops_ref->ops->sigmoid_bwd(ops_ref, dx[1], b, x[2], R);
    ops_assert_rounding(dx[0], dx[1], ops_abs(x[2], R), R, 6.0, "sigmoid_bwd");
    ops_assert_slope(sigmoid_value, x, x[1], dx[1], R, "sigmoid by x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routing_agrees),          cmocka_unit_test(balance_agrees),
        cmocka_unit_test(hard_routings_are_taken), cmocka_unit_test(rows_are_sorted_by_expert),
        cmocka_unit_test(weighing_agrees),         cmocka_unit_test(weighed_biases_agree),
    };
    return cmocka_run_group_tests_name("ops_experts", tests, ops_start, ops_stop);
}
