/* Tokens by text and by id.  Texts live in one buffer; the hash table holds entry numbers.
 *
 *     entry:  id | offset into bytes | length           by_id[id] = entry number + 1, 0 where the id is unused */
#ifndef AR_TEXT_VOCAB_H
#define AR_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { AR_VOCAB_MAX_ID = 1 << 24 }; /* larger ids in a file are a mistake or an attack */

typedef struct ar_vocab_entry {
    int32_t id;
    uint32_t len;
    size_t at;
} ar_vocab_entry;

typedef struct ar_vocab {
    ar_vocab_entry *entry;
    size_t count, cap;
    char *bytes;
    size_t bytes_len, bytes_cap;
    uint32_t *slot; /* entry number + 1 */
    size_t slot_count;
    uint32_t *by_id;
    size_t id_count, id_cap; /* id_count: one more than the largest id */
} ar_vocab;

/* 64-bit hash of n bytes, eight at a time. */
static inline uint64_t ar__hash_bytes(const char *s, size_t n) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ n, w = 0;
    for (; n >= 8; n -= 8, s += 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    if (n >= 4) { /* two copies of fixed size that overlap, instead of a call */
        uint32_t low, high;
        memcpy(&low, s, 4);
        memcpy(&high, s + n - 4, 4);
        w = (uint64_t)high << 32 | low;
    } else {
        w = n ? (uint64_t)(unsigned char)s[0] << 16 | (uint64_t)(unsigned char)s[n / 2] << 8 | (unsigned char)s[n - 1] : 0;
    }
    h = (h ^ w) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

/* Room for `count` tokens, to save rehashing.  False when memory runs out. */
bool ar__vocab_reserve(ar_vocab *v, size_t count);
/* Adds a token.  A text that is there already means the new id from now on (both ids keep the text); an id that is taken
 * keeps its first text.  0 ≤ id < AR_VOCAB_MAX_ID. */
bool ar__vocab_add(ar_vocab *v, const char *s, size_t n, int32_t id);
int32_t ar__vocab_find(const ar_vocab *v, const char *s, size_t n); /* -1 if absent */
/* The text of an id; NULL where no token has it. */
const char *ar__vocab_text(const ar_vocab *v, int32_t id, size_t *len);
void ar__vocab_release(ar_vocab *v);

#endif
