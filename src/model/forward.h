/* The pieces of forward that backward runs again. */
#ifndef AR_MODEL_FORWARD_H
#define AR_MODEL_FORWARD_H

#include "model/pass.h"

ar_attention ar__layer_attention(const ar_model *m, const ar_layer *l);
/* acts[layer].x to `out`.  out NULL: only what backward needs, without the last product. */
void ar__layer_forward(ar_pass *p, size_t layer, const ar_rows *rows, ar_kv_cache *cache, float *out);
/* p->q_rot and p->k_rot from the raw q and k: norms where the record has them, then RoPE. */
void ar__rotate(ar_pass *p, const ar_layer *l, ar_acts *a, const ar_rows *rows, size_t past);
/* p->act = silu(gate) * up */
void ar__swiglu(ar_pass *p, const ar_acts *a, const ar_rows *rows);

#endif
