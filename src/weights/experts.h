/* Where a base has the matrices of a layer's experts: each in a tensor of its own, or those of one kind in one,
 *
 *     PATH.N.gate_proj, up_proj, down_proj             [ff, dim], [ff, dim], [dim, ff]
 *     PATH.gate_up_proj [experts, 2 ff, dim]           of each expert the rows of gate, then those of up
 *     PATH.down_proj    [experts, dim, ff]
 *     blk.N.ffn_gate_exps, ffn_up_exps [experts, ff, dim], ffn_down_exps [experts, dim, ff]    of a GGUF file
 *
 * PATH by any of the names that ar__base_find knows. */
#ifndef AR_WEIGHTS_EXPERTS_H
#define AR_WEIGHTS_EXPERTS_H

#include "arch/arch.h"
#include "weights/base.h"

/* The matrix [rows, cols] of one expert: the rows from `first` on of w, whose dimensions but the last are counted as one. */
typedef struct ar_expert_weight {
    const ar_base_weight *w; /* NULL: the base has none */
    int64_t first, rows, cols;
} ar_expert_weight;

/* Fails where the tensor is there and has another shape or a type that is not read. */
ar_status ar__base_find_expert(ar_expert_weight *out, const ar_base *base, const ar_arch *a, int64_t layer, int64_t expert,
                               ar_expert_part part, ar_error *err);
/* Rows first … first + count of the expert's as f32 [count, cols]. */
ar_status ar__base_read_expert(float *dst, const ar_base *base, const ar_expert_weight *x, int64_t first, int64_t count, ar_error *err);

#endif
