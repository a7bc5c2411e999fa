#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/fail.h"
#include "text/utf8.h"

struct ar_pattern {
    char *literal; /* NULL: a regular expression */
    size_t literal_len;
    pcre2_code *code;
};

struct ar_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

enum { JIT_STACK_FIRST = 32 << 10, JIT_STACK_MOST = 64 << 20 };

ar_matcher *ar__matcher_new(void) {
    ar_matcher *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL); /* NULL without JIT: not needed then */
    if (!m->data || !m->context) {
        ar__matcher_free(m);
        return NULL;
    }
    if (m->stack) pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return m;
}

void ar__matcher_free(ar_matcher *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

ar_status ar__pattern_literal(ar_pattern **out, const char *s, size_t n, ar_error *err) {
    ar_pattern *p = calloc(1, sizeof *p);
    *out = p;
    if (p) p->literal = ar__strndup(s, n);
    if (!p || !p->literal) {
        ar__pattern_free(p);
        *out = NULL;
        return ar__fail_memory(err, "pattern");
    }
    p->literal_len = n;
    return AR_OK;
}

static pcre2_code *compile(const ar_buf *text, ar_error *err) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) {
        ar__fail_memory(err, "pattern");
        return NULL;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE at;
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *p = pcre2_compile((PCRE2_SPTR)text->data, text->len, options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!p) {
        char why[160];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        ar__fail(err, AR_ERR_FORMAT, "not a regular expression: %s", why);
        return NULL;
    }
    pcre2_jit_compile(p, PCRE2_JIT_COMPLETE); /* where there is no JIT the interpreter gives the same matches */
    return p;
}

ar_status ar__pattern_regex(ar_pattern **out, const char *s, size_t n, ar_error *err) {
    ar_buf text = {0};
    *out = NULL;
    ar_status status = ar__pattern_rewrite(&text, s, n, err);
    if (!status) {
        ar_pattern *p = calloc(1, sizeof *p);
        if (!p)
            status = ar__fail_memory(err, "pattern");
        else if (!(p->code = compile(&text, err))) {
            free(p);
            status = err ? err->status : AR_ERR_FORMAT;
        } else
            *out = p;
    }
    ar__buf_release(&text);
    return status;
}

bool ar__pattern_is_literal(const ar_pattern *p) { return p->literal && p->literal_len; }

void ar__pattern_free(ar_pattern *p) {
    if (!p) return;
    free(p->literal);
    pcre2_code_free(p->code);
    free(p);
}

static int find_literal(const ar_scan *scan, size_t *start, size_t *end) {
    const ar_pattern *p = scan->pattern;
    if (scan->at > scan->n) return 0;
    const char *hit = scan->text + scan->at;
    if (p->literal_len) hit = memmem(hit, scan->n - scan->at, p->literal, p->literal_len);
    if (!hit) return 0;
    *start = (size_t)(hit - scan->text);
    *end = *start + p->literal_len;
    return 1;
}

static int find_regex(const ar_scan *scan, size_t *start, size_t *end, ar_error *err) {
    if (scan->at > scan->n) return 0;
    ar_matcher *m = scan->matcher;
    int r = pcre2_match(scan->pattern->code, (PCRE2_SPTR)scan->text, scan->n, scan->at, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (r == PCRE2_ERROR_NOMATCH) return 0;
    if (r < 0) {
        char why[160];
        pcre2_get_error_message(r, (PCRE2_UCHAR *)why, sizeof why);
        ar__fail(err, AR_ERR_UNSUPPORTED, "text of %zu bytes: the tokenizer's pattern cannot be run over it (%s)", scan->n, why);
        return -1;
    }
    const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(m->data);
    *start = pair[0];
    *end = pair[1];
    return 1;
}

int ar__scan_next(ar_scan *scan, size_t *start, size_t *end, ar_error *err) {
    for (;;) {
        int r = scan->pattern->literal ? find_literal(scan, start, end) : find_regex(scan, start, end, err);
        if (r != 1) return r;
        if (*start == *end && scan->started && scan->last_end == *end) {
            scan->at += scan->at < scan->n ? ar__utf8_size(scan->text[scan->at]) : 1;
            continue;
        }
        scan->at = scan->last_end = *end;
        scan->started = true;
        return 1;
    }
}
