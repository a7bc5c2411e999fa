/* Backward of the delta rule.  A thread takes a key head of a sample, its value heads one after the other: each once forward for the
 * states before its chunks (and the first AR_DELTA_KEPT chunks themselves), then from the last chunk to the first.  docs/backward.md has
 * the formulas, with the names used here. */
#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ops/cpu/delta_chunk.h"

enum { CHUNK = AR_DELTA_CHUNK };

typedef struct bwd_args {
    ar_delta_in in;
    float *dx, *db, *da;
    const float *d_o;
} bwd_args;

/* Rows of one value head in a chunk, and where its gradients go. */
typedef struct span {
    size_t row, n, head, key_dim, value_dim, ld; /* ld: of o and do */
    const float *d_o;
    double dg[CHUNK]; /* of G, then of g */
    float dbeta[CHUNK];
} span;

static ar_delta_operand rows_of(const float *at, size_t ld) { return (ar_delta_operand){at, ld, 1}; }
static ar_delta_operand columns_of(const float *at, size_t ld) { return (ar_delta_operand){at, 1, ld}; }

static double dot(const ar_runtime *rt, const float *x, const float *y, size_t n) { return (double)rt->kern.dot(x, y, n); }

/* w: first the gradient of u, from o and from the state behind, then that of what the system is solved for. */
static void solve_bwd(ar_delta_room *r, const ar_runtime *rt, span *s) {
    size_t e = s->value_dim, last = s->n - 1;
    for (size_t i = 0; i < s->n; i++) memcpy(r->sent + i * e, s->d_o + i * s->ld, e * sizeof(float));
    ar__delta_product(r, r->w, e, rows_of(r->k, s->key_dim), r->d_state, e, false, s->n, e, s->key_dim, false);
    ar__delta_weigh(rt, r->w, r->w, 1.0f, r->to_end, s->n, e);
    for (size_t i = 0; i < s->n; i++) {
        double f = dot(rt, r->w + i * e, r->u + i * e, e);
        s->dg[i] -= f;
        s->dg[last] += f;
    }
    s->dg[last] += (double)r->from_start[last] * dot(rt, r->d_state, r->state, s->key_dim * e);
    ar__delta_product(r, r->w, e, columns_of(r->p, CHUNK), r->sent, e, false, s->n, e, s->n, true);
    ar__delta_substitute(r, rt, r->w, s->n, e, true);
    ar__delta_end(r->w, s->n, e);
}

/* product = dM (by sign), d_weight = dP: w u^T and do u^T. */
static void squares_bwd(ar_delta_room *r, const span *s) {
    size_t e = s->value_dim;
    ar__delta_product(r, r->product, CHUNK, rows_of(r->w, e), r->u, e, true, CHUNK + s->n, s->n, e, false);
}

/* What the right side, beta (v - e^G S^T k), sends: to beta, v, and w := beta w; and product becomes M's part by k · k. */
static void right_side_bwd(ar_delta_room *r, const ar_runtime *rt, span *s, const float *v, float *dv, size_t width) {
    size_t e = s->value_dim;
    for (size_t i = 0; i < s->n; i++) {
        float *w = r->w + i * e, *row = r->product + i * CHUNK;
        const float *kk = r->kk + i * CHUNK, *decay = r->decay + i * CHUNK;
        double beta = 0.0;
        for (size_t j = 0; j < i; j++) {
            double by_beta = -(double)row[j] * (double)kk[j], by_g = by_beta * (double)r->beta[i];
            beta += by_beta;
            s->dg[i] += by_g;
            s->dg[j] -= by_g;
            row[j] *= -r->beta[i] * decay[j];
        }
        memset(row + i, 0, (s->n - i) * sizeof *row);
        s->dbeta[i] = (float)(beta + dot(rt, w, v + i * width, e) - (double)r->from_start[i] * dot(rt, w, r->seen + i * e, e));
        rt->kern.multiple(w, r->beta[i], w, e);
        memcpy(dv + i * width, w, e * sizeof *w);
    }
}

/* dP's part by q · k. */
static void weights_bwd(ar_delta_room *r, span *s) {
    for (size_t i = 0; i < s->n; i++) {
        float *row = r->d_weight + i * CHUNK;
        const float *p = r->p + i * CHUNK, *decay = r->decay + i * CHUNK;
        for (size_t j = 0; j <= i; j++) {
            double by_g = (double)row[j] * (double)p[j];
            s->dg[i] += by_g;
            s->dg[j] -= by_g;
            row[j] *= decay[j];
        }
        memset(row + i + 1, 0, (s->n - i - 1) * sizeof *row);
    }
}

