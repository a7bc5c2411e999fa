/* Per-layer embeddings (gemma 4): a table with one vector e_l of P elements for each token and layer, mixed with a projection of the
 * embedding x₀ of D elements, and added to the residual stream behind each layer's MLP.
 *
 *     i_l = (norm(mix_l x₀ / √D) + √P e_l[id]) / √2               before the first layer, for all of them: [T, layers · P]
 *     y + norm(projection(f(gate y) · i_l))                       behind layer l's MLP, y the residual stream there
 *
 * Backward needs y, gate y and what the projection gave, which a layer keeps or forms again as it does gate and up; i_l is one buffer.
 * The gradient of i_l is formed where something before the first layer asks, of all layers, and goes to mix, norm, table and x₀ last. */
#ifndef AR_MODEL_PLE_H
#define AR_MODEL_PLE_H

#include "model/pass.h"

/* What a layer keeps, and what all share; nothing where the family has none. */
void ar__ple_place_acts(ar_pass *p, ar_acts *a);
void ar__ple_borrow_acts(ar_acts *a, const ar_acts *from);
void ar__ple_place(ar_pass *p);

/* Before the first layer, from acts[0].x. */
void ar__ple_begin(ar_pass *p, const ar_batch *b);
/* a->y to `out` (NULL: only what backward needs); all: the rows of the batch, rows: those behind the layer's attention. */
void ar__ple_forward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *all, const ar_rows *rows, float *out);
/* p->dx becomes the gradient of a->y. */
void ar__ple_backward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *all, const ar_rows *rows);
/* Behind the lowest layer: the gradients of what was before the first one; to p->dx where that is asked for. */
void ar__ple_end(ar_pass *p, const ar_batch *b);

#endif
