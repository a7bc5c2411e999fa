/* Activations of a layer's mixer, from its input to the residual behind it: which there are, where they lie, and what is kept of them.
 *
 * Wide are those of which a row has hundreds of elements.  They are f32, each layer's own; or, where a training computes in bf16, one set
 * for all layers, of which a layer keeps each rounded to nearest even:
 *
 *     rounded   x | mid | attention | o | the mixer's own, [T, width] each, whichever the layer has
 *
 * Backward reads what was rounded, also where a layer is formed again: so what a plan keeps does not show in the gradients. */
#ifndef AR_MODEL_ACTS_H
#define AR_MODEL_ACTS_H

#include "model/pass.h"

/* Widths of q, k and v, heads of k and v, and of the MLP in one layer; layer SIZE_MAX: the largest of any. */
typedef struct ar_widths {
    size_t q, kv, kv_heads, ff;
} ar_widths;

ar_widths ar__widths_of(const ar_pass *p, size_t layer);
/* Whether a layer mixes so; of SIZE_MAX, any layer: whether some layer does. */
bool ar__mixes(const ar_pass *p, size_t layer, ar_mixer mixer);
/* Elements that the mixer gives its last linear, of a row. */
size_t ar__mixer_width(const ar_pass *p, size_t layer);

/* Whether the pass keeps rounded ones. */
bool ar__acts_are_rounded(const ar_pass *p);
/* Memory of the wide ones but x; of SIZE_MAX, any layer: enough for each. */
void ar__acts_place_wide(ar_pass *p, ar_acts *a, size_t layer);
void ar__acts_place_rounded(ar_pass *p, ar_acts *a, size_t layer);
/* Of the norms, and what the delta rule has by head. */
void ar__acts_place_narrow(ar_pass *p, ar_acts *a, size_t layer);
/* Where rounded ones are kept: memory of what the layer is formed again of, and the others from the set (ar_pass.wide). */
void ar__acts_place_exact(ar_pass *p, size_t layer);
void ar__acts_lend(ar_pass *p, size_t layer);

/* From the wide ones to those that are kept, and back; nothing where none are rounded. */
void ar__acts_round(ar_pass *p, size_t layer, const ar_rows *rows);
void ar__acts_widen(ar_pass *p, size_t layer, const ar_rows *rows);

#endif
