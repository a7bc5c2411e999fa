/* Sizes compared and rounded. */
#ifndef AR_BASE_SIZE_H
#define AR_BASE_SIZE_H

#include <stddef.h>

static inline size_t ar__min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t ar__max(size_t a, size_t b) { return a > b ? a : b; }
/* n + to - 1 must not overflow. */
static inline size_t ar__round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

#endif
