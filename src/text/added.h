/* Added tokens: texts that become one id wherever they stand, before the model is asked.
 *
 * Those with normalized = false match the text as it came, the others (by their normalised form) the normalised text;
 * of several that start at one place the longest wins. */
#ifndef AR_TEXT_ADDED_H
#define AR_TEXT_ADDED_H

#include <jansson.h>

#include "alphar/error.h"
#include "text/normalize.h"
#include "text/pieces.h"
#include "text/track.h"
#include "text/trie.h"
#include "text/unicode.h"
#include "text/vocab.h"

typedef struct ar_added_token {
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    char *shown; /* what decoding shows: the normalised form; NULL: the content */
    size_t shown_len;
} ar_added_token;

typedef struct ar_added {
    ar_added_token *token;
    size_t count, cap;
    ar_vocab content;    /* text → id */
    ar_vocab number;     /* text → index in token */
    ar_trie raw, normal; /* → index in token */
    uint32_t *by_id;     /* index + 1 */
    size_t by_id_count;
} ar_added;

/* list: the "added_tokens" of a tokenizer.json.  Ids are the vocabulary's where it has the text, else count on from its size,
 * whatever the file says (as in Hugging Face). */
ar_status ar__added_read(ar_added *out, const json_t *list, const ar_vocab *vocab, const ar_normal *normal, ar_matcher *matcher,
                         const ar_unicode *unicode, ar_error *err);
void ar__added_release(ar_added *a);

/* The token of an id, NULL if it is none. */
const ar_added_token *ar__added_find(const ar_added *a, int32_t id);
/* Whether a text is that of a special token. */
bool ar__added_is_special(const ar_added *a, const char *s, size_t n);

/* Cuts text[at, at + len) of out->text at the tokens of a trie and appends the pieces.  track: not NULL where some must not match; by its
 * source for the tokens that match the text as it came, by what is moved already for the others. */
void ar__added_cut(const ar_added *a, const ar_trie *trie, ar_pieces *out, size_t at, size_t len, bool first, const ar_unicode *unicode,
                   const ar_track *track);

#endif
