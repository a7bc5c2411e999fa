/* Recipes and their words in other tools: solving, equal updates under Adam and SGD, other ranks, what is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "alphar/advise.h"
#include "util.h"

static ar_recipe recipe(int rank, double alpha, ar_policy policy) {
    ar_error err;
    ar_recipe r = {.rank = rank, .alpha = alpha, .policy = policy, .lr = 2e-4, .lr_ratio = 1};
    assert_ok(ar_recipe_solve(&r, &err), err);
    return r;
}

static const ar_advice_tool *tool(const ar_advice *a, const char *key) {
    for (int i = 0; i < AR_ADVICE_TOOLS; i++)
        if (!strcmp(a->tools[i].key, key)) return &a->tools[i];
    fail_msg("no tool '%s'", key);
    return NULL;
}

static double setting(const ar_advice *a, const char *key, const char *name) {
    const ar_advice_tool *t = tool(a, key);
    for (int i = 0; i < t->value_count; i++)
        if (!strcmp(t->value[i].name, name)) return t->value[i].value;
    return NAN;
}

static bool has_note(const ar_advice_note *list, int count, const char *code) {
    for (int i = 0; i < count; i++)
        if (!strcmp(list[i].code, code)) return true;
    return false;
}

static void two_of_three_give_the_third(void **state) {
    (void)state;
    ar_error err;
    ar_recipe r = {.rank = 16, .scale = 0.5, .lr_ratio = 1};
    assert_ok(ar_recipe_solve(&r, &err), err);
    assert_true(r.alpha == 8);
    r = (ar_recipe){.alpha = 8, .scale = 2, .policy = AR_POLICY_RSLORA, .lr_ratio = 1};
    assert_ok(ar_recipe_solve(&r, &err), err);
    assert_int_equal(r.rank, 16);
    r = recipe(7, 4.5, AR_POLICY_STANDARD);
    assert_true(r.scale == 4.5 / 7);
}

static void what_is_missing_or_contradicts_is_said(void **state) {
    (void)state;
    ar_error err;
    assert_error(ar_recipe_solve(&(ar_recipe){.rank = 8, .lr_ratio = 1}, &err), AR_ERR_USAGE, err, "found none, wanted --alpha");
    assert_error(ar_recipe_solve(&(ar_recipe){.lr_ratio = 1}, &err), AR_ERR_USAGE, err, "with --rank (or --adapter)");
    assert_error(ar_recipe_solve(&(ar_recipe){.alpha = 8, .lr_ratio = 1}, &err), AR_ERR_USAGE, err, "wanted --rank");
    assert_error(ar_recipe_solve(&(ar_recipe){.rank = 8, .alpha = 16, .scale = 1, .lr_ratio = 1}, &err), AR_ERR_USAGE, err, "gives s = 2");
    assert_error(ar_recipe_solve(&(ar_recipe){.alpha = 16, .scale = 3, .lr_ratio = 1}, &err), AR_ERR_USAGE, err, "whole number");
    assert_error(ar_recipe_solve(&(ar_recipe){.rank = 8, .alpha = NAN, .lr_ratio = 1}, &err), AR_ERR_USAGE, err, "alpha: found");
    assert_error(ar_recipe_solve(&(ar_recipe){.rank = 8, .alpha = -4, .lr_ratio = 1}, &err), AR_ERR_USAGE, err, "alpha: found -4");
    assert_error(ar_recipe_solve(&(ar_recipe){.rank = 8, .alpha = 4}, &err), AR_ERR_USAGE, err, "lr-ratio");
}

/* Every tool that trains: s, ratio and s·ratio as the derivation has them, whatever it lacks. */
static void check_equal(const ar_recipe *r) {
    ar_error err;
    ar_advice *a = malloc(sizeof *a);
    double power = r->optimizer == AR_OPTIMIZER_SGD ? 2 : 1;
    assert_non_null(a);
    assert_ok(ar_advise(a, r, &err), err);
    for (int i = 0; i < AR_ADVICE_TOOLS - 1; i++) { /* the last is llama.cpp */
        const ar_advice_tool *t = &a->tools[i];
        double ratio = setting(a, t->key, "loraplus_lr_ratio");
        if (isnan(ratio)) ratio = 1;
        assert_near(pow(t->scale, power) * ratio / (pow(r->scale, power) * r->lr_ratio), 1, 1e-12);
        assert_near(t->b_factor * t->scale / r->scale, 1, 1e-12);
        assert_true(setting(a, t->key, "learning_rate") == r->lr);
    }
    const char *alphas[][4] = {{"peft", "r", "lora_alpha", "use_rslora"},
                               {"unsloth", "r", "lora_alpha", "use_rslora"},
                               {"axolotl", "lora_r", "lora_alpha", "peft_use_rslora"},
                               {"llama_factory", "lora_rank", "lora_alpha", "use_rslora"},
                               {"kohya", "network_dim", "network_alpha", ""}};
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        double rank = setting(a, alphas[i][0], alphas[i][1]), alpha = setting(a, alphas[i][0], alphas[i][2]);
        bool rslora = setting(a, alphas[i][0], alphas[i][3]) > 0;
        assert_true(rank == r->rank);
        assert_near(alpha / (rslora ? sqrt(rank) : rank) / tool(a, alphas[i][0])->scale, 1, 1e-12);
    }
    assert_true(setting(a, "mlx", "scale") == tool(a, "mlx")->scale);
    assert_near(setting(a, "llama_cpp", "adapter.lora.alpha") / r->rank / r->scale, 1, 1e-12);
    assert_true(setting(a, "axolotl", "lora_alpha") == round(setting(a, "axolotl", "lora_alpha")));
    free(a);
}

