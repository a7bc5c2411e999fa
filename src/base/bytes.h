/* Little-endian integers at any address, of 1 to 8 bytes: what file formats are made of. */
#ifndef AR_BASE_BYTES_H
#define AR_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t ar__le_load(const void *at, size_t bytes) {
    const unsigned char *p = at;
    uint64_t v = 0;
    while (bytes--) v = v << 8 | p[bytes];
    return v;
}

static inline void ar__le_store(void *at, uint64_t v, size_t bytes) {
    unsigned char *p = at;
    for (size_t i = 0; i < bytes; i++) p[i] = (unsigned char)(v >> (8 * i));
}

#endif
