/* Learners of one course have the bits that each has alone: whatever the others' ranks, sites, rates, orders and lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "class.h"
#include "util.h"

static const ar_memory_sample samples[] = {
    {.prompt = "Once upon", .completion = " a time there was a cat that liked the sun."},
    {.text = "The sun was warm and the day was long."},
    {.prompt = "She", .completion = " went home to bed, for it was late and dark."},
    {.text = "A little girl named Lucy had a red ball."},
    {.prompt = "One day", .completion = " a bird sang."},
};
static const ar_memory_sample pairs[] = {{.prompt = "Once upon", .chosen = " a time there was a cat.", .rejected = " no."},
                                         {.prompt = "The sun", .chosen = " was warm.", .rejected = " was cold and far away."},
                                         {.prompt = "She", .chosen = " went home.", .rejected = " fell."}};

static ar_train_options options(void) {
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    o.course.data.samples = samples;
    o.course.data.sample_count = 5;
    o.course.eval_data.samples = samples + 1;
    o.course.eval_data.sample_count = 3;
    o.course.compute = AR_COMPUTE_F32;
    o.learner.rank = 4;
    o.learner.steps = 4;
    o.learner.batch = 2;
    o.learner.lr = 2e-3;
    return o;
}

/* Values, loss, gradient norm and evaluation of the i-th after `steps` steps. */
static void assert_same_as_alone(const class *together, size_t i, const ar_train_options *o, int steps) {
    class *alone = class_open(o, 1, 1);
    const ar_learner *a = &alone->of[0], *b = &together->of[i];
    for (int t = 0; t < steps; t++) class_step(alone);
    assert_int_equal(ar__learners_evaluate(&alone->course, alone->all, 1, NULL), AR_OK);
    assert_int_equal(a->list.count, b->list.count);
    assert_true(a->loss == b->loss && a->grad_norm == b->grad_norm && a->eval_loss == b->eval_loss);
    assert_true(a->judged.margin == b->judged.margin && a->eval_judged.accuracy == b->eval_judged.accuracy);
    assert_int_equal(a->step_tokens, b->step_tokens);
    for (size_t k = 0; k < a->list.count; k++) {
        const ar_trainable *x = &a->list.at[k], *y = &b->list.at[k];
        assert_string_equal(x->name, y->name);
        assert_memory_equal(x->value, y->value, x->count * sizeof *x->value);
        if (x->m) assert_memory_equal(x->m, y->m, x->count * sizeof *x->m);
    }
    class_close(alone);
}

static void assert_all_same(const ar_train_options *o, size_t count, int steps, int threads) {
    class *c = class_open(o, count, threads);
    for (int t = 0; t < steps; t++) class_step(c);
    assert_int_equal(ar__learners_evaluate(&c->course, c->all, c->count, NULL), AR_OK);
    for (size_t i = 0; i < count; i++) assert_same_as_alone(c, i, &o[i], steps);
    class_close(c);
}

static void each_has_the_bits_that_it_has_alone(void **state) {
    ar_train_options o[8];
    (void)state;
    for (size_t i = 0; i < 8; i++) o[i] = options();
    o[1].learner.rank = 7;
    o[1].learner.lr = 1e-2;
    o[2].learner.seed = 9;
    o[2].learner.dropout = 0.2;
    o[3].learner.targets = "v_proj,down_proj,embed_tokens,lm_head";
    o[4].learner.dora = true;
    o[4].learner.dropout = 0.1;
    o[5].learner.batch = 3;
    o[5].learner.layers = "1";
    o[6].learner.optimizer = AR_OPTIMIZER_SGD;
    o[6].learner.alpha = 3;
    o[6].learner.alpha_given = true;
    o[6].learner.policy = AR_POLICY_RSLORA;
    o[7].learner.targets = "lm_head"; /* whose backward ends there */
    assert_all_same(o, 8, 3, 2);
}

