/* The one forward.
 *
 *   h = norm(x)     q, k, v = linears(h)     q, k = rope(norm?(q), norm?(k))     mid = x + o(attention(q, k, v))
 *   h = norm(mid)   x' = mid + down(f(gate(h)) * up(h))        (parallel: h = norm(x); experts, or they beside it: model/experts.h) */
#include "model/forward.h"

#include "base/size.h"
#include "model/acts.h"
#include "model/experts.h"
#include "model/ple.h"

ar_attention ar__layer_attention(const ar_model *m, const ar_layer *l) {
    const ar_arch *a = &m->arch;
    return (ar_attention){.heads = (size_t)a->heads,
                          .kv_heads = l->kv_heads,
                          .head_dim = l->head_dim,
                          .window = l->window,
                          .scale = l->scale,
                          .cap = (float)a->score_cap,
                          .sinks = l->sinks};
}

static void norm_heads(ar_pass *p, float *to, float *rstd, const ar_norm *norm, const float *from, size_t rows, size_t heads, size_t d) {
    const ar_runtime *rt = p->model->rt;
    bool wide = p->model->arch.qk_wide;
    rt->ops->norm_fwd(rt, to, rstd, norm, from, rows * (wide ? 1 : heads), wide ? heads * d : d);
}

/* One of q and k: to, which is from itself where nothing is normed. */
static void rotate_one(ar_pass *p, const ar_layer *l, float *to, float *rstd, const float *from, const ar_rows *rows, const size_t *past,
                       bool query, bool turn) {
    const ar_arch *ar = &p->model->arch;
    const ar_runtime *rt = p->model->rt;
    size_t d = l->head_dim, heads = query ? (size_t)ar->heads : l->kv_heads;
    const ar_norm *norm = &l->norm[query ? AR_SLOT_Q_NORM : AR_SLOT_K_NORM];
    if (ar->qk_norm && !ar->qk_turned) {
        norm_heads(p, to, rstd, norm, from, rows->count, heads, d);
        rt->ops->clip(rt, to, ar->clip_qkv, rows->count * heads * d);
        from = to;
    }
    if (l->turns && (ar->qk_norm || turn)) rt->ops->rope_apply(rt, to, from, &p->rope[l->rope], rows, past, heads, 1, query);
    if (ar->qk_turned) norm_heads(p, to, rstd, norm, to, rows->count, heads, d);
}

ar_attended ar__rotate(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows, const size_t *past, bool turn) {
    const ar_model *m = p->model;
    const ar_layer *l = &m->layers[layer];
    const ar_kv_lent *lent = ar__lent(p, l);
    bool normed = m->arch.qk_norm, own = l->kv_layer == layer;
    float *q = normed ? p->attention.q_rot : a->q, *k = !own || l->kv_lent ? lent->k : normed ? p->attention.k_rot : a->k;
    float *v = !own || l->kv_lent ? lent->v : m->v_norm.w ? p->attention.v_normed : a->v;
    rotate_one(p, l, q, a->rstd_q, a->q, rows, past, true, turn);
    if (own) rotate_one(p, l, k, a->rstd_k, a->k, rows, past, false, turn);
    if (own && m->v_norm.w)
        m->rt->ops->norm_fwd(m->rt, v, a->rstd_v, &m->v_norm, ar__raw_values(l, a), rows->count * l->kv_heads, l->head_dim);
    return (ar_attended){q, k, v};
}

static void attend(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    const ar_layer *l = &m->layers[layer];
    ar_attention at = ar__layer_attention(m, l);
    size_t kv = l->kv_heads * l->head_dim;
    ar_attended in = ar__rotate(p, layer, a, rows, cache ? cache->begin : NULL, true);
    if (cache && l->kv_layer == layer) {
        m->rt->ops->rows_store(m->rt, cache->k[layer], in.k, p->attention.blocks, p->attention.block_count, kv);
        m->rt->ops->rows_store(m->rt, cache->v[layer], in.v, p->attention.blocks, p->attention.block_count, kv);
    }
    if (cache) in = (ar_attended){in.q, cache->k[layer], cache->v[layer]};
    m->rt->ops->attention_fwd(m->rt, a->att, a->lse, in.q, in.k, in.v, &at, p->attention.blocks, p->attention.block_count,
                              p->attention.scratch);
}

