/* A base's modules by Hugging Face path: what adapter targets are matched against. */
#ifndef AR_ARCH_MODULE_H
#define AR_ARCH_MODULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ar_module_kind {
    AR_MODULE_LINEAR,    /* torch.nn.Linear (or Conv1D): may carry a pair */
    AR_MODULE_HEAD,      /* the output embeddings (lm_head): a linear that `all-linear` leaves out */
    AR_MODULE_EMBEDDING, /* may carry an embedding pair */
    AR_MODULE_NORM,      /* may only be saved whole */
    AR_MODULE_EXPERTS    /* one matrix of all experts of a layer, a parameter in PyTorch: may carry a pair for each of them */
} ar_module_kind;

/* Slots of a layer, in the order in which PyTorch lists the modules. */
typedef enum ar_slot {
    AR_SLOT_NONE = -1,
    AR_SLOT_QKV, /* q, k and v as one linear, and so gate and up: a family has these or those */
    AR_SLOT_Q,
    AR_SLOT_K,
    AR_SLOT_V,
    AR_SLOT_O,
    AR_SLOT_Q_NORM,
    AR_SLOT_K_NORM,
    AR_SLOT_DELTA_NORM, /* of a layer that mixes by the delta rule, in place of those before: of what the rule gives, */
    AR_SLOT_DELTA_OUT,
    AR_SLOT_DELTA_QKV,
    AR_SLOT_DELTA_Z, /* that norm's gate, */
    AR_SLOT_DELTA_B, /* and the rule's own: how much a row writes, */
    AR_SLOT_DELTA_A, /* and how much is forgotten */
    AR_SLOT_CONV_IN, /* of a layer that mixes by a short convolution, in place of those: what goes through and its two gates, as one, */
    AR_SLOT_CONV_OUT,
    AR_SLOT_GATE_UP,
    AR_SLOT_GATE,
    AR_SLOT_UP,
    AR_SLOT_DOWN,
    AR_SLOT_ROUTER,      /* of a layer whose MLP is experts: their weights; */
    AR_SLOT_SHARED_GATE, /* and the expert of all rows, */
    AR_SLOT_SHARED_UP,
    AR_SLOT_SHARED_DOWN,
    AR_SLOT_SHARED_MIX,    /* whose weight is the sigmoid of this */
    AR_SLOT_ATTN_NORM,     /* of what the attention reads; */
    AR_SLOT_ATTN_OUT_NORM, /* of what it adds to the residual stream; and so the MLP's */
    AR_SLOT_MLP_NORM,
    AR_SLOT_MLP_OUT_NORM,
    AR_SLOT_DENSE_OUT_NORM,   /* where experts stand beside a dense MLP: of what that gives, */
    AR_SLOT_EXPERTS_NORM,     /* of what the experts read, */
    AR_SLOT_EXPERTS_OUT_NORM, /* and of what they give */
    AR_SLOT_PLE_GATE,         /* of per-layer embeddings, behind the MLP (model/ple.h) */
    AR_SLOT_PLE_PROJECTION,
    AR_SLOT_PLE_NORM,
    AR_SLOT_COUNT,
    /* Outside the layers, what few families have. */
    AR_SLOT_POSITIONS = AR_SLOT_COUNT,
    AR_SLOT_PLE_TABLE,
    AR_SLOT_PLE_MIX,
    AR_SLOT_PLE_MIX_NORM,
    /* Of a layer, but no module: the factor of its output, a tensor of one number; attention's sinks, one a head; the kernel of its short
     * convolution; weights of the norms of q and k, [heads, head_dim], in Hugging Face's files a tensor a head; the weight of the norm of
     * what its router reads, and the factor of each expert; the rates and shifts of the delta rule. */
    AR_SLOT_SCALAR,
    AR_SLOT_SINKS,
    AR_SLOT_CONV_KERNEL,
    AR_SLOT_Q_HEADS,
    AR_SLOT_K_HEADS,
    AR_SLOT_ROUTER_NORM, /* from here on a name in GGUF is whole, without .weight */
    AR_SLOT_EXPERT_FACTORS,
    AR_SLOT_DELTA_RATE, /* which GGUF has as -exp */
    AR_SLOT_DELTA_SHIFT
} ar_slot;

typedef struct ar_module {
    const char *path; /* "model.layers.0.self_attn.q_proj" */
    ar_module_kind kind;
    int layer;           /* -1 outside the layers */
    int64_t n_out, n_in; /* weight [n_out, n_in]; norm: n_out elements, n_in 1; embedding: [vocab, dim]; experts: of one of them */
    int experts;         /* of AR_MODULE_EXPERTS: how many */
    bool has_bias;
    bool is_conv1d;    /* the file stores the weight as [n_in, n_out] */
    bool is_parameter; /* PEFT adapts its weight as a parameter of a module of another kind */
    bool is_left_out;  /* by PEFT's all-linear */
} ar_module;

/* The linears of one expert. */
typedef enum ar_expert_part { AR_EXPERT_GATE, AR_EXPERT_UP, AR_EXPERT_DOWN, AR_EXPERT_PARTS } ar_expert_part;

#endif
