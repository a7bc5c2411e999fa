/* Cross entropy over the vocabulary: nll = log sum exp(z) - z[target], natural logarithm; z: the logits, or with a cap (gemma 2)
 * cap tanh(logit / cap). */
#ifndef AR_OPS_LOSS_H
#define AR_OPS_LOSS_H

#include "kern/runtime.h"

/* logits [rows, vocab]; nll [rows].  cap 0: none.  grad_scale [rows]: the logits become their gradient,
 * (softmax - onehot) * grad_scale * dz/dlogit; NULL: they are used up. */
typedef void ar_cross_entropy_fn(const ar_runtime *rt, float *nll, float *logits, const int32_t *targets, size_t rows, size_t vocab,
                                 double cap, const float *grad_scale);

#endif
