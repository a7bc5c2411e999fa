/* Gradients that are kept apart, slice by slice: added in the order of their slots they have the bits of those that were added
 * as they came, whatever run of the samples came before. */
#include "base/size.h"
#include "ops_check.h"

enum { IN = 97, OUT = 70, NARROW = 5, WIDE = AR_GEMM_NARROW + 3, SAMPLES = 5, VOCAB = 41, PER_ROW = 2 };

static const size_t lengths[SAMPLES] = {3, 2 * AR_GEMM_KC + 41, AR_GEMM_KC, AR_GEMM_KC + 90, 90};

/* One operator, with all that may learn there. */
typedef struct bench {
    size_t start[SAMPLES + 1], slot[SAMPLES + 1], rank, width; /* width: numbers of all gradients */
    uint64_t key[SAMPLES];
    ar_pair_op pair;
    ar_segment segment;
    ar_rows rows;
    ar_linear lin;
    ar_embedding embed;
    ar_norm norm;
    int32_t *ids;
    float *x, *y, *su, *dy, *r;
    ar_linear_scratch scratch;
} bench;

typedef struct kind {
    void (*make)(bench *q);
    void (*set_grads)(bench *q, float *at); /* lays them out from there, sets width */
    void (*backward)(const bench *q, size_t base, const ar_rows *rows);
} kind;

static float any[1 << 16]; /* stands for gradients where only their number is asked for */

static float *next(float **at, size_t n) {
    float *here = *at;
    *at += n;
    return here;
}

static void begin(bench *q, size_t rank, bool dora, float dropout) {
    *q = (bench){.rank = rank};
    for (size_t s = 0; s < SAMPLES; s++) {
        q->start[s + 1] = q->start[s] + lengths[s];
        q->slot[s + 1] = q->slot[s] + (lengths[s] + AR_GEMM_KC - 1) / AR_GEMM_KC;
        q->key[s] = s + 11;
    }
    q->pair = (ar_pair_op){.rank = (int)rank, .scale = 0.6, .b = ops_random(rank * OUT), .dropout = dropout, .seed = 3};
    if (dora) {
        q->pair.gain = ops_abs(ops_random(OUT), OUT);
        q->pair.inv_norm = ops_abs(ops_random(OUT), OUT);
    }
    q->segment = (ar_segment){0, SAMPLES, &q->pair};
    size_t n = q->start[SAMPLES];
    q->rows = (ar_rows){.count = n, .samples = SAMPLES, .start = q->start, .key = q->key, .segments = &q->segment, .segment_count = 1};
    q->dy = ops_random(PER_ROW * n * OUT);
    q->y = ops_zeros(n * OUT);
    q->su = ops_zeros(n * rank);
    q->scratch = (ar_linear_scratch){ops_zeros(n * IN), ops_zeros(n * OUT), ops_zeros(n * OUT), ops_zeros(n * rank)};
}

/* ---- linear ----------------------------------------------------------------------------------------------------------*/

static void make_linear(bench *q) {
    size_t n = q->start[SAMPLES];
    q->pair.a = ops_random(q->rank * IN);
    q->lin = (ar_linear){.w = {ops_random(OUT * IN), AR_F32, OUT, IN}};
    q->x = ops_random(n * IN);
    ops_cpu->ops->linear_fwd(ops_cpu, q->y, q->su, &q->lin, q->x, &q->rows, &q->scratch);
}

static void set_linear(bench *q, float *at) {
    float *from = at;
    q->pair.da = next(&at, q->rank * IN);
    q->pair.db = next(&at, q->rank * OUT);
    q->lin.dw = next(&at, OUT * IN);
    q->lin.dbias = next(&at, OUT);
    q->pair.dmagnitude = q->pair.gain ? next(&at, OUT) : NULL;
    q->width = (size_t)(at - from);
}

static void linear_backward(const bench *q, size_t base, const ar_rows *rows) {
    float *dx = ops_zeros(rows->count * IN);
    ops_cpu->ops->linear_bwd(ops_cpu, dx, false, q->dy + base * OUT, &q->lin, q->x + base * IN, q->su + base * q->rank, rows, &q->scratch);
}

/* ---- embedding -------------------------------------------------------------------------------------------------------*/

static void make_embedding(bench *q) {
    size_t n = q->start[SAMPLES];
    q->pair.a = ops_random(q->rank * VOCAB);
    q->embed = (ar_embedding){.w = {ops_random(VOCAB * OUT), AR_F32, VOCAB, OUT}};
    q->ids = ops_memory(n * sizeof *q->ids);
    for (size_t i = 0; i < n; i++) q->ids[i] = (int32_t)(i * i % 37 + i % 5);
    ops_cpu->ops->embedding_fwd(ops_cpu, q->y, q->su, &q->embed, q->ids, &q->rows);
}

static void set_embedding(bench *q, float *at) {
    float *from = at;
    q->pair.da = next(&at, q->rank * VOCAB);
    q->pair.db = next(&at, q->rank * OUT);
    q->embed.dw = next(&at, VOCAB * OUT);
    q->pair.dmagnitude = q->pair.gain ? next(&at, OUT) : NULL;
    q->width = (size_t)(at - from);
}

