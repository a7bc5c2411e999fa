/* The element-wise kernels.  Contract: the same bits on every instruction set; and plain C is right, which is shown
 * against double arithmetic while the instruction set at hand is "c". */
#include "product.h"

static const size_t odd_sizes[] = {127, 1000, 4099};
enum { ODD = sizeof odd_sizes / sizeof *odd_sizes, SIZES = CHECK_SMALL + ODD, MOST = 4099 };

static size_t size_of(size_t i) { return i < CHECK_SMALL ? i : odd_sizes[i - CHECK_SMALL]; }

/* Operands of one call: four inputs and what two kernels make of copies of them, each at a random alignment. */
typedef struct operands {
    size_t n;
    check_block in[4], got[3], wanted[3];
} operands;

static operands operands_new(size_t n, bool ties) {
    operands o = {.n = n};
    for (int i = 0; i < 4; i++) {
        o.in[i] = check_block_new(n * sizeof(float), 4 * check_below(16));
        check_fill(check_f32(&o.in[i]), n);
        for (size_t j = 0; ties && j < n; j++)
            if (check_below(4) == 0) check_f32(&o.in[i])[j] = check_below(2) ? 0.0f : -0.0f;
    }
    for (int i = 0; i < 3; i++) {
        o.got[i] = check_block_new(n * sizeof(float), 4 * check_below(16));
        o.wanted[i] = check_block_new(n * sizeof(float), 4 * check_below(16));
        memcpy(o.got[i].data, o.in[i].data, n * sizeof(float));
        memcpy(o.wanted[i].data, o.in[i].data, n * sizeof(float));
    }
    return o;
}

/* Both sides wrote the same bits into the first `outputs` blocks, and nothing beside them. */
static void compare(check_failure *f, operands *o, int outputs) {
    for (int i = 0; i < outputs; i++) {
        const float *g = check_f32(&o->got[i]), *w = check_f32(&o->wanted[i]);
        for (size_t j = 0; j < o->n; j++)
            if (!check_same_bits(&g[j], &w[j], sizeof *g))
                check_fail(f, "n %zu, output %d[%zu]: found %a, plain C has %a", o->n, i, j, (double)g[j], (double)w[j]);
    }
    for (int i = 0; i < 3; i++)
        if (!check_block_intact(&o->got[i])) check_fail(f, "n %zu: written outside output %d", o->n, i);
}

static void operands_free(operands *o) {
    for (int i = 0; i < 4; i++) check_block_free(&o->in[i]);
    for (int i = 0; i < 3; i++) {
        check_block_free(&o->got[i]);
        check_block_free(&o->wanted[i]);
    }
}

static void one_number(check_failure *f, const char *what, size_t n, float got, float wanted, double exact, double bound) {
    if (!check_same_bits(&got, &wanted, sizeof got))
        check_fail(f, "%s n %zu: found %a, plain C has %a", what, n, (double)got, (double)wanted);
    if (!(fabs((double)wanted - exact) <= bound))
        check_fail(f, "%s n %zu: found %a, wanted %a to %g", what, n, (double)wanted, exact, bound);
}

/* Rows of a matrix with x, up to four, f32 or bf16. */
static void check_rows_of_dots(const ar_kernels *k, const ar_kernels *c, bool half) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = size_of(s), rows = 1 + check_below(AR_DOTS), ld = n + check_below(9), size = half ? 2 : 4, have = (rows - 1) * ld + n;
        operands o = operands_new(n, true);
        const float *x = check_f32(&o.in[0]);
        check_block w = check_block_new(have * size, size * check_below(16));
        check_fill_type(w.data, half ? AR_BF16 : AR_F32, have);
        float got[AR_DOTS + 1], wanted[AR_DOTS];
        got[rows] = 17.0f;
        if (half) {
            k->dots_bf16(got, (const uint16_t *)(const void *)w.data, ld, rows, x, n);
            c->dots_bf16(wanted, (const uint16_t *)(const void *)w.data, ld, rows, x, n);
        } else {
            k->dots(got, check_f32(&w), ld, rows, x, n);
            c->dots(wanted, check_f32(&w), ld, rows, x, n);
        }
        if (got[rows] != 17.0f) check_fail(&f, "n %zu: wrote past %zu rows", n, rows);
        for (size_t i = 0; i < rows; i++) {
            double exact = 0, sum = 0;
            for (size_t j = 0; j < n; j++) {
                double v = (double)x[j] * (double)product_b(w.data, half ? AR_BF16 : AR_F32, ld, true, j, i);
                exact += v;
                sum += fabs(v);
            }
            one_number(&f, half ? "dots_bf16" : "dots", n, got[i], wanted[i], exact, check_gamma(n + 1) * sum);
        }
        check_block_free(&w);
        operands_free(&o);
    }
    check_result(k->isa, half ? "dots_bf16" : "dots", check_text(&f));
}

