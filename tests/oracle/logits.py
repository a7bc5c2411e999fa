#!/usr/bin/env python3
"""Log-probabilities against transformers on seeded random models: families, RoPE scalings in both spellings, windows,
biases, head sizes, dtypes, shards; greedy generation; the PEFT view of a trained adapter.  Bound 2e-5 in log p.

  logits.py [WORD...]   only the checks whose name holds one of the words"""
import json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")
BASE = os.path.join(ROOT, "demo", "base")
STORIES = os.path.join(ROOT, "..", "shared", "material", "models", "stories260k")

try:
    import peft, torch, transformers as tf
    from safetensors.torch import load_file, save_file
except ImportError as e:
    print(f"skip logits {e}")
    sys.exit(0)

SIZES = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, vocab_size=300,
             max_position_embeddings=64, bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-5)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32, beta_fast=16.0)
LLAMA3 = dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
GEMMA3 = dict(full_attention=dict(rope_type="linear", rope_theta=1e6, factor=4.0), sliding_attention=dict(rope_type="default", rope_theta=1e3))
PHI3 = tf.Phi3Config(**dict(SIZES, max_position_embeddings=128), pad_token_id=0, original_max_position_embeddings=32, rope_parameters=dict(
    rope_type="longrope", rope_theta=1e4, short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[2.0, 3.0, 4.0, 5.0]))

PLAIN = {k: v for k, v in dict(SIZES, num_attention_heads=4).items() if k not in ("rms_norm_eps", "num_key_value_heads")}
NEOX = dict(PLAIN, hidden_size=64)
GEMMA4 = dict(SIZES, num_hidden_layers=7, head_dim=10, global_head_dim=16, sliding_window=9, final_logit_softcapping=4.0, pad_token_id=0,
              layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2 + ["full_attention"])
GEMMA4_SHARED = dict(GEMMA4, hidden_size_per_layer_input=12, vocab_size_per_layer_input=310, num_kv_shared_layers=3, use_double_wide_mlp=True)
GEMMA4_KV = dict(GEMMA4, hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1)
GEMMA4_MOE = dict(GEMMA4_KV, enable_moe_block=True, num_experts=6, top_k_experts=2, moe_intermediate_size=20)
DELTA = dict(dict(SIZES, num_hidden_layers=4, hidden_size=64), head_dim=16, linear_key_head_dim=16, linear_value_head_dim=24,
             linear_num_key_heads=2, linear_num_value_heads=4)
LFM2 = dict(SIZES, num_hidden_layers=4, layer_types=["conv", "full_attention"] * 2, block_multiple_of=12)
del LFM2["rms_norm_eps"]
DELTA_MOE = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=36)
MROPE = dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25, mrope_section=[1, 1, 0], mrope_interleaved=True)
GPT_OSS = dict(SIZES, head_dim=10, num_local_experts=5, num_experts_per_tok=3, sliding_window=9, swiglu_limit=1.5, pad_token_id=0,
               rope_parameters=dict(YARN, rope_theta=150000.0, truncate=False))
GPT2 = dict(n_embd=48, n_layer=3, n_head=4, n_positions=64, vocab_size=300, bos_token_id=1, eos_token_id=2)


def case(name, config, dtype="float32", length=50, old=False, sharded=False, bare=False, hub=False, stacked=False, published=None):
    """bare: the file leaves out what has a default; hub: gemma 4 as it is published, not as transformers saves it; stacked: the file holds the experts
    as the model does; published: fields of files on the hub, null: left out."""
    return dict(name=name, config=config, dtype=dtype, length=length, old=old, sharded=sharded, bare=bare, hub=hub, stacked=stacked, published=published)


