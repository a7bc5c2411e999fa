/* The vocabulary inside a GGUF file.
 *
 *     tokenizer.ggml.model        llama: SentencePiece's BPE by scores; gpt2: byte-level BPE by merges
 *     tokenizer.ggml.tokens       [n] strings, by id
 *     tokenizer.ggml.token_type   [n] as SentencePiece's: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
 *     tokenizer.ggml.scores       [n] of llama
 *     tokenizer.ggml.merges       "left right", of gpt2
 *     tokenizer.ggml.pre          how a text is cut before BPE, of gpt2 */
#ifndef AR_TEXT_GGUF_VOCAB_H
#define AR_TEXT_GGUF_VOCAB_H

#include <jansson.h>
#include <stdbool.h>

#include "alphar/error.h"
#include "format/gguf.h"
#include "text/spm.h"

/* Of a SentencePiece vocabulary that has this as a control piece, texts behind control pieces get no space in front. */
#define AR_GGUF_NO_SPACE "[INST]"

enum { AR_PRETOK_NAMES = 12, AR_PRETOK_CUTS = 6 };

typedef struct ar_gguf_pretok {
    const char *name[AR_PRETOK_NAMES], *cut[AR_PRETOK_CUTS];
    bool nfc;   /* the text is normalised so */
    bool whole; /* a word that is a token is not merged from its letters (ignore_merges) */
    bool bos;   /* added where the file does not say */
    bool marks; /* no bytes: as SentencePiece does, spaces are marks and the text is one word */
} ar_gguf_pretok;

const ar_gguf_pretok *ar__gguf_pretok_find(const char *name, size_t n); /* NULL: not known */
/* Puts normalizer, pre_tokenizer and decoder of a tokenizer.json; false: out of memory. */
bool ar__gguf_pretok_put(json_t *root, const ar_gguf_pretok *p);

/* The name of how the tokenizer.json cuts texts; of several the one that the architecture has.  NULL: it has none. */
const char *ar__gguf_pretok_name(const json_t *root, const char *architecture);

struct ar_gguf_writer;
struct ar_log;
/* The tokenizer of a folder as key-values, its chat templates too.  config: config.json, for ids of special tokens that the tokenizer does
 * not name; vocab: rows of the embedding.  Errors: AR_ERR_UNSUPPORTED for a tokenizer that llama.cpp has no name for. */
ar_status ar__gguf_put_vocab(struct ar_gguf_writer *w, const char *folder, const char *architecture, const json_t *config, int64_t vocab,
                             const struct ar_log *log, ar_error *err);
/* Whether the tokenizers of two bases (folders or files) give the same ids, tried on a text of many scripts; else AR_ERR_UNSUPPORTED. */
ar_status ar__tokenizers_agree(const char *a, const char *b, ar_error *err);

/* The vocabulary as a tokenizer.json has it, of byte-level BPE, or as pieces. */
typedef struct ar_gguf_vocab {
    json_t *root;       /* NULL: pieces */
    ar_spm_file pieces; /* views of the file */
    bool legacy;        /* a text behind a control piece is prefixed as well */
    int64_t bos, eos;   /* put around a text; -1: not */
} ar_gguf_vocab;
ar_status ar__gguf_vocab_open(ar_gguf_vocab *out, const ar_gguf *g, ar_error *err); /* ar__gguf_vocab_close in any case */
void ar__gguf_vocab_close(ar_gguf_vocab *v);
/* tokenizer.json and tokenizer_config.json of the file's tokenizer, malloc'ed texts.  Errors: AR_ERR_UNSUPPORTED for a vocabulary that
 * no tokenizer.json stands for. */
ar_status ar__gguf_tokenizer_json(char **json, char **config, const char *path, ar_error *err);

struct ar_tokenizer;
/* Fills a tokenizer from the file. */
ar_status ar__tokenizer_read_gguf(struct ar_tokenizer *tk, const char *path, ar_error *err);

#endif
