/* Operators that see one row at a time, and moves: cpu beside ref, ref's backward beside its slope. */
#include <math.h>
#include <string.h>

#include "ops_check.h"

static const size_t sizes[] = {1, 3, 7, 17, 65, 130};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Roundings of a sum in 16 lanes. */
static double lanes(size_t n) { return (double)(n / 16) + 17.0; }

/* A batch of two samples, the first of one row. */
static ar_rows two_samples(size_t start[3], size_t count) {
    start[0] = 0;
    start[1] = 1;
    start[2] = count;
    return (ar_rows){.count = count, .samples = count > 1 ? 2 : 1, .start = start};
}

/* ---- norms ------------------------------------------------------------------------------------------------------ */
typedef struct norms {
    ar_norm norm;
    ar_rows rows;
    size_t start[3], n, per_row, count; /* count: rows of the norm */
    float *x, *y, *r, *weight;
} norms;

/* Made in place: rows point into it. */
static void make_norm(norms *q, size_t rows, size_t per_row, size_t n, bool centred, bool bias) {
    *q = (norms){.n = n, .per_row = per_row, .count = rows * per_row};
    q->norm =
        (ar_norm){.w = ops_random(n), .b = bias ? ops_random(n) : NULL, .eps = 1e-2f, .offset = bias ? 0.0f : 1.0f, .centred = centred};
    q->rows = two_samples(q->start, rows);
    q->x = ops_random(q->count * n);
    q->y = ops_zeros(q->count * n);
    q->r = ops_zeros(q->count);
    q->weight = ops_random(q->count * n);
}

static double mean_abs(const norms *q, const float *x) {
    double sum = 0.0;
    for (size_t j = 0; q->norm.centred && j < q->n; j++) sum += fabs((double)x[j]);
    return sum / (double)q->n;
}

/* (|w| + offset) r (|x| + mean|x|) + |b|: the mean is known to within the rounding of its own sum. */
static float *norm_size(const norms *q) {
    float *size = ops_zeros(q->count * q->n);
    for (size_t i = 0; i < q->count; i++)
        for (size_t j = 0; j < q->n; j++) {
            double x = fabs((double)q->x[i * q->n + j]) + mean_abs(q, q->x + i * q->n);
            double gain = fabs((double)ar__norm_weights(&q->norm, i, q->n)[j]) + (double)q->norm.offset;
            size[i * q->n + j] = (float)(gain * x * (double)q->r[i] + (q->norm.b ? fabs((double)q->norm.b[j]) : 0.0));
        }
    return size;
}

static void check_norm_fwd(norms *q) {
    size_t all = q->count * q->n;
    float *y = ops_zeros(all), *r = ops_zeros(q->count), *add = ops_random(all), *sum = ops_copy(q->x, all), *sum2 = ops_copy(q->x, all);
    double roundings = lanes(q->n) + 8.0;
    ops_ref->ops->norm_fwd(ops_ref, q->y, q->r, &q->norm, q->x, q->count, q->n);
    ops_cpu->ops->norm_fwd(ops_cpu, y, r, &q->norm, q->x, q->count, q->n);
    float *size = norm_size(q);
    ops_assert_rounding(y, q->y, size, all, roundings, "norm_fwd");
    ops_assert_rounding(r, q->r, q->r, q->count, 2.0 * roundings, "norm_fwd, r");
    ops_cpu->ops->norm_again(ops_cpu, y, q->r, &q->norm, q->x, q->count, q->n);
    ops_ref->ops->norm_again(ops_ref, q->y, q->r, &q->norm, q->x, q->count, q->n);
    ops_assert_rounding(y, q->y, size, all, roundings, "norm_again");
    norms moved = *q;
    ops_cpu->ops->norm_fwd_add(ops_cpu, y, r, &q->norm, sum, add, q->count, q->n);
    ops_ref->ops->norm_fwd_add(ops_ref, q->y, q->r, &q->norm, sum2, add, q->count, q->n);
    ops_assert_same(sum, sum2, all, "norm_fwd_add, the sum");
    moved.x = sum;
    ops_assert_rounding(y, q->y, norm_size(&moved), all, roundings, "norm_fwd_add");
}

static ops_sum norm_value(void *user) {
    norms *q = user;
    ops_ref->ops->norm_fwd(ops_ref, q->y, q->r, &q->norm, q->x, q->count, q->n);
    return ops_weigh(q->weight, q->y, q->count * q->n);
}

