/* Policies, start values, changing scales. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "util.h"

static ar_adapter *two_sites(ar_policy policy) {
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    ad->settings.rank = 16;
    ad->settings.alpha = 32;
    ad->settings.policy = policy;
    ar_pair_shape shape = {.site = "m.q", .n_in = 8, .n_out = 6, .rank = 16, .alpha = 32, .policy = policy};
    assert_ok(ar__adapter_add_pair(NULL, ad, &shape, &err), err);
    shape = (ar_pair_shape){.site = "m.v", .n_in = 8, .n_out = 6, .rank = 4, .alpha = 8, .policy = policy};
    assert_ok(ar__adapter_add_pair(NULL, ad, &shape, &err), err);
    return ad;
}

static void policies_turn_alpha_into_s_and_back(void **state) {
    (void)state;
    assert_true(ar__policy_scale(AR_POLICY_STANDARD, 32, 16) == 2);
    assert_true(ar__policy_scale(AR_POLICY_RSLORA, 32, 16) == 8);
    assert_true(ar__policy_alpha(AR_POLICY_STANDARD, 2, 16) == 32);
    assert_true(ar__policy_alpha(AR_POLICY_RSLORA, 8, 16) == 32);
    assert_string_equal(ar_policy_name(AR_POLICY_RSLORA), "rslora");
}

static void scale_of_every_site(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = two_sites(AR_POLICY_RSLORA);
    assert_true(ar_adapter_site(ad, 0).scale == 8 && ar_adapter_site(ad, 1).scale == 4);
    assert_ok(ar_adapter_set_scale(ad, 0.5, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 0.5 && ar_adapter_site(ad, 0).alpha == 2);
    assert_true(ar_adapter_site(ad, 1).scale == 0.5 && ar_adapter_site(ad, 1).alpha == 1);
    assert_error(ar_adapter_set_scale(ad, NAN, &err), AR_ERR_NUMERIC, err, "wanted a finite number");
    ar_adapter_free(ad);
}

static void alpha_keeps_the_ratio_of_patterns(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = two_sites(AR_POLICY_STANDARD);
    assert_ok(ar_adapter_set_alpha(ad, 16, &err), err);
    assert_true(ar_adapter_site(ad, 0).alpha == 16 && ar_adapter_site(ad, 0).scale == 1);
    assert_true(ar_adapter_site(ad, 1).alpha == 4 && ar_adapter_site(ad, 1).scale == 1);
    assert_ok(ar_adapter_multiply_scale(ad, -2, &err), err);
    assert_true(ar_adapter_site(ad, 1).alpha == -8 && ar_adapter_site(ad, 1).scale == -2);
    assert_ok(ar_adapter_set_alpha(ad, 0, &err), err);
    assert_true(ar_adapter_site(ad, 0).scale == 0 && ar_adapter_site(ad, 1).scale == 0);
    ad->pair[1].alpha = 3;
    assert_error(ar_adapter_set_alpha(ad, 16, &err), AR_ERR_VALUE, err, "site 'm.v' has 3");
    assert_error(ar_adapter_multiply_scale(ad, INFINITY, &err), AR_ERR_NUMERIC, err, "finite");
    ar_adapter_free(ad);
}

static void impossible_pairs_are_refused(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = two_sites(AR_POLICY_STANDARD);
    ar_pair_shape s = {.site = "m.x", .n_in = 8, .n_out = 6, .rank = 0, .alpha = 1};
    assert_error(ar__adapter_add_pair(NULL, ad, &s, &err), AR_ERR_VALUE, err, "rank 0, wanted at least 1");
    s = (ar_pair_shape){.site = "m.x", .n_in = 8, .n_out = 6, .rank = 1, .alpha = NAN};
    assert_error(ar__adapter_add_pair(NULL, ad, &s, &err), AR_ERR_NUMERIC, err, "alpha nan");
    s = (ar_pair_shape){.site = "m.x", .n_in = INT64_MAX, .n_out = 6, .rank = 1000, .alpha = 1};
    assert_error(ar__adapter_add_pair(NULL, ad, &s, &err), AR_ERR_MEMORY, err, "out of memory");
    assert_int_equal(ar_adapter_site_count(ad), 2);
    ar_adapter_free(ad);
}

static void start_values(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    ar_pair *p;
    double sum = 0, square = 0;
    assert_ok(ar__adapter_new(&ad, &err), err);
    ar_pair_shape shape = {.site = "m.q", .n_in = 400, .n_out = 50, .rank = 32, .alpha = 1};
    assert_ok(ar__adapter_add_pair(&p, ad, &shape, &err), err);
    assert_int_equal((uintptr_t)p->a % 64, 0);
    ar__pair_init(p, 1);
    for (int i = 0; i < 12800; i++) {
        assert_true(fabsf(p->a[i]) <= 0.05f);
        sum += (double)p->a[i];
        square += (double)p->a[i] * (double)p->a[i];
    }
    assert_near(sum / 12800, 0, 1e-3);
    assert_near(sqrt(square / 12800), 0.05 / sqrt(3), 5e-4);
    for (int i = 0; i < 1600; i++) assert_true(p->b[i] == 0);
    shape = (ar_pair_shape){.site = "m.embed", .n_in = 400, .n_out = 50, .rank = 32, .alpha = 1, .is_embedding = true};
    assert_ok(ar__adapter_add_pair(&p, ad, &shape, &err), err);
    ar__pair_init(p, 1);
    for (square = 0, sum = 0; sum < 1600; sum++) square += (double)p->b[(int)sum] * (double)p->b[(int)sum];
    assert_near(square / 1600, 1, 0.1);
    for (int i = 0; i < 12800; i++) assert_true(p->a[i] == 0);
    ar_adapter_free(ad);
}

/* Every site and seed has numbers of its own; the same site and seed always the same. */
static void streams_differ(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    static const char *const sites[] = {"m.0.q", "m.1.q", "m.0.q", "m.0.q"};
    static const uint64_t seeds[] = {1, 1, 1, 2};
    assert_ok(ar__adapter_new(&ad, &err), err);
    for (int i = 0; i < 4; i++) {
        ar_pair *p;
        ar_pair_shape shape = {.site = sites[i], .n_in = 16, .n_out = 2, .rank = 2, .alpha = 1};
        assert_ok(ar__adapter_add_pair(&p, ad, &shape, &err), err);
        ar__pair_init(p, seeds[i]);
    }
    assert_memory_not_equal(ad->pair[0].a, ad->pair[1].a, 128);
    assert_memory_equal(ad->pair[0].a, ad->pair[2].a, 128);
    assert_memory_not_equal(ad->pair[0].a, ad->pair[3].a, 128);
    ar_adapter_free(ad);
}

static void notes_are_replaced(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad = two_sites(AR_POLICY_STANDARD);
    assert_null(ar__adapter_note(ad, "train.lr"));
    assert_ok(ar__adapter_set_note(ad, "train.lr", "1", &err), err);
    assert_ok(ar__adapter_set_note(ad, "train.lr", "2", &err), err);
    assert_string_equal(ar__adapter_note(ad, "train.lr"), "2");
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_turn_alpha_into_s_and_back),
        cmocka_unit_test(scale_of_every_site),
        cmocka_unit_test(alpha_keeps_the_ratio_of_patterns),
        cmocka_unit_test(impossible_pairs_are_refused),
        cmocka_unit_test(start_values),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(notes_are_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
