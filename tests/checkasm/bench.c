/* Products in the shapes of a 0.5B model (896 wide, 4864 in the middle, 128 for k and v), forward and backward, against
 * the register peak, OpenBLAS and oneDNN (where its library is installed; it is looked up at run time).  Everything in a
 * line is timed alternately, BENCH_ROUNDS times; printed are medians, the quartiles of our own, and ratios of medians. */
#include "bench.h"

#include <dlfcn.h>
#include <omp.h>
#include <time.h>

#include "base/mem.h"

double bench_now(int threads) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

double bench_quartile(const bench_stat *s, int upper) {
    bench_stat sorted = *s;
    qsort(sorted.value, BENCH_ROUNDS, sizeof *sorted.value, by_value);
    return sorted.value[upper ? BENCH_ROUNDS * 3 / 4 : BENCH_ROUNDS / 4];
}

double bench_median(const bench_stat *s) {
    bench_stat sorted = *s;
    qsort(sorted.value, BENCH_ROUNDS, sizeof *sorted.value, by_value);
    return sorted.value[BENCH_ROUNDS / 2];
}

/* The rivals multiply an f32 copy of W. */
typedef int (*dnnl_sgemm_fn)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float, float *,
                             int64_t);
typedef void (*cblas_sgemm_fn)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
typedef void (*set_threads_fn)(int);

typedef struct rivals {
    dnnl_sgemm_fn dnnl;
    cblas_sgemm_fn blas;
    set_threads_fn blas_threads;
} rivals;

static void *symbol(const char *library, const char *name) {
    void *l = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return l ? dlsym(l, name) : NULL;
}

static rivals find_rivals(void) {
    rivals r;
    void *p = symbol("libdnnl.so.2", "dnnl_sgemm");
    memcpy(&r.dnnl, &p, sizeof p);
    p = symbol("libopenblas.so.0", "cblas_sgemm");
    memcpy(&r.blas, &p, sizeof p);
    p = symbol("libopenblas.so.0", "openblas_set_num_threads");
    memcpy(&r.blas_threads, &p, sizeof p);
    return r;
}

typedef struct job {
    size_t m, n, k; /* of W: n x k */
    bool forward;
    ar_dtype type;
    float *x, *y, *wide;
    void *w;
} job;

static void run_own(const ar_runtime *rt, const job *j, bool weight) {
    ar_gemm g = j->forward ? ar__gemm_forward(j->y, j->x, j->w, j->type, j->m, j->n, j->k)
                           : ar__gemm_backward(j->y, j->x, j->w, j->type, j->m, j->n, j->k);
    g.is_weight = weight;
    ar__gemm(rt, &g);
}

static void run_dnnl(const rivals *r, const job *j) {
    int64_t m = (int64_t)j->m, n = (int64_t)(j->forward ? j->n : j->k), k = (int64_t)(j->forward ? j->k : j->n);
    r->dnnl('N', j->forward ? 'T' : 'N', m, n, k, 1.0f, j->x, k, j->wide, (int64_t)j->k, 0.0f, j->y, n);
}

static void run_blas(const rivals *r, const job *j) {
    enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
    int m = (int)j->m, n = (int)(j->forward ? j->n : j->k), k = (int)(j->forward ? j->k : j->n);
    r->blas(ROW_MAJOR, PLAIN, j->forward ? TRANSPOSED : PLAIN, m, n, k, 1.0f, j->x, k, j->wide, (int)j->k, 0.0f, j->y, n);
}

enum { OWN, BF16, DNNL, BLAS, CONTESTANTS };

static double rate(int who, const ar_runtime *f32, const ar_runtime *bf16, const rivals *r, const job *j, int threads) {
    double flops = 2.0 * (double)j->m * (double)j->n * (double)j->k, done = 0, start = bench_now(threads), seconds;
    do {
        if (who == OWN) run_own(f32, j, false);
        if (who == BF16) run_own(bf16, j, true);
        if (who == DNNL) run_dnnl(r, j);
        if (who == BLAS) run_blas(r, j);
        done += flops;
        seconds = bench_now(threads) - start;
    } while (seconds < 0.02);
    return done / seconds / 1e9;
}

