/* The architecture record: everything about a model that the one forward and backward need to know.
 *
 * A family is data: a row of the table in families.c says how its configuration is spelled and what its defaults are, what its modules are
 * called, and which slot of a layer each fills. */
#ifndef AR_ARCH_ARCH_H
#define AR_ARCH_ARCH_H

#include <jansson.h>

#include "alphar/error.h"
#include "arch/module.h"
#include "base/log.h"
#include "format/tensor.h"
#include "ops/activation.h"

typedef enum ar_rope_kind {
    AR_ROPE_DEFAULT,
    AR_ROPE_LINEAR,
    AR_ROPE_DYNAMIC,
    AR_ROPE_LLAMA3,
    AR_ROPE_YARN,
    AR_ROPE_LONG,
    AR_ROPE_PROPORTIONAL /* partial of the frequencies of a whole head turn, the others are 0 */
} ar_rope_kind;

typedef struct ar_rope_config {
    ar_rope_kind kind;
    double theta, factor, low_freq, high_freq, original_max;
    double beta_fast, beta_slow, attention_factor, mscale, mscale_all_dim; /* yarn; attention_factor 0: derived */
    double query_beta; /* q at position p is multiplied by 1 + query_beta ln(1 + floor(p / original_max)) */
    bool truncate;
    double alpha;   /* dynamic: theta grows by alpha^(d / (d - 2)) whatever the length; 0: by the length */
    double partial; /* of a head, what is turned; 0: the file is silent */
    /* longrope: what each frequency is divided by, of sequences up to original_max, and of longer ones; [factors] each, owned */
    double *short_factor, *long_factor;
    size_t factors;
} ar_rope_config;

enum { AR_MAX_EOS = 8, AR_ROPES = 2 };

/* By what a layer mixes its rows. */
typedef enum ar_mixer { AR_MIX_ATTENTION, AR_MIX_DELTA, AR_MIX_CONV } ar_mixer;

/* Of layers that mix by the delta rule (ops/delta.h); taps: of their convolution. */
typedef struct ar_delta_sizes {
    int64_t key_heads, value_heads, key_dim, value_dim, taps;
} ar_delta_sizes;

typedef struct ar_arch {
    const char *family; /* "llama", "qwen3"; of a multimodal base its language model's */
    bool wrapped;       /* it is the language model of a multimodal base, whose other parts nothing here reads */
    const struct ar_name_map *names;
    int64_t vocab, dim, ff, layers, heads, kv_heads, head_dim, max_positions;
    int64_t experts, expert_ff,
        shared_ff;               /* of a layer's MLP, 0: it is dense, ff wide; widths of one, and of the one that all rows take, 0: none */
    int64_t experts_used;        /* by each token */
    double router_aux;           /* weight of their load-balancing loss in training; 0: there is none */
    bool route_of_all;           /* ops/experts.h */
    bool experts_beside;         /* the dense MLP stands beside the experts of its layer (model/experts.h) */
    double clip_qkv;             /* q, k (behind their norms) and v are cut to ± this; 0: not */
    int64_t rotary_dim;          /* of a head, its first elements: what RoPE turns */
    float norm_eps, norm_offset; /* ops/norm.h */
    bool norm_centred, norm_bias;
    bool qk_turned; /* q and k are normed behind RoPE */
    bool bias_head;
    bool parallel;                 /* attention and MLP read the same residual stream, each its norm of it, or both that of the attention */
    bool qkv_by_head;              /* the fused linear gives q, k, v of the first head, of the second, … */
    bool layer_scaled;             /* attention's scores of layer l are divided by l + 1 */
    bool learned;                  /* positions have embeddings, which end at max_positions */
    uint64_t absent;               /* slots of the names that this configuration lacks, as bits */
    ar_activation_kind activation; /* xielu has numbers of each layer's own, in the files */
    bool tied, bias_qkv, bias_o, bias_mlp;
    bool qk_norm, qk_wide;         /* q and k are normed: by head, or wide, all heads as one */
    ar_rope_config rope[AR_ROPES]; /* of all layers; or, where there are two, of those without and with the window */
    int ropes;
    bool rope_neighbours;         /* which pairs it turns: ops/rope.h */
    int64_t window;               /* 0: none */
    uint8_t *windowed, *unturned; /* per layer: has the window; has no rotary embedding; owned */
    uint8_t *dense;               /* per layer: its MLP is no experts; NULL: all are dense; owned */
    uint8_t *mixer;               /* per layer: an ar_mixer; owned */
    ar_delta_sizes delta;
    int64_t conv_taps; /* of layers that mix by a short convolution, of dim columns, */
    bool conv_bias;    /* whose linears and convolution have biases */
    bool gated;        /* q's linear gives q and a gate of each head, by whose sigmoid what attention gives is multiplied */
    /* factors of the embedding's output, of what a sublayer adds to the residual stream, of q · k, of the logits */
    double embed_scale, residual_scale, attention_scale, logit_scale;
    double score_cap, logit_cap; /* of attention's scores, of the logits; 0: none */
    int32_t bos, eos[AR_MAX_EOS];
    int eos_count;
    /* What differs from layer to layer (layers.c). */
    int64_t full_head_dim, full_kv_heads; /* of layers without the window; of the others head_dim, kv_heads */
    bool full_k_is_v;                     /* layers without the window have no v: values are what k gives, before its norm and RoPE */
    bool v_norm;                          /* values are normed by head, without weights */
    int64_t kv_shared;                    /* so many last layers take keys and values of the last layer of their kind before them, */
    bool shared_wide;                     /* and their MLP is twice as wide */
    bool layer_scalar;                    /* what a layer gives is multiplied by a number of its own, in the files */
    int64_t ple_dim, ple_vocab;           /* of per-layer embeddings (model/ple.h); 0: none */
    double swiglu_alpha, swiglu_limit;    /* of AR_SWIGLU */
    bool sinks;                           /* attention has them, a number a head, in the files */
    bool head_norms;                      /* the norms of q and k by head have weights of each head's own, in the files */
    bool bias_experts;                    /* their linears have biases, and their router */
} ar_arch;

