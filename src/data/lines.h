/* The lines of a JSON Lines file: UTF-8, one JSON object a line, blank lines skipped, BOM and CRLF accepted. */
#ifndef AR_DATA_LINES_H
#define AR_DATA_LINES_H

#include "base/file.h"

/* One line without its end, inside the mapped file; number counts from 1 and includes blank lines. */
typedef struct ar_line {
    const char *text;
    size_t size, number;
    uint32_t file; /* of several; the reader's */
} ar_line;

typedef struct ar_lines {
    ar_filemap map;
    const char *path; /* borrowed */
    size_t at, number;
} ar_lines;

/* Refuses by name what is no JSON Lines file as a whole: a JSON array (with the jq command that converts it), archives,
 * Parquet, UTF-16, a Git LFS pointer. */
ar_status ar__lines_open(ar_lines *out, const char *path, ar_error *err);
void ar__lines_close(ar_lines *l);
bool ar__lines_next(ar_line *out, ar_lines *l); /* false at the end */

/* Offset of the first byte that is not UTF-8 (RFC 3629: no overlong forms, no surrogates), n where there is none. */
size_t ar__utf8_bad_at(const char *text, size_t n);

#endif
