/* A linear: a frozen (or trained) weight of any dtype, an optional bias, and a pair per segment.
 *
 * y [rows, n_out] = x [rows, n_in] W^T + b, plus what the segments' pairs add (ops/pair.h). */
#ifndef AR_OPS_LINEAR_H
#define AR_OPS_LINEAR_H

#include "ops/pair.h"

typedef struct ar_weight {
    const void *data; /* row-major, dense; NULL: absent */
    ar_dtype type;
    size_t rows, cols; /* a vector: rows elements, cols 1 */
} ar_weight;

typedef struct ar_linear {
    ar_weight w;
    const float *bias; /* [n_out] f32 or NULL */
    float *dw, *dbias; /* gradients, added to; NULL: frozen */
    int site;          /* index into a segment's pairs; -1: cannot carry one */
} ar_linear;

/* Scratch of one linear call: everything may be NULL where nothing asks for it (see ar__linear_scratch). */
typedef struct ar_linear_scratch {
    float *dropped; /* [rows, n_in], dropout */
    float *wide;    /* [rows, n_out], DoRA */
    float *dz;      /* [rows, n_out], DoRA backward */
    float *du;      /* [rows, rank] */
} ar_linear_scratch;

/* su: [rows, largest rank of the segments], kept for backward where a pair stands; NULL where none does. */
typedef void ar_linear_fwd_fn(const ar_runtime *rt, float *y, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                              const ar_linear_scratch *scratch);

/* The same for several linears of one input (up to three): q, k, v; gate, up. */
typedef struct ar_linear_out {
    const ar_linear *lin;
    float *y, *su;
} ar_linear_out;
typedef void ar_linears_fwd_fn(const ar_runtime *rt, const ar_linear_out *out, size_t count, const float *x, const ar_rows *rows,
                               const ar_linear_scratch *scratch);

/* su alone: what backward keeps, without the product. */
typedef void ar_linear_su_fn(const ar_runtime *rt, float *su, const ar_linear *lin, const float *x, const ar_rows *rows,
                             const ar_linear_scratch *scratch);

/* dx (+)= the gradient of x (NULL: not wanted); the gradients of pairs, weight and bias are added to where they are wanted.
 * dx may be the memory of x.  x is not read unless ar__linear_needs_input says so. */
typedef void ar_linear_bwd_fn(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_linear *lin, const float *x,
                              const float *su, const ar_rows *rows, const ar_linear_scratch *scratch);

/* Whether backward reads the input: for a weight that trains or for a pair. */
bool ar__linear_needs_input(const ar_linear *lin, const ar_rows *rows);

#endif
