#include "ops/cpu/delta_chunk.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/size.h"

enum { CHUNK = AR_DELTA_CHUNK, STEP = 16 }; /* rows that are substituted one by one */

/* Of a packed operand, with room for the tile's padding. */
static size_t operand_floats(const ar_delta *d) {
    size_t wide = ar__max(2 * CHUNK, ar__max(d->key_dim, d->value_dim));
    return (wide + AR_TILE_MAX_NR) * wide;
}

static float *take(float **at, size_t n) {
    float *p = *at;
    *at += (n + 15) / 16 * 16; /* keeps every piece 64-byte aligned */
    return p;
}

typedef struct part {
    float **to;
    size_t n;
} part;

/* Cuts memory into parts; memory may be NULL where the size alone is wanted. */
static size_t cut(const part *parts, size_t count, float *memory) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (memory) *parts[i].to = take(&memory, parts[i].n);
        total += (parts[i].n + 15) / 16 * 16;
    }
    return total;
}

static size_t cut_chunk(ar_delta_room *r, const ar_delta *d, float *memory) {
    size_t keys = CHUNK * d->key_dim, values = CHUNK * d->value_dim, square = CHUNK * CHUNK;
    const part parts[] = {{&r->q, keys},       {&r->k, keys},           {&r->p, square},     {&r->kk, square},
                          {&r->decay, square}, {&r->pull, square},      {&r->seen, values},  {&r->u, values},
                          {&r->beta, CHUNK},   {&r->from_start, CHUNK}, {&r->to_end, CHUNK}, {&r->slope, CHUNK}};
    return cut(parts, sizeof parts / sizeof *parts, memory);
}

static size_t cut_room(ar_delta_room *r, const ar_delta *d, float *memory, size_t longest) {
    size_t operand = operand_floats(d), keys = CHUNK * d->key_dim, values = CHUNK * d->value_dim, square = CHUNK * CHUNK;
    size_t state = d->key_dim * d->value_dim, chunks = (longest + CHUNK - 1) / CHUNK, back = chunks != 0;
    size_t kept = chunks ? ar__min(chunks, AR_DELTA_KEPT + 1) : 1;
    r->chunk_floats = cut_chunk(r, d, NULL);
    const part parts[] = {{&r->left, operand},          {&r->right, operand},
                          {&r->copy, operand},          {&r->keys, keys},
                          {&r->state, state},           {&r->chunks, kept * r->chunk_floats},
                          {&r->states, chunks * state}, {&r->d_state, back * state},
                          {&r->w, back * values},       {&r->sent, back * values},
                          {&r->product, back * square}, {&r->d_weight, back * square},
                          {&r->dk, back * keys},        {&r->dq, back * keys},
                          {&r->part_w, back * keys},    {&r->part_sent, back * keys}};
    return cut(parts, sizeof parts / sizeof *parts, memory);
}

void ar__delta_use(ar_delta_room *r, const ar_delta *d, size_t c) {
    cut_chunk(r, d, r->chunks + ar__min(c, AR_DELTA_KEPT) * r->chunk_floats);
}

size_t ar__delta_room_floats(const ar_delta *d, size_t longest) {
    ar_delta_room none;
    return cut_room(&none, d, NULL, longest);
}

void ar__delta_room(ar_delta_room *room, const ar_runtime *rt, const ar_delta *d, float *scratch, size_t longest) {
    size_t each = ar__delta_room_floats(d, longest);
    cut_room(room, d, scratch + (size_t)omp_get_thread_num() * each, longest);
    ar__delta_use(room, d, 0);
    room->panels = ar__panels_f32(&rt->kern, false, false); /* a state sums over the whole sample: never in bf16 */
}

void ar__delta_product(const ar_delta_room *r, float *c, size_t ld, ar_delta_operand a, const float *b, size_t b_ld, bool by_columns,
                       size_t m, size_t n, size_t k, bool accumulate) {
    ar__pack_left(&r->panels, r->left, a.at, a.row, a.col, m, k);
    ar__pack_right(&r->panels, r->right, r->copy, b, b_ld, by_columns, n, k);
    ar__gemm_packed(&r->panels, c, ld, r->left, r->right, m, n, k, accumulate);
}

void ar__delta_weigh(const ar_runtime *rt, float *to, const float *from, float sign, const float *by, size_t n, size_t width) {
    for (size_t i = 0; i < n; i++) rt->kern.multiple(to + i * width, sign * by[i], from + i * width, width);
}

void ar__delta_end(float *rows, size_t n, size_t width) { memset(rows + n * width, 0, (CHUNK - n) * width * sizeof *rows); }

/* The unit vector's row, times `by`. */
static void unit(const ar_runtime *rt, float *to, const float *x, float by, size_t n) {
    rt->kern.multiple(to, by / sqrtf(rt->kern.sum_squares(x, n) + (float)AR_DELTA_EPS), x, n);
}

