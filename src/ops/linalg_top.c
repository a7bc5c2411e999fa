/* The best low-rank approximation of a dense matrix W [m, n], with p = min(m, n):
 *
 *   1. V [p, k], the leading eigenvectors of G = WWᵀ (or WᵀW) on the small side: from G itself where p is small,
 *      otherwise, for k of less than about p / 32, by block Lanczos;
 *   2. Z = Vᵀ W [k, q], one pass in double; QR of Zᵀ and an SVD of its triangle: Z = U Σ Rᵀ, W ≈ (V R) Σ Uᵀ.
 *
 * Step 2 is the Rayleigh-Ritz step for W itself, so that squaring in step 1 costs no digits of Σ. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/size.h"
#include "ops/linalg_dense.h"
#include "ops/linalg_qr.h"

enum {
    SMALL_SIDE = 1024, /* up to here G is formed and decomposed */
    FIRST_RANK = 32    /* where the rank has to be found */
};

/* How many of the singular values, whose squares these are, the rule wants. */
static size_t rank_of_squares(double *square, size_t count, double total, const ar_rank_rule *rule) {
    double known = 0.0;
    for (size_t i = 0; i < count; i++) known += square[i];
    for (size_t i = 0; i < count; i++) square[i] = sqrt(square[i]);
    return ar__rank_for(rule, square, count, total - known);
}

/* The leading *k vectors; *k becomes what the rule wants of them. */
static ar_status vectors_from_gram(double **out, ar_operand *o, size_t *k, const ar_rank_rule *rule, ar_error *err) {
    double *g = ar__alloc(o->p, o->p * sizeof *g), *value = ar__alloc(*k, sizeof *value);
    *out = ar__alloc(o->p, *k * sizeof **out);
    ar_status s = g && value && *out ? ar__operand_gram(g, o, err) : ar__fail_memory(err, "dense update");
    if (!s) s = ar__top_eigenpairs(value, *out, g, o->p, *k, err);
    if (!s) *k = rank_of_squares(value, *k, o->norm2, rule);
    free(g);
    free(value);
    return s;
}

static void scale_columns(double *x, size_t n, size_t k, const double *sigma) {
    for (size_t j = 0; j < k; j++)
        for (size_t i = 0; i < n; i++) x[j * n + i] *= sqrt(sigma[j]);
}

/* big[q, k] is Q with triangle = left Σ right: the factors from the two sides. */
static ar_status write_sides(ar_low_rank *out, const ar_operand *o, const double *v, const double *big, double *left, const double *right,
                             double *turned, size_t k, ar_error *err) {
    size_t rank = out->rank, n = o->w.n;
    out->b = ar__alloc(o->w.m, rank * sizeof *out->b);
    out->a = ar__alloc(n, rank * sizeof *out->a);
    if (!out->b || !out->a) return ar__fail_memory(err, "factors of a dense update");
    for (size_t j = 0; j < k; j++)
        for (size_t i = 0; i < k; i++) turned[j * k + i] = right[i * k + j];
    scale_columns(left, k, rank, out->sigma);
    scale_columns(turned, k, rank, out->sigma);
    ar_status s = ar__write_factor(out->b, rank, 1, o->rt, o->tall ? big : v, o->w.m, k, o->tall ? left : turned, rank, err);
    if (!s) s = ar__write_factor(out->a, 1, n, o->rt, o->tall ? v : big, n, k, o->tall ? turned : left, rank, err);
    return s;
}

/* Factors from k vectors of the small side. */
static ar_status finish(ar_low_rank *out, ar_operand *o, const double *v, size_t k, const ar_rank_rule *rule, ar_error *err) {
    double *big = ar__alloc(o->q, k * sizeof *big), *square = ar__alloc(4 * k, k * sizeof *square);
    double *upper = square, *left = square + k * k, *right = left + k * k, *turned = right + k * k, known = 0.0;
    out->sigma = ar__alloc(k, sizeof *out->sigma);
    out->count = k;
    ar_status s = big && square && out->sigma ? ar__operand_project_wide(big, o, v, k, err) : ar__fail_memory(err, "dense update");
    if (!s) s = ar__qr(big, upper, o->rt, o->q, k, err);
    if (!s) s = ar__svd(left, out->sigma, right, upper, k, k, err);
    if (!s) {
        for (size_t i = 0; i < k; i++) known += out->sigma[i] * out->sigma[i];
        out->rest = k < o->p && o->norm2 > known ? o->norm2 - known : 0.0;
        out->rank = ar__rank_for(rule, out->sigma, k, out->rest);
        s = write_sides(out, o, v, big, left, right, turned, k, err);
    }
    free(big);
    free(square);
    return s;
}

static bool is_satisfied(const ar_rank_rule *rule, const ar_low_rank *x) {
    double lost = ar__lost_energy(x->sigma, x->count, x->rest, x->rank);
    return lost <= 1.0 - rule->energy && (rule->max_error <= 0.0 || lost <= rule->max_error * rule->max_error);
}

/* From the leading k vectors by Lanczos, or from as many of `cap` as the rule wants where all can be had at once. */
static ar_status approximate(ar_low_rank *out, ar_operand *o, size_t *k, size_t cap, const ar_rank_rule *rule, uint64_t seed,
                             ar_error *err) {
    double *v = NULL;
    bool direct = o->p <= SMALL_SIDE || !ar__lanczos_pays(o, *k);
    size_t count = direct ? cap : *k;
    ar_status s = direct ? vectors_from_gram(&v, o, &count, rule, err) : ar__lanczos_vectors(&v, o, count, seed, err);
    if (!s) s = finish(out, o, v, count, rule, err);
    if (direct) *k = cap;
    free(v);
    return s;
}

ar_status ar__top_svd(ar_low_rank *out, const ar_runtime *rt, const ar_dense *w, const ar_rank_rule *rule, uint64_t seed, ar_error *err) {
    ar_operand o;
    *out = (ar_low_rank){0};
    ar_status s = ar__check_sizes(w->m, w->n, 1, err);
    if (!s) s = ar__operand_init(&o, rt, w, err);
    if (s) return s;
    bool grows = rule->energy > 0.0 || rule->max_error > 0.0;
    size_t cap = rule->rank ? ar__min(rule->rank, o.p) : o.p, k = grows ? ar__min(cap, FIRST_RANK) : cap;
    for (;; k = ar__min(2 * k, cap)) {
        if ((s = approximate(out, &o, &k, cap, rule, seed, err))) break;
        if (k == cap || is_satisfied(rule, out)) break;
        ar__low_rank_release(out);
    }
    ar__operand_release(&o);
    if (s) ar__low_rank_release(out);
    return s;
}
