/* Linear algebra of updates against naive double code (dense.c). */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dense.h"
#include "ops/linalg.h"
#include "util.h"

static ar_error err;
static ar_runtime *rt, *other_threads;

static int start(void **state) {
    (void)state;
    ar_runtime_options one = {.threads = 1}, three = {.threads = 3};
    return ar_runtime_new(&rt, &one, &err) || ar_runtime_new(&other_threads, &three, &err);
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    ar_runtime_free(other_threads);
    return 0;
}

/* ‖x − BA‖ for the factors of out */
static double distance(const double *x, const ar_low_rank *out, size_t m, size_t n) {
    double *y = dense_product(out->b, out->a, m, out->rank, n);
    for (size_t i = 0; i < m * n; i++) y[i] -= x[i];
    double d = dense_norm(y, m * n);
    free(y);
    return d;
}

/* σ_j = ‖column j of B‖² = ‖row j of A‖² */
static void assert_split_evenly(const ar_low_rank *x, size_t m, size_t n) {
    for (size_t j = 0; j < x->rank; j++) {
        double b = 0.0, a = 0.0;
        for (size_t i = 0; i < m; i++) b += (double)x->b[i * x->rank + j] * (double)x->b[i * x->rank + j];
        for (size_t i = 0; i < n; i++) a += (double)x->a[j * n + i] * (double)x->a[j * n + i];
        if (x->sigma[j] < 1e-6 * x->sigma[0]) continue;
        assert_true(relative_diff(b, x->sigma[j]) < 1e-6);
        assert_true(relative_diff(a, x->sigma[j]) < 1e-6);
    }
}

/* ---- shapes: every kind of pair that there is ------------------------------------------------------------------- */
typedef struct pair_case {
    size_t m, r, n;
    float scale_b, scale_a;
    size_t independent; /* the other components repeat these; 0: the factors are zero */
} pair_case;
static const pair_case pairs[] = {
    {7, 1, 5, 1, 1, 1},
    {40, 8, 30, 1, 1, 8},
    {40, 8, 30, 1, 1, 3},
    {700, 16, 40, 1, 1, 16},
    {30, 16, 1300, 1, 1, 16},
    {6, 9, 30, 1, 1, 9},
    {30, 9, 6, 1, 1, 9},
    {5, 9, 4, 1, 1, 9},
    {20, 4, 10, 1, 1, 0},
    {20, 4, 10, 1e-20f, 1e-20f, 4},
    {20, 4, 10, 1e20f, 1e20f, 4},
    {1, 3, 1, 1, 1, 3},
    {24, 6, 20, 1e10f, 1e-10f, 6},
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

static void make_pair(float **b, float **a, const pair_case *c, uint64_t seed) {
    *b = random_f32(c->m * c->r, seed, c->scale_b);
    *a = random_f32(c->r * c->n, seed + 1, c->scale_a);
    for (size_t k = c->independent; k < c->r; k++) {
        for (size_t i = 0; i < c->m; i++) (*b)[i * c->r + k] = c->independent ? (*b)[i * c->r + k % c->independent] : 0.0f;
        for (size_t j = 0; j < c->n; j++) (*a)[k * c->n + j] = c->independent ? (*a)[k % c->independent * c->n + j] : 0.0f;
    }
}

static double dot_columns(const float *x, const float *y, size_t p, size_t q, size_t i, size_t j, size_t len) {
    double sum = 0.0;
    for (size_t k = 0; k < len; k++) sum += (double)x[k * p + i] * (double)y[k * q + j];
    return sum;
}

static void grams_and_crosses_are_the_products(void **state) {
    (void)state;
    enum { M = 1111, P = 5, Q = 3 };
    float *x = random_f32(M * P, 1, 1.0f), *y = random_f32(M * Q, 2, 1.0f), *xt = malloc(M * P * sizeof *xt),
          *yt = malloc(M * Q * sizeof *yt);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < P; j++) xt[j * M + i] = x[i * P + j];
        for (size_t j = 0; j < Q; j++) yt[j * M + i] = y[i * Q + j];
    }
    double columns[P * P], rows[P * P], cross_columns[P * Q], cross_rows[P * Q], again[P * P];
    assert_ok(ar__gram_columns(columns, rt, x, M, P, &err), err);
    assert_ok(ar__gram_rows(rows, rt, xt, P, M, &err), err);
    assert_ok(ar__cross_columns(cross_columns, rt, x, P, y, Q, M, &err), err);
    assert_ok(ar__cross_rows(cross_rows, rt, xt, P, yt, Q, M, &err), err);
    for (size_t i = 0; i < P; i++) {
        for (size_t j = 0; j < P; j++) {
            assert_near(columns[i * P + j], dot_columns(x, x, P, P, i, j, M), 1e-12);
            assert_near(rows[i * P + j], columns[i * P + j], 1e-12);
        }
        for (size_t j = 0; j < Q; j++) {
            assert_near(cross_columns[i * Q + j], dot_columns(x, y, P, Q, i, j, M), 1e-12);
            assert_near(cross_rows[i * Q + j], cross_columns[i * Q + j], 1e-12);
        }
    }
    assert_ok(ar__gram_rows(again, other_threads, xt, P, M, &err), err);
    assert_memory_equal(again, rows, sizeof rows);
    free(x), free(y), free(xt), free(yt);
}

