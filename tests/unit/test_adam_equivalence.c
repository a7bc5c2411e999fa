/* What alpha is to an optimizer (docs/alpha.md).  With B' = c B and s' = s / c the model computes the same, and training
 * keeps it so where, of B alone,
 *
 *     Adam  η_B' = c η_B   ε' = ε / c   λ' = λ / c   B'_0 = c B_0          SGD  η_B' = c² η_B   λ' = λ / c²
 *
 * First by whole trainings of the embedded base, with what the options offer; then each term by itself, on small random
 * bases with an optimizer step of their own for B.  c is no power of two, which f32 would carry through exactly. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "alphar/train.h"
#include "base/mem.h"
#include "base/rng.h"
#include "small_model.h"
#include "train/schedule.h"
#include "util.h"

/* s·B·A of every site, one after the other. */
typedef struct update {
    float *at;
    size_t *size; /* numbers of each site */
    size_t sites;
} update;

static void update_release(update *u) {
    free(u->at);
    free(u->size);
}

static update update_of(const ar_adapter *ad) {
    size_t total = 0;
    update u = {.sites = ad->pair_count, .size = calloc(ad->pair_count, sizeof *u.size)};
    assert_non_null(u.size);
    for (size_t i = 0; i < u.sites; i++) total += u.size[i] = (size_t)(ad->pair[i].n_out * ad->pair[i].n_in);
    float *at = u.at = calloc(total, sizeof *at);
    assert_non_null(at);
    for (size_t i = 0; i < u.sites; i++) {
        const ar_pair *p = &ad->pair[i];
        size_t r = (size_t)p->rank, n_in = (size_t)p->n_in;
        for (size_t o = 0; o < (size_t)p->n_out; o++, at += n_in)
            for (size_t j = 0; j < n_in; j++) {
                double sum = 0.0;
                for (size_t k = 0; k < r; k++) sum += (double)p->b[o * r + k] * (double)p->a[k * n_in + j];
                at[j] = (float)(p->scale * sum);
            }
    }
    return u;
}

/* ‖got − want‖ / ‖want‖ of the site that differs least, and of the one that differs most. */
typedef struct distance {
    double least, most;
} distance;

/* Releases got. */
static distance apart(update got, const update *want) {
    distance d = {.least = INFINITY};
    assert_int_equal(got.sites, want->sites);
    for (size_t i = 0, at = 0; i < got.sites; at += got.size[i++]) {
        double error = relative_error(got.at + at, want->at + at, got.size[i]);
        d.least = fmin(d.least, error);
        d.most = fmax(d.most, error);
    }
    update_release(&got);
    return d;
}

/* ---- whole trainings ------------------------------------------------------------------------------------------- */
static update train(int64_t steps, double alpha, double lr, double ratio, double eps, double clip) {
    ar_error err;
    ar_runtime *rt;
    ar_train_options o;
    ar_train_result result;
    ar_adapter *ad;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    o.course.data = ONE_PATH("demo/task/train.jsonl");
    o.run.out = temp_path("equivalence");
    o.learner.rank = 8;
    o.learner.alpha = alpha;
    o.learner.alpha_given = true;
    o.learner.lr = lr;
    o.learner.lr_ratio = ratio;
    o.learner.eps = eps;
    o.learner.clip = clip;
    o.learner.steps = steps;
    o.learner.batch = 2;
    o.course.max_length = 32;
    o.run.strength_every = 0;
    o.run.overwrite = true;
    assert_ok(ar_runtime_new(&rt, &(ar_runtime_options){.threads = 1}, &err), err);
    assert_ok(ar_train(&result, rt, &o, &err), err);
    ar_runtime_free(rt);
    assert_ok(ar_adapter_open(&ad, o.run.out, NULL, &err), err);
    assert_ok(ar__adapter_load(ad, &err), err);
    update u = update_of(ad);
    ar_adapter_free(ad);
    return u;
}

enum { ALPHA = 16 };
static const double lr = 1e-3, c = 2.0 / 0.6; /* alpha 16 gives s = 2, alpha 16/c 0.6 */

