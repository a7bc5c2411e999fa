/* Inspecting, comparing and rescaling against dense arithmetic in double. */
#include "alphar/algebra.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "dense.h"
#include "kern/runtime.h"
#include "util.h"

static ar_runtime *rt;

static int start(void **state) {
    (void)state;
    return ar_runtime_new(&rt, NULL, NULL) != AR_OK;
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    return 0;
}

/* Three sites; the second has twice the rank under the same alpha. */
static ar_adapter *make(double alpha, uint64_t seed) {
    static const struct {
        const char *name;
        int rank;
    } sites[] = {{"model.layers.0.self_attn.q_proj", 4}, {"model.layers.0.mlp.up_proj", 8}, {"model.layers.1.self_attn.q_proj", 4}};
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    for (size_t i = 0; i < 3; i++) {
        dense_add_pair(ad, &(ar_pair_shape){.site = sites[i].name, .n_out = 70, .n_in = 33, .rank = sites[i].rank, .alpha = alpha},
                       seed + 10 * i);
    }
    ad->settings.rank = 4;
    ad->settings.alpha = alpha;
    return ad;
}

/* s·B·A, dense; caller frees. */
static double *dense(const ar_pair *p) {
    double *d = calloc((size_t)(p->n_out * p->n_in), sizeof *d);
    dense_add_update(d, p, 1);
    return d;
}

static void figures_are_those_of_the_dense_update(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = make(6, 1);
    ar_inspection x;
    assert_ok(ar_adapter_inspect(&x, ad, rt, NULL, &err), err);
    assert_int_equal(x.count, 3);
    double squares = 0;
    for (size_t i = 0; i < 3; i++) {
        double *d = dense(&ad->pair[i]), n = dense_norm(d, 70 * 33);
        assert_near(x.sites[i].norm_update, n, 1e-9 * n);
        assert_true(x.sites[i].stable_rank > 1 && x.sites[i].stable_rank <= ad->pair[i].rank);
        assert_true(x.sites[i].rank_90 <= x.sites[i].rank_99 && x.sites[i].rank_99 <= ad->pair[i].rank && x.sites[i].rank_90 > 1);
        assert_true(isnan(x.sites[i].strength));
        squares += n * n;
        free(d);
    }
    assert_near(x.norm_update, sqrt(squares), 1e-6);
    assert_true(x.scale_min == 0.75 && x.scale_max == 1.5 && x.rank_max == 8 && x.parameters == 103 * 16);
    assert_int_equal(x.warning_count, 1);
    assert_string_equal(x.warnings[0].code, "rank_pattern_alone");
    assert_non_null(strstr(x.warnings[0].text, "rank 8 s 0.75 at 1"));
    ar_inspection_release(&x);
    ar_adapter_free(ad);
}

static bool warns(const ar_inspection *x, const char *code) {
    for (size_t i = 0; i < x->warning_count; i++)
        if (!strcmp(x->warnings[i].code, code)) return true;
    return false;
}

static void odd_adapters_are_warned_about(void **state) {
    (void)state;
    static const struct {
        double scale;
        const char *code;
    } cases[] = {{0, "alpha_zero"}, {-1, "alpha_negative"}, {0.05, "scale_small"}, {9, "scale_large"}, {0.33, "alpha_fractional"}};
    ar_error err;
    ar_inspection x;
    ar_adapter *ad = make(4, 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(ar_adapter_set_scale(ad, cases[i].scale, &err), err);
        assert_ok(ar_adapter_inspect(&x, ad, rt, NULL, &err), err);
        assert_true(warns(&x, cases[i].code));
        assert_false(warns(&x, "untrained"));
        ar_inspection_release(&x);
    }
    memset(ad->pair[0].b, 0, 70 * 4 * sizeof(float));
    for (size_t i = 0; i < 33u * 8; i++) ad->pair[1].a[i] = ad->pair[1].a[i % 33]; /* rank 1 in the place of 8 */
    assert_ok(ar_adapter_inspect(&x, ad, rt, NULL, &err), err);
    assert_true(warns(&x, "untrained") && warns(&x, "rank_unused"));
    assert_true(x.sites[0].norm_update == 0 && x.sites[0].rank_90 == 0 && x.sites[1].rank_99 == 1);
    assert_near(x.sites[1].stable_rank, 1, 1e-6);
    ar_inspection_release(&x);
    ar_adapter_free(ad);
}

