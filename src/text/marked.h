/* The ids of a text whose bytes have marks (text/template/template.h): one encoding of the whole, without anything added in front or
 * behind.
 *
 *     <|user|> Tell me of <|user|> and … <|assistant|> Once upon a time <|end|>
 *              ^^^^^^^^^^^^^^^^^^^^^ from outside: letters, no token      ^^^^^^^ learned */
#ifndef AR_TEXT_MARKED_H
#define AR_TEXT_MARKED_H

#include "alphar/tokenizer.h"
#include "text/template/template.h"

/* What each added token of a tokenizer is to conversations in one template: special ones, and those that the template writes (but for white
 * space), are kept from matching what people wrote (text/track.h). */
typedef struct ar_control {
    uint8_t *token; /* by index of the added token */
} ar_control;

ar_status ar__control_init(ar_control *out, const ar_tokenizer *tk, const ar_template *t, ar_error *err);
void ar__control_release(ar_control *c); /* safe on a zeroed one */

/* Appends ids, and to `learned` (its bytes) for each of them 1 where it touches a byte marked AR_LEARNED.  Text is valid UTF-8. */
ar_status ar__tokenizer_encode_marked(ar_ids *ids, ar_buf *learned, const ar_tokenizer *tk, const char *text, const uint8_t *marks,
                                      size_t n, const ar_control *control, ar_error *err);

#endif
