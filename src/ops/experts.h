/* Mixtures of experts: each row goes to the few experts that a router's logits choose, and what they give is added up by weight.
 *
 *     y = sum over the chosen e of  w_e f_e(x)
 *
 * Weights of a row's logits l [experts], of which the `used` largest are chosen, the first of equals:
 *     of the chosen     w_e = exp(l_e) / sum over the chosen of exp(l)      what a softmax of all that is renormalised gives, too
 *     of all            w_e = exp(l_e) / sum over all of exp(l)
 *
 * An expert runs on the rows that chose it, in the order of the batch, as if the others had been left out (ops/rows.h):
 *
 *   batch    | a b c | d e |     chosen  a: 0 2   b: 1 2   c: 0 1   d: 2 0   e: 0 2
 *   expert 0 | a c | d e |       expert 1 | b c | |            expert 2 | a b | d e |
 *
 * so that its products, its pairs and their sums per sample are those of any linear.  The choice itself has no slope.
 *
 * Routers may be held to use all experts alike, by the load-balancing loss (arXiv 2101.03961, eq. 4 to 6), of a sample of N rows over all
 * layers of experts together, as transformers forms it, p = softmax(l) of a row:
 *
 *     L = experts · sum over e of (count_e / N) (share_e / N)      count_e: rows that chose e        share_e = sum over rows of p_e
 *     dL / dl_i = experts / N² · p_i (count_i - sum over e of p_e count_e) */
#ifndef AR_OPS_EXPERTS_H
#define AR_OPS_EXPERTS_H

#include "kern/runtime.h"
#include "ops/rows.h"

enum { AR_MOST_EXPERTS = 1024 };

typedef struct ar_router {
    size_t experts, used; /* 1 to AR_MOST_EXPERTS; of each row, 1 to experts */
    bool of_all;          /* weights are shares of all experts, not of the chosen */
} ar_router;

/* chosen, weight [rows, used].  Of a row whose logits hold NaN the weights are NaN, and the choice is some. */
typedef void ar_route_fwd_fn(const ar_runtime *rt, int32_t *chosen, float *weight, const ar_router *router, const float *logits,
                             size_t rows);
/* dlogits [rows, experts] of dweight [rows, used]; may be the memory of logits. */
typedef void ar_route_bwd_fn(const ar_runtime *rt, float *dlogits, const ar_router *router, const int32_t *chosen, const float *weight,
                             const float *dweight, const float *logits, size_t rows);

/* count, share [samples, experts]: adds those of one layer's rows. */
typedef void ar_balance_fwd_fn(const ar_runtime *rt, float *count, float *share, const ar_router *router, const int32_t *chosen,
                               const float *logits, const ar_rows *rows);
/* dlogits[t, i] += by[s] p_i (count[s, i] - sum over e of p_e count[s, e]), s the sample of row t.  by [samples], the host's. */
typedef void ar_balance_bwd_fn(const ar_runtime *rt, float *dlogits, const ar_router *router, const float *count, const float *by,
                               const float *logits, const ar_rows *rows);

/* dst[row[i]] += src[i]; no row twice */
typedef void ar_rows_add_fn(const ar_runtime *rt, float *dst, const float *src, const size_t *row, size_t count, size_t width);
/* x[i] *= weight[i] */
typedef void ar_rows_weigh_fn(const ar_runtime *rt, float *x, const float *weight, size_t rows, size_t width);
/* dweight[i] += dx[i] · x[i], x as it was before; then dx[i] *= weight[i] */
typedef void ar_rows_weigh_bwd_fn(const ar_runtime *rt, float *dweight, float *dx, const float *x, const float *weight, size_t rows,
                                  size_t width);
/* y[i] += weight[i] bias; and dweight[i] += dy[i] · bias: of a linear's bias where the weight stands in what the linear reads */
typedef void ar_rows_bias_fn(const ar_runtime *rt, float *y, const float *weight, const float *bias, size_t rows, size_t width);
typedef void ar_rows_bias_bwd_fn(const ar_runtime *rt, float *dweight, const float *dy, const float *bias, size_t rows, size_t width);
/* y = 1 / (1 + exp(-x)); and dx = dy y (1 - y).  In place is fine. */
typedef void ar_sigmoid_fwd_fn(const ar_runtime *rt, float *y, const float *x, size_t n);
typedef void ar_sigmoid_bwd_fn(const ar_runtime *rt, float *dx, const float *y, const float *dy, size_t n);

/* The rows of a batch by expert.  Memory is the caller's. */
typedef struct ar_routes {
    size_t *first;    /* [experts + 1] of the sorted rows */
    size_t *row;      /* [rows * used] of the batch */
    size_t *pick;     /* [rows * used] i * used + j where it is the j-th choice of row i */
    size_t *position; /* [rows * used] in its sample */
    size_t *start;    /* [experts, samples + 1] of the samples among the expert's rows */
} ar_routes;

void ar__routes_sort(ar_routes *out, const ar_router *router, const int32_t *chosen, const ar_rows *rows);
/* The rows of one expert, as an operator takes them. */
ar_rows ar__routes_rows(const ar_routes *routes, size_t expert, const ar_rows *rows);

#endif
