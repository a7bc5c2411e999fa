/* Patterns of tokenizer files: a literal string, or a regular expression in the syntax of Oniguruma (Ruby), which
 * Hugging Face uses.
 *
 * A regular expression is rewritten for PCRE2: every \p{…}, \s, \w, \d and bracket class becomes the explicit ranges of
 * our own Unicode table, and the few spellings on which the two engines disagree ({n,m}+, {,n}, \h, (?m), \b) are spelled out.
 * What cannot be rewritten is refused by name. */
#ifndef AR_TEXT_PATTERN_H
#define AR_TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "alphar/error.h"
#include "base/mem.h"

typedef struct ar_pattern ar_pattern;

/* What one thread needs to run patterns: PCRE2's match data and JIT stack. */
typedef struct ar_matcher ar_matcher;
ar_matcher *ar__matcher_new(void); /* NULL when memory runs out */
void ar__matcher_free(ar_matcher *m);

ar_status ar__pattern_literal(ar_pattern **out, const char *s, size_t n, ar_error *err);
ar_status ar__pattern_regex(ar_pattern **out, const char *s, size_t n, ar_error *err);
void ar__pattern_free(ar_pattern *p);             /* NULL is fine */
bool ar__pattern_is_literal(const ar_pattern *p); /* a string that is not empty */

/* The rewritten expression, appended to out (the first half of ar__pattern_regex). */
ar_status ar__pattern_rewrite(ar_buf *out, const char *s, size_t n, ar_error *err);

/* Successive matches over one text, with Oniguruma's rule for empty ones: none directly behind the last match. */
typedef struct ar_scan {
    const ar_pattern *pattern;
    ar_matcher *matcher;
    const char *text;
    size_t n, at, last_end;
    bool started;
} ar_scan;

/* 1: text[*start, *end) matches; 0: no more; -1: the engine gave up (its message in err). */
int ar__scan_next(ar_scan *scan, size_t *start, size_t *end, ar_error *err);

#endif
