/* The one forward.
 *
 *   h = norm(x)     q, k, v = linears(h)     q, k = rope(norm?(q), norm?(k))     mid = x + o(attention(q, k, v))
 *   h = norm(mid)   x' = mid + down(silu(gate(h)) * up(h)) */
#include "model/forward.h"

#include <string.h>

static void add(const ar_runtime *rt, float *y, const float *x, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

ar_attention ar__layer_attention(const ar_model *m, const ar_layer *l) {
    const ar_arch *a = &m->arch;
    return (ar_attention){.heads = (size_t)a->heads,
                          .kv_heads = (size_t)a->kv_heads,
                          .head_dim = (size_t)a->head_dim,
                          .window = l->window,
                          .scale = (float)(1.0 / __builtin_sqrt((double)a->head_dim))};
}

void ar__rotate(ar_pass *p, const ar_layer *l, ar_acts *a, const ar_rows *rows, size_t past) {
    const ar_arch *ar = &p->model->arch;
    const ar_runtime *rt = p->model->rt;
    size_t d = (size_t)ar->head_dim, heads = (size_t)ar->heads, kv_heads = (size_t)ar->kv_heads;
    const float *q = a->q, *k = a->k;
    if (ar->qk_norm) {
        ar__norm_fwd(rt, p->q_rot, a->rstd_q, &l->q_norm, a->q, rows->count * heads, d);
        ar__norm_fwd(rt, p->k_rot, a->rstd_k, &l->k_norm, a->k, rows->count * kv_heads, d);
        q = p->q_rot;
        k = p->k_rot;
    }
    ar__rope_apply(rt, p->q_rot, q, &p->rope, rows, past, heads, 1);
    ar__rope_apply(rt, p->k_rot, k, &p->rope, rows, past, kv_heads, 1);
}

static void attend(ar_pass *p, size_t layer, ar_acts *a, const ar_rows *rows, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    const ar_layer *l = &m->layers[layer];
    ar_attention at = ar__layer_attention(m, l);
    size_t past = cache ? cache->past : 0, kv = (size_t)(m->arch.kv_heads * m->arch.head_dim);
    const float *k = p->k_rot, *v = a->v;
    ar__rotate(p, l, a, rows, past);
    if (cache) {
        memcpy(cache->k[layer] + past * kv, p->k_rot, rows->count * kv * sizeof(float));
        memcpy(cache->v[layer] + past * kv, a->v, rows->count * kv * sizeof(float));
        k = cache->k[layer];
        v = cache->v[layer];
    }
    ar__attention_fwd(m->rt, a->att, a->lse, p->q_rot, k, v, &at, p->blocks, p->block_count, past, p->attention);
}

void ar__layer_forward(ar_pass *p, size_t layer, const ar_rows *rows, ar_kv_cache *cache, float *out) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    const ar_layer *l = &m->layers[layer];
    ar_acts *a = &p->acts[layer];
    size_t t = rows->count, dim = (size_t)m->arch.dim;
    ar__norm_fwd(rt, p->h, a->rstd_attn, &l->attn_norm, a->x, t, dim);
    ar__linear_fwd(rt, a->q, a->su[AR_SLOT_Q], &l->q, p->h, rows, &p->linear);
    ar__linear_fwd(rt, a->k, a->su[AR_SLOT_K], &l->k, p->h, rows, &p->linear);
    ar__linear_fwd(rt, a->v, a->su[AR_SLOT_V], &l->v, p->h, rows, &p->linear);
    attend(p, layer, a, rows, cache);
    ar__linear_fwd(rt, a->mid, a->su[AR_SLOT_O], &l->o, a->att, rows, &p->linear);
    add(rt, a->mid, a->x, t * dim);
    ar__norm_fwd(rt, p->h, a->rstd_mlp, &l->mlp_norm, a->mid, t, dim);
    ar__linear_fwd(rt, a->gate, a->su[AR_SLOT_GATE], &l->gate, p->h, rows, &p->linear);
    ar__linear_fwd(rt, a->up, a->su[AR_SLOT_UP], &l->up, p->h, rows, &p->linear);
    if (!out && !a->su[AR_SLOT_DOWN]) return; /* formed again for backward, which needs no output */
    ar__swiglu(p, a, rows);
    if (out) {
        ar__linear_fwd(rt, out, a->su[AR_SLOT_DOWN], &l->down, p->act, rows, &p->linear);
        add(rt, out, a->mid, t * dim);
    } else {
        ar__linear_su(rt, a->su[AR_SLOT_DOWN], &l->down, p->act, rows, &p->linear);
    }
}

void ar__swiglu(ar_pass *p, const ar_acts *a, const ar_rows *rows) {
    const ar_runtime *rt = p->model->rt;
    size_t ff = (size_t)p->model->arch.ff;
#pragma omp parallel for num_threads(ar__team(rt, rows->count *ff * 8)) schedule(static)
    for (size_t i = 0; i < rows->count; i++) rt->kern.silu_mul(p->act + i * ff, a->gate + i * ff, a->up + i * ff, ff);
}

/* Frequencies depend on the length only under dynamic scaling past the original maximum. */
static void prepare_rope(ar_pass *p, const ar_rows *rows, size_t past) {
    const ar_arch *a = &p->model->arch;
    size_t length = 1;
    for (size_t s = 0; a->rope.kind == AR_ROPE_DYNAMIC && s < rows->samples; s++) {
        size_t n = rows->start[s + 1] - rows->start[s] + past;
        if (n > (size_t)a->max_positions && n > length) length = n;
    }
    if (p->rope_length == length) return;
    float inv_freq[2048], scale;
    ar__rope_frequencies(inv_freq, &scale, a, length);
    ar__rope_fill(&p->rope, inv_freq, scale);
    p->rope_length = length;
}

void ar__pass_forward(ar_pass *p, const ar_batch *b, ar_kv_cache *cache) {
    const ar_model *m = p->model;
    size_t layers = (size_t)m->arch.layers;
    prepare_rope(p, &b->rows, cache ? cache->past : 0);
    p->block_count = ar__attention_blocks(p->blocks, &b->rows);
    ar__embedding_fwd(m->rt, p->acts[0].x, p->su_embed, &m->embed, b->ids, &b->rows);
    for (size_t l = 0; l < layers; l++) ar__layer_forward(p, l, &b->rows, cache, p->acts[l + 1].x);
    if (cache) cache->past += b->rows.count;
}
