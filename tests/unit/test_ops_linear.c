/* Linears and embeddings with their pairs: cpu beside ref, ref's backward beside its slope.
 *
 * An element's size, by which its rounding is measured, is what ref makes of the operands without their signs, with two more for
 * each gain of DoRA: under dropout W d(x) is taken once with g and once with 1. */
#include <math.h>
#include <string.h>

#include "../blocks.h"
#include "ops_check.h"

enum { SITES = 2, RANK = 3 };

/* Three segments: the pair, nothing, and the pair again at another strength, smaller of rank where `ragged`. */
typedef struct shape {
    const char *name;
    size_t count, in, out;
    ar_dtype type;
    bool dora, ragged, whole; /* whole: one segment */
    float dropout;
} shape;

typedef struct bench {
    shape s;
    ar_rows rows;
    size_t start[5], position[130];
    uint64_t key[4];
    ar_segment segments[3];
    ar_pair_op pairs[3][SITES];
    double dscale[3];
    ar_linear lin;
    ar_embedding embedding;
    int32_t *ids;
    float *x, *y, *su, *dx, *weight, *magnitude[3];
    ar_linear_scratch scratch;
} bench;

static ar_weight make_weight(ar_dtype type, const float *x, size_t rows, size_t cols) {
    const ar_dtype_info *t = ar__dtype(type);
    void *data = ops_memory(rows * cols / t->block * t->bytes);
    if (t->block > 1)
        blocks_fill(data, type, rows * cols, rows + cols);
    else
        t->from_f32(data, x, rows * cols);
    return (ar_weight){data, type, rows, cols};
}

/* a: [rank, n_in], b: [n_out, rank] */
static ar_pair_op make_pair(bench *q, int i, size_t n_in, size_t n_out) {
    int rank = q->s.ragged && i == 2 ? RANK - 1 : RANK;
    ar_pair_op p = {.rank = rank, .scale = 0.7 + 0.4 * i, .dscale = &q->dscale[i], .dropout = q->s.dropout, .seed = 5, .site_hash = 77};
    bool again = i == 2 && !q->s.ragged; /* two strengths of one pair */
    size_t an = (size_t)rank * n_in, bn = (size_t)rank * n_out;
    p.a = again ? q->pairs[0][1].a : ops_random(an);
    p.b = again ? q->pairs[0][1].b : ops_random(bn);
    p.da = again ? q->pairs[0][1].da : ops_zeros(an);
    p.db = again ? q->pairs[0][1].db : ops_zeros(bn);
    if (!q->s.dora) return p;
    q->magnitude[i] = ops_random(n_out);
    p.inv_norm = ops_abs(ops_random(n_out), n_out);
    p.gain = ops_zeros(n_out);
    p.dmagnitude = ops_zeros(n_out);
    return p;
}

static void set_gains(bench *q) {
    for (int i = 0; i < 3; i++) {
        const ar_pair_op *p = &q->pairs[i][1];
        for (size_t j = 0; p->gain && j < q->s.out; j++) ((float *)p->gain)[j] = q->magnitude[i][j] * p->inv_norm[j];
    }
}

static void make_rows(bench *q) {
    size_t n = q->s.count, samples = n > 4 ? 4 : 1;
    for (size_t i = 1; i < samples; i++) q->start[i] = n * i / 4 + i % 2;
    q->start[samples] = n;
    for (size_t s = 0; s < samples; s++) {
        q->key[s] = 100 + s;
        for (size_t i = q->start[s]; i < q->start[s + 1]; i++) q->position[i] = 2 * (i - q->start[s]); /* rows were left out */
    }
    q->segments[0] = (ar_segment){0, q->s.whole || samples == 1 ? samples : 1, q->pairs[0]};
    q->segments[1] = (ar_segment){1, 2, NULL};
    q->segments[2] = (ar_segment){2, 4, q->pairs[2]};
    q->rows = (ar_rows){.count = n, .samples = samples, .start = q->start, .position = q->position, .key = q->key};
    q->rows.segments = q->segments;
    q->rows.segment_count = q->s.whole || samples == 1 ? 1 : 3;
}

