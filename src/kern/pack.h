/* f32 to block types (layouts: kern/blocks_body.h): n elements, a multiple of the block.  Of the simple types the bytes are those of
 * ggml's own reference quantisers.  A block with a NaN or an infinity in it gets the scale NaN: no finite q could tell. */
#ifndef AR_KERN_PACK_H
#define AR_KERN_PACK_H

#include <stdbool.h>
#include <stddef.h>

void ar__pack_q8_0(void *dst, const float *src, size_t n);
void ar__pack_q4_0(void *dst, const float *src, size_t n);
void ar__pack_q4_1(void *dst, const float *src, size_t n);
void ar__pack_q5_0(void *dst, const float *src, size_t n);
void ar__pack_q5_1(void *dst, const float *src, size_t n);
void ar__pack_q2_k(void *dst, const float *src, size_t n);
void ar__pack_q3_k(void *dst, const float *src, size_t n);
void ar__pack_q4_k(void *dst, const float *src, size_t n);
void ar__pack_q5_k(void *dst, const float *src, size_t n);
void ar__pack_q6_k(void *dst, const float *src, size_t n);

/* NF4: q is the nearest of the table to x / max|x| (times 1 / max in f32; ties to the lower), a block of zeros has the code of 0. */
void ar__pack_nf4(void *dst, const float *src, size_t n);
/* The scales of `count` blocks as bitsandbytes' double quantisation would give them back: 8 bits each of what they are off their mean, over
 * 256 at a time.  false: out of memory. */
bool ar__nf4_quantise_scales(void *blocks, size_t count);

/* The same, as bitsandbytes stores it: scale i is map[code[i]] · nested[i / 256] + mean. */
typedef struct ar_nf4_scales {
    unsigned char *code; /* [count] */
    float *nested;       /* [nested_count] */
    size_t nested_count;
    float mean, map[256];
} ar_nf4_scales;
bool ar__nf4_scales_twice(ar_nf4_scales *out, const void *blocks, size_t count); /* false: out of memory; release in any case */
void ar__nf4_scales_release(ar_nf4_scales *s);

#endif
