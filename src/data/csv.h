/* Tables (RFC 4180): a first record of names, then one sample a record; fields in quotes may hold the delimiter, newlines, and quotes
 * written twice.
 *
 *     question,answer                         {"question": "2, or 3?", "answer": "2"}
 *     "2, or 3?",2                      →                                                   one JSON object a line, all values strings */
#ifndef AR_DATA_CSV_H
#define AR_DATA_CSV_H

#include "alphar/error.h"
#include "base/mem.h"

/* Appends the lines, and to numbers (one size_t each) the line of the table at which each record begins.  Errors: AR_ERR_FORMAT `PATH:LINE:
 * …`. */
ar_status ar__csv_to_lines(ar_buf *out, ar_buf *numbers, const char *text, size_t n, char delimiter, const char *path, ar_error *err);

#endif