/* Of a layer: sizes, and whose keys and values it takes: its own, or those of an earlier one. */
int64_t ar__arch_head_dim(const ar_arch *a, int64_t layer);
int64_t ar__arch_kv_heads(const ar_arch *a, int64_t layer);
int64_t ar__arch_ff(const ar_arch *a, int64_t layer);
int64_t ar__arch_kv_layer(const ar_arch *a, int64_t layer);

/* Reads a config.json already parsed; place is its path, for messages.  log (NULL: nobody) is told where versions of
 * transformers read the file differently. */
ar_status ar__arch_read(ar_arch *out, const json_t *config, const char *place, const ar_log *log, ar_error *err);
void ar__arch_release(ar_arch *a);
/* The config.json that a GGUF base would have; the caller json_decref's. */
ar_status ar__gguf_config(json_t **out, const ar_tensors *files, ar_error *err);
void ar__rope_release(ar_rope_config *r);

/* Module indices: 0 the embedding, then AR_SLOT_COUNT per layer, then the last norm, the head, the embedding of positions, the per-layer
 * embeddings' table, projection and norm; then the experts of all layers, AR_EXPERT_PARTS each.  They are the site indices of segments'
 * pairs too.  Slots that the record lacks (q/k norms) keep their index, with path NULL. */
static inline size_t ar__module_at(int64_t layer, ar_slot slot) { return 1 + (size_t)layer * AR_SLOT_COUNT + (size_t)slot; }
static inline size_t ar__module_norm(const ar_arch *a) { return ar__module_at(a->layers, (ar_slot)0); }
static inline size_t ar__module_head(const ar_arch *a) { return ar__module_norm(a) + 1; }
static inline size_t ar__module_positions(const ar_arch *a) { return ar__module_norm(a) + 2; }
static inline size_t ar__module_ple_table(const ar_arch *a) { return ar__module_norm(a) + 3; }
static inline size_t ar__module_ple_mix(const ar_arch *a) { return ar__module_norm(a) + 4; }
static inline size_t ar__module_ple_norm(const ar_arch *a) { return ar__module_norm(a) + 5; }
static inline size_t ar__module_experts(const ar_arch *a) { return ar__module_norm(a) + 6; }
static inline size_t ar__module_expert(const ar_arch *a, int64_t layer, int64_t expert, ar_expert_part part) {
    return ar__module_experts(a) + (size_t)(layer * a->experts + expert) * AR_EXPERT_PARTS + (size_t)part;
}
/* Whether it is the last linear of an expert. */
static inline bool ar__module_is_down(const ar_arch *a, size_t module) {
    return module >= ar__module_experts(a) && (module - ar__module_experts(a)) % AR_EXPERT_PARTS == AR_EXPERT_DOWN;
}
static inline size_t ar__module_count(const ar_arch *a) { return ar__module_expert(a, a->layers, 0, AR_EXPERT_GATE); }
static inline bool ar__layer_is_dense(const ar_arch *a, int64_t layer) { return !a->dense || a->dense[layer]; }
static inline bool ar__layer_has_dense(const ar_arch *a, int64_t layer) { return a->experts_beside || ar__layer_is_dense(a, layer); }
/* Whether a sequence may be so long. */
static inline bool ar__arch_holds(const ar_arch *a, size_t length) { return !a->learned || length <= (size_t)a->max_positions; }