/* What is added up to dx: r (|g| + mean|g| + |c| r² mean|g c|). */
static float *norm_bwd_size(const norms *q) {
    size_t n = q->n;
    float *size = ops_zeros(q->count * n);
    for (size_t i = 0; i < q->count; i++) {
        const float *x = q->x + i * n, *dy = q->weight + i * n;
        const float *w = ar__norm_weights(&q->norm, i, n);
        double m = mean_abs(q, x), g_mean = 0.0, gc_mean = 0.0, r = (double)q->r[i];
        for (size_t j = 0; j < n; j++) {
            double g = (fabs((double)w[j]) + (double)q->norm.offset) * fabs((double)dy[j]);
            g_mean += g / (double)n;
            gc_mean += g * (fabs((double)x[j]) + m) / (double)n;
        }
        for (size_t j = 0; j < n; j++) {
            double g = (fabs((double)w[j]) + (double)q->norm.offset) * fabs((double)dy[j]), c = fabs((double)x[j]) + m;
            size[i * n + j] = (float)(r * (g + g_mean + c * r * r * gc_mean)) + 1.0f; /* 1: what dx held before */
        }
    }
    return size;
}

/* dx is added to ones; dw and db to nothing. */
static void check_norm_bwd(norms *q) {
    size_t all = q->count * q->n;
    float *dx[2], *dw[2], *db[2], *dw_size = ops_zeros(q->n), *db_size = ops_zeros(q->n);
    ops_ref->ops->norm_fwd(ops_ref, q->y, q->r, &q->norm, q->x, q->count, q->n);
    for (int k = 0; k < 2; k++) {
        const ar_runtime *rt = k ? ops_ref : ops_cpu;
        ar_norm norm = q->norm;
        dx[k] = ops_zeros(all);
        for (size_t i = 0; i < all; i++) dx[k][i] = 1.0f;
        norm.dw = dw[k] = ops_zeros(q->n);
        norm.db = db[k] = ops_zeros(q->n);
        rt->ops->norm_bwd(rt, dx[k], true, q->weight, &norm, q->x, q->r, &q->rows, q->per_row, q->n);
    }
    for (size_t i = 0; i < all; i++) {
        double dy = fabs((double)q->weight[i]), c = fabs((double)q->x[i]) + mean_abs(q, q->x + i / q->n * q->n);
        dw_size[i % q->n] += (float)(dy * c * (double)q->r[i / q->n]);
        db_size[i % q->n] += (float)dy;
    }
    ops_assert_rounding(dx[0], dx[1], norm_bwd_size(q), all, lanes(q->n) + 12.0, "norm_bwd");
    ops_assert_rounding(dw[0], dw[1], dw_size, q->n, lanes(q->n) + (double)q->count + 6.0, "norm_bwd, dw");
    ops_assert_rounding(db[0], db[1], db_size, q->n, (double)q->count + 2.0, "norm_bwd, db");
    float *alone = ops_zeros(all);
    ops_ref->ops->norm_bwd(ops_ref, alone, false, q->weight, &q->norm, q->x, q->r, &q->rows, q->per_row, q->n);
    ops_assert_slope(norm_value, q, q->x, alone, all, "norm by x");
    ops_assert_slope(norm_value, q, (float *)q->norm.w, dw[1], q->n, "norm by w");
    if (q->norm.b) ops_assert_slope(norm_value, q, (float *)q->norm.b, db[1], q->n, "norm by b");
}

static void norms_agree(void **state) {
    (void)state;
    for (int centred = 0; centred < 2; centred++)
        for (size_t i = 0; i < SIZES; i++) {
            norms q;
            make_norm(&q, sizes[SIZES - 1 - i], 1 + i % 2, sizes[i] + (centred ? 2 : 0), centred, i % 2 == 0);
            check_norm_fwd(&q);
            check_norm_bwd(&q);
        }
}

