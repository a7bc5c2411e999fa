/* Rows of floats that go elsewhere, the residual sum, and multiples. */
#ifndef AR_OPS_MOVE_H
#define AR_OPS_MOVE_H

#include "ops/attention.h"

/* y += x */
void ar__add(const ar_runtime *rt, float *y, const float *x, size_t n);
/* x = a x; nothing where a is 1.  y = a x */
void ar__scale(const ar_runtime *rt, float *x, double a, size_t n);
void ar__multiple(const ar_runtime *rt, float *y, const float *x, double a, size_t n);
void ar__zero_rows(const ar_runtime *rt, float *x, size_t rows, size_t width);

/* dst[i] = src[row[i]]; row ascends, so that dst may be src. */
void ar__rows_take(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width);
/* dst[row[i]] = src[i] */
void ar__rows_put(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width);
/* In place: x[row[i]] = x[i], and zeros for the others of all `rows`; row ascends. */
void ar__rows_spread(const ar_runtime *rt, float *x, size_t rows, const size_t *row, size_t count, size_t width);

/* q, k, v [rows, …] that one linear gave side by side, in `joined`; and back. */
typedef struct ar_qkv {
    float *q, *k, *v;
    size_t q_width, kv_width; /* of a row */
    size_t head;              /* elements of one; 0: all of q stands before k and v, else the parts of the first head, of the second, … */
} ar_qkv;
void ar__qkv_split(const ar_runtime *rt, const ar_qkv *to, const float *joined, size_t rows);
void ar__qkv_join(const ar_runtime *rt, float *joined, const ar_qkv *from, size_t rows);

/* Keys or values of the blocks' rows to their places in a cache. */
void ar__rows_store(const ar_runtime *rt, float *cache, const float *x, const ar_block *blocks, size_t block_count, size_t width);

#endif