static void check_dots(const ar_kernels *k, const ar_kernels *c) {
    check_failure dot = {0}, squares = {0}, most = {0};
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = size_of(s);
        operands o = operands_new(n, true);
        const float *x = check_f32(&o.in[0]), *y = check_f32(&o.in[1]);
        double xy = 0, xy_size = 0, xx = 0;
        float top = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            xy += (double)x[i] * (double)y[i];
            xy_size += fabs((double)x[i] * (double)y[i]);
            xx += (double)x[i] * (double)x[i];
            if (x[i] > top) top = x[i];
        }
        one_number(&dot, "dot", n, k->dot(x, y, n), c->dot(x, y, n), xy, check_gamma(n + 1) * xy_size);
        one_number(&squares, "sum_squares", n, k->sum_squares(x, n), c->sum_squares(x, n), xx, check_gamma(n + 1) * xx);
        float got = k->max(x, n), wanted = c->max(x, n);
        if (got != wanted || wanted != top)
            check_fail(&most, "max n %zu: found %a, plain C %a, wanted %a", n, (double)got, (double)wanted, (double)top);
        operands_free(&o);
    }
    check_result(k->isa, "dot", check_text(&dot));
    check_rows_of_dots(k, c, false);
    check_rows_of_dots(k, c, true);
    check_result(k->isa, "sum_squares", check_text(&squares));
    check_result(k->isa, "max", check_text(&most));
}

static void check_axpy(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), true);
        float a;
        check_fill(&a, 1);
        const float *x = check_f32(&o.in[1]), *y = check_f32(&o.in[0]);
        k->axpy(check_f32(&o.got[0]), a, x, o.n);
        c->axpy(check_f32(&o.wanted[0]), a, x, o.n);
        compare(&f, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double size = fabs((double)a * (double)x[i]) + fabs((double)y[i]);
            double off = (double)check_f32(&o.wanted[0])[i] - ((double)y[i] + (double)a * (double)x[i]);
            if (!(fabs(off) <= check_gamma(2) * size)) check_fail(&f, "n %zu [%zu]: off by %g", o.n, i, off);
        }
        operands_free(&o);
    }
    check_result(k->isa, "axpy", check_text(&f));
}

static void check_multiple(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), true);
        float a;
        check_fill(&a, 1);
        k->multiple(check_f32(&o.got[0]), a, check_f32(&o.in[1]), o.n);
        c->multiple(check_f32(&o.wanted[0]), a, check_f32(&o.in[1]), o.n);
        k->multiple(check_f32(&o.got[1]), a, check_f32(&o.got[1]), o.n); /* in place */
        for (size_t i = 0; i < o.n; i++) check_f32(&o.wanted[1])[i] = a * check_f32(&o.in[1])[i];
        compare(&f, &o, 2);
        operands_free(&o);
    }
    check_result(k->isa, "multiple", check_text(&f));
}

static void check_taps(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), true);
        size_t count = 1 + s % 6;
        const float *x[6], *w[6];
        for (size_t t = 0; t < count; t++) {
            x[t] = check_f32(&o.in[t % 4]);
            w[t] = check_f32(&o.in[(t + 1) % 4]);
        }
        k->taps(check_f32(&o.got[0]), x, w, count, o.n);
        c->taps(check_f32(&o.wanted[0]), x, w, count, o.n);
        compare(&f, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double exact = 0, size = 0;
            for (size_t t = 0; t < count; t++) {
                exact += (double)x[t][i] * (double)w[t][i];
                size += fabs((double)x[t][i] * (double)w[t][i]);
            }
            double off = (double)check_f32(&o.wanted[0])[i] - exact;
            if (!(fabs(off) <= check_gamma(count + 1) * size)) check_fail(&f, "n %zu, %zu taps [%zu]: off by %g", o.n, count, i, off);
        }
        operands_free(&o);
    }
    check_result(k->isa, "taps", check_text(&f));
}