static void norm_and_spectrum_come_from_the_grams(void **state) {
    (void)state;
    for (size_t c = 0; c < PAIRS; c++) {
        const pair_case *p = &pairs[c];
        float *a, *b;
        make_pair(&b, &a, p, 10 + c);
        double *x = dense_product(b, a, p->m, p->r, p->n), *want = dense_singular_values(x, p->m, p->n), *rows = malloc(p->r * p->r * 8),
               *columns = malloc(p->r * p->r * 8), *sigma = malloc(p->r * 8);
        assert_ok(ar__gram_rows(rows, rt, a, p->r, p->n, &err), err);
        assert_ok(ar__gram_columns(columns, rt, b, p->m, p->r, &err), err);
        assert_ok(ar__update_spectrum(sigma, rows, columns, p->r, &err), err);
        assert_true(fabs(sqrt(ar__update_norm2(rows, columns, p->r)) - dense_norm(x, p->m * p->n)) <= 1e-7 * want[0]);
        for (size_t i = 0; i < p->r; i++) assert_true(fabs(sigma[i] - (i < p->n ? want[i] : 0.0)) <= 2e-7 * want[0]);
        free(a), free(b), free(x), free(want), free(rows), free(columns), free(sigma);
    }
}

static void svd_of_factors_is_the_best_there_is(void **state) {
    (void)state;
    for (size_t c = 0; c < PAIRS; c++) {
        const pair_case *p = &pairs[c];
        float *a, *b;
        make_pair(&b, &a, p, 30 + c);
        double *x = dense_product(b, a, p->m, p->r, p->n), *want = dense_singular_values(x, p->m, p->n);
        size_t count = p->m < p->n ? p->m : p->n;
        if (p->r < count) count = p->r;
        for (size_t k = 1; k <= count; k = k < count && 2 * k > count ? count : 2 * k) {
            ar_low_rank out;
            ar_rank_rule rule = {.rank = k};
            assert_ok(ar__low_rank_svd(&out, rt, b, a, p->m, p->r, p->n, &rule, &err), err);
            assert_int_equal(out.rank, k);
            assert_int_equal(out.count, count);
            for (size_t i = 0; i < count; i++) assert_true(fabs(out.sigma[i] - want[i]) <= 1e-13 * want[0]);
            assert_true(distance(x, &out, p->m, p->n) <= dense_tail(want, p->n, k) * (1.0 + 1e-9) + 3e-7 * want[0]);
            assert_split_evenly(&out, p->m, p->n);
            ar__low_rank_release(&out);
        }
        free(a), free(b), free(x), free(want);
    }
}