/* What a sublayer reads: the norm of x, in p->h, or x itself. */
static const float *enter(ar_pass *p, const ar_norm *norm, float *rstd, const float *x, size_t rows) {
    const ar_runtime *rt = p->model->rt;
    if (!norm->w) return x;
    rt->ops->norm_fwd(rt, p->h, rstd, norm, x, rows, (size_t)p->model->arch.dim);
    return p->h;
}

const ar_norm *ar__mlp_norm(const ar_model *m, const ar_layer *l) {
    const ar_norm *own = &l->norm[AR_SLOT_MLP_NORM];
    return m->arch.parallel && !own->w ? &l->norm[AR_SLOT_ATTN_NORM] : own;
}

const float *ar__mlp_reads(ar_pass *p, const ar_acts *a, const ar_rows *rows, const ar_rows *behind) {
    const ar_runtime *rt = p->model->rt;
    if (!p->model->arch.parallel) return a->mid;
    if (behind == rows) return a->x;
    rt->ops->rows_take(rt, p->h, a->x, p->tail.row, behind->count, (size_t)p->model->arch.dim);
    return p->h;
}

const float *ar__entered(ar_pass *p, const ar_norm *norm, const float *rstd, const float *x, size_t rows) {
    const ar_runtime *rt = p->model->rt;
    if (!norm->w) return x;
    rt->ops->norm_again(rt, p->h, rstd, norm, x, rows, (size_t)p->model->arch.dim);
    return p->h;
}

/* What a sublayer adds, in y: the norm of what its last linear gave in `raw` (y itself, where there is none), times its factor. */
static void leave(ar_pass *p, float *y, const ar_norm *norm, float *rstd, const float *raw, size_t rows) {
    const ar_runtime *rt = p->model->rt;
    size_t dim = (size_t)p->model->arch.dim;
    if (norm->w) rt->ops->norm_fwd(rt, y, rstd, norm, raw, rows, dim);
    rt->ops->scale(rt, y, p->model->arch.residual_scale, rows * dim);
}

ar_slot ar__mixer_out(const ar_layer *l) {
    static const ar_slot last[] = {[AR_MIX_ATTENTION] = AR_SLOT_O, [AR_MIX_DELTA] = AR_SLOT_DELTA_OUT, [AR_MIX_CONV] = AR_SLOT_CONV_OUT};
    return last[l->mixer];
}

const float *ar__mixer_gated(ar_pass *p, const ar_layer *l, const ar_acts *a, const ar_rows *rows) {
    static const ar_activation sigmoid = {.kind = AR_SIGMOID};
    const ar_runtime *rt = p->model->rt;
    size_t width = l->linear[ar__mixer_out(l)].w.cols;
    if (l->mixer == AR_MIX_DELTA) return ar__delta_gated(p, l, a, rows);
    if (l->mixer == AR_MIX_CONV) return ar__conv_gated(p, l, a, rows);
    if (!a->head_gate) return a->att;
    rt->ops->activation_fwd(rt, &sigmoid, p->attention.gated, a->head_gate, a->att, width, rows->count, width);
    return p->attention.gated;
}