static void differences_are_those_of_the_dense_updates(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *a = make(6, 1), *b = make(5, 1), *c = make(6, 2);
    ar_difference d;
    assert_ok(ar_adapter_diff(&d, a, a, rt, &err), err);
    assert_true(d.count == 3 && d.max_relative == 0);
    ar_difference_release(&d);
    assert_ok(ar_adapter_diff(&d, a, b, rt, &err), err);
    assert_near(d.max_relative, 1.0 / 6, 1e-6);
    ar_difference_release(&d);
    free(c->pair[2].site);
    c->pair[2].site = strdup("other");
    assert_ok(ar_adapter_diff(&d, a, c, rt, &err), err);
    assert_true(d.count == 2 && d.only_in_a_count == 1 && d.only_in_b_count == 1);
    assert_string_equal(d.only_in_b[0], "other");
    double *x = dense(&a->pair[1]), *y = dense(&c->pair[1]), largest = 0;
    for (size_t i = 0; i < 70 * 33; i++) largest = fmax(largest, fabs(x[i] - y[i]));
    assert_near(d.sites[1].relative, dense_distance(x, y, 70 * 33) / dense_norm(x, 70 * 33), 1e-5);
    assert_near(d.sites[1].max_abs, largest, 1e-4);
    free(x);
    free(y);
    ar_difference_release(&d);
    c->pair[0].n_in = 11;
    assert_error(ar_adapter_diff(&d, a, c, rt, &err), AR_ERR_MISMATCH, err, "q_proj");
    c->pair[0].n_in = 33;
    ar_adapter_free(a);
    ar_adapter_free(b);
    ar_adapter_free(c);
}

static ar_adapter *rescaled(ar_rescale_options o, size_t want) {
    ar_error err;
    size_t changed;
    ar_adapter *ad = make(6, 1);
    assert_ok(ar_adapter_rescale(&changed, ad, rt, &o, &err), err);
    assert_int_equal(changed, want);
    return ad;
}

static void alpha_is_set_as_asked(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = rescaled((ar_rescale_options){.kind = AR_RESCALE_ALPHA, .value = 0.7}, 3);
    assert_true(ad->pair[0].alpha == 0.7 && ad->pair[1].scale == 0.7 / 8 && ad->settings.alpha == 0.7);
    ar_adapter_free(ad);
    ad = rescaled((ar_rescale_options){.kind = AR_RESCALE_SCALE, .value = -2, .sites = "q_proj"}, 2);
    assert_true(ad->pair[0].scale == -2 && ad->pair[1].scale == 0.75 && ad->pair[2].alpha == -8);
    ar_adapter_free(ad);
    ad = rescaled((ar_rescale_options){.kind = AR_RESCALE_FACTOR, .value = 3}, 3);
    assert_true(ad->pair[0].scale == 4.5 && ad->pair[1].scale == 2.25);
    ar_adapter_rescale(NULL, ad, rt, &(ar_rescale_options){.kind = AR_RESCALE_SCALE, .value = 1, .sites = "v_proj"}, &err);
    assert_error(err.status, AR_ERR_VALUE, err, "no site matches 'v_proj'");
    assert_error(ar_adapter_rescale(NULL, ad, rt, &(ar_rescale_options){.value = NAN}, &err), AR_ERR_NUMERIC, err, "finite");
    assert_error(ar_adapter_rescale(NULL, ad, rt, &(ar_rescale_options){.kind = AR_RESCALE_STRENGTH, .value = 1}, &err), AR_ERR_USAGE, err,
                 "--model");
    ar_adapter_free(ad);
}

static void the_function_is_kept_in_b(void **state) {
    (void)state;
    ar_error err;
    ar_difference d;
    ar_adapter *before = make(6, 1);
    ar_adapter *ad = rescaled((ar_rescale_options){.kind = AR_RESCALE_ALPHA, .value = 100, .keep_function = true, .scratch = "/tmp"}, 3);
    assert_true(ad->pair[0].scale == 25 && !ad->pair[0].b); /* waits in the spool */
    assert_ok(ar_adapter_diff(&d, before, ad, rt, &err), err);
    assert_true(d.max_relative < 1e-7);
    ar_difference_release(&d);
    assert_error(ar_adapter_rescale(NULL, ad, rt, &(ar_rescale_options){.kind = AR_RESCALE_SCALE, .keep_function = true}, &err),
                 AR_ERR_VALUE, err, "no B keeps the function");
    ar_adapter_free(ad);
    ar_adapter_free(before);
}

#define CONCLUDE_SITES 2
static ar_adapter *with_scales(const double *alpha, ar_policy policy, int rank, uint64_t seed) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    for (uint64_t i = 0; i < CONCLUDE_SITES; i++) {
        char name[60];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.q_proj", (int)i);
        ar_pair_shape shape = {.site = name, .n_out = 12, .n_in = 9, .rank = i ? rank : 4, .alpha = alpha[i], .policy = policy};
        dense_add_pair(ad, &shape, seed + i * 2);
    }
    ad->settings.rank = 4;
    ad->settings.alpha = alpha[0];
    ad->settings.policy = policy;
    return ad;
}

