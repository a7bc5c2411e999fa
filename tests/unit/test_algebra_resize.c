/* Resizing against dense arithmetic in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/algebra.h"
#include "base/file.h"
#include "dense.h"
#include "kern/runtime.h"
#include "util.h"

enum { OUT = 70, IN = 33, CELLS = OUT * IN };
static ar_runtime *rt;
static ar_error err;
static int warnings;

static void count_warnings(void *user, ar_log_level level, const char *line) {
    (void)user;
    (void)line;
    warnings += level == AR_LOG_WARNING;
}

static int start(void **state) {
    (void)state;
    return ar_runtime_new(&rt, &(ar_runtime_options){.log = count_warnings}, NULL) != AR_OK;
}

static int stop(void **state) {
    (void)state;
    ar_runtime_free(rt);
    return 0;
}

static const char *folder(void) {
    const char *path = temp_path("spool");
    assert_ok(ar__dir_make(path, &err), err);
    return path;
}

/* Two sites, rank 8 and rank 5 in the place of 6, by different policies. */
static ar_adapter *make(bool dora, bool spooled) {
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    dense_add_pair(ad, &(ar_pair_shape){.site = "q_proj", .n_out = OUT, .n_in = IN, .rank = 8, .alpha = 3, .dora = dora}, 1);
    ar_pair *p = dense_add_pair(
        ad, &(ar_pair_shape){.site = "up_proj", .n_out = OUT, .n_in = IN, .rank = 6, .alpha = -5, .policy = AR_POLICY_RSLORA, .dora = dora},
        2);
    memcpy(p->a + 5 * IN, p->a, IN * sizeof *p->a);
    for (int i = 0; i < OUT; i++) p->b[i * 6 + 5] = p->b[i * 6];
    ad->settings.rank = 8;
    ad->settings.alpha = 3;
    if (spooled) assert_ok(ar__adapter_use_spool(ad, folder(), &err), err);
    return ad;
}

static double *update(const ar_adapter *ad, size_t i) {
    double *x = calloc(CELLS, sizeof *x);
    assert_ok(ar__pair_load(ad, &ad->pair[i], &err), err);
    dense_add_update(x, &ad->pair[i], 1.0);
    return x;
}

static void up_adds_zeros_and_nothing_else(void **state) {
    (void)state;
    ar_adapter *ad = make(false, false), *old = make(false, false);
    ar_fit fit;
    assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = 11}}, &err), err);
    assert_int_equal(fit.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const ar_pair *p = &ad->pair[i], *q = &old->pair[i];
        size_t r = (size_t)q->rank;
        assert_int_equal(p->rank, 11);
        assert_memory_equal(p->a, q->a, r * IN * sizeof *p->a);
        for (size_t j = r * IN; j < 11 * IN; j++) assert_true(p->a[j] == 0.0F);
        for (size_t row = 0; row < OUT; row++) {
            assert_memory_equal(p->b + row * 11, q->b + row * r, r * sizeof *p->b);
            for (size_t j = r; j < 11; j++) assert_true(p->b[row * 11 + j] == 0.0F);
        }
        assert_true(p->scale == q->scale);
        double again = ar__policy_scale(p->policy, p->alpha, p->rank);
        assert_true(again >= nextafter(q->scale, -INFINITY) && again <= nextafter(q->scale, INFINITY));
        assert_int_equal(fit.sites[i].rank, 11);
        assert_true(fit.sites[i].relative_error == 0.0 && fit.sites[i].energy == 1.0);
    }
    assert_int_equal(ad->settings.rank, 11);
    assert_true(fabs(ad->settings.alpha - 3.0 * 11 / 8) < 1e-12);
    ar_fit_release(&fit);
    ar_adapter_free(ad);
    ar_adapter_free(old);
}

static void down_is_the_best_of_its_rank(void **state) {
    (void)state;
    for (int rank = 1; rank <= 7; rank++) {
        ar_adapter *ad = make(false, true), *old = make(false, false);
        ar_fit fit;
        assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = rank}}, &err), err);
        for (size_t i = 0; i < 2; i++) {
            double *x = update(ad, i), *want = update(old, i), *sigma = dense_singular_values(want, OUT, IN), all = dense_norm(want, CELLS);
            double error = dense_distance(x, want, CELLS) / all, least = dense_tail(sigma, IN, (size_t)rank) / all;
            assert_true(error <= least + 2e-7);
            assert_near(fit.sites[i].relative_error, least, 1e-9);
            assert_near(fit.sites[i].energy, 1.0 - least * least, 1e-12);
            assert_true(ad->pair[i].scale == old->pair[i].scale && ad->pair[i].policy == old->pair[i].policy);
            assert_true(fabs(ar__policy_scale(ad->pair[i].policy, ad->pair[i].alpha, ad->pair[i].rank) / old->pair[i].scale - 1.0) < 3e-16);
            free(x), free(want), free(sigma);
        }
        ar_fit_release(&fit);
        ar_adapter_free(ad);
        ar_adapter_free(old);
    }
}