/* dk and dq through M and P. */
static void keys_bwd(ar_delta_room *r, const span *s) {
    size_t d = s->key_dim, n = s->n;
    ar__delta_end(r->product, n, CHUNK);
    ar__delta_product(r, r->dk, d, rows_of(r->product, CHUNK), r->k, d, false, CHUNK + n, d, n, false);
    ar__delta_product(r, r->dk, d, columns_of(r->product, CHUNK), r->k, d, false, n, d, n, true);
    ar__delta_product(r, r->dk, d, columns_of(r->d_weight, CHUNK), r->q, d, false, n, d, n, true);
}

/* to += sign by[i] part; the sum of that and `with` over a row is what G gets, where it is told. */
static void add_weighed(const ar_runtime *rt, float *to, const float *part, const float *by, float sign, const float *with, double *dg,
                        const span *s) {
    size_t d = s->key_dim;
    for (size_t i = 0; i < s->n; i++) {
        rt->kern.axpy(to + i * d, sign * by[i], part + i * d, d);
        if (dg) dg[i] += (double)(sign * by[i]) * dot(rt, part + i * d, with + i * d, d);
    }
}

/* Through the states: the one before, which o and the right side read, and the one behind, to which k and u go. */
static void states_bwd(ar_delta_room *r, const ar_runtime *rt, span *s) {
    size_t d = s->key_dim, e = s->value_dim, n = s->n;
    ar__delta_product(r, r->part_w, d, rows_of(r->w, e), r->state, e, true, CHUNK + n, d, e, false);
    add_weighed(rt, r->dq, r->part_sent, r->from_start, 1.0f, r->q, s->dg, s);
    add_weighed(rt, r->dk, r->part_w, r->from_start, -1.0f, r->k, s->dg, s);
    ar__delta_product(r, r->part_w, d, rows_of(r->u, e), r->d_state, e, true, n, d, e, false);
    add_weighed(rt, r->dk, r->part_w, r->to_end, 1.0f, NULL, NULL, s);
    rt->kern.multiple(r->d_state, r->from_start[n - 1], r->d_state, d * e);
    ar__delta_weigh(rt, r->keys, r->q, 1.0f, r->from_start, n, d);
    ar__delta_product(r, r->d_state, e, columns_of(r->keys, d), r->sent, e, false, d, e, n, true);
    ar__delta_weigh(rt, r->keys, r->k, -1.0f, r->from_start, n, d);
    ar__delta_product(r, r->d_state, e, columns_of(r->keys, d), r->w, e, false, d, e, n, true);
}

/* The gradients of the chunk's vectors to dx, added to those of the key head's value heads before. */
static void put_keys(const ar_delta_room *r, const bwd_args *a, const span *s, bool first) {
    const ar_delta *d = a->in.d;
    size_t width = ar__delta_width(d), keys = d->key_heads * d->key_dim, key_head = s->head / (d->value_heads / d->key_heads);
    for (size_t i = 0; i < s->n; i++) {
        float *q = a->dx + (s->row + i) * width + key_head * d->key_dim, *k = q + keys;
        for (size_t j = 0; j < d->key_dim; j++) {
            q[j] = r->dq[i * d->key_dim + j] + (first ? 0.0f : q[j]);
            k[j] = r->dk[i * d->key_dim + j] + (first ? 0.0f : k[j]);
        }
    }
}

static void chunk_bwd(ar_delta_room *r, const ar_runtime *rt, const bwd_args *a, size_t row, size_t n, size_t head) {
    const ar_delta *d = a->in.d;
    size_t width = ar__delta_width(d), values = 2 * d->key_heads * d->key_dim + head * d->value_dim, ld = d->value_heads * d->value_dim;
    span s = {.row = row, .n = n, .head = head, .key_dim = d->key_dim, .value_dim = d->value_dim, .ld = ld};
    s.d_o = a->d_o + row * ld + head * d->value_dim;
    solve_bwd(r, rt, &s);
    squares_bwd(r, &s);
    right_side_bwd(r, rt, &s, a->in.x + row * width + values, a->dx + row * width + values, width);
    weights_bwd(r, &s);
    keys_bwd(r, &s);
    states_bwd(r, rt, &s);
    double later = 0.0;
    for (size_t i = n; i-- > 0;) {
        size_t at = (row + i) * d->value_heads + head;
        later += s.dg[i]; /* g_i is in all G from i on */
        a->db[at] = s.dbeta[i] * r->beta[i] * (1.0f - r->beta[i]);
        a->da[at] = (float)later * r->slope[i];
    }
    put_keys(r, a, &s, head % (d->value_heads / d->key_heads) == 0);
}

