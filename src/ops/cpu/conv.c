/* The short convolution, by blocks of columns: a thread takes one of them through all samples. */
#include "ops/cpu/cpu.h"

#include <string.h>

enum { COLUMNS = 512 };

static const float zeros[COLUMNS];

/* A block of columns: its weights by tap, so that neighbours lie together. */
typedef struct block {
    size_t j0, len;
    float w[AR_CONV_TAPS][COLUMNS], ones[COLUMNS];
} block;

static void begin_block(block *b, const ar_conv *c, size_t j0) {
    b->j0 = j0;
    b->len = c->width - j0 < COLUMNS ? c->width - j0 : COLUMNS;
    for (size_t tap = 0; tap < c->taps; tap++)
        for (size_t j = 0; j < b->len; j++) b->w[tap][j] = c->w[(j0 + j) * c->taps + tap];
    for (size_t j = 0; j < b->len; j++) b->ones[j] = 1.0f;
}

/* Row `back` rows before row i of the sample, columns from j0 on. */
static const float *row_before(const ar_conv *c, const float *x, const float *before, size_t first, size_t i, size_t back, size_t j0) {
    if (back <= i) return x + (first + i - back) * c->width + j0;
    return before ? before + (c->taps - 1 + i - back) * c->width + j0 : zeros;
}

/* The sums, taps in their order, and the bias. */
static void sum_taps(float *z, const ar_runtime *rt, const block *b, const ar_conv *c, const float *x, const float *before, size_t first,
                     size_t i) {
    const float *from[AR_CONV_TAPS], *w[AR_CONV_TAPS];
    for (size_t tap = 0; tap < c->taps; tap++) {
        from[tap] = row_before(c, x, before, first, i, c->taps - 1 - tap, b->j0);
        w[tap] = b->w[tap];
    }
    rt->kern.taps(z, from, w, c->taps, b->len);
    for (size_t j = 0; c->bias && j < b->len; j++) z[j] += c->bias[b->j0 + j];
}

/* Rows that a next call reads: the last ones of what was kept and x together.  Ascending, since what is kept moves down. */
static void keep_rows(float *memory, const block *b, const ar_conv *c, const float *x, bool began, size_t first, size_t count) {
    size_t kept = c->taps - 1, j0 = b->j0, len = b->len;
    for (size_t r = 0; r < kept; r++) {
        size_t at = count + r;
        float *to = memory + r * c->width + j0;
        if (at >= kept)
            memcpy(to, x + (first + at - kept) * c->width + j0, len * sizeof *to);
        else if (began)
            memcpy(to, memory + at * c->width + j0, len * sizeof *to);
        else
            memset(to, 0, len * sizeof *to);
    }
}

void ar__cpu_conv_fwd(const ar_runtime *rt, float *y, const float *x, const ar_conv *c, const ar_rows *rows, const ar_recurrence *m) {
#pragma omp parallel for num_threads(ar__team(rt, rows->count * c->width * 8)) schedule(static)
    for (size_t j0 = 0; j0 < c->width; j0 += COLUMNS) {
        block b;
        float z[COLUMNS];
        begin_block(&b, c, j0);
        for (size_t s = 0; s < rows->samples; s++) {
            size_t first = rows->start[s], count = rows->start[s + 1] - first;
            float *memory = m ? m->at + m->sequence[s] * m->each : NULL;
            bool began = m && m->past[s];
            for (size_t i = 0; i < count; i++) {
                float *to = y + (first + i) * c->width + j0;
                sum_taps(c->silu ? z : to, rt, &b, c, x, began ? memory : NULL, first, i);
                if (c->silu) rt->kern.silu_mul(to, z, b.ones, b.len);
            }
            if (memory) keep_rows(memory, &b, c, x, began, first, count);
        }
    }
}

/* Each row sends to itself and to the taps - 1 before it. */
static void spread_taps(float *dx, const ar_runtime *rt, const float *dy, const block *b, const ar_conv *c, size_t row, size_t end) {
    const float *from[AR_CONV_TAPS], *w[AR_CONV_TAPS];
    size_t count = 0;
    for (; count < c->taps && row + count < end; count++) {
        from[count] = dy + (row + count) * c->width + b->j0;
        w[count] = b->w[c->taps - 1 - count];
    }
    rt->kern.taps(dx + row * c->width + b->j0, from, w, count, b->len);
}

void ar__cpu_conv_bwd(const ar_runtime *rt, float *dx, float *dy, const float *x, const ar_conv *c, const ar_rows *rows) {
#pragma omp parallel for num_threads(ar__team(rt, rows->count * c->width * 16)) schedule(static)
    for (size_t j0 = 0; j0 < c->width; j0 += COLUMNS) {
        block b;
        begin_block(&b, c, j0);
        for (size_t s = 0; s < rows->samples; s++) {
            size_t first = rows->start[s], end = rows->start[s + 1];
            for (size_t row = first; c->silu && row < end; row++) {
                float z[COLUMNS], ones[COLUMNS], *to = dy + row * c->width + j0;
                memcpy(ones, b.ones, b.len * sizeof *ones); /* takes a gradient that nobody reads */
                sum_taps(z, rt, &b, c, x, NULL, first, row - first);
                rt->kern.silu_mul_bwd(z, ones, to, b.len);
                memcpy(to, z, b.len * sizeof *to);
            }
            for (size_t row = first; row < end; row++) spread_taps(dx, rt, dy, &b, c, row, end);
        }
    }
}
