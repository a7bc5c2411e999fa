/* The whole backward against directional finite differences (central, Richardson), for every family and every kind of
 * trainable; and what must not change a bit: packing, recomputation, threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apart.h"
#include "small_model.h"

#define LLAMA ",\"model_type\":\"llama\""
#define BIASED ",\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true"
#define MISTRAL ",\"model_type\":\"mistral\",\"sliding_window\":5,\"head_dim\":8"
#define QWEN2 ",\"model_type\":\"qwen2\",\"tie_word_embeddings\":true"
#define QWEN3 ",\"model_type\":\"qwen3\",\"head_dim\":10,\"tie_word_embeddings\":true"
#define SMOLLM3 ",\"model_type\":\"smollm3\",\"no_rope_layers\":[0,1],\"sliding_window\":5,\"use_sliding_window\":true"
#define GRANITE                                                                                                                            \
    ",\"model_type\":\"granite\",\"embedding_multiplier\":3,\"residual_multiplier\":0.6,\"attention_multiplier\":0.2,"                     \
    "\"logits_scaling\":1.7"
#define OLMO2 ",\"model_type\":\"olmo2\",\"tie_word_embeddings\":true"
#define ERNIE ",\"model_type\":\"ernie4_5\",\"use_bias\":true,\"head_dim\":10"
#define YARN ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32}"
#define OLMO3 ",\"model_type\":\"olmo3\",\"sliding_window\":5,\"layer_types\":[\"sliding_attention\",\"full_attention\"]" YARN
#define MINISTRAL                                                                                                                          \
    ",\"model_type\":\"ministral\",\"head_dim\":8,\"sliding_window\":5,\"layer_types\":[\"sliding_attention\",\"full_attention\"]"
#define EXAONE ",\"model_type\":\"exaone4\",\"head_dim\":8,\"sliding_window\":5,\"sliding_window_pattern\":\"LG\""
#define MINISTRAL3                                                                                                                         \
    ",\"model_type\":\"ministral3\",\"head_dim\":8,\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1e4,\"factor\":4,"           \
    "\"original_max_position_embeddings\":8,\"llama_4_scaling_beta\":0.3}"
#define PHI3                                                                                                                               \
    ",\"model_type\":\"phi3\",\"original_max_position_embeddings\":16,\"rope_parameters\":{\"rope_type\":\"longrope\",\"rope_theta\":1e4," \
    "\"short_factor\":[1,1.2],\"long_factor\":[2,3],\"partial_rotary_factor\":0.67}"
#define GLM4 ",\"model_type\":\"glm4\",\"head_dim\":8"
#define GPT2                                                                                                                               \
    "{\"model_type\":\"gpt2\",\"vocab_size\":61,\"n_embd\":24,\"n_inner\":40,\"n_layer\":2,\"n_head\":4,\"n_positions\":256,"              \
    "\"initializer_range\":0.25,\"scale_attn_by_inverse_layer_idx\":true}"
#define GPT_NEOX(parallel)                                                                                                                 \
    "{\"model_type\":\"gpt_neox\",\"vocab_size\":61,\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":2,"                  \
    "\"num_attention_heads\":4,\"max_position_embeddings\":256,\"initializer_range\":0.25,\"rotary_pct\":0.67,"                            \
    "\"use_parallel_residual\":" #parallel "}"
#define PHI ",\"model_type\":\"phi\",\"qk_layernorm\":true,\"partial_rotary_factor\":0.67"
#define STARCODER2 ",\"model_type\":\"starcoder2\",\"sliding_window\":5"
#define STABLELM ",\"model_type\":\"stablelm\",\"use_parallel_residual\":true,\"partial_rotary_factor\":0.67"
#define STABLELM_12B ",\"model_type\":\"stablelm\",\"qk_layernorm\":true,\"partial_rotary_factor\":0.67"
#define SEED_OSS ",\"model_type\":\"seed_oss\",\"head_dim\":8,\"attention_out_bias\":true,\"mlp_bias\":true"
#define NEMOTRON ",\"model_type\":\"nemotron\",\"head_dim\":8"
#define COHERE2 ",\"model_type\":\"cohere2\",\"sliding_window\":5,\"sliding_window_pattern\":2,\"logit_scale\":0.4"
#define APERTUS ",\"model_type\":\"apertus\""
#define HUNYUAN ",\"model_type\":\"hunyuan_v1_dense\",\"head_dim\":8"
#define GEMMA ",\"model_type\":\"gemma\",\"head_dim\":8,\"hidden_act\":\"gelu\""
#define GEMMA2                                                                                                                             \
    ",\"model_type\":\"gemma2\",\"head_dim\":8,\"sliding_window\":5,\"query_pre_attn_scalar\":6,\"attn_logit_softcapping\":1.5,"           \
    "\"final_logit_softcapping\":2"
#define GEMMA3 ",\"model_type\":\"gemma3_text\",\"head_dim\":8,\"sliding_window\":5,\"sliding_window_pattern\":2"
/* Layers 0 w, 1 F, 2 w, 3 w, 4 F; the last two take the keys and values of 2 and 1; MLPs of these twice as wide. */
#define GEMMA4                                                                                                                             \
    "{\"model_type\":\"gemma4_text\",\"vocab_size\":61,\"hidden_size\":24,\"intermediate_size\":20,\"num_hidden_layers\":5,"               \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":6,\"global_head_dim\":8,\"max_position_embeddings\":256,"            \
    "\"initializer_range\":0.25,\"rms_norm_eps\":0.01,\"sliding_window\":5,\"final_logit_softcapping\":2,\"hidden_size_per_layer_input\":" \
    "12,"                                                                                                                                  \
    "\"vocab_size_per_layer_input\":64,\"num_kv_shared_layers\":2,\"use_double_wide_mlp\":true,\"layer_types\":[\"sliding_attention\","    \
    "\"full_attention\",\"sliding_attention\",\"sliding_attention\",\"full_attention\"]}"
