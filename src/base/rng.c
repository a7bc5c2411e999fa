#include "base/rng.h"

#include <math.h>

#include "base/philox.h"

static uint64_t mix(uint64_t x) { /* splitmix64's finaliser: spreads small integers over all bits */
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

ar_rng ar__rng_stream(uint64_t seed, enum ar_rng_purpose purpose, uint64_t a, uint64_t b) {
    uint64_t key = mix(seed ^ mix((uint64_t)purpose));
    uint64_t stream = mix(a ^ mix(b + 0x632be59bd9b4e019u));
    return (ar_rng){.key = {(uint32_t)key, (uint32_t)(key >> 32)}, .stream = {(uint32_t)stream, (uint32_t)(stream >> 32)}};
}

void ar__rng_block(uint32_t out[4], const ar_rng *g, uint64_t index) { ar__philox(out, g->key, g->stream, index); }

uint64_t ar__rng_u64(const ar_rng *g, uint64_t index) {
    uint32_t w[4];
    ar__rng_block(w, g, index);
    return ((uint64_t)w[1] << 32) | w[0];
}

double ar__rng_uniform(const ar_rng *g, uint64_t index) { return (double)(ar__rng_u64(g, index) >> 11) * 0x1p-53; }

double ar__rng_normal(const ar_rng *g, uint64_t index) {
    uint32_t w[4];
    ar__rng_block(w, g, index);
    double u = ((double)((((uint64_t)w[1] << 32) | w[0]) >> 11) + 1.0) * 0x1p-53; /* (0, 1]: the logarithm is finite */
    double v = (double)((((uint64_t)w[3] << 32) | w[2]) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

uint64_t ar__rng_hash(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return mix(h);
}
