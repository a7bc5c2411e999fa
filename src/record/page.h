/* An HTML page that is one file: no script, nothing fetched, light and dark as the reader's system has it, from 390 px on.
 *
 *     <!DOCTYPE html> … <style>…</style> … <section>…</section> … </html> */
#ifndef AR_RECORD_PAGE_H
#define AR_RECORD_PAGE_H

#include "base/mem.h"

/* Text with &, <, > and quotes escaped; bytes that are no UTF-8, and control characters, become U+FFFD. */
void ar__html_text(ar_buf *out, const char *text);
/* The same with the text formatted first (at most 2000 bytes of it). */
void ar__html_printf(ar_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The head up to <main>, with the line by which a file is known as a report; the end. */
void ar__page_begin(ar_buf *out, const char *title);
void ar__page_end(ar_buf *out);
#define AR_PAGE_MARK "<!-- a report by alphar"

void ar__page_heading(ar_buf *out, int level, const char *text);
/* Something to know, set off from the rest. */
void ar__page_note(ar_buf *out, const char *text);
/* A line to copy. */
void ar__page_code(ar_buf *out, const char *text);

/* A number by its format, which has one %…g or %…f; a dash where it is none. */
const char *ar__figure(char out[40], const char *format, double x);

/* Figures side by side: a large value over what it is. */
void ar__page_tiles_begin(ar_buf *out);
void ar__page_number(ar_buf *out, const char *what, const char *format, double x);
void ar__page_tile(ar_buf *out, const char *what, const char *format, ...) __attribute__((format(printf, 3, 4)));
void ar__page_tiles_end(ar_buf *out);

/* A table that scrolls sideways where it has to; cells are text.  align: a letter a column, l or r. */
void ar__page_table_begin(ar_buf *out, const char *const *heads, const char *align, size_t columns);
void ar__page_row_begin(ar_buf *out, const char *class_name); /* NULL: none */
void ar__page_cell(ar_buf *out, const char *align, size_t column, const char *text);
void ar__page_row_end(ar_buf *out);
void ar__page_table_end(ar_buf *out);

/* What is folded away until it is asked for. */
void ar__page_fold_begin(ar_buf *out, const char *summary);
void ar__page_fold_end(ar_buf *out);

/* Charts side by side where there is room. */
void ar__page_charts_begin(ar_buf *out);
void ar__page_charts_end(ar_buf *out);

#endif
