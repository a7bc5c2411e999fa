/* Gram and cross matrices of factors, and what they say of the update.
 *
 *   rows:     G = Σ over blocks of columns  X_b Y_bᵀ        columns:  G = Σ over blocks of rows  X_bᵀ Y_b
 *
 * The long side is cut into blocks of BLOCK, the blocks into a fixed number of runs.  A run is one thread's: it widens
 * its blocks to double and adds their products up in order; the runs' sums are added in order. */
#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kern/alone.h"
#include "ops/linalg.h"

enum { BLOCK = 256, RUNS = 8, RUNS_LARGE = 2, LARGE = 1 << 16 };

typedef struct gram_job {
    const float *x, *y; /* the same: symmetric */
    size_t p, q, len;   /* G is [p, q]; len is the long side */
    bool by_rows;       /* X [p, len]; else X [len, p] */
} gram_job;

/* One block of X in double: [p][BLOCK], or [count][p]. */
static void widen(double *dst, const float *x, size_t p, const gram_job *g, size_t at, size_t count) {
    if (g->by_rows)
        for (size_t i = 0; i < p; i++)
            for (size_t j = 0; j < count; j++) dst[i * BLOCK + j] = (double)x[i * g->len + at + j];
    else
        for (size_t i = 0; i < count * p; i++) dst[i] = (double)x[at * p + i];
}

static void add_block(double *sum, double *wide, const gram_job *g, size_t at, size_t count) {
    int p = (int)g->p, q = (int)g->q, n = (int)count;
    CBLAS_TRANSPOSE first = g->by_rows ? CblasNoTrans : CblasTrans, second = g->by_rows ? CblasTrans : CblasNoTrans;
    widen(wide, g->x, g->p, g, at, count);
    if (g->x == g->y) {
        AR_ALONE(cblas_dsyrk(CblasRowMajor, CblasLower, first, p, n, 1.0, wide, g->by_rows ? BLOCK : p, 1.0, sum, p));
        return;
    }
    double *other = wide + g->p * BLOCK;
    widen(other, g->y, g->q, g, at, count);
    AR_ALONE(
        cblas_dgemm(CblasRowMajor, first, second, p, q, n, 1.0, wide, g->by_rows ? BLOCK : p, other, g->by_rows ? BLOCK : q, 1.0, sum, q));
}

static void mirror(double *g, size_t p) {
    for (size_t i = 0; i < p; i++)
        for (size_t j = 0; j < i; j++) g[j * p + i] = g[i * p + j];
}

static ar_status gram(double *out, const ar_runtime *rt, const gram_job *g, ar_error *err) {
    size_t cells, wide, runs = g->p * g->q > LARGE ? RUNS_LARGE : RUNS, blocks = (g->len + BLOCK - 1) / BLOCK;
    if (g->p > INT_MAX / BLOCK || g->q > INT_MAX / BLOCK || !ar__mul(&cells, g->p, g->q) || !ar__mul(&wide, g->p + g->q, BLOCK))
        return ar__fail(err, AR_ERR_VALUE, "Gram matrix: %zu by %zu, wanted ranks below %d", g->p, g->q, INT_MAX / BLOCK);
    if (runs > blocks) runs = blocks ? blocks : 1;
    double *work = ar__alloc(runs, (cells + wide) * sizeof *work);
    if (!work) return ar__fail_memory(err, "Gram matrix");
#pragma omp parallel for num_threads(ar__team(rt, cells * g->len / 64)) schedule(static)
    for (size_t run = 0; run < runs; run++) {
        double *sum = work + run * (cells + wide);
        for (size_t b = blocks * run / runs; b < blocks * (run + 1) / runs; b++)
            add_block(sum, sum + cells, g, b * BLOCK, g->len - b * BLOCK < BLOCK ? g->len - b * BLOCK : BLOCK);
    }
    memcpy(out, work, cells * sizeof *out);
    for (size_t run = 1; run < runs; run++)
        for (size_t i = 0; i < cells; i++) out[i] += work[run * (cells + wide) + i];
    free(work);
    bool symmetric = g->x == g->y;
    if (symmetric) mirror(out, g->p);
    for (size_t i = 0; i < cells; i += symmetric ? g->p + 1 : 1) /* the diagonal tells which component it is */
        if (!isfinite(out[i]))
            return ar__fail(err, AR_ERR_NUMERIC, "a factor holds NaN or infinity (component %zu), wanted finite numbers", i / g->q);
    return AR_OK;
}

ar_status ar__gram_rows(double *g, const ar_runtime *rt, const float *a, size_t r, size_t n, ar_error *err) {
    return gram(g, rt, &(gram_job){a, a, r, r, n, true}, err);
}

