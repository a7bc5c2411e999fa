#include "ops/move.h"

#include <string.h>

void ar__add(const ar_runtime *rt, float *y, const float *x, size_t n) {
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

void ar__multiple(const ar_runtime *rt, float *y, const float *x, double a, size_t n) {
    float by = (float)a;
#pragma omp parallel for num_threads(ar__team(rt, n)) schedule(static)
    for (size_t i = 0; i < n; i++) y[i] = by * x[i];
}

void ar__scale(const ar_runtime *rt, float *x, double a, size_t n) {
    if (a != 1.0) ar__multiple(rt, x, x, a, n);
}

void ar__zero_rows(const ar_runtime *rt, float *x, size_t rows, size_t width) {
    (void)rt;
    memset(x, 0, rows * width * sizeof *x);
}

void ar__rows_take(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < count; i++)
        if (dst != src || row[i] != i) memcpy(dst + i * width, src + row[i] * width, width * sizeof *dst);
}

void ar__rows_put(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < count; i++) memcpy(dst + row[i] * width, src + i * width, width * sizeof *dst);
}

void ar__rows_spread(const ar_runtime *rt, float *x, size_t rows, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = rows, from = count; i-- > 0;) {
        if (from == 0 || row[from - 1] != i)
            memset(x + i * width, 0, width * sizeof *x);
        else if (--from != i)
            memcpy(x + i * width, x + from * width, width * sizeof *x);
    }
}

void ar__qkv_split(const ar_runtime *rt, const ar_qkv *to, const float *joined, size_t rows) {
    size_t q = to->q_width, kv = to->kv_width;
#pragma omp parallel for num_threads(ar__team(rt, rows *(q + 2 * kv))) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        const float *from = joined + i * (q + 2 * kv);
        memcpy(to->q + i * q, from, q * sizeof *from);
        memcpy(to->k + i * kv, from + q, kv * sizeof *from);
        memcpy(to->v + i * kv, from + q + kv, kv * sizeof *from);
    }
}

void ar__qkv_join(const ar_runtime *rt, float *joined, const ar_qkv *from, size_t rows) {
    size_t q = from->q_width, kv = from->kv_width;
#pragma omp parallel for num_threads(ar__team(rt, rows *(q + 2 * kv))) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        float *to = joined + i * (q + 2 * kv);
        memcpy(to, from->q + i * q, q * sizeof *to);
        memcpy(to + q, from->k + i * kv, kv * sizeof *to);
        memcpy(to + q + kv, from->v + i * kv, kv * sizeof *to);
    }
}

void ar__rows_store(const ar_runtime *rt, float *cache, const float *x, const ar_block *blocks, size_t block_count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < block_count; i++) {
        const ar_block *b = &blocks[i];
        memcpy(cache + (b->keys + b->position) * width, x + b->row * width, b->count * width * sizeof *x);
    }
}