static void energy_and_error_find_the_smallest_rank(void **state) {
    (void)state;
    const ar_rank_choice choices[] = {{.energy = 0.5},    {.energy = 0.9},    {.energy = 1.0},
                                      {.max_error = 0.5}, {.max_error = 0.2}, {.max_error = 1e-6}};
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++) {
        ar_adapter *ad = make(false, false), *old = make(false, false);
        ar_fit fit;
        double lost = choices[c].energy > 0 ? 1.0 - choices[c].energy : choices[c].max_error * choices[c].max_error;
        assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = choices[c]}, &err), err);
        for (size_t i = 0; i < 2; i++) {
            double *want = update(old, i), *sigma = dense_singular_values(want, OUT, IN), all = dense_norm(want, CELLS);
            size_t rank = 1;
            while (pow(dense_tail(sigma, IN, rank) / all, 2.0) > lost + 1e-14) rank++;
            assert_int_equal(ad->pair[i].rank, rank);
            assert_int_equal(fit.sites[i].rank, rank);
            free(want), free(sigma);
        }
        /* all of the rank is used at the first site only; there not a bit may change */
        if (choices[c].energy == 1.0) {
            assert_int_equal(ad->pair[1].rank, 5);
            assert_memory_equal(ad->pair[0].a, old->pair[0].a, 8 * IN * sizeof(float));
        }
        ar_fit_release(&fit);
        ar_adapter_free(ad);
        ar_adapter_free(old);
    }
}

static void an_update_of_nothing_has_rank_one(void **state) {
    (void)state;
    ar_adapter *ad = make(false, false);
    ar_fit fit;
    memset(ad->pair[0].b, 0, OUT * 8 * sizeof(float));
    assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.energy = 0.9}}, &err), err);
    assert_int_equal(ad->pair[0].rank, 1);
    assert_true(fit.sites[0].relative_error == 0.0 && fit.sites[0].energy == 1.0);
    for (int i = 0; i < OUT; i++) assert_true(ad->pair[0].b[i] == 0.0F);
    ar_fit_release(&fit);
    ar_adapter_free(ad);
}

static void dora_keeps_its_magnitude_and_warns_when_cut(void **state) {
    (void)state;
    ar_adapter *ad = make(true, false);
    ar_fit fit;
    for (int i = 0; i < OUT; i++) ad->pair[0].magnitude[i] = (float)i;
    warnings = 0;
    assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = 9}}, &err), err);
    assert_int_equal(warnings, 0);
    ar_fit_release(&fit);
    assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = 2}}, &err), err);
    assert_int_equal(warnings, 1);
    for (int i = 0; i < OUT; i++) assert_true(ad->pair[0].magnitude[i] == (float)i);
    ar_fit_release(&fit);
    ar_adapter_free(ad);
}

static void narrow_numbers_stay_narrow_when_nothing_changes(void **state) {
    (void)state;
    static const uint16_t halves[] = {0x3f80, 0x4000, 0xbf80, 0x3f00}; /* bf16: 1, 2, -1, 0.5 */
    ar_adapter *ad;
    ar_pair *p;
    ar_fit fit;
    assert_ok(ar__adapter_new(&ad, &err), err);
    assert_ok(ar__adapter_add_stored(&p, ad, &(ar_pair_shape){.site = "s", .n_out = 2, .n_in = 2, .rank = 2, .alpha = 2}, &err), err);
    for (int f = 0; f < 2; f++) p->stored[f] = (ar_stored){.name = "t", .bytes = halves, .is_there = true, .type = AR_BF16};
    assert_ok(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = 3}, .scratch = folder()}, &err), err);
    assert_true(p->stored[0].type == AR_BF16 && !p->a);
    assert_ok(ar__pair_load(ad, p, &err), err);
    const float b[] = {1, 2, 0, -1, 0.5F, 0};
    assert_memory_equal(p->b, b, sizeof b);
    ar_fit_release(&fit);
    ar_adapter_free(ad);
}

static void wrong_choices_are_refused(void **state) {
    (void)state;
    ar_adapter *ad = make(false, false);
    ar_fit fit;
    assert_error(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){0}, &err), AR_ERR_USAGE, err, "found 0 of");
    assert_error(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = 2, .energy = 0.5}}, &err), AR_ERR_USAGE, err,
                 "found 2 of");
    assert_error(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.rank = -1}}, &err), AR_ERR_VALUE, err, "found -1");
    assert_error(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.energy = 1.5}}, &err), AR_ERR_VALUE, err, "energy");
    assert_error(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.energy = NAN}}, &err), AR_ERR_VALUE, err, "energy");
    assert_error(ar_adapter_resize(&fit, ad, rt, &(ar_resize_options){.to = {.max_error = 1}}, &err), AR_ERR_VALUE, err, "max-error");
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(up_adds_zeros_and_nothing_else),
        cmocka_unit_test(down_is_the_best_of_its_rank),
        cmocka_unit_test(energy_and_error_find_the_smallest_rank),
        cmocka_unit_test(an_update_of_nothing_has_rank_one),
        cmocka_unit_test(dora_keeps_its_magnitude_and_warns_when_cut),
        cmocka_unit_test(narrow_numbers_stay_narrow_when_nothing_changes),
        cmocka_unit_test(wrong_choices_are_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
