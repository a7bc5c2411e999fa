/* Blocks of any type for tests: every byte random but the scales, which keep the values near 1. */
#ifndef AR_TEST_BLOCKS_H
#define AR_TEST_BLOCKS_H

#include "kern/dtype.h"

/* count: a multiple of the type's block; f32, f16 and bf16 get the same kind of values.  seed: which draw. */
void blocks_fill(void *dst, ar_dtype type, size_t count, uint64_t seed);

#endif
