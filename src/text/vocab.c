#include "text/vocab.h"

#include <stdlib.h>

#include "base/mem.h"

static bool rehash(ar_vocab *v, size_t slots) {
    uint32_t *next = ar__alloc(slots, sizeof *next);
    if (!next) return false;
    for (size_t i = 0; i < v->count; i++) {
        size_t at = (size_t)ar__hash_bytes(v->bytes + v->entry[i].at, v->entry[i].len) & (slots - 1);
        while (next[at]) at = (at + 1) & (slots - 1);
        next[at] = (uint32_t)i + 1;
    }
    free(v->slot);
    v->slot = next;
    v->slot_count = slots;
    return true;
}

bool ar__vocab_reserve(ar_vocab *v, size_t count) {
    size_t slots = 64;
    while (slots < count * 2 && slots < SIZE_MAX / 4) slots *= 2;
    return slots <= v->slot_count || rehash(v, slots);
}

static bool set_by_id(ar_vocab *v, int32_t id, size_t entry) {
    if ((size_t)id >= v->id_count) {
        uint32_t *p = ar__grow(v->by_id, &v->id_cap, (size_t)id + 1, sizeof *p);
        if (!p) return false;
        v->by_id = p;
        v->id_count = (size_t)id + 1;
    }
    if (!v->by_id[id]) v->by_id[id] = (uint32_t)entry + 1;
    return true;
}

bool ar__vocab_add(ar_vocab *v, const char *s, size_t n, int32_t id) {
    if (n > UINT32_MAX || v->count >= UINT32_MAX - 1 || !ar__vocab_reserve(v, v->count + 1)) return false;
    ar_vocab_entry *e = ar__grow(v->entry, &v->cap, v->count + 1, sizeof *e);
    if (!e) return false;
    v->entry = e;
    char *bytes = ar__grow(v->bytes, &v->bytes_cap, v->bytes_len + n + 1, 1);
    if (!bytes) return false;
    v->bytes = bytes;
    if (!set_by_id(v, id, v->count)) return false;
    memcpy(bytes + v->bytes_len, s, n);
    bytes[v->bytes_len + n] = '\0';
    v->entry[v->count] = (ar_vocab_entry){.id = id, .len = (uint32_t)n, .at = v->bytes_len};
    v->bytes_len += n + 1;
    size_t at = (size_t)ar__hash_bytes(s, n) & (v->slot_count - 1);
    for (; v->slot[at]; at = (at + 1) & (v->slot_count - 1)) {
        const ar_vocab_entry *old = &v->entry[v->slot[at] - 1];
        if (old->len == n && memcmp(bytes + old->at, s, n) == 0) break;
    }
    v->slot[at] = (uint32_t)++v->count;
    return true;
}

int32_t ar__vocab_find(const ar_vocab *v, const char *s, size_t n) {
    if (!v->slot_count) return -1;
    for (size_t at = (size_t)ar__hash_bytes(s, n) & (v->slot_count - 1); v->slot[at]; at = (at + 1) & (v->slot_count - 1)) {
        const ar_vocab_entry *e = &v->entry[v->slot[at] - 1];
        if (e->len == n && memcmp(v->bytes + e->at, s, n) == 0) return e->id;
    }
    return -1;
}

const char *ar__vocab_text(const ar_vocab *v, int32_t id, size_t *len) {
    if (id < 0 || (size_t)id >= v->id_count || !v->by_id[id]) return NULL;
    const ar_vocab_entry *e = &v->entry[v->by_id[id] - 1];
    *len = e->len;
    return v->bytes + e->at;
}

void ar__vocab_release(ar_vocab *v) {
    free(v->entry);
    free(v->bytes);
    free(v->slot);
    free(v->by_id);
    *v = (ar_vocab){0};
}
