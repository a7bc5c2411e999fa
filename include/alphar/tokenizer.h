/* Text to token ids and back, equal to Hugging Face's `tokenizers` for the same file.
 *
 * Reads `tokenizer.json` (byte-level BPE, SentencePiece-style BPE with byte fallback, unigram) and SentencePiece's
 * own `tokenizer.model` protobuf.  A tokenizer is immutable after opening; encode and decode may be called from
 * several threads at once. */
#ifndef ALPHAR_TOKENIZER_H
#define ALPHAR_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ar_tokenizer ar_tokenizer;

/* Ids that grow.  Zero it before first use; ar_ids_release frees. */
typedef struct ar_ids {
    int32_t *id;
    size_t count, cap;
} ar_ids;
AR_API void ar_ids_release(ar_ids *ids);

/* path: a folder with tokenizer.json (preferred) or tokenizer.model, or one such file.
 * tokenizer_config.json beside it, where present, names BOS/EOS and add_bos_token/add_eos_token.
 * Caller frees with ar_tokenizer_free. */
AR_API ar_status ar_tokenizer_open(ar_tokenizer **out, const char *path, ar_error *err);
AR_API void ar_tokenizer_free(ar_tokenizer *tk); /* NULL is fine */

/* One more than the largest id (added tokens included). */
AR_API int32_t ar_tokenizer_count(const ar_tokenizer *tk);
/* -1 where the tokenizer has none. */
AR_API int32_t ar_tokenizer_bos(const ar_tokenizer *tk);
AR_API int32_t ar_tokenizer_eos(const ar_tokenizer *tk);
/* The id of a token by its exact content (vocabulary or added), -1 if absent. */
AR_API int32_t ar_tokenizer_find(const ar_tokenizer *tk, const char *content);

enum {
    AR_TOKENIZE_SPECIAL = 1,  /* run the post-processor: BOS/EOS as the tokenizer adds them */
    AR_TOKENIZE_NO_PREFIX = 2 /* do not put SentencePiece's dummy prefix in front (a continuation; rarely wanted) */
};

/* Appends the ids of the n bytes of text (UTF-8) to out.  Added tokens inside the text always match.
 * Errors: AR_ERR_VALUE for text that is not UTF-8 (the message has the byte offset), AR_ERR_MEMORY. */
AR_API ar_status ar_tokenizer_encode(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, unsigned flags, ar_error *err);

enum { AR_TOKENIZE_OWN_BOS = 1, AR_TOKENIZE_OWN_EOS = 2 };

/* The ids of a whole text as a model is to see it: with the special tokens that the tokenizer adds, each end once.  What the
 * text itself begins or ends with (a chat template writes BOS into it) is not added again, and *own (may be NULL) tells
 * which: the text's own BOS in front, its own EOS behind.  Training, eval, generate, score and tokenize encode with this. */
AR_API ar_status ar_tokenizer_encode_whole(ar_ids *out, unsigned *own, const ar_tokenizer *tk, const char *text, size_t n, ar_error *err);

/* Decodes ids to UTF-8 (invalid bytes become U+FFFD, as in Hugging Face).  skip_special leaves special tokens out.
 * *out is malloc'ed and NUL-terminated, *n its length without the NUL; caller frees.
 * Errors: AR_ERR_VALUE for an id outside the vocabulary. */
AR_API ar_status ar_tokenizer_decode(char **out, size_t *n, const ar_tokenizer *tk, const int32_t *ids, size_t count, bool skip_special,
                                     ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
