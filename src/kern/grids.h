/* The types of 1 to 3 bits whose codes name points of a lattice: read, for merging and inspecting.
 *
 *     type     bytes of 256   layout                                                                     value
 *     iq2_xxs      66    f16 d | 8 × (4 points, u32 of 4 signs' 7 bits and a scale of 4)                  d (½ + s) ¼ · point, signs
 *     iq2_xs       74    f16 d | 32 × (9 bits of point, 7 of signs) | 8 of 2 scales                       the same, s of 16
 *     iq2_s        82    f16 d | 32 of point | 32 of signs | 8 of 2 high bits | 8 of 2 scales             the same
 *     iq3_xxs      98    f16 d | 64 points of 4 | 8 × u32 of signs and scale                              d (½ + s) ½ · point, signs
 *     iq3_s       110    f16 d | 64 | 8 of ninth bits | 32 of signs | 4 of 2 scales                       d (1 + 2 s) · point, signs
 *     iq1_s        50    f16 d | 32 | 8 × u16 of 4 × 3 high bits, a scale of 3, a sign                    d (2 s + 1) (point ± ⅛)
 *     iq1_m        56    32 | 16 of 2 × (3 high bits, a sign) | 4 × u16 of 4 scales of 3, 4 bits of f16 d   the same
 *
 * Seven bits of signs are those of eight values: the eighth makes their number even. */
#ifndef AR_KERN_GRIDS_H
#define AR_KERN_GRIDS_H

#include <stddef.h>
#include <stdint.h>

extern const uint16_t ar__grid_iq2_xxs[256], ar__grid_iq2_xs[512], ar__grid_iq2_s[1024], ar__grid_iq3_xxs[256], ar__grid_iq3_s[512],
    ar__grid_iq1[2048];

void ar__unpack_iq2_xxs(float *dst, const void *src, size_t n);
void ar__unpack_iq2_xs(float *dst, const void *src, size_t n);
void ar__unpack_iq2_s(float *dst, const void *src, size_t n);
void ar__unpack_iq3_xxs(float *dst, const void *src, size_t n);
void ar__unpack_iq3_s(float *dst, const void *src, size_t n);
void ar__unpack_iq1_s(float *dst, const void *src, size_t n);
void ar__unpack_iq1_m(float *dst, const void *src, size_t n);

#endif
