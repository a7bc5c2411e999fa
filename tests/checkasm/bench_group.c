/* q, k and v of a 0.5B model with pairs of rank 16, forward: as one group, as products one by one, and without pairs. */
#include "base/mem.h"
#include "bench.h"

enum { WIDTH = 896, RANK = 16, SITES = 3, ALONE = 0, PLAIN = 1, GROUP = 2, WAYS = 3 };
static const size_t outputs[SITES] = {896, 128, 128};

typedef struct layer {
    float *x, *y[SITES], *su[SITES], *a[SITES], *b[SITES];
    uint16_t *w[SITES];
    ar_gemm down[SITES], up[SITES];
    ar_gemm_term term[SITES];
    ar_gemm_scale scale; /* of all su */
} layer;

static float *filled(size_t n) {
    float *x = ar__alloc(n, sizeof *x);
    if (!x) abort();
    check_fill(x, n);
    return x;
}

static void make(layer *l, size_t m) {
    l->x = filled(m * WIDTH);
    for (int i = 0; i < SITES; i++) {
        size_t n = outputs[i];
        l->y[i] = filled(m * n);
        l->su[i] = filled(m * RANK);
        l->a[i] = filled(RANK * WIDTH);
        l->b[i] = filled(n * RANK);
        l->w[i] = ar__alloc(n * WIDTH, sizeof(uint16_t));
        if (!l->w[i]) abort();
        check_fill_type(l->w[i], AR_BF16, n * WIDTH);
        l->down[i] = ar__gemm_forward(l->su[i], l->x, l->a[i], AR_F32, m, RANK, WIDTH);
        l->scale = (ar_gemm_scale){0, m, 2.0f};
        l->down[i].scales = &l->scale;
        l->down[i].scale_count = 1;
        l->term[i] = (ar_gemm_term){0, m, RANK, l->su[i], RANK, l->b[i], AR_F32, RANK, true};
        l->up[i] = ar__gemm_forward(l->y[i], l->x, l->w[i], AR_BF16, m, n, WIDTH);
    }
}

static void release(layer *l) {
    free(l->x);
    for (int i = 0; i < SITES; i++) {
        free(l->y[i]);
        free(l->su[i]);
        free(l->a[i]);
        free(l->b[i]);
        free(l->w[i]);
    }
}

static void run(const ar_runtime *rt, const layer *l, int way) {
    ar_gemm g[2 * SITES];
    for (int i = 0; i < SITES; i++) {
        g[i] = l->down[i];
        g[SITES + i] = l->up[i];
        if (way == PLAIN) continue;
        g[SITES + i].terms = &l->term[i];
        g[SITES + i].term_count = 1;
    }
    g[SITES].after = way == GROUP;
    if (way == GROUP) ar__gemm_group(rt, g, 2 * SITES);
    for (int i = way == PLAIN ? SITES : 0; way != GROUP && i < 2 * SITES; i++) ar__gemm(rt, &g[i]);
}

void bench_group(const ar_runtime *rt, size_t m, int threads) {
    layer l;
    bench_stat s[WAYS];
    make(&l, m);
    for (int i = -1; i < BENCH_ROUNDS; i++)
        for (int way = 0; way < WAYS; way++) {
            double start = bench_now(threads), seconds;
            int times = 0;
            do {
                run(rt, &l, way);
                times++;
                seconds = bench_now(threads) - start;
            } while (seconds < 0.02);
            if (i >= 0) s[way].value[i] = seconds / times * 1e3;
        }
    double flops = 0, extra = 0;
    for (int i = 0; i < SITES; i++) flops += (double)(outputs[i] * WIDTH), extra += (double)(RANK * (outputs[i] + WIDTH));
    double plain = bench_median(&s[PLAIN]);
    printf("%-7s %4zu rows of q, k, v: without pairs %.2f ms; rank 16 one by one +%.1f %%, as a group %+.1f %% (%.2f-%.2f ms); their share "
           "of the "
           "work +%.1f %%\n",
           rt->kern.isa, m, plain, 100 * (bench_median(&s[ALONE]) / plain - 1), 100 * (bench_median(&s[GROUP]) / plain - 1),
           bench_quartile(&s[GROUP], 0), bench_quartile(&s[GROUP], 1), 100 * extra / flops);
    release(&l);
}
