/* softmax(s) v, row by row, as in a textbook; blocks only say where rows, keys and positions lie. */
#include <math.h>

#include "ops/ref/ref.h"

/* One query's head, and the keys of its sample: row j of k and v is the key at position j. */
typedef struct query {
    const ar_attention *at;
    const float *q, *k, *v; /* of the head */
    size_t position, kv_ld;
    double sink; /* -INFINITY: none */
} query;

static query query_at(const ar_attention *at, const float *q, const float *k, const float *v, const ar_block *b, size_t i, size_t head) {
    size_t d = at->head_dim, kv_ld = at->kv_heads * d, kv = b->keys * kv_ld + head / (at->heads / at->kv_heads) * d;
    double sink = at->sinks ? (double)at->sinks[head] : -INFINITY;
    return (query){at, q + ((b->row + i) * at->heads + head) * d, k + kv, v + kv, b->position + i, kv_ld, sink};
}

static double dot(const float *x, const float *y, size_t n) {
    double sum = 0.0;
    for (size_t e = 0; e < n; e++) sum += (double)x[e] * (double)y[e];
    return sum;
}

static bool sees(const query *q, size_t j) { return j <= q->position && (!q->at->window || q->position - j < q->at->window); }

static double score(const query *q, size_t j) {
    double s = (double)q->at->scale * dot(q->q, q->k + j * q->kv_ld, q->at->head_dim), cap = (double)q->at->cap;
    return cap > 0.0 ? cap * tanh(s / cap) : s;
}

/* d score / d (q · k) */
static double score_slope(const query *q, size_t j) {
    double cap = (double)q->at->cap, t = cap > 0.0 ? score(q, j) / cap : 0.0;
    return (double)q->at->scale * (1.0 - t * t);
}

static double log_sum_exp(const query *q) {
    double top = q->sink, sum = 0.0;
    for (size_t j = 0; j <= q->position; j++)
        if (sees(q, j)) top = fmax(top, score(q, j));
    for (size_t j = 0; j <= q->position; j++)
        if (sees(q, j)) sum += exp(score(q, j) - top);
    return top + log(sum + exp(q->sink - top));
}

size_t ar__ref_attention_scratch(const ar_runtime *rt, const ar_attention *at) {
    (void)rt, (void)at;
    return 0;
}

static void query_fwd(float *o, float *lse, const query *q) {
    double sum = log_sum_exp(q);
    if (lse) *lse = (float)sum;
    for (size_t e = 0; e < q->at->head_dim; e++) {
        double v = 0.0;
        for (size_t j = 0; j <= q->position; j++)
            if (sees(q, j)) v += exp(score(q, j) - sum) * (double)q->v[j * q->kv_ld + e];
        o[e] = (float)v;
    }
}

void ar__ref_attention_fwd(const ar_runtime *rt, float *o, float *lse, const float *q, const float *k, const float *v,
                           const ar_attention *at, const ar_block *blocks, size_t block_count, float *scratch) {
    (void)rt, (void)scratch;
    for (const ar_block *b = blocks; b < blocks + block_count; b++)
        for (size_t i = 0; i < b->count; i++)
            for (size_t h = 0; h < at->heads; h++) {
                size_t place = (b->row + i) * at->heads + h;
                query one = query_at(at, q, k, v, b, i, h);
                query_fwd(o + place * at->head_dim, lse ? lse + place : NULL, &one);
            }
}

/* What backward reads beside q, k and v; rows are those of the batch. */
typedef struct bwd_args {
    const ar_attention *at;
    const float *d_o, *q, *k, *v, *o, *lse;
} bwd_args;

/* p_ij and the gradient of q_i · k_j, i and j positions in the sample whose first row is `row`. */
typedef struct weight {
    double p, ds;
} weight;

static weight weight_at(const bwd_args *a, size_t row, size_t i, size_t j, size_t head) {
    size_t d = a->at->head_dim, place = (row + i) * a->at->heads + head;
    ar_block sample = {.row = row, .keys = row};
    query q = query_at(a->at, a->q, a->k, a->v, &sample, i, head);
    if (!sees(&q, j)) return (weight){0.0, 0.0};
    const float *d_o = a->d_o + place * d;
    double p = exp(score(&q, j) - (double)a->lse[place]), dp = dot(d_o, q.v + j * q.kv_ld, d), sum = dot(d_o, a->o + place * d, d);
    return (weight){p, p * (dp - sum) * score_slope(&q, j)};
}

static void query_bwd(float *dq, const bwd_args *a, size_t row, size_t i, size_t head) {
    size_t d = a->at->head_dim, kv_ld = a->at->kv_heads * d, kv_head = head / (a->at->heads / a->at->kv_heads);
    const float *k = a->k + row * kv_ld + kv_head * d;
    for (size_t e = 0; e < d; e++) {
        double sum = 0.0;
        for (size_t j = 0; j <= i; j++) sum += weight_at(a, row, i, j, head).ds * (double)k[j * kv_ld + e];
        dq[e] = (float)sum;
    }
}

static void key_bwd(float *dk, float *dv, const bwd_args *a, size_t row, size_t length, size_t j, size_t kv_head) {
    size_t d = a->at->head_dim, group = a->at->heads / a->at->kv_heads;
    for (size_t e = 0; e < d; e++) {
        double k = 0.0, v = 0.0;
        for (size_t h = kv_head * group; h < (kv_head + 1) * group; h++)
            for (size_t i = j; i < length; i++) {
                size_t place = ((row + i) * a->at->heads + h) * d + e;
                weight w = weight_at(a, row, i, j, h);
                k += w.ds * (double)a->q[place];
                v += w.p * (double)a->d_o[place];
            }
        dk[e] = (float)k;
        dv[e] = (float)v;
    }
}

void ar__ref_attention_bwd(const ar_runtime *rt, float *dq, float *dk, float *dv, float *dsum, const float *d_o, const float *q,
                           const float *k, const float *v, const float *o, const float *lse, const ar_attention *at, const ar_block *blocks,
                           size_t block_count, float *scratch) {
    size_t d = at->head_dim;
    bwd_args a = {at, d_o, q, k, v, o, lse};
    (void)rt, (void)dsum, (void)scratch;
    for (const ar_block *b = blocks; b < blocks + block_count; b++)
        for (size_t i = 0; i < b->count; i++) {
            size_t row = b->row + i, at_sample = b->position + i; /* b->keys: the sample's first row */
            for (size_t h = 0; h < at->heads; h++) query_bwd(dq + (row * at->heads + h) * d, &a, b->keys, at_sample, h);
            for (size_t h = 0; h < at->kv_heads; h++)
                key_bwd(dk + (row * at->kv_heads + h) * d, dv + (row * at->kv_heads + h) * d, &a, b->keys, b->length, at_sample, h);
        }
}
