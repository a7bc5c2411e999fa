/* What the machine can do: matrix products, and reading memory. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/rng.h"
#include "check/bench.h"
#include "kern/runtime.h"
#include "train/learner.h"

enum { M = 512, N = 2048, K = 2048, MAX_RUNS = 64 };
static const double TURN_SECONDS = 0.3; /* for all products of one turn, or for reading */

static bool is_bf16(const ar_gemm_backend *b) { return b == &ar__gemm_matrix || b == &ar__gemm_bf16; }

int ar__bench_products(ar_bench_product list[AR_BENCH_PRODUCTS], const ar_runtime *rt) {
    int count = 0;
    for (int i = 0; i < AR_GEMM_BACKENDS && rt->gemm[i]; i++) {
        if (rt->gemm[i] == &ar__gemm_reference && i > 0) continue;
        if (!is_bf16(rt->gemm[i])) list[count++] = (ar_bench_product){rt->gemm[i], AR_F32};
        list[count++] = (ar_bench_product){rt->gemm[i], AR_BF16};
    }
    return count;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

ar_bench_range ar__bench_range(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return (ar_bench_range){n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]), x[0], x[n - 1]};
}

static double time_product(const ar_runtime *rt, const ar_bench_product *p, float *c, const float *a, const void *w) {
    ar_gemm g = ar__gemm_forward(c, a, w, p->type, M, N, K);
    g.is_weight = is_bf16(p->backend); /* or the others would round too */
    ar_runtime alone = *rt;            /* with this backend and no other */
    alone.gemm[0] = p->backend;
    alone.gemm[1] = NULL;
    double began = ar__clock_seconds();
    ar__gemm(&alone, &g);
    return ar__clock_seconds() - began;
}

static void time_all(double *rate, const ar_runtime *rt, const ar_bench_product *list, int count, float *c, const float *a, float *w32,
                     uint16_t *w16) {
    double seconds[AR_BENCH_PRODUCTS][MAX_RUNS];
    int runs = 0;
    for (int i = 0; i < count; i++) time_product(rt, &list[i], c, a, list[i].type == AR_F32 ? (void *)w32 : w16); /* warm up */
    for (double began = ar__clock_seconds(); runs < MAX_RUNS && (runs < 3 || ar__clock_seconds() - began < TURN_SECONDS); runs++)
        for (int i = 0; i < count; i++) seconds[i][runs] = time_product(rt, &list[i], c, a, list[i].type == AR_F32 ? (void *)w32 : w16);
    for (int i = 0; i < count; i++) rate[i] = 2.0 * M * N * K / ar__bench_range(seconds[i], runs).median;
}

ar_status ar__bench_product_rates(double *rate, const ar_runtime *rt, const ar_bench_product *list, int count, ar_error *err) {
    float *a = ar__alloc((size_t)M * K, sizeof *a), *w32 = ar__alloc((size_t)N * K, sizeof *w32), *c = ar__alloc((size_t)M * N, sizeof *c);
    uint16_t *w16 = ar__alloc((size_t)N * K, sizeof *w16);
    ar_status s = a && w32 && c && w16 ? AR_OK : ar__fail_memory(err, "bench: product");
    if (!s) {
        ar_rng g = ar__rng_stream(1, AR_RNG_INIT, 0, 0);
        for (size_t i = 0; i < (size_t)M * K; i++) a[i] = (float)ar__rng_uniform(&g, i) - 0.5f;
        for (size_t i = 0; i < (size_t)N * K; i++) w32[i] = (float)ar__rng_uniform(&g, i + (size_t)M * K) - 0.5f;
        ar__dtype(AR_BF16)->from_f32(w16, w32, (size_t)N * K);
        time_all(rate, rt, list, count, c, a, w32, w16);
    }
    free(a);
    free(w32);
    free(c);
    free(w16);
    return s;
}

/* Four times the largest cache, 256 MiB to 4 GiB, at most a quarter of what is free. */
static size_t reading_bytes(void) {
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    int64_t bytes = cache > 0 ? 4 * (int64_t)cache : 0, least = 256 << 20, most = (int64_t)4 << 30, available = ar__memory_available();
    if (bytes < least) bytes = least;
    if (bytes > most) bytes = most;
    if (available > 0 && bytes > available / 4) bytes = available / 4;
    return (size_t)bytes / 4096 * 4096;
}

static uint64_t read_words(const uint64_t *p, size_t words, int threads) {
    uint64_t sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
    for (size_t i = 0; i < words; i += 512) {
        uint64_t part[8] = {0};
        for (size_t j = i; j < i + 512; j += 8)
            for (size_t k = 0; k < 8; k++) part[k] += p[j + k];
        for (size_t k = 0; k < 8; k++) sum += part[k];
    }
    return sum;
}

ar_status ar__bench_reading(double *rate, const ar_runtime *rt, ar_error *err) {
    size_t bytes = reading_bytes(), words = bytes / sizeof(uint64_t);
    uint64_t *p = ar__alloc(words, sizeof *p);
    double seconds[MAX_RUNS];
    int runs = 0;
    volatile uint64_t sum = 0; /* so that the reads are wanted */
    if (!p) return ar__fail_memory(err, "bench: reading");
    for (size_t i = 0; i < words; i += 512) p[i] = i; /* every page its own */
    for (double start = ar__clock_seconds(); runs < MAX_RUNS && (runs < 3 || ar__clock_seconds() - start < TURN_SECONDS); runs++) {
        double began = ar__clock_seconds();
        sum += read_words(p, words, rt->threads);
        seconds[runs] = ar__clock_seconds() - began;
    }
    (void)sum;
    free(p);
    *rate = (double)bytes / ar__bench_range(seconds, runs).median;
    return AR_OK;
}
