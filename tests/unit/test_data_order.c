/* The stream of samples over epochs and steps, and the rows of a step. */
#include <stdlib.h>
#include <string.h>

#include "data/order.h"
#include "util.h"

static bool is_permutation(const uint32_t *p, size_t n) {
    bool *seen = calloc(n, 1);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        ok = p[i] < n && !seen[p[i]];
        if (ok) seen[p[i]] = true;
    }
    free(seen);
    return ok;
}

static void epochs_are_permutations_of_their_own(void **state) {
    (void)state;
    enum { N = 1000 };
    uint32_t a[N], b[N], c[N];
    ar__order_epoch(a, N, 1, 0, true);
    ar__order_epoch(b, N, 1, 1, true);
    ar__order_epoch(c, N, 2, 0, true);
    assert_true(is_permutation(a, N) && is_permutation(b, N) && is_permutation(c, N));
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    ar__order_epoch(b, N, 1, 0, true);
    assert_memory_equal(a, b, sizeof a);
    ar__order_epoch(a, N, 1, 3, false);
    for (uint32_t i = 0; i < N; i++) assert_int_equal(a[i], i);
}

static void every_place_is_equally_likely(void **state) {
    (void)state;
    enum { N = 6, RUNS = 60000 };
    int seen[N][N] = {{0}};
    uint32_t p[N];
    for (uint64_t e = 0; e < RUNS; e++) {
        ar__order_epoch(p, N, 9, e, true);
        for (int i = 0; i < N; i++) seen[i][p[i]]++;
    }
    double chi2 = 0, expected = (double)RUNS / N;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) chi2 += (seen[i][k] - expected) * (seen[i][k] - expected) / expected;
    assert_true(chi2 < 52.6); /* 25 degrees of freedom, p = 0.001 */
}

static void steps_cross_the_ends_of_epochs(void **state) {
    (void)state;
    enum { N = 7, BATCH = 3 };
    ar_stream s;
    ar_error err;
    uint32_t got[30], take[BATCH], want[N];
    assert_ok(ar__stream_init(&s, N, BATCH, 20, 5, true, &err), err);
    assert_int_equal(ar__stream_steps(20, BATCH), 7);
    int n = 0;
    for (uint64_t t = 1; t <= 7; t++) {
        int k = ar__stream_get(take, &s, t);
        assert_int_equal(k, t < 7 ? 3 : 2);
        memcpy(got + n, take, (size_t)k * sizeof *take);
        n += k;
    }
    assert_int_equal(n, 20);
    assert_int_equal(ar__stream_get(take, &s, 8), 0);
    for (uint64_t e = 0; e < 3; e++) {
        ar__order_epoch(want, N, 5, e, true);
        assert_memory_equal(got + e * N, want, (e < 2 ? N : 6) * sizeof *want);
    }
    for (uint64_t t = 7; t >= 1; t--) { /* any step, in any order, is the same */
        int k = ar__stream_get(take, &s, t);
        assert_memory_equal(take, got + (t - 1) * BATCH, (size_t)k * sizeof *take);
    }
    ar__stream_release(&s);
}

static void a_batch_may_exceed_the_data(void **state) {
    (void)state;
    ar_stream s;
    ar_error err;
    uint32_t take[8];
    assert_ok(ar__stream_init(&s, 3, 8, UINT64_MAX, 1, false, &err), err);
    assert_int_equal(ar__stream_get(take, &s, 1), 8);
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(take[i], i % 3);
    assert_int_equal(ar__stream_get(take, &s, 1u << 30), 8);
    assert_int_equal(ar__stream_epoch(&s, 7), 2);
    ar__stream_release(&s);
}

static void epochs_may_be_fractions(void **state) {
    (void)state;
    assert_int_equal(ar__epoch_samples(3, 10), 30);
    assert_int_equal(ar__epoch_samples(0.1, 30), 3);
    assert_int_equal(ar__epoch_samples(0.25, 10), 3);
    assert_int_equal(ar__epoch_samples(1e-9, 10), 1);
    assert_int_equal(ar__epoch_samples(2.9999999999999996, 10), 30);
    assert_true(ar__epoch_samples(1e300, 10) == UINT64_MAX);
    assert_int_equal(ar__stream_steps(30, 8), 4);
    assert_int_equal(ar__stream_steps(32, 8), 4);
    assert_int_equal(ar__stream_steps(1, 8), 1);
}

static void rows_keep_the_order_of_samples(void **state) {
    (void)state;
    const int lengths[] = {40, 60, 1, 99, 100, 30, 30, 30, 30};
    const ar_row want[] = {{0, 2, 100}, {2, 2, 100}, {4, 1, 100}, {5, 3, 90}, {8, 1, 30}};
    ar_row rows[9];
    assert_int_equal(ar__pack_rows(rows, lengths, 9, 100, true, false), 5);
    assert_memory_equal(rows, want, sizeof want);
    assert_int_equal(ar__pack_rows(rows, lengths, 9, 100, false, false), 9);
    for (int i = 0; i < 9; i++) assert_true(rows[i].first == i && rows[i].count == 1 && rows[i].tokens == lengths[i]);
    assert_int_equal(ar__pack_rows(rows, lengths, 0, 100, true, false), 0);
    assert_int_equal(ar__pack_rows(rows, lengths, 4, 50, true, false), 4); /* 60 and 99 stand alone, 1 does not join 60 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_permutations_of_their_own),
        cmocka_unit_test(every_place_is_equally_likely),
        cmocka_unit_test(steps_cross_the_ends_of_epochs),
        cmocka_unit_test(a_batch_may_exceed_the_data),
        cmocka_unit_test(epochs_may_be_fractions),
        cmocka_unit_test(rows_keep_the_order_of_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
