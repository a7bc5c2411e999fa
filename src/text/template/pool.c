#include "text/template/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 8 << 10, LARGEST_CHUNK = 1 << 20, ALIGNMENT = 16, FIRST_ARRAY = 8 };

struct ar_jchunk {
    ar_jchunk *next;
    size_t used, size;
    _Alignas(ALIGNMENT) char data[];
};

static ar_jchunk *chunk_new(ar_jpool *p, size_t bytes) {
    size_t size = p->chunks ? 2 * p->chunks->size : FIRST_CHUNK;
    if (size > LARGEST_CHUNK) size = LARGEST_CHUNK;
    if (size < bytes) size = bytes;
    p->exhausted = bytes > p->limit || p->taken > p->limit - bytes;
    ar_jchunk *c = p->exhausted ? NULL : malloc(sizeof *c + size);
    if (!c) return NULL;
    *c = (ar_jchunk){.next = p->chunks, .size = size};
    p->chunks = c;
    return c;
}

void *ar__jpool_take(ar_jpool *p, size_t bytes) {
    bytes = bytes > SIZE_MAX - ALIGNMENT ? SIZE_MAX - ALIGNMENT + 1 : (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    ar_jchunk *c = p->chunks;
    if (!c || c->size - c->used < bytes) c = chunk_new(p, bytes);
    if (!c) return NULL;
    void *at = c->data + c->used;
    c->used += bytes;
    p->taken += bytes;
    return memset(at, 0, bytes);
}

void *ar__jpool_grow(ar_jpool *p, void *array, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return array;
    size_t grown = *cap ? *cap : FIRST_ARRAY;
    while (grown < need && grown <= SIZE_MAX / 2) grown *= 2;
    if (grown < need || grown > SIZE_MAX / size) return NULL;
    void *to = ar__jpool_take(p, grown * size);
    if (!to) return NULL;
    if (*cap) memcpy(to, array, *cap * size);
    *cap = grown;
    return to;
}

void ar__jpool_release(ar_jpool *p) {
    for (ar_jchunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *p = (ar_jpool){.limit = p->limit};
}
