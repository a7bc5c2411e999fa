#include "text/trie.h"

#include <stdlib.h>

#include "base/mem.h"

enum { MAX_NODES = (1 << 24) - 2 }; /* the key of an edge is 32 bits */

static void put_edge(ar_trie *t, ar_trie_edge e) {
    size_t at = (size_t)((e.key * 0x9e3779b97f4a7c15u) >> 20) & (t->slot_count - 1);
    while (t->edge[at].key) at = (at + 1) & (t->slot_count - 1);
    t->edge[at] = e;
}

static bool reserve_edges(ar_trie *t) {
    if (t->slot_count && (t->edge_count + 1) * 2 <= t->slot_count) return true;
    ar_trie old = *t;
    t->slot_count = old.slot_count ? old.slot_count * 2 : 64;
    t->edge = ar__alloc(t->slot_count, sizeof *t->edge);
    if (!t->edge) {
        *t = old;
        return false;
    }
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.edge[i].key) put_edge(t, old.edge[i]);
    }
    free(old.edge);
    return true;
}

static bool new_node(ar_trie *t) {
    int32_t *v = t->node_count < MAX_NODES ? ar__grow(t->value, &t->node_cap, t->node_count + 1, sizeof *v) : NULL;
    if (!v) return false;
    t->value = v;
    v[t->node_count++] = -1;
    return true;
}

bool ar__trie_add(ar_trie *t, const char *s, size_t n, int32_t value) {
    if (!t->node_count && !new_node(t)) return false;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)s[i];
        if (!reserve_edges(t)) return false;
        uint32_t next = ar__trie_step(t, node, byte);
        if (!next) {
            next = (uint32_t)t->node_count;
            if (!new_node(t)) return false;
            if (node == 0)
                t->root[byte] = next;
            else {
                put_edge(t, (ar_trie_edge){.key = node * 256 + byte + 1, .node = next});
                t->edge_count++;
            }
        }
        node = next;
    }
    t->value[node] = value;
    return true;
}

void ar__trie_release(ar_trie *t) {
    free(t->edge);
    free(t->value);
    *t = (ar_trie){0};
}
