/* A family as a row: what its modules are called, which fields its config.json has, transformers' defaults of them, and what no field
 * says.  The table is families.c; family.c makes a record of a row and a file.  Families that do not run have names alone. */
#ifndef AR_ARCH_FAMILY_H
#define AR_ARCH_FAMILY_H

#include "arch/arch.h"
#include "arch/config_fields.h"
#include "arch/names.h"

typedef enum ar_window_rule {
    AR_WINDOW_NONE,
    AR_WINDOW_MISTRAL,
    AR_WINDOW_QWEN,
    AR_WINDOW_UNTURNED,
    AR_WINDOW_PATTERN,
    AR_WINDOW_ALL,
    AR_WINDOW_ASKED,      /* all, if use_sliding_window says so; */
    AR_WINDOW_EVERY_OTHER /* or of the layers below max_window_layers every other */
} ar_window_rule;

/* Whether a GGUF file says that there is a window.  Where it does not, llama.cpp's code has a rule, or none. */
typedef enum ar_gguf_window {
    AR_GGUF_NO_WINDOW,
    AR_GGUF_WINDOW,
    AR_GGUF_WINDOW_LISTED, /* and which layers have it: attention.sliding_window_pattern */
    AR_GGUF_WINDOW_OR_0    /* 0 where there is none */
} ar_gguf_window;

enum { AR_FAMILY_EOS = 2 };

typedef struct ar_family {
    ar_name_map names; /* its model_type comes first */
    ar_field_list fields;
    ar_config initial;                  /* transformers' defaults; of kv_heads and head_dim 0: as many as heads, dim / heads */
    bool bias_qkv;                      /* always, without a field saying so */
    bool qk_wide, out_bias, neighbours; /* out_bias: o's has a field of its own */
    bool layer_norm, norm_bias;         /* LayerNorm, not RMSNorm */
    bool bias_all, bias_head;           /* always: of all linears, of the head */
    bool parallel, by_head, learned;    /* as ar_arch has them; parallel: always */
    bool norm_plus_one, embed_root;     /* norms store w - 1; the embedding is multiplied by sqrt(dim) */
    bool gelu_is_tanh;
    bool head_norms;            /* these norms have weights of each head's own */
    bool has_qk_norm, one_norm; /* q and k are normed if a field says so; parallel, the MLP has no norm of its own */
    bool two_ropes;             /* layers with the window turn otherwise */
    bool turns_with_window;     /* where there is a window, layers without it do not turn; */
    bool turns_in_window;       /* nor do they where there is none */
    bool query_gain;            /* q grows with its position */
    const ar_rope_config *rope; /* where the file has no block; NULL: the default kind */
    bool ntk_alpha;             /* "dynamic" with an alpha does not depend on the length */
    bool qk_turned, xielu;
    bool route_of_all;         /* experts' weights are shares of all, unless norm_topk_prob says otherwise */
    bool delta;                /* layers but each so many-th mix by the delta rule; the others' attention is gated */
    bool short_conv;           /* layers that layer_types (or full_attn_idxs) says mix by a short convolution */
    bool partial;              /* a head may be turned in part */
    bool long_rope;            /* scaled by longrope or not at all, with an original_max_position_embeddings of its own */
    bool types_unread;         /* its code knows no layer_types */
    bool v_norm, layer_scalar; /* as ar_arch has them */
    bool last_full;            /* the last layer never has the window */
    bool sinks, swiglu;        /* attention's sinks; experts' activation is swiglu, with biases around it and at the router */
    ar_window_rule window;
    ar_gguf_window gguf_window;
    int32_t eos;                     /* -1: none */
    int32_t more_eos[AR_FAMILY_EOS]; /* up to the first 0; with them null stands for the default */
} ar_family;

static inline const char *ar__family_name(const ar_family *f) { return f->names.model_type[0]; }

/* Rows of the table that run, in its order; NULL past the end. */
const ar_family *ar__family_at(size_t i);
const ar_family *ar__family_find(const char *model_type);   /* NULL if unknown */
const ar_family *ar__family_inside(const char *model_type); /* the language model of such a multimodal base; NULL if unknown */
/* Of the families of an architecture that run; above_0: as for ar__names_for_file. */
const ar_family *ar__family_for_file(const char *architecture, bool above_0(const void *file, const char *key), const void *file);

#endif
