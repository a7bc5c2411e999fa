/* Experts in a GGUF adapter: one pair of tensors for all of a layer, in the order of the experts.
 *
 *     blk.N.ffn_gate_exps.weight.lora_a ne {n_in, r, E}     .lora_b ne {r, n_out, E}          and so up, down
 *
 * Here they are pairs of single experts, `PATH.e.gate_proj`.  Of a family whose files have gate and up in one, blk.N.ffn_gate_up_exps,
 * they are those of stacks, `PATH.gate_up_proj[e]`. */
#ifndef AR_ADAPTER_GGUF_EXPERTS_H
#define AR_ADAPTER_GGUF_EXPERTS_H

#include "adapter/gguf.h"
#include "arch/names.h"

/* An expert's linear by its site; false: it is none of this family's. */
typedef struct ar_gguf_expert {
    int64_t layer, index;
    int part; /* of ffn_gate_exps, ffn_up_exps, ffn_down_exps, ffn_gate_up_exps */
} ar_gguf_expert;
bool ar__gguf_expert_find(ar_gguf_expert *out, const ar_name_map *map, const char *site);
/* The same by the stem of a tensor, without an index. */
bool ar__gguf_expert_stem(ar_gguf_expert *out, const char *stem);
/* Why pairs of gemma 4's experts' down_proj are refused: B·A·x would be added as it is to t_e·W·x. */
#define AR_GGUF_BEHIND_FACTOR                                                                                                              \
    "llama.cpp adds the pair of an expert's down_proj behind the expert's factor (per_expert_scale), which the model multiplies it by"
/* Whether llama.cpp would run such pairs so. */
bool ar__gguf_expert_is_behind_factor(const ar_name_map *map, const ar_gguf_expert *x);
/* Whether a file of that family has such tensors. */
bool ar__gguf_expert_has(const ar_name_map *map, const ar_gguf_expert *x);
/* Appends a site, and the stem of a tensor. */
void ar__gguf_expert_site(ar_buf *out, const ar_name_map *map, const ar_gguf_expert *x);
void ar__gguf_expert_print(ar_buf *out, const ar_gguf_expert *x);

/* The map whose experts an adapter of this one has: llama's with experts is mixtral's.  NULL: the architecture has none. */
const ar_name_map *ar__gguf_expert_map(const ar_name_map *map);

#endif