/* Made in place: rows and pairs point into it. */
static void make_bench(bench *q, const shape *s, bool embedding) {
    size_t vocab = s->in, n = s->count;
    memset(q, 0, sizeof *q);
    q->s = *s;
    make_rows(q);
    for (int i = 0; i < 3; i += 2) q->pairs[i][1] = make_pair(q, i, s->in, s->out);
    set_gains(q);
    q->x = ops_random(n * s->in);
    q->y = ops_zeros(n * s->out);
    q->su = ops_zeros(n * RANK);
    q->dx = ops_zeros(n * s->in);
    q->weight = ops_random(n * s->out);
    q->scratch = (ar_linear_scratch){ops_zeros(n * s->in), ops_zeros(n * s->out), ops_zeros(n * s->out), ops_zeros(n * RANK)};
    size_t rows = embedding ? vocab : s->out, cols = embedding ? s->out : s->in;
    ar_weight w = make_weight(s->type, ops_random(rows * cols), rows, cols);
    q->lin = (ar_linear){.w = w, .bias = ops_random(s->out), .dw = ops_zeros(rows * cols), .dbias = ops_zeros(s->out), .site = 1};
    q->embedding = (ar_embedding){w, q->lin.dw, 1};
    q->ids = ops_memory(n * sizeof *q->ids);
    for (size_t i = 0; i < n; i++) q->ids[i] = (int32_t)((5 * i + i / 3) % vocab);
}

static ar_weight abs_weight(const ar_weight *w) {
    float *x = ops_zeros(w->rows * w->cols);
    ar__dtype(w->type)->to_f32(x, w->data, w->rows * w->cols);
    return make_weight(AR_F32, ops_abs(x, w->rows * w->cols), w->rows, w->cols);
}

/* The same call with gradients and outputs of its own. */
static void copy_bench(bench *to, const bench *q, bool size) {
    size_t n = q->s.count, in = q->s.in, out = q->s.out;
    *to = *q;
    make_rows(to);
    to->y = ops_zeros(n * out), to->su = ops_copy(q->su, n * RANK), to->dx = ops_copy(q->dx, n * in);
    to->lin.dw = to->embedding.dw = ops_zeros(q->lin.w.rows * q->lin.w.cols), to->lin.dbias = ops_zeros(out);
    for (int i = 0; i < 3; i += 2) {
        ar_pair_op *p = &to->pairs[i][1];
        bool again = i == 2 && !q->s.ragged;
        size_t an = (size_t)p->rank * in, bn = (size_t)p->rank * out;
        to->dscale[i] = 0.0, p->dscale = &to->dscale[i];
        p->da = again ? to->pairs[0][1].da : ops_zeros(an), p->db = again ? to->pairs[0][1].db : ops_zeros(bn);
        if (p->gain) p->dmagnitude = ops_zeros(out);
        if (!size) continue;
        p->a = again ? to->pairs[0][1].a : ops_abs(p->a, an), p->b = again ? to->pairs[0][1].b : ops_abs(p->b, bn);
        if (p->gain) p->gain = ops_abs(p->gain, out);
        for (size_t j = 0; p->gain && j < out; j++) ((float *)p->gain)[j] += 2.0f;
    }
    if (!size) return;
    to->lin.w = to->embedding.w = abs_weight(&q->lin.w), to->lin.bias = ops_abs(q->lin.bias, out);
    to->x = ops_abs(q->x, n * in), to->su = ops_abs(q->su, n * RANK), to->dx = ops_abs(q->dx, n * in),
    to->weight = ops_abs(q->weight, n * out);
}

static void linear_fwd(const ar_runtime *rt, bench *q) { rt->ops->linear_fwd(rt, q->y, q->su, &q->lin, q->x, &q->rows, &q->scratch); }

static void linear_bwd(const ar_runtime *rt, bench *q, bool accumulate) {
    rt->ops->linear_bwd(rt, q->dx, accumulate, q->weight, &q->lin, q->x, q->su, &q->rows, &q->scratch);
}

static void embedding_fwd(const ar_runtime *rt, bench *q) { rt->ops->embedding_fwd(rt, q->y, q->su, &q->embedding, q->ids, &q->rows); }

static void embedding_bwd(const ar_runtime *rt, bench *q, bool accumulate) {
    (void)accumulate;
    rt->ops->embedding_bwd(rt, q->weight, &q->embedding, q->ids, q->su, &q->rows, &q->scratch);
}

static ops_sum linear_value(void *user) {
    bench *q = user;
    set_gains(q);
    linear_fwd(ops_ref, q);
    return ops_weigh(q->weight, q->y, q->s.count * q->s.out);
}

static ops_sum embedding_value(void *user) {
    bench *q = user;
    set_gains(q);
    embedding_fwd(ops_ref, q);
    return ops_weigh(q->weight, q->y, q->s.count * q->s.out);
}

