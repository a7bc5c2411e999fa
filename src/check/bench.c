/* alphar bench: a temporary folder, and rounds in which machine and model take turns.
 *
 *     round = products | plan | training | products | reading | decoding | reading
 *
 * The machine is measured on both sides of what it is compared with, so that a ratio means one stretch of time. */
#include "check/bench.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "check/random_base.h"
#include "kern/runtime.h"

enum { MAX_ROUNDS = 999, LETTERS_PER_TOKEN = 6 };

void ar_bench_options_init(ar_bench_options *o) { *o = (ar_bench_options){.rank = 16, .tokens = 512, .rounds = 5, .seed = 1}; }

/* What a series of rounds keeps of each round. */
typedef struct series {
    double product[AR_BENCH_PRODUCTS], best, reading, mfu, plan_train, decode_share;
    ar_bench_round model;
} series;

typedef struct bench {
    const ar_bench_options *o;
    ar_runtime rt; /* the caller's, without its log: rounds repeat their warnings */
    ar_bench_product products[AR_BENCH_PRODUCTS];
    int product_count;
    char *dir, *model, *data; /* the temporary folder; the base; the sample */
    series *rounds;
} bench;

static ar_status make_dir(bench *b, ar_error *err) {
    const char *tmp = getenv("TMPDIR");
    b->dir = ar__path_join(tmp && *tmp ? tmp : "/tmp", "alphar-bench-XXXXXX");
    if (!b->dir) return ar__fail_memory(err, "bench");
    if (mkdtemp(b->dir)) return AR_OK;
    ar_status s = ar__fail(err, AR_ERR_IO, "%s: cannot make a temporary folder; TMPDIR names another place", b->dir);
    free(b->dir);
    b->dir = NULL;
    return s;
}

/* One sample of words drawn from the alphabet: more tokens than asked for, which --max-length cuts. */
static ar_status write_data(bench *b, ar_error *err) {
    ar_rng g = ar__rng_stream(b->o->seed, AR_RNG_SAMPLE, 0, 0);
    size_t letters = (size_t)b->o->tokens * LETTERS_PER_TOKEN;
    ar_buf text = {0};
    ar__buf_puts(&text, "{\"text\":\"");
    for (size_t i = 0; i < letters && !text.failed; i++) {
        uint64_t x = ar__rng_u64(&g, i);
        char c = x % 5 == 0 && i ? ' ' : (char)('a' + (x >> 8) % 26);
        ar__buf_add(&text, &c, 1);
    }
    ar__buf_puts(&text, "\"}\n");
    b->data = ar__path_join(b->dir, "data.jsonl");
    ar_status s = text.failed || !b->data ? ar__fail_memory(err, "bench") : ar__file_write(b->data, text.data, text.len, err);
    ar__buf_release(&text);
    return s;
}

static ar_status make_base(bench *b, ar_error *err) {
    const char *given = b->o->model;
    if (!b->o->config_only) return (b->model = ar__strdup(given)) ? AR_OK : ar__fail_memory(err, "bench");
    b->model = ar__path_join(b->dir, "base");
    char *config = ar__path_is_dir(given) ? ar__path_join(given, "config.json") : ar__strdup(given);
    ar_status s = b->model && config ? ar__dir_make(b->model, err) : ar__fail_memory(err, "bench");
    if (!s) s = ar__random_base_write(b->model, config, b->o->seed, err);
    free(config);
    return s;
}

/* Adds half of one measurement, so that two calls make a mean. */
static ar_status half_products(series *r, bench *b, ar_error *err) {
    double rate[AR_BENCH_PRODUCTS];
    ar_status s = ar__bench_product_rates(rate, &b->rt, b->products, b->product_count, err);
    for (int i = 0; i < b->product_count && !s; i++) r->product[i] += 0.5 * rate[i];
    return s;
}

static ar_status half_reading(series *r, bench *b, ar_error *err) {
    double rate;
    ar_status s = ar__bench_reading(&rate, &b->rt, err);
    if (!s) r->reading += 0.5 * rate;
    return s;
}

static ar_status run_round(series *r, bench *b, const ar_train_options *o, ar_error *err) {
    ar_status s;
    if ((s = half_products(r, b, err)) || (s = ar__bench_train(&r->model, &b->rt, o, err)) || (s = half_products(r, b, err)) ||
        (s = half_reading(r, b, err)) || (s = ar__bench_decode(&r->model, &b->rt, b->model, err)) || (s = half_reading(r, b, err)))
        return s;
    for (int i = 0; i < b->product_count; i++)
        if (r->product[i] > r->best) r->best = r->product[i];
    r->mfu = r->model.step_flops / (double)r->model.tokens * r->model.train / r->best;
    r->plan_train = r->model.plan_train / r->model.train;
    r->decode_share = r->model.decode * (double)r->model.weight_bytes / r->reading;
    return AR_OK;
}

