/* Attention: cpu beside ref, ref's backward beside its slope.
 *
 * By how much cpu may differ, with u = 2^-24 and S the largest |scale| |q_i| |k_j|, which bounds the terms of a score:
 *
 *     score   e = (D + 4) u S, and 16 u cap where there is a cap;    p     2 e + 16 u of itself, as both score and lse are off
 *     o       (2 e + (T + 32) u) max|v|                              lse   e + (T + 32) u
 *     ds      p scale (2 e + (2 D + 40) u) 2 |do| |v|, norms of rows, since |dp - D| <= 2 |do| |v|
 *     dq, dk  sums of ds k and ds q: the weights p of a query sum to 1, those of a key to M, which dv says where do is all ones
 *
 * In bf16 p and ds are rounded by 2^-9 of themselves before they are multiplied; q, k, v and do are given as such numbers. */
#include <math.h>

#include "ops_check.h"

typedef struct bench {
    ar_attention at;
    ar_rows rows;
    size_t start[4], block_count, count;
    ar_block blocks[16];
    float *q, *k, *v, *o, *lse, *weight, *dq, *dk, *dv, *dsum, *scratch;
    double coarse; /* what bf16 adds to the roundings */
} bench;

static const float sinks[] = {0.7f, -1.3f, 4.0f, -30.0f};

static size_t q_floats(const bench *b) { return b->count * b->at.heads * b->at.head_dim; }
static size_t k_floats(const bench *b) { return b->count * b->at.kv_heads * b->at.head_dim; }

/* Made in place.  Samples of 1, a third and the rest of the rows. */
static void make_bench(bench *b, size_t count, const ar_attention *at) {
    *b = (bench){.at = *at, .count = count};
    if (at->sinks) b->at.sinks = ops_copy(sinks, sizeof sinks / sizeof *sinks);
    size_t samples = count < 4 ? 1 : 3;
    b->start[1] = samples == 1 ? count : 1;
    b->start[2] = count / 3 + 1;
    b->start[3] = count;
    b->rows = (ar_rows){.count = count, .samples = samples, .start = b->start};
    b->block_count = ar__attention_blocks(b->blocks, &b->rows, NULL, NULL);
    b->q = ops_random(q_floats(b)), b->k = ops_random(k_floats(b)), b->v = ops_random(k_floats(b));
    b->o = ops_zeros(q_floats(b)), b->lse = ops_zeros(count * at->heads), b->weight = ops_random(q_floats(b));
    b->dq = ops_zeros(q_floats(b)), b->dk = ops_zeros(k_floats(b)), b->dv = ops_zeros(k_floats(b));
    b->dsum = ops_zeros(count * at->heads);
    size_t each = (ops_cpu->ops->attention_scratch(ops_cpu, at) + 15) / 16 * 16;
    b->scratch = ops_zeros(each * (size_t)ops_cpu->threads);
}

static void forward(const ar_runtime *rt, bench *b) {
    rt->ops->attention_fwd(rt, b->o, b->lse, b->q, b->k, b->v, &b->at, b->blocks, b->block_count, b->scratch);
}

static void backward(const ar_runtime *rt, bench *b, const float *d_o) {
    rt->ops->attention_bwd(rt, b->dq, b->dk, b->dv, b->dsum, d_o, b->q, b->k, b->v, b->o, b->lse, &b->at, b->blocks, b->block_count,
                           b->scratch);
}

static double longest(const float *x, size_t rows, size_t d) {
    double most = 0.0;
    for (size_t i = 0; i < rows; i++) {
        double sum = 0.0;
        for (size_t e = 0; e < d; e++) sum += (double)x[i * d + e] * (double)x[i * d + e];
        most = fmax(most, sqrt(sum));
    }
    return most;
}

/* e of the head of this file, in units of u. */
static double score_error(const bench *b) {
    size_t d = b->at.head_dim, heads = b->count * b->at.heads, kv = b->count * b->at.kv_heads;
    double scores = (double)b->at.scale * longest(b->q, heads, d) * longest(b->k, kv, d);
    return ((double)d + 4.0) * scores + 16.0 * (double)b->at.cap;
}

