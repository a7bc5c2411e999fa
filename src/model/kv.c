/* Keys and values of sequences:
 *
 *     k, v of a layer | sequence 0: past rows, room | sequence 1 | …        each of [capacity, kv_heads * head_dim] */
#include <assert.h>
#include <stdlib.h>

#include "base/fail.h"
#include "model/pass.h"

/* Floats of one sequence's keys in one layer. */
static bool count_floats(size_t *out, const ar_model *m, size_t capacity) {
    return ar__mul(out, capacity, (size_t)(m->arch.kv_heads * m->arch.head_dim));
}

size_t ar__kv_bytes(const ar_model *m, size_t capacity) {
    size_t n;
    bool fits = count_floats(&n, m, capacity) && ar__mul(&n, n, 2 * sizeof(float)) && ar__mul(&n, n, (size_t)m->arch.layers);
    return fits ? n : SIZE_MAX;
}

ar_status ar__kv_new(ar_kv_cache **out, const ar_model *m, size_t sequences, size_t capacity, ar_error *err) {
    size_t layers = (size_t)m->arch.layers, count;
    ar_kv_cache *c = ar__alloc(1, sizeof *c);
    *out = c;
    if (!c || !count_floats(&count, m, capacity) || !ar__mul(&count, count, sequences)) return ar__fail_memory(err, "key/value cache");
    c->sequences = sequences;
    c->capacity = capacity;
    c->past = ar__alloc(sequences, sizeof *c->past);
    c->begin = ar__alloc(sequences, sizeof *c->begin);
    c->reach = ar__alloc(sequences, sizeof *c->reach);
    c->keys = ar__alloc(sequences, sizeof *c->keys);
    c->k = ar__alloc(layers, sizeof *c->k);
    c->v = ar__alloc(layers, sizeof *c->v);
    bool ok = c->past && c->begin && c->reach && c->keys && c->k && c->v;
    for (size_t l = 0; ok && l < layers; l++) {
        c->k[l] = ar__alloc(count, sizeof(float));
        c->v[l] = ar__alloc(count, sizeof(float));
        ok = c->k[l] && c->v[l];
    }
    return ok ? AR_OK : ar__fail_memory(err, "key/value cache");
}

void ar__kv_free(ar_kv_cache *c, const ar_model *m) {
    if (!c) return;
    for (size_t l = 0; c->k && c->v && l < (size_t)m->arch.layers; l++) {
        free(c->k[l]);
        free(c->v[l]);
    }
    free(c->past);
    free(c->begin);
    free(c->reach);
    free(c->keys);
    free(c->k);
    free(c->v);
    free(c);
}

static size_t sequence_of(const ar_batch *b, size_t sample) { return b->sequence ? b->sequence[sample] : sample; }

void ar__kv_begin(ar_kv_cache *c, const ar_batch *b) {
    assert(b->rows.samples <= c->sequences);
    for (size_t s = 0; s < b->rows.samples; s++) {
        size_t q = sequence_of(b, s);
        assert(q < c->sequences && b->rows.start[s + 1] - b->rows.start[s] <= c->capacity - c->past[q]);
        c->begin[s] = c->past[q];
        c->keys[s] = q * c->capacity;
    }
}

void ar__kv_end(ar_kv_cache *c, const ar_batch *b) {
    for (size_t s = 0; s < b->rows.samples; s++) c->past[sequence_of(b, s)] += b->rows.start[s + 1] - b->rows.start[s];
}