/* Weights of each head's own: against the norm of one head's rows alone, to the bit, and by the slope. */
static void heads_have_weights_of_their_own(void **state) {
    (void)state;
    enum { HEADS = 3 };
    for (int centred = 0; centred < 2; centred++) {
        norms q;
        make_norm(&q, 5, HEADS, 18, centred, false);
        size_t n = q.n, all = q.count * n;
        float *w = ops_random(HEADS * n), *dx = ops_zeros(all), *y = ops_zeros(n), *d = ops_zeros(n), *r = ops_zeros(1);
        q.norm.w = w;
        q.norm.heads = HEADS;
        check_norm_fwd(&q);
        ops_ref->ops->norm_fwd(ops_ref, q.y, q.r, &q.norm, q.x, q.count, n);
        ops_ref->ops->norm_bwd(ops_ref, dx, false, q.weight, &q.norm, q.x, q.r, &q.rows, q.per_row, n);
        ops_assert_slope(norm_value, &q, q.x, dx, all, "norm of heads by x");
        ops_cpu->ops->norm_fwd(ops_cpu, q.y, q.r, &q.norm, q.x, q.count, n);
        ops_cpu->ops->norm_bwd(ops_cpu, dx, false, q.weight, &q.norm, q.x, q.r, &q.rows, q.per_row, n);
        for (size_t i = 0; i < q.count; i++) {
            size_t start[3];
            ar_rows one = two_samples(start, 1);
            ar_norm norm = q.norm;
            norm.w = w + i % HEADS * n;
            norm.heads = 0;
            ops_cpu->ops->norm_fwd(ops_cpu, y, r, &norm, q.x + i * n, 1, n);
            ops_assert_same(y, q.y + i * n, n, "a head's norm");
            ops_cpu->ops->norm_bwd(ops_cpu, d, false, q.weight + i * n, &norm, q.x + i * n, r, &one, 1, n);
            ops_assert_same(d, dx + i * n, n, "a head's norm, dx");
        }
    }
}

/* ---- activations ------------------------------------------------------------------------------------------------- */
static const ar_activation kinds[] = {{.kind = AR_SILU},
                                      {.kind = AR_GELU_TANH},
                                      {.kind = AR_GELU},
                                      {.kind = AR_IDENTITY},
                                      {.kind = AR_RELU2},
                                      {.kind = AR_SIGMOID},
                                      {.kind = AR_XIELU, .positive = 0.8f, .negative = 0.7f, .beta = 0.5f, .eps = -1e-6f},
                                      {.kind = AR_SWIGLU, .alpha = 1.702f, .limit = 1.2f}};

typedef struct points {
    const ar_activation *f;
    float *gate, *up, *y, *weight;
    size_t rows, n, ld;
} points;

static ops_sum activation_value(void *user) {
    points *q = user;
    ops_ref->ops->activation_fwd(ops_ref, q->f, q->y, q->gate, q->up, q->ld, q->rows, q->n);
    return ops_weigh(q->weight, q->y, q->rows * q->n);
}

/* Of f and of its slope, by element: a point's value has terms no larger than |x| + x², its slope than 1 + 2 |x|; the tanh of gelu_tanh
 * brings |x|³ to the slope; a sigmoid's value has a term of 1. */
static void activation_sizes(const points *q, float *fwd, float *gate, float *up) {
    for (size_t i = 0; i < q->rows; i++)
        for (size_t j = 0; j < q->n; j++) {
            size_t at = i * q->ld + j, out = i * q->n + j;
            double one = q->gate && q->f->kind == AR_SWIGLU ? 1.0 : 0.0, u = fabs((double)q->up[at]) + one,
                   x = q->gate ? fabs((double)q->gate[at]) : u, dy = fabs((double)q->weight[out]);
            double value = q->f->kind == AR_SIGMOID ? 1.0 : x + x * x,
                   steep = 1.0 + 2.0 * x + (q->f->kind == AR_GELU_TANH ? x * x * x : 0.0);
            fwd[out] = (float)(q->gate ? value * u : value);
            up[at] = (float)(q->gate ? dy * value : dy * steep);
            if (gate) gate[at] = (float)(dy * steep * u);
        }
}

static void check_activation(points *q) {
    enum { ROUNDINGS = 16 }; /* of an exponential, the ones around it, and the constants */
    size_t all = q->rows * q->n, held = q->rows * q->ld;
    float *y = ops_zeros(all), *size = ops_zeros(all), *gate_size = ops_zeros(held), *up_size = ops_zeros(held);
    float *gate[2] = {NULL, NULL}, *up[2];
    activation_value(q);
    activation_sizes(q, size, q->gate ? gate_size : NULL, up_size);
    ops_cpu->ops->activation_fwd(ops_cpu, q->f, y, q->gate, q->up, q->ld, q->rows, q->n);
    ops_assert_rounding(y, q->y, size, all, ROUNDINGS, "activation_fwd");
    for (int k = 0; k < 2; k++) {
        const ar_runtime *rt = k ? ops_ref : ops_cpu;
        up[k] = ops_copy(q->up, held);
        if (q->gate) gate[k] = ops_copy(q->gate, held);
        rt->ops->activation_bwd(rt, q->f, gate[k], up[k], q->ld, q->weight, q->rows, q->n);
    }
    ops_assert_rounding(up[0], up[1], up_size, held, ROUNDINGS, "activation_bwd, up");
    if (q->gate) ops_assert_rounding(gate[0], gate[1], gate_size, held, ROUNDINGS, "activation_bwd, gate");
    for (size_t i = 0; i < held; i++) {
        if (i % q->ld >= q->n) up[1][i] = 0.0f; /* what stands between rows is nobody's */
        if (i % q->ld >= q->n && q->gate) gate[1][i] = 0.0f;
    }
    ops_assert_slope(activation_value, q, q->up, up[1], held, "activation by up");
    if (q->gate) ops_assert_slope(activation_value, q, q->gate, gate[1], held, "activation by gate");
}

