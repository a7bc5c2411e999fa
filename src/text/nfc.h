/* The four Unicode normal forms, as Hugging Face's library computes them: with tables from before Unicode 10, so that
 * later marks neither move nor compose. */
#ifndef AR_TEXT_NFC_H
#define AR_TEXT_NFC_H

#include "base/mem.h"
#include "text/unicode.h"

typedef enum ar_form { AR_NFC, AR_NFD, AR_NFKC, AR_NFKD } ar_form;

/* Whether valid UTF-8 is known to be in the form already (false: perhaps not). */
bool ar__form_is_set(ar_form form, const char *s, size_t n, const ar_unicode *unicode);

/* Appends the form of valid UTF-8; out->failed when memory runs out. */
void ar__form_put(ar_buf *out, ar_form form, const char *s, size_t n, const ar_unicode *unicode);

#endif
