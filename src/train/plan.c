/* What fits: micro-batch and layer recomputation from a byte budget, before step 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/proc.h"
#include "base/rng.h"
#include "base/size.h"
#include "kern/gemm.h"
#include "train/outlook.h"
#include "train/settings.h"
#include "train/trainer.h"

enum {
    ROW_TARGET_TOKENS = 1024, /* more at a time gains little: the weights are packed once per that many rows */
    HEAD_ROWS = 512           /* nor does more of the head */
};

int64_t ar__memory_anonymous(void) { return ar__proc_bytes("/proc/self/status", "RssAnon:"); }

ar_pass_spec ar__plan_spec(const ar_trainer *t, const ar_choice *c, size_t longest) {
    return (ar_pass_spec){.tokens = c->tokens,
                          .samples = ar__step_samples(t),
                          .longest = longest,
                          .ranks = t->attachment ? t->attachment->ranks : NULL,
                          .dora = t->attachment && t->attachment->dora_count,
                          .dropout = t->o.learner.dropout > 0.0,
                          .train = true,
                          .again = c->again,
                          .mlp_again = c->mlp_again,
                          .lowest_layer = t->list.lowest_layer,
                          .embed_grad = t->list.embed,
                          .head_pieces = c->head_pieces};
}

/* The left operands of products lie packed, all of k, up to a limit; the memory is the runtime's, but untouched so far. */
static size_t packing_bytes(const ar_trainer *t, const ar_choice *c) {
    const ar_arch *a = &t->model->arch;
    size_t chunk = ar__head_piece(t->model) * ar__max(c->head_pieces, 1), rows = chunk < c->tokens ? chunk : c->tokens;
    size_t widest = ar__max(ar__max((size_t)a->dim, (size_t)a->ff), (size_t)(a->heads * a->head_dim));
    /* In bf16 dY lies packed twice in one group: for W, and in f32 for B. */
    size_t element = sizeof(float) + (t->o.course.compute == AR_COMPUTE_BF16 ? sizeof(uint16_t) : 0);
    size_t left = ar__max(c->tokens * widest, rows * (size_t)a->vocab) * element;
    return ar__min(left, AR_GEMM_LEFT_BYTES) + (size_t)t->rt->threads * AR_GEMM_RIGHT_FLOATS * sizeof(float);
}

static void measure_choice(const ar_trainer *t, ar_choice *c, size_t longest) {
    ar_pass_spec spec = ar__plan_spec(t, c, longest);
    c->bytes = ar__pass_bytes(t->model, &spec);
    c->packing = packing_bytes(t, c);
    c->fits = t->budget <= 0 || (int64_t)(c->bytes + c->packing) <= t->budget;
}

static ar_choice try_choice(const ar_trainer *t, size_t longest, int rows, size_t again, size_t mlp_again) {
    ar_choice c = {.micro_rows = rows, .again = again, .mlp_again = mlp_again};
    c.tokens = ar__batcher_tokens(longest, ar__step_samples(t), t->o.course.max_length, rows, t->o.course.pack);
    measure_choice(t, &c, longest);
    return c;
}

/* What is left goes to the head, which packs its weight once per chunk: as many pieces as help. */
static ar_choice widen_head(const ar_trainer *t, size_t longest, ar_choice c) {
    size_t piece = ar__head_piece(t->model), rows = c.tokens < HEAD_ROWS ? c.tokens : HEAD_ROWS;
    for (size_t n = (rows + piece - 1) / piece; n > 1 && c.fits; n--) {
        ar_choice wide = c;
        wide.head_pieces = n;
        measure_choice(t, &wide, longest);
        if (wide.fits) return wide;
    }
    return c;
}

/* As few layers formed again as fit: their MLPs first, which hold most bytes for the time that they take, then whole ones.
 * The top layer is kept as long as any is, since it lends the others its memory. */
static ar_choice fewest_again(const ar_trainer *t, size_t longest, int rows) {
    size_t n = (size_t)t->model->arch.layers - (size_t)t->list.lowest_layer;
    ar_choice c = {0};
    for (size_t i = 1; i + 1 < 2 * n; i++) {
        c = i < n ? try_choice(t, longest, rows, 0, i) : try_choice(t, longest, rows, i - n + 1, 2 * n - 2 - i);
        if (c.fits) return c;
    }
    return try_choice(t, longest, rows, n, 0);
}

