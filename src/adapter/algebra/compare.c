/* With the factors of x and y stacked along the rank,
 *
 *     D = [s_x B_x | −s_y B_y] · [A_x ; A_y]
 *
 * formed tile by tile in f32, its squares added in double; the norms to compare with come from Gram matrices.  Where
 * A_x = A_y to the bit, D = (s_x B_x − s_y B_y) A, whose difference is formed in double first. */
#include "adapter/algebra/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kern/gemm.h"
#include "ops/linalg.h"

enum { ROWS = 512, COLUMNS = 1024 }; /* of a tile of D, which stays in cache */

struct comparison {
    const ar_runtime *rt;
    const ar_pair *x, *y;
    bool same_a;
    size_t n_in, inner;    /* inner: rank of the stacked factors */
    float *a, *left, *out; /* [inner, n_in], NULL where A is the same; [ROWS, inner]; [ROWS, COLUMNS] */
    double sum, max_abs;
};

/* Sums of squares and largest values by row, each by one thread, then added in order. */
static void add_tile(struct comparison *c, size_t rows, size_t columns) {
    double sums[ROWS];
    float most[ROWS];
#pragma omp parallel for num_threads(ar__team(c->rt, rows *columns)) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        const float *x = c->out + i * columns;
        double sum = 0;
        float largest = 0;
#pragma omp simd reduction(+ : sum) reduction(max : largest)
        for (size_t j = 0; j < columns; j++) {
            float size = fabsf(x[j]);
            sum += (double)x[j] * (double)x[j];
            largest = size > largest ? size : largest;
        }
        sums[i] = sum;
        most[i] = largest;
    }
    for (size_t i = 0; i < rows; i++) {
        c->sum += sums[i];
        if ((double)most[i] > c->max_abs) c->max_abs = (double)most[i];
    }
}

static void stack_rows(const struct comparison *c, size_t first, size_t rows) {
    size_t rx = (size_t)c->x->rank, ry = (size_t)c->y->rank;
    const float *bx = c->x->b + first * rx, *by = c->y->b + first * ry;
    for (size_t i = 0; i < rows; i++) {
        float *l = c->left + i * c->inner;
        for (size_t j = 0; j < rx; j++)
            l[j] = (float)(c->x->scale * (double)bx[i * rx + j] - (c->same_a ? c->y->scale * (double)by[i * ry + j] : 0.0));
        for (size_t j = 0; !c->same_a && j < ry; j++) l[rx + j] = (float)(-c->y->scale * (double)by[i * ry + j]);
    }
}

static void add_differences(struct comparison *c) {
    size_t n_out = (size_t)c->x->n_out;
    for (size_t first = 0; first < n_out; first += ROWS) {
        size_t rows = n_out - first < ROWS ? n_out - first : ROWS;
        stack_rows(c, first, rows);
        for (size_t column = 0; column < c->n_in; column += COLUMNS) {
            size_t columns = c->n_in - column < COLUMNS ? c->n_in - column : COLUMNS;
            ar__gemm(c->rt, &(ar_gemm){.m = rows,
                                       .n = columns,
                                       .k = c->inner,
                                       .a = c->left,
                                       .a_row = c->inner,
                                       .a_col = 1,
                                       .b = (c->same_a ? c->x->a : c->a) + column,
                                       .b_type = AR_F32,
                                       .b_ld = c->n_in,
                                       .c = c->out,
                                       .c_ld = columns});
            add_tile(c, rows, columns);
        }
    }
}

/* ‖s·B·A‖_F */
static ar_status update_norm(double *out, const ar_runtime *rt, const ar_pair *p, ar_error *err) {
    size_t r = (size_t)p->rank, n;
    double *g = ar__mul(&n, r, 2 * r) ? ar__alloc(n, sizeof *g) : NULL;
    if (!g) return ar__fail_memory(err, p->site);
    ar_status s = ar__gram_rows(g, rt, p->a, r, (size_t)p->n_in, err);
    if (!s) s = ar__gram_columns(g + r * r, rt, p->b, (size_t)p->n_out, r, err);
    if (!s) *out = fabs(p->scale) * sqrt(ar__update_norm2(g, g + r * r, r));
    free(g);
    return s;
}

static ar_status stack_factors(struct comparison *c, ar_error *err) {
    size_t rx = (size_t)c->x->rank, ry = (size_t)c->y->rank, count;
    c->inner = c->same_a ? rx : rx + ry;
    c->left = ar__mul(&count, ROWS, c->inner) ? ar__alloc(count, sizeof *c->left) : NULL;
    c->out = ar__alloc(ROWS * COLUMNS, sizeof *c->out);
    if (!c->left || !c->out) return ar__fail_memory(err, c->x->site);
    if (c->same_a) return AR_OK;
    c->a = ar__mul(&count, c->inner, c->n_in) ? ar__alloc(count, sizeof *c->a) : NULL;
    if (!c->a) return ar__fail_memory(err, c->x->site);
    memcpy(c->a, c->x->a, rx * c->n_in * sizeof *c->a);
    memcpy(c->a + rx * c->n_in, c->y->a, ry * c->n_in * sizeof *c->a);
    return AR_OK;
}

static ar_status compare_loaded(ar_distance *out, struct comparison *c, ar_error *err) {
    size_t rx = (size_t)c->x->rank;
    double norm;
    c->n_in = (size_t)c->x->n_in;
    c->same_a = c->x->rank == c->y->rank && !memcmp(c->x->a, c->y->a, rx * c->n_in * sizeof *c->a);
    *out = (ar_distance){0};
    if (c->same_a && c->x->scale == c->y->scale && !memcmp(c->x->b, c->y->b, rx * (size_t)c->x->n_out * sizeof *c->a)) return AR_OK;
    ar_status s = update_norm(&norm, c->rt, c->x, err);
    if (!s && norm == 0) s = update_norm(&norm, c->rt, c->y, err);
    if (!s) s = stack_factors(c, err);
    if (!s) {
        add_differences(c);
        *out = (ar_distance){norm > 0 ? sqrt(c->sum) / norm : 0, isnan(c->sum) ? NAN : c->max_abs};
    }
    free(c->a);
    free(c->left);
    free(c->out);
    return s;
}

ar_status ar__pair_distance(ar_distance *out, const ar_runtime *rt, const ar_adapter *x, ar_pair *px, const ar_adapter *y, ar_pair *py,
                            ar_error *err) {
    struct comparison c = {.rt = rt, .x = px, .y = py};
    if (px->n_in != py->n_in || px->n_out != py->n_out || px->is_embedding != py->is_embedding)
        return ar__fail(err, AR_ERR_MISMATCH, "site '%s': [%lld, %lld] in one adapter, [%lld, %lld] in the other", px->site,
                        (long long)px->n_out, (long long)px->n_in, (long long)py->n_out, (long long)py->n_in);
    if (px->has_gguf_rows != py->has_gguf_rows)
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "site '%s': the rows of the GGUF adapter are in llama.cpp's order, and only the base says how many heads there are: "
            "give --model or --heads H,KV",
            px->site);
    bool keep_x = px->a && px->b, keep_y = py->a && py->b;
    ar_status s = ar__pair_load(x, px, err);
    if (!s) s = ar__pair_load(y, py, err);
    if (!s) s = compare_loaded(out, &c, err);
    if (!keep_x) ar__pair_unload(px);
    if (!keep_y) ar__pair_unload(py);
    return s;
}
