/* For rows i of a block, with the factors of x and y stacked along the rank,
 *
 *     D = [s_x B_x | −s_y B_y] · [A_x ; A_y]          U = s_x B_x · A_x
 *
 * in products of f32 with sums of squares in double.  Where A_x = A_y to the bit, D = (s_x B_x − s_y B_y) A instead. */
#include "adapter/algebra/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "kern/gemm.h"

enum { ROWS = 64 };

struct comparison {
    const ar_runtime *rt;
    const ar_pair *x, *y;
    bool same_a;
    size_t n_in, inner;    /* inner: rank of the stacked factors */
    float *a, *left, *out; /* [inner, n_in]; [ROWS, inner]; [ROWS, n_in] */
    double sum_x, sum_y, sum_d, max_abs;
};

static void add_squares(double *sum, double *largest, const float *x, size_t n) {
    double total = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i];
        total += v * v;
        if (!(fabs(v) <= most)) most = fabs(v); /* NaN stays */
    }
    *sum += total;
    if (largest && !(most <= *largest)) *largest = most;
}

static void product(const struct comparison *c, const float *a, size_t rows, size_t rank) {
    ar__gemm(c->rt, &(ar_gemm){.m = rows,
                               .n = c->n_in,
                               .k = rank,
                               .a = c->left,
                               .a_row = rank,
                               .a_col = 1,
                               .b = a,
                               .b_type = AR_F32,
                               .b_ld = c->n_in,
                               .c = c->out,
                               .c_ld = c->n_in});
}

static void scaled_rows(struct comparison *c, const ar_pair *p, size_t first, size_t rows) {
    size_t r = (size_t)p->rank;
    for (size_t i = 0; i < rows * r; i++) c->left[i] = (float)(p->scale * (double)p->b[first * r + i]);
    product(c, p->a, rows, r);
}

static void difference_rows(struct comparison *c, size_t first, size_t rows) {
    size_t rx = (size_t)c->x->rank, ry = (size_t)c->y->rank;
    const float *bx = c->x->b + first * rx, *by = c->y->b + first * ry;
    for (size_t i = 0; i < rows; i++) {
        float *l = c->left + i * c->inner;
        for (size_t j = 0; j < rx; j++)
            l[j] = (float)(c->x->scale * (double)bx[i * rx + j] - (c->same_a ? c->y->scale * (double)by[i * ry + j] : 0.0));
        for (size_t j = 0; !c->same_a && j < ry; j++) l[rx + j] = (float)(-c->y->scale * (double)by[i * ry + j]);
    }
    product(c, c->same_a ? c->x->a : c->a, rows, c->inner);
}

static void run(struct comparison *c) {
    size_t n_out = (size_t)c->x->n_out;
    for (size_t first = 0; first < n_out; first += ROWS) {
        size_t rows = n_out - first < ROWS ? n_out - first : ROWS;
        scaled_rows(c, c->x, first, rows);
        add_squares(&c->sum_x, NULL, c->out, rows * c->n_in);
        scaled_rows(c, c->y, first, rows);
        add_squares(&c->sum_y, NULL, c->out, rows * c->n_in);
        difference_rows(c, first, rows);
        add_squares(&c->sum_d, &c->max_abs, c->out, rows * c->n_in);
    }
}

static ar_status compare_loaded(ar_distance *out, struct comparison *c, ar_error *err) {
    size_t rx = (size_t)c->x->rank, ry = (size_t)c->y->rank, count;
    c->n_in = (size_t)c->x->n_in;
    c->same_a = rx == ry && !memcmp(c->x->a, c->y->a, rx * c->n_in * sizeof(float));
    c->inner = c->same_a ? rx : rx + ry;
    c->a = c->same_a ? NULL : ar__mul(&count, c->inner, c->n_in) ? ar__alloc(count, sizeof *c->a) : NULL;
    c->left = ar__alloc(ROWS * (rx + ry), sizeof *c->left);
    c->out = ar__alloc(ROWS * c->n_in, sizeof *c->out);
    ar_status s = AR_OK;
    if ((!c->same_a && !c->a) || !c->left || !c->out) {
        s = ar__fail_memory(err, c->x->site);
    } else {
        if (c->a) memcpy(c->a, c->x->a, rx * c->n_in * sizeof *c->a);
        if (c->a) memcpy(c->a + rx * c->n_in, c->y->a, ry * c->n_in * sizeof *c->a);
        run(c);
        double against = c->sum_x > 0 ? c->sum_x : c->sum_y;
        *out = (ar_distance){against > 0 ? sqrt(c->sum_d / against) : 0.0, c->max_abs};
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
