/* Every product backend, weight type and orientation: right within the bound of its sums; the same bits for 1, 2 and 3
 * threads, for a row alone and among others, and beside a row that holds infinities. */
#include "product.h"

static void compare_exact(check_failure *f, const product_setup *s, const product *p) {
    char shape[64];
    product_describe(shape, sizeof shape, p);
    const ar_gemm *g = &p->g;
    const float *before = check_f32(&p->before);
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            double size, sum = product_exact(s, p, i, j, &size), got = (double)g->c[i * g->c_ld + j];
            if (g->accumulate) {
                sum += (double)before[i * g->c_ld + j];
                size += fabs((double)before[i * g->c_ld + j]);
            }
            double bound = (check_gamma(g->k + 2) + product_slack(s, g)) * size;
            if (!(fabs(got - sum) <= bound)) check_fail(f, "%s [%zu][%zu]: found %a, wanted %a to %g", shape, i, j, got, sum, bound);
        }
    for (size_t i = 0; i + 1 < g->m; i++)
        for (size_t j = g->n; j < g->c_ld; j++)
            if (!check_same_bits(&g->c[i * g->c_ld + j], &before[i * g->c_ld + j], sizeof(float)))
                check_fail(f, "%s: written between rows", shape);
    if (!check_block_intact(&p->c)) check_fail(f, "%s: written outside", shape);
}

/* The rows of C other than `but` have the bits of `wanted`. */
static void compare_bits(check_failure *f, const product *p, const float *wanted, size_t but, const char *what) {
    char shape[64];
    product_describe(shape, sizeof shape, p);
    for (size_t i = 0; i < p->g.m; i++)
        if (i != but && !check_same_bits(p->g.c + i * p->g.c_ld, wanted + i * p->g.c_ld, p->g.n * sizeof(float)))
            check_fail(f, "%s: %s changes the bits of row %zu", shape, what, i);
}

static void check_one(check_failure *f, const product_setup *s, product *p) {
    ar__gemm(s->rt[0], &p->g);
    compare_exact(f, s, p);
    check_block kept = check_block_new(p->c.bytes, 0);
    const float *wanted = check_f32(&kept);
    memcpy(kept.data, p->c.data, p->c.bytes);
    for (int t = 1; t < PRODUCT_THREADS; t++) {
        product_reset(p);
        ar__gemm(s->rt[t], &p->g);
        compare_bits(f, p, wanted, SIZE_MAX, "the number of threads");
    }
    size_t row = check_below(p->g.m);
    ar_gemm alone = p->g;
    alone.m = 1;
    alone.a += row * p->g.a_row;
    alone.c += row * p->g.c_ld;
    product_reset(p);
    ar__gemm(s->rt[check_below(PRODUCT_THREADS)], &alone);
    if (!check_same_bits(alone.c, wanted + row * p->g.c_ld, p->g.n * sizeof(float)))
        check_fail(f, "%zux%zux%zu: row %zu alone has other bits", p->g.m, p->g.n, p->g.k, row);
    if (p->g.k > 0) {
        check_f32(&p->a)[row * p->g.a_row + check_below(p->g.k) * p->g.a_col] = check_below(2) ? INFINITY : NAN;
        product_reset(p);
        ar__gemm(s->rt[check_below(PRODUCT_THREADS)], &p->g);
        compare_bits(f, p, wanted, row, "an infinity beside it");
    }
    check_block_free(&kept);
}

static size_t random_size(size_t small, size_t large) { return check_below(3) ? 1 + check_below(small) : 1 + check_below(large); }

/* Of operands in rows, f32 ones may be a pair's. */
static void set_arithmetic(const product_setup *s, product *p) {
    p->g.is_pair = s->bf16 && p->g.b_type == AR_F32 && !p->transposed && check_below(2);
    p->g.is_weight = s->bf16 && !p->g.is_pair;
}

static void check_kind(const product_setup *s, const char *isa, ar_dtype t, bool b_rows, bool transposed) {
    check_failure f = {0};
    char name[96];
    snprintf(name, sizeof name, "product/%s%s/%s%s%s", s->backend, s->bf16 ? "-as-bf16" : "", ar__dtype(t)->name,
             b_rows ? "/rows" : "/columns", transposed ? "/a-transposed" : "");
    for (int i = check_rounds(ar__dtype(t)->block > 1 ? 3 : 14); i-- > 0;) {
        size_t k = i == 0 ? 0 : random_size(70, 300);
        product p = product_new(random_size(40, 120), random_size(70, 300), k, t, b_rows, transposed, check_below(2));
        set_arithmetic(s, &p);
        check_one(&f, s, &p);
        product_free(&p);
    }
    product deep = product_new(7, 33, 1025 + check_below(600), t, b_rows, transposed, true);
    set_arithmetic(s, &deep);
    check_one(&f, s, &deep);
    product_free(&deep);
    product wide = product_new(3 + check_below(ar__dtype(t)->block > 1 ? 20 : 200), 515, 40, t, b_rows, transposed, false);
    set_arithmetic(s, &wide);
    check_one(&f, s, &wide);
    product_free(&wide);
    bool packed = strcmp(s->backend, "openblas") && strcmp(s->backend, "reference");
    if (packed && t == AR_BF16 && !b_rows && !transposed) { /* as the head's backward: too deep for all rows at once */
        product tall = product_new(193 + check_below(40), 1 + check_below(4), 22100 + check_below(1100), t, b_rows, transposed, true);
        set_arithmetic(s, &tall);
        check_one(&f, s, &tall);
        product_free(&tall);
    }
    check_result(isa, name, check_text(&f));
}

/* Of block types one of each size; that the others are unpacked alike is check_packing's.  bf16 arithmetic is for weights, whose
 * left operands lie in rows, as is a block type. */
static void check_backend(const char *isa, const char *backend, bool bf16) {
    enum { PLAIN = 3 };
    static const ar_dtype types[] = {AR_F32, AR_F16, AR_BF16, AR_Q8_0, AR_Q5_1, AR_Q4_K};
    product_setup s;
    if (!product_setup_open(&s, isa, backend, bf16)) return;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int kind = 0; kind < (bf16 || t >= PLAIN ? 2 : 4); kind++) check_kind(&s, isa, types[t], kind & 1, kind & 2);
    product_setup_close(&s);
}

void check_products(const ar_runtime *rt) {
    const char *isa = rt->kern.isa;
    check_backend(isa, "own", false);
    check_backend(isa, "openblas", false);
    check_backend(isa, "own", true);
    check_backend(isa, "openblas", true);
    if (product_tries_reference(isa)) {
        check_backend(isa, "reference", false);
        check_backend(isa, "reference", true);
    }
    if (!rt->kern.bf16.run) {
        check_skip(isa, "product/bf16", "no bf16 instructions in this set or CPU");
        return;
    }
    check_backend(isa, "bf16", true);
    check_backend(isa, "modelled", true);
    if (rt->kern.matrix.run)
        check_backend(isa, "bf16-matrix", true);
    else
        check_skip(isa, "product/bf16-matrix", "this CPU has no AMX: the kernels ran on a model of its instructions");
}
