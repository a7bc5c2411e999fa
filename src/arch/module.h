/* A base's modules by Hugging Face path: what adapter targets are matched against. */
#ifndef AR_ARCH_MODULE_H
#define AR_ARCH_MODULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ar_module_kind {
    AR_MODULE_LINEAR,    /* torch.nn.Linear (or Conv1D): may carry a pair */
    AR_MODULE_HEAD,      /* the output embeddings (lm_head): a linear that `all-linear` leaves out */
    AR_MODULE_EMBEDDING, /* may carry an embedding pair */
    AR_MODULE_NORM       /* may only be saved whole */
} ar_module_kind;

typedef struct ar_module {
    const char *path; /* "model.layers.0.self_attn.q_proj" */
    ar_module_kind kind;
    int layer;           /* -1 outside the layers */
    int64_t n_out, n_in; /* of the weight as Hugging Face stores it; norm: n_out elements, n_in 1; embedding: [vocab, dim] */
    bool has_bias;
} ar_module;

#endif
