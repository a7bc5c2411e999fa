/* The leading eigenvectors of G = WWᵀ (or WᵀW) by block Lanczos (Golub & Underwood, 1977), from l = k + 8 random vectors,
 * with every block made orthogonal to all before:
 *
 *     T = Vᵀ G V,  eigenpairs (θ, s);   G V_last − V Vᵀ G V_last = V_next C;   residual of a pair: ‖C s_last‖
 *
 * The energy still missing from the first k is at most Σ min(‖residual‖, ‖residual‖² / (θ − θ_k+1)).  It stops where that is
 * below `tolerance` of the energy that no rank-k matrix can hold (so the error is within 1 + tolerance / 2 of the best), or
 * below what f32 factors can show.  Products are f32 while their rounding costs less than that, then double.  A full basis
 * is replaced by its l best vectors and the next block, to which they stay coupled (thick restart; Wu & Simon, 2000). */
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/size.h"
#include "kern/alone.h"
#include "ops/linalg_dense.h"
#include "ops/linalg_qr.h"

enum { OVERSAMPLE = 8, BLOCKS_LEAST = 3, BLOCKS_MOST = 8, BASIS = 1024, MAX_PRODUCTS = 40 };
static const double tolerance = 2e-5;
static const double floor_energy = 1e-14; /* a relative error of 1e-7: the factors are rounded to f32 anyway */
static const double noise = 1e-5;         /* of a basis made with f32 products, as measured: far more than one product's */

/* Both ways timed, 2000 to 4096 on the small side. */
bool ar__lanczos_pays(const ar_operand *o, size_t k) { return (k + OVERSAMPLE) * 32 <= o->p; }

ar_status ar__top_eigenpairs(double *value, double *vector, double *x, size_t n, size_t count, ar_error *err) {
    double *ascending = ar__alloc(n, sizeof *ascending), *columns = ar__alloc(n, count * sizeof *columns);
    int *support = ar__alloc(n, 2 * sizeof *support), found = 0;
    ar_status s = ascending && columns && support ? AR_OK : ar__fail_memory(err, "eigenvectors");
    if (!s) {
        int info;
        AR_ALONE(info = LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', (int)n, x, (int)n, 0.0, 0.0, (int)(n - count) + 1, (int)n, 0.0,
                                       &found, ascending, columns, (int)n, support));
        if (info || (size_t)found != count)
            s = info == LAPACK_WORK_MEMORY_ERROR
                    ? ar__fail_memory(err, "eigenvectors")
                    : ar__fail(err, AR_ERR_NUMERIC, "LAPACK dsyevr says %d, wanted 0 (are all numbers finite?)", info);
    }
    for (size_t j = 0; !s && j < count; j++) {
        value[j] = ascending[count - 1 - j] > 0.0 ? ascending[count - 1 - j] : 0.0;
        memcpy(vector + j * n, columns + (count - 1 - j) * n, n * sizeof *vector);
    }
    free(ascending);
    free(columns);
    free(support);
    return s;
}

typedef struct lanczos {
    ar_operand *o;
    size_t k, l, cap, used; /* wanted; block; columns of the basis there can be, and there are without the newest block */
    double *basis;          /* [p, cap + l] */
    double *t;              /* [cap, cap], its leading [used, used] in use */
    double *image;          /* [p, l]: G times the newest block, then the next block */
    double *coupling;       /* [cap, l]: Vᵀ image; its end C of the next block */
    double *value, *vector; /* Ritz: [l], [cap, l] */
    double *work;           /* [cap, cap] or [p, l], whichever is larger */
    float *x, *z;           /* [l, p], [l, q] */
    double *wide;           /* [l, q]: not NULL once products are made in double */
} lanczos;

static void lanczos_release(lanczos *z) {
    free(z->basis);
    free(z->t);
    free(z->image);
    free(z->coupling);
    free(z->value);
    free(z->vector);
    free(z->work);
    free(z->x);
    free(z->z);
    free(z->wide);
}