/* Full layers have one key/value head, whose values are its keys before the norm; no per-layer embeddings. */
#define GEMMA4_KV                                                                                                                          \
    ",\"model_type\":\"gemma4_text\",\"head_dim\":6,\"sliding_window\":5,\"hidden_size_per_layer_input\":0,\"attention_k_eq_v\":true,"     \
    "\"attention_bias\":true,\"layer_types\":[\"sliding_attention\",\"full_attention\"],"                                                  \
    "\"per_layer_config\":{\"1\":{\"head_dim\":8,\"num_key_value_heads\":1}}"
/* Experts beside the MLP; the first layer's keys and values are the second's, too. */
#define GEMMA4_MOE(ple)                                                                                                                    \
    ",\"model_type\":\"gemma4_text\",\"rms_norm_eps\":0.01,\"head_dim\":8,\"global_head_dim\":8,\"sliding_window\":5,\"hidden_size_per_"   \
    "layer_input\":" #ple ","                                                                                                              \
    "\"vocab_size_per_layer_input\":97,\"enable_moe_block\":true,\"num_experts\":4,\"top_k_experts\":2,\"moe_intermediate_size\":10,"      \
    "\"layer_types\":[\"sliding_attention\",\"full_attention\"]"
#define MIXTRAL ",\"model_type\":\"mixtral\",\"num_local_experts\":3,\"num_experts_per_tok\":2,\"sliding_window\":5"
#define QWEN2_MOE                                                                                                                          \
    ",\"model_type\":\"qwen2_moe\",\"num_experts\":3,\"num_experts_per_tok\":2,\"moe_intermediate_size\":10,"                              \
    "\"shared_expert_intermediate_size\":18"
#define QWEN3_MOE                                                                                                                          \
    ",\"model_type\":\"qwen3_moe\",\"head_dim\":8,\"num_experts\":5,\"num_experts_per_tok\":2,\"moe_intermediate_size\":10,"               \
    "\"norm_topk_prob\":true"