/* What is kept as bf16 gives the bits that the plain operators have of the rounded numbers. */
static void check_kept(const points *q) {
    size_t all = q->rows * q->n, held = q->rows * q->ld, before = q->gate ? q->n : 0, width = before + q->n;
    uint16_t *kept[2] = {ops_memory(q->rows * width * sizeof **kept), ops_memory(q->rows * width * sizeof **kept)};
    float *gate = q->gate ? ops_copy(q->gate, held) : NULL, *up = ops_copy(q->up, held), *y[4], *g = gate ? ops_copy(gate, held) : NULL,
          *u = ops_copy(up, held);
    for (int i = 0; i < 4; i++) y[i] = ops_zeros(all);
    ops_cpu->ops->activation_keep(ops_cpu, q->f, y[0], kept[0], q->gate, q->up, q->ld, q->rows, q->n);
    ops_ref->ops->activation_keep(ops_ref, q->f, y[1], kept[1], q->gate, q->up, q->ld, q->rows, q->n);
    assert_memory_equal(kept[0], kept[1], q->rows * width * sizeof **kept);
    for (size_t i = 0; i < q->rows; i++) {
        if (gate) ar__dtype(AR_BF16)->to_f32(gate + i * q->ld, kept[0] + i * width, q->n);
        ar__dtype(AR_BF16)->to_f32(up + i * q->ld, kept[0] + i * width + before, q->n);
    }
    ops_cpu->ops->activation_fwd(ops_cpu, q->f, y[2], gate, up, q->ld, q->rows, q->n);
    ops_assert_same(y[0], y[2], all, "activation_keep");
    ops_cpu->ops->activation_again(ops_cpu, q->f, y[3], kept[0], gate != NULL, q->rows, q->n);
    ops_assert_same(y[3], y[2], all, "activation_again");
    ops_ref->ops->activation_fwd(ops_ref, q->f, y[3], gate, up, q->ld, q->rows, q->n);
    ops_assert_same(y[1], y[3], all, "the definition's activation_keep");
    for (int k = 0; k < 2; k++) {
        const ar_runtime *rt = k ? ops_ref : ops_cpu;
        float *dg = gate ? ops_copy(gate, held) : NULL, *du = ops_copy(up, held);
        rt->ops->activation_bwd(rt, q->f, dg, du, q->ld, q->weight, q->rows, q->n);
        rt->ops->activation_bwd_kept(rt, q->f, g, u, q->ld, kept[0], q->weight, q->rows, q->n);
        for (size_t i = 0; i < q->rows; i++) {
            if (g) ops_assert_same(g + i * q->ld, dg + i * q->ld, q->n, "activation_bwd_kept, gate");
            ops_assert_same(u + i * q->ld, du + i * q->ld, q->n, "activation_bwd_kept, up");
        }
    }
    ops_cpu->ops->activation_keep(ops_cpu, q->f, NULL, kept[1], q->gate, q->up, q->ld, q->rows, q->n);
    assert_memory_equal(kept[0], kept[1], q->rows * width * sizeof **kept);
}

/* Off the corners of swiglu, which has no slope there. */
static void keep_from(float *x, size_t n, float limit) {
    for (size_t i = 0; x && limit > 0.0f && i < n; i++)
        if (fabsf(fabsf(x[i]) - limit) < 0x1p-5f) x[i] *= 0.9f;
}