static void every_tool_gets_an_equal_training(void **state) {
    (void)state;
    const double alphas[] = {0.01, 1, 4.5, 16, 22.627416997969522, 128}, ratios[] = {0.5, 1, 4, 16};
    const int ranks[] = {1, 7, 16, 64};
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++)
        for (size_t j = 0; j < sizeof ratios / sizeof *ratios; j++)
            for (size_t k = 0; k < sizeof ranks / sizeof *ranks; k++)
                for (int m = 0; m < 4; m++) {
                    ar_recipe r = recipe(ranks[k], alphas[i], m & 1 ? AR_POLICY_RSLORA : AR_POLICY_STANDARD);
                    r.lr_ratio = ratios[j];
                    r.optimizer = m & 2 ? AR_OPTIMIZER_SGD : AR_OPTIMIZER_ADAMW;
                    check_equal(&r);
                }
}

static void the_words_are_each_tools_own(void **state) {
    (void)state;
    ar_error err;
    ar_advice a;
    ar_recipe r = recipe(16, 8, AR_POLICY_RSLORA);
    r.lr_ratio = 4;
    assert_ok(ar_advise(&a, &r, &err), err);
    assert_string_equal(tool(&a, "peft")->text,
                        "LoraConfig(r=16, lora_alpha=8, use_rslora=True), learning_rate=0.0002, loraplus_lr_ratio=4");
    assert_string_equal(tool(&a, "unsloth")->text, "get_peft_model(model, r=16, lora_alpha=32, use_rslora=True), learning_rate=0.0002");
    assert_string_equal(tool(&a, "axolotl")->text,
                        "lora_r: 16, lora_alpha: 8, peft_use_rslora: true, learning_rate: 0.0002, loraplus_lr_ratio: 4");
    assert_string_equal(tool(&a, "mlx")->text, "lora_parameters: {rank: 16, scale: 8}, learning_rate: 0.0002");
    assert_string_equal(tool(&a, "kohya")->text,
                        "--network_dim 16 --network_alpha 32 --learning_rate 0.0002 --network_args loraplus_lr_ratio=4");
    assert_string_equal(tool(&a, "llama_cpp")->text, "adapter.lora.alpha 32 in the file, --lora-scaled FILE:1");
    assert_non_null(strstr(tool(&a, "llama_cpp")->notes[1], "--lora-scaled FILE:4"));
    assert_non_null(strstr(tool(&a, "kohya")->notes[0], "no rsLoRA"));
}

static void fractions_are_said_where_they_do_not_fit(void **state) {
    (void)state;
    ar_error err;
    ar_advice a;
    ar_recipe r = recipe(8, 5.25, AR_POLICY_STANDARD);
    assert_ok(ar_advise(&a, &r, &err), err);
    assert_true(setting(&a, "peft", "lora_alpha") == 5.25 && setting(&a, "axolotl", "lora_alpha") == 5);
    assert_near(setting(&a, "axolotl", "loraplus_lr_ratio"), 1.05, 1e-12);
    assert_non_null(strstr(tool(&a, "axolotl")->notes[0], "5.25 is rejected"));
    assert_non_null(strstr(tool(&a, "llama_factory")->notes[0], "YAML"));
    assert_int_equal(tool(&a, "llama_cpp")->note_count, 1); /* 5.25 is an f32 */
    r = recipe(8, 5.3, AR_POLICY_STANDARD);
    assert_ok(ar_advise(&a, &r, &err), err);
    assert_non_null(strstr(tool(&a, "llama_cpp")->notes[1], "stored as f32"));
}

static void conventions_are_recognised(void **state) {
    (void)state;
    const struct {
        int rank;
        double alpha;
        ar_policy policy;
        const char *codes[3];
        int count;
    } cases[] = {{8, 16, AR_POLICY_STANDARD, {"alpha_2r", "loralib", "alpha_16"}, 3},
                 {16, 16, AR_POLICY_STANDARD, {"alpha_r", "alpha_16"}, 2},
                 {64, 16, AR_POLICY_STANDARD, {"qlora", "alpha_16"}, 2},
                 {64, 32, AR_POLICY_STANDARD, {"alpha_32"}, 1},
                 {16, 8, AR_POLICY_RSLORA, {"alpha_2r", "alpha_32"}, 2},
                 {5, 7, AR_POLICY_STANDARD, {NULL}, 0}};
    ar_error err;
    ar_advice a;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_recipe r = recipe(cases[i].rank, cases[i].alpha, cases[i].policy);
        assert_ok(ar_advise(&a, &r, &err), err);
        assert_int_equal(a.convention_count, cases[i].count);
        for (int j = 0; j < cases[i].count; j++) assert_true(has_note(a.conventions, a.convention_count, cases[i].codes[j]));
    }
    ar_recipe r = recipe(5, 70, AR_POLICY_STANDARD);
    r.lr_ratio = 16;
    assert_ok(ar_advise(&a, &r, &err), err);
    assert_true(has_note(a.conventions, a.convention_count, "loraplus") && has_note(a.warnings, a.warning_count, "scale_large"));
    assert_true(ar_recipe_ratio(&r) == 14 * 16);
    r.optimizer = AR_OPTIMIZER_SGD;
    assert_true(ar_recipe_ratio(&r) == 14 * 14 * 16);
    assert_ok(ar_advise(&a, &r, &err), err);
    assert_false(has_note(a.assumptions, a.assumption_count, "epsilon"));
}