#define OLMOE ",\"model_type\":\"olmoe\",\"num_experts\":4,\"num_experts_per_tok\":3,\"clip_qkv\":6"
#define GRANITEMOE                                                                                                                         \
    ",\"model_type\":\"granitemoe\",\"num_local_experts\":4,\"num_experts_per_tok\":2,\"embedding_multiplier\":3,"                         \
    "\"residual_multiplier\":0.6,\"attention_multiplier\":0.2"
/* A limit that hardly bites: at its corners there is no slope. */
#define GPT_OSS                                                                                                                            \
    ",\"model_type\":\"gpt_oss\",\"head_dim\":8,\"num_local_experts\":4,\"num_experts_per_tok\":2,\"sliding_window\":5,"                   \
    "\"swiglu_limit\":7"
/* The rule gives its norm little in the first rows of a sample, which turn over with the sign of q · k: eps keeps that smooth. */
#define DELTA(type, first, second)                                                                                                         \
    ",\"model_type\":\"" type "\",\"head_dim\":8,\"linear_key_head_dim\":6,\"linear_value_head_dim\":5,"                                   \
    "\"rms_norm_eps\":1e-2,\"linear_num_key_heads\":2,\"linear_num_value_heads\":4,\"layer_types\":[\"" first "_attention\",\"" second     \
    "_attention\"]"
#define QWEN35(first, second) DELTA("qwen3_5_text", first, second)
#define QWEN35_MOE(first, second)                                                                                                          \
    DELTA("qwen3_5_moe_text", first, second)                                                                                               \
    ",\"num_experts\":4,\"num_experts_per_tok\":2,\"moe_intermediate_size\":10,\"shared_expert_intermediate_size\":18"
#define LFM2(first, second)                                                                                                                \
    ",\"model_type\":\"lfm2\",\"block_multiple_of\":5,\"conv_bias\":true,\"layer_types\":[\"" first "\",\"" second "\"]"
#define ROPE3                                                                                                                              \
    ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_"       \
    "embeddings\":32}"

