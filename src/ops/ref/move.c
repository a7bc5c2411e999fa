#include "ops/ref/ref.h"

void ar__ref_add(const ar_runtime *rt, float *y, const float *x, size_t n) {
    (void)rt;
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)y[i] + (double)x[i]);
}

void ar__ref_multiple(const ar_runtime *rt, float *y, const float *x, double a, size_t n) {
    (void)rt;
    for (size_t i = 0; i < n; i++) y[i] = (float)(a * (double)x[i]);
}

void ar__ref_scale(const ar_runtime *rt, float *x, double a, size_t n) { ar__ref_multiple(rt, x, x, a, n); }

void ar__ref_bf16_round(const ar_runtime *rt, uint16_t *y, const float *x, size_t n) {
    (void)rt;
    ar__dtype(AR_BF16)->from_f32(y, x, n);
}

void ar__ref_bf16_widen(const ar_runtime *rt, float *y, const uint16_t *x, size_t n) {
    (void)rt;
    ar__dtype(AR_BF16)->to_f32(y, x, n);
}

void ar__ref_zero_rows(const ar_runtime *rt, float *x, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows * width; i++) x[i] = 0.0f;
}

static void copy(float *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = src[i];
}

void ar__ref_rows_take(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < count; i++) copy(dst + i * width, src + row[i] * width, width);
}

void ar__ref_rows_put(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width) {
    (void)rt;
    for (size_t i = 0; i < count; i++) copy(dst + row[i] * width, src + i * width, width);
}

void ar__ref_columns_put(const ar_runtime *rt, float *dst, size_t stride, const float *src, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) copy(dst + i * stride, src + i * width, width);
}

void ar__ref_columns_take(const ar_runtime *rt, float *dst, const float *src, size_t stride, size_t rows, size_t width) {
    (void)rt;
    for (size_t i = 0; i < rows; i++) copy(dst + i * width, src + i * stride, width);
}

/* From the last, since a row moves to itself or behind. */
void ar__ref_rows_spread(const ar_runtime *rt, float *x, size_t rows, const size_t *row, size_t count, size_t width) {
    for (size_t i = count; i-- > 0;) copy(x + row[i] * width, x + i * width, width);
    for (size_t i = 0, next = 0; i < rows; i++) {
        bool taken = next < count && row[next] == i;
        next += taken;
        if (!taken) ar__ref_zero_rows(rt, x + i * width, 1, width);
    }
}

void ar__ref_rows_store(const ar_runtime *rt, float *cache, const float *x, const ar_block *blocks, size_t block_count, size_t width) {
    (void)rt;
    for (const ar_block *b = blocks; b < blocks + block_count; b++)
        copy(cache + (b->keys + b->position) * width, x + b->row * width, b->count * width);
}

/* Where element j of a row of q (part 0), k (1) or v (2) stands in the joined row. */
static size_t joined_at(const ar_qkv *x, int part, size_t j) {
    size_t before = part == 0 ? 0 : part == 1 ? x->q_width : x->q_width + x->kv_width;
    return x->head ? ((x->v ? 3 : 2) * (j / x->head) + (size_t)part) * x->head + j % x->head : before + j;
}

static size_t joined_width(const ar_qkv *x) { return x->q_width + (x->v ? 2 : 1) * x->kv_width; }

void ar__ref_qkv_split(const ar_runtime *rt, const ar_qkv *to, const float *joined, size_t rows) {
    (void)rt;
    for (size_t i = 0; i < rows; i++, joined += joined_width(to)) {
        for (size_t j = 0; j < to->q_width; j++) to->q[i * to->q_width + j] = joined[joined_at(to, 0, j)];
        for (size_t j = 0; j < to->kv_width; j++) to->k[i * to->kv_width + j] = joined[joined_at(to, 1, j)];
        for (size_t j = 0; to->v && j < to->kv_width; j++) to->v[i * to->kv_width + j] = joined[joined_at(to, 2, j)];
    }
}

void ar__ref_qkv_join(const ar_runtime *rt, float *joined, const ar_qkv *from, size_t rows) {
    (void)rt;
    for (size_t i = 0; i < rows; i++, joined += joined_width(from)) {
        for (size_t j = 0; j < from->q_width; j++) joined[joined_at(from, 0, j)] = from->q[i * from->q_width + j];
        for (size_t j = 0; j < from->kv_width; j++) joined[joined_at(from, 1, j)] = from->k[i * from->kv_width + j];
        for (size_t j = 0; from->v && j < from->kv_width; j++) joined[joined_at(from, 2, j)] = from->v[i * from->kv_width + j];
    }
}
