#include "ops/cpu/cpu.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/size.h"
#include "kern/panels.h"

enum { BLOCK = AR_ATTENTION_BLOCK };

/* One thread's scratch:
 *   left[3], right[4]   packed operands of up to BLOCK x max(BLOCK, D), with room for the tile's padding
 *   copy                an operand on its way into right
 *   s, p, turned        BLOCK x BLOCK: two score tiles, and one with rows and columns exchanged
 *   acc                 group x BLOCK x D accumulators        m, l   group x BLOCK running maxima and sums */
typedef struct scratch {
    ar_panels panels; /* of all products here */
    float *left[3], *right[4], *copy, *s, *p, *turned, *acc, *m, *l;
} scratch;

static size_t operand_floats(const ar_attention *at) {
    size_t wide = ar__max(BLOCK, at->head_dim) + AR_TILE_MAX_NR;
    return wide * ar__max(BLOCK, at->head_dim);
}

size_t ar__cpu_attention_scratch(const ar_runtime *rt, const ar_attention *at) {
    (void)rt;
    size_t group = at->heads / at->kv_heads;
    return 8 * operand_floats(at) + 3 * BLOCK * BLOCK + group * BLOCK * at->head_dim + 2 * group * BLOCK + 16 * 14;
}

static float *take(float **at, size_t n) {
    float *p = *at;
    *at += (n + 15) / 16 * 16; /* keeps every piece 64-byte aligned */
    return p;
}

static scratch cut_scratch(const ar_runtime *rt, const ar_attention *at, float *memory) {
    size_t group = at->heads / at->kv_heads, operand = operand_floats(at);
    float *p = memory + (size_t)omp_get_thread_num() * ((ar__cpu_attention_scratch(rt, at) + 15) / 16 * 16);
    scratch s = {.panels = ar__panels_inside(rt)};
    for (int i = 0; i < 3; i++) s.left[i] = take(&p, operand);
    for (int i = 0; i < 4; i++) s.right[i] = take(&p, operand);
    s.copy = take(&p, operand);
    s.s = take(&p, BLOCK * BLOCK);
    s.p = take(&p, BLOCK * BLOCK);
    s.turned = take(&p, BLOCK * BLOCK);
    s.acc = take(&p, group * BLOCK * at->head_dim);
    s.m = take(&p, group * BLOCK);
    s.l = take(&p, group * BLOCK);
    return s;
}

/* Around a thread's work. */
static scratch begin(const ar_runtime *rt, const ar_attention *at, float *memory) {
    scratch sc = cut_scratch(rt, at, memory);
    if (sc.panels.bf16 && sc.panels.bf16->begin) sc.panels.bf16->begin();
    return sc;
}

static void end(const scratch *sc) {
    if (sc->panels.bf16 && sc->panels.bf16->end) sc->panels.bf16->end();
}

/* The scratch's operands: left[i] from rows of A, right[i] from f32 rows of B or of columns. */
static void pack_left(const scratch *sc, int i, const float *a, size_t ld, size_t rows, size_t k) {
    ar__pack_left(&sc->panels, sc->left[i], a, ld, 1, rows, k);
}

static void pack_right(const scratch *sc, int i, const float *b, size_t ld, bool rows, size_t n, size_t k) {
    ar__pack_right(&sc->panels, sc->right[i], sc->copy, b, ld, rows, n, k);
}

/* left[2] from the columns of a tile [rows, cols]. */
static void pack_turned(const scratch *sc, const float *tile, size_t rows, size_t cols) {
    if (!sc->panels.bf16) {
        ar__pack_left(&sc->panels, sc->left[2], tile, 1, cols, cols, rows);
        return;
    }
    sc->panels.kn->interleave(sc->turned, rows, tile, cols, rows, cols);
    pack_left(sc, 2, sc->turned, rows, cols, rows);
}

static void multiply(const scratch *sc, float *c, size_t ld, int left, int right, size_t m, size_t n, size_t k, bool accumulate) {
    ar__gemm_packed(&sc->panels, c, ld, sc->left[left], sc->right[right], m, n, k, accumulate);
}

/* First key block that any query of the block at position q0 may see. */
static size_t first_key(const ar_attention *at, size_t q0) {
    if (!at->window || q0 + 1 <= at->window) return 0;
    return (q0 + 1 - at->window) / BLOCK * BLOCK;
}

/* Keys that the query at position i may see within [k0, k0 + cols): [*from, *to) relative to k0. */
static void visible(const ar_attention *at, size_t i, size_t k0, size_t cols, size_t *from, size_t *to) {
    *to = i < k0 ? 0 : ar__min(cols, i - k0 + 1);
    *from = at->window && i + 1 > k0 + at->window ? ar__min(*to, i + 1 - at->window - k0) : 0;
}

