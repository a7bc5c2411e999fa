/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011).
 *
 * A number is a pure function of (seed, purpose, counter), never of the order of execution, so that threads,
 * micro-batches and resumed runs all see the same ones. */
#ifndef AR_BASE_RNG_H
#define AR_BASE_RNG_H

#include <stdint.h>

/* What a stream is for; part of the key, so that no two uses ever share numbers. */
enum ar_rng_purpose { AR_RNG_INIT = 1, AR_RNG_ORDER = 2, AR_RNG_DROPOUT = 3, AR_RNG_SAMPLE = 4, AR_RNG_SUBSPACE = 5, AR_RNG_DARE = 6 };

typedef struct ar_rng {
    uint32_t key[2];
    uint32_t stream[2]; /* upper half of the counter */
} ar_rng;

/* seed: the run's.  a, b: whatever tells one stream of the purpose from another (site, epoch, layer…). */
ar_rng ar__rng_stream(uint64_t seed, enum ar_rng_purpose purpose, uint64_t a, uint64_t b);
/* Four uniform 32-bit words of block `index`. */
void ar__rng_block(uint32_t out[4], const ar_rng *g, uint64_t index);
uint64_t ar__rng_u64(const ar_rng *g, uint64_t index);
/* Uniform in [0, 1), 53 bits. */
double ar__rng_uniform(const ar_rng *g, uint64_t index);
/* Standard normal (Box-Muller on one block). */
double ar__rng_normal(const ar_rng *g, uint64_t index);
/* 64-bit mix of a string, to name a stream after a module. */
uint64_t ar__rng_hash(const char *name);

#endif