/* exp: arguments from far below -87 up to 78 (so that the sum stays finite), infinities, every part of the reduction. */
static void check_exp(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        float shift = (float)check_below(16) - 8.0f, *x = check_f32(&o.in[0]);
        double sum = 0;
        for (size_t i = 0; i < o.n; i++) x[i] = check_below(16) ? (float)(check_random() % 180000) / 1000.0f - 102.0f + shift : -INFINITY;
        memcpy(o.got[0].data, x, o.n * sizeof *x);
        memcpy(o.wanted[0].data, x, o.n * sizeof *x);
        float got = k->exp_sum(check_f32(&o.got[0]), shift, o.n), wanted = c->exp_sum(check_f32(&o.wanted[0]), shift, o.n);
        compare(&f, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            float argument = x[i] - shift;
            double e = argument < -87.0f ? 0.0 : exp((double)argument), off = (double)check_f32(&o.wanted[0])[i] - e;
            sum += (double)check_f32(&o.wanted[0])[i];
            if (!(fabs(off) <= 2 * 2 * UNIT * e)) check_fail(&f, "exp(%a): off by %g of %g", (double)argument, off, e); /* 2 ulp */
        }
        one_number(&f, "sum", o.n, got, wanted, sum, check_gamma(o.n + 1) * sum);
        operands_free(&o);
    }
    check_result(k->isa, "exp_sum", check_text(&f));
}

/* Gates over the whole range of the sigmoid, its flat ends and zero included. */
static void fill_gates(operands *o, int at) {
    float *g = check_f32(&o->in[at]);
    for (size_t i = 0; i < o->n; i++)
        g[i] = check_below(12) ? (float)(check_random() % 20000) / 1000.0f - 10.0f : (float)check_below(9) * 50.0f - 200.0f;
    if (at > 2) return;
    memcpy(o->got[at].data, g, o->n * sizeof *g);
    memcpy(o->wanted[at].data, g, o->n * sizeof *g);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* The sigmoid is off by 2 ulp of exp and two roundings: 6 u of its size, or e^-87 where exp gives zero. */
static void check_silu(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        fill_gates(&o, 1);
        const float *gate = check_f32(&o.in[1]), *up = check_f32(&o.in[2]);
        k->silu_mul(check_f32(&o.got[0]), gate, up, o.n);
        c->silu_mul(check_f32(&o.wanted[0]), gate, up, o.n);
        compare(&f, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double g = (double)gate[i], u = (double)up[i], h = g * sigmoid(g) * u;
            double off = (double)check_f32(&o.wanted[0])[i] - h, bound = check_gamma(8) * fabs(h) + exp(-87) * fabs(g * u);
            if (!(fabs(off) <= bound)) check_fail(&f, "silu(%a) %a: off by %g of %g", g, u, off, h);
        }
        operands_free(&o);
    }
    check_result(k->isa, "silu_mul", check_text(&f));
}

static void check_silu_bwd(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        fill_gates(&o, 0);
        const float *gate = check_f32(&o.in[0]), *up = check_f32(&o.in[1]), *dh = check_f32(&o.in[2]);
        k->silu_mul_bwd(check_f32(&o.got[0]), check_f32(&o.got[1]), dh, o.n);
        c->silu_mul_bwd(check_f32(&o.wanted[0]), check_f32(&o.wanted[1]), dh, o.n);
        compare(&f, &o, 2);
        for (size_t i = 0; i < o.n; i++) {
            double g = (double)gate[i], u = (double)up[i], d = (double)dh[i], sg = sigmoid(g);
            double dg = d * u * sg * (1 + g * (1 - sg)), du = d * g * sg, tiny = exp(-87) * (1 + g * g);
            double off_g = (double)check_f32(&o.wanted[0])[i] - dg, off_u = (double)check_f32(&o.wanted[1])[i] - du;
            /* 1 + g (1 - s): s is off by 6 u, so the bracket by up to 8 u (1 + |g|) before it is multiplied */
            if (!(fabs(off_g) <= fabs(d * u) * (check_gamma(20) * sg * (1 + fabs(g)) + tiny)) ||
                !(fabs(off_u) <= check_gamma(8) * fabs(du) + fabs(d) * tiny))
                check_fail(&f, "gate %a: off by %g of %g and %g of %g", g, off_g, dg, off_u, du);
        }
        operands_free(&o);
    }
    check_result(k->isa, "silu_mul_bwd", check_text(&f));
}