static void activations_agree(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t i = 0; i < SIZES; i++)
            for (int gated = 0; gated < 2; gated++) {
                size_t rows = sizes[SIZES - 1 - i], n = sizes[i], ld = n + (gated ? 2 : 0), all = rows * ld;
                points q = {&kinds[k], gated ? ops_random(all) : NULL, ops_random(all), ops_zeros(rows * n), ops_random(rows * n), rows, n,
                            ld};
                for (size_t j = 0; j < all; j++) (gated ? q.gate : q.up)[j] *= 2.0f;
                keep_from(q.gate, all, q.f->limit);
                keep_from(q.up, all, q.f->limit);
                check_activation(&q);
                check_kept(&q);
            }
}

/* What PyTorch 2.13 gives in f64 at four points, value and slope, of the kinds above in their order: the definition has no other witness of
 * its constants, which slopes would hide. */
enum { POINTS = 4 };
static const double at[POINTS] = {-2.5, -0.75, 0.5, 1.75};
static const struct {
    ar_activation_kind kind;
    double value[POINTS], slope[POINTS];
} known[] = {
    {AR_SILU, {-0.1896454501, -0.2406159756, 0.3112296656, 1.490917403}, {-0.09940111134, 0.1574000555, 0.7399611873, 1.072678946}},
    {AR_GELU_TANH, {-0.01508426609, -0.1700394448, 0.3457140098, 1.679795382}, {-0.03795157621, 0.001061743863, 0.8673699035, 1.111596981}},
    {AR_GELU, {-0.01552416331, -0.1699705143, 0.3457312306, 1.679896475}, {-0.03761108591, 0.0007742782608, 0.8674951247, 1.110926151}},
    {AR_RELU2, {0, 0, 0.25, 3.0625}, {0, 0, 1, 3.5}},
    {AR_SIGMOID, {0.07585818002, 0.3208213008, 0.6224593312, 0.851952802}, {0.07010371655, 0.2178949938, 0.2350037122, 0.1261292252}},
    {AR_XIELU, {-0.1425405198, -0.2193434157, 0.450000003, 3.325000037}, {-0.14254049, 0.1306565932, 1.300000012, 3.300000042}},
    {AR_SWIGLU, {-0.03498616316, -0.1636099404, 0.3503884378, 1.062212966}, {-0.04471866447, 0.0004284629405, 0.8792219158, 0}},
};

static void definitions_have_known_values(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        const ar_activation *f = kinds;
        float x[POINTS], y[POINTS], ones[POINTS];
        while (f->kind != known[k].kind) f++;
        for (int i = 0; i < POINTS; i++) {
            x[i] = (float)at[i];
            ones[i] = 1.0f;
        }
        float gate[POINTS], up[POINTS] = {0};
        bool gated = f->kind == AR_SWIGLU; /* (up + 1) f(gate) */
        memcpy(gate, x, sizeof gate);
        ops_ref->ops->activation_fwd(ops_ref, f, y, gated ? gate : NULL, gated ? up : x, POINTS, 1, POINTS);
        for (int i = 0; i < POINTS; i++) assert_true(fabs((double)y[i] - known[k].value[i]) <= 2e-7 * fmax(fabs(known[k].value[i]), 1e-2));
        ops_ref->ops->activation_bwd(ops_ref, f, gated ? gate : NULL, gated ? up : x, POINTS, ones, 1, POINTS);
        const float *slope = gated ? gate : x;
        for (int i = 0; i < POINTS; i++)
            assert_true(fabs((double)slope[i] - known[k].slope[i]) <= 2e-7 * fmax(fabs(known[k].slope[i]), 1e-2));
    }
}

static void clip_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        size_t n = sizes[i];
        float *x = ops_random(n), *a = ops_copy(x, n), *b = ops_copy(x, n), *da = ops_random(n), *db = ops_copy(da, n);
        ops_cpu->ops->clip(ops_cpu, a, 0.7, n);
        ops_ref->ops->clip(ops_ref, b, 0.7, n);
        ops_assert_same(a, b, n, "clip");
        assert_true(ops_largest(a, n) <= 0.7);
        ops_cpu->ops->clip_bwd(ops_cpu, da, a, 0.7, n);
        ops_ref->ops->clip_bwd(ops_ref, db, x, 0.7, n); /* of what was cut, or of what was not */
        ops_assert_same(da, db, n, "clip_bwd");
        ops_cpu->ops->clip(ops_cpu, x, 0.0, n);
    }
}

