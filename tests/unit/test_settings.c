/* The table of settings: every row has a default that is allowed, bounds that hold, and a place in run.json. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/settings.h"
#include "util.h"

static ar_train_options options(void) {
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = "demo/base";
    return o;
}

static bool is_int(const ar_setting *s) { return s->type == AR_SETTING_INT; }

static void put(ar_train_options *o, const ar_setting *s, double x) {
    void *at = (char *)o + s->offset;
    if (is_int(s))
        *(int *)at = (int)x;
    else if (s->type == AR_SETTING_NUMBER)
        *(double *)at = x;
    else
        *(int64_t *)at = (int64_t)x;
}

static void refused(const ar_train_options *o, const char *name) {
    ar_error err;
    char wanted[80];
    snprintf(wanted, sizeof wanted, "%s: found ", name);
    assert_error(ar_train_options_check(o, &err), AR_ERR_USAGE, err, wanted);
}

static void defaults_are_those_of_the_header(void **state) {
    (void)state;
    ar_train_options o = options();
    ar_error err;
    assert_ok(ar_train_options_check(&o, &err), err);
    assert_int_equal(o.learner.rank, 16);
    assert_true(o.learner.lr == 2e-4 && o.learner.eps == 1e-8 && o.learner.warmup == 0.03 && o.learner.clip == 1.0);
    assert_true(o.learner.beta1 == 0.9 && o.learner.beta2 == 0.999 && o.learner.epochs == 3.0 && o.learner.lr_ratio == 1.0);
    assert_true(o.course.pack && o.learner.shuffle && !o.course.micro_batch && !o.course.max_length);
    assert_int_equal(o.course.compute, AR_COMPUTE_AUTO);
    assert_int_equal(o.learner.seed, 1);
    assert_int_equal(o.run.keep, 2);
}

static void bounds_hold(void **state) {
    size_t count, tried = 0;
    const ar_setting *rows = ar_train_settings(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const ar_setting *s = &rows[i];
        ar_error err;
        if (s->type != AR_SETTING_NUMBER && s->type != AR_SETTING_LONG && !is_int(s)) continue;
        if (!strcmp(s->name, "alpha")) continue; /* has a rule of its own, below */
        ar_train_options o = options();
        put(&o, s, s->least - 1.0);
        if (ar__setting_number(&o, s) != 0.0 || !(s->flags & AR_SETTING_OR_ZERO)) refused(&o, s->name);
        if (s->most > 0.0 && s->most < 0x1p63) {
            put(&o, s, s->most * 2.0);
            if (ar__setting_number(&o, s) > s->most) refused(&o, s->name);
        }
        if (s->type == AR_SETTING_NUMBER) {
            put(&o, s, NAN);
            refused(&o, s->name);
        }
        o = options();
        if (s->flags & AR_SETTING_OR_ZERO) {
            put(&o, s, 0.0);
            assert_ok(ar_train_options_check(&o, &err), err);
        }
        tried++;
    }
    assert_true(tried > 20);
}

static void an_enum_has_as_many_values_as_choices(void **state) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].type != AR_SETTING_CHOICE) continue;
        ar_train_options o = options();
        *(int *)(void *)((char *)&o + rows[i].offset) = 99;
        refused(&o, rows[i].name);
    }
}

static void what_contradicts_itself_is_refused(void **state) {
    ar_error err;
    (void)state;
    ar_train_options o = options();
    o.learner.policy = AR_POLICY_RSLORA;
    assert_error(ar_train_options_check(&o, &err), AR_ERR_USAGE, err, "policy rslora: alpha is not given");
    o.course.init_adapter = "adapter"; /* which says what alpha is */
    assert_ok(ar_train_options_check(&o, &err), err);
    o = options();
    o.learner.alpha_given = true;
    refused(&o, "alpha");
    o.learner.alpha = INFINITY;
    refused(&o, "alpha");
    o = options();
    o.run.early_stop = 2;
    assert_error(ar_train_options_check(&o, &err), AR_ERR_USAGE, err, "early-stop: eval-data is not given");
    o = options();
    o.learner.method = AR_METHOD_FULL;
    o.learner.dora = true;
    assert_error(ar_train_options_check(&o, &err), AR_ERR_USAGE, err, "method full");
}

/* Names are unique, every setting of a run is in run.json, and what belongs to a call is not. */
static void run_json_holds_every_setting(void **state) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    ar_train_options o = options();
    o.learner.seed = ((uint64_t)1 << 62) + 1; /* no double holds it */
    json_t *j = ar__train_settings_json(&o, 7, NULL);
    (void)state;
    assert_non_null(j);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].type == AR_SETTING_SECTION) continue;
        assert_ptr_equal(ar_train_setting(rows[i].name), &rows[i]);
        assert_int_equal(json_object_get(j, rows[i].name) != NULL, !(rows[i].flags & AR_SETTING_PASSING));
    }
    assert_int_equal(json_integer_value(json_object_get(j, "steps")), 7);
    assert_true(json_integer_value(json_object_get(j, "seed")) == ((json_int_t)1 << 62) + 1);
    assert_string_equal(json_string_value(json_object_get(j, "train-on")), "completion");
    assert_true(json_is_null(json_object_get(j, "beta")));
    assert_null(ar_train_setting("Files"));
    json_decref(j);
}

static void settings_belong_to_a_part(void **state) {
    (void)state;
    assert_int_equal(ar_setting_part_of(ar_train_setting("model")), AR_PART_COURSE);
    assert_int_equal(ar_setting_part_of(ar_train_setting("compute")), AR_PART_COURSE);
    assert_int_equal(ar_setting_part_of(ar_train_setting("rank")), AR_PART_LEARNER);
    assert_int_equal(ar_setting_part_of(ar_train_setting("seed")), AR_PART_LEARNER);
    assert_int_equal(ar_setting_part_of(ar_train_setting("out")), AR_PART_RUN);
    assert_int_equal(ar_setting_part_of(ar_train_setting("strength-every")), AR_PART_RUN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_header),      cmocka_unit_test(bounds_hold),
        cmocka_unit_test(an_enum_has_as_many_values_as_choices), cmocka_unit_test(what_contradicts_itself_is_refused),
        cmocka_unit_test(run_json_holds_every_setting),          cmocka_unit_test(settings_belong_to_a_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