/* q, k and v of what the attention reads; a layer may lack the second and the third. */
static void project(ar_pass *p, const ar_layer *l, ar_acts *a, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    ar_linear_out qkv[] = {{&l->linear[AR_SLOT_Q], a->q, a->su[AR_SLOT_Q]},
                           {&l->linear[AR_SLOT_K], a->k, a->su[AR_SLOT_K]},
                           {&l->linear[AR_SLOT_V], a->v, a->su[AR_SLOT_V]}};
    ar_qkv parts = ar__pass_qkv(p, a->q, a->k, a->v);
    size_t count = 0;
    while (count < 3 && qkv[count].lin->w.data) count++;
    if (a->head_gate) {
        ar_qkv halves = ar__pass_gate(p, a->q, a->head_gate);
        qkv[0].y = p->attention.wide;
        rt->ops->linears_fwd(rt, qkv, count, h, rows, &p->linear);
        rt->ops->qkv_split(rt, &halves, p->attention.wide, rows->count);
        return;
    }
    if (!p->attention.joined) {
        rt->ops->linears_fwd(rt, qkv, count, h, rows, &p->linear);
        return;
    }
    rt->ops->linear_fwd(rt, p->attention.joined, a->su[AR_SLOT_QKV], &l->linear[AR_SLOT_QKV], h, rows, &p->linear);
    rt->ops->qkv_split(rt, &parts, p->attention.joined, rows->count);
}

ar_qkv ar__pass_gate(const ar_pass *p, float *q, float *gate) {
    size_t head = (size_t)p->model->arch.head_dim, width = (size_t)p->model->arch.heads * head;
    return (ar_qkv){.q = q, .k = gate, .q_width = width, .kv_width = width, .head = head};
}

ar_qkv ar__pass_qkv(const ar_pass *p, float *q, float *k, float *v) {
    const ar_arch *a = &p->model->arch;
    return (ar_qkv){.q = q,
                    .k = k,
                    .v = v,
                    .q_width = (size_t)(a->heads * a->head_dim),
                    .kv_width = (size_t)(a->kv_heads * a->head_dim),
                    .head = a->qkv_by_head ? (size_t)a->head_dim : 0};
}

/* Gate and up (or up alone) of what the MLP reads. */
static void widen(ar_pass *p, const ar_layer *l, ar_acts *a, const float *h, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    ar_linear_out fused = {&l->linear[AR_SLOT_GATE_UP], a->gate, a->su[AR_SLOT_GATE_UP]};
    ar_linear_out two[] = {{&l->linear[AR_SLOT_GATE], a->gate, a->su[AR_SLOT_GATE]}, {&l->linear[AR_SLOT_UP], a->up, a->su[AR_SLOT_UP]}};
    if (fused.lin->w.data)
        rt->ops->linears_fwd(rt, &fused, 1, h, rows, &p->linear);
    else
        rt->ops->linears_fwd(rt, a->gate ? two : two + 1, a->gate ? 2 : 1, h, rows, &p->linear);
}

/* What down reads, to y; NULL: only what is kept for backward. */
static void activate(ar_pass *p, const ar_layer *l, ar_acts *a, float *y, size_t rows) {
    const ar_runtime *rt = p->model->rt;
    if (a->kept)
        rt->ops->activation_keep(rt, &l->activation, y, a->kept, a->gate, a->up, ar__mlp_ld(l), rows, l->ff);
    else if (y)
        rt->ops->activation_fwd(rt, &l->activation, y, a->gate, a->up, ar__mlp_ld(l), rows, l->ff);
}

/* And down. */
static void narrow(ar_pass *p, const ar_layer *l, ar_acts *a, float *y, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    activate(p, l, a, p->act, rows->count);
    rt->ops->linear_fwd(rt, y, a->su[AR_SLOT_DOWN], &l->linear[AR_SLOT_DOWN], p->act, rows, &p->linear);
}

/* What the mixer's last linear reads, from what the layer does. */
static float *mix(ar_pass *p, size_t layer, ar_acts *a, const float *h, const ar_rows *rows, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    const ar_layer *l = &m->layers[layer];
    if (l->mixer == AR_MIX_DELTA) {
        ar__delta_forward(p, layer, a, h, rows, cache);
    } else if (l->mixer == AR_MIX_CONV) {
        ar__conv_forward(p, layer, a, h, rows, cache);
    } else {
        project(p, l, a, h, rows);
        m->rt->ops->clip(m->rt, a->v, m->arch.clip_qkv, rows->count * (size_t)(m->arch.kv_heads * m->arch.head_dim));
        attend(p, layer, a, rows, cache);
    }
    return ar__mixer_gated(p, l, a, rows) == a->att ? a->att : p->attention.gated;
}

