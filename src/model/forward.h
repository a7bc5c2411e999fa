/* The pieces of forward that backward runs again. */
#ifndef AR_MODEL_FORWARD_H
#define AR_MODEL_FORWARD_H

#include "model/pass.h"

ar_attention ar__layer_attention(const ar_model *m, const ar_layer *l);
/* acts[layer].x to `out`.  out NULL: only what backward needs and the layer did not keep. */
void ar__layer_forward(ar_pass *p, size_t layer, const ar_rows *rows, ar_kv_cache *cache, float *out);
/* q and the gates of gated attention, head by head beside each other in p->attention.wide. */
ar_qkv ar__pass_gate(const ar_pass *p, float *q, float *gate);
/* Three matrices of the width of q, k and v. */
ar_qkv ar__pass_qkv(const ar_pass *p, float *q, float *k, float *v);
/* What a sublayer read, from the rstd that was kept: the norm of x, formed again in p->h, or x itself. */
const float *ar__entered(ar_pass *p, const ar_norm *norm, const float *rstd, const float *x, size_t rows);
/* The same, where a linear behind it asks for its input in backward; else x. */
const float *ar__input_of(ar_pass *p, const ar_norm *norm, const float *x, const float *rstd, const ar_rows *rows,
                          const ar_linear *const *behind, int count);
/* The norm of what the MLP reads: under parallel, where it has none of its own, the attention's. */
const ar_norm *ar__mlp_norm(const ar_model *m, const ar_layer *l);
/* What that norm is taken of: the residual behind the attention, or under parallel before it (of the tail: in p->h). */
const float *ar__mlp_reads(ar_pass *p, const ar_acts *a, const ar_rows *rows, const ar_rows *behind);
/* The rows behind the layer's attention: all of them, or the tail. */
const ar_rows *ar__rows_behind(const ar_pass *p, size_t layer, const ar_rows *rows);
/* What the mixer's last linear is, and what it reads of all rows: att, or where that has a gate, the two formed in p->attention.gated. */
ar_slot ar__mixer_out(const ar_layer *l);
static inline bool ar__mixer_has_gate(const ar_layer *l, const ar_acts *a) { return l->mixer != AR_MIX_ATTENTION || a->head_gate; }
const float *ar__mixer_gated(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows);

/* A layer that mixes by the delta rule (model/delta.c): from what it reads, h, to what ar__mixer_gated takes; and from the gradient of
 * that, p->attention.dout, to that of h, in dh where that is wanted (NULL: not). */
void ar__delta_forward(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows, ar_kv_cache *cache);
void ar__delta_backward(ar_pass *p, const ar_layer *l, ar_acts *a, float *dh, const ar_rows *rows);
const float *ar__delta_gated(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows);
/* And one that mixes by a short convolution (model/conv.c). */
void ar__conv_forward(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows, ar_kv_cache *cache);
void ar__conv_backward(ar_pass *p, const ar_layer *l, ar_acts *a, float *dh, const ar_rows *rows);
const float *ar__conv_gated(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows);

/* q, k and v as attention takes them. */
typedef struct ar_attended {
    const float *q, *k, *v;
} ar_attended;
/* Where the family norms q and k they are formed in p->q_rot and p->k_rot from the raw ones, and so values; else they are turned in place
 * (turn), or were before.  Keys and values of an earlier layer are as that one left them.  past: per sample, as ar__rope_apply takes it. */
ar_attended ar__rotate(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows, const size_t *past, bool turn);
/* What a value is made of: v, or what k gave. */
static inline const float *ar__raw_values(const ar_layer *l, const ar_acts *a) { return l->v_is_k ? a->k : a->v; }
/* Where the layer's keys and values outlive it, or an earlier layer's that it takes do. */
static inline ar_kv_lent *ar__lent(ar_pass *p, const ar_layer *l) { return &p->lent[l->window != 0]; }
static inline size_t ar__mlp_ld(const ar_layer *l) { return l->linear[AR_SLOT_GATE_UP].w.data ? 2 * l->ff : l->ff; }
/* The rows with a target, or none left out. */
void ar__tail_begin(ar_pass *p, const ar_batch *b);

#endif
