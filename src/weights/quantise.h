/* A weight in fewer bits: what `train --quantize` makes of a folder's matrices. */
#ifndef AR_WEIGHTS_QUANTISE_H
#define AR_WEIGHTS_QUANTISE_H

#include <stdbool.h>
#include <stddef.h>

#include "alphar/error.h"
#include "kern/runtime.h"

/* How a matrix is to be stored. */
typedef struct ar_quantisation {
    ar_dtype type;
    bool twice; /* NF4, its scales in 8 bits */
} ar_quantisation;

/* "q8_0", "q4_k", "nf4", "nf4-dq", …; fails naming those that there are. */
ar_status ar__quantisation_read(ar_quantisation *out, const char *name, ar_error *err);
/* The type for a matrix that was of type `from`: NF4 reads again in what it was made from. */
ar_dtype ar__quantisation_type(const ar_quantisation *q, ar_dtype from);

/* Of a row of W and what it reads as in fewer bits: sums of W² and of (W − Q(W))². */
typedef struct ar_rounding {
    double whole, lost;
} ar_rounding;
ar_rounding ar__rounding_of(const float *w, const float *q, size_t n);

/* [rows, cols] of any type with to_f32 into `to` (cols a multiple of its block): *noise = ‖W − Q(W)‖_F / ‖W‖_F, 0 of a W of zeros.  The
 * same bytes and number for any number of threads. */
ar_status ar__quantise(const ar_runtime *rt, void *dst, double *noise, ar_dtype to, bool twice, const void *src, ar_dtype from, size_t rows,
                       size_t cols, ar_error *err);

#endif
