/* Linear algebra of low-rank updates, over BLAS and LAPACK: what changing adapters needs.
 *
 *     update = B · A        A [r, n] and B [m, r], f32, row-major, as adapters hold them; arithmetic in double
 *
 * Large operands are cut into blocks of one fixed shape, each worked on by one thread, and sums are added in block order:
 * no result depends on the number of threads.  A runtime is asked for because it also keeps BLAS on one thread.
 * Messages name no site: callers put it in front (ar__fail_at). */
#ifndef AR_OPS_LINALG_H
#define AR_OPS_LINALG_H

#include <stddef.h>
#include <stdint.h>

#include "kern/runtime.h"

/* ---- Gram matrices: everything about ‖BA‖ without a dense product ---------------------------------------------- */
/* g[r, r] = A Aᵀ, and Bᵀ B.  Errors: AR_ERR_NUMERIC where the factor holds NaN or infinity. */
ar_status ar__gram_rows(double *g, const ar_runtime *rt, const float *a, size_t r, size_t n, ar_error *err);
ar_status ar__gram_columns(double *g, const ar_runtime *rt, const float *b, size_t m, size_t r, ar_error *err);
/* g[r1, r2] = A₁ A₂ᵀ, and B₁ᵀ B₂. */
ar_status ar__cross_rows(double *g, const ar_runtime *rt, const float *a1, size_t r1, const float *a2, size_t r2, size_t n, ar_error *err);
ar_status ar__cross_columns(double *g, const ar_runtime *rt, const float *b1, size_t r1, const float *b2, size_t r2, size_t m,
                            ar_error *err);

/* ⟨B₁A₁, B₂A₂⟩ = Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ), from the crosses [r1, r2]; with one pair's Grams ‖BA‖², which is never negative. */
double ar__update_dot(const double *rows, const double *columns, size_t r1, size_t r2);
double ar__update_norm2(const double *rows, const double *columns, size_t r);
/* sigma[r]: the singular values of BA, descending, from its Grams A Aᵀ and Bᵀ B.  Good to about 1e-7 ‖B‖‖A‖: enough for
 * ranks and shares of energy, not for the last digits of the smallest. */
ar_status ar__update_spectrum(double *sigma, const double *rows, const double *columns, size_t r, ar_error *err);

/* ---- which rank ------------------------------------------------------------------------------------------------ */
/* The smallest rank that satisfies all that is asked, but never more than `rank`, and at least 1. */
typedef struct ar_rank_rule {
    size_t rank;      /* 0: no cap */
    double energy;    /* share of the squared Frobenius norm to keep; 0: not asked */
    double max_error; /* relative Frobenius error to stay within; 0: not asked */
} ar_rank_rule;

/* sigma[count] descending; rest: squared norm outside of them. */
size_t ar__rank_for(const ar_rank_rule *rule, const double *sigma, size_t count, double rest);
/* Share of the squared norm beyond the first `rank`; 0 where there is nothing at all. */
double ar__lost_energy(const double *sigma, size_t count, double rest, size_t rank);

/* ---- singular value decompositions ----------------------------------------------------------------------------- */
/* U √Σ and √Σ Vᵀ: the singular values are split evenly, so that neither factor is out of proportion. */
typedef struct ar_low_rank {
    size_t rank;   /* of the factors */
    float *b, *a;  /* [m, rank], [rank, n] */
    size_t count;  /* singular values known, descending; ≥ rank */
    double *sigma; /* [count] */
    double rest;   /* squared norm outside of sigma */
} ar_low_rank;
void ar__low_rank_release(ar_low_rank *x); /* safe on a zeroed or half-built one */

/* The best approximation of B·A by rule, any r, by QR of both factors and an SVD of the core; (m + n) r doubles.
 * sigma has min(m, n, r) values.  Released on failure. */
ar_status ar__low_rank_svd(ar_low_rank *out, const ar_runtime *rt, const float *b, const float *a, size_t m, size_t r, size_t n,
                           const ar_rank_rule *rule, ar_error *err);

/* A dense matrix [m, n], in memory or made when it is asked for. */
typedef struct ar_dense {
    size_t m, n;
    const float *data; /* NULL: rows makes them */
    /* Fills dst[count, n] with rows [row0, row0 + count).  Called with blocks in order, in several passes. */
    ar_status (*rows)(void *user, float *dst, size_t row0, size_t count, ar_error *err);
    void *user;
} ar_dense;

/* The best approximation of a dense matrix by rule: its Frobenius error is within 1 + 1e-5 of the smallest there is.
 * Exact for a small side; otherwise block Lanczos from a start that seed decides.  Without rank in the rule the rank
 * grows until energy and error are satisfied.  sigma has the singular values that were computed. */
ar_status ar__top_svd(ar_low_rank *out, const ar_runtime *rt, const ar_dense *w, const ar_rank_rule *rule, uint64_t seed, ar_error *err);

#endif
