/* config.json as tables of fields: {key, type, where it goes, range}.  A family reads some groups of them; a key is then
 *
 *     read        it stands in one of the family's groups: of this type, in this range, into ar_config
 *     silent      it is known to have no effect, for every family or for this one
 *     refused     it means something to another family, or to none that runs, unless it is off (null, false, 0, "", [], {}),
 *                 because the file says something there that this family's code does not do; as is any unknown key
 *
 * by construction: there is no reading of a key that no table has. */
#ifndef AR_ARCH_CONFIG_FIELDS_H
#define AR_ARCH_CONFIG_FIELDS_H

#include <jansson.h>

#include "alphar/error.h"
#include "arch/arch.h"

/* What config.json says, before a family's rules make a record of it.  Texts and lists live with the JSON. */
typedef struct ar_config {
    int64_t vocab, dim, ff, layers, heads, kv_heads, head_dim, max_positions;
    int64_t experts, experts_used, expert_ff, shared_ff, sparse_every; /* of each so many-th layer the MLP is experts; expert_ff 0: ff */
    int64_t window, first_windowed;                                    /* of layers that have it */
    int64_t bos;
    int64_t no_rope_every; /* each so many-th layer has no rotary embedding */
    int64_t full_every;    /* each so many-th layer has no window, unless `pattern` says otherwise: a number, or letters L and G */
    double original_max;   /* original_max_position_embeddings */
    double norm_eps, attention_dropout, residual_dropout, embed_dropout, theta, local_theta; /* local: of layers with a window */
    double embed_scale, residual_scale, attention_scale, logit_divisor;                      /* attention_scale 0: 1 / sqrt(head_dim), */
    double partial;                                                                          /* of a head, what RoPE turns; 0: all */
    double query_scalar;                                                                     /* or of this, where it is not 0 */
    double score_cap, logit_cap, logit_scale, clip_qkv;
    int64_t delta_taps, delta_key_dim, delta_value_dim, delta_key_heads, delta_value_heads, attention_every; /* delta: linear attention's */
    bool output_gate;
    int64_t conv_taps, ff_multiple,
        block_ff; /* block_ff 0: ff; ff_multiple: of two thirds of it, times ff_multiplier; that 0: these alone */
    double ff_multiplier;
    bool conv_bias, two_thirds_ff, tie_embedding; /* tie_embedding counts before tied where it is there */
    const json_t *full_layers;
    bool tied, attention_bias, out_bias, mlp_bias, all_bias, use_window;  /* all_bias: of every linear */
    bool qkv_bias, qk_norm, parallel, scaled, layer_scaled, renormalised; /* scaled: attention's scores, by 1 / sqrt(head_dim) */
    const char *act, *bidirectional;
    const json_t *layer_types, *rope_layers, *pattern, *dense_layers;
    int64_t full_head_dim, full_kv_heads, kv_shared, ple_dim, ple_vocab; /* as ar_arch has them */
    bool full_k_is_v, shared_wide, moe_block;
    double swiglu_alpha, swiglu_limit;
    bool router_logits; /* their load-balancing loss is learned too, with this weight: */
    double router_aux;
    int64_t experts_per_token; /* what num_experts_per_tok says a second time; 0: not said */
} ar_config;

typedef enum ar_field_type {
    AR_FIELD_ANY,
    AR_FIELD_WHOLE,
    AR_FIELD_REAL,
    AR_FIELD_BOOL,
    AR_FIELD_STRING,
    AR_FIELD_LIST,
    AR_FIELD_OBJECT
} ar_field_type;

enum { AR_FIELD_NOWHERE = -1 }; /* who asks reads it from the JSON */

/* Rows of a group end with key NULL. */
typedef struct ar_field {
    const char *key;
    ar_field_type type;
    bool is_needed;
    int at;              /* where it goes in ar_config */
    double lowest, most; /* of a number */
    bool null_is_none;   /* null does not leave the default: a number becomes 0 */
    int read, harmless;  /* kinds of rope, in the table of their parameters */
} ar_field;

extern const ar_field ar__fields_decoder[], ar__fields_rope[], ar__fields_window[], ar__fields_attention_bias[], ar__fields_mlp_bias[],
    ar__fields_multipliers[], ar__fields_no_rope[], ar__fields_out_bias[], ar__fields_all_bias[], ar__fields_act[], ar__fields_activation[],
    ar__fields_sliding[], ar__fields_pattern[], ar__fields_query_scalar[], ar__fields_score_cap[], ar__fields_logit_cap[],
    ar__fields_local_theta[], ar__fields_dropouts[], ar__fields_rms[], ar__fields_layer_norm[], ar__fields_norm_epsilon[],
    ar__fields_norm_eps[], ar__fields_gpt2[], ar__fields_gpt_neox[], ar__fields_qk_norm[], ar__fields_parallel[], ar__fields_qkv_bias[],
    ar__fields_hidden_dropout[], ar__fields_starcoder2[], ar__fields_logit_scale[], ar__fields_experts[], ar__fields_balance[],
    ar__fields_expert_ff[], ar__fields_renormalised[], ar__fields_some_dense[], ar__fields_shared[], ar__fields_jitter[],
    ar__fields_clip_qkv[], ar__fields_window_or_0[], ar__fields_gemma4[], ar__fields_delta[], ar__fields_qwen_bias[], ar__fields_lfm2[],
    ar__fields_swiglu[];

enum { AR_FIELD_GROUPS = 12, AR_FIELD_SILENT = 16 };

typedef struct ar_field_list {
    const ar_field *group[AR_FIELD_GROUPS]; /* NULL-ended */
    const char *silent[AR_FIELD_SILENT];    /* keys without effect on this family, NULL-ended */
} ar_field_list;

bool ar__fields_have(const ar_field_list *list, const char *key);
/* Reads all of config into *out, which has the family's defaults; null leaves them.  Fails on the first field that is needed and
 * missing, without a default, of another type, out of its range, or refused.  name: the family, for messages. */
ar_status ar__fields_read(ar_config *out, const ar_field_list *list, const json_t *config, const char *name, const char *place,
                          ar_error *err);
/* Checks a block of rope parameters, one table for all families, by kind; a field that this kind does not read is told to log. */
ar_status ar__rope_fields_check(const json_t *block, ar_rope_kind kind, const char *kind_name, const char *place, const ar_log *log,
                                ar_error *err);

#endif