static ar_status lanczos_init(lanczos *z, ar_operand *o, size_t k, uint64_t seed, ar_error *err) {
    size_t l = k + OVERSAMPLE, p = o->p, d = sizeof(double);
    size_t blocks = ar__min(BLOCKS_MOST, BASIS / l);
    size_t cap = (blocks < BLOCKS_LEAST ? BLOCKS_LEAST : blocks) * l; /* the eigenvectors of T cost cap³ at every step */
    *z = (lanczos){.o = o, .k = k, .l = l, .cap = cap};
    z->basis = ar__alloc(p, (cap + l) * d);
    z->t = ar__alloc(cap, cap * d);
    z->image = ar__alloc(p, l * d);
    z->coupling = ar__alloc(cap + l, l * d);
    z->value = ar__alloc(l, d);
    z->vector = ar__alloc(cap, l * d);
    z->work = ar__alloc(cap * cap > p * l ? cap * cap : p * l, d);
    z->x = ar__alloc(p, l * sizeof *z->x);
    z->z = ar__alloc(o->q, l * sizeof *z->z);
    if (!z->basis || !z->t || !z->image || !z->coupling || !z->value || !z->vector || !z->work || !z->x || !z->z)
        return ar__fail_memory(err, "dense update");
    ar_rng g = ar__rng_stream(seed, AR_RNG_SUBSPACE, p, l);
    for (size_t i = 0; i < p * l; i++) z->basis[i] = ar__rng_normal(&g, i);
    return ar__qr(z->basis, NULL, o->rt, p, l, err);
}

/* image = G · newest block, times unit². */
static ar_status apply(lanczos *z, ar_error *err) {
    size_t n = z->o->p * z->l;
    const double *block = z->basis + z->used * z->o->p;
    ar_status s;
    if (z->wide) {
        if ((s = ar__operand_project_wide(z->wide, z->o, block, z->l, err)) ||
            (s = ar__operand_lift_wide(z->image, z->o, z->wide, z->l, err)))
            return s;
        for (size_t i = 0; i < n; i++) z->image[i] *= z->o->unit * z->o->unit;
        return AR_OK;
    }
    for (size_t i = 0; i < n; i++) z->x[i] = (float)block[i];
    if ((s = ar__operand_project(z->z, z->o, z->x, z->l, err)) || (s = ar__operand_lift(z->x, z->o, z->z, z->l, err))) return s;
    for (size_t i = 0; i < n; i++) z->image[i] = (double)z->x[i];
    return AR_OK;
}

/* Takes the basis out of image, [p, l]; where coupling is not NULL it gets what was taken out, [columns, l]. */
static void orthogonalise(lanczos *z, size_t columns, double *coupling) {
    size_t p = z->o->p;
    ar__dgemm(z->o->rt, &(ar_dgemm){columns, z->l, p, true, 1.0, 0.0, z->basis, z->image, coupling, p, p, columns});
    ar__dgemm(z->o->rt, &(ar_dgemm){p, z->l, columns, false, -1.0, 1.0, z->basis, coupling, z->image, p, columns, p});
}

/* Grows T by the newest block and makes the next one.  The triangle C of the next block is left in work. */
static ar_status extend(lanczos *z, double *triangle, ar_error *err) {
    size_t first = z->used, columns = first + z->l, p = z->o->p;
    orthogonalise(z, columns, z->coupling);
    for (size_t j = 0; j < z->l; j++)
        for (size_t i = 0; i < columns; i++) {
            double x = z->coupling[j * columns + i];
            if (i >= first) x = 0.5 * (x + z->coupling[(i - first) * columns + first + j]); /* G is symmetric, its f32 product not quite */
            z->t[(first + j) * z->cap + i] = z->t[i * z->cap + first + j] = x;
        }
    z->used = columns;
    orthogonalise(z, columns, z->coupling);
    ar_status s = ar__qr(z->image, triangle, z->o->rt, p, z->l, err);
    if (s) return s;
    orthogonalise(z, columns, z->coupling); /* what was left may have been rounding, then its direction is anything */
    if ((s = ar__qr(z->image, NULL, z->o->rt, p, z->l, err))) return s;
    memcpy(z->basis + columns * p, z->image, p * z->l * sizeof *z->basis);
    return AR_OK;
}

