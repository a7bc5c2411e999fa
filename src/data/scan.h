/* A line of data looked at without building its JSON: which fields it has and how long their texts are.
 *
 * The scanner says yes only to what ar__parts_read reads without an error, and leaves everything unusual to it: a second
 * field of a name, escapes in names, exponents, deep nesting, escaped NUL, long lines. */
#ifndef AR_DATA_SCAN_H
#define AR_DATA_SCAN_H

#include "data/parts.h"

/* Bytes of a text in UTF-8, escapes resolved. */
typedef struct ar_extent {
    size_t ascii, other;
} ar_extent;

typedef struct ar_scanned {
    ar_data_kind kind;
    ar_extent prompt, learned; /* what ar_parts has, Alpaca's text and the question's newline included */
    char first;                /* byte of the learned text's JSON, 0 where it is empty */
} ar_scanned;

/* False: not understood; the line may be good or bad. */
bool ar__scan_line(ar_scanned *out, const ar_line *line);

#endif
