/* The one backward, layer by layer from the top; every step mirrors a line of forward.c, read from below.
 * p->dx is the gradient of the residual stream and is updated in place.  Derivations: docs/backward.md. */
#include "model/acts.h"
#include "model/experts.h"
#include "model/forward.h"
#include "model/ple.h"

/* What a sublayer read, where a linear behind it asks for its input. */
const float *ar__input_of(ar_pass *p, const ar_norm *norm, const float *x, const float *rstd, const ar_rows *rows,
                          const ar_linear *const *behind, int count) {
    for (int i = 0; i < count; i++)
        if (ar__linear_needs_input(behind[i], rows)) return ar__entered(p, norm, rstd, x, rows->count);
    return x;
}

/* The gradient of what a sublayer's last linear gave, from that of the residual stream: p->dx itself, or in p->dh. */
static const float *leave_backward(ar_pass *p, const ar_norm *norm, const float *raw, const float *rstd, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    double scale = p->model->arch.residual_scale;
    size_t dim = (size_t)p->model->arch.dim;
    const float *dy = p->dx;
    if (scale != 1.0) {
        rt->ops->multiple(rt, p->dh, p->dx, scale, rows->count * dim);
        dy = p->dh;
    }
    if (!norm->w) return dy;
    rt->ops->norm_bwd(rt, p->dh, false, dy, norm, raw, rstd, rows, 1, dim);
    return p->dh;
}

/* To p->dx (wanted: whether anything below asks) the gradient of what the sublayer read, from that in p->dh. */
static void enter_backward(ar_pass *p, const ar_norm *norm, const float *x, const float *rstd, const ar_rows *rows, bool wanted) {
    const ar_runtime *rt = p->model->rt;
    size_t dim = (size_t)p->model->arch.dim;
    if (norm->w)
        rt->ops->norm_bwd(rt, wanted ? p->dx : NULL, true, p->dh, norm, x, rstd, rows, 1, dim);
    else if (wanted)
        rt->ops->add(rt, p->dx, p->dh, rows->count * dim);
}

static void experts_backward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *all, const ar_rows *rows) {
    const ar_layer *l = &p->model->layers[layer];
    const ar_norm *norm = ar__mlp_norm(p->model, l);
    const float *dy = leave_backward(p, &l->norm[AR_SLOT_MLP_OUT_NORM], a->down, a->rstd_down, rows);
    const float *h = ar__entered(p, norm, a->rstd_mlp, ar__mlp_reads(p, a, all, rows), rows->count);
    ar__experts_backward(p, layer, a, p->dh, dy, h, rows);
    enter_backward(p, norm, a->mid, a->rstd_mlp, rows, true);
}

/* The gradient of what the dense MLP's last linear gave; of experts beside it what they read has got its own. */
static const float *dense_leave_backward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    const float *dy = leave_backward(p, &l->norm[AR_SLOT_MLP_OUT_NORM], a->down, a->rstd_down, rows);
    if (!p->model->arch.experts_beside) return dy;
    ar__beside_backward(p, layer, a, dy, rows);
    rt->ops->norm_bwd(rt, p->dh, false, dy, &l->norm[AR_SLOT_DENSE_OUT_NORM], a->experts.dense_out, a->experts.rstd_dense, rows, 1,
                      (size_t)p->model->arch.dim);
    return p->dh;
}

