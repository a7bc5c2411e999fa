/* ar_plan_training: what a training would need, and how long it would take, from a short measurement. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/rng.h"
#include "base/size.h"
#include "train/comm.h"
#include "train/learner.h"
#include "train/outlook.h"
#include "train/settings.h"

/* Of one token through the pairs. */
static double pair_flops(const ar_learner *l) {
    double pairs = 0.0;
    for (size_t i = 0; l->adapter && i < l->adapter->pair_count; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        pairs += 6.0 * p->rank * (double)(p->is_embedding ? p->n_out : p->n_in + p->n_out);
    }
    return pairs;
}

/* Useful work of one supervised token: 4N for a frozen base (6N if it trains), the pairs, attention, the head. */
static double flops_per_token(const ar_learner *l, size_t length) {
    const ar_arch *a = &l->course->model->arch;
    bool full = l->o.learner.method == AR_METHOD_FULL;
    double linear = (double)ar__arch_linear_params(a) * (full ? 6.0 : 4.0);
    double wide = 0.0;
    for (int64_t i = 0; i < a->layers; i++) wide += (double)(a->heads * ar__arch_head_dim(a, i));
    double attention = 3.5 * 2.0 * (double)length * wide;
    return linear + pair_flops(l) + attention + (full ? 6.0 : 4.0) * (double)a->vocab * (double)a->dim;
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

static ar_status trial_init(trial *r, const ar_learner *l, size_t length, ar_error *err) {
    size_t samples = ar__min(ar__max(l->course->choice.tokens / length, 1), ar__step_samples(&l->o)), n = length * samples;
    double learned = l->course->data ? (double)l->course->stats.supervised / (double)l->course->stats.tokens : 1;
    *r = (trial){.length = length, .samples = samples, .prompt = (size_t)((1 - learned) * (double)length)};
    r->ids = ar__alloc(n, sizeof *r->ids);
    r->targets = ar__alloc(n, sizeof *r->targets);
    r->start = ar__alloc(samples + 1, sizeof *r->start);
    r->key = ar__alloc(samples, sizeof *r->key);
    if (!r->ids || !r->targets || !r->start || !r->key) return ar__fail_memory(err, "plan");
    ar_rng g = ar__rng_stream(l->o.learner.seed, AR_RNG_SAMPLE, 0, 0);
    for (size_t i = 0; i < n; i++) r->ids[i] = (int32_t)(ar__rng_u64(&g, i) % (uint64_t)l->course->model->arch.vocab);
    return AR_OK;
}

/* Seconds of `samples` of `length` tokens through the model and back. */
static double time_round(const trial *r, ar_learner *l, size_t length, size_t samples) {
    double *nll = ar__alloc(samples, sizeof *nll), began = ar__clock_seconds();
    if (!nll) return 0;
    for (size_t i = 0; i <= samples; i++) r->start[i] = i * length;
    for (size_t i = 0; i < samples; i++) r->key[i] = i;
    for (size_t i = 0; i < samples * length; i++) {
        size_t next = i % length + 1;
        r->targets[i] = next < length && (next >= r->prompt || length < r->length) ? r->ids[i + 1] : -1;
    }
    ar_segment seg = {0, samples, l->attachment ? l->attachment->ops : NULL};
    ar_batch b = {
        .rows = {.count = samples * length, .samples = samples, .start = r->start, .key = r->key, .segments = &seg, .segment_count = 1},
        .ids = r->ids,
        .targets = r->targets};
    ar__pass_forward(l->course->pass, &b, NULL);
    ar__pass_loss(l->course->pass, &b, nll, NULL, 1.0f / (float)b.rows.count);
    ar__pass_backward(l->course->pass, &b);
    l->course->rt->ops->memory->settle(l->course->rt, NULL); /* only then it is done; asked for again when all is measured */
    free(nll);
    return ar__clock_seconds() - began;
}

/* Times a micro-batch, or as much of it as the seconds allow: ever more tokens, then the whole again, until they took long
 * enough to tell. */
static ar_status measure(double *rate, ar_learner *l, size_t longest, size_t mean, ar_error *err) {
    enum { FIRST_TOKENS = 16, GROWTH = 8, ENOUGH_SECONDS = 1 };
    ar_pass_spec spec = ar__plan_spec(l->course, &l->course->choice, longest);
    trial r = {0};
    ar_status s = trial_init(&r, l, ar__max(ar__min(mean, longest), 2), err);
    if (!s) s = ar__pass_new(&l->course->pass, l->course->model, &spec, err);
    if (!s)
        ar__log_info(&l->course->rt->log, "measuring the speed on up to %zu random tokens (seconds; --no-measure leaves it out)",
                     r.length * r.samples);
    double spent = 0, tokens = 0;
    for (size_t n = FIRST_TOKENS, last = 0; !s && spent < ENOUGH_SECONDS; n = ar__min(n * GROWTH, r.length * r.samples)) {
        size_t length = ar__max(ar__min(n, r.length), 1), samples = ar__min(ar__max(n / length, 1), r.samples);
        double seconds = time_round(&r, l, length, samples);
        bool whole = length * samples == last; /* the first whole one puts everything in its place */
        if (!whole) spent = tokens = 0;
        spent += seconds;
        tokens += (double)(length * samples);
        last = length * samples;
    }
    if (!s) s = l->course->rt->ops->memory->settle(l->course->rt, err);
    *rate = spent > 0 ? tokens / spent : 0;
    trial_release(&r);
    return s;
}

/* What the data, and the speed where it was measured, come to. */
static ar_outlook look_out(const ar_learner *l, const ar_plan *plan) {
    ar_outlook o = ar__outlook_of(l);
    o.rank_share = pair_flops(l) / plan->flops_per_token;
    if (o.samples) ar__outlook_set_speed(&o, plan->tokens_per_second, (double)o.tokens / (double)o.samples, o.steps);
    return o;
}

static void fill(ar_plan *plan, const ar_learner *l, size_t longest) {
    const ar_course *c = l->course;
    int64_t state = ar__learner_state_bytes(l);
    bool device = !c->rt->ops->memory->is_host;
    plan->base_bytes = device ? c->fixed_bytes - c->state_bytes : (int64_t)ar__model_file_bytes(c->model);
    plan->adapter_bytes = state;
    plan->activation_bytes = (int64_t)c->choice.bytes;
    plan->trainable = (int64_t)l->list.total;
    plan->parameters = ar_model_parameters(c->model);
    plan->flops_per_token = flops_per_token(l, longest);
    plan->micro_batch = c->choice.micro_rows;
    plan->layers_again = (int)ar__min(c->choice.again, (size_t)c->model->arch.layers - (size_t)c->need.lowest_layer);
    plan->mlps_again = (int)c->choice.mlp_again;
    plan->checkpoint_layers = plan->layers_again + plan->mlps_again > 0;
    plan->max_length = c->o.max_length;
    plan->fits = c->choice.fits;
    plan->memory = c->o.memory ? c->o.memory : c->budget > 0 ? c->budget + c->fixed_bytes : 0;
    plan->other_bytes = (device ? 0 : c->fixed_bytes - state) + (int64_t)c->choice.packing;
    plan->anonymous_bytes = plan->adapter_bytes + plan->activation_bytes + plan->other_bytes;
}

ar_status ar_plan_training(ar_plan *plan, const ar_runtime *rt, const ar_train_options *o, bool timed, ar_error *err) {
    ar_course c;
    ar_learner l = {0};
    *plan = (ar_plan){0};
    AR_ONE_CALL(rt, err);
    ar_status s = ar__course_open(&c, rt, o, ar__has_samples(&o->course.data) ? AR_DATA_PART : AR_DATA_NOT, err);
    if (!s) s = ar__learner_open(&l, &c, o, err);
    if (!s) {
        size_t longest = c.data ? (size_t)ar__dataset_longest(c.data) : (size_t)c.o.max_length;
        size_t mean = c.data ? ar__max(c.stats.tokens / ar__dataset_count(c.data), 2) : longest;
        ar__course_set_budget(&c);
        c.choice = ar__plan_choose(&c, longest);
        fill(plan, &l, longest);
        /* What does not fit is what a plan is asked for: it is said without a speed. */
        if (timed && (plan->fits || rt->ops->memory->is_host)) s = measure(&plan->tokens_per_second, &l, longest, mean, err);
        if (!s) plan->outlook = look_out(&l, plan);
        if (!s) ar__share_sizes(&plan->kept_mean, &plan->kept_most, &l, longest);
    }
    ar__learner_close(&l);
    ar__course_close(&c);
    return s;
}

void ar_plan_over_ranks(ar_ranks_plan *out, const ar_plan *plan, int ranks, double link_bits) {
    const ar_outlook *o = &plan->outlook;
    double length = o->samples ? (double)o->tokens / (double)o->samples : plan->max_length, batch = o->batch;
    double together = o->pairs ? 2 : 1, even = 2.0 * batch * together * plan->kept_mean / ranks;
    *out = (ar_ranks_plan){.ranks = ranks, .gradient_bytes = 4 * plan->trainable, .link_bits = link_bits};
    out->kept_bytes = (int64_t)fmin(fmax(even, together * plan->kept_most), batch * together * plan->kept_most);
    if (ranks > 1 && link_bits > 0) out->carry_seconds = 8.0 * ar__carry_bytes((double)out->gradient_bytes, ranks) / link_bits;
    if (plan->tokens_per_second <= 0) return;
    double shares = ceil(batch / ranks) / batch; /* samples are not parted */
    out->alone_seconds = batch * length / plan->tokens_per_second;
    out->step_seconds = out->alone_seconds * shares + out->carry_seconds;
}
