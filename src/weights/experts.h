/* Where a base has the matrices of a layer's experts: each in a tensor of its own, or those of one kind in one,
 *
 *     PATH.N.gate_proj, up_proj, down_proj             [ff, dim], [ff, dim], [dim, ff]
 *     PATH.gate_up_proj [experts, 2 ff, dim]           of each expert the rows of gate, then those of up
 *     PATH.down_proj    [experts, dim, ff]
 *     blk.N.ffn_gate_exps, ffn_up_exps [experts, ff, dim], ffn_down_exps [experts, dim, ff]    of a GGUF file
 *
 * and of gpt_oss, where gate and up take turns,
 *
 *     PATH.gate_up_proj [experts, dim, 2 ff]           columns of gate and up in turn
 *     PATH.down_proj    [experts, ff, dim]
 *     PATH.gate_up_proj_blocks U8 [experts, 2 ff, dim / 32, 16]     MXFP4, rows in turn: of a block value 2j is low in
 *     PATH.gate_up_proj_scales U8 [experts, 2 ff, dim / 32]         byte j, value 2j + 1 high
 *     PATH.down_proj_blocks    U8 [experts, dim, ff / 32, 16]
 *     PATH.down_proj_scales    U8 [experts, dim, ff / 32]
 *     PATH.gate_up_proj_bias   [experts, 2 ff]                      in turn, too
 *     PATH.down_proj_bias      [experts, dim]
 *
 * PATH by any of the names that ar__base_find knows. */
#ifndef AR_WEIGHTS_EXPERTS_H
#define AR_WEIGHTS_EXPERTS_H

#include "arch/arch.h"
#include "weights/base.h"

/* How element [r, c] of one expert's matrix lies in w, whose dimensions but the last are counted as one:
 *   ROWS     row first + r, as they are
 *   COLUMNS  column first + r · step of row c, counted from row `row`
 *   MXFP4    row first + r · step of blocks, with scales in a tensor of their own */
typedef enum ar_expert_layout { AR_EXPERT_ROWS, AR_EXPERT_COLUMNS, AR_EXPERT_MXFP4 } ar_expert_layout;

/* The matrix [rows, cols] of one expert. */
typedef struct ar_expert_weight {
    const ar_base_weight *w, *scales; /* w NULL: the base has none; scales: of MXFP4 */
    ar_expert_layout layout;
    ar_dtype type; /* of the matrix as it is bound: w's, or mxfp4 */
    int64_t first, step, row, rows, cols;
    int64_t expert; /* whose it is of a stack */
} ar_expert_weight;

/* Fails where the tensor is there and has another shape or a type that is not read. */
ar_status ar__base_find_expert(ar_expert_weight *out, const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert,
                               ar_expert_part part, ar_error *err);
/* Rows first … first + count of the expert's as f32 [count, cols]. */
ar_status ar__base_read_expert(float *dst, const ar_base *base, const ar_expert_weight *x, int64_t first, int64_t count, ar_error *err);
/* All of it in x->type, row by row, where it does not lie so in the file. */
ar_status ar__base_copy_expert(void *dst, const ar_base *base, const ar_expert_weight *x, ar_error *err);

/* The bias [rows] of the same matrix; *from: the weight with whose tensors it goes, NULL where there is none. */
ar_status ar__base_read_expert_bias(float *dst, const ar_base_weight **from, const ar_base *base, const ar_arch *a, int64_t layer,
                                    int64_t expert, ar_expert_part part, ar_error *err);

#endif
