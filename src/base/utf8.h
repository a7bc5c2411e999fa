/* UTF-8 that comes from outside: the strict check at the door.  Stepping through checked text is text/utf8.h. */
#ifndef AR_BASE_UTF8_H
#define AR_BASE_UTF8_H

#include <stddef.h>

/* The bytes of the longest valid beginning of s (no overlong forms, no surrogates, nothing above U+10FFFF). */
size_t ar__utf8_valid(const char *s, size_t n);

#endif