static void check_forward(const bench *ref) {
    bench cpu = *ref;
    double e = score_error(ref), rows = (double)ref->count + 32.0;
    cpu.o = ops_zeros(q_floats(ref)), cpu.lse = ops_zeros(ref->count * ref->at.heads);
    forward(ops_cpu, &cpu);
    ops_assert_within(cpu.o, ref->o, ops_largest(ref->v, k_floats(ref)), q_floats(ref), 2.0 * e + rows + ref->coarse, "attention_fwd");
    ops_assert_within(cpu.lse, ref->lse, 1.0, ref->count * ref->at.heads, e + rows + ops_largest(ref->lse, ref->count * ref->at.heads),
                      "attention_fwd, lse");
}

static void check_backward(bench *ref) {
    size_t d = ref->at.head_dim, nq = q_floats(ref), nk = k_floats(ref);
    float *ones = ops_zeros(nq);
    for (size_t i = 0; i < nq; i++) ones[i] = 1.0f;
    backward(ops_ref, ref, ones);
    double mass = ops_largest(ref->dv, nk), e = score_error(ref), rows = (double)ref->count + 8.0;
    double reach = 2.0 * longest(ref->weight, ref->count * ref->at.heads, d) * longest(ref->v, ref->count * ref->at.kv_heads, d);
    double ds = (double)ref->at.scale * reach, roundings = 2.0 * e + 2.0 * (double)d + 40.0 + 2.0 * rows + ref->coarse;
    backward(ops_ref, ref, ref->weight);
    bench cpu = *ref;
    cpu.dq = ops_zeros(nq), cpu.dk = ops_zeros(nk), cpu.dv = ops_zeros(nk);
    backward(ops_cpu, &cpu, cpu.weight);
    ops_assert_within(cpu.dq, ref->dq, ds * ops_largest(ref->k, nk), nq, roundings, "attention_bwd, dq");
    ops_assert_within(cpu.dk, ref->dk, mass * ds * ops_largest(ref->q, nq), nk, roundings, "attention_bwd, dk");
    ops_assert_within(cpu.dv, ref->dv, mass * ops_largest(ref->weight, nq), nk, roundings, "attention_bwd, dv");
}

static ops_sum value(void *user) {
    bench *b = user;
    forward(ops_ref, b);
    return ops_weigh(b->weight, b->o, q_floats(b));
}

static const ar_attention shapes[] = {
    {.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 1.0f},
    {.heads = 2, .kv_heads = 1, .head_dim = 3, .scale = 0.6f},
    {.heads = 3, .kv_heads = 3, .head_dim = 7, .scale = 0.4f, .window = 5},
    {.heads = 4, .kv_heads = 2, .head_dim = 17, .scale = 0.25f, .cap = 1.5f},
    {.heads = 2, .kv_heads = 2, .head_dim = 10, .scale = 0.3f, .window = 70, .cap = 2.0f},
    {.heads = 4, .kv_heads = 2, .head_dim = 6, .scale = 0.5f, .sinks = sinks},
    {.heads = 3, .kv_heads = 3, .head_dim = 8, .scale = 0.4f, .window = 5, .sinks = sinks},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void attention_agrees(void **state) {
    static const size_t rows[] = {1, 3, 7, 17, 65, 130};
    (void)state;
    for (size_t i = 0; i < SHAPES; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            bench b;
            make_bench(&b, rows[k], &shapes[i]);
            forward(ops_ref, &b);
            check_forward(&b);
            check_backward(&b);
        }
}

/* On four threads cpu goes through a sample twice, by queries and by keys, where on one it goes once. */
static void both_ways_of_backward_agree(void **state) {
    ar_runtime *one = ops_cpu, *four;
    ar_error err;
    (void)state;
    assert_ok(ar_runtime_new(&four, &(ar_runtime_options){.threads = 4}, &err), err);
    for (size_t i = 0; i < SHAPES; i++) {
        bench b;
        ops_cpu = four;
        make_bench(&b, 150, &shapes[i]);
        forward(ops_ref, &b);
        check_backward(&b);
        ops_cpu = one;
    }
    ar_runtime_free(four);
}

static void check_bf16(const ar_attention *at) {
    bench b;
    make_bench(&b, 150, at);
    b.coarse = 0x1p16;
    ar__round_to_bf16(b.q, q_floats(&b));
    ar__round_to_bf16(b.k, k_floats(&b));
    ar__round_to_bf16(b.v, k_floats(&b));
    ar__round_to_bf16(b.weight, q_floats(&b));
    forward(ops_ref, &b);
    check_forward(&b);
    check_backward(&b);
    ops_forget();
}

/* Once and twice through a sample. */
static void attention_agrees_in_bf16(void **state) {
    ar_runtime *f32 = ops_cpu;
    ar_error err;
    (void)state;
    for (int threads = 1; threads <= 4; threads += 3) {
        if (ops_on_device()) break;
        assert_ok(ar_runtime_new(&ops_cpu, &(ar_runtime_options){.threads = threads, .compute = AR_COMPUTE_BF16}, &err), err);
        for (size_t i = 0; i < SHAPES; i++) check_bf16(&shapes[i]);
        ar_runtime_free(ops_cpu);
    }
    ops_cpu = f32;
}

/* Heads of the sizes that tensor cores take, and one that fills none of them. */
static void attention_agrees_on_tensor_cores(void **state) {
    static const ar_attention heads[] = {
        {.heads = 4, .kv_heads = 2, .head_dim = 8, .scale = 0.5f, .sinks = sinks},
        {.heads = 2, .kv_heads = 1, .head_dim = 32, .scale = 0.2f, .window = 70},
        {.heads = 2, .kv_heads = 2, .head_dim = 40, .scale = 0.2f, .cap = 2.0f},
        {.heads = 4, .kv_heads = 2, .head_dim = 64, .scale = 0.125f},
        {.heads = 2, .kv_heads = 1, .head_dim = 128, .scale = 0.09f, .window = 5},
        {.heads = 2, .kv_heads = 2, .head_dim = 256, .scale = 0.0625f},
    };
    (void)state;
    if (!ops_on_device()) skip();
    ops_cpu->bf16 = true;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) check_bf16(&heads[i]);
    for (size_t i = 0; i < SHAPES; i++) check_bf16(&shapes[i]);
    ops_cpu->bf16 = false;
}