/* Multiplies the tile by scale and turns the row into exp(s - shift), zero where masked; returns the row's sum. */
static float exp_row(const ar_kernels *kn, float *row, size_t cols, size_t from, size_t to, float shift) {
    for (size_t j = 0; j < from; j++) row[j] = 0.0f;
    for (size_t j = to; j < cols; j++) row[j] = 0.0f;
    return to > from ? kn->exp_sum(row + from, shift, to - from) : 0.0f;
}

static void scale_tile(float *t, size_t n, float by) {
    for (size_t i = 0; i < n; i++) t[i] *= by;
}

/* One tile of the forward: running maximum m, sum l, accumulator acc (rows x D), all rescaled when the maximum grows. */
static void online_softmax(const ar_kernels *kn, const ar_attention *at, float *s, float *acc, float *m, float *l, size_t rows, size_t q0,
                           size_t k0, size_t cols) {
    for (size_t i = 0; i < rows; i++) {
        size_t from, to;
        visible(at, q0 + i, k0, cols, &from, &to);
        float *row = s + i * cols;
        float top = to > from ? fmaxf(m[i], kn->max(row + from, to - from)) : m[i];
        if (top == -INFINITY) {
            exp_row(kn, row, cols, 0, 0, 0.0f);
            continue;
        }
        float shrink = m[i] == -INFINITY ? 0.0f : expf(m[i] - top);
        l[i] = l[i] * shrink + exp_row(kn, row, cols, from, to, top);
        m[i] = top;
        if (shrink != 1.0f) scale_tile(acc + i * at->head_dim, at->head_dim, shrink);
    }
}

static void fwd_block(const ar_runtime *rt, float *o, float *lse, const float *q, const float *k, const float *v, const ar_attention *at,
                      const ar_block *b, size_t kv_head, const scratch *sc) {
    const ar_kernels *kn = &rt->kern;
    size_t group = at->heads / at->kv_heads, d = at->head_dim, ld = at->heads * d, kv_ld = at->kv_heads * d;
    size_t q0 = b->position, keys = q0 + b->count;
    for (size_t i = 0; i < group * BLOCK; i++) { /* a sink is a key that is seen first */
        sc->m[i] = at->sinks ? at->sinks[kv_head * group + i / BLOCK] : -INFINITY;
        sc->l[i] = at->sinks ? 1.0f : 0.0f;
    }
    memset(sc->acc, 0, group * BLOCK * d * sizeof(float));
    for (size_t k0 = first_key(at, q0); k0 < keys; k0 += BLOCK) {
        size_t cols = ar__min(BLOCK, keys - k0);
        const float *kb = k + (b->keys + k0) * kv_ld + kv_head * d, *vb = v + (b->keys + k0) * kv_ld + kv_head * d;
        pack_right(sc, 0, kb, kv_ld, true, cols, d);
        pack_right(sc, 1, vb, kv_ld, false, d, cols);
        for (size_t g = 0; g < group; g++) {
            float *acc = sc->acc + g * BLOCK * d;
            pack_left(sc, 0, q + b->row * ld + (kv_head * group + g) * d, ld, b->count, d);
            multiply(sc, sc->s, cols, 0, 0, b->count, cols, d, false);
            scale_tile(sc->s, b->count * cols, at->scale);
            if (at->cap > 0.0f) kn->softcap(sc->s, at->cap, b->count * cols);
            online_softmax(kn, at, sc->s, acc, sc->m + g * BLOCK, sc->l + g * BLOCK, b->count, q0, k0, cols);
            pack_left(sc, 1, sc->s, cols, b->count, cols);
            multiply(sc, acc, d, 1, 1, b->count, d, cols, true);
        }
    }
    for (size_t g = 0; g < group; g++)
        for (size_t i = 0; i < b->count; i++) {
            size_t head = kv_head * group + g;
            float sum = sc->l[g * BLOCK + i];
            for (size_t j = 0; j < d; j++) o[(b->row + i) * ld + head * d + j] = sc->acc[(g * BLOCK + i) * d + j] / sum;
            if (lse) lse[(b->row + i) * at->heads + head] = sc->m[g * BLOCK + i] + logf(sum);
        }
}