CASES = [
    case("llama", tf.LlamaConfig(**SIZES)),
    case("llama, biases, tied, head size 10", tf.LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=10)),
    case("llama, linear rope", tf.LlamaConfig(**SIZES, rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=3.0))),
    case("llama, linear rope, old spelling", tf.LlamaConfig(**SIZES, rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=3.0)), old=True),
    case("llama, dynamic rope within the maximum", tf.LlamaConfig(**SIZES, rope_parameters=dict(rope_type="dynamic", rope_theta=1e4, factor=2.0))),
    case("llama, dynamic rope past the maximum", tf.LlamaConfig(**SIZES, rope_parameters=dict(rope_type="dynamic", rope_theta=1e4, factor=2.0)), length=100),
    case("llama, llama3 rope", tf.LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    case("llama, llama3 rope, old spelling", tf.LlamaConfig(**SIZES, rope_parameters=LLAMA3), old=True),
    case("llama, yarn", tf.LlamaConfig(**SIZES, rope_parameters=YARN), length=60),
    case("llama, yarn, attention factor", tf.LlamaConfig(**SIZES, rope_parameters=dict(YARN, attention_factor=1.3, truncate=False))),
    case("llama, bfloat16", tf.LlamaConfig(**SIZES), dtype="bfloat16"),
    case("llama, float16, sharded", tf.LlamaConfig(**SIZES), dtype="float16", sharded=True),
    case("mistral, window 7", tf.MistralConfig(**SIZES, sliding_window=7, head_dim=12)),
    case("mistral, window past the blocks", tf.MistralConfig(**SIZES, sliding_window=70), length=200),
    case("mistral, no window", tf.MistralConfig(**SIZES, sliding_window=None)),
    case("qwen2, sharded", tf.Qwen2Config(**SIZES, tie_word_embeddings=True), sharded=True),
    case("qwen2, window in the upper layers", tf.Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=9, max_window_layers=1)),
    case("qwen3, yarn", tf.Qwen3Config(**SIZES, head_dim=14, rope_parameters=YARN)),
    case("smollm3", tf.SmolLM3Config(**dict(SIZES, num_hidden_layers=5), tie_word_embeddings=True, pad_token_id=0)),
    case("smollm3, windows in layers without RoPE", tf.SmolLM3Config(**SIZES, no_rope_layers=[1, 0, 0], use_sliding_window=True, sliding_window=9, pad_token_id=0)),
    case("granite", tf.GraniteConfig(**SIZES, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2, logits_scaling=2.5)),
    case("granite, biases, multipliers left out", tf.GraniteConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    case("olmo2", tf.Olmo2Config(**SIZES, pad_token_id=0)),
    case("olmo2, biases, tied, bfloat16", tf.Olmo2Config(**SIZES, attention_bias=True, tie_word_embeddings=True, pad_token_id=0), dtype="bfloat16"),
    case("seed_oss", tf.SeedOssConfig(**SIZES, head_dim=10, attention_out_bias=True, mlp_bias=True, attention_dropout=0.0, residual_dropout=0.0)),
    case("ernie4_5", tf.Ernie4_5Config(**SIZES, head_dim=8, use_bias=True)),
    case("olmo3, yarn in full layers", tf.Olmo3Config(**dict(SIZES, num_hidden_layers=5), pad_token_id=0, sliding_window=9, rope_parameters=dict(
        full_attention=dict(YARN, rope_theta=5e5, attention_factor=1.2), sliding_attention=dict(rope_type="default", rope_theta=5e5)))),
    case("olmo3, old spelling", tf.Olmo3Config(**dict(SIZES, num_hidden_layers=5), pad_token_id=0, sliding_window=9, rope_parameters=dict(
        full_attention=dict(YARN, rope_theta=5e5), sliding_attention=dict(rope_type="default", rope_theta=5e5))), old=True),
    case("exaone4", tf.Exaone4Config(**dict(SIZES, num_hidden_layers=5), head_dim=10, sliding_window=9)),
    case("exaone4, no windows", tf.Exaone4Config(**SIZES, head_dim=10, sliding_window=None, layer_types=["full_attention"] * 3)),
    case("ministral3, q grows", tf.Ministral3Config(**SIZES, head_dim=10, rope_parameters=dict(YARN, original_max_position_embeddings=16,
                                                    mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3))),
    case("ministral3, window", tf.Ministral3Config(**SIZES, head_dim=10, sliding_window=7)),
    case("mistral, windows by layer", tf.MinistralConfig(**SIZES, head_dim=10, sliding_window=7,
                                                         layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    case("phi3", tf.Phi3Config(**SIZES, pad_token_id=0)),
    case("phi3, long factors", PHI3, length=60),
    case("phi3, short factors", PHI3, length=30),
    case("phi3, long factors, old spelling", PHI3, length=60, old=True),
    case("phi3, window, three quarters of a head turned", tf.Phi3Config(**dict(SIZES, num_attention_heads=3, num_key_value_heads=3), pad_token_id=0,
         sliding_window=9, rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.75))),
    case("glm4", tf.Glm4Config(**SIZES, head_dim=12, attention_bias=True, pad_token_id=0)),
    case("glm4, all of a head turned, no biases", tf.Glm4Config(**SIZES, head_dim=12, attention_bias=False, pad_token_id=0,
         rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=1.0))),
    case("gpt2", tf.GPT2Config(**GPT2)),
    case("gpt2, scores divided by layer, sharded", tf.GPT2Config(**dict(GPT2, n_inner=64, scale_attn_by_inverse_layer_idx=True)), sharded=True),
    case("gpt2, unscaled, bfloat16", tf.GPT2Config(**dict(GPT2, scale_attn_weights=False)), dtype="bfloat16"),
    case("gpt_neox", tf.GPTNeoXConfig(**NEOX)),
    case("gpt_neox, one behind the other, no biases", tf.GPTNeoXConfig(**dict(NEOX, use_parallel_residual=False, attention_bias=False,
         rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5)))),
    case("phi", tf.PhiConfig(**PLAIN)),
    case("phi, q and k normed", tf.PhiConfig(**dict(PLAIN, qk_layernorm=True, num_key_value_heads=2))),
    case("starcoder2", tf.Starcoder2Config(**PLAIN, num_key_value_heads=2, sliding_window=9, norm_epsilon=1e-6)),
    case("starcoder2, no biases, untied", tf.Starcoder2Config(**PLAIN, num_key_value_heads=2, use_bias=False, tie_word_embeddings=False)),
    case("stablelm", tf.StableLmConfig(**NEOX, num_key_value_heads=2, use_qkv_bias=True)),
    case("stablelm, side by side", tf.StableLmConfig(**NEOX, num_key_value_heads=4, use_parallel_residual=True)),
    case("stablelm, norms of single heads", tf.StableLmConfig(**NEOX, num_key_value_heads=2, use_qkv_bias=True, qk_layernorm=True, use_parallel_residual=True)),
    case("stablelm, norms of single heads, one behind the other, bfloat16, sharded", tf.StableLmConfig(**NEOX, num_key_value_heads=4, qk_layernorm=True),
         dtype="bfloat16", sharded=True),
    case("nemotron", tf.NemotronConfig(**PLAIN, num_key_value_heads=2)),
    case("nemotron, biases, head size 10", tf.NemotronConfig(**PLAIN, num_key_value_heads=2, head_dim=12, attention_bias=True, mlp_bias=True)),
    case("cohere2", tf.Cohere2Config(**dict(PLAIN, num_hidden_layers=5), num_key_value_heads=2, sliding_window=9, logit_scale=0.4, pad_token_id=0)),
    case("cohere2, biases", tf.Cohere2Config(**PLAIN, num_key_value_heads=2, sliding_window=9, attention_bias=True, pad_token_id=0)),
    case("apertus", tf.ApertusConfig(**SIZES, pad_token_id=0)),
    case("hunyuan_v1_dense", tf.HunYuanDenseV1Config(**SIZES, head_dim=10, pad_token_id=0)),
    case("hunyuan_v1_dense, alpha, biases", tf.HunYuanDenseV1Config(**SIZES, head_dim=10, attention_bias=True, pad_token_id=0,
         rope_parameters=dict(rope_type="dynamic", rope_theta=1e4, alpha=50.0, factor=1.0)), length=100),
    case("gemma", tf.GemmaConfig(**SIZES, head_dim=16)),
    case("gemma, untied, biases", tf.GemmaConfig(**SIZES, head_dim=16, tie_word_embeddings=False, attention_bias=True)),
    case("gemma2", tf.Gemma2Config(**dict(SIZES, num_hidden_layers=4), head_dim=16, sliding_window=9, query_pre_attn_scalar=24,
                                   attn_logit_softcapping=2.0, final_logit_softcapping=4.0)),
    case("gemma2, no caps, window past the blocks", tf.Gemma2Config(**SIZES, head_dim=8, sliding_window=70, attn_logit_softcapping=None,
                                                                     final_logit_softcapping=None), length=200),
    case("gemma3_text", tf.Gemma3TextConfig(**dict(SIZES, num_hidden_layers=7), head_dim=16, sliding_window=9, query_pre_attn_scalar=24,
                                            final_logit_softcapping=3.0, rope_parameters=GEMMA3)),
    case("gemma3_text, old spelling", tf.Gemma3TextConfig(**dict(SIZES, num_hidden_layers=7), head_dim=16, sliding_window=9,
                                                          rope_parameters=GEMMA3), old=True),
    case("gemma4_text, keys and values shared", tf.Gemma4TextConfig(**GEMMA4_SHARED)),
    case("gemma4_text, keys and values shared, as published", tf.Gemma4TextConfig(**GEMMA4_SHARED), hub=True),
    case("gemma4_text, three quarters of a rotation, bfloat16", tf.Gemma4TextConfig(**GEMMA4_SHARED, rope_parameters=dict(
        full_attention=dict(rope_type="proportional", rope_theta=1e5, partial_rotary_factor=0.7, factor=2.0),
        sliding_attention=dict(rope_type="default", rope_theta=1e3))), dtype="bfloat16", sharded=True),
    case("gemma4_text, values are keys", tf.Gemma4TextConfig(**GEMMA4_KV)),
    case("gemma4_text, values are keys, biases, as published", tf.Gemma4TextConfig(**GEMMA4_KV, attention_bias=True), hub=True),
    case("gemma4_text, experts", tf.Gemma4TextConfig(**GEMMA4_MOE)),
    case("gemma4_text, experts, as published", tf.Gemma4TextConfig(**GEMMA4_MOE), hub=True),
    case("gemma4_text, experts beside all there is, bfloat16", tf.Gemma4TextConfig(**GEMMA4_SHARED, enable_moe_block=True, num_experts=3, top_k_experts=3,
         moe_intermediate_size=16), dtype="bfloat16", sharded=True),
    case("gemma4_text, window past the blocks, no cap", tf.Gemma4TextConfig(**dict(GEMMA4_SHARED, sliding_window=70, max_position_embeddings=256,
         final_logit_softcapping=None, tie_word_embeddings=False)), length=200),
    case("gemma3_text, a pattern of 3", tf.Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=9, sliding_window_pattern=3)),
    case("mixtral", tf.MixtralConfig(**SIZES, num_local_experts=5, num_experts_per_tok=2)),
    case("mixtral, window, sharded, bfloat16", tf.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=3, sliding_window=9), dtype="bfloat16", sharded=True),
    case("mixtral, stacked", tf.MixtralConfig(**SIZES, num_local_experts=5, num_experts_per_tok=2), stacked=True),
    case("qwen2_moe", tf.Qwen2MoeConfig(**SIZES, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=36)),
    case("qwen2_moe, dense layers, windows, renormalised", tf.Qwen2MoeConfig(**dict(SIZES, num_hidden_layers=5), num_experts=7, num_experts_per_tok=3,
         moe_intermediate_size=20, shared_expert_intermediate_size=36, mlp_only_layers=[1], norm_topk_prob=True, qkv_bias=False,
         use_sliding_window=True, sliding_window=9, max_window_layers=4)),
    case("qwen3_moe", tf.Qwen3MoeConfig(**SIZES, head_dim=10, num_experts=9, num_experts_per_tok=3, moe_intermediate_size=20, norm_topk_prob=True)),
    case("qwen3_moe, every other layer, window, stacked", tf.Qwen3MoeConfig(**dict(SIZES, num_hidden_layers=4), head_dim=10, num_experts=6, num_experts_per_tok=6,
         moe_intermediate_size=20, decoder_sparse_step=2, use_sliding_window=True, sliding_window=9), stacked=True),
    case("qwen3_moe, one of many, bfloat16", tf.Qwen3MoeConfig(**SIZES, head_dim=10, num_experts=33, num_experts_per_tok=1, moe_intermediate_size=12), dtype="bfloat16"),
    case("olmoe", tf.OlmoeConfig(**SIZES, num_experts=6, num_experts_per_tok=3, pad_token_id=0)),
    case("olmoe, q, k and v cut", tf.OlmoeConfig(**SIZES, num_experts=6, num_experts_per_tok=3, norm_topk_prob=True, clip_qkv=0.8, pad_token_id=0)),
    case("granitemoe", tf.GraniteMoeConfig(**SIZES, num_local_experts=6, num_experts_per_tok=3, embedding_multiplier=3.0, residual_multiplier=0.4,
         attention_multiplier=0.2, logits_scaling=2.5)),
    case("granitemoe, stacked, biases", tf.GraniteMoeConfig(**SIZES, num_local_experts=3, num_experts_per_tok=1, attention_bias=True), stacked=True),
    case("gpt_oss", tf.GptOssConfig(**GPT_OSS)),
    case("gpt_oss, window past the blocks, one limit, no biases, sharded", tf.GptOssConfig(**dict(GPT_OSS, sliding_window=70, attention_bias=False, swiglu_alpha=1.3,
         swiglu_limit=0.7, max_position_embeddings=256, num_experts_per_tok=1, tie_word_embeddings=True)), length=200, sharded=True),
    case("gpt_oss, windows by layer, bfloat16", tf.GptOssConfig(**dict(GPT_OSS, layer_types=["full_attention", "sliding_attention", "sliding_attention"])), dtype="bfloat16"),
    case("gpt_oss, old spelling", tf.GptOssConfig(**GPT_OSS), old=True),
    case("qwen3_5_text", tf.Qwen3_5TextConfig(**DELTA, rope_parameters=MROPE, tie_word_embeddings=True)),
    case("qwen3_5_text, past the chunks", tf.Qwen3_5TextConfig(**DELTA, attention_bias=True, linear_conv_kernel_dim=3), length=200),
    case("qwen3_5_text, 512 steps", tf.Qwen3_5TextConfig(**dict(DELTA, max_position_embeddings=600)), length=520),
    case("qwen3_5_text, the rule last, bfloat16", tf.Qwen3_5TextConfig(**dict(DELTA, linear_num_value_heads=2), layer_types=[
        "full_attention", "linear_attention", "full_attention", "linear_attention"]), dtype="bfloat16"),
    case("lfm2", tf.Lfm2Config(**LFM2)),
    case("lfm2, as published", tf.Lfm2Config(**LFM2), published=dict(intermediate_size=None, block_ff_dim=96, layer_types=None, full_attn_idxs=[1, 3],
         tie_word_embeddings=None, conv_dim=48, block_use_swiglu=True, theta=1e6, use_pos_enc=True)),
    case("lfm2, defaults left out", tf.Lfm2Config(**LFM2), published=dict(norm_eps=None, rope_parameters=None, conv_L_cache=None, conv_bias=None,
         tie_word_embeddings=None, block_ffn_dim_multiplier=None, block_auto_adjust_ff_dim=None)),
    case("lfm2, biases, five taps, untied, bfloat16", tf.Lfm2Config(**dict(LFM2, conv_bias=True, conv_L_cache=5, tie_word_embeddings=False)), dtype="bfloat16", length=100),
    case("lfm2, attention alone, its width as it is", tf.Lfm2Config(**dict(LFM2, layer_types=None, block_auto_adjust_ff_dim=False))),
    case("lfm2, a width of its own, sharded", tf.Lfm2Config(**dict(LFM2, block_ffn_dim_multiplier=1.3, block_multiple_of=7, head_dim=10)), sharded=True),
    case("qwen3_5_moe_text", tf.Qwen3_5MoeTextConfig(**DELTA, **DELTA_MOE, rope_parameters=MROPE)),
    case("qwen3_5_moe_text, stacked, past the chunks", tf.Qwen3_5MoeTextConfig(**DELTA, **dict(DELTA_MOE, num_experts_per_tok=1), tie_word_embeddings=True,
         attention_bias=True), length=200, stacked=True),
    case("qwen3_5_moe_text, 512 steps", tf.Qwen3_5MoeTextConfig(**dict(DELTA, max_position_embeddings=600), **DELTA_MOE), length=520),
    case("qwen3_5_moe_text, the rule last, sharded, bfloat16", tf.Qwen3_5MoeTextConfig(**dict(DELTA, linear_num_value_heads=2), **DELTA_MOE, layer_types=[
        "full_attention", "linear_attention", "full_attention", "linear_attention"]), dtype="bfloat16", sharded=True),
    *(case(f"{c.model_type}, defaults left out", c, bare=True) for c in (
        tf.LlamaConfig(**SIZES), tf.MistralConfig(**SIZES), tf.Qwen2Config(**SIZES), tf.Qwen3Config(**SIZES, head_dim=8), tf.GraniteConfig(**SIZES),
        tf.SmolLM3Config(**dict(SIZES, num_hidden_layers=5), pad_token_id=0), tf.Olmo2Config(**SIZES, pad_token_id=0),
        tf.SeedOssConfig(**SIZES, head_dim=8), tf.Ernie4_5Config(**SIZES, head_dim=8), tf.GemmaConfig(**SIZES, head_dim=8),
        tf.Olmo3Config(**dict(SIZES, num_hidden_layers=5), pad_token_id=0), tf.Exaone4Config(**dict(SIZES, num_hidden_layers=5), head_dim=8),
        tf.GPT2Config(**GPT2), tf.GPTNeoXConfig(**NEOX), tf.PhiConfig(**PLAIN),
        tf.Starcoder2Config(**PLAIN, num_key_value_heads=2), tf.StableLmConfig(**NEOX, num_key_value_heads=4),
        tf.NemotronConfig(**PLAIN, num_key_value_heads=2), tf.Cohere2Config(**PLAIN, num_key_value_heads=2, pad_token_id=0),
        tf.ApertusConfig(**SIZES, pad_token_id=0), tf.HunYuanDenseV1Config(**SIZES, head_dim=8, pad_token_id=0),
        tf.Ministral3Config(**SIZES, head_dim=8), tf.Phi3Config(**SIZES, pad_token_id=0), tf.Glm4Config(**SIZES, head_dim=8, pad_token_id=0),
        tf.Gemma4TextConfig(**dict(SIZES, num_hidden_layers=7), pad_token_id=0, hidden_size_per_layer_input=8, vocab_size_per_layer_input=300),
        tf.GptOssConfig(**{k: v for k, v in GPT_OSS.items() if k != "rope_parameters"}),
        tf.MixtralConfig(**SIZES), tf.OlmoeConfig(**SIZES, num_experts=8), tf.GraniteMoeConfig(**SIZES),
        tf.Gemma2Config(**SIZES, head_dim=8), tf.Gemma3TextConfig(**dict(SIZES, num_hidden_layers=7), head_dim=8),
        tf.Qwen3_5TextConfig(**DELTA), tf.Qwen3_5MoeTextConfig(**DELTA, **DELTA_MOE))),
    case("qwen3, bfloat16", tf.Qwen3Config(**SIZES, head_dim=8), dtype="bfloat16"),
]


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"exit {r.returncode}: {r.stderr[-500:]}")
    return r.stdout


