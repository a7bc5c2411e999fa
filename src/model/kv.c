/* Keys and values of sequences, or states:
 *
 *     k, v of a layer | sequence 0: past rows, room | sequence 1 | …        each of [capacity, kv_heads * head_dim]
 *     state           | sequence 0 | sequence 1 | …                         of any length: a matrix a value head of the delta rule, and
 *                                                                           the last inputs of a convolution */
#include <assert.h>
#include <stdlib.h>

#include "base/fail.h"
#include "model/pass.h"
#include "ops/arena.h"

#define FLOATS_MOST (SIZE_MAX / 64) /* of an array, so that nothing overflows: there is no such memory */

static bool has_own(const ar_model *m, size_t layer) { return m->layers[layer].kv_layer == layer; }

/* Elements of a token's key in one layer. */
static size_t width_of(const ar_model *m, size_t layer) { return m->layers[layer].kv_heads * m->layers[layer].head_dim; }

static bool has_state(const ar_layer *l) { return l->mixer != AR_MIX_ATTENTION; }

/* Of one sequence in one layer that has a state: none of the rule's where the convolution is all. */
static size_t state_floats(const ar_layer *l) { return l->delta.value_heads * l->delta.key_dim * l->delta.value_dim; }
static size_t conv_floats(const ar_layer *l) { return (l->conv.taps - 1) * l->conv.width; }

size_t ar__kv_bytes(const ar_model *m, size_t capacity) {
    size_t sum = 0;
    for (size_t i = 0; i < (size_t)m->arch.layers; i++) {
        const ar_layer *l = &m->layers[i];
        size_t n = has_state(l) ? state_floats(l) + conv_floats(l) : 0;
        if (!has_own(m, i)) continue;
        if (!has_state(l) && !ar__mul(&n, capacity, 2 * width_of(m, i))) return SIZE_MAX;
        if (__builtin_add_overflow(sum, n, &sum)) return SIZE_MAX;
    }
    return ar__mul(&sum, sum, sizeof(float)) ? sum : SIZE_MAX;
}

ar_recurrence ar__kv_state(const ar_kv_cache *c, const ar_model *m, size_t layer) {
    return (ar_recurrence){c->state[layer], state_floats(&m->layers[layer]), c->sequence, c->begin};
}

ar_recurrence ar__kv_conv(const ar_kv_cache *c, const ar_model *m, size_t layer) {
    return (ar_recurrence){c->conv[layer], conv_floats(&m->layers[layer]), c->sequence, c->begin};
}

/* `first` and `second` floats of each sequence. */
static bool place_two(ar_arena *a, float **x, size_t first, float **y, size_t second, size_t sequences) {
    size_t n, more;
    if (!ar__mul(&n, first, sequences) || !ar__mul(&more, second, sequences)) return false;
    if (n > FLOATS_MOST || more > FLOATS_MOST || a->used > FLOATS_MOST) return false;
    *x = ar__arena_f32(a, n);
    *y = ar__arena_f32(a, more);
    return true;
}

/* A layer's keys and values, those of the layer whose it takes, or its states. */
static bool place_layer(ar_kv_cache *c, const ar_model *m, size_t layer) {
    const ar_layer *l = &m->layers[layer];
    ar_arena *a = &c->arena;
    size_t count;
    if (has_state(l)) return place_two(a, &c->state[layer], state_floats(l), &c->conv[layer], conv_floats(l), c->sequences);
    if (has_own(m, layer))
        return ar__mul(&count, c->capacity, width_of(m, layer)) && place_two(a, &c->k[layer], count, &c->v[layer], count, c->sequences);
    c->k[layer] = c->k[l->kv_layer];
    c->v[layer] = c->v[l->kv_layer];
    return true;
}

static bool place(ar_kv_cache *c, const ar_model *m) {
    for (size_t l = 0; l < (size_t)m->arch.layers; l++)
        if (!place_layer(c, m, l)) return false;
    return true;
}

static bool allocate(ar_kv_cache *c, const ar_model *m) {
    size_t layers = (size_t)m->arch.layers;
    float ***lists[] = {&c->k, &c->v, &c->state, &c->conv};
    size_t **numbers[] = {&c->past, &c->begin, &c->reach, &c->keys, &c->sequence};
    for (size_t i = 0; i < 4; i++)
        if (!(*lists[i] = ar__alloc(layers, sizeof(float *)))) return false;
    for (size_t i = 0; i < 5; i++)
        if (!(*numbers[i] = ar__alloc(c->sequences, sizeof(size_t)))) return false;
    if (!place(c, m)) return false;
    size_t bytes = c->arena.peak;
    if (!ar__own_arena_init(&c->arena, m->rt, bytes)) return false;
    if (bytes) m->rt->ops->zero_bytes(m->rt, c->arena.base, bytes);
    return place(c, m);
}

ar_status ar__kv_new(ar_kv_cache **out, const ar_model *m, size_t sequences, size_t capacity, ar_error *err) {
    ar_kv_cache *c = ar__alloc(1, sizeof *c);
    *out = c;
    if (!c) return ar__fail_memory(err, "key/value cache");
    c->sequences = sequences;
    c->capacity = capacity;
    return allocate(c, m) ? AR_OK : ar__fail_memory(err, "key/value cache");
}

void ar__kv_free(ar_kv_cache *c, const ar_model *m) {
    if (!c) return;
    float **const lists[] = {c->k, c->v, c->state, c->conv};
    for (size_t i = 0; i < 4; i++) free(lists[i]);
    ar__own_arena_release(&c->arena, m->rt);
    free(c->past);
    free(c->begin);
    free(c->reach);
    free(c->keys);
    free(c->sequence);
    free(c);
}

static size_t sequence_of(const ar_batch *b, size_t sample) { return b->sequence ? b->sequence[sample] : sample; }

void ar__kv_begin(ar_kv_cache *c, const ar_batch *b) {
    assert(b->rows.samples <= c->sequences);
    for (size_t s = 0; s < b->rows.samples; s++) {
        size_t q = sequence_of(b, s);
        assert(q < c->sequences && b->rows.start[s + 1] - b->rows.start[s] <= c->capacity - c->past[q]);
        c->begin[s] = c->past[q];
        c->sequence[s] = q;
        c->keys[s] = q * c->capacity;
    }
}

void ar__kv_end(ar_kv_cache *c, const ar_batch *b) {
    for (size_t s = 0; s < b->rows.samples; s++) c->past[sequence_of(b, s)] += b->rows.start[s + 1] - b->rows.start[s];
}
