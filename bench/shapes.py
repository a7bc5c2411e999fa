#!/usr/bin/env python3
"""Random bases of known shapes, as Hugging Face folders: what the paired benchmarks train.

    bench/shapes.py SHAPE DIR [--dtype bf16|f32] [--config-only]

Weights are ~ N(0, 0.02) from a fixed seed; the tokenizer is the embedded base's, so that text becomes the same ids for
everybody.  A folder that is there already is kept: folders of some GB need not be written for every run."""
import argparse, json, os, shutil

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# hidden, intermediate, layers, heads, kv heads, head size, vocabulary, tied head, family
SHAPES = {
    "tiny": (64, 176, 4, 4, 2, 16, 2048, True, "llama"),
    "SmolLM2-135M": (576, 1536, 30, 9, 3, 64, 49152, True, "llama"),
    "Qwen2.5-0.5B": (896, 4864, 24, 14, 2, 64, 151936, True, "qwen2"),
    "Qwen3-0.6B": (1024, 3072, 28, 16, 8, 128, 151936, True, "qwen3"),
    "TinyLlama-1.1B": (2048, 5632, 22, 32, 4, 64, 32000, False, "llama"),
    # a few layers of larger ones, so that a round takes seconds: of Gemma 3 five with a window and one without
    "Gemma3-1B, 6 layers": (1152, 6912, 6, 4, 1, 256, 262144, True, "gemma3_text"),
    # of whole depth: with 6 layers the head, one product and its backward for everybody, is two thirds of a step, with 26 a third
    "Gemma3-1B": (1152, 6912, 26, 4, 1, 256, 262144, True, "gemma3_text"),
    "Phi3-mini, 4 layers": (3072, 8192, 4, 32, 32, 96, 32064, False, "phi3"),
    # of experts two layers, and a dense layer as wide as the eight experts that a token takes
    "Qwen3-30B-A3B, 2 layers": (2048, 6144, 2, 32, 4, 128, 32000, False, "qwen3_moe"),
    "Qwen3-30B-A3B's active weights, 2 layers": (2048, 8 * 768, 2, 32, 4, 128, 32000, False, "qwen3"),
    "Qwen3.5-0.8B": (1024, 3584, 24, 8, 2, 256, 248320, True, "qwen3_5_text"),
    "Qwen3-1.7B": (2048, 6144, 28, 16, 8, 128, 151936, True, "qwen3"),
}


def config(shape):
    h, i, layers, heads, kv, d, vocab, tied, family = SHAPES[shape]
    name = dict(llama="Llama", qwen2="Qwen2", qwen3="Qwen3", gemma3_text="Gemma3", phi3="Phi3", qwen3_5_text="Qwen3_5", qwen3_moe="Qwen3Moe")[family]
    c = dict(architectures=[name + "ForCausalLM"], model_type=family, hidden_size=h, intermediate_size=i, num_hidden_layers=layers,
             num_attention_heads=heads, num_key_value_heads=kv, vocab_size=vocab, tie_word_embeddings=tied, max_position_embeddings=32768,
             rms_norm_eps=1e-6, rope_theta=10000.0, hidden_act="silu", initializer_range=0.02, bos_token_id=0, eos_token_id=1)
    if family == "gemma3_text":
        del c["rope_theta"], c["hidden_act"]
        c.update(query_pre_attn_scalar=d, sliding_window=512)
    if family == "qwen3_5_text":
        del c["rope_theta"]
        c.update(rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25, mrope_section=[11, 11, 10],
                                      mrope_interleaved=True),
                 linear_num_key_heads=16, linear_num_value_heads=16, linear_key_head_dim=128, linear_value_head_dim=128)
    if family == "qwen3_moe":
        c.update(num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768, norm_topk_prob=True)
    return c if family in ("qwen2", "phi3") else dict(c, head_dim=d)


def write(shape, folder, dtype="bf16", config_only=False):
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        return folder
    os.makedirs(folder, exist_ok=True)
    c = dict(config(shape), torch_dtype=dict(bf16="bfloat16", f32="float32")[dtype])
    if not config_only:
        import torch, transformers
        torch.manual_seed(1)
        torch.set_default_dtype(getattr(torch, c["torch_dtype"]))
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**c))
        torch.set_default_dtype(torch.float32)
        model.save_pretrained(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f, indent=2)
    for name in ("tokenizer_config.json", "tokenizer.json"):  # the last file: it says that the folder is whole
        shutil.copy(os.path.join(ROOT, "demo", "base", name), folder)
    return folder


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("shape", choices=SHAPES)
    p.add_argument("dir")
    p.add_argument("--dtype", default="bf16", choices=("bf16", "f32"))
    p.add_argument("--config-only", action="store_true")
    a = p.parse_args()
    print(write(a.shape, a.dir, a.dtype, a.config_only))