def publish(config, folder):
    """gemma 4 on the hub: sizes of layers without the window by names of their own, and keys and values also of layers that share others'."""
    path, weights = os.path.join(folder, "config.json"), os.path.join(folder, "model.safetensors")
    j, tensors = json.load(open(path)), load_file(weights)
    sizes = next(iter(j.pop("per_layer_config").values()))
    j |= dict(global_head_dim=sizes["head_dim"], num_global_key_value_heads=sizes.get("num_key_value_heads"))
    json.dump(j, open(path, "w"))
    for layer in range(j["num_hidden_layers"] - j["num_kv_shared_layers"], j["num_hidden_layers"]):
        for name in ("k_proj", "v_proj", "k_norm"):
            tensors[f"model.layers.{layer}.self_attn.{name}.weight"] = tensors[f"model.layers.0.self_attn.{name}.weight"].clone()
    save_file(tensors, weights, metadata={"format": "pt"})


def build(c, folder):
    torch.manual_seed(len(c["name"]))
    c["config"]._attn_implementation = "eager"
    model = tf.AutoModelForCausalLM.from_config(c["config"]).eval()
    with torch.no_grad():
        scalars = [(n, b) for n, b in model.named_buffers() if n.endswith("layer_scalar")]
        for name, q in [*model.named_parameters(), *scalars]:
            q.normal_(0, 1.0 / q.shape[-1] ** 0.5) if q.ndim > 1 else q.add_(torch.randn_like(q) * 0.2)
            if scalars and name.endswith("q_norm.weight"):
                q.mul_(0.3)  # scores are not divided by the root of a head's size
            if "A_log" in name:
                q.uniform_(-4, 1)  # some heads forget at once, some never
    model = model.to(getattr(torch, c["dtype"]))
    model.save_pretrained(folder, **(dict(max_shard_size="40KB") if c["sharded"] else {}))
    if c["hub"]:
        publish(c["config"], folder)
    if c["stacked"]:
        save_file({k: v.clone().contiguous() for k, v in model.state_dict().items()}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    path = os.path.join(folder, "config.json")
    j = json.load(open(path))
    if c["old"]:
        rope = dict(j.pop("rope_parameters"))
        if "full_attention" in rope:
            if c["config"].model_type == "gemma3_text":
                j["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
                j["sliding_window_pattern"] = j.pop("_sliding_window_pattern", 6)
            rope = dict(rope["full_attention"])
            del j["layer_types"]
        j["rope_theta"] = rope.pop("rope_theta")
        if c["config"].model_type == "llama":
            rope["type"] = rope.pop("rope_type")
        j["rope_scaling"], j["torch_dtype"] = rope, j.pop("dtype", "float32")
        json.dump(j, open(path, "w"))
    if c["published"]:
        json.dump({k: v for k, v in (j | c["published"]).items() if v is not None}, open(path, "w"))
    if c["bare"]:
        json.dump({k: v for k, v in j.items() if k not in ("rms_norm_eps", "layer_norm_eps", "norm_eps", "norm_epsilon", "layer_norm_epsilon", "n_inner", "activation_function", "rope_parameters", "hidden_act", "hidden_activation", "attention_dropout", "layer_types", "no_rope_layers")}, open(path, "w"))
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        f.write(open(os.path.join(BASE, "tokenizer.json")).read())
    # read back, so that the rounded weights count but RoPE's frequencies, which are no weights, stay f32
    return tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval().double()


def spread(folder, ids, lp):
    """By how much transformers' own f32 differs in log p: the delta rule's norm makes much of little where q · k is near 0."""
    model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
    with torch.no_grad():
        own = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
    return max(abs(own[i, ids[0, i + 1]] - lp[i, ids[0, i + 1]]).item() for i in range(len(lp) - 1))


def check_scores(c, folder):
    model = build(c, folder)
    ids = torch.randint(3, 300, (1, c["length"]))
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
    want = [lp[i, ids[0, i + 1]].item() for i in range(c["length"] - 1)]
    logits = os.path.join(folder, "logits.safetensors")
    got = json.loads(run(PROGRAM, "score", "--model", folder, "--ids", ",".join(map(str, ids[0].tolist())), "--logits", logits, "--json"))["logprobs"]
    worst = max(abs(a - b) for a, b in zip(got, want))
    full = (torch.log_softmax(load_file(logits)["logits"].double(), -1) - lp).abs().max().item()
    own = spread(folder, ids, lp) if c["config"].model_type.startswith("qwen3_5") else 0.0
    said = f"log p {worst:.1e}, all logits {full:.1e}" + (f", transformers' own f32 {own:.1e}" if own else "")
    assert len(got) == len(want) and worst <= max(2e-5, 2 * own) and full <= max(5e-5, 4 * own), said
    return said if own else f"log p {worst:.1e}"


def check_generation(model_dir, prompt):
    tok = tf.PreTrainedTokenizerFast(tokenizer_file=os.path.join(model_dir, "tokenizer.json"))
    model = tf.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    ids = torch.tensor([tok.encode(prompt)])
    with torch.no_grad():
        want = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False, pad_token_id=0)[0, ids.shape[1]:].tolist()
    got = json.loads(run(PROGRAM, "generate", "--model", model_dir, "--prompt", prompt, "--max-tokens", "64", "--json"))
    while want and want[-1] in (1, 2) and got["stopped"] == "eos":
        want.pop()
    assert got["prompt_ids"] == ids[0].tolist(), "prompt ids differ"
    assert got["ids"] == want, f"{got['ids']} against {want}"
    return f"{len(want)} tokens"


def check_cache(model_dir, prompt):
    """Greedy ids are what one forward over the whole text would choose: the cached path agrees with the full one."""
    got = json.loads(run(PROGRAM, "generate", "--model", model_dir, "--prompt", prompt, "--max-tokens", "48", "--json"))
    ids = got["prompt_ids"] + got["ids"]
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "l.safetensors")
        run(PROGRAM, "score", "--model", model_dir, "--ids", ",".join(map(str, ids)), "--logits", path, "--json")
        logits = load_file(path)["logits"]
    n = len(got["prompt_ids"])
    for i, t in enumerate(got["ids"]):
        gap = (logits[n - 1 + i].max() - logits[n - 1 + i, t]).item()
        assert gap <= 1e-5, f"token {i}: {gap:.1e} below the largest logit of the full forward"
    return f"{len(got['ids'])} tokens"