static void threads_change_no_bit(void **state) {
    (void)state;
    enum { M = 2100, R = 40, N = 1100 };
    float *b = random_f32(M * R, 1, 1.0f), *a = random_f32(R * N, 2, 1.0f), *w = random_f32((size_t)1100 * N, 3, 1.0f);
    ar_rank_rule rule = {.rank = 12};
    ar_low_rank x, y;
    assert_ok(ar__low_rank_svd(&x, rt, b, a, M, R, N, &rule, &err), err);
    assert_ok(ar__low_rank_svd(&y, other_threads, b, a, M, R, N, &rule, &err), err);
    assert_memory_equal(x.b, y.b, M * 12 * sizeof(float));
    assert_memory_equal(x.a, y.a, N * 12 * sizeof(float));
    ar__low_rank_release(&x);
    ar__low_rank_release(&y);
    ar_dense dense_w = {.m = 1100, .n = N, .data = w};
    assert_ok(ar__top_svd(&x, rt, &dense_w, &rule, 1, &err), err);
    assert_ok(ar__top_svd(&y, other_threads, &dense_w, &rule, 1, &err), err);
    assert_memory_equal(x.b, y.b, (size_t)1100 * 12 * sizeof(float));
    assert_memory_equal(x.a, y.a, N * 12 * sizeof(float));
    ar__low_rank_release(&x);
    ar__low_rank_release(&y);
    free(a), free(b), free(w);
}

static void rank_rule_finds_the_smallest(void **state) {
    (void)state;
    const double sigma[] = {3.0, 2.0, 1.0, 0.5}; /* squares 9, 4, 1, 0.25: 14.25 */
    static const struct {
        ar_rank_rule rule;
        size_t want;
    } cases[] = {
        {{.energy = 0.6}, 1},
        {{.energy = 0.64}, 2},
        {{.energy = 0.9}, 2},
        {{.energy = 0.95}, 3},
        {{.energy = 1.0}, 4},
        {{.max_error = 0.3}, 2},
        {{.max_error = 0.1325}, 3},
        {{.max_error = 0.13}, 4},
        {{.rank = 2}, 2},
        {{.rank = 9}, 4},
        {{.rank = 2, .energy = 1.0}, 2},
        {{.energy = 0.6, .max_error = 0.3}, 2},
        {{0}, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(ar__rank_for(&cases[i].rule, sigma, 4, 0.0), cases[i].want);
    const double zero[] = {0.0, 0.0};
    assert_int_equal(ar__rank_for(&(ar_rank_rule){.energy = 0.9}, zero, 2, 0.0), 1);
    assert_near(ar__lost_energy(sigma, 4, 0.0, 2), 1.25 / 14.25, 1e-15);
    assert_near(ar__lost_energy(sigma, 4, 0.75, 4), 0.75 / 15.0, 1e-15);
    assert_true(ar__lost_energy(zero, 2, 0.0, 1) == 0.0);
    /* energy outside of the known values counts as lost */
    assert_int_equal(ar__rank_for(&(ar_rank_rule){.energy = 0.9}, sigma, 4, 1.0), 3);
}

/* ---- dense matrices -------------------------------------------------------------------------------------------- */
typedef struct source {
    const float *data;
    size_t n, calls;
} source;

static ar_status give_rows(void *user, float *dst, size_t row0, size_t count, ar_error *e) {
    source *s = user;
    (void)e;
    memcpy(dst, s->data + row0 * s->n, count * s->n * sizeof *dst);
    s->calls++;
    return AR_OK;
}

static void small_dense_matrices_are_exact(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{50, 30}, {30, 50}, {1, 40}, {40, 1}, {33, 33}};
    for (size_t c = 0; c < 5; c++)
        for (int scale = -20; scale <= 20; scale += 20) {
            size_t m = shapes[c][0], n = shapes[c][1];
            float *w = random_f32(m * n, c + 1, powf(10.0f, (float)scale));
            double *x = malloc(m * n * sizeof *x);
            for (size_t i = 0; i < m * n; i++) x[i] = (double)w[i];
            double *want = dense_singular_values(x, m, n);
            size_t small_side = m < n ? m : n, k = small_side > 6 ? 6 : small_side;
            ar_low_rank out;
            ar_dense d = {.m = m, .n = n, .data = w};
            assert_ok(ar__top_svd(&out, rt, &d, &(ar_rank_rule){.rank = k}, 1, &err), err);
            assert_int_equal(out.rank, k);
            for (size_t i = 0; i < k; i++) assert_true(relative_diff(out.sigma[i], want[i]) < 1e-9);
            assert_true(distance(x, &out, m, n) <= dense_tail(want, n, k) * (1.0 + 1e-9) + 3e-7 * want[0]);
            assert_split_evenly(&out, m, n);
            ar__low_rank_release(&out);
            free(w), free(x), free(want);
        }
}

/* A planted update of falling singular values with noise over it, in every direction of shape. */
static float *planted(size_t m, size_t n, size_t r, double size_of_noise, double scale) {
    float *b = random_f32(m * r, 5, 1.0f), *a = random_f32(r * n, 6, 1.0f), *w = random_f32(m * n, 7, (float)(size_of_noise * scale));
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (size_t k = 0; k < r; k++) sum += (double)b[i * r + k] * (double)a[k * n + j] / (double)(1 << k);
            w[i * n + j] = (float)(scale * sum + (double)w[i * n + j]);
        }
    free(a), free(b);
    return w;
}