/* x to the residual in `mid`; what the MLP reads is returned. */
static const float *attention_forward(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    const ar_layer *l = &m->layers[layer];
    const ar_rows *behind = ar__rows_behind(p, layer, rows);
    size_t dim = (size_t)m->arch.dim;
    const float *x = a->x;
    const ar_norm *out = &l->norm[AR_SLOT_ATTN_OUT_NORM], *next = &l->norm[AR_SLOT_MLP_NORM];
    const float *h = enter(p, &l->norm[AR_SLOT_ATTN_NORM], a->rstd_attn, x, rows->count);
    float *y = mix(p, layer, a, h, rows, cache);
    ar_slot last = ar__mixer_out(l);
    if (behind != rows) {
        rt->ops->rows_take(rt, y, y, p->tail.row, behind->count, l->linear[last].w.cols);
        rt->ops->rows_take(rt, p->h, a->x, p->tail.row, behind->count, dim);
        x = p->h;
    }
    float *raw = out->w ? a->o : a->mid;
    rt->ops->linear_fwd(rt, raw, a->su[last], &l->linear[last], y, behind, &p->linear);
    leave(p, a->mid, out, a->rstd_o, raw, behind->count);
    if (m->arch.parallel) {
        rt->ops->add(rt, a->mid, x, behind->count * dim);
        return enter(p, ar__mlp_norm(m, l), a->rstd_mlp, x, behind->count);
    }
    if (next->w) {
        rt->ops->norm_fwd_add(rt, p->h, a->rstd_mlp, next, a->mid, x, behind->count, dim);
        return p->h;
    }
    rt->ops->add(rt, a->mid, x, behind->count * dim);
    return a->mid;
}

void ar__layer_forward(ar_pass *p, size_t layer, const ar_rows *rows, ar_kv_cache *cache, float *out) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    const ar_layer *l = &m->layers[layer];
    const ar_rows *behind = ar__rows_behind(p, layer, rows);
    ar_acts *a = &p->acts[layer];
    size_t dim = (size_t)m->arch.dim;
    const ar_norm *norm = &l->norm[AR_SLOT_MLP_OUT_NORM];
    bool kept = ar__pass_level(p, layer) >= AR_LEVEL_ATTENTION;
    const float *h = out || !kept ? attention_forward(p, layer, a, rows, cache)
                                  : ar__entered(p, ar__mlp_norm(m, l), a->rstd_mlp, ar__mlp_reads(p, a, rows, behind), behind->count);
    if (!out != kept) ar__acts_round(p, layer, rows); /* where backward will read what the mixer formed now */
    bool beside = m->arch.experts_beside;
    if (beside || !l->expert) widen(p, l, a, h, behind);
    if (l->expert) ar__experts_widen(p, layer, a, h, behind);
    if (l->expert && out) ar__experts_balance(p, a, behind); /* once */
    if (!out && !norm->w && !a->y) {
        if (beside || !l->expert) activate(p, l, a, NULL, behind->count);
        return;
    }
    float *y = a->y ? a->y : out ? out : p->h, *raw = norm->w ? a->down : y;
    if (beside || !l->expert) narrow(p, l, a, beside ? a->experts.dense_out : raw, behind);
    if (beside)
        ar__beside_join(p, layer, a, behind);
    else if (l->expert)
        ar__experts_down(p, layer, a, raw, behind);
    leave(p, y, norm, a->rstd_down, raw, behind->count);
    if (out || a->y) rt->ops->add(rt, y, a->mid, behind->count * dim);
    if (a->y) ar__ple_forward(p, layer, a, rows, behind, out);
    if (out) rt->ops->scale(rt, out, (double)l->scalar, behind->count * dim);
}

