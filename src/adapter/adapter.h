/* The adapter in memory.  Arrays are f32, 64-byte aligned and stay where they are until the adapter is freed, so that a
 * trainer updates them in place; the structs themselves may move when a pair or tensor is added. */
#ifndef AR_ADAPTER_ADAPTER_H
#define AR_ADAPTER_ADAPTER_H

#include "adapter/settings.h"
#include "alphar/adapter.h"
#include "arch/module.h"

typedef struct ar_pair {
    char *site;
    int64_t n_in, n_out; /* embedding: vocabulary, width */
    int rank;
    double alpha;
    ar_policy policy;
    double scale; /* s: what everything computes with */
    bool is_embedding;
    float *a;         /* [rank, n_in] */
    float *b;         /* [n_out, rank] */
    float *magnitude; /* [n_out], NULL without DoRA */
    float *b_bias;    /* [n_out], NULL without lora_bias */
} ar_pair;

typedef struct ar_whole {
    char *name; /* "lm_head.weight", "model.layers.0.self_attn.q_proj.bias" */
    int dims;
    int64_t shape[8];
    size_t count;
    float *data;
} ar_whole;

struct ar_adapter {
    ar_pair *pair;
    size_t pair_count, pair_cap;
    ar_whole *whole;
    size_t whole_count, whole_cap;
    ar_adapter_settings settings;
    ar_strings note_keys, note_values; /* provenance: metadata "alphar.KEY" */
    const char *format;
};

/* What ar__adapter_add_pair is to make; alpha decides s by the policy. */
typedef struct ar_pair_shape {
    const char *site;
    int64_t n_in, n_out;
    int rank;
    double alpha;
    ar_policy policy;
    bool is_embedding, dora, b_bias;
} ar_pair_shape;

ar_status ar__adapter_new(ar_adapter **out, ar_error *err);
/* Adds a pair of zeros; *out (may be NULL) is valid until the next one is added. */
ar_status ar__adapter_add_pair(ar_pair **out, ar_adapter *ad, const ar_pair_shape *shape, ar_error *err);
ar_status ar__adapter_add_whole(ar_whole **out, ar_adapter *ad, const char *name, int dims, const int64_t *shape, ar_error *err);
ar_pair *ar__adapter_find_pair(const ar_adapter *ad, const char *site);   /* NULL if absent */
ar_whole *ar__adapter_find_whole(const ar_adapter *ad, const char *name); /* NULL if absent */
/* Provenance ("base.weights", "train.lr", …), written to the file's metadata; replaces an older value. */
ar_status ar__adapter_set_note(ar_adapter *ad, const char *key, const char *value, ar_error *err);
const char *ar__adapter_note(const ar_adapter *ad, const char *key); /* NULL if absent */

double ar__policy_scale(ar_policy policy, double alpha, int rank);
double ar__policy_alpha(ar_policy policy, double scale, int rank);

/* Start values: A ~ U(−1/√n_in, 1/√n_in), B = 0; embedding: A = 0, B ~ N(0, 1).  Each site and factor has its own
 * stream of the seed.  The magnitude is left alone: it needs W. */
void ar__pair_init(ar_pair *pair, uint64_t seed);

/* A new adapter on a base: settings (copied) resolved against the base's modules, pairs with start values, and zeroed
 * whole tensors for modules_to_save and biases; the caller fills those and the magnitudes from the base.
 * default_targets (suffixes) stand in where the settings give none.  The adapter's settings then name the modules as
 * ar__targets_describe does. */
ar_status ar__adapter_build(ar_adapter **out, const ar_adapter_settings *settings, const ar_module *modules, int module_count,
                            const char *const *default_targets, int default_count, uint64_t seed, ar_error *err);

/* Does the base have what the adapter adapts?  Sites and whole tensors must be modules of the base with these shapes,
 * and the settings must select every site (PEFT would ignore one that they do not). */
ar_status ar__adapter_check_base(const ar_adapter *ad, const ar_module *modules, int module_count, const char *const *default_targets,
                                 int default_count, ar_error *err);

#endif
