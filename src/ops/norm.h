/* RMSNorm (arXiv 1910.07467) over rows of width n:  y = w * x * rstd,  rstd = 1 / sqrt(mean(x^2) + eps).
 *
 * Backward:  dx = rstd * (w dy - x * rstd^2 * mean(w dy x));   dw += sum over rows of dy * x * rstd. */
#ifndef AR_OPS_NORM_H
#define AR_OPS_NORM_H

#include "kern/runtime.h"
#include "ops/rows.h"

typedef struct ar_norm {
    const float *w; /* [n] f32 */
    float *dw;      /* NULL: frozen */
    float eps;
} ar_norm;

/* rstd [rows], kept for backward; NULL if not wanted.  y may be x. */
void ar__norm_fwd(const ar_runtime *rt, float *y, float *rstd, const ar_norm *norm, const float *x, size_t rows, size_t n);

/* The same after sum += add, in one pass. */
void ar__norm_fwd_add(const ar_runtime *rt, float *y, float *rstd, const ar_norm *norm, float *sum, const float *add, size_t rows,
                      size_t n);
/* y again, from the rstd that was kept. */
void ar__norm_again(const ar_runtime *rt, float *y, const float *rstd, const ar_norm *norm, const float *x, size_t rows, size_t n);

/* dx (+)= the gradient of x.  Each row of the batch holds `per_row` rows of the norm (heads, for q/k norms). */
void ar__norm_bwd(const ar_runtime *rt, float *dx, bool accumulate, const float *dy, const ar_norm *norm, const float *x, const float *rstd,
                  const ar_rows *rows, size_t per_row, size_t n);

#endif