static void embedding_backward(const bench *q, size_t base, const ar_rows *rows) {
    ops_cpu->ops->embedding_bwd(ops_cpu, q->dy + base * OUT, &q->embed, q->ids + base, q->su + base * q->rank, rows, &q->scratch);
}

/* ---- norm ------------------------------------------------------------------------------------------------------------*/

static void make_norm(bench *q) {
    size_t n = PER_ROW * q->start[SAMPLES];
    q->norm = (ar_norm){.w = ops_random(OUT), .b = ops_random(OUT), .eps = 1e-5f, .centred = true};
    q->x = ops_random(n * OUT);
    q->r = ops_zeros(n);
    ops_cpu->ops->norm_fwd(ops_cpu, ops_zeros(n * OUT), q->r, &q->norm, q->x, n, OUT);
}

static void set_norm(bench *q, float *at) {
    float *from = at;
    q->norm.dw = next(&at, OUT);
    q->norm.db = next(&at, OUT);
    q->width = (size_t)(at - from);
}

static void norm_backward(const bench *q, size_t base, const ar_rows *rows) {
    base *= PER_ROW;
    ops_cpu->ops->norm_bwd(ops_cpu, NULL, false, q->dy + base * OUT, &q->norm, q->x + base * OUT, q->r + base, rows, PER_ROW, OUT);
}

/* ---- all of them -----------------------------------------------------------------------------------------------------*/

static const kind linear = {make_linear, set_linear, linear_backward}, embedding = {make_embedding, set_embedding, embedding_backward},
                  norm = {make_norm, set_norm, norm_backward};

/* Of the samples from `first` on. */
static void backward(const kind *k, bench *q, size_t first, size_t last) {
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
    k->backward(q, base, &rows);
}

/* Slots that follow each other, or that grow down from the end. */
static void check_cut(const kind *k, const bench *made, size_t cut, bool down) {
    bench q = *made;
    float *together, *grads, *slots, *first;
    k->set_grads(&q, any);
    together = ops_zeros(q.width);
    grads = ops_zeros(q.width);
    slots = ops_zeros(q.width * q.slot[SAMPLES]);
    first = down ? slots + q.width * (q.slot[SAMPLES] - 1) : slots;
    k->set_grads(&q, together);
    backward(k, &q, 0, SAMPLES);
    k->set_grads(&q, grads);
    if (cut) backward(k, &q, 0, cut);
    q.rows.slot = q.slot;
    q.rows.slot_stride = down ? -(ptrdiff_t)q.width : (ptrdiff_t)q.width;
    k->set_grads(&q, first);
    if (cut < SAMPLES) backward(k, &q, cut, SAMPLES);
    for (size_t slot = q.slot[cut]; slot < q.slot[SAMPLES]; slot++)
        ops_cpu->kern.axpy(grads, 1.0f, first + (ptrdiff_t)slot * q.rows.slot_stride, q.width);
    ops_assert_same(grads, together, q.width, "gradients");
    assert_true(ops_largest(together, q.width) > 0.0);
}

static void check(const kind *k, size_t rank, bool dora, float dropout) {
    bench q;
    begin(&q, rank, dora, dropout);
    k->make(&q);
    for (size_t cut = 0; cut <= SAMPLES; cut++) check_cut(k, &q, cut, cut % 2);
    ops_forget();
}

static void slots_of_linears_add_up_to_the_same_bits(void **state) {
    (void)state;
    if (ops_on_device()) skip(); /* ranks run on CPUs */
    for (size_t i = 0; i < 4; i++) {
        check(&linear, i % 2 ? WIDE : NARROW, i > 1, 0.0f);
        check(&linear, i % 2 ? WIDE : NARROW, i > 1, 0.3f);
    }
}

static void slots_of_embeddings_do(void **state) {
    (void)state;
    if (ops_on_device()) skip(); /* ranks run on CPUs */
    for (size_t i = 0; i < 4; i++) check(&embedding, i % 2 ? WIDE : NARROW, i > 1, 0.0f);
}

static void slots_of_norms_do(void **state) {
    (void)state;
    if (ops_on_device()) skip(); /* ranks run on CPUs */
    check(&norm, NARROW, false, 0.0f);
}

/* A sample without rows (behind the last layer's attention, one without a target) adds nothing. */
static void samples_without_rows_add_nothing(void **state) {
    bench q;
    (void)state;
    if (ops_on_device()) skip(); /* ranks run on CPUs */
    begin(&q, NARROW, true, 0.0f);
    make_linear(&q);
    set_linear(&q, any);
    float *slots = ops_zeros(q.width * q.slot[SAMPLES]);
    size_t start[SAMPLES + 1] = {0, 0, 5, 5, 5, 5};
    ar_rows rows = q.rows;
    rows.count = 5;
    rows.start = start;
    rows.slot = q.slot;
    rows.slot_stride = (ptrdiff_t)q.width;
    set_linear(&q, slots);
    linear_backward(&q, 0, &rows);
    for (size_t slot = 0; slot < q.slot[SAMPLES]; slot++) {
        double largest = ops_largest(slots + slot * q.width, q.width);
        assert_true(slot == q.slot[1] ? largest > 0.0 : largest == 0.0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_linears_add_up_to_the_same_bits),
        cmocka_unit_test(slots_of_embeddings_do),
        cmocka_unit_test(slots_of_norms_do),
        cmocka_unit_test(samples_without_rows_add_nothing),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
