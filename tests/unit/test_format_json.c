/* JSON files: places of syntax errors, types, numbers beyond 64 bits. */
#include <string.h>

#include "format/json.h"
#include "util.h"

static void syntax_errors_name_line_and_column(void **state) {
    (void)state;
    ar_error err;
    json_t *v;
    assert_error(ar__json_load(&v, temp_text("a.json", "{\n  \"r\": 8,,\n}"), 1000, &err), AR_ERR_FORMAT, err, "a.json:2:10");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\":1,\"a\":2}"), 1000, &err), AR_ERR_FORMAT, err, "duplicate");
    assert_error(ar__json_load(&v, temp_text("a.json", ""), 1000, &err), AR_ERR_FORMAT, err, "a.json:1");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\":\"\xff\"}"), 1000, &err), AR_ERR_FORMAT, err, "unable to decode byte 0xff");
    assert_error(ar__json_load(&v, temp_text("a.json", "[1]"), 2, &err), AR_ERR_FORMAT, err, "3 bytes, at most 2");
    assert_error(ar__json_load_object(&v, temp_text("a.json", "[1]"), 1000, &err), AR_ERR_FORMAT, err, "found list, wanted an object");
    assert_error(ar__json_load(&v, temp_path("absent.json"), 1000, &err), AR_ERR_IO, err, "cannot open");
    assert_error(ar__json_parse(&v, "\"\\u0000\"", 8, "x", &err), AR_ERR_FORMAT, err, "NUL");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\":\n\xff}"), 1000, &err), AR_ERR_FORMAT, err, "a.json:2:");
    assert_error(ar__json_parse(&v, "\xff\xfe{\0}\0", 6, "x", &err), AR_ERR_FORMAT, err, "x: found UTF-16 text, wanted UTF-8");
    assert_error(ar__json_parse(&v, NULL, 0, "x", &err), AR_ERR_FORMAT, err, "x:1:");
    assert_error(ar__json_parse(&v, "\xEF\xBB\xBF", 3, "x", &err), AR_ERR_FORMAT, err, "x:1:");
}

static void getters_check_types(void **state) {
    (void)state;
    const char *text = "{\"i\":8,\"d\":0.5,\"s\":\"x\",\"b\":true,\"n\":null,\"whole\":3.0,\"l\":[],\"o\":{}}";
    ar_error err;
    json_t *v;
    int64_t i = -1;
    double d = -1;
    bool b = false;
    const char *s = NULL;
    const json_t *p = NULL;
    assert_ok(ar__json_parse(&v, text, strlen(text), "c.json", &err), err);
    assert_ok(ar__json_get_int(&i, v, "absent", "c.json", &err), err);
    assert_ok(ar__json_get_int(&i, v, "n", "c.json", &err), err);
    assert_int_equal(i, -1);
    assert_ok(ar__json_get_int(&i, v, "whole", "c.json", &err), err);
    assert_int_equal(i, 3);
    assert_ok(ar__json_get_double(&d, v, "i", "c.json", &err), err);
    assert_true(d == 8);
    assert_ok(ar__json_get_bool(&b, v, "b", "c.json", &err), err);
    assert_true(b);
    assert_ok(ar__json_get_string(&s, v, "s", "c.json", &err), err);
    assert_string_equal(s, "x");
    assert_ok(ar__json_get_array(&p, v, "l", "c.json", &err), err);
    assert_ok(ar__json_get_object(&p, v, "o", "c.json", &err), err);
    assert_error(ar__json_get_int(&i, v, "s", "c.json", &err), AR_ERR_FORMAT, err, "c.json: 's': found string, wanted integer");
    assert_error(ar__json_get_int(&i, v, "d", "c.json", &err), AR_ERR_FORMAT, err, "c.json: 'd': found 0.5, wanted integer");
    assert_error(ar__json_get_bool(&b, v, "i", "c.json", &err), AR_ERR_FORMAT, err, "found integer, wanted true or false");
    assert_error(ar__json_get_double(&d, v, "b", "c.json", &err), AR_ERR_FORMAT, err, "found true, wanted number");
    assert_error(ar__json_need(v, "n", "c.json", &err), AR_ERR_FORMAT, err, "'n' is missing");
    assert_true(ar__json_is_off(json_object_get(v, "l")) && ar__json_is_off(json_object_get(v, "o")) &&
                !ar__json_is_off(json_object_get(v, "i")));
    json_decref(v);
}

static void integers_past_64_bits_do_not_spoil_the_file(void **state) {
    (void)state;
    const char *text = "{\"model_max_length\":1000000000000000019884624838656,\"id\":7}";
    ar_error err;
    json_t *v;
    int64_t i = 0;
    double d = 0;
    assert_ok(ar__json_parse(&v, text, strlen(text), "c.json", &err), err);
    assert_ok(ar__json_get_int(&i, v, "id", "c.json", &err), err);
    assert_int_equal(i, 7);
    assert_ok(ar__json_get_double(&d, v, "model_max_length", "c.json", &err), err);
    assert_true(d == 1e30);
    assert_error(ar__json_get_int(&i, v, "model_max_length", "c.json", &err), AR_ERR_FORMAT, err, "wanted integer");
    json_decref(v);
}

