/* JSON files: places of syntax errors, types, numbers beyond 64 bits. */
#include <string.h>

#include "format/json.h"
#include "util.h"

static void syntax_errors_name_line_and_column(void **state) {
    (void)state;
    ar_error err;
    json_t *v;
    assert_error(ar__json_load(&v, temp_text("a.json", "{\n  \"r\": 8,,\n}"), 1000, &err), AR_ERR_FORMAT, err, "a.json:2:10");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\": NaN}"), 1000, &err), AR_ERR_FORMAT, err, "no NaN");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\": -Infinity}"), 1000, &err), AR_ERR_FORMAT, err, "a.json:1:");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\":1,\"a\":2}"), 1000, &err), AR_ERR_FORMAT, err, "duplicate");
    assert_error(ar__json_load(&v, temp_text("a.json", ""), 1000, &err), AR_ERR_FORMAT, err, "a.json:1");
    assert_error(ar__json_load(&v, temp_text("a.json", "{\"a\":\"\xff\"}"), 1000, &err), AR_ERR_FORMAT, err, "unable to decode byte 0xff");
    assert_error(ar__json_load(&v, temp_text("a.json", "[1]"), 2, &err), AR_ERR_FORMAT, err, "3 bytes, at most 2");
    assert_error(ar__json_load_object(&v, temp_text("a.json", "[1]"), 1000, &err), AR_ERR_FORMAT, err, "found list, wanted an object");
    assert_error(ar__json_load(&v, temp_path("absent.json"), 1000, &err), AR_ERR_IO, err, "cannot open");
    assert_error(ar__json_parse(&v, "\"\\u0000\"", 8, "x", &err), AR_ERR_FORMAT, err, "NUL");
    assert_error(ar__json_parse(&v, "1e999", 5, "x", &err), AR_ERR_FORMAT, err, "x:1:");
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(syntax_errors_name_line_and_column), cmocka_unit_test(getters_check_types),
                                       cmocka_unit_test(integers_past_64_bits_do_not_spoil_the_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
