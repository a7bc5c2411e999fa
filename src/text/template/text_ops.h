/* What filters and methods of text have in common. */
#ifndef AR_TEXT_TEMPLATE_TEXT_OPS_H
#define AR_TEXT_TEMPLATE_TEXT_OPS_H

#include "text/template/run.h"

enum { AR_STRIP_LEFT = 1, AR_STRIP_RIGHT = 2 };

/* Without the characters of `chars` (NULL: white space) at its ends. */
ar_jstr *ar__j_strip(ar_jinja *j, ar_jstr *s, const ar_jstr *chars, int sides);
/* Writes s with up to `count` (< 0: all) of `old` replaced. */
bool ar__j_put_replaced(ar_jinja *j, const ar_jstr *s, const ar_jstr *old, const ar_jstr *by, int64_t count);
/* s.split, s.rsplit: parts between separators (NULL: runs of white space), at most `most` cuts (< 0: all). */
ar_jlist *ar__j_split(ar_jinja *j, ar_jstr *s, const ar_jstr *separator, int64_t most, bool from_right);
ar_jlist *ar__j_split_lines(ar_jinja *j, ar_jstr *s, bool keep_ends);
/* Writes s with `fill` around it to a width in code points: align '<', '>', '^' as format does, 'c' as str.center, which puts an odd one
 * elsewhere. */
bool ar__j_put_padded(ar_jinja *j, ar_jstr *s, int64_t width, char align, const ar_jstr *fill);

#endif