static void softcap_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        size_t n = 5 * sizes[i];
        float *x = ops_random(n), *y = ops_copy(x, n);
        ops_cpu->ops->softcap(ops_cpu, x, 1.5, 5, sizes[i]);
        ops_ref->ops->softcap(ops_ref, y, 1.5, 5, sizes[i]);
        ops_assert_rounding(x, y, ops_abs(y, n), n, 12, "softcap");
        ops_cpu->ops->softcap(ops_cpu, x, 0.0, 5, sizes[i]);
        ops_ref->ops->softcap(ops_ref, y, 0.0, 5, sizes[i]);
        ops_assert_rounding(x, y, ops_abs(y, n), n, 12, "softcap of nothing");
    }
}

/* ---- rotary embedding -------------------------------------------------------------------------------------------- */
typedef struct turns {
    ar_rope table;
    ar_rows rows;
    size_t heads, all, past[2];
    float *x, *y, *weight;
    bool query;
} turns;

static void fill_tables(const ar_runtime *rt, ar_rope *t, const float *inv_freq) {
    ar_rope far = *t;
    rt->ops->rope_fill(rt, t, inv_freq, 1.25f);
    far.cos = t->far_cos;
    far.sin = t->far_sin;
    rt->ops->rope_fill(rt, &far, inv_freq + 1, 1.5f);
}

static ar_rope make_table(size_t positions, size_t half, size_t head, bool neighbours) {
    static const bool far[2] = {false, true};
    size_t n = positions * half;
    ar_rope t = {.positions = positions, .half = half, .head = head, .neighbours = neighbours, .far = far};
    float *inv_freq = ops_abs(ops_random(half + 1), half + 1);
    t.cos = ops_zeros(n), t.sin = ops_zeros(n), t.far_cos = ops_zeros(n), t.far_sin = ops_zeros(n);
    ar_rope cpu = t;
    cpu.cos = ops_zeros(n), cpu.sin = ops_zeros(n), cpu.far_cos = ops_zeros(n), cpu.far_sin = ops_zeros(n);
    fill_tables(ops_ref, &t, inv_freq);
    fill_tables(ops_cpu, &cpu, inv_freq);
    ops_assert_rounding(cpu.cos, t.cos, ops_abs(t.cos, n), n, 3, "rope_fill, cos");
    ops_assert_rounding(cpu.sin, t.sin, ops_abs(t.sin, n), n, 3, "rope_fill, sin");
    ops_assert_rounding(cpu.far_cos, t.far_cos, ops_abs(t.far_cos, n), n, 3, "rope_fill, far");
    return t;
}

static ops_sum turned_value(void *user) {
    turns *q = user;
    ops_ref->ops->rope_apply(ops_ref, q->y, q->x, &q->table, &q->rows, q->past, q->heads, 1, q->query);
    return ops_weigh(q->weight, q->y, q->all);
}

static void check_rope(size_t count, size_t heads, size_t half, size_t head, bool neighbours, bool query) {
    size_t start[3];
    turns q = {.table = make_table(count + 3, half, head, neighbours), .rows = two_samples(start, count), .heads = heads, .past = {2, 3}};
    q.query = query;
    q.all = count * heads * head;
    q.x = ops_random(q.all), q.y = ops_zeros(q.all), q.weight = ops_random(q.all);
    q.table.gain = ops_random(count + 3);
    float *y = ops_copy(q.x, q.all), *dx = ops_zeros(q.all);
    double size = 3.0 * fmax(ops_largest(q.x, q.all), ops_largest(q.weight, q.all)) * fmax(1.0, ops_largest(q.table.gain, count + 3));
    turned_value(&q);
    ops_cpu->ops->rope_apply(ops_cpu, y, y, &q.table, &q.rows, q.past, heads, 1, query);
    ops_assert_within(y, q.y, size, q.all, 4, "rope_apply");
    ops_cpu->ops->rope_apply(ops_cpu, y, q.weight, &q.table, &q.rows, q.past, heads, -1, query);
    ops_ref->ops->rope_apply(ops_ref, dx, q.weight, &q.table, &q.rows, q.past, heads, -1, query);
    ops_assert_within(y, dx, size, q.all, 4, "rope_apply, back");
    ops_assert_slope(turned_value, &q, q.x, dx, q.all, "rope");
}

static void rope_agrees(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        check_rope(1, 1, 1, 2, way & 1, way & 2);
        check_rope(7, 3, 4, 8, way & 1, way & 2);
        check_rope(17, 2, 5, 13, way & 1, way & 2); /* part of a head is turned */
        check_rope(65, 3, 9, 18, way & 1, way & 2);
    }
}

/* ---- the loss ---------------------------------------------------------------------------------------------------- */
typedef struct losses {
    float *logits, *work, *nll, *weight;
    int32_t *target;
    size_t rows, vocab;
    double cap;
} losses;

