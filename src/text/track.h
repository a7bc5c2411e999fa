/* Places of a text that are followed on its way to ids: where its marks change (text/template/template.h).
 *
 *     source   |user typed <|x|>| <|end|> |learned …|      in the text as it came
 *     now      |▁user▁typed▁<|x|>| <|end|> |▁learned …|    in the pieces, as far as they are made
 *
 * Each step that rewrites text says where a place in it comes to lie.  It finds out by rewriting the part before the place: no step needs
 * to know about places. */
#ifndef AR_TEXT_TRACK_H
#define AR_TEXT_TRACK_H

#include "base/mem.h"

/* What an added token is to a conversation.  Ordinary ones match wherever they stand. */
enum { AR_TOKEN_ORDINARY, AR_TOKEN_WRITTEN /* by the template */, AR_TOKEN_SPECIAL };

typedef struct ar_track {
    const uint8_t *control; /* of each added token, what it is; borrowed */
    size_t *source, *now;   /* [count], ascending */
    uint8_t *mark;          /* of what begins there */
    size_t count, cap_source, cap_now, cap_mark;
    size_t moved; /* now[0, moved) are known */
    ar_buf part, spare;
} ar_track;

/* The places at which marks [n] change.  False when memory runs out. */
bool ar__track_begin(ar_track *t, const uint8_t *marks, size_t n, const uint8_t *control);
void ar__track_release(ar_track *t); /* safe on a zeroed one */

/* Whether an added token (its index) may match [from, to), by places in `at` (source, or the first `count` of now): what people wrote
 * becomes no token that the template writes, and an assistant's text none that is special. */
bool ar__track_allows(const ar_track *t, const size_t *at, size_t count, size_t from, size_t to, size_t token);
/* Whether [from, to) of what is now touches something to be learned; an empty one where it lies within.  *cursor: 0 at first; from ascends.
 */
bool ar__track_touches(const ar_track *t, size_t from, size_t to, size_t *cursor);

#endif
