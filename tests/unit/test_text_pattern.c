/* Patterns: what is rewritten for PCRE2, the rule for empty matches, and the Unicode table behind the classes. */
#include <stdio.h>
#include <string.h>

#include "text/nfc.h"
#include "text/pattern.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "util.h"

static void assert_rewritten(const char *from, const char *want) {
    ar_buf out = {0};
    ar_error err;
    assert_ok(ar__pattern_rewrite(&out, from, strlen(from), &err), err);
    assert_string_equal(out.data, want);
    ar__buf_release(&out);
}

static void ruby_spellings_are_rewritten(void **state) {
    (void)state;
    assert_rewritten("a{2,3}+", "(?:a{2,3})+"); /* a repetition of a repetition, not a possessive one */
    assert_rewritten("(ab){2}?", "(?:(ab){2})?");
    assert_rewritten("a{,3}", "a{0,3}");
    assert_rewritten("a++b", "a++b");
    assert_rewritten("a{b", "a\\x{7B}b");
    assert_rewritten("(?m:.)", "(?s:.)");
    assert_rewritten("[a-c&&[^b]]", "[\\x{61}-\\x{61}\\x{63}-\\x{63}]");
    assert_rewritten("\\h[\\t-]", "[\\x{30}-\\x{39}\\x{41}-\\x{46}\\x{61}-\\x{66}][\\x{9}-\\x{9}\\x{2D}-\\x{2D}]");
    assert_rewritten("\\u00e9\\x{41}\\n\\.", "\\x{E9}\\x{41}\\x{A}\\x{2E}");
}

static void what_cannot_be_rewritten_is_refused(void **state) {
    (void)state;
    static const struct {
        ar_status status;
        const char *pattern, *part;
    } cases[] = {{AR_ERR_UNSUPPORTED, "\\p{Klingon}", "Klingon"},
                 {AR_ERR_UNSUPPORTED, "(a)\\1", "an escape"},
                 {AR_ERR_UNSUPPORTED, "(?<n>a)", "a kind of group"},
                 {AR_ERR_FORMAT, "[a", "[ without ]"},
                 {AR_ERR_FORMAT, "a)", ") without ("},
                 {AR_ERR_FORMAT, "a\\", "backslash"},
                 {AR_ERR_FORMAT, "[b-a]", "backwards"},
                 {AR_ERR_FORMAT, "*", "regular expression"},
                 {AR_ERR_FORMAT, "\\p{L", "\\p without"},
                 {AR_ERR_FORMAT, "\\ud800", "escape"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ar_pattern *p;
        ar_error err;
        assert_error(ar__pattern_regex(&p, cases[i].pattern, strlen(cases[i].pattern), &err), cases[i].status, err, cases[i].part);
        assert_null(p);
    }
}

static void assert_matches(const char *regex, const char *text, const char *want) {
    ar_pattern *p;
    ar_error err;
    ar_matcher *m = ar__matcher_new();
    assert_non_null(m);
    assert_ok(ar__pattern_regex(&p, regex, strlen(regex), &err), err);
    ar_scan scan = {.pattern = p, .matcher = m, .text = text, .n = strlen(text)};
    char got[256] = "";
    size_t from, to;
    while (ar__scan_next(&scan, &from, &to, &err) == 1) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%zu-%zu ", from, to);
    }
    assert_string_equal(got, want);
    ar__pattern_free(p);
    ar__matcher_free(m);
}

static void matches_follow_one_another_as_in_oniguruma(void **state) {
    (void)state;
    assert_matches("o*", "foob", "0-0 1-3 4-4 ");
    assert_matches("^a|b$", "ab\nab", "0-1 1-2 3-4 4-5 ");
    assert_matches("\\p{L}+|\\s+(?!\\S)|\\s+", "ab  c", "0-2 2-3 3-4 4-5 ");
    assert_matches("(?i:'s)", "'S'\xC5\xBF", "0-2 2-5 "); /* the long s is an s without case */
    assert_matches("\\b\\w", "\xC3\xA9 a", "0-2 3-4 ");
}