static void alpha_is_a_rate_of_b(void **state) {
    (void)state;
    const struct {
        int64_t steps;
        double bound;
    } cases[] = {{60, 1e-5}, {200, 1e-3}};
    for (size_t i = 0; i < 2; i++) {
        update want = train(cases[i].steps, ALPHA, lr, 1, 1e-12, 0);
        distance d = apart(train(cases[i].steps, ALPHA / c, lr, c, 1e-12, 0), &want);
        print_message("%d steps: %.2g apart\n", (int)cases[i].steps, d.most);
        assert_true(d.most <= cases[i].bound);
        update_release(&want);
    }
}

static void both_rates_raised_is_another_training(void **state) {
    (void)state;
    update want = train(60, ALPHA, lr, 1, 1e-12, 0);
    distance both = apart(train(60, ALPHA / c, lr * c, 1, 1e-12, 0), &want), neither = apart(train(60, ALPHA / c, lr, 1, 1e-12, 0), &want);
    print_message("both rates raised: %.2g to %.2g apart; none: %.2g to %.2g\n", both.least, both.most, neither.least, neither.most);
    assert_true(both.least >= 0.1 && neither.least >= 0.1);
    update_release(&want);
}

static void defaults_are_close_only(void **state) {
    (void)state;
    update want = train(60, ALPHA, lr, 1, 1e-8, 0), clipped = train(60, ALPHA, lr, 1, 1e-8, 1);
    distance eps = apart(train(60, ALPHA / c, lr, c, 1e-8, 0), &want), clip = apart(train(60, ALPHA / c, lr, c, 1e-8, 1), &clipped);
    print_message("epsilon 1e-8 as it is: %.2g apart; clipped at 1 too: %.2g\n", eps.most, clip.most);
    assert_true(eps.most < 0.01 && clip.most < 0.25);
    update_release(&want);
    update_release(&clipped);
}

/* ---- each term by itself --------------------------------------------------------------------------------------- */
#define LLAMA ",\"model_type\":\"llama\""
#define QWEN2 ",\"model_type\":\"qwen2\",\"tie_word_embeddings\":true"

static const small_case linears = {"llama", LLAMA, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE};
static const small_case dora = {"llama, dora", LLAMA, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE};
static const small_case embedding = {"qwen2, embedding", QWEN2, "q_proj,embed_tokens", NULL, false, false, 0.0, AR_BIAS_NONE};

/* s divided by `by`, and what B gets for it: factors on its start, rate, epsilon and decay. */
typedef struct change {
    double by, start, rate, eps, decay;
} change;

typedef struct setup {
    const small_case *model;
    ar_train_options o;
} setup;

/* Other random tokens at every step, each to be told from the ones before. */
static void new_tokens(small *s, uint64_t step) {
    ar_rng g = ar__rng_stream(17, AR_RNG_SAMPLE, step, 0);
    for (size_t i = 0; i < s->tokens; i++) s->ids[i] = (int32_t)(ar__rng_u64(&g, i) % SMALL_VOCAB);
    for (size_t q = 0; q < s->samples; q++)
        for (size_t i = s->start[q]; i < s->start[q + 1]; i++) s->targets[i] = i + 1 < s->start[q + 1] ? s->ids[i + 1] : -1;
}

static void apply(small *s, const change *ch) {
    for (size_t i = 0; i < s->adapter->pair_count; i++) {
        ar_pair *p = &s->adapter->pair[i];
        p->scale /= ch->by;
        for (size_t j = 0; j < (size_t)p->n_out * (size_t)p->rank; j++) p->b[j] = (float)(p->b[j] * ch->start);
        s->at->ops[ar__model_find(s->model, p->site)].scale = p->scale;
    }
    for (size_t i = 0; i < s->list.count; i++) {
        ar_trainable *x = &s->list.at[i];
        x->m = ar__alloc(x->count, sizeof *x->m);
        x->v = ar__alloc(x->count, sizeof *x->v);
        assert_true(x->m && x->v);
    }
    ar__attach_refresh(s->at);
}

