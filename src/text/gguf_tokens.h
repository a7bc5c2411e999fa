/* A folder's vocabulary as the lists of a GGUF file (text/gguf_vocab.h): collected here, written by gguf_vocab_write.c. */
#ifndef AR_TEXT_GGUF_TOKENS_H
#define AR_TEXT_GGUF_TOKENS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "alphar/error.h"
#include "base/strings.h"

typedef struct ar_gguf_tokens {
    char **text; /* by id, owned; "[PADn]", unused, where the folder has none */
    int32_t *type;
    float *score; /* of SentencePiece's */
    size_t count;
    ar_strings merges; /* "left right" */
} ar_gguf_tokens;

/* `count` places, all of them unused. */
ar_status ar__gguf_tokens_init(ar_gguf_tokens *t, size_t count, float score, ar_error *err);
void ar__gguf_tokens_release(ar_gguf_tokens *t);
int32_t ar__gguf_tokens_find(const ar_gguf_tokens *t, const char *text); /* -1 if absent */

/* Vocabulary, added tokens and merges of a tokenizer.json. */
ar_status ar__gguf_tokens_add_json(ar_gguf_tokens *t, const json_t *root, ar_error *err);
/* Scores such that SentencePiece's merging by scores does what the merges say. */
ar_status ar__gguf_tokens_rank(ar_gguf_tokens *t, ar_error *err);
/* Pieces of a tokenizer.model. */
ar_status ar__gguf_tokens_add_model(ar_gguf_tokens *t, const char *path, ar_error *err);
/* What else is added: {"id": {"content", "special"}} of tokenizer_config.json, {"content": id} of added_tokens.json, and the
 * "added_tokens" of a tokenizer.json; NULL adds nothing. */
ar_status ar__gguf_tokens_add_added(ar_gguf_tokens *t, const json_t *decoder, const json_t *by_content, const json_t *list, ar_error *err);

#endif
