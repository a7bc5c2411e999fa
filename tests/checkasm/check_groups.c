/* Products with terms, bias and scale, and groups of one left operand: against double, and bit for bit against the same
 * products asked for one by one, and step by step (what is too large for one pass, or has nothing to it, goes so). */
#include "product.h"

enum { TERMS = 3, MEMBERS = 4 };

typedef struct member {
    product p;
    ar_gemm_term term[TERMS];
    ar_gemm_scale scale[2];
    check_block ta[TERMS], tb[TERMS], bias;
} member;

/* Pairs on consecutive row ranges, one range without a pair perhaps, and one pair over all rows. */
static void add_terms(member *x) {
    ar_gemm *g = &x->p.g;
    size_t at = 0;
    for (int i = 0; i < TERMS; i++) {
        size_t last = i + 1 == TERMS ? g->m : at + check_below(g->m - at + 1), k = 1 + check_below(check_below(6) ? 40 : 1100);
        if (i + 1 == TERMS && check_below(2)) at = 0;
        bool rows = check_below(2);
        size_t count = last - at, b_ld = (rows ? k : g->n) + check_below(3);
        x->ta[i] = check_block_new((count * (k + 2) + 1) * sizeof(float), 4 * check_below(16));
        x->tb[i] = check_block_new((rows ? g->n : k) * b_ld * sizeof(float), 4 * check_below(16));
        check_fill(check_f32(&x->ta[i]), count * (k + 2));
        check_fill(check_f32(&x->tb[i]), (rows ? g->n : k) * b_ld);
        x->term[i] = (ar_gemm_term){at, last, k, check_f32(&x->ta[i]), k + 2, x->tb[i].data, AR_F32, b_ld, rows};
        at = last;
    }
    g->terms = x->term;
    g->term_count = TERMS;
    x->bias = check_block_new(g->n * sizeof(float), 4 * check_below(16));
    check_fill(check_f32(&x->bias), g->n);
    if (check_below(2)) g->bias = check_f32(&x->bias);
}

static void member_free(member *x) {
    product_free(&x->p);
    for (size_t i = 0; i < x->p.g.term_count; i++) {
        check_block_free(&x->ta[i]);
        check_block_free(&x->tb[i]);
    }
    if (x->p.g.term_count) check_block_free(&x->bias);
}

static void compare_exact(check_failure *f, const product_setup *s, const member *x) {
    const ar_gemm *g = &x->p.g;
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            double size, sum = product_exact(s, &x->p, i, j, &size), got = (double)g->c[i * g->c_ld + j];
            size_t k = g->k + 3 + TERMS;
            if (g->accumulate) sum += (double)check_f32(&x->p.before)[i * g->c_ld + j];
            if (g->accumulate) size += fabs((double)check_f32(&x->p.before)[i * g->c_ld + j]);
            for (size_t t = 0; t < g->term_count; t++) {
                const ar_gemm_term *e = &g->terms[t];
                for (size_t p = 0; p < e->k && i >= e->first && i < e->last; p++) {
                    double v = (double)e->a[(i - e->first) * e->a_ld + p] * (double)product_b(e->b, e->b_type, e->b_ld, e->b_rows, p, j);
                    sum += v;
                    size += fabs(v);
                }
                k += e->k;
            }
            if (g->bias) sum += (double)g->bias[j];
            if (g->bias) size += fabs((double)g->bias[j]);
            for (size_t q = 0; q < g->scale_count; q++) {
                double by = i >= g->scales[q].first && i < g->scales[q].last ? (double)g->scales[q].by : 1.0;
                sum *= by;
                size *= fabs(by);
            }
            double bound = (check_gamma(k) + product_slack(s, g)) * size;
            if (!(fabs(got - sum) <= bound))
                check_fail(f, "%zux%zux%zu [%zu][%zu]: found %a, wanted %a to %g", g->m, g->n, g->k, i, j, got, sum, bound);
        }
    if (!check_block_intact(&x->p.c)) check_fail(f, "%zux%zux%zu: written outside", g->m, g->n, g->k);
}

/* su = s X A^T, then several Y = X W^T + su B^T: the first member's C is the a of a term of each that follows it. */
static void link_pair(member *x, size_t count) {
    const ar_gemm *su = &x[0].p.g;
    for (size_t i = 1; i < count; i++) {
        ar_gemm *g = &x[i].p.g;
        if (!g->term_count) continue;
        check_block_free(&x[i].tb[0]);
        x[i].tb[0] = check_block_new(g->n * su->n * sizeof(float), 0);
        check_fill(check_f32(&x[i].tb[0]), g->n * su->n);
        x[i].term[0] = (ar_gemm_term){0, g->m, su->n, su->c, su->c_ld, x[i].tb[0].data, AR_F32, su->n, true};
        g->after = i == 1 || check_below(2);
    }
}

