"""llama.cpp's own converter, and seeded models of the families that it knows.

It comes from the source package llama-cpp-python 0.3.29 (vendor/llama.cpp: conversion, gguf-py/gguf); ALPHAR_LLAMA_CPP names the folder
that holds both, by default ~/.cache/alphar-llama.cpp."""
import contextlib, io, os, pathlib, sys, unittest.mock

import transformers as tf

from .program import MATERIAL

CONVERTER = os.environ.get("ALPHAR_LLAMA_CPP") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "alphar-llama.cpp")
VOCABULARY = os.path.join(MATERIAL, "models", "stories260k", "stories260K.gguf")


def missing():
    """Why it cannot be asked; None where it can."""
    if not os.path.exists(VOCABULARY):
        return "shared material (stories260k) is missing"
    if not os.path.exists(os.path.join(CONVERTER, "conversion", "base.py")):
        return f"{CONVERTER} has no converter of llama.cpp (ALPHAR_LLAMA_CPP names another folder)"
    try:
        sys.path.insert(0, CONVERTER)
        with contextlib.redirect_stderr(io.StringIO()):
            import conversion, gguf
    except ImportError as problem:
        return f"the converter does not load: {problem}"
    return None


SIZES = dict(vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
PLAIN = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
DEEP = dict(SIZES, num_hidden_layers=6)
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=32)
GPT_OSS_ROPE = dict(rope_type="yarn", rope_theta=150000.0, factor=4.0, original_max_position_embeddings=32, truncate=False)
LLAMA3 = dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
LONG = dict(rope_type="longrope", rope_theta=1e4, short_factor=[1.0 + 0.1 * i for i in range(8)], long_factor=[2.0 + i for i in range(8)])
# llama.cpp takes the keys of the last layer, and of the one before it, ahead of those that share: a pair of both kinds.
GEMMA4 = dict(DEEP, head_dim=16, global_head_dim=32, sliding_window=16, final_logit_softcapping=8.0,
              layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2)
DELTA = dict(SIZES, num_hidden_layers=5, head_dim=32, linear_key_head_dim=32, linear_value_head_dim=32, linear_num_key_heads=2,
             rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25, mrope_section=[2, 1, 1], mrope_interleaved=True))