/* gelu's sigmoid has an argument of size z, off by 4 u of that, which it passes on by at most (1 - s); beside it 6 u of its own. */
static double gelu_bound(double x) {
    double z = fabs(x * (1.5957691216057308 + 0.071354812710 * x * x));
    return check_gamma(12) + check_gamma(4) * z;
}

static double gelu_gate(double x) { return sigmoid(2 * sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)); }

static double gelu_slope(double x) {
    double s = gelu_gate(x);
    return s + x * s * (1 - s) * 2 * sqrt(2 / 3.14159265358979323846) * (1 + 3 * 0.044715 * x * x);
}

/* All that its derivative adds up, without signs. */
static double gelu_slope_size(double x) {
    double s = gelu_gate(x);
    return s * (1 + fabs(x) * (1 - s) * (1.6 + 0.2141 * x * x));
}

static void check_gelu(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0}, plain = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        fill_gates(&o, 2);
        const float *gate = check_f32(&o.in[2]), *up = check_f32(&o.in[3]);
        k->gelu_mul(check_f32(&o.got[0]), gate, up, o.n);
        c->gelu_mul(check_f32(&o.wanted[0]), gate, up, o.n);
        compare(&f, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double g = (double)gate[i], u = (double)up[i], h = g * gelu_gate(g) * u;
            double off = (double)check_f32(&o.wanted[0])[i] - h, bound = gelu_bound(g) * fabs(h) + exp(-87) * fabs(g * u);
            if (!(fabs(off) <= bound)) check_fail(&f, "gelu(%a) %a: off by %g of %g", g, u, off, h);
        }
        k->gelu(check_f32(&o.got[0]), gate, o.n);
        c->gelu(check_f32(&o.wanted[0]), gate, o.n);
        compare(&plain, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double g = (double)gate[i], h = g * gelu_gate(g), off = (double)check_f32(&o.wanted[0])[i] - h;
            if (!(fabs(off) <= gelu_bound(g) * fabs(h) + exp(-87) * fabs(g))) check_fail(&plain, "gelu(%a): off by %g of %g", g, off, h);
        }
        operands_free(&o);
    }
    check_result(k->isa, "gelu_mul", check_text(&f));
    check_result(k->isa, "gelu", check_text(&plain));
}

static void check_gelu_bwd(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0}, plain = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        fill_gates(&o, 0);
        const float *gate = check_f32(&o.in[0]), *up = check_f32(&o.in[1]), *dh = check_f32(&o.in[2]);
        k->gelu_mul_bwd(check_f32(&o.got[0]), check_f32(&o.got[1]), dh, o.n);
        c->gelu_mul_bwd(check_f32(&o.wanted[0]), check_f32(&o.wanted[1]), dh, o.n);
        compare(&f, &o, 2);
        for (size_t i = 0; i < o.n; i++) {
            double g = (double)gate[i], u = (double)up[i], d = (double)dh[i], tiny = exp(-87) * (1 + fabs(g * g * g));
            double dg = d * u * gelu_slope(g), du = d * g * gelu_gate(g), bound = 2 * gelu_bound(g) * gelu_slope_size(g) + tiny;
            double off_g = (double)check_f32(&o.wanted[0])[i] - dg, off_u = (double)check_f32(&o.wanted[1])[i] - du;
            if (!(fabs(off_g) <= fabs(d * u) * bound) || !(fabs(off_u) <= gelu_bound(g) * fabs(du) + fabs(d) * tiny))
                check_fail(&f, "gate %a: off by %g of %g and %g of %g", g, off_g, dg, off_u, du);
        }
        memcpy(o.got[0].data, gate, o.n * sizeof *gate);
        memcpy(o.wanted[0].data, gate, o.n * sizeof *gate);
        k->gelu_bwd(check_f32(&o.got[0]), dh, o.n);
        c->gelu_bwd(check_f32(&o.wanted[0]), dh, o.n);
        compare(&plain, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double g = (double)gate[i], d = (double)dh[i], off = (double)check_f32(&o.wanted[0])[i] - d * gelu_slope(g);
            double bound = 2 * gelu_bound(g) * gelu_slope_size(g) + exp(-87) * (1 + fabs(g * g * g));
            if (!(fabs(off) <= fabs(d) * bound)) check_fail(&plain, "%a: off by %g", g, off);
        }
        operands_free(&o);
    }
    check_result(k->isa, "gelu_mul_bwd", check_text(&f));
    check_result(k->isa, "gelu_bwd", check_text(&plain));
}