/* The most rows up to the target that fit with everything kept; failing that the fewest rows, and layers formed again. */
ar_choice ar__plan_choose(const ar_trainer *t, size_t longest) {
    int most = (int)ar__step_samples(t), least = 1;
    if (t->o.course.micro_batch > 0) most = least = t->o.course.micro_batch < most ? t->o.course.micro_batch : most;
    size_t layers = t->o.course.checkpoint_layers == AR_SWITCH_ON ? SIZE_MAX : 0;
    ar_choice c = {0};
    for (int rows = most;; rows = (rows + 1) / 2) {
        if (rows < least || rows == 1) rows = least;
        c = try_choice(t, longest, rows, layers, 0);
        if (rows == least || (c.fits && c.tokens <= ROW_TARGET_TOKENS)) break;
    }
    if (!c.fits && t->o.course.checkpoint_layers == AR_SWITCH_AUTO) c = fewest_again(t, longest, least);
    return widen_head(t, longest, c);
}

static int64_t base_bytes(const ar_model *m) {
    int64_t n = 0;
    for (int i = 0; m->files && i < ar__st_count(m->files); i++) n += (int64_t)ar__st_at(m->files, i)->bytes;
    return n;
}

/* Of one token through the pairs. */
static double pair_flops(const ar_trainer *t) {
    double pairs = 0.0;
    for (size_t i = 0; t->adapter && i < t->adapter->pair_count; i++) {
        const ar_pair *p = &t->adapter->pair[i];
        pairs += 6.0 * p->rank * (double)(p->is_embedding ? p->n_out : p->n_in + p->n_out);
    }
    return pairs;
}

/* Useful work of one supervised token: 4N for a frozen base (6N if it trains), the pairs, attention, the head. */
static double flops_per_token(const ar_trainer *t, size_t length) {
    const ar_arch *a = &t->model->arch;
    bool full = t->o.learner.method == AR_METHOD_FULL;
    double linear = (double)ar__arch_linear_params(a) * (full ? 6.0 : 4.0);
    double attention = 3.5 * 2.0 * (double)length * (double)(a->heads * a->head_dim) * (double)a->layers;
    return linear + pair_flops(t) + attention + (full ? 6.0 : 4.0) * (double)a->vocab * (double)a->dim;
}

/* Random tokens in samples of one length, as a row of training has them. */
typedef struct trial {
    int32_t *ids, *targets;
    size_t *start;
    uint64_t *key;
    size_t length, samples; /* of a sample; at most */
    size_t prompt;          /* tokens of a sample that are not learned */
} trial;

static void trial_release(trial *r) {
    free(r->ids);
    free(r->targets);
    free(r->start);
    free(r->key);
}

static ar_status trial_init(trial *r, const ar_trainer *t, size_t length, ar_error *err) {
    size_t samples = ar__min(ar__max(t->choice.tokens / length, 1), ar__step_samples(t)), n = length * samples;
    double learned = t->data ? (double)t->stats.supervised / (double)t->stats.tokens : 1;
    *r = (trial){.length = length, .samples = samples, .prompt = (size_t)((1 - learned) * (double)length)};
    r->ids = ar__alloc(n, sizeof *r->ids);
    r->targets = ar__alloc(n, sizeof *r->targets);
    r->start = ar__alloc(samples + 1, sizeof *r->start);
    r->key = ar__alloc(samples, sizeof *r->key);
    if (!r->ids || !r->targets || !r->start || !r->key) return ar__fail_memory(err, "plan");
    ar_rng g = ar__rng_stream(t->o.learner.seed, AR_RNG_SAMPLE, 0, 0);
    for (size_t i = 0; i < n; i++) r->ids[i] = (int32_t)(ar__rng_u64(&g, i) % (uint64_t)t->model->arch.vocab);
    return AR_OK;
}

/* Seconds of `samples` of `length` tokens through the model and back. */
static double time_round(const trial *r, ar_trainer *t, size_t length, size_t samples) {
    double *nll = ar__alloc(samples, sizeof *nll), began = ar__clock_seconds();
    if (!nll) return 0;
    for (size_t i = 0; i <= samples; i++) r->start[i] = i * length;
    for (size_t i = 0; i < samples; i++) r->key[i] = i;
    for (size_t i = 0; i < samples * length; i++) {
        size_t next = i % length + 1;
        r->targets[i] = next < length && (next >= r->prompt || length < r->length) ? r->ids[i + 1] : -1;
    }
    ar_segment seg = {0, samples, t->attachment ? t->attachment->ops : NULL};
    ar_batch b = {
        .rows = {.count = samples * length, .samples = samples, .start = r->start, .key = r->key, .segments = &seg, .segment_count = 1},
        .ids = r->ids,
        .targets = r->targets};
    ar__pass_forward(t->pass, &b, NULL);
    ar__pass_loss(t->pass, &b, nll, NULL, 1.0f / (float)b.rows.count);
    ar__pass_backward(t->pass, &b);
    free(nll);
    return ar__clock_seconds() - began;
}

