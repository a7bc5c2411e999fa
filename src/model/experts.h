/* The MLP of a layer whose MLP is experts (ops/experts.h), and what its backward runs again.
 *
 *   l = router(h)      chosen, w = route(l)      of each expert's rows:  g, u = gate(h), up(h)      y += down(w · f(g) · u) + w · b
 *                                      of all rows, where there is one:  g, u = gate(h), up(h)      y += down(sigmoid(mix(h)) · f(g) · u)
 *
 * The weight multiplies what the last linear reads, not what it gives: so its gradient asks for nothing that is not there.  The bias b of
 * that linear, where it has one, is added by itself for that.
 *
 * Kept for backward: l, the choice, w, and g and u of the rows of the first expert, then the second, …  Rows of one expert at a time are
 * gathered into memory that is shared, room for all rows, since all may choose the same. */
#ifndef AR_MODEL_EXPERTS_H
#define AR_MODEL_EXPERTS_H

#include "model/pass.h"

/* Memory: what a layer keeps (SIZE_MAX: wide enough for any); what all share. */
void ar__experts_place_acts(ar_pass *p, ar_acts *a, size_t layer);
void ar__experts_place(ar_pass *p);
/* Elements of a row of the widest MLP, dense or an expert's. */
size_t ar__widest_mlp(const ar_arch *a);

/* h [rows, dim] to what backward reads. */
void ar__experts_widen(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows);
/* From there to y [rows, dim], which is neither h nor anything that the layer keeps. */
void ar__experts_down(ar_pass *p, size_t layer, ar_acts *a, float *y, const ar_rows *rows);
/* dh from dy; they may be the same memory. */
void ar__experts_backward(ar_pass *p, size_t layer, ar_acts *a, float *dh, const float *dy, const float *h, const ar_rows *rows);

#endif
