/* OpenBLAS beside our own threads: what a runtime leaves as it found it, and bits that depend on no thread count. */
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>

#include "kern/gemm.h"
#include "ops/linalg_qr.h"
#include "util.h"

enum { M = 7, N = 33, K = 1476, WIDE = 300 };

static ar_error err;

static void a_runtime_leaves_the_programs_threads(void **state) {
    (void)state;
    ar_runtime_options o = {.threads = 1};
    ar_runtime *rt;
    omp_set_num_threads(3);
    assert_ok(ar_runtime_new(&rt, &o, &err), err);
    assert_int_equal(omp_get_max_threads(), 3);
    double *x = calloc(WIDE * WIDE, sizeof *x), *y = calloc(WIDE * WIDE, sizeof *y);
    ar_dgemm g = {.p = WIDE, .q = WIDE, .k = WIDE, .alpha = 1.0, .x = x, .ldx = WIDE, .y = x, .ldy = WIDE, .c = y, .ldc = WIDE};
    ar__dgemm(rt, &g);
    assert_int_equal(omp_get_max_threads(), 3);
    free(x), free(y);
    ar_runtime_free(rt);
}

struct product {
    float *a, *b, *c;
    int threads;
};

/* In a thread of its own: whatever main's first runtime set does not reach it. */
static void *multiply(void *user) {
    struct product *p = user;
    ar_runtime_options o = {.threads = p->threads, .backend = "openblas"};
    ar_runtime *rt;
    omp_set_num_threads(4);
    if (ar_runtime_new(&rt, &o, NULL)) return NULL;
    ar_gemm g = {.m = M, .n = N, .k = K, .a = p->a, .a_row = K, .a_col = 1, .b = p->b, .b_type = AR_F32, .b_ld = K, .b_rows = true};
    g.c = p->c;
    g.c_ld = N;
    ar__gemm(rt, &g);
    ar_runtime_free(rt);
    return p;
}

static void no_thread_count_changes_a_bit(void **state) {
    (void)state;
    float *a = random_f32(M * K, 1, 1.0f), *b = random_f32(N * K, 2, 1.0f), c[4][M * N];
    for (int i = 0; i < 4; i++) {
        struct product p = {a, b, c[i], i + 1};
        pthread_t thread;
        void *done;
        assert_int_equal(pthread_create(&thread, NULL, multiply, &p), 0);
        pthread_join(thread, &done);
        assert_non_null(done);
        assert_memory_equal(c[0], c[i], sizeof c[i]);
    }
    free(a), free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_runtime_leaves_the_programs_threads),
                                       cmocka_unit_test(no_thread_count_changes_a_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
