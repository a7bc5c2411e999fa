/* ⟨X, Y⟩ of X = s_x B_x A_x and Y = s_y B_y A_y, without forming either:
 *
 *     ⟨X, Y⟩ = s_x s_y Σ_ij (A_x A_yᵀ)_ij (B_xᵀ B_y)_ij        cosine = ⟨X, Y⟩ / (‖X‖ ‖Y‖)        factor = ⟨X, Y⟩ / ‖X‖²
 *
 * in double; the factor is the c for which c·X is nearest to Y. */
#include "adapter/algebra/likeness.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"

/* g [rx, ry] = A_x A_yᵀ, by rows. */
static void cross_a(double *g, const ar_runtime *rt, const ar_pair *x, const ar_pair *y) {
    size_t rx = (size_t)x->rank, ry = (size_t)y->rank, n = (size_t)x->n_in;
#pragma omp parallel for num_threads(ar__team(rt, rx *ry *n)) schedule(static)
    for (size_t i = 0; i < rx; i++)
        for (size_t j = 0; j < ry; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += (double)x->a[i * n + k] * (double)y->a[j * n + k];
            g[i * ry + j] = sum;
        }
}

/* g [rx, ry] = B_xᵀ B_y, by rows. */
static void cross_b(double *g, const ar_runtime *rt, const ar_pair *x, const ar_pair *y) {
    size_t rx = (size_t)x->rank, ry = (size_t)y->rank, n = (size_t)x->n_out;
#pragma omp parallel for num_threads(ar__team(rt, rx *ry *n)) schedule(static)
    for (size_t i = 0; i < rx; i++) {
        for (size_t j = 0; j < ry; j++) g[i * ry + j] = 0;
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < ry; j++) g[i * ry + j] += (double)x->b[k * rx + i] * (double)y->b[k * ry + j];
    }
}

/* ⟨BA(x), BA(y)⟩, without the scales. */
static ar_status inner_product(double *out, const ar_runtime *rt, const ar_pair *x, const ar_pair *y, ar_error *err) {
    size_t n, both;
    bool fits = ar__mul(&n, (size_t)x->rank, (size_t)y->rank) && ar__mul(&both, n, 2);
    double *g = fits ? ar__alloc(both, sizeof *g) : NULL;
    if (!g) return ar__fail_memory(err, x->site);
    cross_a(g, rt, x, y);
    cross_b(g + n, rt, x, y);
    *out = 0;
    for (size_t i = 0; i < n; i++) *out += g[i] * g[n + i];
    free(g);
    return AR_OK;
}

static ar_status measure(ar_site_difference *out, const ar_runtime *rt, const ar_pair *x, const ar_pair *y, ar_error *err) {
    double xx, yy, xy;
    ar_status s = inner_product(&xx, rt, x, x, err);
    if (!s) s = inner_product(&yy, rt, y, y, err);
    if (!s) s = inner_product(&xy, rt, x, y, err);
    if (s) return s;
    xx = xx > 0 ? xx * x->scale * x->scale : 0;
    yy = yy > 0 ? yy * y->scale * y->scale : 0;
    xy *= x->scale * y->scale;
    out->norm_a = sqrt(xx);
    out->norm_b = sqrt(yy);
    out->cosine = xx > 0 && yy > 0 ? fmax(-1, fmin(1, xy / out->norm_a / out->norm_b)) : NAN;
    out->factor = xx > 0 ? xy / xx : NAN;
    return AR_OK;
}

ar_status ar__pair_likeness(ar_site_difference *out, const ar_runtime *rt, const ar_adapter *x, ar_pair *px, const ar_adapter *y,
                            ar_pair *py, ar_error *err) {
    bool keep_x = px->a && px->b, keep_y = py->a && py->b;
    ar_status s = ar__pair_load(x, px, err);
    if (!s) s = ar__pair_load(y, py, err);
    if (!s) s = measure(out, rt, px, py, err);
    if (!keep_x) ar__pair_unload(px);
    if (!keep_y) ar__pair_unload(py);
    return s;
}
