/* Cross entropy over the vocabulary: nll = log sum exp(logits) - logits[target], natural logarithm. */
#ifndef AR_OPS_LOSS_H
#define AR_OPS_LOSS_H

#include "kern/runtime.h"

/* logits [rows, vocab]; nll [rows].  grad_scale [rows]: the logits become (softmax - onehot) * grad_scale; NULL: they are
 * used up. */
void ar__cross_entropy(const ar_runtime *rt, float *nll, float *logits, const int32_t *targets, size_t rows, size_t vocab,
                       const float *grad_scale);

#endif