def check_seeded(folder, sizes):
    """A window of 9, which the prompt and 64 tokens pass several times."""
    build(case("gemma4", tf.Gemma4TextConfig(**dict(sizes, vocab_size=2048, max_position_embeddings=256))), folder)
    prompt = "Lily and Tom went to the"
    return f"{check_generation(folder, prompt)}, {check_cache(folder, prompt)}"


def check_adapter(flags, work):
    out = os.path.join(work, "adapter")
    run(PROGRAM, "train", "--model", BASE, "--data", os.path.join(ROOT, "demo", "task", "train.jsonl"), "--out", out, "--overwrite", "--steps", "4",
        "--batch", "4", "--max-length", "48", "--lr", "1e-2", "--quiet", *flags)
    model = peft.PeftModel.from_pretrained(tf.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), out).eval().double()
    ids = list(range(5, 45))
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    got = json.loads(run(PROGRAM, "score", "--model", BASE, "--adapter", out, "--ids", ",".join(map(str, ids)), "--json"))["logprobs"]
    worst = max(abs(g - lp[i, ids[i + 1]].item()) for i, g in enumerate(got))
    assert worst <= 2e-5, f"log p {worst:.1e}"
    return f"log p {worst:.1e}"


ADAPTERS = [[], ["--policy", "rslora", "--alpha", "8", "--dora"], ["--modules-to-save", "lm_head"], ["--modules-to-save", "embed_tokens,norm"],
            ["--targets", "q_proj,embed_tokens,lm_head", "--rank", "4"], ["--rank-pattern", "layers.1.*=3", "--alpha-pattern", ".*up_proj=5", "--layers", "1-4"],
            ["--targets", "all-linear", "--exclude", "k_proj", "--dropout", "0.1"], ["--dora", "--targets", "embed_tokens,v_proj"]]


