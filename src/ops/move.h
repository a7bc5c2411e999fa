/* Rows of floats that go elsewhere, the residual sum, and multiples. */
#ifndef AR_OPS_MOVE_H
#define AR_OPS_MOVE_H

#include "ops/attention.h"

/* y += x */
typedef void ar_add_fn(const ar_runtime *rt, float *y, const float *x, size_t n);
/* x = a x; nothing where a is 1.  y = a x */
typedef void ar_scale_fn(const ar_runtime *rt, float *x, double a, size_t n);
typedef void ar_multiple_fn(const ar_runtime *rt, float *y, const float *x, double a, size_t n);
/* y = x rounded to bf16, to nearest even (what is subnormal may become 0); and back. */
typedef void ar_bf16_round_fn(const ar_runtime *rt, uint16_t *y, const float *x, size_t n);
typedef void ar_bf16_widen_fn(const ar_runtime *rt, float *y, const uint16_t *x, size_t n);
typedef void ar_zero_rows_fn(const ar_runtime *rt, float *x, size_t rows, size_t width);

/* dst[i] = src[row[i]]; row ascends, so that dst may be src. */
typedef void ar_rows_take_fn(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width);
/* dst[row[i]] = src[i] */
typedef void ar_rows_put_fn(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width);
/* In place: x[row[i]] = x[i], and zeros for the others of all `rows`; row ascends. */
typedef void ar_rows_spread_fn(const ar_runtime *rt, float *x, size_t rows, const size_t *row, size_t count, size_t width);

/* q, k, v [rows, …] that one linear gave side by side, in `joined`; and back. */
typedef struct ar_qkv {
    float *q, *k, *v;         /* v NULL: two parts */
    size_t q_width, kv_width; /* of a row */
    size_t head;              /* elements of one; 0: all of q stands before k and v, else the parts of the first head, of the second, … */
} ar_qkv;
typedef void ar_qkv_split_fn(const ar_runtime *rt, const ar_qkv *to, const float *joined, size_t rows);
typedef void ar_qkv_join_fn(const ar_runtime *rt, float *joined, const ar_qkv *from, size_t rows);

/* dst[i][j] = src[i][j] for j < width, in rows of `stride` elements: the columns that begin dst. */
typedef void ar_columns_put_fn(const ar_runtime *rt, float *dst, size_t stride, const float *src, size_t rows, size_t width);
/* The other way: from rows of `stride` elements the columns that begin src. */
typedef void ar_columns_take_fn(const ar_runtime *rt, float *dst, const float *src, size_t stride, size_t rows, size_t width);

/* Keys or values of the blocks' rows to their places in a cache. */
typedef void ar_rows_store_fn(const ar_runtime *rt, float *cache, const float *x, const ar_block *blocks, size_t block_count, size_t width);

#endif
