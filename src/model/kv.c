/* Keys and values of sequences:
 *
 *     k, v of a layer | sequence 0: past rows, room | sequence 1 | …        each of [capacity, kv_heads * head_dim] */
#include <assert.h>
#include <stdlib.h>

#include "base/fail.h"
#include "model/pass.h"

static bool has_own(const ar_model *m, size_t layer) { return m->layers[layer].kv_layer == layer; }

/* Elements of a token's key in one layer. */
static size_t width_of(const ar_model *m, size_t layer) { return m->layers[layer].kv_heads * m->layers[layer].head_dim; }

size_t ar__kv_bytes(const ar_model *m, size_t capacity) {
    size_t all = 0, n;
    for (size_t l = 0; l < (size_t)m->arch.layers; l++) all += has_own(m, l) ? width_of(m, l) : 0;
    bool fits = ar__mul(&n, capacity, all) && ar__mul(&n, n, 2 * sizeof(float));
    return fits ? n : SIZE_MAX;
}

/* A layer's keys and values, or those of the layer whose it takes. */
static bool make_layer(ar_kv_cache *c, const ar_model *m, size_t layer) {
    size_t count, from = m->layers[layer].kv_layer;
    if (has_own(m, layer)) {
        bool fits = ar__mul(&count, c->capacity, c->sequences) && ar__mul(&count, count, width_of(m, layer));
        c->k[layer] = fits ? ar__alloc(count, sizeof(float)) : NULL;
        c->v[layer] = fits ? ar__alloc(count, sizeof(float)) : NULL;
    } else {
        c->k[layer] = c->k[from];
        c->v[layer] = c->v[from];
    }
    return c->k[layer] && c->v[layer];
}

ar_status ar__kv_new(ar_kv_cache **out, const ar_model *m, size_t sequences, size_t capacity, ar_error *err) {
    size_t layers = (size_t)m->arch.layers;
    ar_kv_cache *c = ar__alloc(1, sizeof *c);
    *out = c;
    if (!c) return ar__fail_memory(err, "key/value cache");
    c->sequences = sequences;
    c->capacity = capacity;
    c->past = ar__alloc(sequences, sizeof *c->past);
    c->begin = ar__alloc(sequences, sizeof *c->begin);
    c->reach = ar__alloc(sequences, sizeof *c->reach);
    c->keys = ar__alloc(sequences, sizeof *c->keys);
    c->k = ar__alloc(layers, sizeof *c->k);
    c->v = ar__alloc(layers, sizeof *c->v);
    bool ok = c->past && c->begin && c->reach && c->keys && c->k && c->v;
    for (size_t l = 0; ok && l < layers; l++) ok = make_layer(c, m, l);
    return ok ? AR_OK : ar__fail_memory(err, "key/value cache");
}

void ar__kv_free(ar_kv_cache *c, const ar_model *m) {
    if (!c) return;
    for (size_t l = 0; c->k && c->v && l < (size_t)m->arch.layers; l++) {
        if (!has_own(m, l)) continue;
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