static ops_sum loss_value(void *user) {
    losses *q = user;
    memcpy(q->work, q->logits, q->rows * q->vocab * sizeof(float));
    ops_ref->ops->cross_entropy(ops_ref, q->nll, q->work, q->target, q->rows, q->vocab, q->cap, NULL);
    return ops_weigh(q->weight, q->nll, q->rows);
}

static void check_loss(size_t rows, size_t vocab, double cap) {
    size_t all = rows * vocab;
    losses q = {ops_random(all), ops_zeros(all), ops_zeros(rows), ops_random(rows), ops_memory(rows * sizeof(int32_t)), rows, vocab, cap};
    for (size_t i = 0; i < rows; i++) q.target[i] = (int32_t)((7 * i + 3) % vocab);
    float *got = ops_copy(q.logits, all), *want = ops_copy(q.logits, all), *nll = ops_zeros(rows), *size = ops_zeros(all);
    /* Of the sum of exponentials, of each, and of what stands in it. */
    double roundings = lanes(vocab) + 24.0, most = 1.0 + 2.0 * ops_largest(q.logits, all);
    ops_cpu->ops->cross_entropy(ops_cpu, nll, got, q.target, rows, vocab, cap, q.weight);
    ops_ref->ops->cross_entropy(ops_ref, q.nll, want, q.target, rows, vocab, cap, q.weight);
    ops_assert_within(nll, q.nll, most, rows, roundings, "cross_entropy, nll");
    for (size_t i = 0; i < all; i++) {
        double by = fabs((double)q.weight[i / vocab]), hit = i % vocab == (size_t)q.target[i / vocab] ? by : 0.0;
        size[i] = (float)(most * (cap > 0.0 ? by : fabs((double)want[i]) + 2.0 * hit)); /* with a cap, 1 - t² has terms of 1 */
    }
    ops_assert_rounding(got, want, size, all, roundings, "cross_entropy, gradient");
    ops_assert_slope(loss_value, &q, q.logits, want, all, "cross_entropy");
}

static void loss_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        for (int capped = 0; capped < 2; capped++) check_loss(sizes[SIZES - 1 - i], sizes[i], capped ? 1.5 : 0.0);
    check_loss(3, 4099, 0.0); /* more than a stretch */
    check_loss(3, 4099, 2.0);
}

/* ---- moves: the same bits ---------------------------------------------------------------------------------------- */
static void sums_and_multiples_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        size_t n = sizes[i] * 3;
        float *x = ops_random(n), *y = ops_random(n), *y2 = ops_copy(y, n);
        ops_cpu->ops->add(ops_cpu, y, x, n);
        ops_ref->ops->add(ops_ref, y2, x, n);
        ops_assert_same(y, y2, n, "add");
        ops_cpu->ops->multiple(ops_cpu, y, x, 0.7, n);
        ops_ref->ops->multiple(ops_ref, y2, x, 0.7, n);
        ops_assert_rounding(y, y2, ops_abs(y2, n), n, 3, "multiple");
        ops_cpu->ops->scale(ops_cpu, y, 1.3, n);
        ops_ref->ops->scale(ops_ref, y2, 1.3, n);
        ops_assert_rounding(y, y2, ops_abs(y2, n), n, 6, "scale");
        ops_cpu->ops->zero_rows(ops_cpu, y, sizes[i], 2);
        ops_ref->ops->zero_rows(ops_ref, y2, sizes[i], 2);
        ops_assert_same(y, y2, 2 * sizes[i], "zero_rows");
    }
}

static void rounding_agrees(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        size_t n = sizes[i] * sizes[SIZES - 1 - i] * 3;
        float *x = ops_random(n), *got = ops_copy(x, n), *want = ops_copy(x, n);
        uint16_t *kept[2] = {ops_memory(n * sizeof **kept), ops_memory(n * sizeof **kept)};
        ops_cpu->ops->bf16_round(ops_cpu, kept[0], x, n);
        ops_ref->ops->bf16_round(ops_ref, kept[1], x, n);
        assert_memory_equal(kept[0], kept[1], n * sizeof **kept);
        ops_cpu->ops->bf16_widen(ops_cpu, got, kept[0], n);
        ops_ref->ops->bf16_widen(ops_ref, want, kept[1], n);
        ops_assert_same(got, want, n, "bf16_widen");
        for (size_t j = 0; j < n; j++) assert_true(fabsf(got[j] - x[j]) <= ldexpf(fabsf(x[j]), -8));
    }
}

