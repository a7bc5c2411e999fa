/* What trains, as the optimizer sees it, and its update.  AdamW (arXiv 1711.05101), with g scaled and rate = f(t) · rate_factor:
 *
 *     m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g²
 *     w = w (1 - rate·decay) - rate / (1 - b1^t) · m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * SGD:  w = w (1 - rate·decay) - rate·g */
#ifndef AR_OPS_OPTIM_H
#define AR_OPS_OPTIM_H

#include <stdbool.h>

#include "kern/runtime.h"

typedef enum ar_role { AR_ROLE_A, AR_ROLE_B, AR_ROLE_MAGNITUDE, AR_ROLE_WEIGHT, AR_ROLE_BIAS, AR_ROLE_SCALES } ar_role;

typedef struct ar_trainable {
    char *name; /* unique: "model.layers.0.self_attn.q_proj.lora_A", "lm_head.weight" */
    ar_role role;
    float *value, *grad, *m, *v; /* [count]; m, v: NULL under SGD */
    float *grad_tied;            /* a tied tensor's second source, the embedding's; NULL otherwise */
    size_t count;
    int layer;          /* of a pair's: backward of this layer is the last to add to the gradient */
    double rate_factor; /* lr-ratio for B, 1 otherwise */
    float *columns;     /* value [count / width, width] stands there too, as what begins rows of `stride` numbers; NULL: nowhere else */
    size_t width, stride;
} ar_trainable;

typedef struct ar_update {
    bool sgd;
    double rate, decay, beta1, beta2, eps, grad_scale;
    int64_t t; /* from 1 */
} ar_update;

/* sqrt of the sum of squares of all gradients, in double: stretches of one tensor in order, tensors in the order of the list. */
typedef double ar_grad_norm_fn(const ar_runtime *rt, const ar_trainable *list, size_t count);
typedef void ar_update_fn(const ar_runtime *rt, ar_trainable *list, size_t count, const ar_update *u);
typedef void ar_zero_grads_fn(const ar_runtime *rt, ar_trainable *list, size_t count);
/* Adds the second sources: kept apart until all of a step are there, so that each is summed in the order of its samples. */
typedef void ar_join_grads_fn(const ar_runtime *rt, ar_trainable *list, size_t count);

/* Zeroes memory by all threads: its first touch is much of what a start costs. */
typedef void ar_zero_bytes_fn(const ar_runtime *rt, void *memory, size_t bytes);

#endif