/* value, vector: the l leading Ritz pairs of T. */
static ar_status ritz(lanczos *z, ar_error *err) {
    for (size_t j = 0; j < z->used; j++) memcpy(z->work + j * z->used, z->t + j * z->cap, z->used * sizeof *z->work);
    return ar__top_eigenpairs(z->value, z->vector, z->work, z->used, z->l, err);
}

static double total_energy(const lanczos *z) { return z->o->norm2 * z->o->unit * z->o->unit; }

/* What no matrix of rank k can hold. */
static double tail_energy(const lanczos *z) {
    double tail = total_energy(z);
    for (size_t i = 0; i < z->k; i++) tail -= z->value[i];
    return fmax(tail, 0.0);
}

static bool converged(const lanczos *z, const double *triangle) {
    double missing = 0.0;
    for (size_t i = 0; i < z->k; i++) {
        const double *s = z->vector + i * z->used + z->used - z->l;
        double residual2 = 0.0, gap = z->value[i] - z->value[z->k];
        for (size_t row = 0; row < z->l; row++) {
            double x = 0.0;
            for (size_t j = row; j < z->l; j++) x += triangle[j * z->l + row] * s[j];
            residual2 += x * x;
        }
        missing += fmin(sqrt(residual2), gap > 0.0 ? residual2 / gap : INFINITY);
    }
    return missing <= tolerance * tail_energy(z) + floor_energy * total_energy(z);
}

/* Rounding in f32 products turns every vector by about noise · σ₁ / σ, which costs (noise · σ₁)² of energy. */
static bool f32_is_enough(const lanczos *z) { return (double)z->k * noise * noise * z->value[0] <= tolerance * tail_energy(z); }

/* From here on in double, from the best vectors of the basis. */
static ar_status widen(lanczos *z, ar_error *err) {
    z->wide = ar__alloc(z->o->q, z->l * sizeof *z->wide);
    z->used = 0;
    return z->wide ? ar__qr(z->basis, NULL, z->o->rt, z->o->p, z->l, err) : ar__fail_memory(err, "dense update");
}

/* The basis becomes its l best vectors, with the newest block behind them. */
static void collapse(lanczos *z) {
    size_t p = z->o->p;
    ar__dgemm(z->o->rt, &(ar_dgemm){p, z->l, z->used, false, 1.0, 0.0, z->basis, z->vector, z->work, p, z->used, p});
    memmove(z->basis + z->l * p, z->basis + z->used * p, p * z->l * sizeof *z->basis);
    memcpy(z->basis, z->work, p * z->l * sizeof *z->basis);
    memset(z->t, 0, z->cap * z->cap * sizeof *z->t);
    for (size_t i = 0; i < z->l; i++) z->t[i * z->cap + i] = z->value[i];
    z->used = z->l;
}

static ar_status lanczos_run(lanczos *z, double *triangle, ar_error *err) {
    for (int products = 1;; products++) {
        ar_status s;
        if ((s = apply(z, err)) || (s = extend(z, triangle, err)) || (s = ritz(z, err))) return s;
        bool done = products >= MAX_PRODUCTS || converged(z, triangle), precise = z->wide || products == 1 || f32_is_enough(z);
        if (done || !precise || z->used + z->l > z->cap) collapse(z);
        if (!precise && (s = widen(z, err))) return s;
        if (done && precise) return AR_OK;
    }
}

ar_status ar__lanczos_vectors(double **out, ar_operand *o, size_t k, uint64_t seed, ar_error *err) {
    lanczos z;
    ar_status s = lanczos_init(&z, o, k, seed, err);
    double *triangle = ar__alloc(z.l, z.l * sizeof *triangle);
    *out = ar__alloc(o->p, k * sizeof **out);
    if (!s && (!triangle || !*out)) s = ar__fail_memory(err, "dense update");
    if (!s) s = lanczos_run(&z, triangle, err);
    if (!s) memcpy(*out, z.basis, o->p * k * sizeof **out);
    free(triangle);
    lanczos_release(&z);
    return s;
}