def check_damaged(folder, config, tensor):
    """A number that is none, in what no module has: named before anything runs."""
    build(case("damaged", config), folder)
    path = os.path.join(folder, "model.safetensors")
    tensors = {k: v.clone() for k, v in load_file(path).items()}
    tensors[tensor].view(-1)[-1] = float("nan")
    save_file(tensors, path, {"format": "pt"})
    r = subprocess.run([PROGRAM, "score", "--model", folder, "--ids", "1,2,3"], capture_output=True, text=True)
    assert r.returncode == 1 and tensor in r.stderr and "NaN" in r.stderr, f"exit {r.returncode}: {r.stderr}"
    return "refused"


HOSTILE = {"mixtral": tf.MixtralConfig(**SIZES, num_local_experts=5, num_experts_per_tok=2),
           "qwen2_moe": tf.Qwen2MoeConfig(**SIZES, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=24),
           "gpt_oss": tf.GptOssConfig(**GPT_OSS), "gemma4_text": tf.Gemma4TextConfig(**GEMMA4_MOE),
           "qwen3_5_moe_text": tf.Qwen3_5MoeTextConfig(**DELTA, **DELTA_MOE)}


def check_hostile(name, folder):
    """Routers by one element of what they read, which is large in every token: all take the same experts, others have none.  Then a router's NaN."""
    def by_one_element(path, change):
        tensors = {k: v.clone() for k, v in load_file(path).items()}
        for k, v in tensors.items():
            if k.endswith("embed_tokens.weight"):
                v[:, 0] = 40.0
            if k.endswith((".gate.weight", ".router.weight", ".router.proj.weight")):
                v.zero_()
                v[:, 0] = torch.tensor([0.1 * ((7 * e + 3) % 11) for e in range(v.shape[0])])  # no two alike
                change(v)
        save_file(tensors, path, {"format": "pt"})

    c = case(f"hostile {name}", HOSTILE[name])
    build(c, folder)
    path = os.path.join(folder, "model.safetensors")
    by_one_element(path, lambda v: None)
    model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").double()
    seen = set()
    for n, m in model.named_modules():
        if type(m).__name__.endswith(("Router", "TopKRouter")):
            m.register_forward_hook(lambda m, i, out: seen.update(map(tuple, (out[2] if isinstance(out, tuple) else out).reshape(-1, 2).sort(-1)[0].tolist())))
    ids = torch.randint(3, 300, (1, 40))
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
    score = [PROGRAM, "score", "--model", folder, "--ids", ",".join(map(str, ids[0].tolist())), "--json"]
    got = json.loads(run(*score))["logprobs"]
    worst = max(abs(g - lp[i, ids[0, i + 1]].item()) for i, g in enumerate(got))
    bound = max(2e-5, 2 * spread(folder, ids, lp)) if name.startswith("qwen3_5") else 2e-5
    assert worst <= bound, f"log p {worst:.1e}, bound {bound:.1e}"
    by_one_element(path, lambda v: v[1, 0].fill_(float("nan")))
    r = subprocess.run(score, capture_output=True, text=True)
    assert r.returncode == 1 and "NaN" in r.stderr, f"exit {r.returncode}: {r.stderr}"
    return f"log p {worst:.1e}, sets of experts taken: {len(seen)}; NaN refused"


