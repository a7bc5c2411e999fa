/* The dtype table: every weight type that a file may hold is one row.
 *
 * A type is stored in blocks: `block` elements in `bytes` bytes (1 element for plain floats).  Rows of a matrix are
 * whole numbers of blocks.  Everything above asks the row; nothing switches on the type. */
#ifndef AR_KERN_DTYPE_H
#define AR_KERN_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ar_dtype {
    AR_F32,
    AR_F16,
    AR_BF16,
    AR_F64,
    AR_I64,
    AR_I32,
    AR_I16,
    AR_I8,
    AR_U8,
    AR_BOOL,
    AR_Q8_0,
    AR_Q4_0,
    AR_Q4_1,
    AR_Q5_0,
    AR_Q5_1,
    AR_Q2_K,
    AR_Q3_K,
    AR_Q4_K,
    AR_Q5_K,
    AR_Q6_K,
    AR_IQ4_NL,
    AR_IQ4_XS,
    AR_MXFP4,
    AR_NVFP4,
    AR_TQ1_0,
    AR_TQ2_0,
    AR_Q1_0,
    AR_Q2_0,
    AR_IQ1_S,
    AR_IQ1_M,
    AR_IQ2_XXS,
    AR_IQ2_XS,
    AR_IQ2_S,
    AR_IQ3_XXS,
    AR_IQ3_S,
    AR_NF4, /* NF4 as it stands; as bitsandbytes unpacks it for models of bf16 and f16, rounded to that */
    AR_NF4_BF16,
    AR_NF4_F16,
    AR_DTYPE_COUNT
} ar_dtype;

enum { AR_MOST_BLOCK = 256 }; /* every type's block divides it */

typedef struct ar_dtype_info {
    const char *name;        /* as people write it: "f32" */
    const char *safetensors; /* as safetensors headers write it: "F32"; NULL where that format has none */
    size_t block, bytes;
    bool is_weight; /* may be an operand of a product; what else has to_f32 is widened for one */
    /* n elements (a multiple of block) at src to f32; exact for all plain floats up to 32 bits, of block types as ggml's
     * reference (kern/blocks_body.h).  NULL for types that Alphar only carries: integers, f64. */
    void (*to_f32)(float *dst, const void *src, size_t n);
    /* f32 to the type, rounding to nearest even (a block type says its own rule).  NULL: not written. */
    void (*from_f32)(void *dst, const float *src, size_t n);
} ar_dtype_info;

const ar_dtype_info *ar__dtype(ar_dtype t); /* never NULL for a member of the enum */
bool ar__dtype_is_float(ar_dtype t);        /* f32, f16 or bf16: each value by itself */
bool ar__dtype_from_safetensors(ar_dtype *out, const char *name, size_t len);
bool ar__dtype_from_name(ar_dtype *out, const char *name); /* "f32", "bf16", …; also torch's "float32", "bfloat16" */
/* Bytes of `count` elements; false on overflow or when count is no multiple of the block. */
bool ar__dtype_bytes(size_t *out, ar_dtype t, size_t count);

/* Are the `count` values (a multiple of both blocks) the same numbers?  Types that are only carried compare by bytes. */
bool ar__dtype_equal(ar_dtype ta, const void *a, ar_dtype tb, const void *b, size_t count);

void ar__round_to_bf16(float *x, size_t n); /* in place: what bf16 arithmetic sees of f32 operands */

#endif