/* PCRE2's own classes stop at Unicode 14; these letters came with 15 and 16. */
static void classes_know_newer_letters(void **state) {
    (void)state;
    assert_matches("\\p{Lo}", "\xF0\xB1\x8D\x90\xF0\x90\x97\x80", "0-4 4-8 "); /* U+31350, U+105C0 */
    assert_matches("[^\\s\\p{L}]", "\xF0\xB1\x8D\x90", "");
}

static void the_table_unpacks_to_what_its_runs_say(void **state) {
    (void)state;
    ar_unicode u;
    assert_true(ar__unicode_init(&u));
    for (size_t i = 0; i < ar__unicode_run_count; i++) {
        uint32_t first = ar__unicode_runs[i].first, last = i + 1 < ar__unicode_run_count ? ar__unicode_runs[i + 1].first - 1 : 0x10FFFF;
        assert_int_equal(ar__unicode_get(&u, first), ar__unicode_runs[i].value);
        assert_int_equal(ar__unicode_get(&u, last), ar__unicode_runs[i].value);
    }
    ar__unicode_release(&u);
    uint32_t low[2];
    assert_int_equal(ar__unicode_to_lower(low, 'A'), 1);
    assert_int_equal(low[0], 'a');
    assert_int_equal(ar__unicode_to_lower(low, 0x130), 2);
    assert_int_equal(low[1], 0x307);
    assert_int_equal(ar__unicode_to_lower(low, 0x10FFFF), 1);
    assert_int_equal(low[0], 0x10FFFF);
}

static void assert_form(ar_form form, const char *from, const char *want) {
    ar_unicode u;
    ar_buf out = {0};
    assert_true(ar__unicode_init(&u));
    ar__form_put(&out, form, from, strlen(from), &u);
    assert_string_equal(out.data, want);
    if (ar__form_is_set(form, from, strlen(from), &u)) assert_string_equal(from, want);
    ar__buf_release(&out);
    ar__unicode_release(&u);
}

static void normal_forms_compose_and_decompose(void **state) {
    (void)state;
    assert_form(AR_NFC, "e\xCC\x81", "\xC3\xA9");
    assert_form(AR_NFD, "\xC3\xA9", "e\xCC\x81");
    assert_form(AR_NFKC, "\xEF\xAC\x81", "fi");
    assert_form(AR_NFC, "a\xCC\x81\xCC\xA3", "\xE1\xBA\xA1\xCC\x81"); /* the dot below moves first */
    assert_form(AR_NFC, "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C");
    /* U+1ACD came with Unicode 14; the reference does not know that it moves. */
    assert_form(AR_NFD, "a\xCC\x81\xE1\xAB\x8D\xCC\xA3", "a\xCC\x81\xE1\xAB\x8D\xCC\xA3");
}

static void utf8_is_checked_strictly(void **state) {
    (void)state;
    static const struct {
        const char *s;
        size_t valid;
    } cases[] = {{"abc", 3},          {"\xC0\x80", 0},         {"a\xE0\x9F\xBF", 1},
                 {"\xED\xA0\x80", 0}, {"\xF4\x90\x80\x80", 0}, {"\xF0\x8F\xBF\xBF", 0},
                 {"\xE2\x82", 0},     {"\xF4\x8F\xBF\xBF", 4}, {"12345678\x80", 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ar__utf8_valid(cases[i].s, strlen(cases[i].s)), cases[i].valid);
    for (uint32_t c = 0; c < 0x110000; c++) {
        char s[4];
        size_t n = ar__utf8_put(s, c), back;
        assert_int_equal(ar__utf8_valid(s, n), c >= 0xD800 && c <= 0xDFFF ? 0 : n);
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        assert_int_equal(ar__utf8_get(s, &back), c);
        assert_int_equal(back, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ruby_spellings_are_rewritten),
        cmocka_unit_test(what_cannot_be_rewritten_is_refused),
        cmocka_unit_test(matches_follow_one_another_as_in_oniguruma),
        cmocka_unit_test(classes_know_newer_letters),
        cmocka_unit_test(the_table_unpacks_to_what_its_runs_say),
        cmocka_unit_test(normal_forms_compose_and_decompose),
        cmocka_unit_test(utf8_is_checked_strictly),
    };
    return cmocka_run_group_tests_name("text_pattern", tests, NULL, NULL);
}
