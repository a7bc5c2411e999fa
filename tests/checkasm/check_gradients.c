/* Gradients of weights, dW += dY^T · X sample after sample: the kernel of narrow ones, of which nothing may be read past the last row's
 * end, and the whole on either side of what is narrow; against the sum in double, and the same bits for any threads and any cut of the
 * samples into batches. */
#include "checkasm.h"
#include "kern/gemm.h"

static void one_outer(check_failure *f, const ar_kernels *kn, size_t rows, size_t cols, size_t m) {
    enum { C = AR_OUTER_ROWS * AR_OUTER_COLS };
    size_t left_ld = rows + check_below(9), right_ld = cols + check_below(30);
    size_t left_count = m ? (m - 1) * left_ld + rows : 0, right_count = m ? (m - 1) * right_ld + cols : 0;
    check_block a = check_block_new(left_count * sizeof(float), 4 * check_below(16));
    check_block b = check_block_new(right_count * sizeof(float), 4 * check_below(16));
    check_block c = check_block_new(C * sizeof(float), 0), before = check_block_new(C * sizeof(float), 0);
    check_fill(check_f32(&a), left_count);
    check_fill(check_f32(&b), right_count);
    check_fill(check_f32(&c), C);
    memcpy(before.data, c.data, c.bytes);
    kn->outer(check_f32(&c), check_f32(&a), left_ld, rows, check_f32(&b), right_ld, cols, m);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            double sum = (double)check_f32(&before)[i * AR_OUTER_COLS + j], size = fabs(sum);
            for (size_t t = 0; t < m; t++) {
                double v = (double)check_f32(&a)[t * left_ld + i] * (double)check_f32(&b)[t * right_ld + j];
                sum += v;
                size += fabs(v);
            }
            double got = (double)check_f32(&c)[i * AR_OUTER_COLS + j];
            if (!(fabs(got - sum) <= check_gamma(m + 1) * size))
                check_fail(f, "%zux%zu of %zu [%zu][%zu]: found %a, wanted %a to %g", rows, cols, m, i, j, got, sum,
                           check_gamma(m + 1) * size);
        }
    if (!check_block_intact(&c)) check_fail(f, "%zux%zu of %zu: written outside", rows, cols, m);
    check_block_free(&a);
    check_block_free(&b);
    check_block_free(&c);
    check_block_free(&before);
}

static void check_outer(const ar_runtime *rt) {
    check_failure f = {0};
    for (size_t rows = 1; rows <= AR_OUTER_ROWS; rows++)
        for (size_t cols = 1; cols <= AR_OUTER_COLS; cols++) one_outer(&f, &rt->kern, rows, cols, check_below(CHECK_SMALL));
    one_outer(&f, &rt->kern, AR_OUTER_ROWS, AR_OUTER_COLS, 1023);
    check_result(rt->kern.isa, "outer", check_text(&f));
}

enum { SAMPLES = 4, THREADS = 3 };

typedef struct sides {
    size_t n, k, dy_ld, x_ld, start[SAMPLES + 1];
    check_block dy, x, before;
} sides;

static void run(const ar_runtime *rt, float *dw, const sides *s, size_t first, size_t count) {
    size_t row = s->start[first];
    ar__gemm_dytx(rt, dw, check_f32(&s->dy) + row * s->dy_ld, s->dy_ld, check_f32(&s->x) + row * s->x_ld, s->x_ld, s->start + first, count,
                  s->n, s->k);
}

static void compare(check_failure *f, const sides *s, const float *dw) {
    size_t rows = s->start[SAMPLES];
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->k; j++) {
            double sum = (double)check_f32(&s->before)[i * s->k + j], size = fabs(sum);
            for (size_t t = 0; t < rows; t++) {
                double v = (double)check_f32(&s->dy)[t * s->dy_ld + i] * (double)check_f32(&s->x)[t * s->x_ld + j];
                sum += v;
                size += fabs(v);
            }
            double got = (double)dw[i * s->k + j], bound = check_gamma(rows + SAMPLES + 1) * size;
            if (!(fabs(got - sum) <= bound))
                check_fail(f, "%zux%zu over %zu [%zu][%zu]: found %a, wanted %a to %g", s->n, s->k, rows, i, j, got, sum, bound);
        }
}

static void one_gradient(check_failure *f, ar_runtime *const *rt, size_t n, size_t k, size_t most) {
    sides s = {.n = n, .k = k, .dy_ld = n + check_below(5), .x_ld = k + check_below(5)};
    for (int i = 0; i < SAMPLES; i++) s.start[i + 1] = s.start[i] + check_below(most);
    size_t rows = s.start[SAMPLES];
    s.dy = check_block_new((rows * s.dy_ld + 1) * sizeof(float), 4 * check_below(16));
    s.x = check_block_new((rows * s.x_ld + 1) * sizeof(float), 4 * check_below(16));
    s.before = check_block_new(n * k * sizeof(float), 0);
    check_block dw = check_block_new(n * k * sizeof(float), 4 * check_below(16)), kept = check_block_new(n * k * sizeof(float), 0);
    check_fill(check_f32(&s.dy), rows * s.dy_ld);
    check_fill(check_f32(&s.x), rows * s.x_ld);
    check_fill(check_f32(&s.before), n * k);
    for (int t = 0; t < THREADS; t++) {
        memcpy(dw.data, s.before.data, dw.bytes);
        if (t == 0) {
            run(rt[t], check_f32(&dw), &s, 0, SAMPLES);
            compare(f, &s, check_f32(&dw));
            memcpy(kept.data, dw.data, dw.bytes);
        } else { /* and the samples in batches of two */
            for (size_t i = 0; i < SAMPLES; i += 2) run(rt[t], check_f32(&dw), &s, i, 2);
        }
        if (!check_same_bits(dw.data, kept.data, dw.bytes)) check_fail(f, "%zux%zu over %zu: other bits in batches of two", n, k, rows);
        if (!check_block_intact(&dw)) check_fail(f, "%zux%zu over %zu: written outside", n, k, rows);
    }
    check_block_free(&s.dy);
    check_block_free(&s.x);
    check_block_free(&s.before);
    check_block_free(&dw);
    check_block_free(&kept);
}

/* Rank by width, width by rank, square and beyond what is narrow; samples of more than a slice. */
static void check_whole(const ar_runtime *of) {
    static const size_t shapes[][3] = {{1, 50, 60},  {3, 7, 20},     {8, 48, 700}, {16, 97, 90},
                                       {64, 65, 40}, {100, 12, 600}, {64, 64, 30}, {65, 70, 50}};
    check_failure f = {0};
    ar_runtime *rt[THREADS] = {NULL};
    ar_error err;
    bool ok = true;
    for (int t = 0; ok && t < THREADS; t++)
        ok = !ar__runtime_new(&rt[t], &(ar_runtime_options){.isa = of->kern.isa, .threads = t + 1}, &err);
    for (size_t i = 0; ok && i < sizeof shapes / sizeof *shapes; i++) one_gradient(&f, rt, shapes[i][0], shapes[i][1], shapes[i][2]);
    for (int t = 0; t < THREADS; t++) ar__runtime_free(rt[t]);
    check_result(of->kern.isa, "gradients", ok ? check_text(&f) : err.message);
}

void check_gradients(const ar_runtime *rt) {
    check_outer(rt);
    check_whole(rt);
}
