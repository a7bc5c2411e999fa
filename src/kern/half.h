/* f16 and bf16 to f32, inline: exact, and branch-free, so that loops over them are vectorised. */
#ifndef AR_KERN_HALF_H
#define AR_KERN_HALF_H

#include <stdbool.h>
#include <stdint.h>

static inline uint32_t ar__bits_of(float f) {
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    return v.u;
}

static inline float ar__float_of(uint32_t u) {
    union {
        uint32_t u;
        float f;
    } v = {.u = u};
    return v.f;
}

/* By mask, not `?:`: the compiler would branch around the floating-point operation behind one side, and then not
 * vectorise (measured: f16 to f32 at half the speed). */
static inline uint32_t ar__choose_bits(bool c, uint32_t yes, uint32_t no) {
    uint32_t mask = 0u - (uint32_t)c;
    return (yes & mask) | (no & ~mask);
}

/* Normal halves only move their exponent (15 → 127).  Subnormals are h·2^-24: put under the exponent of 2^-14 they
 * read 2^-14 + h·2^-24, and the subtraction is exact.  Infinity and NaN get the largest exponent. */
static inline float ar__f16_value(uint32_t h) {
    uint32_t body = (h & 0x7fffu) << 13, exponent = body & 0x0f800000u;
    uint32_t normal = body + (112u << 23);
    uint32_t special = body + (224u << 23);
    uint32_t small = ar__bits_of(ar__float_of(body + (113u << 23)) - ar__float_of(113u << 23));
    uint32_t u = exponent == 0x0f800000u ? special : normal;
    u = ar__choose_bits(exponent == 0, small, u);
    return ar__float_of(u | (h & 0x8000u) << 16);
}

static inline float ar__bf16_to_f32(uint16_t h) { return ar__float_of((uint32_t)h << 16); }

#endif
