/* Numbers that jansson cannot hold, between json.c and its text; the note that stands for one is json.h's. */
#ifndef AR_FORMAT_JSON_NUMBER_H
#define AR_FORMAT_JSON_NUMBER_H

#include <stddef.h>

#include "base/mem.h"

/* Appends the text with integers past 64 bits as reals, and numbers past a double's, NaN and infinities as notes.  The
 * text need not be valid JSON; a number that was fine stays as it was spelt, and so does all else. */
void ar__json_rewrite_numbers(ar_buf *out, const char *text, size_t n, bool note_integers);

#endif
