/* Written by tools/make-mlx-names from mlx-lm 0.32.2; do not edit.  names_mlx.h says what the columns are. */
#include <stddef.h>

#include "arch/names_mlx.h"

/* clang-format off */
#define SET_0 \
    "*mlp.experts.down_proj *mlp.experts.gate_proj *mlp.experts.up_proj mlp.coefficient mlp.down_proj mlp.gate " \
    "mlp.gate_proj mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_1 \
    "mlp.down_proj mlp.gate_proj mlp.up_proj self_attn.out_proj self_attn.qkv_proj"
#define SET_2 \
    "*mlp.experts.down_proj *mlp.experts.gate_proj *mlp.experts.up_proj mlp.down_proj mlp.gate_proj mlp.router.gate " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.gate_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_3 \
    "mlp.down_proj mlp.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_4 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj attention.dense " \
    "attention.query_key_value mlp.down_proj mlp.gate.gate_proj mlp.gate_proj mlp.shared_experts.down_proj " \
    "mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj"
#define SET_5 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj attention.b_proj attention.dense " \
    "attention.f_proj attention.g_proj attention.k_proj attention.kv_a_proj_with_mqa attention.o_proj " \
    "attention.q_a_proj attention.q_b_proj attention.q_proj attention.v_proj mlp.down_proj mlp.gate_proj " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj"
#define SET_6 \
    ""
#define SET_7 \
    "mlp.down_proj mlp.gate_proj mlp.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_8 \
    "ffn.experts.0.v1 ffn.experts.0.w1 ffn.experts.0.w2 ffn.experts.1.v1 ffn.experts.1.w1 ffn.experts.1.w2 " \
    "ffn.experts.2.v1 ffn.experts.2.w1 ffn.experts.2.w2 ffn.experts.3.v1 ffn.experts.3.w1 ffn.experts.3.w2 " \
    "ffn.router.layer norm_attn_norm.attn.Wqkv norm_attn_norm.attn.out_proj"
#define SET_9 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate_proj " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_10 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate_proj " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.kv_a_proj_with_mqa self_attn.kv_b_proj self_attn.o_proj self_attn.q_a_proj self_attn.q_b_proj"
#define SET_11 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate_proj " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.kv_a_proj_with_mqa self_attn.o_proj self_attn.q_a_proj self_attn.q_b_proj"
#define SET_12 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate_proj " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.indexer.weights_proj self_attn.indexer.wk self_attn.indexer.wq_b self_attn.kv_a_proj_with_mqa " \
    "self_attn.o_proj self_attn.q_a_proj self_attn.q_b_proj"
#define SET_13 \
    "*mlp.experts.switch_mlp.down_proj *mlp.experts.switch_mlp.gate_proj *mlp.experts.switch_mlp.up_proj " \
    "*self_attn.o_a_proj mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj " \
    "self_attn.kv_proj self_attn.o_b_proj self_attn.q_a_proj self_attn.q_b_proj"
#define SET_14 \
    "*mlp.experts.down_proj *mlp.experts.gate_proj *mlp.experts.up_proj mlp.down_proj mlp.gate_proj " \
    "mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_15 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate " \
    "mlp.gate_proj mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_16 \
    "attn.attention.k_proj attn.attention.out_proj attn.attention.q_proj attn.attention.v_proj mlp.c_fc_0 mlp.c_fc_1 " \
    "mlp.c_proj"
#define SET_17 \
    "feed_forward.down_proj feed_forward.gate_proj feed_forward.up_proj mamba.in_proj mamba.out_proj " \
    "self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_18 \
    "altup.correction_coefs altup.modality_router altup.prediction_coefs laurel.linear_left laurel.linear_right " \
    "mlp.down_proj mlp.gate_proj mlp.up_proj per_layer_input_gate per_layer_projection self_attn.k_proj " \
    "self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_19 \
    "*experts.switch_glu.down_proj *experts.switch_glu.gate_proj *experts.switch_glu.up_proj mlp.down_proj " \
    "mlp.gate_proj mlp.up_proj per_layer_input_gate per_layer_projection router.proj self_attn.k_proj " \
    "self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_20 \
    "mlp.down_proj mlp.gate_up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_21 \
    "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj"
#define SET_22 \
    "attention.dense attention.query_key_value mlp.dense_4h_to_h mlp.dense_h_to_4h"
#define SET_23 \
    "*mlp.experts.down_proj *mlp.experts.gate_proj *mlp.experts.up_proj mlp.router self_attn.k_proj self_attn.o_proj " \
    "self_attn.q_proj self_attn.v_proj"