/* Rows at a time, recomputation, one thread: settings that change no result. */
static void the_plan_changes_nothing(void **state) {
    ar_train_options o[3];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        o[i] = options();
        o[i].learner.seed = i;
        o[i].course.micro_batch = 1;
        o[i].course.max_length = 24;
        o[i].course.checkpoint_layers = AR_SWITCH_ON;
    }
    class *c = class_open(o, 3, 2);
    for (int t = 0; t < 2; t++) class_step(c);
    assert_int_equal(ar__learners_evaluate(&c->course, c->all, c->count, NULL), AR_OK);
    for (size_t i = 0; i < 3; i++) {
        o[i].course.micro_batch = 0;
        o[i].course.checkpoint_layers = AR_SWITCH_OFF;
        assert_same_as_alone(c, i, &o[i], 2);
    }
    class_close(c);
}

/* More than a batch has segments, of samples so short that all lie in one row. */
static void there_may_be_any_number_of_them(void **state) {
    static ar_train_options o[CLASS_MOST];
    (void)state;
    for (size_t i = 0; i < CLASS_MOST; i++) {
        o[i] = options();
        o[i].learner.seed = i;
        o[i].learner.rank = 1 + (int)i % 3;
        o[i].learner.targets = "q_proj";
        o[i].learner.batch = 1;
        o[i].course.micro_batch = CLASS_MOST;
        o[i].course.max_length = 4096;
    }
    assert_true(CLASS_MOST > 2 * AR_SEGMENTS);
    assert_all_same(o, CLASS_MOST, 2, 2);
}

static void pairs_are_compared_together(void **state) {
    ar_train_options o[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        o[i] = options();
        o[i].course.data.samples = o[i].course.eval_data.samples = pairs;
        o[i].course.data.sample_count = o[i].course.eval_data.sample_count = 3;
        o[i].course.micro_batch = 1;
        o[i].course.pack = false; /* pairs are parted */
        o[i].learner.preference.objective = (ar_objective)(AR_OBJECTIVE_DPO + i % 3);
        o[i].learner.preference.beta = 0.2 + 0.1 * (double)i;
    }
    assert_all_same(o, 4, 3, 2);
}

/* Pairs that begin with what W is: nothing at first, a frozen half that no step moves, and decay on the other alone. */
static void half_of_pissa_stands_still(void **state) {
    ar_train_options o[2] = {options(), options()};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        o[i].course.init = "pissa";
        o[i].learner.weight_decay = 0.1;
        o[i].learner.targets = "q_proj,down_proj,embed_tokens,lm_head";
    }
    o[1].learner.rank = 6;
    o[1].learner.optimizer = AR_OPTIMIZER_SGD;
    ar_train_options usual = options();
    class *plain = class_open(&usual, 1, 2), *c = class_open(o, 2, 2);
    const ar_adapter *ad = c->of[0].adapter;
    float *before[2][64];
    assert_true(ad->pair_count <= 64 && ad->pair[0].rank == 8 && ad->pair[0].scale == 2.0);
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        size_t a = 8 * (size_t)p->n_in * sizeof(float), b = 8 * (size_t)p->n_out * sizeof(float);
        before[0][i] = memcpy(malloc(a), p->a, a);
        before[1][i] = memcpy(malloc(b), p->b, b);
    }
    class_step(plain);
    class_step(c);
    for (size_t i = 0; i < 2; i++) assert_near(c->of[i].loss, plain->of[0].loss, 1e-6);
    for (int t = 1; t < 3; t++) class_step(c);
    for (size_t i = 0; i < ad->pair_count; i++) {
        const ar_pair *p = &ad->pair[i];
        size_t half = 4 * (size_t)p->n_in;
        assert_memory_equal(p->a + half, before[0][i] + half, half * sizeof(float));
        assert_memory_not_equal(p->a, before[0][i], half * sizeof(float));
        for (size_t j = 0; j < (size_t)p->n_out; j++) assert_memory_equal(p->b + 8 * j + 4, before[1][i] + 8 * j + 4, 4 * sizeof(float));
        assert_memory_not_equal(p->b, before[1][i], 4 * sizeof(float));
        free(before[0][i]);
        free(before[1][i]);
    }
    assert_int_equal(ar__learners_evaluate(&c->course, c->all, 2, NULL), AR_OK);
    for (size_t i = 0; i < 2; i++) assert_same_as_alone(c, i, &o[i], 3);
    class_close(c);
    class_close(plain);
}

