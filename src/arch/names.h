/* What one weight is called by Hugging Face, by GGUF and by mlx-lm, and what GGUF does to its rows: data for many
 * families (families.c), none of which the forward pass needs to know.  Hugging Face's module paths are the canonical names.
 *
 *     model.layers.3.self_attn.q_proj  =  blk.3.attn_q  (+ ".weight", ".bias")
 *
 * Multimodal checkpoints wrap their language model (`language_model.model.layers.…`, `model.language_model.layers.…`),
 * and a bare model leaves its prefix out (`h.0.attn.c_attn`); both are understood wherever a path is taken.
 * Sources: gguf-py's tensor_mapping, llama.cpp's converters, mlx-lm's models; docs/families.md. */
#ifndef AR_ARCH_NAMES_H
#define AR_ARCH_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "alphar/error.h"
#include "arch/module.h"
#include "base/mem.h"

/* How a GGUF file orders the rows of a weight, its bias and the B of its pair, against Hugging Face.
 *   LLAMA_Q, _K  per head [2, d/2] → [d/2, 2]: the halves of the rotary embedding interleaved; K goes by kv heads
 *   QKV_HEADS    fused, [heads, 3, d] → [3, heads, d]
 *   VALUE_HEADS  of linear attention, [key heads, value heads of each, d] → [value heads of each, key heads, d], of the last rows, those
 *                of the values; d is 1 where there is one row for a head
 *   VALUE_COLUMNS  the same of a weight's columns, and of the A of its pair */
typedef enum ar_row_order {
    AR_ROWS_SAME,
    AR_ROWS_LLAMA_Q,
    AR_ROWS_LLAMA_K,
    AR_ROWS_QKV_HEADS,
    AR_ROWS_VALUE_HEADS,
    AR_ROWS_VALUE_COLUMNS
} ar_row_order;

/* Of a base, what such an order goes by; 0: not known. */
typedef struct ar_head_counts {
    int64_t heads, kv_heads;
    int64_t key_heads, value_heads, value_dim; /* of linear attention */
} ar_head_counts;

typedef struct ar_name_row {
    const char *hf;   /* below a layer ("self_attn.q_proj"), or the whole path of a module outside ("model.norm") */
    const char *gguf; /* "attn_q", "token_embd" */
    ar_module_kind kind;
    ar_row_order order;
    bool is_conv1d; /* Hugging Face stores W as [in, out]; GGUF, MLX and the pair's halves do not follow it */
    ar_slot slot;   /* of a layer; NONE outside, and for what no record has yet */
} ar_name_row;

/* mlx-lm's path, where a prefix differs; the first that fits counts. */
typedef struct ar_name_prefix {
    const char *hf, *mlx;
} ar_name_prefix;

enum { AR_NAME_TYPES = 6, AR_NAME_PREFIXES = 4, AR_NAME_GROUPS = 8 };

typedef struct ar_name_map {
    const char *model_type[AR_NAME_TYPES]; /* of config.json, NULL-ended: the family's, and what multimodal bases of it are called */
    const char *gguf;                      /* general.architecture */
    const char *prefix;                    /* "model.": of everything but the head */
    const char *layers;                    /* "layers.": behind the prefix */
    /* Outside the layers; lists of rows end with hf NULL.  Two rows may share a GGUF name (a head that newer transformers
     * renamed); coming back the first counts. */
    const ar_name_row *top;
    const ar_name_row *group[AR_NAME_GROUPS]; /* inside, NULL-ended */
    const char *experts;                      /* "mlp.experts": what holds a layer's experts; NULL: the family has none */
    bool renamed_experts;                     /* files call experts and routers otherwise than the code of the family */
    bool stacked_files;                       /* and have the experts of a layer in one tensor, */
    bool turned_stacks;                       /* of [experts, in, out], gate's and up's columns in turn */
    bool fused_stacks;                        /* GGUF has gate's and up's rows in one tensor, as stacks of folders do */
    bool linear_router;                       /* it is a module of its own, a linear, within what routes */
    bool all_experts;                         /* PEFT's all-linear: routers and experts, but no MLP of layers without */
    bool gguf_norms_plus_one;                 /* GGUF stores 1 + w for norms (gemma) */
    bool mlx_lacks;                           /* mlx-lm has no such model */
    const char *told_by;                      /* of an architecture of several families: the key that is above 0 in this one's files */
    ar_name_prefix mlx[AR_NAME_PREFIXES];     /* ends with hf NULL */
} ar_name_map;

/* Rows of the table, in its order; NULL past the end. */
const ar_name_map *ar__names_at(int i);
const ar_name_map *ar__names_for_model_type(const char *model_type); /* NULL if unknown */
const ar_name_map *ar__names_for_gguf(const char *architecture);     /* the first; NULL if unknown */
/* Of a file, which says whether a key of its architecture is a number above 0. */
const ar_name_map *ar__names_for_file(const char *architecture, bool above_0(const void *file, const char *key), const void *file);

/* A module of some model: its row, and its layer (-1 outside the layers). */
typedef struct ar_name {
    const ar_name_row *row;
    int64_t layer;
} ar_name;
bool ar__names_find(ar_name *out, const ar_name_map *map, const char *hf_path);
bool ar__names_find_gguf(ar_name *out, const ar_name_map *map, const char *stem); /* "blk.3.attn_q" */
const ar_name_row *ar__names_row(const ar_name_map *map, const char *hf_path);    /* NULL if unknown */
const ar_name_row *ar__names_slot(const ar_name_map *map, ar_slot slot);          /* NULL: the family has none */
const ar_name_row *ar__names_top(const ar_name_map *map, ar_module_kind kind);    /* the first outside the layers */
const ar_name_row *ar__names_outside(const ar_name_map *map, ar_slot slot);       /* of a slot outside the layers; NULL: none */

