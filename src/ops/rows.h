/* What a batch looks like to the operators: rows of tokens, cut into samples, cut into segments.
 *
 *   rows     | s0 s0 s0 | s1 s1 | s2 s2 s2 s2 | s3 s3 |        every token of every sample, no padding
 *   samples  start[0]   start[1] start[2]      start[3]  = rows
 *   segments |<--- pairs P0 -->|<----- pairs P1 ------>|        each with its own adapter (or none)
 *
 * Sums over tokens (dA, dB, loss, biases) are formed per sample and added in sample order: the bits of a step depend
 * neither on the threads nor on how the samples were cut into micro-batches. */
#ifndef AR_OPS_ROWS_H
#define AR_OPS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ar_pair_op;

enum { AR_SEGMENTS = 16 }; /* most in one batch: who has more makes several batches */

typedef struct ar_segment {
    size_t first, last;             /* samples [first, last) */
    const struct ar_pair_op *pairs; /* by site index; an entry with rank 0 is no pair; NULL: the base alone */
} ar_segment;

typedef struct ar_rows {
    size_t count; /* tokens */
    size_t samples;
    const size_t *start;    /* samples + 1 offsets */
    const size_t *position; /* of each row in its sample, where rows were left out; NULL: 0, 1, 2, … in each */
    bool decoding;          /* samples of one row each may take the vector path: faster, other rounding */
    bool some;              /* of samples of one row each, those of some were left out: they still may */
    const uint64_t *key;    /* per sample: its place in the training stream, for dropout; NULL outside training */
    const ar_segment *segments;
    size_t segment_count;
    /* Where gradients are to be kept apart, what slice j of sample s adds to one is added slot[s] + j slots of slot_stride floats behind it
     * instead; a slice is AR_GEMM_KC rows or more, and what a sample adds as a whole goes to the first of its slots.  [samples + 1]; NULL:
     * all is added.  Operators under ops/cpu have it: the sum is what is defined. */
    const size_t *slot;
    ptrdiff_t slot_stride;
    /* The same for dscale: sample s writes what it adds dscale_stride · (dscale_first + s) numbers behind it; stride 0: all is added. */
    size_t dscale_first, dscale_stride;
} ar_rows;

/* Where what a sample adds to a gradient as a whole is added. */
static inline float *ar__slot_of(float *grad, const ar_rows *rows, size_t sample) {
    return rows->slot ? grad + (ptrdiff_t)rows->slot[sample] * rows->slot_stride : grad;
}

#endif
