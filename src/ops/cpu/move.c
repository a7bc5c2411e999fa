#include "ops/cpu/cpu.h"

#include <string.h>

#include "base/size.h"

void ar__cpu_add(const ar_runtime *rt, float *y, const float *x, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

void ar__cpu_multiple(const ar_runtime *rt, float *y, const float *x, double a, size_t n) {
    float by = (float)a;
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++) y[i] = by * x[i];
}

void ar__cpu_scale(const ar_runtime *rt, float *x, double a, size_t n) {
    if (a != 1.0) ar__cpu_multiple(rt, x, x, a, n);
}

enum { STRETCH = 8192 };

void ar__cpu_bf16_round(const ar_runtime *rt, uint16_t *y, const float *x, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i += STRETCH) rt->kern.to_bf16(y + i, x + i, ar__min(STRETCH, n - i));
}

void ar__cpu_bf16_widen(const ar_runtime *rt, float *y, const uint16_t *x, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i += STRETCH) rt->kern.from_bf16(y + i, x + i, ar__min(STRETCH, n - i));
}

void ar__cpu_zero_rows(const ar_runtime *rt, float *x, size_t rows, size_t width) {
    (void)rt;
    memset(x, 0, rows * width * sizeof *x);
}

void ar__cpu_rows_take(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < count; i++)
        if (dst != src || row[i] != i) memcpy(dst + i * width, src + row[i] * width, width * sizeof *dst);
}

void ar__cpu_rows_put(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < count; i++) memcpy(dst + row[i] * width, src + i * width, width * sizeof *dst);
}

void ar__cpu_rows_spread(const ar_runtime *rt, float *x, size_t rows, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = rows, from = count; i-- > 0;) {
        if (from == 0 || row[from - 1] != i)
            memset(x + i * width, 0, width * sizeof *x);
        else if (--from != i)
            memcpy(x + i * width, x + from * width, width * sizeof *x);
    }
}

void ar__cpu_columns_put(const ar_runtime *rt, float *dst, size_t stride, const float *src, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) memcpy(dst + i * stride, src + i * width, width * sizeof *dst);
}

void ar__cpu_columns_take(const ar_runtime *rt, float *dst, const float *src, size_t stride, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) memcpy(dst + i * width, src + i * stride, width * sizeof *dst);
}

/* Runs of a row that lie together: `count` of them in each part, `run` elements each. */
static size_t qkv_runs(size_t *q_run, size_t *kv_run, const ar_qkv *x) {
    *q_run = x->head ? x->head : x->q_width;
    *kv_run = x->head ? x->head : x->kv_width;
    return x->q_width / *q_run;
}

static size_t qkv_width(const ar_qkv *x) { return x->q_width + (x->v ? 2 : 1) * x->kv_width; }

void ar__cpu_qkv_split(const ar_runtime *rt, const ar_qkv *to, const float *joined, size_t rows) {
    size_t width = qkv_width(to), q, kv, count = qkv_runs(&q, &kv, to);
#pragma omp parallel for num_threads(ar__team(rt, rows *width)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t n = 0; n < count; n++) {
            const float *from = joined + i * width + n * (width / count);
            memcpy(to->q + i * to->q_width + n * q, from, q * sizeof *from);
            memcpy(to->k + i * to->kv_width + n * kv, from + q, kv * sizeof *from);
            if (to->v) memcpy(to->v + i * to->kv_width + n * kv, from + q + kv, kv * sizeof *from);
        }
}

void ar__cpu_qkv_join(const ar_runtime *rt, float *joined, const ar_qkv *from, size_t rows) {
    size_t width = qkv_width(from), q, kv, count = qkv_runs(&q, &kv, from);
#pragma omp parallel for num_threads(ar__team(rt, rows *width)) schedule(static)
    for (size_t i = 0; i < rows; i++)
        for (size_t n = 0; n < count; n++) {
            float *to = joined + i * width + n * (width / count);
            memcpy(to, from->q + i * from->q_width + n * q, q * sizeof *to);
            memcpy(to + q, from->k + i * from->kv_width + n * kv, kv * sizeof *to);
            if (from->v) memcpy(to + q + kv, from->v + i * from->kv_width + n * kv, kv * sizeof *to);
        }
}

void ar__cpu_rows_store(const ar_runtime *rt, float *cache, const float *x, const ar_block *blocks, size_t block_count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < block_count; i++) {
        const ar_block *b = &blocks[i];
        memcpy(cache + (b->keys + b->position) * width, x + b->row * width, b->count * width * sizeof *x);
    }
}
