/* The products of a training step of Qwen2.5-0.5B's shape at 512 tokens, own against each rival, in turns.
 *
 *     bench_products [ROUNDS [THREADS]]
 *
 * Own: what training would use, weights in bf16 as the file has them and packed in every call, activations f32.  Rivals at
 * their best: OpenBLAS on an f32 copy of W, with its own threads; oneDNN (where libdnnl-dev was there) in f32 and in bf16,
 * its weights packed, and for bf16 its activations rounded, before the clock starts.
 * The reference is plain C and meets the smallest shape only.  Prints a line per pair, separated by tabs:
 *
 *     what    rival    own GFLOP/s    rival GFLOP/s    ratio: median    least    most                                   */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kern/gemm.h"
#include "kern/runtime.h"
#include "onednn.h"

void openblas_set_num_threads(int);

enum { M = 512, MAX_ROUNDS = 99, RIVALS = 4 };

typedef struct shape {
    const char *name;
    size_t n, k; /* W is [n][k] */
} shape;

/* Y = X W^T forward, dX = dY W backward; `inner` is summed over. */
typedef struct problem {
    const ar_runtime *rt;
    const char *name;
    bool forward;
    size_t rows, cols, outer, inner; /* of W; columns of the result; summed over */
    float *x, *w, *y;
    uint16_t *w16;
    onednn *dnnl[2]; /* f32, bf16 */
} problem;

typedef void (*run_fn)(problem *p);

static ar_gemm own_product(problem *p) {
    ar_gemm g = p->forward ? ar__gemm_forward(p->y, p->x, p->w16, AR_BF16, M, p->rows, p->cols)
                           : ar__gemm_backward(p->y, p->x, p->w16, AR_BF16, M, p->rows, p->cols);
    g.is_weight = true;
    return g;
}

static void run_alone(problem *p, const ar_gemm_backend *backend) {
    ar_runtime alone = *p->rt;
    ar_gemm g = own_product(p);
    alone.gemm[0] = backend;
    alone.gemm[1] = NULL;
    ar__gemm(&alone, &g);
}

static void run_own(problem *p) { run_alone(p, p->rt->gemm[0]); }
static void run_reference(problem *p) { run_alone(p, &ar__gemm_reference); }

static void run_openblas(problem *p) {
    openblas_set_num_threads(p->rt->threads);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, p->forward ? CblasTrans : CblasNoTrans, M, (blasint)p->outer, (blasint)p->inner, 1.0f, p->x,
                (blasint)p->inner, p->w, (blasint)p->cols, 0.0f, p->y, (blasint)p->outer);
    openblas_set_num_threads(1);
}

/* For oneDNN: OpenBLAS sets OpenMP's number together with its own, and one thread is left of that. */
static void give_all_threads(const problem *p) { omp_set_num_threads(p->rt->threads); }

static void run_dnnl_f32(problem *p) {
    give_all_threads(p);
    onednn_run(p->dnnl[0]);
}

static void run_dnnl_bf16(problem *p) {
    give_all_threads(p);
    onednn_run(p->dnnl[1]);
}