/* What a person should conclude: the codes of the factors that conversions lose. */
static void a_difference_ends_in_a_conclusion(void **state) {
    (void)state;
    static const struct {
        double a[2], b[2];
        ar_policy pa, pb;
        int rank;
        uint64_t seed;
        const char *code, *part;
    } cases[] = {{{8, 8}, {8, 8}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 1, "same", "everywhere"},
                 {{8, 8}, {8, 8}, AR_POLICY_RSLORA, AR_POLICY_STANDARD, 4, 1, "rslora_lost", "times 0.5 (1/2) everywhere, which is 1/√4"},
                 {{8, 8}, {8, 8}, AR_POLICY_RSLORA, AR_POLICY_STANDARD, 9, 1, "rslora_lost", "is 1/√r at every site"},
                 {{8, 8}, {8, 8}, AR_POLICY_STANDARD, AR_POLICY_RSLORA, 4, 1, "rslora_gained", "√4"},
                 {{12, 12}, {4, 4}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 1, "alpha_lost", "has it lost its alpha"},
                 {{12, 12}, {-12, -12}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 1, "sign", "the sign is turned"},
                 {{12, 12}, {30, 30}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 1, "factor", "times 2.5 everywhere"},
                 {{12, 12}, {12, 3}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 1, "factors_differ", "0.25 (1/4) to 1 by site"},
                 {{12, 12}, {12, 0}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 1, "off", "the second at 1 of 2 sites"},
                 {{8, 8}, {8, 8}, AR_POLICY_STANDARD, AR_POLICY_STANDARD, 4, 50, "different", "different updates: cosine"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_error err;
        ar_difference d;
        ar_adapter *a = with_scales(cases[i].a, cases[i].pa, cases[i].rank, 1);
        ar_adapter *b = with_scales(cases[i].b, cases[i].pb, cases[i].rank, cases[i].seed);
        assert_ok(ar_adapter_diff(&d, a, b, rt, &err), err);
        assert_string_equal(d.code, cases[i].code);
        if (!strstr(d.conclusion, cases[i].part)) fail_msg("'%s' lacks '%s'", d.conclusion, cases[i].part);
        ar_difference_release(&d);
        ar_adapter_free(a);
        ar_adapter_free(b);
    }
}

/* Against the dense updates. */
static void cosine_and_factor_are_those_of_the_dense_updates(void **state) {
    (void)state;
    ar_error err;
    ar_difference d;
    ar_adapter *a = with_scales((double[]){8, 8}, AR_POLICY_STANDARD, 4, 1), *b = with_scales((double[]){3, 3}, AR_POLICY_STANDARD, 4, 50);
    assert_ok(ar_adapter_diff(&d, a, b, rt, &err), err);
    double xx = 0, yy = 0, xy = 0;
    const ar_pair *p = &a->pair[0], *q = &b->pair[0];
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < 9; j++) {
            double x = 0, y = 0;
            for (int k = 0; k < 4; k++) {
                x += (double)p->b[i * 4 + k] * (double)p->a[k * 9 + j];
                y += (double)q->b[i * 4 + k] * (double)q->a[k * 9 + j];
            }
            x *= p->scale, y *= q->scale;
            xx += x * x, yy += y * y, xy += x * y;
        }
    assert_near(d.sites[0].cosine, xy / sqrt(xx * yy), 1e-12);
    assert_near(d.sites[0].factor, xy / xx, 1e-12);
    ar_difference_release(&d);
    ar_adapter_free(a);
    ar_adapter_free(b);
}

/* Alone it keeps alpha, with a factor of 1 it keeps s. */
static void a_policy_can_be_set(void **state) {
    (void)state;
    ar_error err;
    size_t changed;
    ar_adapter *ad = with_scales((double[]){8, 8}, AR_POLICY_STANDARD, 4, 1);
    ar_rescale_options o = {.kind = AR_RESCALE_POLICY, .has_policy = true, .policy = AR_POLICY_RSLORA};
    assert_ok(ar_adapter_rescale(&changed, ad, rt, &o, &err), err);
    assert_true(changed == 2 && ad->pair[0].scale == 4 && ad->pair[0].alpha == 8 && ad->settings.policy == AR_POLICY_RSLORA);
    o = (ar_rescale_options){.kind = AR_RESCALE_FACTOR, .value = 1, .has_policy = true, .policy = AR_POLICY_STANDARD};
    assert_ok(ar_adapter_rescale(&changed, ad, rt, &o, &err), err);
    assert_true(changed == 0 && ad->pair[0].scale == 4 && ad->pair[0].alpha == 16 && ad->settings.alpha == 16);
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_ends_in_a_conclusion),
        cmocka_unit_test(cosine_and_factor_are_those_of_the_dense_updates),
        cmocka_unit_test(a_policy_can_be_set),
        cmocka_unit_test(figures_are_those_of_the_dense_update),
        cmocka_unit_test(odd_adapters_are_warned_about),
        cmocka_unit_test(differences_are_those_of_the_dense_updates),
        cmocka_unit_test(alpha_is_set_as_asked),
        cmocka_unit_test(the_function_is_kept_in_b),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
