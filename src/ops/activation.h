/* What stands between an MLP's linears, row by row: y = f(gate) · up, or y = f(x) where there is no gate.
 *
 *     silu(x)        x / (1 + exp(-x))
 *     sigmoid(x)     1 / (1 + exp(-x)): a gate alone
 *     identity(x)    x: a gate alone, so that y is a product
 *     gelu_tanh(x)   x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))          arXiv 1606.08415
 *     gelu(x)        x/2 (1 + erf(x / sqrt 2))
 *     relu2(x)       max(x, 0)²
 *     xielu(x)       x > 0: p x² + b x;  else n (exp(min(x, e)) - 1 - x) + b x     arXiv 2411.13010
 *     swiglu(x)      c / (1 + exp(-a c)), c = min(x, l), and of up max(min(up, l), -l) + 1 is taken: gpt_oss */
#ifndef AR_OPS_ACTIVATION_H
#define AR_OPS_ACTIVATION_H

#include "kern/runtime.h"

typedef enum ar_activation_kind {
    AR_SILU,
    AR_GELU_TANH,
    AR_GELU,
    AR_RELU2,
    AR_XIELU,
    AR_SIGMOID,
    AR_IDENTITY,
    AR_SWIGLU
} ar_activation_kind;

typedef struct ar_activation {
    ar_activation_kind kind;
    float positive, negative, beta, eps; /* xielu's p, n, b, e */
    float alpha, limit;                  /* swiglu's a, l */
} ar_activation;

/* y [rows, n]; gate, up: rows of n, ld elements apart.  Without a gate (NULL) f is taken of up. */
typedef void ar_activation_fwd_fn(const ar_runtime *rt, const ar_activation *f, float *y, const float *gate, const float *up, size_t ld,
                                  size_t rows, size_t n);
/* In place: gate and up become their gradients, given that of y. */
typedef void ar_activation_bwd_fn(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld, const float *dy,
                                  size_t rows, size_t n);

/* The same under bf16 arithmetic, where gate and up are rounded to nearest even and kept so: kept [rows, 2 n], of each row the gate, then
 * up ([rows, n] without a gate).  keep rounds, and where y is wanted (not NULL) gives it of what is kept; again gives it of that alone;
 * bwd_kept writes the gradients to gate and up. */
typedef void ar_activation_keep_fn(const ar_runtime *rt, const ar_activation *f, float *y, uint16_t *kept, const float *gate,
                                   const float *up, size_t ld, size_t rows, size_t n);
typedef void ar_activation_again_fn(const ar_runtime *rt, const ar_activation *f, float *y, const uint16_t *kept, bool gated, size_t rows,
                                    size_t n);
typedef void ar_activation_bwd_kept_fn(const ar_runtime *rt, const ar_activation *f, float *gate, float *up, size_t ld,
                                       const uint16_t *kept, const float *dy, size_t rows, size_t n);

/* x = cap tanh(x / cap), where there is a cap (0: none). */
typedef void ar_softcap_fn(const ar_runtime *rt, float *x, double cap, size_t rows, size_t n);

/* x cut to ± limit, where there is one (0: none); and dx = 0 where x stands at it or beyond. */
typedef void ar_clip_fn(const ar_runtime *rt, float *x, double limit, size_t n);
typedef void ar_clip_bwd_fn(const ar_runtime *rt, float *dx, const float *x, double limit, size_t n);

#endif
