#define PCRE2_CODE_UNIT_WIDTH 8
#include "adapter/regex.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

/* A pattern comes from a file and may be built to run for ever; real ones need a few hundred steps. */
enum { STEPS_MAX = 1000000 };

struct ar_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    char *text;
};

static ar_status compile(ar_regex *re, const char *whole, uint32_t options, ar_error *err) {
    int code;
    size_t at;
    re->code = pcre2_compile((PCRE2_SPTR)whole, strlen(whole), options | PCRE2_ANCHORED | PCRE2_UTF, &code, &at, NULL);
    if (!re->code) {
        PCRE2_UCHAR why[120] = {0};
        pcre2_get_error_message(code, why, sizeof why);
        return ar__fail(err, AR_ERR_VALUE, "pattern '%s': %s (at character %zu of '%s')", re->text, (const char *)why, at + 1, whole);
    }
    re->data = pcre2_match_data_create_from_pattern(re->code, NULL);
    re->context = pcre2_match_context_create(NULL);
    if (!re->data || !re->context) return ar__fail_memory(err, re->text);
    pcre2_set_match_limit(re->context, STEPS_MAX);
    return AR_OK;
}

/* `format` around text; its one conversion is replaced by hand, since text may hold anything. */
static void wrap(ar_buf *out, const char *format, const char *text) {
    const char *hole = format ? strstr(format, "%s") : NULL;
    if (hole) ar__buf_add(out, format, (size_t)(hole - format));
    ar__buf_puts(out, text);
    if (hole) ar__buf_puts(out, hole + 2);
}

ar_status ar__regex_new(ar_regex **out, const char *format, const char *text, ar_regex_kind kind, ar_error *err) {
    ar_buf whole = {0};
    ar_status s;
    ar_regex *re = ar__alloc(1, sizeof *re);
    *out = NULL;
    if (!re) return ar__fail_memory(err, text);
    wrap(&whole, format, text);
    re->text = ar__strdup(text);
    if (whole.failed || !re->text)
        s = ar__fail_memory(err, text);
    else
        s = compile(re, whole.data, kind == AR_REGEX_FULL ? PCRE2_ENDANCHORED : 0, err);
    ar__buf_release(&whole);
    if (s)
        ar__regex_free(re);
    else
        *out = re;
    return s;
}

void ar__regex_free(ar_regex *re) {
    if (!re) return;
    pcre2_match_context_free(re->context);
    pcre2_match_data_free(re->data);
    pcre2_code_free(re->code);
    free(re->text);
    free(re);
}

static long group_index(const ar_regex *re) {
    PCRE2_UCHAR *digits;
    PCRE2_SIZE n;
    if (pcre2_substring_get_byname(re->data, (PCRE2_SPTR) "idx", &digits, &n) != 0) return -1;
    long value = n < 18 ? strtol((const char *)digits, NULL, 10) : -1;
    pcre2_substring_free(digits);
    return value;
}

ar_status ar__regex_match(bool *out, long *index, const ar_regex *re, const char *subject, ar_error *err) {
    int n = pcre2_match(re->code, (PCRE2_SPTR)subject, strlen(subject), 0, 0, re->data, re->context);
    *out = n >= 0;
    if (index) *index = *out ? group_index(re) : -1;
    if (n >= 0 || n == PCRE2_ERROR_NOMATCH) return AR_OK;
    PCRE2_UCHAR why[120] = {0};
    pcre2_get_error_message(n, why, sizeof why);
    return ar__fail(err, AR_ERR_VALUE, "pattern '%s' on '%.200s': %s", re->text, subject, (const char *)why);
}
