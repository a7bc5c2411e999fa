/* f16 and bf16 to f32 (exact) and back (nearest even), inline and branch-free, so that loops over them are vectorised. */
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

/* Nearest even by carrying into the kept half; a NaN would carry into infinity, so it is cut and made quiet. */
static inline uint32_t ar__bf16_bits(uint32_t u) {
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    uint32_t nan = (u >> 16) | 0x40u;
    return (u & 0x7fffffffu) > 0x7f800000u ? nan : rounded;
}

/* The normal range rounds by carry, as bf16 (a carry past the largest half lands on infinity, as it should); below
 * 2^-14 adding 0.5 makes the FPU round to multiples of 2^-24. */
static inline uint32_t ar__f16_bits(uint32_t u) {
    uint32_t sign = u & 0x80000000u;
    u ^= sign;
    uint32_t normal = (u - (112u << 23) + 0xfffu + ((u >> 13) & 1u)) >> 13;
    uint32_t small = ar__bits_of(ar__float_of(u) + 0.5f) - ar__bits_of(0.5f);
    uint32_t special = u > 0x7f800000u ? 0x7e00u | ((u >> 13) & 0x3ffu) : 0x7c00u;
    uint32_t h = u >= (143u << 23) ? special : normal;
    h = ar__choose_bits(u < (113u << 23), small, h);
    return h | sign >> 16;
}

static inline float ar__bf16_to_f32(uint16_t h) { return ar__float_of((uint32_t)h << 16); }

#endif