/* The update of B alone, or of everything else, by options of its own. */
static void step_of(small *s, bool of_b, const ar_train_options *o, int64_t t) {
    ar_trainables part = {.at = calloc(s->list.count, sizeof *part.at)};
    assert_non_null(part.at);
    for (size_t i = 0; i < s->list.count; i++)
        if ((s->list.at[i].role == AR_ROLE_B) == of_b) part.at[part.count++] = s->list.at[i];
    ar_update u = ar__update_at(o, o->learner.lr, t, 0.0);
    s->rt->ops->update(s->rt, part.at, part.count, &u);
    free(part.at);
}

static update run(const setup *su, change ch) {
    small s = small_open(su->model, (size_t[]){7, 12, 5, 0}, 1, NULL, NULL, false);
    ar_train_options of_b = su->o;
    of_b.learner.lr *= ch.rate;
    of_b.learner.eps *= ch.eps;
    of_b.learner.weight_decay *= ch.decay;
    apply(&s, &ch);
    for (int64_t t = 1; t <= 60; t++) {
        new_tokens(&s, (uint64_t)t);
        small_loss(&s, true);
        step_of(&s, false, &su->o, t);
        step_of(&s, true, &of_b, t);
        ar__attach_refresh(s.at);
    }
    update u = update_of(s.adapter);
    for (size_t i = 0; i < s.list.count; i++) {
        free(s.list.at[i].m);
        free(s.list.at[i].v);
    }
    small_close(&s);
    return u;
}

static setup adam(const small_case *model, double eps, double decay) {
    setup su = {.model = model};
    ar_train_options_init(&su.o);
    su.o.learner.lr = 2e-3;
    su.o.learner.clip = 0;
    su.o.learner.eps = eps;
    su.o.learner.weight_decay = decay;
    return su;
}

/* All terms: equal.  Without the one: not. */
static void check(const setup *su, change all, change without, const char *name) {
    update want = run(su, (change){1, 1, 1, 1, 1});
    distance equal = apart(run(su, all), &want), other = apart(run(su, without), &want);
    print_message("%s: %.2g apart with it, %.2g without\n", name, equal.most, other.most);
    assert_true(equal.most <= 1e-5);
    assert_true(other.most >= 1e-2);
    update_release(&want);
}

static void the_rate(void **state) {
    (void)state;
    setup su = adam(&linears, 1e-12, 0);
    check(&su, (change){c, c, c, 1 / c, 1}, (change){c, c, 1, 1 / c, 1}, "rate");
}

static void epsilon(void **state) {
    (void)state;
    setup su = adam(&linears, 1e-2, 0);
    check(&su, (change){c, c, c, 1 / c, 1}, (change){c, c, c, 1, 1}, "epsilon");
}

static void weight_decay(void **state) {
    (void)state;
    setup su = adam(&linears, 1e-12, 1.0);
    check(&su, (change){c, c, c, 1 / c, 1 / c}, (change){c, c, c, 1 / c, 1}, "weight decay");
}

static void start_of_b_at_an_embedding(void **state) {
    (void)state;
    setup su = adam(&embedding, 1e-12, 0);
    check(&su, (change){c, c, c, 1 / c, 1}, (change){c, 1, c, 1 / c, 1}, "start of B");
}

static void magnitudes_of_dora_change_nothing(void **state) {
    (void)state;
    setup su = adam(&dora, 1e-12, 0);
    check(&su, (change){c, c, c, 1 / c, 1}, (change){c, c, 1, 1 / c, 1}, "rate, with DoRA");
}

static void sgd_by_the_square(void **state) {
    (void)state;
    setup su = adam(&linears, 0, 0.5);
    su.o.learner.optimizer = AR_OPTIMIZER_SGD;
    su.o.learner.lr = 0.05;
    check(&su, (change){c, c, c * c, 1, 1 / (c * c)}, (change){c, c, c, 1, 1 / c}, "SGD");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alpha_is_a_rate_of_b),
        cmocka_unit_test(both_rates_raised_is_another_training),
        cmocka_unit_test(defaults_are_close_only),
        cmocka_unit_test(the_rate),
        cmocka_unit_test(epsilon),
        cmocka_unit_test(weight_decay),
        cmocka_unit_test(start_of_b_at_an_embedding),
        cmocka_unit_test(magnitudes_of_dora_change_nothing),
        cmocka_unit_test(sgd_by_the_square),
    };
    return cmocka_run_group_tests_name("adam_equivalence", tests, NULL, NULL);
}