/* Every third row, of n. */
static void rows_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        size_t n = sizes[i], width = sizes[SIZES - 1 - i], count = (n + 2) / 3, all = n * width, row[130];
        for (size_t k = 0; k < count; k++) row[k] = 3 * k;
        float *x = ops_random(all), *got = ops_copy(x, all), *want = ops_copy(x, all);
        ops_cpu->ops->rows_take(ops_cpu, got, got, row, count, width);
        ops_ref->ops->rows_take(ops_ref, want, want, row, count, width);
        ops_assert_same(got, want, all, "rows_take");
        ops_cpu->ops->rows_put(ops_cpu, got, x, row, count, width);
        ops_ref->ops->rows_put(ops_ref, want, x, row, count, width);
        ops_assert_same(got, want, all, "rows_put");
        ops_cpu->ops->rows_spread(ops_cpu, got, n, row, count, width);
        ops_ref->ops->rows_spread(ops_ref, want, n, row, count, width);
        ops_assert_same(got, want, all, "rows_spread");
        ops_cpu->ops->columns_put(ops_cpu, got, width, x, n, (width + 1) / 2);
        ops_ref->ops->columns_put(ops_ref, want, width, x, n, (width + 1) / 2);
        ops_assert_same(got, want, all, "columns_put");
        ops_assert_same(got + (n - 1) * width, x + (n - 1) * ((width + 1) / 2), (width + 1) / 2, "columns_put, last row");
        ops_cpu->ops->columns_take(ops_cpu, got, x, width, n, (width + 1) / 2);
        ops_ref->ops->columns_take(ops_ref, want, x, width, n, (width + 1) / 2);
        ops_assert_same(got, want, all, "columns_take");
        ops_assert_same(got + (n - 1) * ((width + 1) / 2), x + (n - 1) * width, (width + 1) / 2, "columns_take, last row");
        ar_block blocks[2] = {{0, 1, 0, 1, 2}, {1, n - 1, 5, 0, n - 1}};
        float *cache = ops_zeros(all + 8 * width), *cache2 = ops_zeros(all + 8 * width);
        ops_cpu->ops->rows_store(ops_cpu, cache, x, blocks, 2, width);
        ops_ref->ops->rows_store(ops_ref, cache2, x, blocks, 2, width);
        ops_assert_same(cache, cache2, all + 8 * width, "rows_store");
    }
}

/* Of three parts, or two. */
static void check_qkv(size_t rows, size_t q, size_t kv, size_t head, bool three) {
    size_t width = q + (three ? 2 : 1) * kv;
    float *joined = ops_random(rows * width), *back[2];
    ar_qkv parts[2];
    for (int k = 0; k < 2; k++) {
        const ar_runtime *rt = k ? ops_ref : ops_cpu;
        parts[k] = (ar_qkv){ops_zeros(rows * q), ops_zeros(rows * kv), three ? ops_zeros(rows * kv) : NULL, q, kv, head};
        back[k] = ops_zeros(rows * width);
        rt->ops->qkv_split(rt, &parts[k], joined, rows);
        rt->ops->qkv_join(rt, back[k], &parts[k], rows);
        ops_assert_same(back[k], joined, rows * width, "qkv_join of qkv_split");
    }
    ops_assert_same(parts[0].q, parts[1].q, rows * q, "qkv_split, q");
    ops_assert_same(parts[0].k, parts[1].k, rows * kv, "qkv_split, k");
    if (three) ops_assert_same(parts[0].v, parts[1].v, rows * kv, "qkv_split, v");
}

static void qkv_agrees(void **state) {
    (void)state;
    check_qkv(7, 12, 4, 0, true);
    check_qkv(17, 15, 15, 0, true);
    check_qkv(17, 15, 15, 5, true);
    check_qkv(1, 3, 3, 1, true);
    check_qkv(17, 15, 15, 5, false);
    check_qkv(7, 12, 4, 0, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_agree),
        cmocka_unit_test(heads_have_weights_of_their_own),
        cmocka_unit_test(activations_agree),
        cmocka_unit_test(definitions_have_known_values),
        cmocka_unit_test(softcap_agrees),
        cmocka_unit_test(clip_agrees),
        cmocka_unit_test(rope_agrees),
        cmocka_unit_test(loss_agrees),
        cmocka_unit_test(sums_and_multiples_agree),
        cmocka_unit_test(rounding_agrees),
        cmocka_unit_test(rows_agree),
        cmocka_unit_test(qkv_agrees),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