/* Gradients of pairs and weight, which linear and embedding have alike; roundings: of du, and of a sum over rows. */
static void check_grads(const bench *cpu, const bench *ref, const bench *size) {
    size_t in = ref->s.in, out = ref->s.out, pairs = ref->rows.segment_count;
    double rows = (double)ref->s.count + 16.0, du = (double)out + 4.0;
    const char *what = ref->s.name;
    for (size_t i = 0; i < pairs; i += 2) {
        const ar_pair_op *g = &cpu->pairs[i][1], *w = &ref->pairs[i][1], *s = &size->pairs[i][1];
        ops_assert_rounding(g->da, w->da, s->da, (size_t)w->rank * in, rows + du, what);
        ops_assert_rounding(g->db, w->db, s->db, (size_t)w->rank * out, rows, what);
        if (g->gain) ops_assert_rounding(g->dmagnitude, w->dmagnitude, s->dmagnitude, out, rows + (double)in + 8.0, what);
        double apart = fabs(cpu->dscale[i] - ref->dscale[i]), bound = (du + 4.0) * 0x1p-24 * size->dscale[i];
        if (!(apart <= bound)) fail_msg("%s: slopes of s %.3g apart, at most %.3g", what, apart, bound);
    }
    ops_assert_rounding(cpu->lin.dw, ref->lin.dw, size->lin.dw, in * out, rows, what);
}

static void check_linear(const shape *s) {
    static bench ref, cpu, size;
    size_t out = s->count * s->out, in = s->count * s->in;
    double k = (double)s->in, n = (double)s->out;
    make_bench(&ref, s, false);
    copy_bench(&cpu, &ref, false);
    copy_bench(&size, &ref, true);
    linear_fwd(ops_ref, &ref);
    linear_fwd(ops_cpu, &cpu);
    linear_fwd(ops_ref, &size);
    ops_assert_rounding(cpu.su, ref.su, size.su, s->count * RANK, k + 6.0, s->name);
    ops_assert_rounding(cpu.y, ref.y, size.y, out, 2.0 * k + RANK + 16.0, s->name);
    memset(cpu.su, 0, s->count * RANK * sizeof(float));
    ops_cpu->ops->linear_su(ops_cpu, cpu.su, &cpu.lin, cpu.x, &cpu.rows, &cpu.scratch);
    ops_assert_rounding(cpu.su, ref.su, size.su, s->count * RANK, k + 6.0, s->name);
    /* Backward of both from one su, added to what x is: dx may be its memory. */
    ref.dx = ops_copy(ref.x, in);
    copy_bench(&cpu, &ref, false);
    copy_bench(&size, &ref, true);
    linear_bwd(ops_ref, &ref, true);
    linear_bwd(ops_cpu, &cpu, true);
    linear_bwd(ops_ref, &size, true);
    ops_assert_rounding(cpu.dx, ref.dx, size.dx, in, 2.0 * n + RANK + 16.0, s->name);
    check_grads(&cpu, &ref, &size);
    ops_assert_rounding(cpu.lin.dbias, ref.lin.dbias, size.lin.dbias, s->out, (double)s->count + 4.0, s->name);
    float *apart = cpu.dx;
    memset(apart, 0, in * sizeof(float));
    linear_bwd(ops_cpu, &cpu, false);
    cpu.dx = cpu.x = ops_copy(cpu.x, in);
    linear_bwd(ops_cpu, &cpu, false);
    ops_assert_rounding(cpu.dx, apart, size.dx, in, 2.0 * n + RANK + 16.0, "linear_bwd, dx over x");
}

/* dx of what q->dx holds; the pair's gradients of the first segment, and of the last, which may add to the same. */
static void check_slopes(bench *q, ops_forward_fn *f) {
    size_t in = q->s.in, out = q->s.out;
    const ar_pair_op *p = &q->pairs[0][1];
    ops_assert_slope(f, q, (float *)p->a, p->da, RANK * in, "pair by A");
    ops_assert_slope(f, q, (float *)p->b, p->db, RANK * out, "pair by B");
    if (p->gain) ops_assert_slope(f, q, q->magnitude[0], p->dmagnitude, out, "pair by m");
    /* A weight that trains has no pair, so that dW knows of no gain. */
    if (!p->gain) ops_assert_slope(f, q, (float *)q->lin.w.data, q->lin.dw, in * out, "base by W");
    for (size_t i = 0; i < q->rows.segment_count; i += 2) {
        double s = q->pairs[i][1].scale, t = 0x1p-6, numeric;
        q->pairs[i][1].scale = s + t;
        ops_sum above = f(q);
        q->pairs[i][1].scale = s - t;
        numeric = (above.value - f(q).value) / (2.0 * t); /* y is linear in s */
        q->pairs[i][1].scale = s;
        assert_near(q->dscale[i], numeric, 1e-4 + 0x1p-24 * above.size / t / fmax(1.0, fabs(numeric)));
    }
}

