/* s as something that is learned: its slope against finite differences, groups, and what it becomes in the adapter. */
#include <math.h>
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
    {.prompt = "She", .completion = " went home to bed."},
};

static ar_train_options options(void) {
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    o.course.data.samples = samples;
    o.course.data.sample_count = 3;
    o.course.compute = AR_COMPUTE_F32;
    o.learner.rank = 4;
    o.learner.steps = 40;
    o.learner.batch = 3;
    o.learner.lr = 5e-3;
    o.learner.shuffle = false;
    o.learner.train_scale = true;
    return o;
}

static double loss_at(class *c, float *delta, float value) {
    ar_error err;
    ar_learner *l = c->all[0];
    *delta = value;
    ar__learner_refresh(l);
    assert_ok(ar__learners_gradients(&c->course, c->all, 1, &err), err);
    return l->loss;
}

/* Of plain pairs, with DoRA, of the embedding and the head. */
static void the_slope_of_s_is_that_of_the_loss(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        ar_train_options o = options();
        o.learner.targets = "q_proj,down_proj,embed_tokens,lm_head";
        o.learner.dora = kind == 1;
        class *c = class_open(&o, 1, 2);
        ar_learner *l = c->all[0];
        for (int t = 0; t < 4; t++) class_step(c); /* B is 0 before */
        ar_trainable *x = ar__trainables_scales(&l->list);
        assert_int_equal(x->count, 14);
        for (size_t g = 0; g < x->count; g += 3) {
            float at = x->value[g], step = 0.008f;
            loss_at(c, &x->value[g], at);
            double slope = (double)x->grad[g];
            double numeric = (loss_at(c, &x->value[g], at + step) - loss_at(c, &x->value[g], at - step)) / (2.0 * (double)step);
            loss_at(c, &x->value[g], at);
            /* DoRA's norm counts as a constant in backward, so that its slope is another one. */
            if (kind == 0) assert_near(slope, numeric, 2e-3 * fmax(1.0, fabs(numeric)));
            assert_true(isfinite(slope) && slope != 0.0);
        }
        class_close(c);
    }
}

static void groups_take_their_sites_together(void **state) {
    static const struct {
        ar_scale_groups groups;
        size_t count;
        const char *first;
    } cases[] = {{AR_SCALES_BY_SITE, 12, "model.layers.0.self_attn.q_proj"},
                 {AR_SCALES_BY_ROLE, 2, "q_proj"},
                 {AR_SCALES_BY_LAYER, 6, "layer 0"},
                 {AR_SCALES_AS_ONE, 1, "all"}};
    (void)state;
    ar_train_options o = options();
    ar_error err;
    o.learner.targets = "q_proj,up_proj";
    o.learner.train_scale = false;
    class *c = class_open(&o, 1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_scales s;
        float grad[12] = {0};
        assert_ok(ar__scales_open(&s, c->of[0].attachment, cases[i].groups, &err), err);
        assert_int_equal(s.count, cases[i].count);
        assert_string_equal(s.name[0], cases[i].first);
        for (size_t k = 0; k < 12; k++) s.slope[k] = 1.0;
        ar__scales_gather(grad, &s, c->of[0].attachment);
        assert_near(grad[0], 2.0 * 12.0 / (double)s.count, 1e-6); /* s is 2 */
        s.delta[0] = 0.5f;
        ar__scales_apply(&s, c->of[0].attachment, NULL);
        assert_near(c->of[0].adapter->pair[0].scale, 3.0, 1e-6);
        assert_near(c->of[0].adapter->pair[0].alpha, 12.0, 1e-6);
        s.delta[0] = 0.0f;
        ar__scales_apply(&s, c->of[0].attachment, NULL);
        ar__scales_release(&s);
    }
    class_close(c);
}

/* s rises in the ops, and is whole in the adapter; a run with a warm-up of one step is one without. */
static void alpha_warms_up(void **state) {
    ar_train_options o = options();
    (void)state;
    o.learner.train_scale = false;
    o.learner.alpha_warmup = 4;
    class *c = class_open(&o, 1, 1);
    for (int t = 1; t <= 6; t++) {
        class_step(c);
        const ar_learner *l = &c->of[0];
        assert_near(l->attachment->ops[l->attachment->module[0]].scale, 2.0 * (t < 4 ? t / 4.0 : 1.0), 1e-12);
        assert_true(l->adapter->pair[0].scale == 2.0 && l->eval_ops[l->attachment->module[0]].scale == 2.0);
    }
    class_close(c);
    double loss[2];
    for (int i = 0; i < 2; i++) {
        o.learner.alpha_warmup = i;
        c = class_open(&o, 1, 1);
        for (int t = 0; t < 3; t++) class_step(c);
        loss[i] = c->of[0].loss;
        class_close(c);
    }
    assert_true(loss[0] == loss[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_slope_of_s_is_that_of_the_loss),
                                       cmocka_unit_test(groups_take_their_sites_together), cmocka_unit_test(alpha_warms_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
