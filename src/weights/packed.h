/* Matrices that a Hugging Face folder holds packed, as other tools quantise them: several tensors make one weight.
 *
 *     bitsandbytes, 4 bits    X.weight U8 [n / 2, 1]           .absmax, .quant_map, .quant_state.bitsandbytes__nf4 (JSON), .nested_…
 *     bitsandbytes, 8 bits    X.weight I8 [out, in]            X.SCB F32 [out]
 *     MLX                     X.weight U32 [out, in·bits/32]   X.scales, X.biases [out, in / group]
 *     GPTQ                    X.qweight I32 [in·bits/32, out]  X.qzeros, X.scales [in / group, out], X.g_idx [in]
 *     AWQ (GEMM)              X.qweight I32 [in, out / 8]      X.qzeros [in / group, out / 8], X.scales [in / group, out]
 *     FP8                     X.weight F8_E4M3 [out, in]       X.weight_scale_inv [out / 128, in / 128], or X.weight_scale of rows or all
 *     compressed-tensors      X.weight_packed I32 [out, in / 8]    X.weight_scale [out, in / group], X.weight_zero_point, X.weight_shape
 *
 * Values are formed by the operations of each tool's own loader, and rounded to the type that it unpacks to. */
#ifndef AR_WEIGHTS_PACKED_H
#define AR_WEIGHTS_PACKED_H

#include <jansson.h>

#include "alphar/error.h"
#include "format/tensor.h"

typedef enum ar_packing {
    AR_PACKED_BNB4,
    AR_PACKED_BNB8,
    AR_PACKED_MLX,
    AR_PACKED_GPTQ,
    AR_PACKED_AWQ,
    AR_PACKED_FP8,
    AR_PACKED_CT
} ar_packing;

typedef struct ar_packed {
    ar_packing kind;
    ar_dtype type; /* what the values are rounded to: f32, f16 or bf16 */
    int64_t n_out, n_in;
    int bits;
    int64_t group; /* values that share a scale; of FP8 columns of a tile, group_rows its rows */
    int64_t group_rows;
    int zero;        /* added to a stored zero point (GPTQ's first format: 1) */
    float table[16]; /* of bitsandbytes' 4 bits */
    double offset;   /* of its doubly quantised scales; their block: nested_group */
    int64_t nested_group;
    const ar_tensor *codes, *scales, *zeros, *order, *nested, *nested_map; /* order: the group of each input */
} ar_packed;

/* What a tensor is: the main one of a packed weight (then *out is filled, and *stem the length of its module's path), a part of one, or
 * neither.  Fails where the parts do not fit. */
typedef enum ar_packed_role { AR_PACKED_NOT, AR_PACKED_MAIN, AR_PACKED_PART } ar_packed_role;
/* config: quantization_config, or MLX's quantization; NULL: none. */
ar_status ar__packed_find(ar_packed_role *role, ar_packed *out, size_t *stem, const ar_tensors *files, const ar_tensor *t,
                          const json_t *config, const char *dtype, const char *place, ar_error *err);
/* Rows first … first + count as f32, [count, n_in]. */
void ar__packed_rows(float *dst, const ar_packed *p, int64_t first, int64_t count);
/* The same weight as NF4 blocks (kern/blocks_body.h) of a type of the table; false: it is none, or its rows are no multiple of a block. */
bool ar__packed_is_nf4(ar_dtype *type, const ar_packed *p);
void ar__packed_nf4(void *dst, const ar_packed *p);

#endif