# gelu: llama.cpp looks it up in a table of f16, or has its tanh form where transformers has erf; judged by transformers alone.
CASES = {
    "llama": tf.LlamaConfig(**SIZES),
    "llama, llama3 rope, tied": tf.LlamaConfig(**SIZES, rope_parameters=LLAMA3, tie_word_embeddings=True),
    "llama, linear rope, biases": tf.LlamaConfig(**SIZES, attention_bias=True, rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=3.0)),
    "mistral, head size 24": tf.MistralConfig(**SIZES, sliding_window=None, head_dim=24),
    "qwen2, yarn": tf.Qwen2Config(**SIZES, tie_word_embeddings=True, rope_parameters=YARN),
    "qwen3": tf.Qwen3Config(**SIZES, head_dim=24),
    "smollm3": tf.SmolLM3Config(**DEEP),
    "mixtral": tf.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
    "qwen2_moe": tf.Qwen2MoeConfig(**SIZES, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=32, shared_expert_intermediate_size=64),
    "qwen3_moe": tf.Qwen3MoeConfig(**SIZES, head_dim=24, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True),
    "olmoe": tf.OlmoeConfig(**dict(SIZES, num_key_value_heads=4), num_experts=4, num_experts_per_tok=2),
    "granitemoe": tf.GraniteMoeConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2, logits_scaling=2.5),
    # of the frequencies of a head of 8 llama.cpp rounds YaRN's bounds to the ones that they are cut to anyway
    "gpt_oss": tf.GptOssConfig(**dict(SIZES, num_hidden_layers=4), head_dim=8, num_local_experts=5, num_experts_per_tok=2, sliding_window=16,
                               rope_parameters=GPT_OSS_ROPE),
    "granite": tf.GraniteConfig(**SIZES, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2, logits_scaling=2.5),
    "olmo2": tf.Olmo2Config(**SIZES),
    "olmo3": tf.Olmo3Config(**DEEP, sliding_window=16),
    "exaone4": tf.Exaone4Config(**SIZES, sliding_window=None, layer_types=["full_attention"] * 3),
    "seed_oss": tf.SeedOssConfig(**SIZES, head_dim=24, attention_dropout=0.0, residual_dropout=0.0),
    "ernie4_5": tf.Ernie4_5Config(**SIZES, head_dim=16),
    "ministral3": tf.Ministral3Config(**SIZES, head_dim=24, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1)),
    "phi3": tf.Phi3Config(**SIZES, sliding_window=None),
    "phi3, longrope": tf.Phi3Config(**SIZES, sliding_window=None, original_max_position_embeddings=32, rope_parameters=LONG),
    "glm4": tf.Glm4Config(**SIZES, head_dim=16),
    "stablelm": tf.StableLmConfig(**SIZES, use_qkv_bias=True),
    "stablelm, norms of single heads": tf.StableLmConfig(**dict(SIZES, num_key_value_heads=4), qk_layernorm=True, use_parallel_residual=True),
    "nemotron": tf.NemotronConfig(**SIZES),
    "cohere2": tf.Cohere2Config(**DEEP, sliding_window=16, logit_scale=0.4),
    "apertus": tf.ApertusConfig(**SIZES),
    "hunyuan_v1_dense": tf.HunYuanDenseV1Config(**SIZES, head_dim=24),
    "gemma": tf.GemmaConfig(**SIZES, head_dim=24),
    "gemma2": tf.Gemma2Config(**DEEP, head_dim=24, query_pre_attn_scalar=24, sliding_window=16, attn_logit_softcapping=5.0, final_logit_softcapping=8.0),
    "gemma3_text": tf.Gemma3TextConfig(**dict(DEEP, num_hidden_layers=7), head_dim=24, query_pre_attn_scalar=24, sliding_window=16),
    "gemma4_text": tf.Gemma4TextConfig(**GEMMA4, hidden_size_per_layer_input=8, vocab_size_per_layer_input=512, num_kv_shared_layers=3,
                                       use_double_wide_mlp=True),
    "gemma4_text, values are keys": tf.Gemma4TextConfig(**GEMMA4, hidden_size_per_layer_input=0, attention_k_eq_v=True,
                                                        num_global_key_value_heads=1),
    "gemma4_text, experts": tf.Gemma4TextConfig(**GEMMA4, hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=5, top_k_experts=2, moe_intermediate_size=32),
    "qwen3_5_text": tf.Qwen3_5TextConfig(**DELTA, linear_num_value_heads=6),
    "qwen3_5_text, a value head for each key head, untied": tf.Qwen3_5TextConfig(**DELTA, linear_num_value_heads=2, tie_word_embeddings=False),
    "qwen3_5_moe_text": tf.Qwen3_5MoeTextConfig(**DELTA, linear_num_value_heads=4, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=32,
                                                shared_expert_intermediate_size=64),
    "lfm2": tf.Lfm2Config(**dict(SIZES, num_hidden_layers=5), layer_types=["conv", "full_attention", "conv", "conv", "full_attention"], block_multiple_of=32),
    "lfm2, four taps, untied, its width as it is": tf.Lfm2Config(**SIZES, layer_types=["full_attention", "conv", "conv"], tie_word_embeddings=False,
                                                                 conv_L_cache=4, block_auto_adjust_ff_dim=False),
    "gpt2": tf.GPT2Config(vocab_size=512, n_positions=128, n_embd=64, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2),
    "gpt_neox": tf.GPTNeoXConfig(**PLAIN),
    "phi": tf.PhiConfig(**dict(PLAIN, intermediate_size=256)),  # the converter writes 4 · 64 whatever it is
    "starcoder2": tf.Starcoder2Config(**SIZES, sliding_window=None),
}
# Fields that the converter asks for by the names of older versions of transformers.
OLDER = {"llama, llama3 rope, tied": dict(original_max_position_embeddings=32), "phi3, longrope": dict(rope_scaling=dict(LONG, type="longrope"), original_max_position_embeddings=32),
         "stablelm": dict(partial_rotary_factor=0.25), "stablelm, norms of single heads": dict(partial_rotary_factor=0.25), "nemotron": dict(partial_rotary_factor=0.5), "cohere2": dict(rotary_pct=1.0),
         "gemma4_text": dict(global_head_dim=32), "gemma4_text, values are keys": dict(global_head_dim=32, num_global_key_value_heads=1), "gemma4_text, experts": dict(global_head_dim=32),
         "gpt2": dict(n_ctx=128), "gpt_neox": dict(rotary_pct=0.25), "phi": dict(partial_rotary_factor=0.5)}


def put_vocabulary(model):
    import gguf
    for key, field in gguf.GGUFReader(VOCABULARY).fields.items():
        if key.startswith("tokenizer."):
            model.gguf_writer.add_key_value(key, field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)


def returned_too(modify):
    """stablelm's stacks norms of single heads in what its generator returns, which nobody takes up."""
    def both(self, data, name, bid):
        stacked = yield from modify(self, data, name, bid)
        yield from stacked or ()
    return both


def convert(name, folder, file, ftype="ALL_F32", vocabulary=put_vocabulary):
    """vocabulary: what stands in for the converter's own reading of the tokenizer; None: nothing does."""
    import conversion, gguf
    from conversion.base import ModelBase
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        hparams = dict(ModelBase.load_hparams(pathlib.Path(folder), False), **OLDER.get(name, {}))
        kind = conversion.get_model_class(hparams["architectures"][0])
        whole = returned_too(kind.modify_tensors) if "single heads" in name else kind.modify_tensors
        with unittest.mock.patch.object(kind, "set_vocab", vocabulary or kind.set_vocab), unittest.mock.patch.object(kind, "modify_tensors", whole):
            kind(pathlib.Path(folder), gguf.LlamaFileType[ftype], pathlib.Path(file), hparams=hparams, model_name="seeded").write()  # "phi3" in it has a meaning
