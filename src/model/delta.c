/* A layer that mixes by the delta rule.
 *
 *   columns, z, b, a = linears(h)     x = convolution(columns)     att = rule(x, b, a)     y = norm(att) * silu(z)
 *
 * and y is what its last linear reads.  Kept are the linears' outputs, att, and rstd of the norm; x and y are formed again. */
#include "model/forward.h"

static const ar_activation silu = {.kind = AR_SILU};

void ar__delta_forward(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    const ar_layer *l = &m->layers[layer];
    ar_linear_out wide[] = {{&l->linear[AR_SLOT_DELTA_QKV], a->columns, a->su[AR_SLOT_DELTA_QKV]},
                            {&l->linear[AR_SLOT_DELTA_Z], a->z, a->su[AR_SLOT_DELTA_Z]}};
    ar_linear_out gates[] = {{&l->linear[AR_SLOT_DELTA_B], a->b, a->su[AR_SLOT_DELTA_B]},
                             {&l->linear[AR_SLOT_DELTA_A], a->a, a->su[AR_SLOT_DELTA_A]}};
    rt->ops->linears_fwd(rt, wide, 2, h, rows, &p->linear);
    rt->ops->linears_fwd(rt, gates, 2, h, rows, &p->linear);
    ar_recurrence state, conv;
    if (cache) {
        state = ar__kv_state(cache, m, layer);
        conv = ar__kv_conv(cache, m, layer);
    }
    rt->ops->conv_fwd(rt, p->delta.conv, a->columns, &l->conv, rows, cache ? &conv : NULL);
    rt->ops->delta_fwd(rt, a->att, p->delta.conv, a->b, a->a, &l->delta, rows, cache ? &state : NULL, p->delta.scratch);
    rt->ops->norm_fwd(rt, p->delta.conv, a->rstd_delta, &l->norm[AR_SLOT_DELTA_NORM], a->att, rows->count * l->delta.value_heads,
                      l->delta.value_dim);
}

/* The norm is formed in the convolution's memory, which nothing needs then. */
const float *ar__delta_gated(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    size_t width = l->delta.value_heads * l->delta.value_dim;
    rt->ops->norm_again(rt, p->delta.conv, a->rstd_delta, &l->norm[AR_SLOT_DELTA_NORM], a->att, rows->count * l->delta.value_heads,
                        l->delta.value_dim);
    rt->ops->activation_fwd(rt, &silu, p->attention.gated, a->z, p->delta.conv, width, rows->count, width);
    return p->attention.gated;
}

/* Each gradient lies where its value did, but that of the convolution's output. */
void ar__delta_backward(ar_pass *p, const ar_layer *l, ar_acts *a, float *dh, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_norm *norm = &l->norm[AR_SLOT_DELTA_NORM];
    size_t heads = l->delta.value_heads, n = l->delta.value_dim;
    float *d_att = p->attention.gated;
    rt->ops->norm_again(rt, d_att, a->rstd_delta, norm, a->att, rows->count * heads, n);
    rt->ops->activation_bwd(rt, &silu, a->z, d_att, heads * n, p->attention.dout, rows->count, heads * n);
    rt->ops->norm_bwd(rt, d_att, false, d_att, norm, a->att, a->rstd_delta, rows, heads, n);
    rt->ops->conv_fwd(rt, p->delta.conv, a->columns, &l->conv, rows, NULL);
    rt->ops->delta_bwd(rt, p->delta.d_conv, a->b, a->a, d_att, p->delta.conv, a->b, a->a, &l->delta, rows, p->delta.scratch);
    rt->ops->conv_bwd(rt, a->columns, p->delta.d_conv, a->columns, &l->conv, rows);
    const ar_linear *qkv = &l->linear[AR_SLOT_DELTA_QKV], *z = &l->linear[AR_SLOT_DELTA_Z], *wb = &l->linear[AR_SLOT_DELTA_B],
                    *wa = &l->linear[AR_SLOT_DELTA_A];
    const float *h = ar__input_of(p, &l->norm[AR_SLOT_ATTN_NORM], a->x, a->rstd_attn, rows, (const ar_linear *[]){qkv, z, wb, wa}, 4);
    rt->ops->linear_bwd(rt, dh, false, a->columns, qkv, h, a->su[AR_SLOT_DELTA_QKV], rows, &p->linear);
    rt->ops->linear_bwd(rt, dh, true, a->z, z, h, a->su[AR_SLOT_DELTA_Z], rows, &p->linear);
    rt->ops->linear_bwd(rt, dh, true, a->b, wb, h, a->su[AR_SLOT_DELTA_B], rows, &p->linear);
    rt->ops->linear_bwd(rt, dh, true, a->a, wa, h, a->su[AR_SLOT_DELTA_A], rows, &p->linear);
}