/* Under parallel the gradient of what the MLP read waits in p->dh_mlp until attention has read that of the residual stream. */
static void mlp_backward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *all, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    const ar_linear *gate = &l->linear[AR_SLOT_GATE], *up = &l->linear[AR_SLOT_UP], *down = &l->linear[AR_SLOT_DOWN],
                    *fused = &l->linear[AR_SLOT_GATE_UP];
    size_t ff = l->ff, ld = ar__mlp_ld(l);
    const float *dy = dense_leave_backward(p, layer, a, rows);
    if (ar__linear_needs_input(down, rows) && a->kept)
        rt->ops->activation_again(rt, &l->activation, p->act, a->kept, a->gate != NULL, rows->count, ff);
    else if (ar__linear_needs_input(down, rows))
        rt->ops->activation_fwd(rt, &l->activation, p->act, a->gate, a->up, ld, rows->count, ff);
    if (ar__pass_level(p, layer) < AR_LEVEL_ALL) rt->ops->linear_su(rt, a->su[AR_SLOT_DOWN], down, p->act, rows, &p->linear);
    rt->ops->linear_bwd(rt, p->act, false, dy, down, p->act, a->su[AR_SLOT_DOWN], rows, &p->linear);
    if (a->kept)
        rt->ops->activation_bwd_kept(rt, &l->activation, a->gate, a->up, ld, a->kept, p->act, rows->count, ff);
    else
        rt->ops->activation_bwd(rt, &l->activation, a->gate, a->up, ld, p->act, rows->count, ff);
    const ar_norm *norm = ar__mlp_norm(p->model, l);
    const float *h = ar__input_of(p, norm, ar__mlp_reads(p, a, all, rows), a->rstd_mlp, rows, (const ar_linear *[]){gate, up, fused}, 3);
    float *dh = p->model->arch.parallel ? p->dh_mlp : p->dh;
    if (fused->w.data) rt->ops->linear_bwd(rt, dh, false, a->gate, fused, h, a->su[AR_SLOT_GATE_UP], rows, &p->linear);
    if (gate->w.data) rt->ops->linear_bwd(rt, dh, false, a->gate, gate, h, a->su[AR_SLOT_GATE], rows, &p->linear);
    if (up->w.data) rt->ops->linear_bwd(rt, dh, gate->w.data != NULL, a->up, up, h, a->su[AR_SLOT_UP], rows, &p->linear);
    if (!p->model->arch.parallel) enter_backward(p, norm, a->mid, a->rstd_mlp, rows, true);
}

/* Of what was cut: as the norm gave it, formed again in `normed`. */
static void clip_backward(ar_pass *p, float *d, float *normed, const ar_norm *norm, const float *raw, const float *rstd, size_t rows,
                          size_t n) {
    const ar_runtime *rt = p->model->rt;
    double most = p->model->arch.clip_qkv;
    if (most <= 0.0) return;
    rt->ops->norm_again(rt, normed, rstd, norm, raw, rows, n);
    rt->ops->clip_bwd(rt, d, normed, most, rows * n);
}

/* The gradient of the raw q or k from that of the rotated (and normed) one, in place; turned: memory where the family norms them behind. */
static void rotate_backward(ar_pass *p, const ar_layer *l, float *d, float *turned, const float *raw, const float *rstd,
                            const ar_rows *rows, bool query) {
    const ar_arch *ar = &p->model->arch;
    const ar_runtime *rt = p->model->rt;
    const ar_rope *rope = &p->rope[l->rope];
    const ar_norm *norm = &l->norm[query ? AR_SLOT_Q_NORM : AR_SLOT_K_NORM];
    size_t heads = query ? (size_t)ar->heads : l->kv_heads, per_row = ar->qk_wide ? 1 : heads, n = heads * l->head_dim / per_row;
    if (ar->qk_turned) { /* the norm read the turned one, which is formed again */
        rt->ops->rope_apply(rt, turned, raw, rope, rows, NULL, heads, 1, query);
        rt->ops->norm_bwd(rt, d, false, d, norm, turned, rstd, rows, per_row, n);
    }
    if (l->turns) rt->ops->rope_apply(rt, d, d, rope, rows, NULL, heads, -1, query);
    if (!ar->qk_norm || ar->qk_turned) return;
    clip_backward(p, d, turned, norm, raw, rstd, rows->count * per_row, n);
    rt->ops->norm_bwd(rt, d, false, d, norm, raw, rstd, rows, per_row, n);
}

/* Gradients of the raw values, in place, or to those of the raw keys that they are. */
static void values_backward(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows) {
    const ar_model *m = p->model;
    float *to = l->v_is_k ? p->attention.dk : p->attention.dv;
    m->rt->ops->clip_bwd(m->rt, p->attention.dv, a->v, m->arch.clip_qkv, rows->count * l->kv_heads * l->head_dim);
    if (m->v_norm.w)
        m->rt->ops->norm_bwd(m->rt, to, l->v_is_k, p->attention.dv, &m->v_norm, ar__raw_values(l, a), a->rstd_v, rows, l->kv_heads,
                             l->head_dim);
}

/* Layers that take an earlier one's keys and values hand it their gradients, from the top down; it adds its own last. */
static void lent_begin(ar_pass *p, const ar_rows *rows) {
    const ar_model *m = p->model;
    for (size_t i = 0; i < (size_t)m->arch.layers; i++) {
        const ar_layer *l = &m->layers[i];
        if (!l->kv_lent) continue;
        m->rt->ops->zero_rows(m->rt, ar__lent(p, l)->dk, rows->count, l->kv_heads * l->head_dim);
        m->rt->ops->zero_rows(m->rt, ar__lent(p, l)->dv, rows->count, l->kv_heads * l->head_dim);
    }
}