void ar__cpu_attention_fwd(const ar_runtime *rt, float *o, float *lse, const float *q, const float *k, const float *v,
                           const ar_attention *at, const ar_block *blocks, size_t block_count, float *memory) {
#pragma omp parallel num_threads(ar__team(rt, block_count * at->heads * AR_ATTENTION_BLOCK * at->head_dim * 8))
    {
        scratch sc = begin(rt, at, memory);
#pragma omp for schedule(dynamic, 1)
        for (size_t t = 0; t < block_count * at->kv_heads; t++) /* long blocks (late queries) first */
            fwd_block(rt, o, lse, q, k, v, at, &blocks[block_count - 1 - t / at->kv_heads], t % at->kv_heads, &sc);
        end(&sc);
    }
}

/* What one backward pass reads and writes; the same for all its tiles. */
typedef struct bwd_args {
    const ar_attention *at;
    float *dq, *dk, *dv;
    const float *dsum, *d_o, *q, *k, *v, *lse;
    size_t ld, kv_ld;
} bwd_args;

/* Behind the cap: s becomes c = cap tanh(s / cap), and dp becomes (dp - D) dc/ds. */
static void cap_row(const ar_kernels *kn, float *s, float *dp, size_t n, float cap, float d) {
    kn->softcap(s, cap, n);
    for (size_t j = 0; j < n; j++) {
        float t = s[j] / cap;
        dp[j] = (dp[j] - d) * (1.0f - t * t);
    }
}

/* p = exp(s - lse) and ds = p (dp - D) scale for queries [row, row + rows) of `head`, keys from k0.
 * In: sc->left[0] = q, sc->left[1] = do, sc->right[0] = k, sc->right[1] = v, packed.  Out: sc->p = p, sc->s = ds. */
static void bwd_tile(const ar_kernels *kn, const bwd_args *a, const ar_block *b, size_t head, size_t k0, size_t cols, const scratch *sc) {
    const ar_attention *at = a->at;
    size_t q0 = b->position;
    multiply(sc, sc->p, cols, 0, 0, b->count, cols, at->head_dim, false);
    multiply(sc, sc->s, cols, 1, 1, b->count, cols, at->head_dim, false);
    scale_tile(sc->p, b->count * cols, at->scale);
    for (size_t i = 0; i < b->count; i++) {
        size_t from, to, at_row = (b->row + i) * at->heads + head;
        float *p = sc->p + i * cols, *ds = sc->s + i * cols, d = a->dsum[at_row];
        visible(at, q0 + i, k0, cols, &from, &to);
        if (at->cap > 0.0f) {
            cap_row(kn, p, ds, cols, at->cap, d);
            d = 0.0f;
        }
        exp_row(kn, p, cols, from, to, a->lse[at_row]);
        for (size_t j = 0; j < cols; j++) ds[j] = p[j] * (ds[j] - d) * at->scale;
    }
}

static void bwd_queries(const ar_runtime *rt, const bwd_args *a, const ar_block *b, size_t kv_head, const scratch *sc) {
    const ar_kernels *kn = &rt->kern;
    const ar_attention *at = a->at;
    size_t group = at->heads / at->kv_heads, d = at->head_dim, q0 = b->position, keys = q0 + b->count;
    for (size_t k0 = first_key(at, q0); k0 < keys; k0 += BLOCK) {
        size_t cols = ar__min(BLOCK, keys - k0), at_key = (b->keys + k0) * a->kv_ld + kv_head * d;
        pack_right(sc, 0, a->k + at_key, a->kv_ld, true, cols, d);
        pack_right(sc, 1, a->v + at_key, a->kv_ld, true, cols, d);
        pack_right(sc, 2, a->k + at_key, a->kv_ld, false, d, cols);
        for (size_t g = 0; g < group; g++) {
            size_t head = kv_head * group + g, at_query = b->row * a->ld + head * d;
            pack_left(sc, 0, a->q + at_query, a->ld, b->count, d);
            pack_left(sc, 1, a->d_o + at_query, a->ld, b->count, d);
            bwd_tile(kn, a, b, head, k0, cols, sc);
            pack_left(sc, 2, sc->s, cols, b->count, cols);
            multiply(sc, a->dq + at_query, a->ld, 2, 2, b->count, d, cols, k0 > first_key(at, q0));
        }
    }
}

/* dk and dv of the keys in block kb: all later blocks of the same sample send to it.  with_dq: they take theirs on the way,
 * which is the same sum if the key blocks of a sample come in order. */
