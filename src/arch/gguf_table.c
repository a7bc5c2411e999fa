#include "arch/gguf_table.h"

#include <stddef.h>
#include <string.h>

const ar_gguf_field ar__gguf_fields[] = {
    {"context_length", {"max_position_embeddings", "n_positions"}},
    {"embedding_length", {"hidden_size", "n_embd"}},
    {"block_count", {"num_hidden_layers", "n_layer"}},
    {"feed_forward_length", {"intermediate_size", "n_inner"}},
    {"attention.head_count", {"num_attention_heads", "n_head"}},
    {"attention.head_count_kv", {"num_key_value_heads"}},
    {"attention.key_length", {"head_dim"}},
    {"attention.layer_norm_rms_epsilon", {"rms_norm_eps", "norm_eps"}},
    {"attention.layer_norm_epsilon", {"layer_norm_eps", "norm_epsilon", "norm_eps", "layer_norm_epsilon"}},
    {"attention.sliding_window", {"sliding_window"}},
    {"attention.scale", {"attention_multiplier"}},
    {"rope.freq_base", {"rope_theta"}},
    {"rope.freq_base_swa", {"rope_local_base_freq"}},
    {"attn_logit_softcapping", {"attn_logit_softcapping"}},
    {"final_logit_softcapping", {"final_logit_softcapping"}},
    {"embedding_scale", {"embedding_multiplier"}},
    {"residual_scale", {"residual_multiplier"}},
    {"logit_scale", {"logits_scaling", "logit_scale"}},
    {"use_parallel_residual", {"use_parallel_residual"}},
    {"attention.shared_kv_layers", {"num_kv_shared_layers"}},
    {"embedding_length_per_layer_input", {"hidden_size_per_layer_input"}},
    {"ssm.conv_kernel", {"linear_conv_kernel_dim"}},
    {"ssm.state_size", {"linear_key_head_dim"}},
    {"ssm.group_count", {"linear_num_key_heads"}},
    {"ssm.time_step_rank", {"linear_num_value_heads"}},
    {"full_attention_interval", {"full_attention_interval"}},
    {"shortconv.l_cache", {"conv_L_cache"}},
    {"expert_count", {"num_local_experts", "num_experts"}},
    {"expert_used_count", {"num_experts_per_tok", "top_k_experts"}},
    {"expert_feed_forward_length", {"moe_intermediate_size"}},
    {"expert_shared_feed_forward_length", {"shared_expert_intermediate_size"}},
    {NULL, {NULL}},
};

const ar_gguf_field ar__gguf_yarn[] = {
    {"rope.scaling.original_context_length", {"original_max_position_embeddings"}},
    {"rope.scaling.yarn_beta_fast", {"beta_fast"}},
    {"rope.scaling.yarn_beta_slow", {"beta_slow"}},
    {"rope.scaling.yarn_log_multiplier", {"mscale_all_dim"}},
    {"attention.temperature_scale", {"llama_4_scaling_beta"}},
    {NULL, {NULL}},
};

bool ar__gguf_is_of_other_norms(const char *key, bool layer_norm) {
    return !strcmp(key, layer_norm ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
}