/* Of the number at `offset` in every round. */
static ar_bench_range range_at(const bench *b, size_t offset) {
    double x[MAX_ROUNDS];
    for (int i = 0; i < b->o->rounds; i++) memcpy(&x[i], (const char *)&b->rounds[i] + offset, sizeof *x);
    return ar__bench_range(x, b->o->rounds);
}
#define RANGE(member) range_at(b, offsetof(series, member))

/* The product whose median is best. */
static const ar_bench_product *winner(const bench *b) {
    int best = 0;
    double most = 0.0;
    for (int i = 0; i < b->product_count; i++) {
        double rate = range_at(b, offsetof(series, product) + (size_t)i * sizeof rate).median;
        if (rate > most) {
            most = rate;
            best = i;
        }
    }
    return &b->products[best];
}

static void summarize(ar_bench_result *out, const bench *b) {
    const ar_bench_round *first = &b->rounds[0].model;
    const ar_bench_product *product = winner(b);
    assert(product->backend && "every runtime has one");
    *out = (ar_bench_result){.threads = b->rt.threads,
                             .rounds = b->o->rounds,
                             .rank = b->o->rank,
                             .parameters = first->parameters,
                             .weight_bytes = first->weight_bytes,
                             .product = RANGE(best),
                             .product_backend = product->backend->name,
                             .product_dtype = ar__dtype(product->type)->name,
                             .reading = RANGE(reading),
                             .tokens = first->tokens,
                             .supervised = first->supervised,
                             .step_flops = first->step_flops,
                             .start = RANGE(model.start),
                             .train = RANGE(model.train),
                             .mfu = RANGE(mfu),
                             .checkpoint_layers = first->checkpoint_layers,
                             .anonymous_bytes = first->anonymous,
                             .file_bytes = first->file,
                             .peak_bytes = first->peak,
                             .plan_train = RANGE(plan_train),
                             .plan_anonymous_bytes = first->plan_anonymous,
                             .decode = RANGE(model.decode),
                             .decode_share = RANGE(decode_share)};
}

static ar_status run(bench *b, const ar_log *log, ar_error *err) {
    const ar_bench_options *o = b->o;
    ar_train_options t;
    ar_train_options_init(&t);
    t.course.model = b->model;
    t.course.data.files = (ar_texts){(const char *const *)&b->data, 1};
    t.learner.rank = o->rank;
    t.learner.batch = 1;
    t.course.max_length = o->tokens;
    t.learner.steps = 1 << 20;
    t.learner.schedule = AR_SCHEDULE_CONSTANT;
    t.learner.lr = 1e-6; /* random targets have nothing to teach */
    t.learner.seed = o->seed;
    for (int i = 0; i < o->rounds; i++) {
        if (o->should_stop && o->should_stop(o->user)) return ar__fail(err, AR_ERR_INTERRUPTED, "bench: interrupted");
        ar_status s = run_round(&b->rounds[i], b, &t, err);
        if (s) return s;
        const series *r = &b->rounds[i];
        ar__log_info(log, "round %d of %d: %.1f GFLOP/s, %.1f GB/s, training %.1f tokens/s, decoding %.1f tokens/s", i + 1, o->rounds,
                     r->best * 1e-9, r->reading * 1e-9, r->model.train, r->model.decode);
    }
    return AR_OK;
}

static ar_status check(const ar_bench_options *o, ar_error *err) {
    if (!o->model) return ar__fail(err, AR_ERR_USAGE, "model: not given");
    if (o->rounds < 1 || o->rounds > MAX_ROUNDS)
        return ar__fail(err, AR_ERR_USAGE, "rounds: found %d, wanted 1 to %d", o->rounds, MAX_ROUNDS);
    if (o->tokens < 2 || o->tokens > 1 << 24) return ar__fail(err, AR_ERR_USAGE, "tokens: found %d, wanted 2 to %d", o->tokens, 1 << 24);
    return AR_OK;
}

ar_status ar_bench(ar_bench_result *out, const ar_runtime *rt, const ar_bench_options *o, ar_error *err) {
    bench b = {.o = o, .rt = *rt};
    b.rt.log = (ar_log){0};
    AR_ONE_CALL(rt, err);
    ar_status s = check(o, err);
    if (s) return s;
    b.product_count = ar__bench_products(b.products, &b.rt);
    b.rounds = ar__alloc((size_t)o->rounds, sizeof *b.rounds);
    if (!b.rounds) s = ar__fail_memory(err, "bench");
    if (!s) s = make_dir(&b, err);
    if (!s) s = write_data(&b, err);
    if (!s) s = make_base(&b, err);
    if (!s) s = run(&b, &rt->log, err);
    if (!s) summarize(out, &b);
    if (b.dir) ar__dir_remove(b.dir, NULL);
    free(b.dir);
    free(b.model);
    free(b.data);
    free(b.rounds);
    return s;
}