static double seconds_of(run_fn run, problem *p) {
    double began = ar__clock_seconds();
    run(p);
    return ar__clock_seconds() - began;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* Both once to warm up (and to compare the results), then in turns. */
static void compare(problem *p, const char *rival, run_fn run, const float *result, double tolerance, int rounds) {
    double own[MAX_ROUNDS], other[MAX_ROUNDS], ratio[MAX_ROUNDS], flops = 2.0 * M * (double)p->outer * (double)p->inner, off = 0, norm = 0;
    size_t count = M * p->outer;
    float *kept = ar__alloc(count, sizeof *kept);
    if (!kept) exit(1);
    run_own(p);
    memcpy(kept, p->y, count * sizeof *kept);
    run(p);
    for (size_t i = 0; i < count; i++) {
        off += pow((double)kept[i] - (double)result[i], 2);
        norm += pow((double)kept[i], 2);
    }
    free(kept);
    if (!(sqrt(off / norm) < tolerance)) {
        fprintf(stderr, "bench_products: %s: own and %s differ by %g\n", p->name, rival, sqrt(off / norm));
        exit(1);
    }
    for (int i = 0; i < rounds; i++) {
        own[i] = seconds_of(run_own, p);
        other[i] = seconds_of(run, p);
        ratio[i] = other[i] / own[i];
    }
    double middle = median(ratio, rounds);
    printf("%s, %s\t%s\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\n", p->name, p->forward ? "forward" : "backward", rival,
           flops / median(own, rounds) * 1e-9, flops / median(other, rounds) * 1e-9, middle, ratio[0], ratio[rounds - 1]);
    fflush(stdout);
}

static void meet_rivals(problem *p, bool smallest, int rounds) {
    compare(p, "OpenBLAS", run_openblas, p->y, 1e-2, rounds);
    give_all_threads(p);
    for (int bf16 = 0; bf16 < 2; bf16++) p->dnnl[bf16] = onednn_open(bf16, p->x, p->w, p->forward, M, p->outer, p->inner);
    if (p->dnnl[0]) compare(p, "oneDNN f32, packed", run_dnnl_f32, onednn_result(p->dnnl[0]), 1e-2, rounds);
    if (p->dnnl[1]) compare(p, "oneDNN bf16, packed", run_dnnl_bf16, onednn_result(p->dnnl[1]), 2e-2, rounds);
    for (int bf16 = 0; bf16 < 2; bf16++) onednn_close(p->dnnl[bf16]);
    if (smallest) compare(p, "own reference", run_reference, p->y, 1e-2, rounds);
}

static int run_shape(const ar_runtime *rt, const shape *s, bool forward, bool smallest, int rounds) {
    problem p = {.rt = rt, .name = s->name, .forward = forward, .rows = s->n, .cols = s->k};
    p.outer = forward ? s->n : s->k;
    p.inner = forward ? s->k : s->n;
    p.x = ar__alloc(M * p.inner, sizeof *p.x);
    p.w = ar__alloc(s->n * s->k, sizeof *p.w);
    p.w16 = ar__alloc(s->n * s->k, sizeof *p.w16);
    p.y = ar__alloc(M * p.outer, sizeof *p.y);
    if (!p.x || !p.w || !p.w16 || !p.y) return 1;
    ar_rng g = ar__rng_stream(1, AR_RNG_INIT, 0, 0);
    for (size_t i = 0; i < M * p.inner; i++) p.x[i] = (float)ar__rng_uniform(&g, i) - 0.5f;
    for (size_t i = 0; i < s->n * s->k; i++) p.w[i] = (float)ar__rng_uniform(&g, i + M * p.inner) - 0.5f;
    ar__dtype(AR_BF16)->from_f32(p.w16, p.w, s->n * s->k);
    ar__dtype(AR_BF16)->to_f32(p.w, p.w16, s->n * s->k);
    meet_rivals(&p, smallest, rounds);
    free(p.x);
    free(p.w);
    free(p.w16);
    free(p.y);
    return 0;
}

int main(int argc, char **argv) {
    static const shape shapes[] = {{"k_proj 128x896", 128, 896},
                                   {"q_proj 896x896", 896, 896},
                                   {"gate_proj 4864x896", 4864, 896},
                                   {"down_proj 896x4864", 896, 4864},
                                   {"head, 16384 rows of 896", 16384, 896}};
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 9;
    if (rounds < 1 || rounds > MAX_ROUNDS) rounds = 9;
    ar_runtime_options o = {.threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0};
    ar_runtime *rt;
    ar_error err;
    if (ar_runtime_new(&rt, &o, &err)) {
        fprintf(stderr, "bench_products: %s\n", err.message);
        return 1;
    }
    if (onednn_version())
        printf("# %s\n", onednn_version());
    else
        fprintf(stderr, "bench_products: oneDNN is skipped, libdnnl-dev was not there when this was built\n");
    int code = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !code; i++)
        for (int forward = 1; forward >= 0 && !code; forward--) code = run_shape(rt, &shapes[i], forward, i == 0, rounds);
    ar_runtime_free(rt);
    return code;
}