#define SET_24 \
    "attn.k_proj attn.out_proj attn.q_proj attn.v_proj mlp.fc_in mlp.fc_out"
#define SET_25 \
    "*block_sparse_moe.switch_mlp.down_proj *block_sparse_moe.switch_mlp.gate_proj " \
    "*block_sparse_moe.switch_mlp.up_proj block_sparse_moe.router.layer self_attn.k_proj self_attn.o_proj " \
    "self_attn.q_proj self_attn.v_proj"
#define SET_26 \
    "*block_sparse_moe.switch_mlp.down_proj *block_sparse_moe.switch_mlp.gate_proj " \
    "*block_sparse_moe.switch_mlp.up_proj block_sparse_moe.router.layer mamba.in_proj mamba.out_proj mlp.down_proj " \
    "mlp.gate_proj mlp.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj " \
    "shared_mlp.input_linear shared_mlp.output_linear"
#define SET_27 \
    "attention.wo attention.wqkv feed_forward.w1 feed_forward.w2 feed_forward.w3"
#define SET_28 \
    "*feed_forward.switch_mlp.down_proj *feed_forward.switch_mlp.gate_proj *feed_forward.switch_mlp.up_proj " \
    "feed_forward.down_proj feed_forward.gate_proj feed_forward.router feed_forward.up_proj mamba.dt_proj " \
    "mamba.in_proj mamba.out_proj mamba.x_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_29 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate " \
    "mlp.gate_proj mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.b_proj self_attn.f_a_proj self_attn.f_b_proj self_attn.g_a_proj self_attn.g_b_proj self_attn.k_proj " \
    "self_attn.kv_a_proj_with_mqa self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_30 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate.proj " \
    "mlp.gate_proj mlp.shared_expert.down_proj mlp.shared_expert.gate_proj mlp.shared_expert.up_proj mlp.up_proj " \
    "self_attn.g_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_31 \
    "conv.in_proj conv.out_proj feed_forward.w1 feed_forward.w2 feed_forward.w3 self_attn.k_proj self_attn.out_proj " \
    "self_attn.q_proj self_attn.v_proj"
#define SET_32 \
    "*feed_forward.switch_mlp.down_proj *feed_forward.switch_mlp.gate_proj *feed_forward.switch_mlp.up_proj " \
    "conv.in_proj conv.out_proj feed_forward.down_proj feed_forward.gate feed_forward.gate_proj feed_forward.up_proj " \
    "self_attn.k_proj self_attn.out_proj self_attn.q_proj self_attn.v_proj"
#define SET_33 \
    "*feed_forward.experts.down_proj *feed_forward.experts.gate_proj *feed_forward.experts.up_proj " \
    "feed_forward.router feed_forward.shared_expert.down_proj feed_forward.shared_expert.gate_proj " \
    "feed_forward.shared_expert.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_34 \
    "feed_forward.down_proj feed_forward.gate_proj feed_forward.up_proj self_attn.k_proj self_attn.o_proj " \
    "self_attn.q_proj self_attn.v_proj"
#define SET_35 \
    "mixer.dt_proj mixer.in_proj mixer.out_proj mixer.x_proj"
#define SET_36 \
    "mixer.in_proj mixer.out_proj"
#define SET_37 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.gate self_attn.k_proj " \
    "self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_38 \
    "mlp.down_proj mlp.gate_proj mlp.up_proj self_attn.kv_a_proj_with_mqa self_attn.kv_b_proj self_attn.o_proj " \
    "self_attn.q_a_proj self_attn.q_b_proj"
#define SET_39 \
    "*block_sparse_moe.switch_mlp.down_proj *block_sparse_moe.switch_mlp.gate_proj " \
    "*block_sparse_moe.switch_mlp.up_proj block_sparse_moe.gate self_attn.k_proj self_attn.o_proj self_attn.q_proj " \
    "self_attn.v_proj"
#define SET_40 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate " \
    "mlp.gate_proj mlp.shared_experts.down_proj mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.up_proj " \
    "self_attn.kv_a_proj_with_mqa self_attn.o_proj self_attn.q_a_proj self_attn.q_b_proj"
#define SET_41 \
    "mlp.down_proj mlp.gate_proj mlp.up_proj self_attn.gate_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj " \
    "self_attn.v_proj"
#define SET_42 \
    "attn.c_k attn.c_proj attn.c_q attn.c_v mlp.c_fc mlp.c_proj"
