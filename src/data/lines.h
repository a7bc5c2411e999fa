/* The rows of a file as texts of JSON, one object each:
 *
 *     JSON Lines   a line each; UTF-8, blank lines skipped, BOM and CRLF accepted
 *     JSON         one array: an element each, wherever its lines end
 *     CSV, TSV     a record each (data/csv.h), told by the name or by a first line that is no JSON
 *     -            standard input, any of these
 *     FILE:0.3     that share of the rows, which ones the seed says; FILE:2 all of them twice, FILE:2.5 and half of them again */
#ifndef AR_DATA_LINES_H
#define AR_DATA_LINES_H

#include "base/file.h"
#include "base/mem.h"

/* One row; number counts lines from 1, blank ones too: that at which it begins. */
typedef struct ar_line {
    const char *text;
    size_t size, number;
    uint32_t file;      /* of several; the reader's */
    const char *broken; /* what is wrong with the file here, in the place of a row; NULL: nothing */
} ar_line;

typedef struct ar_lines {
    ar_filemap map;
    ar_buf made, numbers; /* of a table: its rows as JSON Lines, and their numbers */
    const char *path;     /* borrowed */
    char *file;           /* path without its share */
    const char *text;     /* the map's, what came on standard input, or what was made */
    size_t size, at, number, row;
    bool array, some, closed; /* of an array: an element was read; its end was met */
    double share;
    uint64_t seed;
    size_t begin, begin_number; /* of the rows */
    size_t rows, wanted, taken; /* of the last pass, where not all rows are wanted */
    uint64_t passes;            /* that are still to come */
} ar_lines;

/* input: what came on standard input, for the path `-` (NULL: none can).  Refuses by name what is none of these: archives, Parquet, UTF-16,
 * a Git LFS pointer, plain text. */
ar_status ar__lines_open(ar_lines *out, const char *path, const ar_buf *input, uint64_t seed, ar_error *err);
void ar__lines_close(ar_lines *l);
bool ar__lines_next(ar_line *out, ar_lines *l); /* false at the end */
/* Whether rows are parts of the file as it lies there. */
static inline bool ar__lines_are_mapped(const ar_lines *l) { return l->map.data && l->text == (const char *)l->map.data; }

/* The file that a path means, without `:0.3`; caller frees.  NULL without memory. */
char *ar__share_split(double *share, const char *path);
/* All of standard input.  Errors: AR_ERR_IO. */
ar_status ar__input_read(ar_buf *out, ar_error *err);

/* Offset of the first byte that is not UTF-8 (RFC 3629: no overlong forms, no surrogates), n where there is none. */
size_t ar__utf8_bad_at(const char *text, size_t n);

#endif
