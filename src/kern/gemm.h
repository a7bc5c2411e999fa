/* Matrix products behind one seam.
 *
 *     C[m, n] (+)= A[m, k] · B        A, C f32; B any weight dtype, stored [n][k] ("rows of W", forward) or [k][n]
 *
 * Every backend cuts the product into tiles of a fixed shape and sums over k in one fixed order, so a row of C has
 * the same bits whatever m, the threads, or the rows beside it.  The reference is the definition. */
#ifndef AR_KERN_GEMM_H
#define AR_KERN_GEMM_H

#include "alphar/runtime.h"
#include "kern/dtype.h"
#include "kern/kernels.h"

enum {
    AR_GEMM_BACKENDS = 4,
    AR_GEMM_KC = 512,                                  /* slice of k that is packed at a time; a multiple of every dtype's block */
    AR_GEMM_MC = 2016,                                 /* rows of A packed at a time; a multiple of every tile's mr */
    AR_GEMM_NC = 256,                                  /* columns in one thread's job */
    AR_GEMM_RIGHT_FLOATS = 2 * AR_GEMM_NC * AR_GEMM_KC /* packed block, and its f32 copy where the dtype needs one */
};

typedef struct ar_gemm {
    size_t m, n, k;
    const float *a;
    size_t a_row, a_col; /* strides of A in elements; one of them is 1 */
    const void *b;
    ar_dtype b_type;
    size_t b_ld; /* elements from one stored row of B to the next */
    bool b_rows; /* stored [n][k]: column j of the product is row j of B */
    float *c;
    size_t c_ld;
    bool accumulate; /* += */
} ar_gemm;

typedef struct ar_gemm_backend {
    const char *name;
    bool (*accepts)(const ar_runtime *rt, const ar_gemm *g);
    void (*run)(const ar_runtime *rt, const ar_gemm *g);
} ar_gemm_backend;

extern const ar_gemm_backend ar__gemm_own, ar__gemm_openblas, ar__gemm_reference;

/* Runs the product on the first backend that accepts it, with the runtime's threads. */
void ar__gemm(const ar_runtime *rt, const ar_gemm *g);

/* Y[m, n] (+)= X[m, k] · W^T, W stored [n, k]; and dX[m, k] (+)= dY[m, n] · W.  Dense rows. */
void ar__gemm_xwt(const ar_runtime *rt, float *y, const float *x, const void *w, ar_dtype t, size_t m, size_t n, size_t k, bool accumulate);
void ar__gemm_dyw(const ar_runtime *rt, float *dx, const float *dy, const void *w, ar_dtype t, size_t m, size_t n, size_t k,
                  bool accumulate);
/* dW[n, k] += dY[m, n]^T · X[m, k] */
void ar__gemm_dytx(const ar_runtime *rt, float *dw, const float *dy, const float *x, size_t m, size_t n, size_t k);

/* The pieces, for loops that run inside one thread (attention).
 * Packed sizes in floats: m (or n) rounded up to mr (nr), times k. */
void ar__pack_left(const ar_kernels *kn, float *dst, const float *a, size_t a_row, size_t a_col, size_t m, size_t k);
void ar__pack_right(const ar_kernels *kn, float *dst, const float *b, size_t b_ld, bool b_rows, size_t n, size_t k);
void ar__gemm_packed(const ar_kernels *kn, float *c, size_t c_ld, const float *left, const float *right, size_t m, size_t n, size_t k,
                     bool accumulate);

/* y[n] = W[n, k] x, one row: decoding.  Not bit-equal to the tiles. */
void ar__gemv(const ar_runtime *rt, float *y, const float *x, const void *w, ar_dtype t, size_t n, size_t k);

#endif
