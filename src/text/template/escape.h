/* What a string literal says: Python's escapes, \n \t \\ \' \x41 \u00e9 \U0001f600 \101 and a backslash at the end of a line. */
#ifndef AR_TEXT_TEMPLATE_ESCAPE_H
#define AR_TEXT_TEMPLATE_ESCAPE_H

#include "base/mem.h"

/* NULL, or what is wrong. */
const char *ar__j_unescape(ar_buf *out, const char *s, size_t n);

#endif