static void another_rank_keeps_what_is_asked(void **state) {
    (void)state;
    ar_error err;
    ar_recipe r = recipe(16, 32, AR_POLICY_STANDARD), to;
    assert_ok(ar_recipe_to_rank(&to, &r, 64, AR_KEEP_SCALE, &err), err);
    assert_true(to.alpha == 128 && to.scale == 2 && to.lr == r.lr);
    assert_ok(ar_recipe_to_rank(&to, &r, 64, AR_KEEP_RSLORA, &err), err);
    assert_true(to.alpha == 64 && to.scale == 1 && to.lr == r.lr);
    assert_ok(ar_recipe_to_rank(&to, &r, 64, AR_KEEP_SCALE_LR, &err), err);
    assert_true(to.alpha == 32 && to.scale == 0.5 && to.lr == 4 * r.lr);
    ar_recipe rs = recipe(16, 7.3, AR_POLICY_RSLORA);
    assert_ok(ar_recipe_to_rank(&to, &rs, 100, AR_KEEP_RSLORA, &err), err);
    assert_true(to.alpha == 7.3);
    assert_near(to.scale, 0.73, 1e-15);
    assert_ok(ar_recipe_to_rank(&to, &rs, 64, AR_KEEP_SCALE, &err), err);
    assert_near(to.alpha, 14.6, 1e-14);
    r.lr = 0;
    assert_error(ar_recipe_to_rank(&to, &r, 64, AR_KEEP_SCALE_LR, &err), AR_ERR_USAGE, err, "wanted --lr");
    assert_error(ar_recipe_to_rank(&to, &r, 0, AR_KEEP_SCALE, &err), AR_ERR_USAGE, err, "to-rank");
}

static void an_adapter_is_read_by_its_most_common_site(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_recipe r;
    ar_recipe_group *groups;
    int count;
    const char *names[] = {"m.a", "m.b", "m.c"};
    assert_ok(ar__adapter_new(&ad, &err), err);
    assert_error(ar_recipe_from_adapter(&r, &groups, &count, ad, &err), AR_ERR_VALUE, err, "no site");
    assert_null(groups);
    for (int i = 0; i < 3; i++) {
        ar_pair_shape shape = {
            .site = names[i], .n_in = 8, .n_out = 6, .rank = i ? 4 : 8, .alpha = 16, .is_embedding = i == 2, .dora = i == 1};
        assert_ok(ar__adapter_add_pair(NULL, ad, &shape, &err), err);
    }
    assert_ok(ar__adapter_set_note(ad, "train.lr", "0.003", &err), err);
    assert_ok(ar_recipe_from_adapter(&r, &groups, &count, ad, &err), err);
    assert_int_equal(count, 2);
    assert_true(groups[0].sites == 2 && groups[0].rank == 4 && groups[1].sites == 1 && groups[1].scale == 2);
    assert_true(r.rank == 4 && r.scale == 4 && r.lr == 0.003 && r.lr_ratio == 1 && r.dora && r.embedding);
    free(groups);
    ar_adapter_free(ad);
}

static void alphas_that_tools_read_differently_are_refused(void **state) {
    (void)state;
    ar_error err;
    ar_advice a;
    ar_recipe r = recipe(8, 16, AR_POLICY_STANDARD);
    r.alpha = r.scale = 0;
    assert_error(ar_advise(&a, &r, &err), AR_ERR_VALUE, err, "no two tools agree");
    r.alpha = -16;
    r.scale = -2;
    assert_error(ar_advise(&a, &r, &err), AR_ERR_VALUE, err, "alpha -16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_of_three_give_the_third),
        cmocka_unit_test(what_is_missing_or_contradicts_is_said),
        cmocka_unit_test(every_tool_gets_an_equal_training),
        cmocka_unit_test(the_words_are_each_tools_own),
        cmocka_unit_test(fractions_are_said_where_they_do_not_fit),
        cmocka_unit_test(conventions_are_recognised),
        cmocka_unit_test(another_rank_keeps_what_is_asked),
        cmocka_unit_test(an_adapter_is_read_by_its_most_common_site),
        cmocka_unit_test(alphas_that_tools_read_differently_are_refused),
    };
    return cmocka_run_group_tests_name("algebra_advise", tests, NULL, NULL);
}
