/* Gradients of pairs that are kept apart, slice by slice: added in the order of their slots they have the bits of those that were added
 * as they came, whatever run of the samples came before. */
#include <string.h>

#include "base/size.h"
#include "ops_check.h"

enum { IN = 97, OUT = 70, NARROW = 5, WIDE = AR_GEMM_NARROW + 3, SAMPLES = 5 };

static size_t rank; /* WIDE: both sides of a gradient are above AR_GEMM_NARROW */

static const size_t lengths[SAMPLES] = {3, 2 * AR_GEMM_KC + 41, AR_GEMM_KC, AR_GEMM_KC + 90, 90};

typedef struct bench {
    size_t start[SAMPLES + 1], slot[SAMPLES + 1], width;
    uint64_t key[SAMPLES];
    ar_pair_op pair;
    ar_segment segment;
    ar_rows rows;
    ar_linear lin;
    float *x, *y, *su, *dy, *grads; /* grads: dA, dB, dm one after the other, width numbers */
    ar_linear_scratch scratch;
} bench;

static void set_grads(bench *q, float *at) {
    q->pair.da = at;
    q->pair.db = at + rank * IN;
    q->pair.dmagnitude = q->pair.gain ? q->pair.db + rank * OUT : NULL;
}

static void make_bench(bench *q, bool dora, float dropout) {
    *q = (bench){.width = rank * (IN + OUT) + OUT};
    for (size_t s = 0; s < SAMPLES; s++) {
        q->start[s + 1] = q->start[s] + lengths[s];
        q->slot[s + 1] = q->slot[s] + (lengths[s] + AR_GEMM_KC - 1) / AR_GEMM_KC;
        q->key[s] = s + 11;
    }
    size_t n = q->start[SAMPLES];
    q->pair = (ar_pair_op){
        .rank = (int)rank, .scale = 0.6, .a = ops_random(rank * IN), .b = ops_random(rank * OUT), .dropout = dropout, .seed = 3};
    if (dora) {
        q->pair.gain = ops_abs(ops_random(OUT), OUT);
        q->pair.inv_norm = ops_abs(ops_random(OUT), OUT);
    }
    q->segment = (ar_segment){0, SAMPLES, &q->pair};
    q->rows = (ar_rows){.count = n, .samples = SAMPLES, .start = q->start, .key = q->key, .segments = &q->segment, .segment_count = 1};
    q->lin = (ar_linear){.w = {ops_random(OUT * IN), AR_F32, OUT, IN}};
    q->x = ops_random(n * IN);
    q->dy = ops_random(n * OUT);
    q->y = ops_zeros(n * OUT);
    q->su = ops_zeros(n * rank);
    q->scratch = (ar_linear_scratch){ops_zeros(n * IN), ops_zeros(n * OUT), ops_zeros(n * OUT), ops_zeros(n * rank)};
    q->grads = ops_zeros(q->width);
    ops_cpu->ops->linear_fwd(ops_cpu, q->y, q->su, &q->lin, q->x, &q->rows, &q->scratch);
}

/* Of the samples from `first` on. */
static void backward(bench *q, size_t first, size_t last, float *dx) {
    size_t base = q->start[first], start[SAMPLES + 1];
    ar_segment segment = {0, last - first, &q->pair};
    ar_rows rows = q->rows;
    for (size_t s = first; s <= last; s++) start[s - first] = q->start[s] - base;
    rows.count = start[last - first];
    rows.samples = last - first;
    rows.start = start;
    rows.key = q->key + first;
    rows.segments = &segment;
    if (rows.slot) rows.slot += first;
    ops_cpu->ops->linear_bwd(ops_cpu, dx, false, q->dy + base * OUT, &q->lin, q->x + base * IN, q->su + base * rank, &rows, &q->scratch);
}

static void check(bool dora, float dropout) {
    for (size_t cut = 0; cut <= SAMPLES; cut++) {
        bench q;
        make_bench(&q, dora, dropout);
        float *together = ops_zeros(q.width), *slots = ops_random(q.width * q.slot[SAMPLES]), *dx = ops_zeros(q.rows.count * IN);
        set_grads(&q, together);
        backward(&q, 0, SAMPLES, dx);
        set_grads(&q, q.grads);
        if (cut) backward(&q, 0, cut, dx);
        q.rows.slot = q.slot;
        q.rows.slot_stride = q.width;
        set_grads(&q, slots);
        if (cut < SAMPLES) backward(&q, cut, SAMPLES, dx);
        size_t used = dora ? q.width : q.width - OUT;
        for (size_t slot = q.slot[cut]; slot < q.slot[SAMPLES]; slot++) ops_cpu->kern.axpy(q.grads, 1.0f, slots + slot * q.width, used);
        ops_assert_same(q.grads, together, used, "gradients");
    }
}

static void slots_add_up_to_the_same_bits(void **state) {
    (void)state;
    if (ops_on_device()) skip(); /* ranks run on CPUs */
    for (size_t i = 0; i < 4; i++) {
        rank = i % 2 ? WIDE : NARROW;
        check(i > 1, 0.0f);
        check(i > 1, 0.3f);
    }
}

/* A sample without rows (behind the last layer's attention, one without a target) leaves zeros, not what was there. */
static void slots_without_rows_are_zero(void **state) {
    bench q;
    (void)state;
    if (ops_on_device()) skip(); /* ranks run on CPUs */
    rank = NARROW;
    make_bench(&q, true, 0.0f);
    float *slots = ops_random(q.width * q.slot[SAMPLES]);
    size_t start[SAMPLES + 1] = {0, 0, 5, 5, 5, 5};
    ar_rows rows = q.rows;
    rows.count = 5;
    rows.start = start;
    rows.slot = q.slot;
    rows.slot_stride = q.width;
    set_grads(&q, slots);
    ops_cpu->ops->linear_bwd(ops_cpu, NULL, false, q.dy, &q.lin, q.x, q.su, &rows, &q.scratch);
    for (size_t slot = 0; slot < q.slot[SAMPLES]; slot++) {
        double largest = ops_largest(slots + slot * q.width, q.width);
        assert_true(slot == q.slot[1] ? largest > 0.0 : largest == 0.0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_add_up_to_the_same_bits),
        cmocka_unit_test(slots_without_rows_are_zero),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
