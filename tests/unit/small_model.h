/* Small random bases with adapters, for tests of gradients and of bit-stability. */
#ifndef AR_TEST_SMALL_MODEL_H
#define AR_TEST_SMALL_MODEL_H

#include "model/pass.h"
#include "train/trainable.h"

typedef struct small_case {
    const char *name, *config;  /* extra members of config.json, starting with a comma */
    const char *targets, *save; /* as --targets; comma-separated modules to save, or NULL */
    bool dora, full;
    double dropout;
    ar_bias_mode bias;
} small_case;

typedef struct small {
    ar_runtime *rt;
    ar_model *model;
    ar_adapter *adapter;
    ar_attachment *at;
    ar_trainables list;
    ar_pass *pass;
    size_t tokens, samples;
    size_t *start;
    uint64_t *key;
    int32_t *ids, *targets;
    ar_segment segment;
    ar_batch batch;
} small;

enum { SMALL_VOCAB = 61 };

/* lengths: zero-terminated sample lengths. */
small small_open(const small_case *c, const size_t *lengths, int threads, const char *isa, const char *backend, bool recompute);
void small_close(small *s);
/* Whose operators the next ones have; NULL: the CPU's. */
void small_use(const ar_ops *ops);
void small_use_bf16(bool on);              /* with the base's weights and in attention */
void small_use_device(const char *device); /* as ar_runtime_options has it; NULL: none */
/* A new pass that forms these layers again (struct ar_pass_spec). */
void small_keep(small *s, size_t again, size_t mlp_again);
void small_keep_pieces(small *s, size_t head_pieces); /* the same for the head's chunk */
/* From the next loss on each token keeps the experts that it chooses there: the choice has no slope.  One model at a time. */
void small_hold_choices(small *s);
/* Mean loss; with gradients they are formed anew. */
double small_loss(small *s, bool gradients);
/* The same, sample by sample in batches of their own. */
double small_loss_apart(small *s, bool gradients);

/* A loss of the small model's batch; with gradients they are formed anew. */
typedef double small_loss_fn(small *s, bool gradients, const void *user);
/* Backward against central differences, for each tensor that trains. */
void small_check_slopes(small *s, small_loss_fn *loss, const void *user, const char *name);

#endif