static void lent_backward(ar_pass *p, size_t layer, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    const ar_kv_lent *lent = ar__lent(p, l);
    size_t floats = rows->count * l->kv_heads * l->head_dim;
    bool own = l->kv_layer == layer;
    if (own && !l->kv_lent) return;
    rt->ops->add(rt, own ? p->attention.dk : lent->dk, own ? lent->dk : p->attention.dk, floats);
    rt->ops->add(rt, own ? p->attention.dv : lent->dv, own ? lent->dv : p->attention.dv, floats);
}

/* The gradient of what the attention read, to dh where that is wanted. */
static void project_backward(ar_pass *p, const ar_layer *l, ar_acts *a, float *dh, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    const ar_linear *q = &l->linear[AR_SLOT_Q], *k = &l->linear[AR_SLOT_K], *v = &l->linear[AR_SLOT_V], *all = &l->linear[AR_SLOT_QKV];
    const float *h = ar__input_of(p, &l->norm[AR_SLOT_ATTN_NORM], a->x, a->rstd_attn, rows, (const ar_linear *[]){q, k, v, all}, 4);
    ar_qkv parts = ar__pass_qkv(p, p->attention.dq, p->attention.dk, p->attention.dv);
    float *dq = p->attention.dq;
    if (a->head_gate) {
        ar_qkv halves = ar__pass_gate(p, dq, a->head_gate);
        dq = p->attention.wide;
        rt->ops->qkv_join(rt, dq, &halves, rows->count);
    }
    if (p->attention.joined) {
        rt->ops->qkv_join(rt, p->attention.joined, &parts, rows->count);
        rt->ops->linear_bwd(rt, dh, false, p->attention.joined, all, h, a->su[AR_SLOT_QKV], rows, &p->linear);
        return;
    }
    rt->ops->linear_bwd(rt, dh, false, dq, q, h, a->su[AR_SLOT_Q], rows, &p->linear);
    if (k->w.data) rt->ops->linear_bwd(rt, dh, true, p->attention.dk, k, h, a->su[AR_SLOT_K], rows, &p->linear);
    if (v->w.data) rt->ops->linear_bwd(rt, dh, true, p->attention.dv, v, h, a->su[AR_SLOT_V], rows, &p->linear);
}

/* From the gradient of what the mixer's last linear read, p->attention.dout, to that of what the mixer read, in dh. */
static void attention_backward(ar_pass *p, size_t layer, ar_acts *a, float *dh, const ar_rows *rows) {
    static const ar_activation sigmoid = {.kind = AR_SIGMOID};
    const ar_runtime *rt = p->model->rt;
    const ar_layer *l = &p->model->layers[layer];
    ar_attention at = ar__layer_attention(p->model, l);
    size_t width = l->linear[AR_SLOT_O].w.cols;
    const float *d_att = p->attention.dout;
    if (a->head_gate) {
        rt->ops->multiple(rt, p->attention.gated, a->att, 1.0, rows->count * width);
        rt->ops->activation_bwd(rt, &sigmoid, a->head_gate, p->attention.gated, width, p->attention.dout, rows->count, width);
        d_att = p->attention.gated;
    }
    ar_attended in = ar__rotate(p, layer, a, rows, NULL, false);
    rt->ops->attention_bwd(rt, p->attention.dq, p->attention.dk, p->attention.dv, p->attention.dsum, d_att, in.q, in.k, in.v, a->att,
                           a->lse, &at, p->attention.blocks, p->attention.block_count, p->attention.scratch);
    lent_backward(p, layer, rows);
    rotate_backward(p, l, p->attention.dq, p->attention.q_rot, a->q, a->rstd_q, rows, true);
    if (l->kv_layer == layer) {
        rotate_backward(p, l, p->attention.dk, p->attention.k_rot, a->k, a->rstd_k, rows, false);
        values_backward(p, l, a, rows);
    }
    project_backward(p, l, a, dh, rows);
}

