/* Matrix products behind one seam.
 *
 *     C[m, n] (+)= A[m, k] · B        A, C f32; B any weight dtype, stored [n][k] ("rows of W", forward) or [k][n]
 *
 * or, in full, what a linear with its pairs asks for in one pass over C:
 *
 *     C (+)= A · B  +  for each term: rows first..last of C += A_t · B_t  +  bias
 *
 * Every backend cuts the product into tiles of a fixed shape and sums over k in one fixed order, so a row of C has
 * the same bits whatever m, the threads, or the rows beside it.  The reference is the definition. */
#ifndef AR_KERN_GEMM_H
#define AR_KERN_GEMM_H

#include "alphar/runtime.h"
#include "kern/dtype.h"
#include "kern/kernels.h"

enum {
    AR_GEMM_BACKENDS = 6,
    AR_GEMM_KC = 512,              /* a slice of k; a multiple of every dtype's block */
    AR_GEMM_NARROW = 64,           /* a gradient with a side of so many at most is summed slice by slice (gemm_outer.c) */
    AR_GEMM_NC = 256,              /* most columns in one thread's job */
    AR_GEMM_LEFT_BYTES = 16 << 20, /* packed rows of A, shared by the threads; touched as needed */
    AR_GEMM_RIGHT_BYTES = AR_GEMM_NC * AR_GEMM_KC * 4, /* a thread's packed block of B, and as much again for a copy of it */
    AR_GEMM_RIGHT_FLOATS = 2 * AR_GEMM_NC * AR_GEMM_KC /* both */
};

/* More that is added to C in the same pass: a pair, forward [X | su]·[W ; B]^T, backward [dY | du]·[W ; A].
 * Each term is summed over its own k and then added, so that a row has the same bits however the rows are segmented. */
typedef struct ar_gemm_term {
    size_t first, last; /* the rows of C that it belongs to */
    size_t k;
    const float *a; /* [last - first, k], dense rows of a_ld elements */
    size_t a_ld;
    const void *b; /* as in ar_gemm */
    ar_dtype b_type;
    size_t b_ld;
    bool b_rows;
} ar_gemm_term;

/* Rows first..last of C times a number. */
typedef struct ar_gemm_scale {
    size_t first, last;
    float by;
} ar_gemm_scale;

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
    /* What follows may be left zero. */
    bool is_weight; /* B is a weight of the base: the runtime's `compute` decides the arithmetic; else f32 */
    bool is_pair;   /* B is A or B of a pair, f32, and the left operand one that also meets a weight: under bf16 it is rounded as there, B
                       keeps 16 bits (panels.h) */
    const ar_gemm_term *terms; /* added in this order, always in f32 */
    size_t term_count;
    const float *bias;           /* [n], added last */
    const ar_gemm_scale *scales; /* C = scale · (A · B) by rows: neither accumulate, terms nor bias then; NULL: none */
    size_t scale_count;
    bool after; /* in a group: starts when all before it are done (its terms read what they wrote) */
} ar_gemm;

/* A backend either runs plain products (no terms, bias, scale: the seam does those), or says on which panels the packed
 * product is to run. */
struct ar_panels;
typedef struct ar_gemm_backend {
    const char *name;
    bool (*accepts)(const ar_runtime *rt, const ar_gemm *g);
    void (*run)(const ar_runtime *rt, const ar_gemm *g);
    struct ar_panels (*panels)(const ar_runtime *rt, const ar_gemm *g); /* NULL: run */
    size_t slice; /* of k in f32, each summed from zero and then added; 0: all of it; of packed products ar__packed_slice */
} ar_gemm_backend;

extern const ar_gemm_backend ar__gemm_matrix, ar__gemm_bf16, ar__gemm_own, ar__gemm_openblas, ar__gemm_reference;

void ar__openblas_prepare(void); /* one thread where that can only be said for the process; else see kern/alone.h */

/* Whether the operands are to be rounded to bf16, of a pair's the left alone (sums stay f32). */
bool ar__gemm_in_bf16(const ar_runtime *rt, const ar_gemm *g);

/* The first backend that accepts the product. */
const ar_gemm_backend *ar__gemm_choose(const ar_runtime *rt, const ar_gemm *g);
/* Runs the product on it, with the runtime's threads. */
void ar__gemm(const ar_runtime *rt, const ar_gemm *g);

/* Several products of one left operand (same m, k, a, a_row, a_col): q, k, v or gate, up, and the A of their pairs.
 * A is packed once, the columns of all are shared out together.  Same bits as one by one.  A linear with its pair:
 *
 *     forward    { su = scale X·A^T }  { Y = X·W^T, terms {su, B rows}, bias, after }
 *     backward   { du = scale dY·B }   { dX (+)= dY·W, terms {du, A not rows}, after }                       */
void ar__gemm_group(const ar_runtime *rt, const ar_gemm *g, size_t count);

/* The two directions of a product with a row-major weight [n, k], filled in for the calls above. */
ar_gemm ar__gemm_forward(float *y, const float *x, const void *w, ar_dtype t, size_t m, size_t n, size_t k);
ar_gemm ar__gemm_backward(float *dx, const float *dy, const void *w, ar_dtype t, size_t m, size_t n, size_t k);

/* Y[m, n] (+)= X[m, k] · W^T, W stored [n, k]; and dX[m, k] (+)= dY[m, n] · W.  Dense rows. */
void ar__gemm_xwt(const ar_runtime *rt, float *y, const float *x, const void *w, ar_dtype t, size_t m, size_t n, size_t k, bool accumulate);
void ar__gemm_dyw(const ar_runtime *rt, float *dx, const float *dy, const void *w, ar_dtype t, size_t m, size_t n, size_t k,
                  bool accumulate);
/* dW[n, k] += dY[., n]^T · X[., k] over the rows of each sample, one after the other, in f32.  start: samples + 1 offsets; dY and X begin
 * at the first; their rows are dy_ld and x_ld elements apart. */
void ar__gemm_dytx(const ar_runtime *rt, float *dw, const float *dy, size_t dy_ld, const float *x, size_t x_ld, const size_t *start,
                   size_t samples, size_t n, size_t k);

/* Of a sample's rows, how many an element of dW is summed over from zero, and then added: AR_GEMM_KC or more. */
size_t ar__gemm_dytx_slice(const ar_runtime *rt, size_t rows, size_t n, size_t k);

/* y[rows, n] (+)= x[rows, k] W[n, k]^T for few rows: decoding.  Not bit-equal to the tiles. */
typedef struct ar_gemv {
    float *y;
    const void *w;
    ar_dtype type;
    size_t n;
    bool accumulate;
} ar_gemv;

/* Several with the same x. */
void ar__gemv(const ar_runtime *rt, const ar_gemv *v, size_t count, const float *x, size_t rows, size_t k);

#endif