/* Lengths that tiles and vectors do not divide. */
static const shape shapes[] = {
    {"one row", 1, 3, 1, AR_F32, false, false, false, 0.0f},
    {"plain", 7, 17, 3, AR_F32, false, false, true, 0.0f},
    {"plain, segments", 17, 65, 7, AR_F32, false, false, false, 0.0f},
    {"bf16", 65, 130, 17, AR_BF16, false, false, false, 0.0f},
    {"f16, ragged ranks", 130, 7, 65, AR_F16, false, true, false, 0.0f},
    {"dropout", 17, 17, 65, AR_F32, false, false, true, 0.3f},
    {"dropout, ragged ranks", 17, 65, 17, AR_F32, false, true, false, 0.3f},
    {"dora", 17, 65, 7, AR_F32, true, false, false, 0.0f},
    {"q8_0", 33, 96, 64, AR_Q8_0, false, false, false, 0.0f},
    {"q4_k, ragged ranks", 65, 512, 256, AR_Q4_K, false, true, false, 0.0f},
    {"q6_k with dora", 9, 256, 256, AR_Q6_K, true, false, false, 0.0f},
    {"iq4_nl with dropout", 40, 32, 96, AR_IQ4_NL, false, false, false, 0.25f},
    {"dora, ragged ranks", 7, 7, 130, AR_BF16, true, true, false, 0.0f},
    {"dora and dropout", 17, 65, 17, AR_F32, true, false, true, 0.3f},
    {"dora and dropout, ragged ranks", 65, 17, 7, AR_F32, true, true, false, 0.3f},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void linears_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) check_linear(&shapes[i]);
}

static void linear_backward_is_the_slope(void **state) {
    static bench q;
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        if (shapes[i].type != AR_F32) continue;
        make_bench(&q, &shapes[i], false);
        linear_value(&q);
        linear_bwd(ops_ref, &q, false);
        ops_assert_slope(linear_value, &q, q.x, q.dx, q.s.count * q.s.in, "linear by x");
        ops_assert_slope(linear_value, &q, (float *)q.lin.bias, q.lin.dbias, q.s.out, "linear by b");
        check_slopes(&q, linear_value);
    }
}

/* Three of one input, each by itself; on cpu also as decoding does it, on another path. */
static void groups_and_decoding_agree(void **state) {
    static bench q[3];
    ar_linear_out got[3], want[3];
    size_t one_each[18];
    (void)state;
    for (int i = 0; i < 3; i++) {
        shape s = {"group", 17, 65, 7 + 10 * (size_t)i, AR_F32, false, false, true, 0.0f};
        make_bench(&q[i], &s, false);
        got[i] = (ar_linear_out){&q[i].lin, ops_zeros(17 * s.out), ops_zeros(17 * RANK)};
        want[i] = (ar_linear_out){&q[i].lin, q[i].y, q[i].su};
    }
    ar_rows steps = q[0].rows;
    ar_segment all = {0, 17, q[0].pairs[0]};
    for (size_t i = 0; i < 18; i++) one_each[i] = i;
    steps.samples = 17, steps.start = one_each, steps.decoding = true, steps.segments = &all;
    for (int way = 0; way < 2; way++) {
        const ar_rows *rows = way ? &steps : &q[0].rows;
        size_t count = way ? 1 : 3; /* the pairs are those of the first */
        for (int i = 1; i < 3; i++) q[i].lin.site = -1;
        ops_cpu->ops->linears_fwd(ops_cpu, got, count, q[0].x, rows, &q[0].scratch);
        ops_ref->ops->linears_fwd(ops_ref, want, count, q[0].x, rows, &q[0].scratch);
        for (size_t i = 0; i < count; i++) {
            static bench size;
            copy_bench(&size, &q[i], true);
            size.x = ops_abs(q[0].x, 17 * 65);
            linear_fwd(ops_ref, &size);
            ops_assert_rounding(got[i].y, want[i].y, size.y, 17 * q[i].s.out, 2.0 * 65 + RANK + 16.0, way ? "decoding" : "linears_fwd");
        }
    }
}