static void planted_updates_are_recovered(void **state) {
    (void)state;
    static const struct {
        size_t m, n;
        double scale;
    } cases[] = {{1100, 1300, 1.0}, {1500, 1060, 1.0}, {1100, 1100, 1e-20}, {1100, 1100, 1e15}};
    for (size_t c = 0; c < 4; c++) {
        size_t m = cases[c].m, n = cases[c].n, r = 6;
        float *w = planted(m, n, r, 0.0, cases[c].scale);
        double *x = malloc(m * n * sizeof *x);
        for (size_t i = 0; i < m * n; i++) x[i] = (double)w[i];
        source from = {w, n, 0};
        ar_dense here = {.m = m, .n = n, .data = w}, made = {.m = m, .n = n, .rows = give_rows, .user = &from};
        ar_low_rank out, same;
        assert_ok(ar__top_svd(&out, rt, &here, &(ar_rank_rule){.rank = r}, 1, &err), err);
        assert_true(distance(x, &out, m, n) <= 1e-6 * dense_norm(x, m * n));
        assert_true(ar__lost_energy(out.sigma, out.count, out.rest, out.rank) < 1e-12);
        assert_ok(ar__top_svd(&same, rt, &made, &(ar_rank_rule){.rank = r}, 1, &err), err);
        assert_true(from.calls > 0);
        assert_memory_equal(out.b, same.b, m * r * sizeof(float));
        assert_memory_equal(out.a, same.a, n * r * sizeof(float));
        ar__low_rank_release(&out);
        ar__low_rank_release(&same);
        /* by energy: the squares fall by 4, so that 99 % are held by four, and 1 − 1e-9 by all six */
        assert_ok(ar__top_svd(&out, rt, &here, &(ar_rank_rule){.energy = 0.99}, 1, &err), err);
        assert_in_range(out.rank, 3, 4);
        ar__low_rank_release(&out);
        assert_ok(ar__top_svd(&out, rt, &here, &(ar_rank_rule){.energy = 1.0 - 1e-9}, 1, &err), err);
        assert_int_equal(out.rank, r);
        ar__low_rank_release(&out);
        free(w), free(x);
    }
}

/* Lanczos against the direct way, which the test of small matrices holds to Jacobi: a tall strip of zeros makes the side
 * large without changing a singular value. */