/* Through the mixer's last linear, to p->attention.dout of all rows. */
static void mixer_out_backward(ar_pass *p, const ar_layer *l, ar_acts *a, const float *dy, const ar_rows *rows, const ar_rows *behind) {
    const ar_runtime *rt = p->model->rt;
    ar_slot last = ar__mixer_out(l);
    const ar_linear *out = &l->linear[last];
    float *y = a->att, *gated = ar__mixer_has_gate(l, a) ? p->attention.gated : NULL;
    if (gated && ar__linear_needs_input(out, behind)) {
        ar__mixer_gated(p, l, a, rows);
        if (behind != rows) rt->ops->rows_take(rt, gated, gated, p->tail.row, behind->count, out->w.cols);
        y = gated;
    }
    rt->ops->linear_bwd(rt, p->attention.dout, false, dy, out, y, a->su[last], behind, &p->linear);
    if (behind == rows) return;
    rt->ops->rows_spread(rt, p->attention.dout, rows->count, p->tail.row, behind->count, out->w.cols);
    if (!gated) rt->ops->rows_spread(rt, a->att, rows->count, p->tail.row, behind->count, out->w.cols);
}

static void mixer_backward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows, bool below) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    const ar_layer *l = &m->layers[layer];
    const ar_rows *behind = ar__rows_behind(p, layer, rows);
    const ar_norm *norm = &l->norm[AR_SLOT_ATTN_NORM];
    size_t dim = (size_t)m->arch.dim;
    const float *dy = leave_backward(p, &l->norm[AR_SLOT_ATTN_OUT_NORM], a->o, a->rstd_o, behind);
    mixer_out_backward(p, l, a, dy, rows, behind);
    bool own = m->arch.parallel && ar__mlp_norm(m, l) != norm, shared = m->arch.parallel && !own;
    if (own)
        rt->ops->norm_bwd(rt, p->dx, true, p->dh_mlp, ar__mlp_norm(m, l), ar__mlp_reads(p, a, rows, behind), a->rstd_mlp, behind, 1, dim);
    if (behind != rows) {
        rt->ops->rows_spread(rt, p->dx, rows->count, p->tail.row, behind->count, dim);
        if (shared) rt->ops->rows_spread(rt, p->dh_mlp, rows->count, p->tail.row, behind->count, dim);
    }
    float *dh = below || norm->dw || norm->db ? p->dh : NULL;
    if (l->mixer == AR_MIX_DELTA)
        ar__delta_backward(p, l, a, dh, rows);
    else if (l->mixer == AR_MIX_CONV)
        ar__conv_backward(p, l, a, dh, rows);
    else
        attention_backward(p, layer, a, dh, rows);
    if (dh && shared) rt->ops->add(rt, dh, p->dh_mlp, rows->count * dim);
    if (dh) enter_backward(p, norm, a->x, a->rstd_attn, rows, below);
}

void ar__pass_backward(ar_pass *p, const ar_batch *b) {
    const ar_model *m = p->model;
    lent_begin(p, &b->rows);
    for (int l = (int)m->arch.layers - 1; l >= p->spec.lowest_layer; l--) {
        size_t layer = (size_t)l;
        const ar_rows *behind = ar__rows_behind(p, layer, &b->rows);
        ar_acts *a = &p->acts[l];
        if (ar__pass_level(p, layer) < AR_LEVEL_ALL) ar__layer_forward(p, layer, &b->rows, NULL, NULL);
        ar__acts_widen(p, layer, &b->rows);
        m->rt->ops->scale(m->rt, p->dx, (double)m->layers[l].scalar, behind->count * (size_t)m->arch.dim);
        if (a->y) ar__ple_backward(p, layer, a, &b->rows, behind);
        if (m->layers[layer].expert && !m->arch.experts_beside)
            experts_backward(p, layer, a, &b->rows, behind);
        else
            mlp_backward(p, layer, a, &b->rows, behind);
        mixer_backward(p, layer, a, &b->rows, l > p->spec.lowest_layer || p->spec.embed_grad);
        if (p->on_layer) p->on_layer(p->on_layer_user, l);
    }
    ar__ple_end(p, b);
    if (!p->spec.embed_grad) return;
    if (p->position) m->rt->ops->embedding_bwd(m->rt, p->dx, &m->positions, p->position, p->su_positions, &b->rows, &p->linear);
    m->rt->ops->scale(m->rt, p->dx, m->arch.embed_scale, b->rows.count * (size_t)m->arch.dim);
    m->rt->ops->embedding_bwd(m->rt, p->dx, &m->embed, b->ids, p->su_embed, &b->rows, &p->linear);
}