static size_t make_group(member *x) {
    size_t m = 1 + check_below(check_below(3) ? 60 : 220), k = 1 + check_below(check_below(3) ? 90 : 1300),
           count = 2 + check_below(MEMBERS - 1);
    static const ar_dtype types[] = {AR_F32, AR_F16, AR_BF16};
    for (size_t i = 0; i < count; i++) {
        size_t n = i == 0 ? 1 + check_below(40) : 1 + check_below(check_below(2) ? 70 : 300);
        x[i] = (member){.p = product_new(m, n, k, i == 0 ? AR_F32 : types[check_below(3)], check_below(2), false, i > 0 && check_below(2))};
        if (i > 0) {
            x[i].p.g.a = x[0].p.g.a;
            x[i].p.g.a_row = x[0].p.g.a_row;
            x[i].p.g.is_weight = true;
            if (i == 1 || check_below(4)) add_terms(&x[i]);
        }
    }
    x[0].scale[0] = (ar_gemm_scale){0, m / 2, -1.5f};
    x[0].scale[1] = (ar_gemm_scale){m / 2, m - m / 5, 0.25f};
    x[0].p.g.is_pair = check_below(2);
    x[0].p.g.scales = x[0].scale;
    x[0].p.g.scale_count = 2;
    link_pair(x, count);
    return count;
}

static void check_bits(check_failure *f, const product_setup *s, int t, member *x, const check_block *kept, const ar_gemm *g, size_t count,
                       size_t asked) {
    for (size_t i = 0; i < count; i++) product_reset(&x[i].p);
    ar__gemm_group(s->rt[t], g, asked);
    for (size_t i = 0; i < count; i++)
        if (!check_same_bits(x[i].p.c.data, kept[i].data, kept[i].bytes))
            check_fail(f, "%zux%zux%zu, member %zu of %zu%s, %d threads: not the bits of the product alone", g[i].m, g[i].n, g[i].k, i,
                       count, asked > count ? " in steps" : "", t + 1);
}

static void check_group(check_failure *f, const product_setup *s) {
    member x[MEMBERS];
    size_t count = make_group(x);
    ar_gemm g[MEMBERS + 1];
    check_block kept[MEMBERS];
    for (size_t i = 0; i < count; i++) g[i] = x[i].p.g;
    for (size_t i = 0; i < count; i++) {
        ar__gemm(s->rt[0], &g[i]);
        product_setup exact = *s;
        exact.bf16 = s->bf16 && (g[i].is_weight || g[i].is_pair);
        compare_exact(f, &exact, &x[i]);
        kept[i] = check_block_new(x[i].p.c.bytes, 0);
        memcpy(kept[i].data, x[i].p.c.data, x[i].p.c.bytes);
    }
    g[count] = g[0];
    g[count].n = 0;
    for (int t = 0; t < PRODUCT_THREADS; t++) {
        check_bits(f, s, t, x, kept, g, count, count);
        check_bits(f, s, t, x, kept, g, count, count + 1);
    }
    for (size_t i = 0; i < count; i++) {
        check_block_free(&kept[i]);
        member_free(&x[i]);
    }
}

static void check_backend(const char *isa, const char *backend, bool bf16) {
    product_setup s;
    check_failure f = {0};
    char name[64];
    snprintf(name, sizeof name, "group/%s%s", backend, bf16 ? "-as-bf16" : "");
    if (!product_setup_open(&s, isa, backend, bf16)) return;
    for (int i = check_rounds(40); i-- > 0;) check_group(&f, &s);
    product_setup_close(&s);
    check_result(isa, name, check_text(&f));
}

void check_groups(const ar_runtime *rt) {
    static const char *const backends[] = {"own", "openblas", "reference"};
    size_t count = sizeof backends / sizeof *backends - !product_tries_reference(rt->kern.isa);
    for (size_t b = 0; b < count; b++)
        for (int bf16 = 0; bf16 < 2; bf16++) check_backend(rt->kern.isa, backends[b], bf16 != 0);
    if (!rt->kern.bf16.run) return;
    check_backend(rt->kern.isa, "bf16", true);
    check_backend(rt->kern.isa, "modelled", true);
    if (rt->kern.matrix.run) check_backend(rt->kern.isa, "bf16-matrix", true);
}
