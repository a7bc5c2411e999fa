/* A layer that mixes by a short convolution between two gates (LFM2).
 *
 *   front, behind, through = linear(h)     att = convolution(front * through)     y = behind * att
 *
 * and y is what its last linear reads.  Kept are the three and att; what the convolution reads and y are formed again. */
#include "model/forward.h"

static const ar_activation product = {.kind = AR_IDENTITY};

/* As columns of what the linear gives. */
static ar_qkv columns(const ar_pass *p, float *front, float *behind, float *through) {
    size_t dim = (size_t)p->model->arch.dim;
    return (ar_qkv){.q = front, .k = behind, .v = through, .q_width = dim, .kv_width = dim};
}

void ar__conv_forward(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    const ar_layer *l = &m->layers[layer];
    ar_qkv parts = columns(p, a->gate_front, a->gate_behind, a->through);
    size_t dim = l->conv.width;
    float *in = p->conv.joined;
    rt->ops->linear_fwd(rt, p->conv.joined, a->su[AR_SLOT_CONV_IN], &l->linear[AR_SLOT_CONV_IN], h, rows, &p->linear);
    rt->ops->qkv_split(rt, &parts, p->conv.joined, rows->count);
    rt->ops->activation_fwd(rt, &product, in, a->gate_front, a->through, dim, rows->count, dim);
    ar_recurrence memory;
    if (cache) memory = ar__kv_conv(cache, m, layer);
    rt->ops->conv_fwd(rt, a->att, in, &l->conv, rows, cache ? &memory : NULL);
}

const float *ar__conv_gated(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    rt->ops->activation_fwd(rt, &product, p->attention.gated, a->gate_behind, a->att, l->conv.width, rows->count, l->conv.width);
    return p->attention.gated;
}

/* Each gradient lies where its value did. */
void ar__conv_backward(ar_pass *p, const ar_layer *l, ar_acts *a, float *dh, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_linear *first = &l->linear[AR_SLOT_CONV_IN];
    ar_qkv parts = columns(p, a->gate_front, a->gate_behind, a->through);
    size_t dim = l->conv.width;
    float *d_in = p->conv.joined;
    rt->ops->activation_bwd(rt, &product, a->gate_behind, a->att, dim, p->attention.dout, rows->count, dim);
    rt->ops->conv_bwd(rt, d_in, a->att, NULL, &l->conv, rows);
    rt->ops->activation_bwd(rt, &product, a->gate_front, a->through, dim, d_in, rows->count, dim);
    rt->ops->qkv_join(rt, p->conv.joined, &parts, rows->count);
    const float *h = ar__input_of(p, &l->norm[AR_SLOT_ATTN_NORM], a->x, a->rstd_attn, rows, &first, 1);
    rt->ops->linear_bwd(rt, dh, false, p->conv.joined, first, h, a->su[AR_SLOT_CONV_IN], rows, &p->linear);
}
