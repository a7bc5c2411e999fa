/* Regular expressions over module paths, as Python's `re` reads them in PEFT's configurations (PCRE2). */
#ifndef AR_ADAPTER_REGEX_H
#define AR_ADAPTER_REGEX_H

#include <stdbool.h>

#include "alphar/error.h"

typedef struct ar_regex ar_regex;

typedef enum ar_regex_kind {
    AR_REGEX_FULL,  /* re.fullmatch */
    AR_REGEX_PREFIX /* re.match: from the start, the end is free */
} ar_regex_kind;

/* format with one %s for text, or NULL for text alone.  Errors name text and the place in it. */
ar_status ar__regex_new(ar_regex **out, const char *format, const char *text, ar_regex_kind kind, ar_error *err);
void ar__regex_free(ar_regex *re); /* NULL is fine */
/* *out: does it match?  *index (may be NULL) becomes the number in the group `idx`, −1 where there is none.
 * Errors: a pattern whose matching runs away. */
ar_status ar__regex_match(bool *out, long *index, const ar_regex *re, const char *subject, ar_error *err);

#endif
