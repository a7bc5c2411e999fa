/* Philox4x32-10 (Salmon et al., SC 2011): four words of a key, the upper half of the counter, and an index.  Inline, and with a qualifier
 * of whoever includes it, because kernels of a device draw the same numbers. */
#ifndef AR_BASE_PHILOX_H
#define AR_BASE_PHILOX_H

#include <stdint.h>

#ifndef AR_PHILOX_FN
#define AR_PHILOX_FN static inline
#endif

AR_PHILOX_FN void ar__philox(uint32_t out[4], const uint32_t key[2], const uint32_t stream[2], uint64_t index) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = stream[0], c3 = stream[1];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

#endif
