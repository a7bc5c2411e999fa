/* Forward of the delta rule: whole samples, or what goes on from a state, in chunks; a single row of each sample as the rule says it.
 * A thread takes a head of a sample from its first chunk to its last, so that a sample's bits depend neither on threads nor on
 * neighbours. */
#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ops/cpu/delta_chunk.h"

enum { CHUNK = AR_DELTA_CHUNK };

size_t ar__cpu_delta_scratch(const ar_runtime *rt, const ar_delta *d, size_t longest) {
    (void)rt;
    return ar__delta_room_floats(d, longest);
}

static float *state_of(const ar_recurrence *m, const ar_delta *d, size_t sample, size_t head) {
    return m ? m->at + m->sequence[sample] * m->each + head * d->key_dim * d->value_dim : NULL;
}

/* o = e^G S^T q + P u */
static void chunk_out(ar_delta_room *r, const ar_runtime *rt, float *o, const ar_delta *d, size_t n) {
    size_t e = d->value_dim, ld = d->value_heads * e;
    ar__delta_weigh(rt, r->keys, r->q, 1.0f, r->from_start, n, d->key_dim);
    ar__delta_product(r, o, ld, (ar_delta_operand){r->keys, d->key_dim, 1}, r->state, e, false, n, e, d->key_dim, false);
    ar__delta_product(r, o, ld, (ar_delta_operand){r->p, CHUNK, 1}, r->u, e, false, n, e, n, true);
}

static void head_fwd(ar_delta_room *r, const ar_runtime *rt, float *o, const ar_delta_in *in, size_t first, size_t end, size_t head,
                     float *memory, bool began) {
    const ar_delta *d = in->d;
    size_t state = d->key_dim * d->value_dim;
    if (began)
        memcpy(r->state, memory, state * sizeof *memory);
    else
        memset(r->state, 0, state * sizeof *r->state);
    for (size_t row = first; row < end; row += CHUNK) {
        size_t n = ar__min(CHUNK, end - row);
        ar__delta_load(r, rt, in, row, n, head);
        ar__delta_solve(r, rt, in, row, n, head);
        chunk_out(r, rt, o + (row * d->value_heads + head) * d->value_dim, d, n);
        if (memory || row + n < end) ar__delta_advance(r, rt, d, n);
    }
    if (memory) memcpy(memory, r->state, state * sizeof *memory);
}

/* One row by the rule itself.  seen becomes u. */
static void row_fwd(ar_delta_room *r, const ar_runtime *rt, float *o, const ar_delta_in *in, size_t row, size_t head, float *s) {
    const ar_delta *d = in->d;
    size_t width = ar__delta_width(d), keys = d->key_heads * d->key_dim, key_head = head / (d->value_heads / d->key_heads),
           e = d->value_dim;
    size_t at = row * d->value_heads + head;
    const float *q = in->x + row * width + key_head * d->key_dim, *k = q + keys, *v = in->x + row * width + 2 * keys + head * e;
    double t = (double)in->a[at] + (double)d->shift[head];
    float decay = (float)exp(-(double)d->rate[head] * (fmax(t, 0.0) + log1p(exp(-fabs(t)))));
    float beta = (float)(1.0 / (1.0 + exp(-(double)in->b[at]))), *u = r->seen;
    float q_scale = (float)(1.0 / sqrt((double)d->key_dim)) / sqrtf(rt->kern.sum_squares(q, d->key_dim) + (float)AR_DELTA_EPS);
    float k_scale = 1.0f / sqrtf(rt->kern.sum_squares(k, d->key_dim) + (float)AR_DELTA_EPS);
    memset(u, 0, e * sizeof *u);
    memset(o, 0, e * sizeof *o);
    for (size_t i = 0; i < d->key_dim; i++) rt->kern.axpy(u, k_scale * k[i], s + i * e, e);
    rt->kern.multiple(u, -decay, u, e);
    rt->kern.axpy(u, 1.0f, v, e);
    rt->kern.multiple(u, beta, u, e);
    for (size_t i = 0; i < d->key_dim; i++) {
        float *si = s + i * e;
        rt->kern.multiple(si, decay, si, e);
        rt->kern.axpy(si, k_scale * k[i], u, e);
        rt->kern.axpy(o, q_scale * q[i], si, e);
    }
}

void ar__cpu_delta_fwd(const ar_runtime *rt, float *o, const float *x, const float *b, const float *a, const ar_delta *d,
                       const ar_rows *rows, const ar_recurrence *m, float *scratch) {
    const ar_delta_in in = {d, x, b, a};
    size_t tasks = rows->samples * d->value_heads;
#pragma omp parallel num_threads(ar__team(rt, rows->count * d->value_heads * d->key_dim * d->value_dim))
    {
        ar_delta_room room;
        ar__delta_room(&room, rt, d, scratch, 0);
#pragma omp for schedule(dynamic, 1)
        for (size_t t = 0; t < tasks; t++) {
            size_t s = t / d->value_heads, head = t % d->value_heads, row = rows->start[s];
            float *memory = state_of(m, d, s, head);
            bool began = memory && m->past[s];
            if (began && rows->decoding && rows->start[s + 1] - row == 1)
                row_fwd(&room, rt, o + (row * d->value_heads + head) * d->value_dim, &in, row, head, memory);
            else
                head_fwd(&room, rt, o, &in, row, rows->start[s + 1], head, memory, began);
        }
    }
}
