/* Choice of rank, and the SVD of an update that is given by its factors:
 *
 *     B = Q_B R_B,  Aᵀ = Q_A R_A,  R_B R_Aᵀ = U Σ Vᵀ:      BA = (Q_B U) Σ (Q_A V)ᵀ
 *
 * A factor with fewer rows than the rank is its own R, with Q = 1. */
#include "ops/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "ops/linalg_qr.h"

/* Shares of energy below this are the rounding of f32 factors: "all of it" may leave them out. */
static const double energy_slack = 1e-14;

/* Summed from the small end, so that a tail of 1e-20 is seen beside a head of 1. */
double ar__lost_energy(const double *sigma, size_t count, double rest, size_t rank) {
    double tail = rest > 0.0 ? rest : 0.0, head = 0.0;
    for (size_t i = count; i-- > rank;) tail += sigma[i] * sigma[i];
    for (size_t i = ar__min(rank, count); i-- > 0;) head += sigma[i] * sigma[i];
    return tail > 0.0 ? tail / (tail + head) : 0.0;
}

size_t ar__rank_for(const ar_rank_rule *rule, const double *sigma, size_t count, double rest) {
    size_t cap = rule->rank ? ar__min(rule->rank, count) : count;
    double allowed = 1.0;
    if (rule->energy <= 0.0 && rule->max_error <= 0.0) return cap;
    if (rule->energy > 0.0) allowed = 1.0 - rule->energy;
    if (rule->max_error > 0.0) allowed = fmin(allowed, rule->max_error * rule->max_error);
    double tail = rest > 0.0 ? rest : 0.0, total = tail;
    for (size_t i = count; i-- > 0;) total += sigma[i] * sigma[i];
    size_t rank = count; /* drop from the small end while what is lost stays allowed */
    while (rank > 1 && tail + sigma[rank - 1] * sigma[rank - 1] <= (allowed + energy_slack) * total)
        rank--, tail += sigma[rank] * sigma[rank];
    return ar__min(rank, cap);
}

void ar__low_rank_release(ar_low_rank *x) {
    free(x->b);
    free(x->a);
    free(x->sigma);
    *x = (ar_low_rank){0};
}

/* One factor as Q [m, rows] and R [rows, r], column-major; q is NULL where it is the identity. */
typedef struct side {
    double *q, *upper;
    size_t rows;
} side;

static void side_release(side *x) {
    free(x->q);
    free(x->upper);
}

/* x: [m, r] with element (i, j) at i * row + j * column. */
static ar_status side_make(side *out, const ar_runtime *rt, const float *x, size_t row, size_t column, size_t m, size_t r, ar_error *err) {
    double *wide = ar__alloc(m, r * sizeof *wide);
    bool bad = false;
    if (!wide) return ar__fail_memory(err, "decomposition of an update");
#pragma omp parallel for num_threads(ar__team(rt, m *r)) schedule(static) reduction(|| : bad)
    for (size_t j = 0; j < r; j++)
        for (size_t i = 0; i < m; i++) {
            wide[j * m + i] = (double)x[i * row + j * column];
            bad = bad || !isfinite(wide[j * m + i]);
        }
    out->rows = ar__min(m, r);
    if (m < r) {
        out->upper = wide;
    } else {
        out->q = wide;
        out->upper = ar__alloc(r, r * sizeof *out->upper);
        if (!out->upper) return ar__fail_memory(err, "decomposition of an update");
    }
    if (bad) return ar__fail(err, AR_ERR_NUMERIC, "a factor holds NaN or infinity, wanted finite numbers");
    return m < r ? AR_OK : ar__qr(out->q, out->upper, rt, m, r, err);
}

/* The first k columns of x (element (i, j) at i * row + j * column), times √σ, column-major. */
static double *scaled_columns(const double *x, size_t row, size_t column, size_t n, size_t k, const double *sigma) {
    double *out = ar__alloc(n, k * sizeof *out);
    for (size_t j = 0; out && j < k; j++)
        for (size_t i = 0; i < n; i++) out[j * n + i] = x[i * row + j * column] * sqrt(sigma[j]);
    return out;
}

static ar_status write_factors(ar_low_rank *out, const ar_runtime *rt, const side *b, const side *a, const double *u, const double *vt,
                               size_t m, size_t n, ar_error *err) {
    size_t k = out->rank;
    out->b = ar__alloc(m, k * sizeof *out->b);
    out->a = ar__alloc(n, k * sizeof *out->a);
    double *left = scaled_columns(u, 1, b->rows, b->rows, k, out->sigma),
           *right = scaled_columns(vt, out->count, 1, a->rows, k, out->sigma);
    ar_status s = out->b && out->a && left && right ? AR_OK : ar__fail_memory(err, "factors of an update");
    if (!s) s = ar__write_factor(out->b, k, 1, rt, b->q, m, b->rows, left, k, err);
    if (!s) s = ar__write_factor(out->a, 1, n, rt, a->q, n, a->rows, right, k, err);
    free(left);
    free(right);
    return s;
}

static ar_status decompose(ar_low_rank *out, const ar_runtime *rt, const side *b, const side *a, size_t m, size_t r, size_t n,
                           const ar_rank_rule *rule, ar_error *err) {
    size_t p = b->rows, q = a->rows, count = ar__min(p, q);
    double *turned = ar__alloc(r, q * sizeof *turned), *core = ar__alloc(p, q * sizeof *core);
    double *u = ar__alloc(p, count * sizeof *u), *vt = ar__alloc(count, q * sizeof *vt);
    out->sigma = ar__alloc(count, sizeof *out->sigma);
    out->count = count;
    ar_status s = turned && core && u && vt && out->sigma ? AR_OK : ar__fail_memory(err, "decomposition of an update");
    if (!s) {
        for (size_t i = 0; i < q; i++)
            for (size_t j = 0; j < r; j++) turned[i * r + j] = a->upper[j * q + i];
        ar__dgemm(rt, &(ar_dgemm){p, q, r, false, 1.0, 0.0, b->upper, turned, core, p, r, p});
        s = ar__svd(u, out->sigma, vt, core, p, q, err);
    }
    if (!s) {
        out->rank = ar__rank_for(rule, out->sigma, count, 0.0);
        s = write_factors(out, rt, b, a, u, vt, m, n, err);
    }
    free(turned);
    free(core);
    free(u);
    free(vt);
    return s;
}

ar_status ar__low_rank_svd(ar_low_rank *out, const ar_runtime *rt, const float *b, const float *a, size_t m, size_t r, size_t n,
                           const ar_rank_rule *rule, ar_error *err) {
    side left = {0}, right = {0};
    *out = (ar_low_rank){0};
    ar_status s;
    if (!(s = ar__check_sizes(m, n, r, err)) && !(s = side_make(&left, rt, b, r, 1, m, r, err)) &&
        !(s = side_make(&right, rt, a, 1, n, n, r, err)))
        s = decompose(out, rt, &left, &right, m, r, n, rule, err);
    side_release(&left);
    side_release(&right);
    if (s) ar__low_rank_release(out);
    return s;
}
