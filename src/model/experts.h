/* The MLP of a layer whose MLP is experts (ops/experts.h), and what its backward runs again.
 *
 *   l = router(h)      chosen, w = route(l)      of each expert's rows:  g, u = gate(h), up(h)      y += down(w · f(g) · u) + w · b
 *                                      of all rows, where there is one:  g, u = gate(h), up(h)      y += down(sigmoid(mix(h)) · f(g) · u)
 *
 * The weight multiplies what the last linear reads, not what it gives: so its gradient asks for nothing that is not there.  The bias b of
 * that linear, where it has one, is added by itself for that.
 *
 * Beside a dense MLP (gemma 4) router and experts each read a norm of their own of the residual r behind the attention, and what both give
 * is normed before it is added up; s and t are frozen, and each expert's weight has a factor t_e:
 *
 *   l = router(norm(r) · s) / sqrt(dim)      h = norm(r)      w_e · t_e in place of w_e      y = norm(dense(…)) + norm(experts(h))
 *
 * Kept for backward: l, the choice, w, and g and u of the rows of the first expert, then the second, … (under bf16 arithmetic as bf16).
 * Rows of one expert at a time are gathered into memory that is shared, room for all rows, since all may choose the same. */
#ifndef AR_MODEL_EXPERTS_H
#define AR_MODEL_EXPERTS_H

#include "model/pass.h"

/* Memory: what a layer keeps (SIZE_MAX: wide enough for any); what all share; what lasts from the first layer to the way back. */
void ar__experts_place_acts(ar_pass *p, ar_acts *a, size_t layer);
void ar__experts_place(ar_pass *p);
void ar__experts_place_balance(ar_pass *p);
/* Elements of a row of the widest MLP, dense or an expert's. */
size_t ar__widest_mlp(const ar_arch *a);

/* h [rows, dim], of experts beside a dense MLP a->mid, to what backward reads. */
void ar__experts_widen(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows);
/* What the load-balancing loss counts begins at nothing, and each layer adds its rows. */
void ar__experts_balance_begin(ar_pass *p, const ar_batch *b);
void ar__experts_balance(ar_pass *p, const ar_acts *a, const ar_rows *rows);
/* From there to y [rows, dim], which is neither h nor anything that the layer keeps. */
void ar__experts_down(ar_pass *p, size_t layer, ar_acts *a, float *y, const ar_rows *rows);
/* dh from dy; they may be the same memory. */
void ar__experts_backward(ar_pass *p, size_t layer, ar_acts *a, float *dh, const float *dy, const float *h, const ar_rows *rows);
/* Beside a dense MLP, which gave dense_out: both together, in a->down; and from its gradient dy, all but the dense MLP's, to p->dx.  dy is
 * none of the experts' memory. */
void ar__beside_join(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows);
void ar__beside_backward(ar_pass *p, size_t layer, ar_acts *a, const float *dy, const ar_rows *rows);

#endif