/* Whether GGUF stores 1 + w for this one: not for the gated norm of linear attention, which stores w everywhere. */
static inline bool ar__names_add_one(const ar_name_map *map, const ar_name_row *row) {
    return map->gguf_norms_plus_one && row->kind == AR_MODULE_NORM && row->slot != AR_SLOT_DELTA_NORM && row->slot < AR_SLOT_SCALAR;
}

/* What stands before the paths of a multimodal base's language model, in place of its prefix. */
#define AR_WRAPPER "model.language_model."

/* The part of a path behind a multimodal wrapper; the path itself where none stands.  "model.language_model.layers.0.…"
 * gives the bare "layers.0.…", whose prefix the functions here put back. */
const char *ar__names_unwrap(const char *hf_path);
/* Appends a key that all paths of one module share: its GGUF name where the table knows it, else the path without
 * wrapper and leading "model.".  map may be NULL. */
void ar__names_key(ar_buf *out, const ar_name_map *map, const char *hf_path);

/* Appends the other name.  Fails, naming path and family, where the table has none; out->failed is the caller's. */
ar_status ar__names_to_gguf(ar_buf *out, const ar_name_map *map, const char *hf_path, ar_error *err);
ar_status ar__names_from_gguf(ar_buf *out, const ar_name_map *map, const char *stem, ar_error *err);
/* Full path of a name, `model.layers.3.self_attn.q_proj`. */
void ar__names_print(ar_buf *out, const ar_name_map *map, const ar_name *name);
void ar__names_print_gguf(ar_buf *out, const ar_name *name); /* `blk.3.attn_q` */
/* mlx-lm's module path; what the table does not know, or a map of NULL, keeps its path.  wrapped: the model is multimodal,
 * so mlx-lm puts `language_model.` before all of them, the head too. */
void ar__names_to_mlx(ar_buf *out, const ar_name_map *map, const char *hf_path, bool wrapped);
/* And back; wrapped paths come as transformers has them since 4.52.  Without a map, a path that only one family's table
 * turns into one of its modules is taken as that family's. */
void ar__names_from_mlx(ar_buf *out, const ar_name_map *map, const char *mlx_path);
/* The first family of the table that has such a module in its layers; NULL: none. */
const ar_name_map *ar__names_guess(const char *hf_path);

/* Where a layer's activation has its numbers (xielu), in Hugging Face's files: prefix and layer; and their names.  GGUF has them as keys
 * "xielu" + name, lists over the layers. */
#define AR_XIELU_PATH "%slayers.%lld.mlp.act_fn"
enum { AR_XIELU_NUMBERS = 4 };
extern const char *const ar__xielu_names[AR_XIELU_NUMBERS];

/* Where a layer's output has its factor (gemma 4), in Hugging Face's files, prefix and layer: the whole name of a tensor. */
#define AR_SCALAR_PATH "%slayers.%lld.layer_scalar"

/* Where attention has its sinks (gpt_oss), as above; where experts beside a dense MLP have what is no module's weight (gemma 4). */
#define AR_SINKS_PATH "%slayers.%lld.self_attn.sinks"
#define AR_ROUTER_NORM_PATH "%slayers.%lld.router.scale"
#define AR_EXPERT_FACTORS_PATH "%slayers.%lld.router.per_expert_scale"

/* And the weights of a head's norm of q (k) in Hugging Face's files: "self_attn.q_layernorm", head. */
#define AR_HEAD_NORM_PATH "%slayers.%lld.%s.norms.%lld"

/* Where a layer has what is no module's weight: prefix and layer; then a path of ar__mixer_tensor (arch/arch.h). */
#define AR_MIXER_PATH "%slayers.%lld."

/* A row order for one weight, checked against its shape. */
typedef struct ar_row_map {
    ar_row_order order;
    int64_t heads, size; /* rows of one head */
    int64_t first, each; /* of value heads: rows before theirs; how many of them a key head has */
} ar_row_map;
static inline bool ar__order_is_of_columns(ar_row_order order) { return order == AR_ROWS_VALUE_COLUMNS; }
static inline bool ar__order_is_of_rows(ar_row_order order) { return order != AR_ROWS_SAME && !ar__order_is_of_columns(order); }
/* Whether the counts that the order goes by are known. */
bool ar__order_is_known(ar_row_order order, const ar_head_counts *counts);
/* rows: of an order of columns, these.  Counts that are not known are an error only if the order needs them. */
ar_status ar__row_map_init(ar_row_map *out, ar_row_order order, int64_t rows, const ar_head_counts *counts, ar_error *err);
/* As a note of an adapter has them: "32,8", and of linear attention "8,2,16,32,128". */
void ar__head_counts_print(char *out, size_t size, const ar_head_counts *counts);
ar_head_counts ar__head_counts_read(const char *note);
int64_t ar__row_to_gguf(const ar_row_map *m, int64_t hf_row);
int64_t ar__row_from_gguf(const ar_row_map *m, int64_t gguf_row);

#endif