static void form(ar_delta_room *r, const ar_runtime *rt, const bwd_args *a, size_t c, size_t row, size_t n, size_t head) {
    ar__delta_use(r, a->in.d, c);
    ar__delta_load(r, rt, &a->in, row, n, head);
    ar__delta_solve(r, rt, &a->in, row, n, head);
}

static void head_bwd(ar_delta_room *r, const ar_runtime *rt, const bwd_args *a, size_t first, size_t end, size_t head) {
    const ar_delta *d = a->in.d;
    size_t state = d->key_dim * d->value_dim, bytes = state * sizeof(float), chunks = (end - first + CHUNK - 1) / CHUNK;
    memset(r->state, 0, bytes);
    memset(r->d_state, 0, bytes);
    for (size_t c = 0; c < chunks; c++) {
        size_t row = first + c * CHUNK, n = ar__min(CHUNK, end - row);
        memcpy(r->states + c * state, r->state, bytes);
        form(r, rt, a, c, row, n, head);
        if (c + 1 < chunks) ar__delta_advance(r, rt, d, n);
    }
    for (size_t c = chunks; c-- > 0;) {
        size_t row = first + c * CHUNK, n = ar__min(CHUNK, end - row);
        memcpy(r->state, r->states + c * state, bytes);
        if (c + 1 < chunks && c >= AR_DELTA_KEPT)
            form(r, rt, a, c, row, n, head);
        else
            ar__delta_use(r, d, c);
        chunk_bwd(r, rt, a, row, n, head);
    }
}

/* dx = r (dy - y (y · dy)) by the unit vector y = r x, in place; `root` is what y was multiplied by besides. */
static void unit_bwd(const ar_runtime *rt, float *dy, const float *x, float root, size_t n) {
    float r = 1.0f / sqrtf(rt->kern.sum_squares(x, n) + (float)AR_DELTA_EPS), along = r * r * rt->kern.dot(x, dy, n);
    rt->kern.axpy(dy, -along, x, n);
    rt->kern.multiple(dy, root * r, dy, n);
}

static void units_bwd(const ar_runtime *rt, const bwd_args *a, size_t first, size_t end, size_t key_head) {
    const ar_delta *d = a->in.d;
    size_t width = ar__delta_width(d), keys = d->key_heads * d->key_dim;
    float root = (float)(1.0 / sqrt((double)d->key_dim));
    for (size_t row = first; row < end; row++) {
        size_t at = row * width + key_head * d->key_dim;
        unit_bwd(rt, a->dx + at, a->in.x + at, root, d->key_dim);
        unit_bwd(rt, a->dx + at + keys, a->in.x + at + keys, 1.0f, d->key_dim);
    }
}

void ar__cpu_delta_bwd(const ar_runtime *rt, float *dx, float *db, float *da, const float *d_o, const float *x, const float *b,
                       const float *a, const ar_delta *d, const ar_rows *rows, float *scratch) {
    const bwd_args args = {{d, x, b, a}, dx, db, da, d_o};
    size_t group = d->value_heads / d->key_heads, tasks = rows->samples * d->key_heads, longest = 1;
    for (size_t s = 0; s < rows->samples; s++) longest = ar__max(longest, rows->start[s + 1] - rows->start[s]);
#pragma omp parallel num_threads(ar__team(rt, rows->count * d->value_heads * d->key_dim * d->value_dim))
    {
        ar_delta_room room;
        ar__delta_room(&room, rt, d, scratch, longest);
#pragma omp for schedule(dynamic, 1)
        for (size_t t = 0; t < tasks; t++) {
            size_t first = rows->start[t / d->key_heads], end = rows->start[t / d->key_heads + 1], key_head = t % d->key_heads;
            for (size_t g = 0; g < group; g++) head_bwd(&room, rt, &args, first, end, key_head * group + g);
            units_bwd(rt, &args, first, end, key_head);
        }
    }
}
