/* The inside of ar_model_work, shared by the models. */
#ifndef AR_TEXT_MODEL_WORK_H
#define AR_TEXT_MODEL_WORK_H

#include "text/model.h"

enum { AR_CACHE_SLOTS = 1 << 14, AR_CACHE_KEY = 30, AR_CACHE_IDS = 8 };

/* One cache line: a word and its ids.  A slot is overwritten by the next word that falls on it. */
typedef struct ar_cached {
    uint8_t len, count; /* len 0: empty */
    char key[AR_CACHE_KEY];
    int32_t id[AR_CACHE_IDS];
} ar_cached;

/* A symbol of a long word: a doubly linked list, and the merge with its right neighbour. */
typedef struct ar_symbol {
    int32_t id, prev, next; /* -1: none */
    int32_t merged;         /* what the pair becomes */
    uint32_t rank;          /* of the pair; UINT32_MAX: does not merge */
} ar_symbol;

/* The best way to get to a byte of the text. */
typedef struct ar_best {
    double score;
    size_t from; /* SIZE_MAX: not reached */
    int32_t id;
} ar_best;

struct ar_model_work {
    ar_cached *cache;
    int32_t *id; /* the symbols that a word starts as */
    size_t id_count, id_cap;
    ar_symbol *symbol;
    size_t symbol_cap;
    uint64_t *heap; /* rank << 32 | position, smallest first */
    size_t heap_count, heap_cap;
    ar_best *best;
    size_t best_cap;
    size_t *path; /* ends of the pieces on the best way, last first */
    size_t path_count, path_cap;
};

#endif
