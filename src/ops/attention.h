/* Causal grouped-query attention in blocks (arXiv 2205.14135): memory is linear in the sequence.
 *
 *     p_ij = softmax_j(s_ij),  s_ij = scale q_i · k_j,  j <= i and i - j < window;     o_i = sum_j p_ij v_j
 *
 * and with a cap on the scores (gemma 2) cap tanh(s_ij / cap) for s_ij; with a sink z (gpt_oss) exp(z) stands in the denominator too, as if
 * one key more were seen whose value is 0.  Kept for backward: o and lse_i = log sum_j exp(s_ij), the sink among them.  Backward,
 * with D_i = do_i · o_i: dv_j = sum_i p_ij do_i     ds_ij = p_ij (do_i · v_j - D_i) scale     dq_i = sum_j ds_ij k_j     dk_j = sum_i ds_ij
 * q_i An element of dq sums over blocks of keys, of dk and dv over blocks of queries, in their order, whether a thread takes all of a
 * sample or a block of it; blocks count from the start of their sample, so a sample's bits do not depend on its neighbours. */
#ifndef AR_OPS_ATTENTION_H
#define AR_OPS_ATTENTION_H

#include "kern/runtime.h"
#include "ops/rows.h"

enum { AR_ATTENTION_BLOCK = 64 };

typedef struct ar_attention {
    size_t heads, kv_heads, head_dim;
    size_t window;      /* 0: none */
    float scale, cap;   /* cap 0: none */
    const float *sinks; /* [heads], frozen; NULL: none */
} ar_attention;

/* Queries of one sample, and where its keys lie:
 *
 *     q, o | … | row, row + count | …          k, v | … | keys: position 0, 1, 2, … | …
 *
 * The first query is at `position` of its sample, whose last one is at `length` - 1.  Without a cache keys + position = row. */
typedef struct ar_block {
    size_t row, count, keys, position, length;
} ar_block;

/* Cuts the samples into blocks; `out` holds at least count / AR_ATTENTION_BLOCK + samples of them. Returns how many.
 * past, keys (per sample; both or none): positions before the sample's first row, and the row of its first key in a cache. */
size_t ar__attention_blocks(ar_block *out, const ar_rows *rows, const size_t *past, const size_t *keys);

/* Floats of scratch that one thread needs, forward and backward. */
typedef size_t ar_attention_scratch_fn(const ar_runtime *rt, const ar_attention *at);

/* q, o [rows, heads * head_dim]; lse [rows, heads]; k, v [rows, or those of a cache, kv_heads * head_dim]. */
typedef void ar_attention_fwd_fn(const ar_runtime *rt, float *o, float *lse, const float *q, const float *k, const float *v,
                                 const ar_attention *at, const ar_block *blocks, size_t block_count, float *scratch);

/* dq, dk, dv are written; not for blocks with a cache.  dsum [rows, heads]: memory for D. */
typedef void ar_attention_bwd_fn(const ar_runtime *rt, float *dq, float *dk, float *dv, float *dsum, const float *d_o, const float *q,
                                 const float *k, const float *v, const float *o, const float *lse, const ar_attention *at,
                                 const ar_block *blocks, size_t block_count, float *scratch);

#endif