static void noisy_matrices_are_approximated_as_well_as_can_be(void **state) {
    (void)state;
    enum { M = 1000, N = 1200, LARGE = 1040 };
    static const struct {
        double level;
        size_t rank;
    } cases[] = {{1e-4, 10}, {0.1, 10}, {30.0, 10}, {0.1, 24}};
    for (size_t c = 0; c < 4; c++) {
        float *w = planted(M, N, 6, cases[c].level, 1.0), *padded = calloc((size_t)LARGE * N, sizeof *padded);
        memcpy(padded, w, (size_t)M * N * sizeof *w);
        ar_low_rank direct, lanczos;
        ar_rank_rule rule = {.rank = cases[c].rank};
        assert_ok(ar__top_svd(&direct, rt, &(ar_dense){.m = M, .n = N, .data = w}, &rule, 1, &err), err);
        assert_ok(ar__top_svd(&lanczos, rt, &(ar_dense){.m = LARGE, .n = N, .data = padded}, &rule, 1, &err), err);
        assert_true(lanczos.rest <= direct.rest * (1.0 + 2e-5));
        assert_true(lanczos.rest >= direct.rest * (1.0 - 1e-9));
        ar__low_rank_release(&direct);
        ar__low_rank_release(&lanczos);
        free(w), free(padded);
    }
}

static void nothing_is_an_update_of_rank_one(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{20, 30}, {1100, 1050}};
    for (size_t c = 0; c < 2; c++) {
        size_t m = shapes[c][0], n = shapes[c][1];
        float *w = calloc(m * n, sizeof *w);
        ar_low_rank out;
        assert_ok(ar__top_svd(&out, rt, &(ar_dense){.m = m, .n = n, .data = w}, &(ar_rank_rule){.energy = 0.99}, 1, &err), err);
        assert_int_equal(out.rank, 1);
        for (size_t i = 0; i < m; i++) assert_true(out.b[i] == 0.0f);
        for (size_t i = 0; i < n; i++) assert_true(out.a[i] == 0.0f);
        ar__low_rank_release(&out);
        free(w);
    }
}

static void not_finite_is_an_error(void **state) {
    (void)state;
    enum { M = 300, R = 4, N = 40 };
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t c = 0; c < 3; c++) {
        float *b = random_f32(M * R, 1, 1.0f), *a = random_f32(R * N, 2, 1.0f), *w = random_f32(M * N, 3, 1.0f);
        b[177 * R + 2] = a[1 * N + 7] = w[177 * N + 3] = bad[c];
        double g[R * R];
        ar_low_rank out;
        ar_rank_rule rule = {.rank = 2};
        assert_error(ar__gram_rows(g, rt, a, R, N, &err), AR_ERR_NUMERIC, err, "component 1");
        assert_error(ar__gram_columns(g, rt, b, M, R, &err), AR_ERR_NUMERIC, err, "NaN or infinity");
        assert_error(ar__low_rank_svd(&out, rt, b, a, M, R, N, &rule, &err), AR_ERR_NUMERIC, err, "NaN or infinity");
        assert_null(out.b);
        assert_error(ar__top_svd(&out, rt, &(ar_dense){.m = M, .n = N, .data = w}, &rule, 1, &err), AR_ERR_NUMERIC, err, "row 177");
        assert_null(out.b);
        free(a), free(b), free(w);
    }
    ar_low_rank out;
    assert_error(ar__low_rank_svd(&out, rt, NULL, NULL, 0, 4, 4, &(ar_rank_rule){0}, &err), AR_ERR_VALUE, err, "wanted sizes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grams_and_crosses_are_the_products),
        cmocka_unit_test(norm_and_spectrum_come_from_the_grams),
        cmocka_unit_test(svd_of_factors_is_the_best_there_is),
        cmocka_unit_test(rank_rule_finds_the_smallest),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(small_dense_matrices_are_exact),
        cmocka_unit_test(planted_updates_are_recovered),
        cmocka_unit_test(noisy_matrices_are_approximated_as_well_as_can_be),
        cmocka_unit_test(nothing_is_an_update_of_rank_one),
        cmocka_unit_test(not_finite_is_an_error),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
