/* The two models behind a tokenizer: byte pair encoding and unigram.  Each turns one piece of text into ids. */
#ifndef AR_TEXT_MODEL_H
#define AR_TEXT_MODEL_H

#include "alphar/tokenizer.h"
#include "text/trie.h"
#include "text/vocab.h"

/* Appends to out; false when memory runs out. */
bool ar__ids_add(ar_ids *out, int32_t id);

/* ---- byte pair encoding ----------------------------------------------------------------------------------------
 * A word starts as its characters and the pair of lowest rank merges, the leftmost first, until none is left.
 * A character outside the vocabulary is a symbol of its own, -1 - code point, until the end. */

typedef struct ar_bpe_merge {
    uint64_t key; /* left << 32 | right; BPE_FREE: no merge here */
    uint32_t rank;
    int32_t id;
} ar_bpe_merge;

typedef struct ar_bpe {
    const ar_vocab *vocab;
    ar_bpe_merge *merge;
    size_t merge_count, slot_count;
    int32_t unk;          /* -1: characters that are unknown vanish */
    int32_t byte_id[256]; /* <0x00> … <0xFF>, -1 where missing */
    bool fuse_unk, byte_fallback, ignore_merges;
    bool late_unk;          /* SentencePiece: unknown characters may merge, and become bytes or unk afterwards */
    bool cut_at_mark;       /* no token goes on from something else into ▁: words may be merged one by one */
    char *prefix, *suffix;  /* of characters that do not start / that end a word; NULL: none */
    int32_t char_id[0x800]; /* of the small code points, without prefix and suffix */
} ar_bpe;

/* Sets up everything but the merges.  The vocabulary must be complete; it is borrowed. */
void ar__bpe_init(ar_bpe *m, const ar_vocab *vocab);
bool ar__bpe_reserve(ar_bpe *m, size_t merges);
/* A later merge of the same pair replaces the earlier one. */
bool ar__bpe_add(ar_bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t id);
/* Call when all merges are in: decides cut_at_mark. */
void ar__bpe_finish(ar_bpe *m);
void ar__bpe_release(ar_bpe *m);
/* The symbol of one character: its id, or -1 - code point. */
int32_t ar__bpe_symbol(const ar_bpe *m, const char *s, size_t n);

/* ---- unigram ---------------------------------------------------------------------------------------------------
 * The cut of a text whose pieces' scores sum highest (Viterbi); an unknown character costs the lowest score minus ten. */

typedef struct ar_unigram {
    const ar_vocab *vocab;
    ar_trie trie;
    double *score; /* by id */
    size_t score_count;
    double unk_score;
    int32_t unk; /* -1: unknown characters are an error */
    int32_t byte_id[256];
    bool byte_fallback;
    bool sentencepiece; /* sums kept in float, as SentencePiece does; otherwise double, as Hugging Face does */
} ar_unigram;

void ar__unigram_release(ar_unigram *m);

/* ---- running ---------------------------------------------------------------------------------------------------*/

/* What one thread needs: symbols, heap, Viterbi states, and a cache of words. */
typedef struct ar_model_work ar_model_work;
ar_model_work *ar__model_work_new(void); /* NULL when memory runs out */
void ar__model_work_free(ar_model_work *w);

ar_status ar__bpe_encode(ar_ids *out, const ar_bpe *m, const char *s, size_t n, ar_model_work *work, ar_error *err);
ar_status ar__unigram_encode(ar_ids *out, const ar_unigram *m, const char *s, size_t n, ar_model_work *work, ar_error *err);

/* Fills byte_id from the tokens <0x00> … <0xFF>; true if all are there. */
bool ar__byte_tokens(int32_t byte_id[256], const ar_vocab *vocab);

#endif