static void embeddings_agree(void **state) {
    static bench ref, cpu, size;
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        shape s = shapes[i];
        s.dropout = 0.0f; /* no embedding has any */
        make_bench(&ref, &s, true);
        copy_bench(&cpu, &ref, false);
        copy_bench(&size, &ref, true);
        embedding_fwd(ops_ref, &ref);
        embedding_fwd(ops_cpu, &cpu);
        embedding_fwd(ops_ref, &size);
        ops_assert_rounding(cpu.su, ref.su, size.su, s.count * RANK, 3.0, s.name);
        ops_assert_rounding(cpu.y, ref.y, size.y, s.count * s.out, RANK + 8.0, s.name);
        copy_bench(&cpu, &ref, false);
        copy_bench(&size, &ref, true);
        embedding_bwd(ops_ref, &ref, false);
        embedding_bwd(ops_cpu, &cpu, false);
        embedding_bwd(ops_ref, &size, false);
        ref.lin.dw = ref.embedding.dw, cpu.lin.dw = cpu.embedding.dw, size.lin.dw = size.embedding.dw;
        check_grads(&cpu, &ref, &size);
        if (s.type == AR_F32) check_slopes(&ref, embedding_value);
    }
}

/* Gradients of a pair of which only the first LEARNED directions learn, beside those of all: the same numbers, close together. */
static void check_frozen(const shape *s, bool embedding) {
    enum { LEARNED = 1 };
    static bench all, ref, cpu, size;
    size_t in = s->in, out = s->out;
    make_bench(&all, s, embedding);
    copy_bench(&ref, &all, false);
    copy_bench(&cpu, &all, false);
    copy_bench(&size, &all, true);
    for (bench *const *q = (bench *const[]){&ref, &cpu, NULL}; *q; q++)
        for (int i = 0; i < 3; i += 2) (*q)->pairs[i][1].frozen = RANK - LEARNED;
    void (*const run[])(const ar_runtime *, bench *, bool) = {linear_bwd, embedding_bwd};
    void (*const begin[])(const ar_runtime *, bench *) = {linear_fwd, embedding_fwd};
    bench *const each[] = {&all, &ref, &size, &cpu};
    for (int i = 0; i < 4; i++) {
        begin[embedding](i == 3 ? ops_cpu : ops_ref, each[i]);
        run[embedding](i == 3 ? ops_cpu : ops_ref, each[i], false);
    }
    const ar_pair_op *whole = &all.pairs[0][1], *w = &ref.pairs[0][1], *g = &cpu.pairs[0][1], *z = &size.pairs[0][1];
    ops_assert_same(w->da, whole->da, LEARNED * in, "dA of what learns");
    for (size_t j = 0; j < out; j++) {
        ops_assert_same(w->db + j * LEARNED, whole->db + j * RANK, LEARNED, "dB of what learns");
        ops_assert_rounding(g->db + j * LEARNED, w->db + j * LEARNED, z->db + j * RANK, LEARNED, (double)s->count + 2.0 * (double)in + 16.0,
                            "dB of what learns, cpu");
    }
    ops_assert_rounding(g->da, w->da, z->da, LEARNED * in, (double)(s->count + out) + 20.0, "dA of what learns, cpu");
    const float *zeros = ops_zeros(RANK * (in + out));
    ops_assert_same(g->da + LEARNED * in, zeros, (RANK - LEARNED) * in, "dA of what is frozen");
    ops_assert_same(g->db + LEARNED * out, zeros, (RANK - LEARNED) * out, "dB of what is frozen");
}

static void frozen_parts_have_no_gradient(void **state) {
    static const shape some[] = {{"segments", 17, 65, 7, AR_F32, false, false, false, 0.0f},
                                 {"one", 65, 17, 130, AR_BF16, false, false, true, 0.0f},
                                 {"dropout", 33, 65, 17, AR_F32, false, false, true, 0.3f}};
    (void)state;
    for (size_t i = 0; i < 3; i++) check_frozen(&some[i], false);
    check_frozen(&some[0], true);
}

