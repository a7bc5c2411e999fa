/* The figures of one site: norms, singular values, the weight that it sits on. */
#ifndef AR_ADAPTER_ALGEBRA_FIGURES_H
#define AR_ADAPTER_ALGEBRA_FIGURES_H

#include "adapter/adapter.h"
#include "kern/runtime.h"
#include "weights/base.h"

typedef struct ar_norms {
    double a, b, update; /* ‖A‖_F, ‖B‖_F, ‖BA‖_F: without s */
    double largest;      /* ‖BA‖₂ */
    int rank_90, rank_99;
} ar_norms;

/* From the r×r Gram matrices A Aᵀ and Bᵀ B, never a dense product.  Factors are loaded, and unloaded as they were found.
 * singular [rank]: the singular values of B·A, falling; NULL: not wanted. */
ar_status ar__pair_norms(ar_norms *out, double *singular, const ar_runtime *rt, const ar_adapter *ad, ar_pair *p, ar_error *err);

/* ‖W‖_F of the pair's site.  Errors: AR_ERR_MISMATCH where the base has no such weight, or one of another shape. */
ar_status ar__site_weight_norm(double *out, const ar_base *base, const ar_pair *p, ar_error *err);

#endif
