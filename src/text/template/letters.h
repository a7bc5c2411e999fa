/* Letters as Python's str sees them, over utf8proc's tables. */
#ifndef AR_TEXT_TEMPLATE_LETTERS_H
#define AR_TEXT_TEMPLATE_LETTERS_H

#include "text/template/run.h"

typedef enum ar_jcase { AR_CASE_UPPER, AR_CASE_LOWER, AR_CASE_FOLD, AR_CASE_SWAP, AR_CASE_TITLE, AR_CASE_CAPITALIZE } ar_jcase;

/* Writes bytes [from, to) of s in that case: str.upper, lower, casefold, swapcase, title, capitalize. */
/* Of what is a word counts only what lies in [from, to). */
void ar__j_put_case(ar_jinja *j, const ar_jstr *s, size_t from, size_t to, ar_jcase how);
bool ar__j_is_cased(const ar_jstr *s, bool upper); /* str.isupper, islower */
bool ar__j_is_title(const ar_jstr *s);

typedef enum ar_jletters {
    AR_ARE_ALPHA,
    AR_ARE_ALNUM,
    AR_ARE_DIGIT,
    AR_ARE_DECIMAL,
    AR_ARE_NUMERIC,
    AR_ARE_SPACE,
    AR_ARE_PRINTABLE
} ar_jletters;
bool ar__j_are(const ar_jstr *s, ar_jletters what); /* of every character, and there is one */
bool ar__j_is_printable(uint32_t point);
bool ar__j_is_word(uint32_t point); /* \w of Python's re */
bool ar__j_is_decimal(uint32_t point);
int ar__j_digit(uint32_t point);        /* the value of a decimal digit of any script */
bool ar__j_starts_name(uint32_t point); /* an identifier */

#endif
