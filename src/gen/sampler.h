/* From logits to the next token.
 *
 * Order of the filters, as in Hugging Face: repeat penalty, temperature, top-k, top-p, min-p; then one draw.
 * temperature 0 takes the largest logit (the first of equals). */
#ifndef AR_GEN_SAMPLER_H
#define AR_GEN_SAMPLER_H

#include "alphar/eval.h"

typedef struct ar_candidate {
    float logit;
    int32_t id;
} ar_candidate;

/* logits [vocab] are changed; seen [vocab]: 1 for ids that the penalty falls on; room [2 * vocab].  position tells the draw
 * of one token from that of the next. */
int32_t ar__sample(float *logits, size_t vocab, const uint8_t *seen, ar_candidate *room, const ar_generate_options *o, uint64_t position);

#endif