/* One that diverges says so, and the others go on. */
static void one_may_fail_alone(void **state) {
    ar_train_options o[2] = {options(), options()};
    ar_error err;
    (void)state;
    o[1].learner.lr = 1e6;
    o[1].learner.optimizer = AR_OPTIMIZER_SGD;
    o[1].learner.clip = 0;
    o[1].learner.warmup = 0;
    o[1].learner.lr_ratio = 1e9;
    o[1].learner.weight_decay = 1e6;
    class *c = class_open(o, 2, 1);
    ar_learner *going[2] = {c->all[0], c->all[1]};
    size_t count = 2;
    for (int t = 0; t < 4; t++) {
        assert_ok(ar__learners_step(&c->course, going, count, &err), err);
        if (c->of[1].status) count = 1;
    }
    assert_int_equal(c->of[1].status, AR_ERR_NUMERIC);
    assert_non_null(strstr(c->of[1].error.message, "use a smaller --lr or --alpha"));
    assert_int_equal(c->of[0].step, 4);
    assert_int_equal(ar__learners_evaluate(&c->course, c->all, 1, NULL), AR_OK);
    assert_same_as_alone(c, 0, &o[0], 4);
    class_close(c);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------*/

/* Memory of k learners: base once + k · (value, gradient and two moments of each trained number) + activations of one micro-batch. */
enum { MEMORY_MOST = 8, HUGE_PAGE = 2 << 20 /* what gradients and activations are rounded up to */ };

#if defined(__SANITIZE_ADDRESS__)
#define MEASURED 0 /* its allocator keeps what was given back */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEASURED 0
#endif
#endif
#ifndef MEASURED
#define MEASURED 1
#endif

static void assert_within(int64_t found, int64_t wanted, int64_t below, int64_t above) {
    if (MEASURED && (found < wanted - below || found > wanted + above))
        fail_msg("found %lld bytes, wanted %lld", (long long)found, (long long)wanted);
}

static void a_further_learner_takes_its_state_alone(void **state) {
    ar_train_options o = options();
    class *c = calloc(1, sizeof *c);
    ar_error err;
    int64_t before = 0, now = 0, state_bytes = 0;
    size_t pass = 0;
    (void)state;
    assert_non_null(c);
    o.learner.rank = 64; /* a state of some 20 MB: the tables beside it are small */
    o.course.pack = false;
    o.course.micro_batch = 2;
    assert_ok(ar_runtime_new(&c->rt, &(ar_runtime_options){.threads = 1}, &err), err);
    assert_ok(ar__course_open(&c->course, c->rt, &o, AR_DATA_FIRST, &err), err);
    for (size_t k = 0; k < MEMORY_MOST; k++, c->count++) {
        before = ar__memory_anonymous();
        o.learner.seed = k;
        c->all[k] = &c->of[k];
        assert_ok(ar__learner_open(c->all[k], &c->course, &o, &err), err);
        ar__course_set_budget(&c->course);
        now = ar__memory_anonymous();
        state_bytes = (int64_t)(4 * sizeof(float) * c->of[k].list.total);
        if (k > 0) assert_within(now - before, state_bytes, 0, HUGE_PAGE); /* the first one takes what opening gave back, too */
        size_t bytes = ar__plan_choose(&c->course, (size_t)ar__dataset_longest(c->course.data)).bytes;
        if (k == 0) pass = bytes;
        assert_true(bytes >= pass && bytes - pass <= k * 1024); /* some numbers for each sample of the step */
    }
    before = now;
    assert_ok(ar__course_allocate(&c->course, &err), err);
    class_step(c);
    now = ar__memory_anonymous() - before;
    assert_within(now, (int64_t)c->course.choice.bytes, HUGE_PAGE, HUGE_PAGE + (int64_t)c->course.choice.packing);
    class_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_further_learner_takes_its_state_alone), /* first: before there is freed memory to take from */
        cmocka_unit_test(each_has_the_bits_that_it_has_alone),
        cmocka_unit_test(the_plan_changes_nothing),
        cmocka_unit_test(there_may_be_any_number_of_them),
        cmocka_unit_test(pairs_are_compared_together),
        cmocka_unit_test(half_of_pissa_stands_still),
        cmocka_unit_test(one_may_fail_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