static const small_case cases[] = {
    {"llama", LLAMA, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"llama, llama3 rope, dora", LLAMA ROPE3, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"llama, biases trained", BIASED, "q_proj,up_proj", NULL, false, false, 0.0, AR_BIAS_ALL},
    {"llama, yarn, dropout", LLAMA YARN, "all-linear", NULL, false, false, 0.25, AR_BIAS_NONE},
    {"llama, dora and dropout", LLAMA, "all-linear", NULL, true, false, 0.25, AR_BIAS_NONE},
    {"mistral, window", MISTRAL, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen2, embedding and head as sites", QWEN2, "q_proj,embed_tokens,lm_head", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen2, embedding with dora", QWEN2, "v_proj,embed_tokens", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"qwen2, head alone", QWEN2, "lm_head", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen2, head saved whole", QWEN2, "down_proj", "lm_head,norm", false, false, 0.0, AR_BIAS_LORA_ONLY},
    {"qwen3, q/k norms", QWEN3, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen3, norms saved", QWEN3, "o_proj", "q_norm,k_norm,input_layernorm,embed_tokens", false, false, 0.0, AR_BIAS_NONE},
    {"smollm3, a layer without rotary embedding", SMOLLM3, "all-linear", NULL, true, false, 0.25, AR_BIAS_NONE},
    {"granite, multipliers", GRANITE, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"granite, embedding and head as sites", GRANITE, "o_proj,embed_tokens,lm_head", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"granite, everything", GRANITE ",\"attention_bias\":true,\"mlp_bias\":true", NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"ernie4_5, neighbours turned", ERNIE, "all-linear", NULL, false, false, 0.0, AR_BIAS_ALL},
    {"olmo2, norms behind", OLMO2, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"olmo2, norms saved", OLMO2, "o_proj,down_proj", "q_norm,post_attention_layernorm,post_feedforward_layernorm", false, false, 0.25,
     AR_BIAS_NONE},
    {"olmo2, everything", OLMO2, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"olmo3", OLMO3, "all-linear", "k_norm", true, false, 0.0, AR_BIAS_NONE},
    {"olmo3, everything", OLMO3, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"seed_oss", SEED_OSS, "all-linear", NULL, false, false, 0.0, AR_BIAS_ALL},
    {"seed_oss, everything", SEED_OSS, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"ministral, everything", MINISTRAL, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"ministral3, everything", MINISTRAL3, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"exaone4", EXAONE, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"ministral3, q grows", MINISTRAL3, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"phi3, short and long factors", PHI3, "all-linear", NULL, false, false, 0.25, AR_BIAS_NONE},
    {"phi3, everything", PHI3, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"glm4", GLM4, "all-linear", NULL, true, false, 0.0, AR_BIAS_ALL},
    {"glm4, everything", GLM4, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gpt2", GPT2, "all-linear", "ln_1", false, false, 0.25, AR_BIAS_ALL},
    {"gpt2, dora, embeddings as sites", GPT2, "c_attn,wpe,wte", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"gpt2, everything", GPT2, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gpt_neox, side by side", GPT_NEOX(true), "all-linear", "post_attention_layernorm", false, false, 0.25, AR_BIAS_ALL},
    {"gpt_neox, everything", GPT_NEOX(true), NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gpt_neox, one behind the other, everything", GPT_NEOX(false), NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"phi", PHI, "all-linear", "input_layernorm", true, false, 0.0, AR_BIAS_ALL},
    {"phi, everything", PHI, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"starcoder2", STARCODER2, "all-linear", NULL, false, false, 0.0, AR_BIAS_ALL},
    {"starcoder2, everything", STARCODER2, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"stablelm, side by side, everything", STABLELM, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"stablelm, norms of single heads", STABLELM_12B, "all-linear", "input_layernorm", true, false, 0.0, AR_BIAS_NONE},
    {"stablelm, norms of single heads, everything", STABLELM_12B, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"nemotron", NEMOTRON, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"nemotron, everything", NEMOTRON, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"cohere2, everything", COHERE2, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"apertus", APERTUS, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"hunyuan_v1_dense, normed behind RoPE", HUNYUAN, "all-linear", "query_layernorm,key_layernorm", false, false, 0.0, AR_BIAS_NONE},
    {"hunyuan_v1_dense, everything", HUNYUAN, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gemma", GEMMA, "all-linear", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"gemma, embedding and head as sites", GEMMA, "o_proj,embed_tokens", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"gemma2, caps", GEMMA2, "all-linear", NULL, false, false, 0.25, AR_BIAS_NONE},
    {"gemma2, everything", GEMMA2, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gemma3_text, two rotary embeddings", GEMMA3, "all-linear", "q_norm,norm", true, false, 0.0, AR_BIAS_NONE},
    {"gemma3_text, everything", GEMMA3, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gemma4_text, keys and values shared", GEMMA4, "all-linear", NULL, false, false, 0.25, AR_BIAS_NONE},
    {"gemma4_text, dora", GEMMA4, "all-linear,embed_tokens_per_layer", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"gemma4_text, norms of values' sources", GEMMA4, "layers.4.self_attn.q_proj", "q_norm,k_norm,per_layer_projection_norm", false, false,
     0.0, AR_BIAS_NONE},
    {"gemma4_text, what is before the layers", GEMMA4, "per_layer_model_projection,embed_tokens", "post_per_layer_input_norm", false, false,
     0.0, AR_BIAS_NONE},
    {"gemma4_text, a source alone", GEMMA4, "layers.1.self_attn.k_proj,layers.2.self_attn.v_proj", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"gemma4_text, everything", GEMMA4, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gemma4_text, values are keys", GEMMA4_KV, "all-linear", "k_norm", false, false, 0.0, AR_BIAS_ALL},
    {"gemma4_text, values are keys, everything", GEMMA4_KV, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gemma4_text, experts beside the MLP", GEMMA4_MOE(6), "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"gemma4_text, experts, router, norms", GEMMA4_MOE(0), "router.proj,gate_proj,up_proj,down_proj",
     "pre_feedforward_layernorm_2,post_feedforward_layernorm_1", true, false, 0.25, AR_BIAS_NONE},
    {"gemma4_text, one expert", GEMMA4_MOE(6), "experts.1.down_proj,experts.2.up_proj", "post_feedforward_layernorm_2", false, false, 0.0,
     AR_BIAS_NONE},
    {"gemma4_text, experts, everything", GEMMA4_MOE(6), NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"mixtral", MIXTRAL, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"mixtral, dora and dropout", MIXTRAL, "q_proj,v_proj,gate_proj,up_proj,down_proj", NULL, true, false, 0.25, AR_BIAS_NONE},
    {"mixtral, attention alone", MIXTRAL, "q_proj,o_proj", "post_attention_layernorm", false, false, 0.0, AR_BIAS_NONE},
    {"mixtral, everything", MIXTRAL, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"qwen2_moe", QWEN2_MOE, "all-linear", NULL, false, false, 0.0, AR_BIAS_ALL},
    {"qwen2_moe, a dense layer", QWEN2_MOE ",\"mlp_only_layers\":[1]", "k_proj,gate_proj,up_proj,down_proj,shared_expert_gate", NULL, true,
     false, 0.25, AR_BIAS_NONE},
    {"qwen2_moe, everything", QWEN2_MOE ",\"mlp_only_layers\":[0]", NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"qwen3_moe", QWEN3_MOE, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen3_moe, a router and one expert", QWEN3_MOE ",\"decoder_sparse_step\":2", "mlp.gate,experts.1.up_proj", NULL, false, false, 0.0,
     AR_BIAS_NONE},
    {"olmoe, q, k and v cut", OLMOE, "all-linear", "q_norm", false, false, 0.0, AR_BIAS_NONE},
    {"olmoe, everything", OLMOE, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"granitemoe", GRANITEMOE, "q_proj,v_proj,gate_proj,up_proj,down_proj", NULL, true, false, 0.0, AR_BIAS_NONE},
    {"granitemoe, router", GRANITEMOE, "router,o_proj", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"granitemoe, everything", GRANITEMOE, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gpt_oss", GPT_OSS, "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"gpt_oss, routers, norms", GPT_OSS, "mlp.router,v_proj,experts.1.up_proj,experts.2.down_proj", "input_layernorm,norm", false, false,
     0.0, AR_BIAS_NONE},
    {"qwen3_5_text", QWEN35("linear", "full"), "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen3_5_text, the rule last", QWEN35("full", "linear"), "all-linear", "linear_attn.norm,q_norm", true, false, 0.0, AR_BIAS_NONE},
    {"qwen3_5_text, the rule alone, dropout", QWEN35("linear", "linear"), "all-linear", NULL, false, false, 0.25, AR_BIAS_NONE},
    {"qwen3_5_text, gates alone", QWEN35("linear", "full"), "in_proj_b,in_proj_a", "linear_attn.norm", false, false, 0.0, AR_BIAS_NONE},
    {"qwen3_5_text, everything", QWEN35("linear", "full") ",\"attention_bias\":true", NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"qwen3_5_moe_text", QWEN35_MOE("linear", "full"), "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"qwen3_5_moe_text, router and experts", QWEN35_MOE("full", "linear"), "mlp.gate,gate_proj,up_proj,down_proj,in_proj_qkv",
     "linear_attn.norm", false, false, 0.0, AR_BIAS_NONE},
    {"qwen3_5_moe_text, dora and dropout", QWEN35_MOE("linear", "full"), "gate_proj,up_proj,down_proj,out_proj,shared_expert_gate", NULL,
     true, false, 0.25, AR_BIAS_NONE},
    {"qwen3_5_moe_text, everything", QWEN35_MOE("linear", "full"), NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"lfm2", LFM2("conv", "full_attention"), "all-linear", NULL, false, false, 0.0, AR_BIAS_LORA_ONLY},
    {"lfm2, the convolution last", LFM2("full_attention", "conv"), "all-linear", "operator_norm,q_layernorm", true, false, 0.0,
     AR_BIAS_NONE},
    {"lfm2, convolutions alone, dropout", LFM2("conv", "conv"), "all-linear", NULL, false, false, 0.25, AR_BIAS_NONE},
    {"lfm2, five taps", LFM2("conv", "conv") ",\"conv_L_cache\":5", "in_proj", "embedding_norm", false, false, 0.0, AR_BIAS_NONE},
    {"lfm2, everything", LFM2("conv", "full_attention"), NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"llama, gelu", LLAMA ",\"hidden_act\":\"gelu\"", "all-linear", NULL, false, false, 0.0, AR_BIAS_NONE},
    {"mistral, everything", MISTRAL, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"qwen2, everything", QWEN2, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"smollm3, everything", SMOLLM3, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"ernie4_5, everything", ERNIE, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"exaone4, everything", EXAONE, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"apertus, everything", APERTUS, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"gemma, everything", GEMMA, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"qwen3_moe, everything", QWEN3_MOE, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"llama, everything", BIASED, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    {"qwen3, everything", QWEN3, NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
};
enum { CASES = sizeof cases / sizeof *cases };
static const size_t lengths[] = {9, 70, 2, 17, 0};

static double mean_loss(small *s, bool gradients, const void *user) {
    (void)user;
    return small_loss(s, gradients);
}

static void gradient_is_the_slope(void **state) {
    for (int c = 0; c < CASES; c++) {
        small s = small_open(&cases[c], lengths, 2, NULL, NULL, false);
        small_hold_choices(&s);
        small_check_slopes(&s, mean_loss, NULL, cases[c].name);
        small_close(&s);
    }
    (void)state;
}

static void assert_same_gradients(const small *a, const small *b, const char *what, const char *name) {
    for (size_t i = 0; i < a->list.count; i++)
        if (memcmp(a->list.at[i].grad, b->list.at[i].grad, a->list.at[i].count * sizeof(float)))
            fail_msg("%s: %s changes the gradient of %s", name, what, a->list.at[i].name);
}

/* Attention's backward takes a sample's head in one pass on one thread, in two on four; windows leave key blocks out. */
static void packing_recomputing_and_threads_change_no_bit(void **state) {
    static const size_t some_long[] = {9, 150, 2, 17, 0};
    for (int i = 0, c = 0; i < 2 * CASES; c = ++i / 2) {
        small_use_bf16(i % 2);
        small a = small_open(&cases[c], some_long, 1, NULL, NULL, false), b = small_open(&cases[c], some_long, 4, NULL, NULL, true);
        double la = small_loss(&a, true), lb = small_loss(&b, true);
        assert_true(la == lb);
        assert_same_gradients(&a, &b, "recomputing on four threads", cases[c].name);
        assert_true(small_loss_apart(&b, true) == la);
        assert_same_gradients(&a, &b, "one sample at a time", cases[c].name);
        small_close(&a);
        small_close(&b);
    }
    small_use_bf16(false);
    (void)state;
}

/* Every way to keep two layers, against keeping both. */
static void what_is_kept_changes_no_bit(void **state) {
    static const size_t ways[][2] = {{1, 0}, {0, 1}, {1, 1}, {0, 2}, {2, 0}};
    for (int q = 0, c = 0; q < 2 * CASES; c = ++q / 2) {
        small_use_bf16(q % 2);
        small a = small_open(&cases[c], lengths, 2, NULL, NULL, false), b = small_open(&cases[c], lengths, 2, NULL, NULL, false);
        double la = small_loss(&a, true);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            char what[64];
            snprintf(what, sizeof what, "forming %zu layers and %zu MLPs again", ways[i][0], ways[i][1]);
            small_keep(&b, ways[i][0], ways[i][1]);
            assert_true(small_loss(&b, true) == la);
            assert_same_gradients(&a, &b, what, cases[c].name);
        }
        small_close(&a);
        small_close(&b);
    }
    small_use_bf16(false);
    (void)state;
}

/* A head with a pair of its own, samples longer than a piece: what a chunk holds must not show in the sums. */
static void the_size_of_the_heads_chunk_changes_no_bit(void **state) {
    static const size_t long_ones[] = {800, 40, 1700, 0};
    static const small_case with_head = {"qwen2, head", QWEN2, "q_proj,lm_head", NULL, false, false, 0.25, AR_BIAS_NONE};
    small a = small_open(&with_head, long_ones, 2, NULL, NULL, false), b = small_open(&with_head, long_ones, 2, NULL, NULL, false);
    double la = small_loss(&a, true);
    for (size_t pieces = 2; pieces < 6; pieces++) {
        small_keep_pieces(&b, pieces);
        assert_int_equal(b.pass->head.most, pieces * a.pass->head.most);
        assert_true(small_loss(&b, true) == la);
        assert_same_gradients(&a, &b, "a larger chunk", with_head.name);
    }
    small_close(&a);
    small_close(&b);
    (void)state;
}

/* The other ISAs and backends against plain C over the reference product. */
static void every_kernel_gives_the_same_within_rounding(void **state) {
    static const char *const isas[] = {"c", "avx2", "avx512"}, *const backends[] = {"own", "openblas"};
    for (int c = 0; c < CASES; c += 4) {
        small a = small_open(&cases[c], lengths, 2, "c", "reference", false);
        double la = small_loss(&a, true);
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 2; k++) {
                ar_runtime *probe;
                ar_error err;
                if (ar_runtime_new(&probe, &(ar_runtime_options){.isa = isas[i]}, &err)) {
                    print_message("skipped: %s\n", err.message);
                    continue;
                }
                ar_runtime_free(probe);
                small b = small_open(&cases[c], lengths, 2, isas[i], backends[k], false);
                double lb = small_loss(&b, true);
                if (fabs(la - lb) > 2e-6 * la)
                    fail_msg("%s on %s/%s: loss %.9g, reference %.9g", cases[c].name, isas[i], backends[k], lb, la);
                small_close(&b);
            }
        small_close(&a);
    }
    (void)state;
}

/* A whole pass on the operators as they are defined. */
static void use_definitions(small *s) {
    ar__runtime_use_ops(s->rt, &ar__ops_ref);
    if (s->at) ar__attach_refresh(s->at);
    small_keep(s, 0, 0);
}

/* ‖a - b‖ / ‖b‖ of two gradients. */
static double distance(const ar_trainable *a, const ar_trainable *b) {
    double apart = 0.0, all = 0.0;
    for (size_t i = 0; i < a->count; i++) {
        double d = (double)a->grad[i] - (double)b->grad[i];
        apart += d * d;
        all += (double)b->grad[i] * (double)b->grad[i];
    }
    return apart > 0.0 ? sqrt(apart / all) : 0.0; /* of an expert without rows both are zeros */
}

/* Between the embedding and a gradient stand some 40 operators whose sums have up to 100 terms, so that a tenth of their roundings
 * would have to go one way for 400 of 2^-24.  The worst seen is 160, and 0.6 for the loss, a mean of double sums. */
static void definitions_give_the_same_within_rounding(void **state) {
    const double unit = 0x1p-24;
    for (int c = 0; c < CASES; c++) {
        small a = small_open(&cases[c], lengths, 2, NULL, NULL, false), b = small_open(&cases[c], lengths, 1, NULL, NULL, false);
        use_definitions(&b);
        double la = small_loss(&a, true), lb = small_loss(&b, true);
        if (fabs(la - lb) > 16.0 * unit * lb) fail_msg("%s: loss %.9g, by definition %.9g", cases[c].name, la, lb);
        for (size_t i = 0; i < b.list.count; i++) {
            double apart = distance(&a.list.at[i], &b.list.at[i]);
            if (!(apart <= 400.0 * unit))
                fail_msg("%s: the gradient of %s is %.3g of itself from its definition", cases[c].name, b.list.at[i].name, apart);
        }
        small_close(&a);
        small_close(&b);
    }
    (void)state;
}

/* Every family with memory that is not the host's (apart.h), everything kept and everything formed again. */
static void memory_apart_changes_no_bit(void **state) {
    (void)state;
    if (!apart_ops()) skip();
    for (int c = 0; c < CASES; c++) {
        small a = small_open(&cases[c], lengths, 2, NULL, NULL, c % 2);
        small_use(apart_ops());
        small b = small_open(&cases[c], lengths, 2, NULL, NULL, c % 2);
        small_use(NULL);
        if (small_loss(&a, true) != small_loss(&b, true)) fail_msg("%s: memory apart changes the loss", cases[c].name);
        for (size_t i = 0; i < b.list.count; i++) {
            size_t bytes = b.list.at[i].count * sizeof(float);
            void *grad = malloc(bytes);
            b.rt->ops->memory->read(b.rt, grad, b.list.at[i].grad, bytes);
            if (memcmp(a.list.at[i].grad, grad, bytes))
                fail_msg("%s: memory apart changes the gradient of %s", cases[c].name, b.list.at[i].name);
            free(grad);
        }
        small_close(&a);
        small_close(&b);
        assert_int_equal(apart_held(), 0);
    }
}

/* Every family's whole pass on a device (tests/run device), everything kept and everything formed again.  An operator there keeps the
 * bounds of ops/cpu's, and what they add up to the bounds of above. */
static void a_device_gives_the_same_within_rounding(void **state) {
    static const size_t few[] = {9, 20, 2, 0};
    const double unit = 0x1p-24;
    for (int c = 0; c < CASES; c++) {
        small a = small_open(&cases[c], few, 2, NULL, NULL, c % 2);
        small_use_device("cuda");
        small b = small_open(&cases[c], few, 2, NULL, NULL, c % 2);
        small_use_device(NULL);
        double la = small_loss(&a, true), lb = small_loss(&b, true);
        if (!(fabs(la - lb) <= 16.0 * unit * la)) fail_msg("%s: loss %.9g, on the device %.9g", cases[c].name, la, lb);
        for (size_t i = 0; i < b.list.count; i++) {
            ar_trainable got = b.list.at[i];
            got.grad = malloc(got.count * sizeof *got.grad);
            b.rt->ops->memory->read(b.rt, got.grad, b.list.at[i].grad, got.count * sizeof *got.grad);
            double apart = distance(&got, &a.list.at[i]);
            free(got.grad);
            if (!(apart <= 400.0 * unit))
                fail_msg("%s: the gradient of %s is %.3g of itself from the CPU's", cases[c].name, got.name, apart);
        }
        small_close(&a);
        small_close(&b);
    }
    (void)state;
}

static void a_weight_is_whole_or_has_a_pair(void **state) {
    (void)state;
    static const small_case dora = {"llama", LLAMA, "q_proj", NULL, true, false, 0.0, AR_BIAS_NONE};
    small s = small_open(&dora, lengths, 2, NULL, NULL, false);
    ar_error err;
    const ar_module *q = &s.model->modules[ar__module_at(0, AR_SLOT_Q)];
    const int64_t shape[] = {q->n_out, q->n_in};
    char name[96];
    snprintf(name, sizeof name, "%s.weight", q->path);
    assert_int_equal(ar__adapter_add_whole(NULL, s.adapter, name, 2, shape, &err), AR_OK);
    assert_int_equal(ar__attach_wholes(s.model, s.adapter, &err), AR_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "found a pair on the same module"));
    small_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(a_weight_is_whole_or_has_a_pair),
        cmocka_unit_test(packing_recomputing_and_threads_change_no_bit),
        cmocka_unit_test(what_is_kept_changes_no_bit),
        cmocka_unit_test(the_size_of_the_heads_chunk_changes_no_bit),
        cmocka_unit_test(every_kernel_gives_the_same_within_rounding),
        cmocka_unit_test(definitions_give_the_same_within_rounding),
        cmocka_unit_test(memory_apart_changes_no_bit),
    };
    const struct CMUnitTest on_device[] = {cmocka_unit_test(a_device_gives_the_same_within_rounding)};
    return getenv("ALPHAR_TEST_DEVICE") ? cmocka_run_group_tests(on_device, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
