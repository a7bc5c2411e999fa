/* A base in memory: the record, the bound weights (views of mapped files), and what was copied because it trains.
 *
 * Norm weights and biases are small and always f32 copies; linear and embedding weights stay in the file until
 * ar__model_own turns one into an f32 copy that may change. */
#ifndef AR_MODEL_MODEL_H
#define AR_MODEL_MODEL_H

#include "alphar/model.h"
#include "arch/arch.h"
#include "kern/runtime.h"
#include "ops/delta.h"
#include "ops/embedding.h"
#include "ops/norm.h"
#include "weights/base.h"

/* A slot is a linear or a norm; what the record lacks has no data. */
typedef struct ar_layer {
    ar_linear linear[AR_SLOT_COUNT];
    ar_norm norm[AR_SLOT_COUNT];
    ar_linear *expert; /* [experts, AR_EXPERT_PARTS] where the MLP is experts; NULL: it is dense */
    ar_activation activation;
    float xielu[4]; /* alpha_p, alpha_n, beta, eps as the files have them */
    float scale;    /* of attention's scores */
    size_t window;  /* 0: none */
    bool turns;     /* has a rotary embedding, */
    int rope;       /* and this one */
    size_t head_dim, kv_heads, ff;
    size_t kv_layer;     /* whose keys and values it takes: its own, or an earlier one's of the same kind */
    bool kv_lent;        /* later layers take its */
    bool v_is_k;         /* values are what k gives, before its norm and RoPE */
    float *sinks;        /* of attention, [heads]; the layer's own, frozen in every training; NULL: none */
    float *head_norm[2]; /* of q and k, [heads or kv_heads, head_dim]: so are these */
    float *routing;      /* of experts beside a dense MLP, as frozen: [dim] the weight of the norm of what the router reads, */
    ar_norm router_norm; /* which is this one's; then [experts] the factor of each one's weight; NULL: none */
    float scalar;        /* what it gives is multiplied by */
    ar_mixer mixer;      /* what it mixes by; the numbers of other mixers than attention are its own copies, frozen in every training: */
    ar_conv conv;
    ar_delta delta;
    float *mixer_memory; /* the tensors of ar__mixer_tensor, one behind the other; of the delta rule then exp(A_log) */
} ar_layer;

/* Per-layer embeddings (model/ple.h); no data where there are none. */
typedef struct ar_ple {
    ar_embedding table;
    ar_linear mix;
    ar_norm norm;
} ar_ple;

typedef struct ar_owned {
    float *weight, *bias;                /* f32, NULL where the file's bytes are used */
    void *turned;                        /* a weight whose rows or dimensions lie otherwise in the file, in its dtype */
    double noise;                        /* ‖W − Q(W)‖ / ‖W‖ of a weight that was quantised here */
    bool weight_borrowed, bias_borrowed; /* somebody else frees it: an adapter's whole tensor */
} ar_owned;

struct ar_model {
    const ar_runtime *rt;
    ar_arch arch;
    ar_module *modules; /* by module index, see arch.h */
    size_t module_count;
    ar_owned *owned;        /* by module index */
    char *path;             /* folder, or the configuration of a random base */
    ar_base *base;          /* its files; NULL for a random base */
    ar_dtype dtype;         /* of the weights in the file, or as config.json wants them saved */
    bool tied;              /* the head is the embedding's tensor; false once one side trains alone */
    char *quantised;        /* the type of fewer bits that the layers' matrices were put in, in memory; NULL: they are as in the file */
    size_t quantised_bytes; /* of them */
    bool own_head;          /* config.json ties it, but the files bring another one, which counts */
    ar_embedding embed, positions; /* positions: no data where there are none */
    ar_ple ple;
    float *ones; /* the widest head of them, */
    size_t ones_count;
    ar_norm v_norm; /* which is this norm's weight; none where values are not normed */
    ar_layer *layers;
    ar_linear *experts; /* of all layers */
    ar_norm norm;
    ar_linear head;
    struct ar_mirrors *mirrors; /* what operators know of it: model/mirror.h */
};

/* A base from config.json alone: weights ~ N(0, initializer_range), norms 1, biases 0, all owned. */
ar_status ar__model_init(ar_model **out, const ar_runtime *rt, const char *config_path, uint64_t seed, ar_error *err);

/* Where a layer has a tensor of arch.h's list of what mixers have; part past the last: what is behind them. */
float *ar__model_mixer(const ar_model *m, int64_t layer, int part);
/* Heads of q (0) or k (1) with norms of their own. */
size_t ar__model_normed_heads(const ar_model *m, int which);

/* NULL for modules that are no linear (norms, embedding) or absent. */
ar_linear *ar__model_linear(ar_model *m, size_t module);
ar_norm *ar__model_norm(ar_model *m, size_t module);           /* NULL for what is no norm */
ar_embedding *ar__model_embedding(ar_model *m, size_t module); /* NULL for what is no embedding */
/* The weight of any module; data NULL where the record lacks it. */
ar_weight ar__model_weight(const ar_model *m, size_t module);

/* Makes the module's weight an f32 copy that may change.  A tied pair stays tied. */
ar_status ar__model_own(ar_model *m, size_t module, ar_error *err);
/* Puts an f32 tensor that belongs to an adapter in the module's place; a tied side gets untied by it.  Call
 * ar__model_rebind when all are in place. */
void ar__model_borrow(ar_model *m, size_t module, bool bias, float *data);
/* Points every operator at its current storage again, after owned copies changed place. */
void ar__model_rebind(ar_model *m);

/* Index of the module with this Hugging Face path; SIZE_MAX if there is none. */
size_t ar__model_find(const ar_model *m, const char *path);
/* Puts the layers' matrices in a type of weights/quantise.h, in memory, and tells how many bytes and how much noise.  A folder's alone. */
ar_status ar__model_quantise(ar_model *m, const char *name, ar_error *err);
/* Of all tensors in its files, 0 of a random base; but for matrices that are in memory instead: in another order, unpacked, quantised. */
size_t ar__model_file_bytes(const ar_model *m);
/* Names the first base tensor that holds NaN or infinity, or returns NULL. */
const char *ar__model_find_nonfinite(const ar_model *m);

/* What the files call a module's weight, without `.weight`; NULL where they have it in a tensor with others, or nothing says. */
const char *ar__model_file_name(const ar_model *m, size_t module);
/* Writes config.json, the weights (in m->dtype) and the tokenizer's files as a Hugging Face folder. */
ar_status ar__model_save(const ar_model *m, const char *dir, const char *tokenizer_dir, ar_error *err);

#endif