static void attention_backward_is_the_slope(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        bench b;
        make_bench(&b, 17, &shapes[i]);
        value(&b);
        backward(ops_ref, &b, b.weight);
        ops_assert_slope(value, &b, b.q, b.dq, q_floats(&b), "attention by q");
        ops_assert_slope(value, &b, b.k, b.dk, k_floats(&b), "attention by k");
        ops_assert_slope(value, &b, b.v, b.dv, k_floats(&b), "attention by v");
    }
}

/* The last rows of each sample over a cache of its keys give what the whole gave. */
static void a_cache_changes_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        bench b;
        make_bench(&b, 17, &shapes[i]);
        size_t width = b.at.heads * b.at.head_dim, last[3] = {1, 1, 6}, start[4] = {0, 1, 2, 8}, past[3], keys[3];
        float *q = ops_zeros(8 * width), *want = ops_zeros(8 * width);
        forward(ops_ref, &b);
        double error = score_error(&b), most = ops_largest(b.v, k_floats(&b));
        for (size_t s = 0; s < 3; s++) {
            size_t from = b.start[s + 1] - last[s];
            past[s] = from - b.start[s];
            keys[s] = b.start[s];
            for (size_t e = 0; e < last[s] * width; e++) {
                q[start[s] * width + e] = b.q[from * width + e];
                want[start[s] * width + e] = b.o[from * width + e];
            }
        }
        ar_rows rows = {.count = 8, .samples = 3, .start = start};
        b.block_count = ar__attention_blocks(b.blocks, &rows, past, keys);
        b.q = q;
        b.o = ops_zeros(8 * width);
        b.lse = NULL;
        forward(ops_ref, &b);
        ops_assert_same(b.o, want, 8 * width, "attention over a cache");
        forward(ops_cpu, &b);
        ops_assert_within(b.o, want, most, 8 * width, 2.0 * error + 17.0 + 32.0, "attention over a cache on cpu");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees),         cmocka_unit_test(both_ways_of_backward_agree),
        cmocka_unit_test(attention_agrees_in_bf16), cmocka_unit_test(attention_backward_is_the_slope),
        cmocka_unit_test(a_cache_changes_nothing),  cmocka_unit_test(attention_agrees_on_tensor_cores),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
