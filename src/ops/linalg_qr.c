/* Tall QR, products and the small SVD in double, column-major.  See the header. */
#include "ops/linalg_qr.h"

#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "kern/alone.h"

enum { LEAF_ROWS = 512, COLUMNS = 16, FACTOR_ROWS = 256 };

static ar_status lapack_failed(const char *what, int info, ar_error *err) {
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR) return ar__fail_memory(err, what);
    return ar__fail(err, AR_ERR_NUMERIC, "LAPACK %s says %d, wanted 0 (are all numbers finite?)", what, info);
}

ar_status ar__check_sizes(size_t m, size_t n, size_t r, ar_error *err) {
    if (m > INT_MAX || n > INT_MAX || r > INT_MAX / 64 || m == 0 || n == 0 || r == 0)
        return ar__fail(err, AR_ERR_VALUE, "matrix of %zu by %zu and rank %zu, wanted sizes from 1 to %d", m, n, r, INT_MAX / 64);
    return AR_OK;
}

void ar__dgemm(const ar_runtime *rt, const ar_dgemm *g) {
    size_t jobs = (g->q + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for num_threads(ar__team(rt, g->p * g->q * g->k / 16)) schedule(static)
    for (size_t job = 0; job < jobs; job++) {
        size_t j = job * COLUMNS;
        AR_ALONE(cblas_dgemm(CblasColMajor, g->transposed ? CblasTrans : CblasNoTrans, CblasNoTrans, (int)g->p,
                             (int)ar__min(COLUMNS, g->q - j), (int)g->k, g->alpha, g->x, (int)g->ldx, g->y + j * g->ldy, (int)g->ldy,
                             g->beta, g->c + j * g->ldc, (int)g->ldc));
    }
}

/* QR of x[m, r] in place; the triangle goes to upper (leading dimension ld). */
static int qr_small(double *x, double *upper, size_t ld, double *tau, size_t m, size_t r) {
    int info;
    AR_ALONE(info = LAPACKE_dgeqrf(LAPACK_COL_MAJOR, (int)m, (int)r, x, (int)m, tau));
    if (info) return info;
    for (size_t j = 0; upper && j < r; j++)
        for (size_t i = 0; i < r; i++) upper[j * ld + i] = i <= j ? x[j * m + i] : 0.0;
    AR_ALONE(info = LAPACKE_dorgqr(LAPACK_COL_MAJOR, (int)m, (int)r, (int)r, x, (int)m, tau));
    return info;
}

static void copy_columns(double *dst, size_t dst_ld, const double *src, size_t src_ld, size_t rows, size_t columns) {
    for (size_t j = 0; j < columns; j++) memcpy(dst + j * dst_ld, src + j * src_ld, rows * sizeof *dst);
}

typedef struct leaves {
    double *q, *stack; /* [m, r]; the triangles, [count * r, r] */
    size_t m, r, count;
} leaves;

static size_t leaf_start(const leaves *t, size_t i) { return t->m * i / t->count; }

static int decompose_leaf(const leaves *t, size_t i) {
    size_t at = leaf_start(t, i), rows = leaf_start(t, i + 1) - at;
    double *work = ar__alloc(rows * t->r + t->r, sizeof *work);
    if (!work) return LAPACK_WORK_MEMORY_ERROR;
    copy_columns(work, rows, t->q + at, t->m, rows, t->r);
    int info = qr_small(work, t->stack + i * t->r, t->count * t->r, work + rows * t->r, rows, t->r);
    copy_columns(t->q + at, t->m, work, rows, rows, t->r);
    free(work);
    return info;
}

/* Q of the leaf times its rows of the stack's Q. */
static int join_leaf(const leaves *t, size_t i) {
    size_t at = leaf_start(t, i), rows = leaf_start(t, i + 1) - at;
    double *work = ar__alloc(rows * t->r, sizeof *work);
    if (!work) return LAPACK_WORK_MEMORY_ERROR;
    AR_ALONE(cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)t->r, (int)t->r, 1.0, t->q + at, (int)t->m,
                         t->stack + i * t->r, (int)(t->count * t->r), 0.0, work, (int)rows));
    copy_columns(t->q + at, t->m, work, rows, rows, t->r);
    free(work);
    return 0;
}

static ar_status for_leaves(const leaves *t, const ar_runtime *rt, int (*work)(const leaves *, size_t), ar_error *err) {
    int failed = 0;
#pragma omp parallel for num_threads(ar__team(rt, t->m * t->r * t->r)) schedule(static) reduction(min : failed)
    for (size_t i = 0; i < t->count; i++) {
        int info = work(t, i);
        failed = info < failed ? info : failed;
    }
    return failed ? lapack_failed("QR", failed, err) : AR_OK;
}

static ar_status qr_at_once(double *q, double *upper, size_t m, size_t r, ar_error *err) {
    double *tau = ar__alloc(r, sizeof *tau);
    if (!tau) return ar__fail_memory(err, "QR");
    int info = qr_small(q, upper, r, tau, m, r);
    free(tau);
    return info ? lapack_failed("QR", info, err) : AR_OK;
}

ar_status ar__qr(double *q, double *upper, const ar_runtime *rt, size_t m, size_t r, ar_error *err) {
    leaves t = {.q = q, .m = m, .r = r, .count = m / ar__max(LEAF_ROWS, 4 * r)};
    if (t.count < 2) return qr_at_once(q, upper, m, r, err);
    t.stack = ar__alloc(t.count * r, r * sizeof *t.stack);
    if (!t.stack) return ar__fail_memory(err, "QR");
    ar_status s = for_leaves(&t, rt, decompose_leaf, err);
    if (!s) s = ar__qr(t.stack, upper, rt, t.count * r, r, err);
    if (!s) s = for_leaves(&t, rt, join_leaf, err);
    free(t.stack);
    return s;
}

ar_status ar__svd(double *u, double *sigma, double *vt, double *x, size_t p, size_t q, ar_error *err) {
    int info;
    AR_ALONE(info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', (int)p, (int)q, x, (int)p, sigma, u, (int)p, vt, (int)ar__min(p, q)));
    return info ? lapack_failed("dgesdd", info, err) : AR_OK;
}

static void round_rows(float *out, size_t row, size_t column, const double *x, size_t ld, size_t rows, size_t k) {
    for (size_t j = 0; j < k; j++)
        for (size_t i = 0; i < rows; i++) out[i * row + j * column] = (float)x[j * ld + i];
}

ar_status ar__write_factor(float *out, size_t row, size_t column, const ar_runtime *rt, const double *q, size_t m, size_t inner,
                           const double *core, size_t k, ar_error *err) {
    if (!q) {
        round_rows(out, row, column, core, m, m, k);
        return AR_OK;
    }
    bool failed = false;
#pragma omp parallel for num_threads(ar__team(rt, m *inner *k)) schedule(static) reduction(|| : failed)
    for (size_t i = 0; i < m; i += FACTOR_ROWS) {
        size_t rows = ar__min(FACTOR_ROWS, m - i);
        double *part = ar__alloc(rows * k, sizeof *part);
        failed = failed || !part;
        if (!part) continue;
        AR_ALONE(cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)k, (int)inner, 1.0, q + i, (int)m, core, (int)inner,
                             0.0, part, (int)rows));
        round_rows(out + i * row, row, column, part, rows, rows, k);
        free(part);
    }
    return failed ? ar__fail_memory(err, "factor") : AR_OK;
}
