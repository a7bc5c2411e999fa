#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct ar_map_slot {
    const char *key; /* NULL: free */
    size_t len, value;
    uint64_t hash;
};

static uint64_t hash_bytes(const char *key, size_t len) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

static struct ar_map_slot *slot_for(const ar_map *m, const char *key, size_t len, uint64_t hash) {
    size_t i = (size_t)hash & (m->cap - 1);
    while (m->slots[i].key) {
        const struct ar_map_slot *s = &m->slots[i];
        if (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0) break;
        i = (i + 1) & (m->cap - 1);
    }
    return &m->slots[i];
}

static bool map_rehash(ar_map *m) {
    ar_map next = *m;
    next.cap = m->cap ? m->cap * 2 : 64;
    next.slots = ar__alloc(next.cap, sizeof *next.slots);
    if (!next.slots) return false;
    for (size_t i = 0; i < m->cap; i++) {
        const struct ar_map_slot *s = &m->slots[i];
        if (s->key) *slot_for(&next, s->key, s->len, s->hash) = *s;
    }
    free(m->slots);
    *m = next;
    return true;
}

static const char *keep_key(ar_map *m, const char *key, size_t len) {
    if (!m->chunks || m->chunk_size - m->chunk_used < len + 1) {
        size_t size = len + 1 > 65536 ? len + 1 : 65536;
        char **list = ar__grow(m->chunks, &m->chunk_cap, m->chunk_count + 1, sizeof *list);
        if (!list) return NULL;
        m->chunks = list;
        list[m->chunk_count] = malloc(size);
        if (!list[m->chunk_count]) return NULL;
        m->chunk_count++;
        m->chunk_size = size;
        m->chunk_used = 0;
    }
    char *p = m->chunks[m->chunk_count - 1] + m->chunk_used;
    if (len) memcpy(p, key, len);
    p[len] = '\0';
    m->chunk_used += len + 1;
    return p;
}

bool ar__map_put(ar_map *m, const char *key, size_t len, size_t value) {
    if (m->count * 2 >= m->cap && !map_rehash(m)) return false;
    uint64_t hash = hash_bytes(key, len);
    struct ar_map_slot *s = slot_for(m, key, len, hash);
    if (!s->key) {
        const char *kept = keep_key(m, key, len);
        if (!kept) return false;
        *s = (struct ar_map_slot){.key = kept, .len = len, .hash = hash};
        m->count++;
    }
    s->value = value;
    return true;
}

size_t ar__map_find(const ar_map *m, const char *key, size_t len) {
    if (!m->cap) return AR_MAP_NONE;
    const struct ar_map_slot *s = slot_for(m, key, len, hash_bytes(key, len));
    return s->key ? s->value : AR_MAP_NONE;
}

size_t ar__map_find_str(const ar_map *m, const char *key) { return ar__map_find(m, key, strlen(key)); }

void ar__map_release(ar_map *m) {
    for (size_t i = 0; i < m->chunk_count; i++) free(m->chunks[i]);
    free(m->chunks);
    free(m->slots);
    *m = (ar_map){0};
}