#define SET_43 \
    "*mixer.switch_mlp.fc1 *mixer.switch_mlp.fc2 mixer.down_proj mixer.in_proj mixer.k_proj mixer.o_proj " \
    "mixer.out_proj mixer.q_proj mixer.shared_experts.down_proj mixer.shared_experts.up_proj mixer.up_proj " \
    "mixer.v_proj"
#define SET_44 \
    "linear_attn.a_proj linear_attn.b_proj linear_attn.g_proj linear_attn.k_proj linear_attn.o_proj " \
    "linear_attn.q_proj linear_attn.v_proj mlp.down_proj mlp.gate_proj mlp.up_proj self_attn.k_proj self_attn.o_proj " \
    "self_attn.q_proj self_attn.v_proj"
#define SET_45 \
    "mlp.fc1 mlp.fc2 self_attn.dense self_attn.k_proj self_attn.q_proj self_attn.v_proj"
#define SET_46 \
    "mlp.down_proj mlp.gate_up_proj self_attn.o_proj self_attn.qkv_proj"
#define SET_47 \
    "mlp.down_proj mlp.up_proj self_attn.dense self_attn.query_key_value"
#define SET_48 \
    "*moe.switch_mlp.fc1 *moe.switch_mlp.fc2 mixer.Wqkv mixer.out_proj moe.gate"
#define SET_49 \
    "mixer.bcdt_proj mixer.dt_proj mixer.in_proj mixer.o_proj mixer.out_proj mixer.qkv_proj mlp.down_proj " \
    "mlp.gate_up_proj"
#define SET_50 \
    "mixer.o_proj mixer.qkv_proj mlp.down_proj mlp.gate_up_proj"
#define SET_51 \
    "attn.c_attn attn.c_proj mlp.c_proj mlp.w1 mlp.w2"
#define SET_52 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.gate " \
    "mlp.shared_expert.down_proj mlp.shared_expert.gate_proj mlp.shared_expert.up_proj mlp.shared_expert_gate " \
    "self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_53 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj linear_attn.in_proj_a " \
    "linear_attn.in_proj_b linear_attn.in_proj_qkv linear_attn.in_proj_z linear_attn.out_proj mlp.down_proj mlp.gate " \
    "mlp.gate_proj mlp.shared_expert.down_proj mlp.shared_expert.gate_proj mlp.shared_expert.up_proj " \
    "mlp.shared_expert_gate mlp.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_54 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate " \
    "mlp.gate_proj mlp.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_55 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj linear_attn.in_proj_ba " \
    "linear_attn.in_proj_qkvz linear_attn.out_proj mlp.down_proj mlp.gate mlp.gate_proj mlp.shared_expert.down_proj " \
    "mlp.shared_expert.gate_proj mlp.shared_expert.up_proj mlp.shared_expert_gate mlp.up_proj self_attn.k_proj " \
    "self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_56 \
    "mlp_block.down_proj mlp_block.gate_proj mlp_block.up_proj temporal_block.k_proj temporal_block.linear_out " \
    "temporal_block.linear_x temporal_block.linear_y temporal_block.o_proj temporal_block.q_proj " \
    "temporal_block.v_proj"
#define SET_57 \
    "mlp.c_fc mlp.c_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_58 \
    "*mlp.switch_mlp.down_proj *mlp.switch_mlp.gate_proj *mlp.switch_mlp.up_proj mlp.down_proj mlp.gate.gate " \
    "mlp.gate_proj mlp.share_expert.down_proj mlp.share_expert.gate_proj mlp.share_expert.up_proj mlp.up_proj " \
    "self_attn.g_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj"
#define SET_59 \
    "attn.attn_key attn.attn_query attn.attn_resid attn.attn_value mlp.mlp_gate mlp.mlp_linear mlp.mlp_resid"

const char *const ar__mlx_lm_version = "0.32.2";