def attempt(name, check, *args):
    if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
        return 0
    try:
        print(f"ok logits {name}: {check(*args)}", flush=True)
        return 0
    except (AssertionError, RuntimeError, ValueError) as e:
        print(f"not ok logits {name}: {e}", flush=True)
        return 1


def main():
    failed, word = 0, sys.argv[1] if len(sys.argv) > 1 else ""
    with tempfile.TemporaryDirectory() as work:
        for i, c in enumerate(c for c in CASES if word in c["name"]):
            failed += attempt(c["name"], check_scores, c, os.path.join(work, str(i)))
        if word == "hostile":
            for family in HOSTILE:
                failed += attempt(f"hostile routing {family}", check_hostile, family, os.path.join(work, "hostile " + family))
        if word:
            return 1 if failed else 0
        for flags in ADAPTERS:
            failed += attempt("PEFT reads an adapter " + " ".join(flags), check_adapter, flags, work)
        for prompt in ("Once upon a time", "Lily and Tom went to the", "The big dog"):
            for name, folder in (("demo", BASE), ("stories260k", STORIES)):
                if not os.path.isdir(folder):
                    print(f"skip logits {name} ../shared/material is not here")
                    continue
                failed += attempt(f"greedy {name} '{prompt}'", check_generation, folder, prompt)
                failed += attempt(f"cache {name} '{prompt}'", check_cache, folder, prompt)
        for name, sizes in (("shared", dict(GEMMA4_SHARED, vocab_size_per_layer_input=2048)), ("values are keys", GEMMA4_KV)):
            failed += attempt(f"greedy and cache gemma4_text, {name}", check_seeded, os.path.join(work, f"gemma4 {name}"), sizes)
        for family in HOSTILE:
            failed += attempt(f"hostile routing {family}", check_hostile, family, os.path.join(work, "hostile " + family))
        for config, tensor in ((tf.Gemma4TextConfig(**GEMMA4_KV), "model.layers.1.layer_scalar"), (tf.Qwen3_5TextConfig(**DELTA), "model.layers.0.linear_attn.A_log"),
                               (tf.Qwen3_5TextConfig(**DELTA), "model.layers.1.linear_attn.conv1d.weight"),
                               (tf.GptOssConfig(**GPT_OSS), "model.layers.1.self_attn.sinks"),
                               (tf.Gemma4TextConfig(**GEMMA4_MOE), "model.layers.1.router.scale"),
                               (tf.Gemma4TextConfig(**GEMMA4_MOE), "model.layers.0.router.per_expert_scale")):
            failed += attempt(f"damaged {tensor}", check_damaged, os.path.join(work, tensor), config, tensor)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
