/* Which modules get a pair, without Python: the rules that tests/oracle/peft_files.py compares with PEFT. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "adapter/name_list.h"
#include "adapter/targets.h"
#include "base/mem.h"
#include "util.h"

/* embed, two layers of q, v, mlp.up, norm; head */
static const ar_module modules[] = {
    {.path = "model.embed_tokens", .kind = AR_MODULE_EMBEDDING, .layer = -1, .n_out = 40, .n_in = 8, .has_bias = false},
    {.path = "model.layers.0.attn.q", .kind = AR_MODULE_LINEAR, .layer = 0, .n_out = 6, .n_in = 8, .has_bias = true},
    {.path = "model.layers.0.attn.v", .kind = AR_MODULE_LINEAR, .layer = 0, .n_out = 4, .n_in = 8, .has_bias = false},
    {.path = "model.layers.0.mlp.up", .kind = AR_MODULE_LINEAR, .layer = 0, .n_out = 12, .n_in = 8, .has_bias = false},
    {.path = "model.layers.0.norm", .kind = AR_MODULE_NORM, .layer = 0, .n_out = 8, .n_in = 1, .has_bias = false},
    {.path = "model.layers.1.attn.q", .kind = AR_MODULE_LINEAR, .layer = 1, .n_out = 6, .n_in = 8, .has_bias = true},
    {.path = "model.layers.1.attn.v", .kind = AR_MODULE_LINEAR, .layer = 1, .n_out = 4, .n_in = 8, .has_bias = false},
    {.path = "model.layers.1.mlp.up", .kind = AR_MODULE_LINEAR, .layer = 1, .n_out = 12, .n_in = 8, .has_bias = false},
    {.path = "model.layers.1.norm", .kind = AR_MODULE_NORM, .layer = 1, .n_out = 8, .n_in = 1, .has_bias = false},
    {.path = "lm_head", .kind = AR_MODULE_HEAD, .layer = -1, .n_out = 40, .n_in = 8, .has_bias = false},
};
enum { COUNT = sizeof modules / sizeof *modules };
static const char *const defaults[] = {"q", "v"};

/* Names separated by spaces; an argument of none. */
static void names(ar_strings *out, const char *text) {
    char *copy = ar__strdup(text), *rest = NULL;
    for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) assert_true(ar__strings_add(out, w));
    free(copy);
}

static ar_adapter_settings settings(const char *targets, const char *exclude, const char *save) {
    ar_adapter_settings s;
    ar__settings_init(&s);
    s.rank = 2;
    s.alpha = 4;
    if (!strncmp(targets, "regex:", 6))
        s.targets.regex = ar__strdup(targets + 6);
    else if (!strcmp(targets, "all-linear"))
        s.targets.regex = ar__strdup(targets);
    else
        names(&s.targets.list, targets);
    names(&s.exclude.list, exclude);
    names(&s.save, save);
    return s;
}

static ar_status build(ar_adapter **out, ar_adapter_settings *s, ar_error *err) {
    ar_status status = ar__adapter_build(out, s, modules, COUNT, defaults, 2, 1, 2, err);
    ar__settings_release(s);
    return status;
}

/* wanted: digits, the indices of the modules with a pair. */
static void expect(ar_adapter_settings s, const char *wanted, const char *whole) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(build(&ad, &s, &err), err);
    assert_int_equal(ar_adapter_site_count(ad), strlen(wanted));
    for (int i = 0; wanted[i]; i++) assert_string_equal(ar_adapter_site(ad, i).name, modules[wanted[i] - '0'].path);
    ar_buf names_of = {0};
    for (int i = 0; i < ar_adapter_whole_count(ad); i++) ar__buf_printf(&names_of, "%s%s", i ? " " : "", ar_adapter_whole_name(ad, i));
    assert_string_equal(names_of.data ? names_of.data : "", whole);
    assert_ok(ar__adapter_check_base(ad, modules, COUNT, defaults, 2, &err), err);
    ar__buf_release(&names_of);
    ar_adapter_free(ad);
}

static void refuse(ar_adapter_settings s, ar_status status, const char *part) {
    ar_error err;
    ar_adapter *ad;
    assert_error(build(&ad, &s, &err), status, err, part);
    assert_null(ad);
}

static ar_adapter_settings in_layer(ar_adapter_settings s, int64_t layer) {
    s.layers = ar__alloc(1, sizeof *s.layers);
    s.layers[0] = layer;
    s.layer_count = 1;
    return s;
}

