/* Rows of names in groups, which the table of families (families.c) alone includes: most families share them.
 *
 * GGUF writes no output.weight where the head is tied to the embedding (some writers copy it all the same), gemma's
 * never.  gpt_neox's head is embed_out in checkpoints and up to transformers 4, lm_head since, which comes first because
 * PEFT looks for that.  Experts have no rows.  gemma3's token_embd may have fewer rows than embed_tokens: rows that no token uses
 * are left out. */
#ifndef AR_ARCH_NAME_ROWS_H
#define AR_ARCH_NAME_ROWS_H

#include <stddef.h>

#include "arch/names.h"

#define LINEAR(slot, hf, gguf)                                                                                                             \
    { hf, gguf, AR_MODULE_LINEAR, AR_ROWS_SAME, false, AR_SLOT_##slot }
#define CONV1D(slot, hf, gguf)                                                                                                             \
    { hf, gguf, AR_MODULE_LINEAR, AR_ROWS_SAME, true, AR_SLOT_##slot }
#define ORDERED(slot, hf, gguf, order)                                                                                                     \
    { hf, gguf, AR_MODULE_LINEAR, order, false, AR_SLOT_##slot }
#define NORM(slot, hf, gguf)                                                                                                               \
    { hf, gguf, AR_MODULE_NORM, AR_ROWS_SAME, false, AR_SLOT_##slot }
#define OF_HEADS(slot, hf, gguf)                                                                                                           \
    { hf, gguf, AR_MODULE_NORM, AR_ROWS_VALUE_HEADS, false, AR_SLOT_##slot }
#define EMBEDDING(hf, gguf)                                                                                                                \
    { hf, gguf, AR_MODULE_EMBEDDING, AR_ROWS_SAME, false, AR_SLOT_NONE }
#define OUTSIDE(slot, kind, hf, gguf)                                                                                                      \
    { hf, gguf, AR_MODULE_##kind, AR_ROWS_SAME, false, AR_SLOT_##slot }
#define HEAD(hf, gguf)                                                                                                                     \
    { hf, gguf, AR_MODULE_HEAD, AR_ROWS_SAME, false, AR_SLOT_NONE }
#define END                                                                                                                                \
    { NULL, NULL, AR_MODULE_LINEAR, AR_ROWS_SAME, false, AR_SLOT_NONE }

static const ar_name_row top_llama[] = {EMBEDDING("model.embed_tokens", "token_embd"), NORM(NONE, "model.norm", "output_norm"),
                                        HEAD("lm_head", "output"), END};
static const ar_name_row top_gemma4[] = {EMBEDDING("model.embed_tokens", "token_embd"),
                                         NORM(NONE, "model.norm", "output_norm"),
                                         HEAD("lm_head", "output"),
                                         OUTSIDE(PLE_TABLE, EMBEDDING, "model.embed_tokens_per_layer", "per_layer_token_embd"),
                                         OUTSIDE(PLE_MIX, LINEAR, "model.per_layer_model_projection", "per_layer_model_proj"),
                                         OUTSIDE(PLE_MIX_NORM, NORM, "model.per_layer_projection_norm", "per_layer_proj_norm"),
                                         END};
static const ar_name_row top_lfm2[] = {EMBEDDING("model.embed_tokens", "token_embd"), NORM(NONE, "model.embedding_norm", "token_embd_norm"),
                                       HEAD("lm_head", "output"), END};
static const ar_name_row top_olmo[] = {EMBEDDING("model.embed_tokens", "token_embd"), HEAD("lm_head", "output"), END};
static const ar_name_row top_phi[] = {EMBEDDING("model.embed_tokens", "token_embd"), NORM(NONE, "model.final_layernorm", "output_norm"),
                                      HEAD("lm_head", "output"), END};
static const ar_name_row top_gpt2[] = {EMBEDDING("transformer.wte", "token_embd"),
                                       OUTSIDE(POSITIONS, EMBEDDING, "transformer.wpe", "position_embd"),
                                       NORM(NONE, "transformer.ln_f", "output_norm"), HEAD("lm_head", "output"), END};
static const ar_name_row top_gpt_neox[] = {EMBEDDING("gpt_neox.embed_in", "token_embd"),
                                           NORM(NONE, "gpt_neox.final_layer_norm", "output_norm"), HEAD("lm_head", "output"),
                                           HEAD("embed_out", "output"), END};
static const ar_name_row top_bloom[] = {EMBEDDING("transformer.word_embeddings", "token_embd"),
                                        NORM(NONE, "transformer.word_embeddings_layernorm", "token_embd_norm"),
                                        NORM(NONE, "transformer.ln_f", "output_norm"), HEAD("lm_head", "output"), END};

static const ar_name_row attention[] = {LINEAR(Q, "self_attn.q_proj", "attn_q"), LINEAR(K, "self_attn.k_proj", "attn_k"),
                                        LINEAR(V, "self_attn.v_proj", "attn_v"), LINEAR(O, "self_attn.o_proj", "attn_output"), END};
static const ar_name_row delta[] = {ORDERED(DELTA_QKV, "linear_attn.in_proj_qkv", "attn_qkv", AR_ROWS_VALUE_HEADS),
                                    ORDERED(DELTA_Z, "linear_attn.in_proj_z", "attn_gate", AR_ROWS_VALUE_HEADS),
                                    ORDERED(DELTA_B, "linear_attn.in_proj_b", "ssm_beta", AR_ROWS_VALUE_HEADS),
                                    ORDERED(DELTA_A, "linear_attn.in_proj_a", "ssm_alpha", AR_ROWS_VALUE_HEADS),
                                    ORDERED(DELTA_OUT, "linear_attn.out_proj", "ssm_out", AR_ROWS_VALUE_COLUMNS),
                                    NORM(DELTA_NORM, "linear_attn.norm", "ssm_norm"),
                                    OF_HEADS(CONV_KERNEL, "linear_attn.conv1d", "ssm_conv1d"),
                                    OF_HEADS(DELTA_RATE, "linear_attn.A_log", "ssm_a"),
                                    OF_HEADS(DELTA_SHIFT, "linear_attn.dt_bias", "ssm_dt.bias"),
                                    END};
static const ar_name_row short_conv[] = {LINEAR(CONV_IN, "conv.in_proj", "shortconv.in_proj"),
                                         LINEAR(CONV_OUT, "conv.out_proj", "shortconv.out_proj"),
                                         NORM(CONV_KERNEL, "conv.conv", "shortconv.conv"), END};
static const ar_name_row attention_lfm2[] = {LINEAR(Q, "self_attn.q_proj", "attn_q"), LINEAR(K, "self_attn.k_proj", "attn_k"),
                                             LINEAR(V, "self_attn.v_proj", "attn_v"), LINEAR(O, "self_attn.out_proj", "attn_output"), END};
static const ar_name_row attention_llama[] = {ORDERED(Q, "self_attn.q_proj", "attn_q", AR_ROWS_LLAMA_Q),
                                              ORDERED(K, "self_attn.k_proj", "attn_k", AR_ROWS_LLAMA_K),
                                              LINEAR(V, "self_attn.v_proj", "attn_v"), LINEAR(O, "self_attn.o_proj", "attn_output"), END};
static const ar_name_row attention_phi[] = {LINEAR(Q, "self_attn.q_proj", "attn_q"), LINEAR(K, "self_attn.k_proj", "attn_k"),
                                            LINEAR(V, "self_attn.v_proj", "attn_v"), LINEAR(O, "self_attn.dense", "attn_output"), END};
static const ar_name_row attention_phi3[] = {LINEAR(QKV, "self_attn.qkv_proj", "attn_qkv"), LINEAR(O, "self_attn.o_proj", "attn_output"),
                                             END};
static const ar_name_row attention_gpt2[] = {CONV1D(QKV, "attn.c_attn", "attn_qkv"), CONV1D(O, "attn.c_proj", "attn_output"), END};
static const ar_name_row attention_gpt_neox[] = {ORDERED(QKV, "attention.query_key_value", "attn_qkv", AR_ROWS_QKV_HEADS),
                                                 LINEAR(O, "attention.dense", "attn_output"), END};
static const ar_name_row attention_bloom[] = {ORDERED(QKV, "self_attention.query_key_value", "attn_qkv", AR_ROWS_QKV_HEADS),
                                              LINEAR(O, "self_attention.dense", "attn_output"), END};

static const ar_name_row mlp_gated[] = {LINEAR(GATE, "mlp.gate_proj", "ffn_gate"), LINEAR(UP, "mlp.up_proj", "ffn_up"),
                                        LINEAR(DOWN, "mlp.down_proj", "ffn_down"), END};
static const ar_name_row mlp_lfm2[] = {LINEAR(GATE, "feed_forward.w1", "ffn_gate"), LINEAR(UP, "feed_forward.w3", "ffn_up"),
                                       LINEAR(DOWN, "feed_forward.w2", "ffn_down"), END};
static const ar_name_row mlp_phi[] = {LINEAR(UP, "mlp.fc1", "ffn_up"), LINEAR(DOWN, "mlp.fc2", "ffn_down"), END};
static const ar_name_row mlp_plain[] = {LINEAR(UP, "mlp.up_proj", "ffn_up"), LINEAR(DOWN, "mlp.down_proj", "ffn_down"), END};
static const ar_name_row mlp_phi3[] = {LINEAR(GATE_UP, "mlp.gate_up_proj", "ffn_up"), LINEAR(DOWN, "mlp.down_proj", "ffn_down"), END};
static const ar_name_row mlp_gpt2[] = {CONV1D(UP, "mlp.c_fc", "ffn_up"), CONV1D(DOWN, "mlp.c_proj", "ffn_down"), END};
static const ar_name_row mlp_starcoder2[] = {LINEAR(UP, "mlp.c_fc", "ffn_up"), LINEAR(DOWN, "mlp.c_proj", "ffn_down"), END};
static const ar_name_row mlp_megatron[] = {LINEAR(UP, "mlp.dense_h_to_4h", "ffn_up"), LINEAR(DOWN, "mlp.dense_4h_to_h", "ffn_down"), END};

static const ar_name_row router[] = {LINEAR(ROUTER, "mlp.gate", "ffn_gate_inp"), END};
static const ar_name_row router_granite[] = {LINEAR(ROUTER, "block_sparse_moe.router", "ffn_gate_inp"), END};
static const ar_name_row router_gemma4[] = {LINEAR(ROUTER, "router.proj", "ffn_gate_inp"),
                                            NORM(ROUTER_NORM, "router.scale", "ffn_gate_inp.scale"),
                                            NORM(EXPERT_FACTORS, "router.per_expert_scale", "ffn_down_exps.scale"),
                                            NORM(DENSE_OUT_NORM, "post_feedforward_layernorm_1", "post_ffw_norm_1"),
                                            NORM(EXPERTS_NORM, "pre_feedforward_layernorm_2", "pre_ffw_norm_2"),
                                            NORM(EXPERTS_OUT_NORM, "post_feedforward_layernorm_2", "post_ffw_norm_2"),
                                            END};
static const ar_name_row router_gpt_oss[] = {LINEAR(ROUTER, "mlp.router", "ffn_gate_inp"), END};
static const ar_name_row shared_qwen2[] = {LINEAR(SHARED_GATE, "mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
                                           LINEAR(SHARED_UP, "mlp.shared_expert.up_proj", "ffn_up_shexp"),
                                           LINEAR(SHARED_DOWN, "mlp.shared_expert.down_proj", "ffn_down_shexp"),
                                           LINEAR(SHARED_MIX, "mlp.shared_expert_gate", "ffn_gate_inp_shexp"), END};

static const ar_name_row norms[] = {NORM(ATTN_NORM, "input_layernorm", "attn_norm"), NORM(MLP_NORM, "post_attention_layernorm", "ffn_norm"),
                                    END};
static const ar_name_row norms_seed_oss[] = {NORM(ATTN_NORM, "input_layernorm", "attn_norm"),
                                             NORM(MLP_NORM, "post_attention_layernorm", "post_attention_norm"), END};
static const ar_name_row norm_input[] = {NORM(ATTN_NORM, "input_layernorm", "attn_norm"), END};
static const ar_name_row norms_qk[] = {NORM(Q_NORM, "self_attn.q_norm", "attn_q_norm"), NORM(K_NORM, "self_attn.k_norm", "attn_k_norm"),
                                       END};
static const ar_name_row norms_apertus[] = {NORM(ATTN_NORM, "attention_layernorm", "attn_norm"),
                                            NORM(MLP_NORM, "feedforward_layernorm", "ffn_norm"), END};
static const ar_name_row norms_lfm2[] = {NORM(ATTN_NORM, "operator_norm", "attn_norm"), NORM(MLP_NORM, "ffn_norm", "ffn_norm"), END};
static const ar_name_row norms_hunyuan[] = {NORM(Q_NORM, "self_attn.query_layernorm", "attn_q_norm"),
                                            NORM(K_NORM, "self_attn.key_layernorm", "attn_k_norm"), END};
static const ar_name_row norms_phi_qk[] = {NORM(Q_NORM, "self_attn.q_layernorm", "attn_q_norm"),
                                           NORM(K_NORM, "self_attn.k_layernorm", "attn_k_norm"), END};
static const ar_name_row norms_heads[] = {NORM(Q_HEADS, "self_attn.q_layernorm", "attn_q_norm"),
                                          NORM(K_HEADS, "self_attn.k_layernorm", "attn_k_norm"), END};
static const ar_name_row norms_gemma2[] = {
    NORM(ATTN_NORM, "input_layernorm", "attn_norm"), NORM(ATTN_OUT_NORM, "post_attention_layernorm", "post_attention_norm"),
    NORM(MLP_NORM, "pre_feedforward_layernorm", "ffn_norm"), NORM(MLP_OUT_NORM, "post_feedforward_layernorm", "post_ffw_norm"), END};
static const ar_name_row layer_scalar[] = {NORM(SCALAR, "layer_scalar", "layer_output_scale"), END};
static const ar_name_row sinks[] = {NORM(SINKS, "self_attn.sinks", "attn_sinks"), END};
static const ar_name_row per_layer_embeddings[] = {LINEAR(PLE_GATE, "per_layer_input_gate", "inp_gate"),
                                                   LINEAR(PLE_PROJECTION, "per_layer_projection", "proj"),
                                                   NORM(PLE_NORM, "post_per_layer_input_norm", "post_norm"), END};
static const ar_name_row norms_glm4[] = {
    NORM(ATTN_NORM, "input_layernorm", "attn_norm"), NORM(MLP_NORM, "post_attention_layernorm", "ffn_norm"),
    NORM(ATTN_OUT_NORM, "post_self_attn_layernorm", "post_attention_norm"), NORM(MLP_OUT_NORM, "post_mlp_layernorm", "post_ffw_norm"), END};
static const ar_name_row norms_olmo2[] = {NORM(ATTN_OUT_NORM, "post_attention_layernorm", "post_attention_norm"),
                                          NORM(MLP_OUT_NORM, "post_feedforward_layernorm", "post_ffw_norm"), END};
static const ar_name_row norms_gpt2[] = {NORM(ATTN_NORM, "ln_1", "attn_norm"), NORM(MLP_NORM, "ln_2", "ffn_norm"), END};

#endif
