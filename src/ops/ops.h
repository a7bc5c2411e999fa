/* The table of operators: what a pass, an update and a measurement call, and the seam behind which another device would stand.
 *
 *     rt->ops->norm_fwd(rt, y, r, norm, x, rows, n)
 *
 * An operator's type is ar_<name>_fn; the header of its kind states it, with shapes and formula.  Two tables fill
 * every entry:
 *
 *     ar__ops_cpu   ops/cpu/   blocks, kernels, threads: what a runtime begins with
 *     ar__ops_ref   ops/ref/   the definition: the formulas as plain loops in double, each result rounded to f32 once
 *
 * Where their memory is, and who may look into it, is ops/memory.h's to say. */
#ifndef AR_OPS_OPS_H
#define AR_OPS_OPS_H

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/delta.h"
#include "ops/embedding.h"
#include "ops/experts.h"
#include "ops/linear.h"
#include "ops/loss.h"
#include "ops/magnitude.h"
#include "ops/memory.h"
#include "ops/move.h"
#include "ops/norm.h"
#include "ops/optim.h"
#include "ops/rope.h"

/* The one list of them: entries, declarations and tables all come from it, so that a missing operator does not link. */
/* clang-format off */
#define AR_EACH_OP(X) \
    X(norm_fwd) X(norm_fwd_add) X(norm_again) X(norm_bwd) \
    X(activation_fwd) X(activation_bwd) X(activation_keep) X(activation_again) X(activation_bwd_kept) X(softcap) X(clip) X(clip_bwd) \
    X(rope_fill) X(rope_apply) \
    X(attention_scratch) X(attention_fwd) X(attention_bwd) \
    X(conv_fwd) X(conv_bwd) X(delta_scratch) X(delta_fwd) X(delta_bwd) \
    X(linear_fwd) X(linears_fwd) X(linear_su) X(linear_bwd) \
    X(embedding_fwd) X(embedding_bwd) \
    X(cross_entropy) \
    X(route_fwd) X(route_bwd) X(balance_fwd) X(balance_bwd) X(rows_add) X(rows_weigh) X(rows_weigh_bwd) X(rows_bias) X(rows_bias_bwd) X(sigmoid_fwd) X(sigmoid_bwd) \
    X(add) X(scale) X(multiple) X(bf16_round) X(bf16_widen) X(zero_rows) X(rows_take) X(rows_put) X(rows_spread) X(columns_put) X(columns_take) X(rows_store) X(qkv_split) X(qkv_join) \
    X(update) X(grad_norm) X(zero_grads) X(join_grads) X(zero_bytes) \
    X(weight_norms) X(update_norms) X(row_squares) X(row_norms_measure) X(dora_gains)
/* clang-format on */

/* The most that a pass asks of its products at once. */
typedef struct ar_work {
    size_t rows, widest;     /* of a batch; elements of the widest input or output of its linears */
    size_t head_rows, vocab; /* of a chunk of the head */
    size_t queries, mixer;   /* elements of all heads of a row; of what the delta rule forms beside */
    size_t factor;           /* elements of the largest A or B */
} ar_work;

typedef struct ar_ops {
    const char *name;
    const ar_memory *memory;
    size_t enough_rows, enough_head_rows; /* more at a time gain little */
    /* Bytes beside the pass that these take, at most: for the plan. */
    size_t (*scratch_bytes)(const ar_runtime *rt, const ar_work *work);
#define AR_OP_ENTRY(op) ar_##op##_fn *op;
    AR_EACH_OP(AR_OP_ENTRY)
#undef AR_OP_ENTRY
} ar_ops;

extern const ar_ops ar__ops_cpu, ar__ops_ref;

/* Before anything is opened with the runtime: a pass asks its operators for the size of their scratch. */
void ar__runtime_use_ops(ar_runtime *rt, const ar_ops *ops);

#endif