static void names_select_modules(void **state) {
    (void)state;
    expect(settings("", "", ""), "1256", "");
    expect(settings("q", "", ""), "15", "");
    expect(settings("attn.q up", "", ""), "1357", "");
    expect(settings("model.layers.1.attn.q lm_head embed_tokens", "", ""), "059", "");
    expect(settings("all-linear", "", ""), "123567", "");
    expect(settings("all-linear", "v layers.0.mlp.up", ""), "157", "");
    expect(settings("regex:.*layers\\.1\\.(attn|mlp)\\.\\w+", "", ""), "567", "");
}

static void layers_narrow(void **state) {
    (void)state;
    expect(in_layer(settings("q", "", ""), 1), "5", "");
    expect(in_layer(settings("q model.layers.0.attn.v", "", ""), 1), "25", "");
    expect(in_layer(settings("all-linear", "", ""), 0), "123", "");
    refuse(in_layer(settings("regex:.*q", "", ""), 0), AR_ERR_VALUE, "cannot be narrowed by layers");
    refuse(in_layer(settings("q", "", ""), 7), AR_ERR_NOT_FOUND, "that exclude, layers and modules_to_save leave");
}

static void whole_modules_get_no_pair(void **state) {
    (void)state;
    expect(settings("q lm_head", "", "lm_head"), "15", "lm_head.weight");
    expect(settings("q up", "", "layers.0"), "57",
           "model.layers.0.attn.q.weight model.layers.0.attn.q.bias model.layers.0.attn.v.weight model.layers.0.mlp.up.weight "
           "model.layers.0.norm.weight");
    refuse(settings("q lm_head", "", "head"), AR_ERR_VALUE, "both adapted and saved whole");
    refuse(settings("q", "", "typo"), AR_ERR_NOT_FOUND, "'typo' matches no module");
}

static void nothing_to_adapt_lists_what_there_is(void **state) {
    (void)state;
    refuse(settings("query", "", ""), AR_ERR_NOT_FOUND, "targets: 'query' matches no module; there are: q, up, v, lm_head, embed_tokens");
    refuse(settings("norm", "", ""), AR_ERR_UNSUPPORTED, "'model.layers.0.norm' is a norm");
    refuse(settings("mlp", "", ""), AR_ERR_UNSUPPORTED, "'model.layers.0.mlp' is a module that holds others");
    refuse(settings("regex:(", "", ""), AR_ERR_VALUE, "pattern '('");
    refuse(settings("regex:(\\w|[a-z_]|.)+[A-Z]", "", ""), AR_ERR_VALUE, "match limit");
}

/* One name that means nothing beside others that do is a slip that PEFT lets pass. */
static void refuse_name(ar_adapter_settings s, const char *part) {
    ar_error err;
    const ar_module_list base = {modules, COUNT, NULL, 0};
    assert_error(ar__targets_check_names(&s, &base, &err), AR_ERR_NOT_FOUND, err, part);
    ar__settings_release(&s);
}

static void every_name_means_something(void **state) {
    (void)state;
    refuse_name(settings("q up_", "", ""), "targets: 'up_' matches no module of the base; there are: up, ");
    refuse_name(settings("q all-linear", "", ""), "all-linear stands alone");
    refuse_name(settings("all-linear", "v vv", ""), "exclude: 'vv' matches no module of the base; there are: v, ");
    refuse_name(settings("all-linear", "mlp", ""), "exclude: 'mlp' matches no module");
    refuse(settings("q", "", "lm_head norn"), AR_ERR_NOT_FOUND, "modules_to_save: 'norn' matches no module of the base; there are: norm, ");
    ar_adapter_settings s = settings("all-linear", "", "");
    s.exclude.regex = ar__strdup("nothing");
    refuse_name(s, "exclude: the pattern 'nothing' matches no whole module path");
}

static ar_status parse(ar_names *out, const char *text, ar_error *err) {
    *out = (ar_names){0};
    return ar__names_parse(out, "targets", text, err);
}

static void typed_names_are_trimmed(void **state) {
    (void)state;
    ar_names n;
    ar_error err;
    assert_ok(parse(&n, " q_proj , v_proj\t", &err), err);
    assert_int_equal(n.list.count, 2);
    assert_string_equal(n.list.at[0], "q_proj");
    assert_string_equal(n.list.at[1], "v_proj");
    ar__strings_release(&n.list);
    assert_ok(parse(&n, " regex: .*q,v ", &err), err);
    assert_string_equal(n.regex, ".*q,v");
    free(n.regex);
    assert_ok(parse(&n, " All-Linear", &err), err);
    assert_string_equal(n.regex, "All-Linear");
    free(n.regex);
    static const char *const empty[] = {"", " ", "q,", ",q", "q, ,v"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        assert_error(parse(&n, empty[i], &err), AR_ERR_USAGE, err, "with an empty name");
        ar__strings_release(&n.list);
    }
    assert_error(parse(&n, "regex: ", &err), AR_ERR_USAGE, err, "wanted a pattern behind regex:");
}

