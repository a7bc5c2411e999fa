/* How many tokens a text can become, told by its bytes alone, so that data can be counted before it is tokenized.
 *
 *     1 ≤ tokens of a text that is not empty ≤ fixed + ASCII bytes + other · other bytes
 *
 * The model starts a text as at most one symbol a byte and only merges; what comes before it must not take anything
 * away, and what it adds is in `fixed` and `other` (form C at most triples UTF-8). */
#ifndef AR_TEXT_BOUND_H
#define AR_TEXT_BOUND_H

#include <stdbool.h>

#include "alphar/tokenizer.h"

typedef struct ar_token_bound {
    size_t specials; /* so many stand around a whole text, its own or added… */
    size_t longest;  /* bytes of the longest of these: a text that is no longer may be that token and nothing else */
    size_t fixed;    /* …they and what is put in front of a text */
    size_t other;
    int32_t ids; /* all are below */
} ar_token_bound;

/* False where no bound is known: SentencePiece files, unigram, normal forms other than C, patterns that take text away. */
bool ar__token_bound(ar_token_bound *out, const ar_tokenizer *tk);
static inline bool ar__token_starts_word(char c) {
    unsigned char low = (unsigned char)c | 0x20;
    return (unsigned char)c >= 0x80 || (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9');
}
/* Whether a token's text starts with neither letter, digit nor anything beyond ASCII: a text that does is not this token. */
bool ar__token_is_mark(const ar_tokenizer *tk, int32_t id);

#endif
