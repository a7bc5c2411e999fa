/* A byte trie whose edges sit in one hash table: (node, byte) → node.  Every string has a value ≥ 0. */
#ifndef AR_TEXT_TRIE_H
#define AR_TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ar_trie_edge {
    uint32_t key;  /* node * 256 + byte + 1; 0: free */
    uint32_t node; /* where it leads */
} ar_trie_edge;

typedef struct ar_trie {
    ar_trie_edge *edge;
    size_t edge_count, slot_count;
    int32_t *value; /* per node; -1: no string ends here */
    size_t node_count, node_cap;
    uint32_t root[256]; /* the root's edges, which are asked for most; 0: none */
} ar_trie;

/* Adds a string or replaces its value; false when memory (or the 2^24 nodes) run out. */
bool ar__trie_add(ar_trie *t, const char *s, size_t n, int32_t value);
void ar__trie_release(ar_trie *t);

/* The node behind an edge, 0 if there is none (the root is never behind one). */
static inline uint32_t ar__trie_step(const ar_trie *t, uint32_t node, unsigned char byte) {
    if (node == 0) return t->root[byte];
    uint32_t key = node * 256 + byte + 1;
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) & (t->slot_count - 1);
    while (t->edge[at].key) {
        if (t->edge[at].key == key) return t->edge[at].node;
        at = (at + 1) & (t->slot_count - 1);
    }
    return 0;
}

/* The longest string of the trie that s starts with: its bytes (0: none) and value. */
static inline size_t ar__trie_longest(const ar_trie *t, const char *s, size_t n, int32_t *value) {
    size_t best = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = ar__trie_step(t, node, (unsigned char)s[i]);
        if (!node) break;
        if (t->value[node] >= 0) {
            best = i + 1;
            *value = t->value[node];
        }
    }
    return best;
}

#endif