static void bench_shape(const char *isa, const ar_runtime *f32, const ar_runtime *bf16, const rivals *r, job j, int threads) {
    bench_stat s[CONTESTANTS] = {{{0}}}, peak = {{0}}, peak16 = {{0}};
    size_t widest = j.n > j.k ? j.n : j.k;
    j.x = ar__alloc(j.m * widest, sizeof(float));
    j.y = ar__alloc(j.m * widest, sizeof(float));
    j.wide = ar__alloc(j.n * j.k, sizeof(float));
    j.w = ar__alloc(j.n * j.k, ar__dtype(j.type)->bytes);
    if (!j.x || !j.y || !j.wide || !j.w) abort();
    check_fill(j.x, j.m * widest);
    check_fill_type(j.w, j.type, j.n * j.k);
    ar__dtype(j.type)->to_f32(j.wide, j.w, j.n * j.k);
    const bool there[CONTESTANTS] = {true, bf16 && bf16->bf16, r->dnnl != NULL, r->blas != NULL};
    for (int i = -1; i < BENCH_ROUNDS; i++) { /* the first round warms up */
        for (int who = 0; who < CONTESTANTS; who++) {
            double v = there[who] ? rate(who, f32, bf16, r, &j, threads) : 0;
            if (i >= 0) s[who].value[i] = v;
        }
        if (i >= 0) peak.value[i] = bench_peak(isa, false, threads) * threads;
        if (i >= 0 && there[BF16]) peak16.value[i] = bench_peak(isa, true, threads) * threads;
    }
    double own = bench_median(&s[OWN]), top = bench_median(&peak);
    printf("%-7s %4zu x %4zu x %4zu %-8s %-4s  own %6.1f (%.1f-%.1f)  peak %5.1f  %3.0f %%", isa, j.m, j.n, j.k,
           j.forward ? "forward" : "backward", ar__dtype(j.type)->name, own, bench_quartile(&s[OWN], 0), bench_quartile(&s[OWN], 1), top,
           top > 0 ? 100 * own / top : 0.0);
    if (there[DNNL]) printf("  oneDNN x%.2f", own / bench_median(&s[DNNL]));
    if (there[BLAS]) printf("  OpenBLAS x%.2f", own / bench_median(&s[BLAS]));
    if (there[BF16])
        printf("  bf16 %6.1f (%.0f %% of %.1f) x%.2f of f32", bench_median(&s[BF16]), 100 * bench_median(&s[BF16]) / bench_median(&peak16),
               bench_median(&peak16), bench_median(&s[BF16]) / own);
    printf("\n");
    fflush(stdout);
    free(j.x);
    free(j.y);
    free(j.wide);
    free(j.w);
}

void bench_all(const char *isa, int threads) {
    static const size_t shapes[][2] = {{896, 896}, {4864, 896}, {896, 4864}, {128, 896}};
    static const size_t rows[] = {512, 2048};
    ar_runtime *f32, *bf16 = NULL;
    ar_error err;
    if (ar__runtime_new(&f32, &(ar_runtime_options){.isa = isa, .backend = "own", .threads = threads}, &err)) {
        printf("%s: %s\n", isa, err.message);
        return;
    }
    if (f32->kern.bf16.run) ar__runtime_new(&bf16, &(ar_runtime_options){.isa = isa, .threads = threads, .compute = AR_COMPUTE_BF16}, &err);
    rivals r = find_rivals();
    omp_set_num_threads(threads);
    if (r.blas_threads) r.blas_threads(threads);
    for (size_t m = 0; m < 2; m++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int kind = 0; kind < 4; kind++) {
                job j = {.m = rows[m], .n = shapes[s][0], .k = shapes[s][1], .forward = !(kind & 1), .type = kind & 2 ? AR_F32 : AR_BF16};
                bench_shape(isa, f32, bf16, &r, j, threads);
            }
    for (size_t m = 0; m < 2; m++) bench_group(f32, rows[m], threads);
    ar__runtime_free(bf16);
    ar__runtime_free(f32);
}