/* Each sample by its own length, or by the one that it will have. */
static void choose_far(ar_pass *p, const ar_batch *b, const ar_kv_cache *cache) {
    for (size_t s = 0; p->far && s < b->rows.samples; s++) {
        size_t length = b->rows.start[s + 1] - b->rows.start[s] + (cache ? cache->begin[s] : 0);
        if (cache) length = ar__max(length, cache->reach[b->sequence ? b->sequence[s] : s]);
        p->far[s] = ar__rope_is_long(&p->model->arch.rope[0], length);
    }
}

static void fill_gain(const ar_runtime *rt, const ar_rope *rope, const ar_arch *a) {
    float part[512];
    for (size_t at = 0; at < rope->positions; at += sizeof part / sizeof *part) {
        size_t n = ar__min(rope->positions - at, sizeof part / sizeof *part);
        for (size_t i = 0; i < n; i++) part[i] = (float)ar__rope_query_gain(a, at + i);
        rt->ops->memory->write(rt, rope->gain + at, part, n * sizeof *part);
    }
}

/* Frequencies depend on the length of the whole batch only under dynamic scaling past the original maximum. */
static void prepare_rope(ar_pass *p, const ar_rows *rows, const size_t *past) {
    const ar_arch *a = &p->model->arch;
    size_t length = 1;
    bool dynamic = ar__rope_is_dynamic(a);
    for (size_t s = 0; dynamic && s < rows->samples; s++) {
        size_t n = rows->start[s + 1] - rows->start[s] + (past ? past[s] : 0);
        if (n > (size_t)a->max_positions && n > length) length = n;
    }
    if (p->rope_length == length) return;
    float inv_freq[2048], scale;
    const ar_runtime *rt = p->model->rt;
    for (int i = 0; i < a->ropes; i++) {
        ar_rope far = p->rope[i];
        ar__rope_frequencies(inv_freq, &scale, a, i, length);
        rt->ops->rope_fill(rt, &p->rope[i], inv_freq, scale);
        far.cos = far.far_cos;
        far.sin = far.far_sin;
        if (far.far) {
            ar__rope_frequencies(inv_freq, &scale, a, i, far.positions);
            rt->ops->rope_fill(rt, &far, inv_freq, scale);
        }
        if (p->rope[i].gain) fill_gain(rt, &p->rope[i], a);
    }
    p->rope_length = length;
}

static void add_positions(ar_pass *p, const ar_rows *rows, const size_t *past) {
    const ar_model *m = p->model;
    for (size_t s = 0; s < rows->samples; s++)
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++) p->position[i] = (int32_t)(i - rows->start[s] + (past ? past[s] : 0));
    m->rt->ops->embedding_fwd(m->rt, p->h, p->su_positions, &m->positions, p->position, rows);
    m->rt->ops->add(m->rt, p->acts[0].x, p->h, rows->count * (size_t)m->arch.dim);
}

void ar__pass_forward(ar_pass *p, const ar_batch *b, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    size_t layers = (size_t)m->arch.layers;
    const size_t *past = cache ? cache->begin : NULL, *keys = cache ? cache->keys : NULL;
    if (cache) ar__kv_begin(cache, b);
    prepare_rope(p, &b->rows, past);
    choose_far(p, b, cache);
    p->attention.block_count = ar__attention_blocks(p->attention.blocks, &b->rows, past, keys);
    ar__tail_begin(p, b);
    ar__experts_balance_begin(p, b);
    m->rt->ops->embedding_fwd(m->rt, p->acts[0].x, p->su_embed, &m->embed, b->ids, &b->rows);
    m->rt->ops->scale(m->rt, p->acts[0].x, m->arch.embed_scale, b->rows.count * (size_t)m->arch.dim);
    if (p->position) add_positions(p, &b->rows, past);
    ar__ple_begin(p, b);
    for (size_t l = 0; l < layers; l++) ar__layer_forward(p, l, &b->rows, cache, p->acts[l + 1].x);
    if (cache) ar__kv_end(cache, b);
}