static void bwd_keys(const ar_runtime *rt, const bwd_args *a, const ar_block *kb, size_t kv_head, bool with_dq, const scratch *sc) {
    const ar_kernels *kn = &rt->kern;
    const ar_attention *at = a->at;
    size_t group = at->heads / at->kv_heads, d = at->head_dim, k0 = kb->position, cols = kb->count;
    size_t at_key = kb->row * a->kv_ld + kv_head * d;
    pack_right(sc, 0, a->k + at_key, a->kv_ld, true, cols, d);
    pack_right(sc, 1, a->v + at_key, a->kv_ld, true, cols, d);
    if (with_dq) pack_right(sc, 3, a->k + at_key, a->kv_ld, false, d, cols);
    bool first = true;
    for (size_t i = k0; i < kb->length && first_key(at, i) <= k0; i += BLOCK) {
        ar_block b = {kb->keys + i, ar__min(BLOCK, kb->length - i), kb->keys, i, kb->length};
        for (size_t g = 0; g < group; g++) {
            size_t head = kv_head * group + g, at_query = b.row * a->ld + head * d;
            pack_left(sc, 0, a->q + at_query, a->ld, b.count, d);
            pack_left(sc, 1, a->d_o + at_query, a->ld, b.count, d);
            bwd_tile(kn, a, &b, head, k0, cols, sc);
            pack_turned(sc, sc->p, b.count, cols);
            pack_right(sc, 2, a->d_o + at_query, a->ld, false, d, b.count);
            multiply(sc, a->dv + at_key, a->kv_ld, 2, 2, cols, d, b.count, !first);
            pack_turned(sc, sc->s, b.count, cols);
            pack_right(sc, 2, a->q + at_query, a->ld, false, d, b.count);
            multiply(sc, a->dk + at_key, a->kv_ld, 2, 2, cols, d, b.count, !first);
            first = false;
            if (!with_dq) continue;
            pack_left(sc, 2, sc->s, cols, b.count, cols);
            multiply(sc, a->dq + at_query, a->ld, 2, 3, b.count, d, cols, k0 > first_key(at, i));
        }
    }
}

static void bwd_sample(const ar_runtime *rt, const bwd_args *a, const ar_block *first, const ar_block *end, size_t kv_head,
                       const scratch *sc) {
    for (const ar_block *b = first; b < end && b->keys == first->keys; b++) bwd_keys(rt, a, b, kv_head, true, sc);
}

/* A sample's head in one pass takes five products a tile, in two (queries, keys) seven, but then every block is a task of its
 * own.  One pass where the most that a thread may get of it is less than its part of the two. */
static bool in_one_pass(const ar_runtime *rt, const ar_attention *at, const ar_block *blocks, size_t count) {
    size_t threads = (size_t)rt->threads, rounds = (at->kv_heads + threads - 1) / threads;
    double all = 0.0, longest = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (blocks[i].position) continue;
        double work = (double)blocks[i].length * (double)blocks[i].length;
        all += work;
        longest = work > longest ? work : longest;
    }
    double part = all * (double)at->kv_heads / (double)threads, most = longest * (double)rounds;
    return 5.0 * (most > part ? most : part) <= 7.0 * part;
}

void ar__cpu_attention_bwd(const ar_runtime *rt, float *dq, float *dk, float *dv, float *dsum, const float *d_o, const float *q,
                           const float *k, const float *v, const float *o, const float *lse, const ar_attention *at, const ar_block *blocks,
                           size_t block_count, float *memory) {
    size_t d = at->head_dim, rows = block_count ? blocks[block_count - 1].row + blocks[block_count - 1].count : 0;
    bwd_args a = {at, dq, dk, dv, dsum, d_o, q, k, v, lse, at->heads * d, at->kv_heads * d};
    bool once = in_one_pass(rt, at, blocks, block_count);
    size_t tasks = block_count * at->kv_heads;
#pragma omp parallel num_threads(ar__team(rt, block_count * at->heads * AR_ATTENTION_BLOCK * at->head_dim * 16))
    {
        scratch sc = begin(rt, at, memory);
#pragma omp for schedule(static)
        for (size_t i = 0; i < rows * at->heads; i++) dsum[i] = rt->kern.dot(d_o + i * d, o + i * d, d);
#pragma omp for schedule(dynamic, 1) nowait
        for (size_t t = 0; t < tasks; t++) {
            const ar_block *b = &blocks[block_count - 1 - t / at->kv_heads];
            if (!once) bwd_queries(rt, &a, b, t % at->kv_heads, &sc);
            if (once && b->position == 0) bwd_sample(rt, &a, b, blocks + block_count, t % at->kv_heads, &sc);
        }
#pragma omp for schedule(dynamic, 1)
        for (size_t t = 0; t < tasks; t++)
            if (!once) bwd_keys(rt, &a, &blocks[t / at->kv_heads], t % at->kv_heads, false, &sc);
        end(&sc);
    }
}