/* What RFC 8259 and Python's json.dumps write, at every limit of 64 bits and of a double. */
static void every_kind_of_number_is_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
        bool whole;
    } good[] = {
        {"0", 0, true},
        {"-0", 0, true},
        {"-0.0", 0, true},
        {"7", 7, true},
        {"-7", -7, true},
        {"1E5", 1e5, true},
        {"1e+5", 1e5, true},
        {"1.5e-3", 1.5e-3, false},
        {"0e0", 0, true},
        {"0.1", 0.1, false},
        {"1e-400", 0, true},
        {"5e-324", 5e-324, false},
        {"1.7976931348623157e308", 1.7976931348623157e308, false},
        {"9007199254740993", 9007199254740993.0, true},
        {"9223372036854775807", 9223372036854775807.0, true},
        {"9223372036854775808", 9223372036854775808.0, false},
        {"-9223372036854775808", -9223372036854775808.0, true},
        {"-9223372036854775809", -9223372036854775809.0, false},
        {"18446744073709551616", 18446744073709551616.0, false},
        {"1000000000000000019884624838656", 1e30, false},
        {"-1000000000000000019884624838656", -1e30, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"a\": [%s , {\"b\":%s}], \"s\": \"1e999, NaN \\\" -Infinity\", \"id\": 7}", good[i].text,
                 good[i].text);
        ar_error err;
        json_t *v;
        int64_t n;
        double d;
        assert_ok(ar__json_parse(&v, text, strlen(text), good[i].text, &err), err);
        const json_t *a = json_array_get(json_object_get(v, "a"), 0);
        assert_true(ar__json_as_double(&d, a) && d == good[i].value);
        assert_true(ar__json_as_int(&n, a) == good[i].whole);
        assert_true(json_is_integer(json_object_get(v, "id"))); /* a neighbour's size changes no other number */
        assert_string_equal(json_string_value(json_object_get(v, "s")), "1e999, NaN \" -Infinity");
        json_decref(v);
    }
}

static void numbers_without_a_value_fail_where_they_are_read(void **state) {
    (void)state;
    static const char *const noted[] = {"NaN", "Infinity", "-Infinity", "1e400", "-1E+999", "1.5e999"};
    for (size_t i = 0; i < sizeof noted / sizeof *noted; i++) {
        char text[200], want[64];
        snprintf(text, sizeof text, "{\"loss\":%s,\"s\":\"NaN\",\"n\":3,\"l\":[%s]}", noted[i], noted[i]);
        snprintf(want, sizeof want, "c.json: 'loss': found %s, wanted number", noted[i]);
        ar_error err;
        json_t *v;
        double d;
        int64_t n;
        const char *s;
        const json_t *o;
        assert_ok(ar__json_parse(&v, text, strlen(text), "c.json", &err), err);
        assert_error(ar__json_get_double(&d, v, "loss", "c.json", &err), AR_ERR_FORMAT, err, want);
        assert_error(ar__json_get_int(&n, v, "loss", "c.json", &err), AR_ERR_FORMAT, err, noted[i]);
        assert_error(ar__json_get_string(&s, v, "loss", "c.json", &err), AR_ERR_FORMAT, err, "wanted string");
        assert_error(ar__json_get_object(&o, v, "loss", "c.json", &err), AR_ERR_FORMAT, err, "wanted object");
        assert_false(ar__json_is_off(json_object_get(v, "loss")));
        assert_ok(ar__json_get_int(&n, v, "n", "c.json", &err), err);
        assert_ok(ar__json_get_string(&s, v, "s", "c.json", &err), err);
        assert_true(n == 3 && !strcmp(s, "NaN"));
        json_decref(v);
    }
    char long_one[500];
    memset(long_one, '9', sizeof long_one);
    ar_error err;
    json_t *v;
    assert_ok(ar__json_parse(&v, long_one, sizeof long_one, "x", &err), err);
    assert_string_equal(ar__json_type(v), "999999999999999999999999...");
    json_decref(v);
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"+1",  "01",  "-01",   "1.", ".5",   "1e",      "1e+",        "-",        "0x10",
                                      "1_0", "nan", "inf",   "1,", "NaNa", "Infinit", "-NaN",       "[NaN",     "[1e999,]",
                                      "1 2", "--1", "1e5.5", "1E", "[01]", "1e400.5", "-Infinityx", "{NaN: 1}", "{\"a\" 1e999}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ar_error err;
        json_t *v;
        assert_error(ar__json_parse(&v, bad[i], strlen(bad[i]), "x", &err), AR_ERR_FORMAT, err, "x:1:");
        assert_null(v);
    }
}

static void a_byte_order_mark_is_skipped_and_depth_bounded(void **state) {
    (void)state;
    ar_error err;
    json_t *v;
    assert_ok(ar__json_parse(&v, "\xEF\xBB\xBF{\"a\":1e999}", 14, "x", &err), err);
    assert_int_equal(json_object_size(v), 1);
    json_decref(v);
    enum { DEEP = 100000 };
    static char deep[DEEP];
    memset(deep, '[', DEEP);
    assert_error(ar__json_parse(&v, deep, DEEP, "x", &err), AR_ERR_FORMAT, err, "maximum parsing depth");
    deep[0] = '[', deep[1] = 'N', deep[2] = 'a', deep[3] = 'N', deep[4] = ',';
    assert_error(ar__json_parse(&v, deep, DEEP, "x", &err), AR_ERR_FORMAT, err, "maximum parsing depth");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(syntax_errors_name_line_and_column),
                                       cmocka_unit_test(getters_check_types),
                                       cmocka_unit_test(integers_past_64_bits_do_not_spoil_the_file),
                                       cmocka_unit_test(every_kind_of_number_is_read),
                                       cmocka_unit_test(numbers_without_a_value_fail_where_they_are_read),
                                       cmocka_unit_test(what_is_no_number_is_refused),
                                       cmocka_unit_test(a_byte_order_mark_is_skipped_and_depth_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
