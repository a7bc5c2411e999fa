/* Keys and values of one sequence, a block of [capacity, kv_heads * head_dim] each per layer. */
#include <stdlib.h>

#include "base/fail.h"
#include "model/pass.h"

ar_status ar__kv_new(ar_kv_cache **out, const ar_model *m, size_t capacity, ar_error *err) {
    size_t layers = (size_t)m->arch.layers, row = (size_t)(m->arch.kv_heads * m->arch.head_dim), count;
    ar_kv_cache *c = ar__alloc(1, sizeof *c);
    *out = c;
    if (!c || !ar__mul(&count, capacity, row)) return ar__fail_memory(err, "key/value cache");
    c->capacity = capacity;
    c->k = ar__alloc(layers, sizeof *c->k);
    c->v = ar__alloc(layers, sizeof *c->v);
    bool ok = c->k && c->v;
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
    free(c->k);
    free(c->v);
    free(c);
}