/* Off by 4 u near zero, where nothing cancels; beyond 0.6 e's 4 u are multiplied by at most e / (1 - e) < 0.5 on either side of the
 * fraction. */
static void check_softcap(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        float cap = 0.25f * (float)(1 + check_below(200));
        fill_gates(&o, 0);
        const float *x = check_f32(&o.in[0]);
        k->softcap(check_f32(&o.got[0]), cap, o.n);
        c->softcap(check_f32(&o.wanted[0]), cap, o.n);
        compare(&f, &o, 1);
        for (size_t i = 0; i < o.n; i++) {
            double want = (double)cap * tanh((double)x[i] / (double)cap), off = (double)check_f32(&o.wanted[0])[i] - want;
            if (!(fabs(off) <= check_gamma(12) * fabs(want)))
                check_fail(&f, "cap %a of %a: off by %g of %g", (double)cap, (double)x[i], off, want);
        }
        operands_free(&o);
    }
    check_result(k->isa, "softcap", check_text(&f));
}

static void check_adamw(const ar_kernels *k, const ar_kernels *c) {
    check_failure f = {0};
    ar_adamw_step st = {.step = 1e-3f,
                        .shrink = 0.99f,
                        .beta2 = 0.999f,
                        .rest1 = 0.1f,
                        .rest2 = 0.001f,
                        .eps = 1e-8f,
                        .grad_scale = 0.5f,
                        .correction2 = 0.3f};
    for (size_t s = 0; s < SIZES; s++) {
        operands o = operands_new(size_of(s), false);
        float *v0 = check_f32(&o.in[2]);
        for (size_t i = 0; i < o.n; i++) v0[i] = check_below(5) ? fabsf(v0[i]) : 0.0f;
        memcpy(o.got[2].data, v0, o.n * sizeof *v0);
        memcpy(o.wanted[2].data, v0, o.n * sizeof *v0);
        const float *w = check_f32(&o.in[0]), *m = check_f32(&o.in[1]), *g = check_f32(&o.in[3]);
        k->adamw(check_f32(&o.got[0]), check_f32(&o.got[1]), check_f32(&o.got[2]), g, o.n, &st);
        c->adamw(check_f32(&o.wanted[0]), check_f32(&o.wanted[1]), check_f32(&o.wanted[2]), g, o.n, &st);
        compare(&f, &o, 3);
        for (size_t i = 0; i < o.n; i++) {
            double gi = (double)g[i] * (double)st.grad_scale, m1 = (double)m[i] + (gi - (double)m[i]) * (double)st.rest1;
            double v1 = (double)v0[i] * (double)st.beta2 + gi * gi * (double)st.rest2;
            double by = (double)st.step / (sqrt(v1) / (double)st.correction2 + (double)st.eps), keep = (double)w[i] * (double)st.shrink;
            double off = (double)check_f32(&o.wanted[0])[i] - (keep - by * m1);
            double bound =
                check_gamma(3) * fabs(keep) + by * (check_gamma(10) * fabs(m1) + check_gamma(3) * (fabs(gi) + fabs((double)m[i])));
            if (!(fabs(off) <= bound)) check_fail(&f, "n %zu [%zu]: off by %g, allowed %g", o.n, i, off, bound);
        }
        operands_free(&o);
    }
    check_result(k->isa, "adamw", check_text(&f));
}

void check_elementwise(const ar_runtime *rt) {
    ar_kernels c;
    ar__kernels_c(&c);
    check_dots(&rt->kern, &c);
    check_axpy(&rt->kern, &c);
    check_multiple(&rt->kern, &c);
    check_taps(&rt->kern, &c);
    check_exp(&rt->kern, &c);
    check_silu(&rt->kern, &c);
    check_silu_bwd(&rt->kern, &c);
    check_gelu(&rt->kern, &c);
    check_gelu_bwd(&rt->kern, &c);
    check_softcap(&rt->kern, &c);
    check_adamw(&rt->kern, &c);
}