static void biases_by_mode(void **state) {
    (void)state;
    ar_adapter_settings s = settings("q v", "", "");
    s.bias = AR_BIAS_ALL;
    expect(s, "1256", "model.layers.0.attn.q.bias model.layers.1.attn.q.bias");
    s = settings("v model.layers.0.attn.q", "", "");
    s.bias = AR_BIAS_LORA_ONLY;
    expect(s, "126", "model.layers.0.attn.q.bias");
}

/* What is written for all-linear and for the default selects the same modules in any release. */
static void targets_are_described(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_adapter_settings s = in_layer(settings("all-linear", "", ""), 0);
    assert_ok(build(&ad, &s, &err), err);
    assert_null(ad->settings.targets.regex);
    assert_int_equal(ad->settings.targets.list.count, 3);
    assert_string_equal(ad->settings.targets.list.at[2], "up");
    assert_int_equal(ad->settings.layer_count, 1);
    assert_string_equal(ad->settings.task_type, "CAUSAL_LM");
    ar_adapter_free(ad);
}

static void patterns_decide_rank_and_alpha(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_adapter_settings s = settings("q v", "", "");
    assert_true(ar__patterns_add(&s.rank_pattern, "0.attn.q", 5) && ar__patterns_add(&s.rank_pattern, "q", 3));
    assert_true(ar__patterns_add(&s.alpha_pattern, "(q|v)", 0.5) && ar__patterns_add(&s.alpha_pattern, "0.attn.q", 9));
    assert_ok(build(&ad, &s, &err), err);
    assert_int_equal(ad->pair[0].rank, 5);
    assert_int_equal(ad->pair[1].rank, 2);
    assert_int_equal(ad->pair[2].rank, 3);
    assert_true(ad->pair[0].alpha == 0.5 && ad->pair[0].scale == 0.1);
    ar_adapter_free(ad);
    s = settings("q", "", "");
    assert_true(ar__patterns_add(&s.rank_pattern, "q", 0.5));
    refuse(s, AR_ERR_VALUE, "rank 0.5 for 'model.layers.0.attn.q'");
    s = settings("q", "", "");
    s.rank = 0;
    refuse(s, AR_ERR_VALUE, "rank: 0, wanted at least 1");
    s = settings("q", "", "");
    s.alpha = (double)NAN;
    refuse(s, AR_ERR_VALUE, "alpha: nan");
}

static void another_base_is_noticed(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_module other[COUNT];
    ar_adapter_settings s = settings("q", "", "lm_head");
    assert_ok(build(&ad, &s, &err), err);
    memcpy(other, modules, sizeof other);
    other[1].n_in = 9;
    assert_error(ar__adapter_check_base(ad, other, COUNT, defaults, 2, &err), AR_ERR_MISMATCH, err,
                 "weight of [6, 8], the base has [6, 9]");
    other[1] = (ar_module){.path = "model.layers.0.attn.query", .kind = AR_MODULE_LINEAR, .n_out = 6, .n_in = 8, .has_bias = true};
    assert_error(ar__adapter_check_base(ad, other, COUNT, defaults, 2, &err), AR_ERR_MISMATCH, err,
                 "'model.layers.0.attn.q': the base has no such module");
    memcpy(other, modules, sizeof other);
    other[9].n_out = 41;
    assert_error(ar__adapter_check_base(ad, other, COUNT, defaults, 2, &err), AR_ERR_MISMATCH, err, "'lm_head.weight'");
    ar__strings_release(&ad->settings.targets.list);
    assert_true(ar__strings_add(&ad->settings.targets.list, "v"));
    assert_error(ar__adapter_check_base(ad, modules, COUNT, defaults, 2, &err), AR_ERR_MISMATCH, err, "do not select it");
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_select_modules),
        cmocka_unit_test(layers_narrow),
        cmocka_unit_test(whole_modules_get_no_pair),
        cmocka_unit_test(nothing_to_adapt_lists_what_there_is),
        cmocka_unit_test(every_name_means_something),
        cmocka_unit_test(typed_names_are_trimmed),
        cmocka_unit_test(biases_by_mode),
        cmocka_unit_test(targets_are_described),
        cmocka_unit_test(patterns_decide_rank_and_alpha),
        cmocka_unit_test(another_base_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