static inline uint64_t ar__slot_bit(ar_slot slot) { return (uint64_t)1 << (int)slot; }
/* Whether the family's layers have it, some of them; whether this one does. */
bool ar__arch_has(const ar_arch *a, ar_slot slot);
bool ar__arch_layer_has(const ar_arch *a, int64_t layer, ar_slot slot);
static inline int64_t ar__delta_values(const ar_delta_sizes *d) { return d->value_heads * d->value_dim; }
/* Columns that the convolution takes: q, k and v. */
static inline int64_t ar__delta_columns(const ar_delta_sizes *d) { return 2 * d->key_heads * d->key_dim + ar__delta_values(d); }
/* All modules, paths owned by the array; ar__modules_free releases. */
ar_status ar__arch_modules(ar_module **out, const ar_arch *a, ar_error *err);
void ar__modules_free(ar_module *m, size_t count);
/* The modules that an adapter may name: those that are there, but of experts the stacks that PEFT sees, unless `apart` asks for their
 * linears as well.  Paths are those of `modules`, and the stacks' own; ar__targets_free releases. */
ar_status ar__arch_targets(ar_module **out, int *count, const ar_module *modules, const ar_arch *a, bool apart, ar_error *err);
void ar__targets_free(ar_module *m, int count);

/* What a layer's mixer has beside its modules, under AR_MIXER_PATH (arch/names.h); frozen in every training. */
typedef enum ar_mixer_part {
    AR_PART_KERNEL, /* of the convolution */
    AR_PART_RATE,   /* of the delta rule, */
    AR_PART_SHIFT,
    AR_PART_BIAS = AR_PART_RATE, /* or of the convolution */
    AR_MIXER_PARTS = 3           /* at most */
} ar_mixer_part;
typedef struct ar_mixer_tensor {
    const char *module, *suffix; /* "linear_attn.conv1d", ".weight"; "linear_attn.A_log", "" */
    int64_t rows, cols;          /* the kernel is stored as [rows, 1, cols]; others are vectors */
} ar_mixer_tensor;
int ar__mixer_tensor_count(const ar_arch *a, int64_t layer);
ar_mixer_tensor ar__mixer_tensor(const ar_arch *a, int64_t layer, int part);

/* Which part of config.json's rotary embedding is read. */
typedef struct ar_rope_source {
    const char *layers; /* of which kind: "full_attention", "sliding_attention"; NULL: the family knows one kind */
    double theta;       /* where the file is silent */
    double original;    /* original_max_position_embeddings of config.json where it is silent; 0: the block's */
    bool long_alone;    /* "su" and "yarn" are longrope's older names */
    bool own_theta;     /* rope_theta does not concern these layers, */
    bool unscaled;      /* nor does rope_scaling */
} ar_rope_source;
ar_status ar__rope_read(ar_rope_config *out, const ar_rope_source *source, const json_t *config, int64_t max_positions, const char *place,
                        const ar_log *log, ar_error *err);
/* Of a head, what one of the record's ropes turns. */
int64_t ar__rope_dim(const ar_arch *a, int rope);
/* Its ar__rope_dim / 2 inverse frequencies for a sequence of `length`, and the factor on cos and sin.
 * Source: transformers' modeling_rope_utils; arXiv 2309.00071 (yarn). */
void ar__rope_frequencies(float *inv_freq, float *scale, const ar_arch *a, int rope, size_t length);
/* What q is multiplied by at a position, under the first of them. */
double ar__rope_query_gain(const ar_arch *a, size_t position);
/* Whether a sequence of this length has other frequencies than shorter ones under longrope. */
bool ar__rope_is_long(const ar_rope_config *r, size_t length);
/* Whether the length of a sequence longer than max_positions changes its frequencies. */
bool ar__rope_is_dynamic(const ar_arch *a);

/* Weights of all linears in use, per token (the N of 2N FLOPs); head not counted. */
int64_t ar__arch_linear_params(const ar_arch *a);

#endif