/* Times a micro-batch, or as much of it as the seconds allow: ever more tokens, then the whole again, until they took long
 * enough to tell. */
static ar_status measure(double *rate, ar_trainer *t, size_t longest, size_t mean, ar_error *err) {
    enum { FIRST_TOKENS = 16, GROWTH = 8, ENOUGH_SECONDS = 1 };
    ar_pass_spec spec = ar__plan_spec(t, &t->choice, longest);
    trial r = {0};
    ar_status s = trial_init(&r, t, ar__max(ar__min(mean, longest), 2), err);
    if (!s) s = ar__pass_new(&t->pass, t->model, &spec, err);
    if (!s)
        ar__log_info(&t->rt->log, "measuring the speed on up to %zu random tokens (seconds; --no-measure leaves it out)",
                     r.length * r.samples);
    double spent = 0, tokens = 0;
    for (size_t n = FIRST_TOKENS, last = 0; !s && spent < ENOUGH_SECONDS; n = ar__min(n * GROWTH, r.length * r.samples)) {
        size_t length = ar__max(ar__min(n, r.length), 1), samples = ar__min(ar__max(n / length, 1), r.samples);
        double seconds = time_round(&r, t, length, samples);
        bool whole = length * samples == last; /* the first whole one puts everything in its place */
        if (!whole) spent = tokens = 0;
        spent += seconds;
        tokens += (double)(length * samples);
        last = length * samples;
    }
    *rate = spent > 0 ? tokens / spent : 0;
    trial_release(&r);
    return s;
}

/* What the data, and the speed where it was measured, come to. */
static ar_outlook look_out(const ar_trainer *t, const ar_plan *plan) {
    ar_outlook o = ar__outlook_of(t);
    o.rank_share = pair_flops(t) / plan->flops_per_token;
    if (o.samples) ar__outlook_set_speed(&o, plan->tokens_per_second, (double)o.tokens / (double)o.samples, o.steps);
    return o;
}

ar_status ar_plan_training(ar_plan *plan, const ar_runtime *rt, const ar_train_options *o, bool timed, ar_error *err) {
    ar_trainer t;
    *plan = (ar_plan){0};
    AR_ONE_CALL(rt, err);
    ar_status s = ar__trainer_open(&t, rt, o, ar__has_samples(&o->course.data) ? AR_DATA_PART : AR_DATA_NOT, err);
    if (!s) {
        size_t longest = t.data ? (size_t)ar__dataset_longest(t.data) : (size_t)t.o.course.max_length;
        t.choice = ar__plan_choose(&t, longest);
        int64_t state = (int64_t)t.list.total * (t.o.learner.optimizer == AR_OPTIMIZER_SGD ? 8 : 16);
        plan->base_bytes = base_bytes(t.model);
        plan->adapter_bytes = state;
        plan->activation_bytes = (int64_t)t.choice.bytes;
        plan->trainable = (int64_t)t.list.total;
        plan->parameters = ar_model_parameters(t.model);
        plan->flops_per_token = flops_per_token(&t, longest);
        plan->micro_batch = t.choice.micro_rows;
        plan->checkpoint_layers = t.choice.again + t.choice.mlp_again > 0;
        plan->max_length = t.o.course.max_length;
        plan->fits = t.choice.fits;
        plan->memory = t.o.course.memory ? t.o.course.memory : t.budget > 0 ? t.budget + t.fixed_bytes : 0;
        plan->other_bytes = t.fixed_bytes - state + (int64_t)t.choice.packing;
        plan->anonymous_bytes = plan->adapter_bytes + plan->activation_bytes + plan->other_bytes;
        size_t mean = t.data ? ar__max(t.stats.tokens / ar__dataset_count(t.data), 2) : longest;
        if (timed) s = measure(&plan->tokens_per_second, &t, longest, mean, err);
        if (!s) plan->outlook = look_out(&t, plan);
    }
    ar__trainer_close(&t);
    return s;
}
