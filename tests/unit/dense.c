#include "dense.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

double *dense_product(const float *b, const float *a, size_t m, size_t r, size_t n) {
    double *x = calloc(m * n, sizeof *x);
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < r; k++)
            for (size_t j = 0; j < n; j++) x[i * n + j] += (double)b[i * r + k] * (double)a[k * n + j];
    return x;
}

void dense_add_update(double *to, const ar_pair *p, double factor) {
    double *x = dense_product(p->b, p->a, (size_t)p->n_out, (size_t)p->rank, (size_t)p->n_in);
    for (size_t i = 0; i < (size_t)(p->n_out * p->n_in); i++) to[i] += factor * p->scale * x[i];
    free(x);
}

double dense_norm(const double *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

double dense_distance(const double *x, const double *y, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sqrt(sum);
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Turns columns p and q until they are orthogonal (Jacobi's rotation); false where they are already. */
static int rotate(double *w, size_t m, size_t n, size_t p, size_t q) {
    double pp = 0, qq = 0, pq = 0;
    for (size_t i = 0; i < m; i++) {
        pp += w[i * n + p] * w[i * n + p];
        qq += w[i * n + q] * w[i * n + q];
        pq += w[i * n + p] * w[i * n + q];
    }
    if (fabs(pq) <= 1e-15 * sqrt(pp) * sqrt(qq)) return 0;
    double zeta = (qq - pp) / (2.0 * pq), t = copysign(1.0, zeta) / (fabs(zeta) + sqrt(1.0 + zeta * zeta)), c = 1.0 / sqrt(1.0 + t * t);
    for (size_t i = 0; i < m; i++) {
        double u = w[i * n + p], v = w[i * n + q];
        w[i * n + p] = c * (u - t * v);
        w[i * n + q] = c * (t * u + v);
    }
    return 1;
}

double *dense_singular_values(const double *x, size_t m, size_t n) {
    double *w = malloc(m * n * sizeof *w), *sigma = calloc(n, sizeof *sigma);
    size_t rows = m < n ? n : m, columns = m < n ? m : n; /* wide ones are transposed */
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) w[m < n ? j * m + i : i * n + j] = x[i * n + j];
    for (int sweep = 0, turned = 1; turned && sweep < 60; sweep++) {
        turned = 0;
        for (size_t p = 0; p < columns; p++)
            for (size_t q = p + 1; q < columns; q++) turned |= rotate(w, rows, columns, p, q);
    }
    for (size_t j = 0; j < columns; j++) {
        for (size_t i = 0; i < rows; i++) sigma[j] += w[i * columns + j] * w[i * columns + j];
        sigma[j] = sqrt(sigma[j]);
    }
    qsort(sigma, columns, sizeof *sigma, descending);
    free(w);
    return sigma;
}

double dense_tail(const double *sigma, size_t count, size_t rank) { return rank < count ? dense_norm(sigma + rank, count - rank) : 0.0; }

ar_pair *dense_add_pair(ar_adapter *ad, const ar_pair_shape *shape, uint64_t seed) {
    ar_error err;
    ar_pair *p;
    assert_ok(ar__adapter_add_pair(&p, ad, shape, &err), err);
    size_t na = (size_t)(p->rank * p->n_in), nb = (size_t)(p->rank * p->n_out);
    float *a = random_f32(na, seed, 1.0F), *b = random_f32(nb, seed + 1000, 1.0F);
    memcpy(p->a, a, na * sizeof *a);
    memcpy(p->b, b, nb * sizeof *b);
    free(a);
    free(b);
    return p;
}