/* decay, and the two weights of a row by its place, from the sums of g. */
static void load_decays(ar_delta_room *r, const ar_runtime *rt, const double *sum, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float *row = r->decay + i * CHUNK;
        for (size_t j = 0; j <= i; j++) row[j] = (float)(sum[i] - sum[j]);
        rt->kern.exp_sum(row, 0.0f, i + 1);
        memset(row + i + 1, 0, (CHUNK - i - 1) * sizeof *row);
        r->from_start[i] = (float)sum[i];
        r->to_end[i] = (float)(sum[n - 1] - sum[i]);
    }
    rt->kern.exp_sum(r->from_start, 0.0f, n);
    rt->kern.exp_sum(r->to_end, 0.0f, n);
}

void ar__delta_load(ar_delta_room *r, const ar_runtime *rt, const ar_delta_in *in, size_t row, size_t n, size_t head) {
    const ar_delta *d = in->d;
    size_t width = ar__delta_width(d), keys = d->key_heads * d->key_dim, key_head = head / (d->value_heads / d->key_heads);
    float root = (float)(1.0 / sqrt((double)d->key_dim));
    double sum[CHUNK], total = 0.0;
    for (size_t i = 0; i < n; i++) {
        size_t at = (row + i) * d->value_heads + head;
        const float *q = in->x + (row + i) * width + key_head * d->key_dim;
        double t = (double)in->a[at] + (double)d->shift[head], rate = (double)d->rate[head];
        unit(rt, r->q + i * d->key_dim, q, root, d->key_dim);
        unit(rt, r->k + i * d->key_dim, q + keys, 1.0f, d->key_dim);
        r->beta[i] = (float)(1.0 / (1.0 + exp(-(double)in->b[at])));
        r->slope[i] = (float)(-rate / (1.0 + exp(-t)));
        sum[i] = total -= rate * (fmax(t, 0.0) + log1p(exp(-fabs(t))));
    }
    load_decays(r, rt, sum, n);
    ar__delta_end(r->q, n, d->key_dim);
    ar__delta_product(r, r->p, CHUNK, (ar_delta_operand){r->q, d->key_dim, 1}, r->k, d->key_dim, true, CHUNK + n, n, d->key_dim, false);
    for (size_t i = 0; i < n; i++) {
        const float *decay = r->decay + i * CHUNK;
        float *p = r->p + i * CHUNK, *kk = r->kk + i * CHUNK;
        for (size_t j = 0; j <= i; j++) p[j] *= decay[j];
        for (size_t j = 0; j < i; j++) kk[j] *= decay[j];
        memset(p + i + 1, 0, (n - i - 1) * sizeof *p);
        memset(kk + i, 0, (n - i) * sizeof *kk);
        rt->kern.multiple(r->pull + i * CHUNK, -r->beta[i], kk, n);
    }
}

/* Steps of rows: first what all steps before (behind) sent, as a product, then row by row. */
void ar__delta_substitute(const ar_delta_room *r, const ar_runtime *rt, float *y, size_t n, size_t width, bool transposed) {
    size_t steps = (n + STEP - 1) / STEP;
    for (size_t s = 0; s < steps; s++) {
        size_t i0 = (transposed ? steps - 1 - s : s) * STEP, end = ar__min(n, i0 + STEP), rows = end - i0;
        if (!transposed && i0)
            ar__delta_product(r, y + i0 * width, width, (ar_delta_operand){r->pull + i0 * CHUNK, CHUNK, 1}, y, width, false, rows, width,
                              i0, true);
        if (transposed && end < n)
            ar__delta_product(r, y + i0 * width, width, (ar_delta_operand){r->pull + end * CHUNK + i0, 1, CHUNK}, y + end * width, width,
                              false, rows, width, n - end, true);
        for (size_t t = 0; t < rows; t++) {
            size_t i = transposed ? end - 1 - t : i0 + t, from = transposed ? i + 1 : i0, to = transposed ? end : i;
            for (size_t j = from; j < to; j++)
                rt->kern.axpy(y + i * width, r->pull[transposed ? j * CHUNK + i : i * CHUNK + j], y + j * width, width);
        }
    }
}

void ar__delta_solve(ar_delta_room *r, const ar_runtime *rt, const ar_delta_in *in, size_t row, size_t n, size_t head) {
    const ar_delta *d = in->d;
    size_t width = ar__delta_width(d), values = 2 * d->key_heads * d->key_dim + head * d->value_dim, e = d->value_dim;
    ar__delta_product(r, r->seen, e, (ar_delta_operand){r->k, d->key_dim, 1}, r->state, e, false, n, e, d->key_dim, false);
    for (size_t i = 0; i < n; i++) {
        float *u = r->u + i * e;
        memcpy(u, in->x + (row + i) * width + values, e * sizeof *u);
        rt->kern.axpy(u, -r->from_start[i], r->seen + i * e, e);
        rt->kern.multiple(u, r->beta[i], u, e);
    }
    ar__delta_substitute(r, rt, r->u, n, e, false);
}

void ar__delta_advance(ar_delta_room *r, const ar_runtime *rt, const ar_delta *d, size_t n) {
    ar__delta_weigh(rt, r->keys, r->k, 1.0f, r->to_end, n, d->key_dim);
    rt->kern.multiple(r->state, r->from_start[n - 1], r->state, d->key_dim * d->value_dim);
    ar__delta_product(r, r->state, d->value_dim, (ar_delta_operand){r->keys, 1, d->key_dim}, r->u, d->value_dim, false, d->key_dim,
                      d->value_dim, n, true);
}
