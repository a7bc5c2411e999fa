/* Rotary position embedding (arXiv 2104.09864): with D what is turned of a head, its first elements, position p and i < D/2, the i-th pair
 * is turned by the angle p * inv_freq_i and multiplied by the table's scale.  A pair is (x_i, x_{i+D/2}), Hugging Face's usual halves, or
 * neighbours, (x_2i, x_2i+1).
 *
 * Angles are formed in f32 (p times an f32 frequency), as the reference does: at long positions that rounding is part
 * of the model.  Backward turns the other way. */
#ifndef AR_OPS_ROPE_H
#define AR_OPS_ROPE_H

#include "kern/runtime.h"
#include "ops/rows.h"

/* cos, sin [positions, half] for positions from 0. */
typedef struct ar_rope {
    float *cos, *sin;
    float *gain;                  /* [positions] what q is multiplied by beside; NULL: 1 */
    size_t positions, half, head; /* half: D / 2; head: all elements of one */
    bool neighbours;
    float *far_cos, *far_sin; /* the same for samples that are far (longrope) */
    const bool *far;          /* [samples]; NULL: none is */
} ar_rope;

/* Fills the table's memory (given) from `half` frequencies; both functions are multiplied by scale (yarn). */
typedef void ar_rope_fill_fn(const ar_runtime *rt, ar_rope *t, const float *inv_freq, float scale);

/* y = rotate(x), both [rows, heads, head]; the first row of each sample is at past[sample] (NULL: 0). y may be x.
 * direction +1: forward, -1: backward.  query: x is q, or its gradient. */
typedef void ar_rope_apply_fn(const ar_runtime *rt, float *y, const float *x, const ar_rope *t, const ar_rows *rows, const size_t *past,
                              size_t heads, int direction, bool query);

#endif