const ar_mlx_family ar__mlx_families[] = {
    {"Klear", "model.layers.", SET_0, "lm_head model.embed_tokens"},
    {"afm7", "model.layers.", SET_1, "model.embedding model.kv_reuse_layers.0.mlp.down_proj model.kv_reuse_layers.0.mlp.gate_proj model.kv_reuse_layers.0.mlp.up_proj model.kv_reuse_layers.0.self_attn.out_proj model.kv_reuse_layers.0.self_attn.q_proj"},
    {"afmoe", "model.layers.", SET_2, "lm_head model.embed_tokens"},
    {"apertus", "model.layers.", SET_3, "lm_head model.embed_tokens"},
    {"bailing_moe", "model.layers.", SET_4, "lm_head model.word_embeddings"},
    {"bailing_moe_v3", "model.layers.", SET_5, "lm_head model.word_embeddings"},
    {"bitnet", "", SET_6, "lm_head model.embed_tokens"},
    {"cohere", "model.layers.", SET_7, "model.embed_tokens"},
    {"cohere2", "model.layers.", SET_7, "model.embed_tokens"},
    {"dbrx", "transformer.blocks.", SET_8, "lm_head transformer.wte"},
    {"deepseek", "model.layers.", SET_9, "lm_head model.embed_tokens"},
    {"deepseek_v2", "model.layers.", SET_10, "lm_head model.embed_tokens"},
    {"deepseek_v3", "model.layers.", SET_11, "lm_head model.embed_tokens"},
    {"deepseek_v32", "model.layers.", SET_12, "lm_head model.embed_tokens"},
    {"deepseek_v41", "model.layers.", SET_13, "lm_head model.embed_tokens"},
    {"dots1", "model.layers.", SET_14, "lm_head model.embed_tokens"},
    {"ernie4_5", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"ernie4_5_moe", "model.layers.", SET_15, "lm_head model.embed_tokens"},
    {"exaone", "transformer.h.", SET_16, "lm_head transformer.wte"},
    {"exaone4", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"exaone_moe", "model.layers.", SET_9, "lm_head model.embed_tokens"},
    {"falcon_h1", "model.layers.", SET_17, "lm_head model.embed_tokens"},
    {"gear", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"gemma", "model.layers.", SET_7, "model.embed_tokens"},
    {"gemma2", "model.layers.", SET_7, "model.embed_tokens"},
    {"gemma3", "language_model.model.layers.", SET_7, "language_model.lm_head language_model.model.embed_tokens"},
    {"gemma3_text", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"gemma3n", "model.language_model.layers.", SET_18, "model.language_model.altup_projections.0 model.language_model.altup_unembed_projections.0 model.language_model.embed_tokens model.language_model.embed_tokens_per_layer model.language_model.per_layer_model_projection"},
    {"gemma4", "language_model.model.layers.", SET_19, "language_model.lm_head language_model.model.embed_tokens language_model.model.embed_tokens_per_layer language_model.model.per_layer_model_projection"},
    {"gemma4_text", "model.layers.", SET_19, "lm_head model.embed_tokens model.embed_tokens_per_layer model.per_layer_model_projection"},
    {"glm", "model.layers.", SET_20, "lm_head model.embed_tokens"},
    {"glm4", "model.layers.", SET_20, "lm_head model.embed_tokens"},
    {"glm4_moe", "model.layers.", SET_9, "lm_head model.embed_tokens"},
    {"glm4_moe_lite", "model.layers.", SET_11, "lm_head model.embed_tokens"},
    {"gpt2", "model.h.", SET_21, "model.wpe model.wte"},
    {"gpt_bigcode", "transformer.h.", SET_21, "lm_head transformer.wpe transformer.wte"},
    {"gpt_neox", "model.h.", SET_22, "model.embed_in model.embed_out"},
    {"gpt_oss", "model.layers.", SET_23, "lm_head model.embed_tokens"},
    {"gptj", "model.h.", SET_24, "lm_head model.wte"},
    {"granite", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"granitemoe", "model.layers.", SET_25, "lm_head model.embed_tokens"},
    {"granitemoehybrid", "model.layers.", SET_26, "lm_head model.embed_tokens"},
    {"helium", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"hunyuan_v1_dense", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"internlm2", "model.layers.", SET_27, "model.tok_embeddings output"},
    {"internlm3", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"iquestloopcoder", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"jamba", "model.layers.", SET_28, "lm_head model.embed_tokens"},
    {"kimi_k25", "language_model.model.layers.", SET_11, "language_model.lm_head language_model.model.embed_tokens"},
    {"kimi_linear", "model.layers.", SET_29, "lm_head model.embed_tokens"},
    {"kimi_vl", "language_model.model.layers.", SET_11, "language_model.lm_head language_model.model.embed_tokens"},
    {"laguna", "model.layers.", SET_30, "lm_head model.embed_tokens"},
    {"lfm2-vl", "language_model.model.layers.", SET_31, "language_model.model.embed_tokens"},
    {"lfm2", "model.layers.", SET_31, "model.embed_tokens"},
    {"lfm2_moe", "model.layers.", SET_32, "model.embed_tokens"},
    {"llama", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"llama4", "language_model.model.layers.", SET_33, "language_model.lm_head language_model.model.embed_tokens"},
    {"llama4_text", "model.layers.", SET_34, "model.embed_tokens output"},
    {"mamba", "backbone.layers.", SET_35, "backbone.embeddings lm_head"},
    {"mamba2", "backbone.layers.", SET_36, "backbone.embeddings lm_head"},
    {"mellum", "model.layers.", SET_37, "lm_head model.embed_tokens"},
    {"mimo", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"minicpm", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"minicpm3", "model.layers.", SET_38, "lm_head model.embed_tokens"},
    {"minimax", "model.layers.", SET_39, "lm_head model.embed_tokens"},
    {"ministral3", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"mistral3", "language_model.model.layers.", SET_7, "language_model.lm_head language_model.model.embed_tokens"},
    {"mistral4", "model.layers.", SET_40, "lm_head model.embed_tokens"},
    {"mixtral", "model.layers.", SET_39, "lm_head model.embed_tokens"},
    {"muse_glimmer", "model.layers.", SET_41, "lm_head model.embed_tokens"},
    {"nanbeige", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"nanochat", "transformer.h.", SET_42, "lm_head transformer.wte"},
    {"nemotron", "model.layers.", SET_3, "lm_head model.embed_tokens"},
    {"nemotron_h", "backbone.layers.", SET_43, "backbone.embeddings lm_head"},
    {"olmo2", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"olmo3", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"olmo_hybrid", "model.layers.", SET_44, "lm_head model.embed_tokens"},
    {"olmoe", "model.layers.", SET_37, "lm_head model.embed_tokens"},
    {"phi", "model.layers.", SET_45, "lm_head model.embed_tokens"},
    {"phi3", "model.layers.", SET_46, "lm_head model.embed_tokens"},
    {"phi3small", "model.layers.", SET_47, "model.embed_tokens"},
    {"phimoe", "model.layers.", SET_39, "lm_head model.embed_tokens"},
    {"phixtral", "transformer.h.", SET_48, "lm_head.linear transformer.embd.wte"},
    {"pixtral", "language_model.model.layers.", SET_7, "language_model.lm_head language_model.model.embed_tokens"},
    {"plamo", "model.layers.layers.", SET_7, "lm_head model.embed_tokens"},
    {"plamo2", "model.layers.layers.", SET_49, "lm_head model.embed_tokens"},
    {"plamo3", "model.layers.layers.", SET_50, "lm_head model.embed_tokens"},
    {"qwen", "transformer.h.", SET_51, "lm_head transformer.wte"},
    {"qwen2", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"qwen2_moe", "model.layers.", SET_52, "lm_head model.embed_tokens"},
    {"qwen2_vl", "language_model.model.layers.", SET_7, "language_model.lm_head language_model.model.embed_tokens"},
    {"qwen3", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"qwen3_5", "language_model.model.layers.", SET_53, "language_model.lm_head language_model.model.embed_tokens"},
    {"qwen3_5_moe", "language_model.model.layers.", SET_53, "language_model.lm_head language_model.model.embed_tokens"},
    {"qwen3_moe", "model.layers.", SET_54, "lm_head model.embed_tokens"},
    {"qwen3_next", "model.layers.", SET_55, "lm_head model.embed_tokens"},
    {"qwen3_vl", "language_model.model.layers.", SET_7, "language_model.lm_head language_model.model.embed_tokens"},
    {"qwen3_vl_moe", "language_model.model.layers.", SET_54, "language_model.lm_head language_model.model.embed_tokens"},
    {"recurrent_gemma", "model.layers.", SET_56, "lm_head model.embed_tokens"},
    {"seed_oss", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"smollm3", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"solar_open", "model.layers.", SET_9, "lm_head model.embed_tokens"},
    {"stablelm", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"starcoder2", "model.layers.", SET_57, "lm_head model.embed_tokens"},
    {"step3p5", "model.layers.", SET_58, "lm_head model.embed_tokens"},
    {"talkie", "model.blocks.", SET_59, "model.embed"},
    {"telechat3", "model.layers.", SET_7, "lm_head model.embed_tokens"},
    {"youtu_llm", "model.layers.", SET_38, "lm_head model.embed_tokens"},
    {NULL, NULL, NULL, NULL},
};

const ar_mlx_alias ar__mlx_aliases[] = {
    {"deepseek_v41_text", "deepseek_v41"},
    {"falcon_mamba", "mamba"},
    {"gemma4_unified", "gemma4"},
    {"iquestcoder", "llama"},
    {"joyai_llm_flash", "deepseek_v3"},
    {"kimi_k2", "deepseek_v3"},
    {"llava", "mistral3"},
    {"minimax_m2", "minimax"},
    {"mistral", "llama"},
    {"phi-msft", "phixtral"},
    {"qwen2_5_vl", "qwen2_vl"},
    {"xverse", "llama"},
    {NULL, NULL},
};