/* x W^T, dy W and dy^T x of numbers that bf16 holds, so that nothing is rounded but sums. */
static void check_product(size_t m, size_t n, size_t k) {
    float *x = ops_random(m * k), *w = ops_random(n * k), *dy = ops_random(m * n), *y[3], *dx[3], *dw[3];
    size_t start[] = {0, m};
    ar_rows rows = {.count = m, .samples = 1, .start = start};
    ar__round_to_bf16(x, m * k);
    ar__round_to_bf16(dy, m * n);
    ar_weight weight = make_weight(AR_BF16, w, n, k), size = abs_weight(&weight);
    for (int i = 0; i < 3; i++) {
        const ar_runtime *rt = i ? ops_ref : ops_cpu;
        y[i] = ops_zeros(m * n), dx[i] = ops_zeros(m * k), dw[i] = ops_zeros(n * k);
        ar_linear lin = {.w = i == 2 ? size : weight, .dw = dw[i], .site = -1};
        const float *in = i == 2 ? ops_abs(x, m * k) : x, *slope = i == 2 ? ops_abs(dy, m * n) : dy;
        rt->ops->linear_fwd(rt, y[i], NULL, &lin, in, &rows, &(ar_linear_scratch){0});
        rt->ops->linear_bwd(rt, dx[i], false, slope, &lin, in, NULL, &rows, &(ar_linear_scratch){0});
    }
    ops_assert_rounding(y[0], y[1], y[2], m * n, (double)k + 8.0, "x W^T");
    ops_assert_rounding(dx[0], dx[1], dx[2], m * k, (double)n + 8.0, "dy W");
    ops_assert_rounding(dw[0], dw[1], dw[2], n * k, (double)m + 8.0, "dy^T x");
    ops_forget();
}

/* Rows of every type that products take, as its own row of the table unpacks them: the same bits. */
static void every_type_is_unpacked_to_the_bit(void **state) {
    enum { ROWS = 5, COLS = 768 };
    const int32_t ids[] = {4, 0, 2, 4};
    const size_t start[] = {0, 4};
    ar_rows rows = {.count = 4, .samples = 1, .start = start};
    int seen = 0;
    (void)state;
    for (int type = 0; type < AR_DTYPE_COUNT; type++) {
        if (!ar__dtype((ar_dtype)type)->is_weight) continue;
        float *x = ops_random(ROWS * COLS), *want = ops_zeros(ROWS * COLS), *got = ops_zeros(4 * COLS);
        ar_embedding e = {make_weight((ar_dtype)type, x, ROWS, COLS), NULL, -1};
        ar__dtype((ar_dtype)type)->to_f32(want, e.w.data, ROWS * COLS);
        ops_cpu->ops->embedding_fwd(ops_cpu, got, NULL, &e, ids, &rows);
        for (size_t i = 0; i < 4; i++) ops_assert_same(got + i * COLS, want + (size_t)ids[i] * COLS, COLS, ar__dtype((ar_dtype)type)->name);
        /* By a product with the unit matrix, of which each output is one weight and zeros. */
        float *unit = ops_zeros(COLS * COLS), *out = ops_zeros(COLS * ROWS);
        size_t all[] = {0, COLS};
        ar_rows units = {.count = COLS, .samples = 1, .start = all};
        ar_linear lin = {.w = e.w, .site = -1};
        for (size_t i = 0; i < COLS; i++) unit[i * COLS + i] = 1.0f;
        ops_cpu->ops->linear_fwd(ops_cpu, out, NULL, &lin, unit, &units, &(ar_linear_scratch){0});
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j < ROWS; j++)
                if (out[i * ROWS + j] != want[j * COLS + i])
                    fail_msg("%s: a product reads %.9g, by the table %.9g", ar__dtype((ar_dtype)type)->name, (double)out[i * ROWS + j],
                             (double)want[j * COLS + i]);
        seen++;
        ops_forget();
    }
    assert_int_equal(seen, 19);
}

static void products_on_tensor_cores_agree(void **state) {
    (void)state;
    if (!ops_on_device()) skip();
    ops_cpu->bf16 = true;
    check_product(1, 1, 1);
    check_product(17, 300, 70);   /* few rows; rows that do not begin at 16 bytes */
    check_product(300, 17, 136);  /* few columns */
    check_product(70, 90, 40);    /* few tiles */
    check_product(270, 390, 130); /* many, and none whole */
    check_product(900, 16, 264);  /* a long sum in parts: dW */
    ops_cpu->bf16 = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_unpacked_to_the_bit),
        cmocka_unit_test(products_on_tensor_cores_agree),
        cmocka_unit_test(linears_agree),
        cmocka_unit_test(linear_backward_is_the_slope),
        cmocka_unit_test(groups_and_decoding_agree),
        cmocka_unit_test(embeddings_agree),
        cmocka_unit_test(frozen_parts_have_no_gradient),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