ar_status ar__gram_columns(double *g, const ar_runtime *rt, const float *b, size_t m, size_t r, ar_error *err) {
    return gram(g, rt, &(gram_job){b, b, r, r, m, false}, err);
}

ar_status ar__cross_rows(double *g, const ar_runtime *rt, const float *a1, size_t r1, const float *a2, size_t r2, size_t n, ar_error *err) {
    return gram(g, rt, &(gram_job){a1, a2, r1, r2, n, true}, err);
}

ar_status ar__cross_columns(double *g, const ar_runtime *rt, const float *b1, size_t r1, const float *b2, size_t r2, size_t m,
                            ar_error *err) {
    return gram(g, rt, &(gram_job){b1, b2, r1, r2, m, false}, err);
}

double ar__update_dot(const double *rows, const double *columns, size_t r1, size_t r2) {
    double sum = 0.0;
    for (size_t i = 0; i < r1; i++) {
        double part = 0.0;
        for (size_t j = 0; j < r2; j++) part += rows[i * r2 + j] * columns[i * r2 + j];
        sum += part;
    }
    return sum;
}

double ar__update_norm2(const double *rows, const double *columns, size_t r) {
    double sum = ar__update_dot(rows, columns, r, r);
    return sum > 0.0 ? sum : 0.0; /* rounding may leave a trifle below zero where the factors cancel */
}

/* root[r, rank] (column-major) with root rootᵀ = G: Cholesky with pivots, which stops where a rank-deficient G ends.  G is
 * first scaled to a unit diagonal, so that components of very different size are all seen. */
static ar_status root_of(double *root, size_t *rank, double *h, const double *g, size_t r, int *pivot, ar_error *err) {
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < r; j++) {
            double d = sqrt(g[i * r + i]) * sqrt(g[j * r + j]);
            h[j * r + i] = d > 0.0 ? g[i * r + j] / d : 0.0;
        }
    int found = 0;
    int info;
    AR_ALONE(info = LAPACKE_dpstrf(LAPACK_COL_MAJOR, 'L', (int)r, h, (int)r, pivot, &found, -1.0));
    if (info == LAPACK_WORK_MEMORY_ERROR) return ar__fail_memory(err, "Cholesky");
    if (info < 0) return ar__fail(err, AR_ERR_NUMERIC, "Cholesky of a Gram matrix: LAPACK dpstrf says %d, wanted 0", info);
    *rank = (size_t)found;
    memset(root, 0, r * r * sizeof *root);
    for (size_t j = 0; j < *rank; j++)
        for (size_t i = j; i < r; i++) {
            size_t row = (size_t)pivot[i] - 1;
            root[j * r + row] = h[j * r + i] * sqrt(g[row * r + row]);
        }
    return AR_OK;
}

/* With Bᵀ B = S_B S_Bᵀ and A Aᵀ = S_A S_Aᵀ the singular values of BA are those of S_Bᵀ S_A: nothing is squared again. */
static ar_status spectrum(double *sigma, double *work, int *pivot, const double *rows, const double *columns, size_t r, ar_error *err) {
    double *root_a = work, *root_b = work + r * r, *core = work + 2 * r * r;
    size_t rank_a, rank_b;
    ar_status s;
    if ((s = root_of(root_a, &rank_a, core, rows, r, pivot, err)) || (s = root_of(root_b, &rank_b, core, columns, r, pivot, err))) return s;
    memset(sigma, 0, r * sizeof *sigma);
    if (rank_a == 0 || rank_b == 0) return AR_OK;
    int n = (int)r, ra = (int)rank_a, rb = (int)rank_b;
    AR_ALONE(cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, rb, ra, n, 1.0, root_b, n, root_a, n, 0.0, core, rb));
    int info;
    AR_ALONE(info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', rb, ra, core, rb, sigma, NULL, 1, NULL, 1));
    if (info == LAPACK_WORK_MEMORY_ERROR) return ar__fail_memory(err, "singular values");
    if (info) return ar__fail(err, AR_ERR_NUMERIC, "singular values of an update: LAPACK dgesdd says %d, wanted 0", info);
    return AR_OK;
}

ar_status ar__update_spectrum(double *sigma, const double *rows, const double *columns, size_t r, ar_error *err) {
    size_t cells;
    double *work = ar__mul(&cells, r, r) && r <= INT_MAX ? ar__alloc(cells, 3 * sizeof *work) : NULL;
    int *pivot = ar__alloc(r, sizeof *pivot);
    ar_status s = work && pivot ? spectrum(sigma, work, pivot, rows, columns, r, err) : ar__fail_memory(err, "singular values");
    free(work);
    free(pivot);
    return s;
}
