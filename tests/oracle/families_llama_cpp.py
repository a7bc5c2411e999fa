#!/usr/bin/env python3
"""llama.cpp runs Gemma 2, Gemma 3, Phi-3 and GPT-2 with adapters that Alphar converted: its log-probabilities against Alphar's own forward
of the Hugging Face base with the PEFT source.  The GGUF bases are written here with gguf-py.

llama.cpp looks gelu up in a table of f16, which is 1e-3 in log p on these models with or without an adapter.  There PEFT's forward with
that rounding stands between the two: llama.cpp is nearer to it (what is left are values that round to the other side), and Alphar
agrees with PEFT's own to 2e-5."""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import peft
import torch
import transformers as tf
from lib import bases, llama, makers
from lib.program import MATERIAL, ask, check, finish, workspace

VOCABULARY = os.path.join(MATERIAL, "models", "stories260k", "stories260K.gguf")
WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)


def skip(why):
    print(f"skip families_llama_cpp {why}")
    finish(WORK)


if not os.path.exists(VOCABULARY):
    skip("shared material (stories260k) is missing")
if llama.missing():
    skip(llama.missing())
try:
    import gguf
except ImportError:
    skip("no gguf module")

IDS = [1] + [(37 * i) % 480 + 20 for i in range(47)]
SIZES = dict(vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
GEMMA = dict(SIZES, head_dim=32, query_pre_attn_scalar=32, sliding_window=16)  # llama.cpp divides by the head's size
CONFIGS = {
    "gemma2": tf.Gemma2Config(**GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=8.0),
    "gemma3": tf.Gemma3TextConfig(**GEMMA),
    "phi3": tf.Phi3Config(**SIZES, sliding_window=None),
    "gpt2": tf.GPT2Config(vocab_size=512, n_positions=128, n_embd=64, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2),
}
ARCH = dict(gemma2="GEMMA2", gemma3="GEMMA3", phi3="PHI3", gpt2="GPT2")


def write_base(family, base, file):
    c = base.config
    arch = gguf.MODEL_ARCH[ARCH[family]]
    names = gguf.get_tensor_name_map(arch, base.layers)
    w = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[arch])
    width, ff = c.get("hidden_size") or c["n_embd"], c.get("intermediate_size") or 4 * c["n_embd"]
    w.add_block_count(base.layers)
    w.add_context_length(128)
    w.add_embedding_length(width)
    w.add_feed_forward_length(ff)
    w.add_head_count(base.heads)
    w.add_head_count_kv(base.kv_heads)
    w.add_vocab_size(512)
    if family == "gpt2":
        w.add_layer_norm_eps(c["layer_norm_epsilon"])
    else:
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        w.add_rope_dimension_count(c.get("head_dim") or width // base.heads)
    if family.startswith("gemma"):
        w.add_key_length(32)
        w.add_value_length(32)
        w.add_sliding_window(c["sliding_window"])
    if family == "gemma2":
        w.add_attn_logit_softcapping(c["attn_logit_softcapping"])
        w.add_final_logit_softcapping(c["final_logit_softcapping"])
    if family == "gemma3":
        w.add_rope_freq_base(c["rope_parameters"]["full_attention"]["rope_theta"])
        w.add_rope_freq_base_swa(c["rope_parameters"]["sliding_attention"]["rope_theta"])
    if family == "phi3":
        w.add_rope_freq_base(1e4)
    for key, field in gguf.GGUFReader(VOCABULARY).fields.items():
        if key.startswith("tokenizer."):
            w.add_key_value(key, field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)
    for name, x in base.weights().items():
        name = name if family != "gpt2" or name.startswith(("transformer.", "lm_head")) else "transformer." + name
        stem, _, kind = name.rpartition(".")
        x = x.astype(np.float32)
        if family == "gpt2" and x.ndim == 2 and stem.endswith(("c_attn", "c_proj", "c_fc")):
            x = x.T
        if family.startswith("gemma") and "norm" in stem:
            x = x + 1
        to = names.get_name(stem)
        if to is None or (to == "output" and base.tied):
            continue
        w.add_tensor(f"{to}.{kind}", np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def score(folder, *flags):
    return np.array(ask("score", "--model", folder, "--ids", ",".join(map(str, IDS)), *flags)["logprobs"])


def rounded_gelu(x):
    """ggml_vec_gelu_f32: f16 in, f16 out, and no table beyond 10."""
    half = x.to(torch.float16).double()
    y = torch.nn.functional.gelu(half, approximate="tanh").to(torch.float16).double()
    return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, y))


def with_rounding(base, adapter=None):
    model = base.load()
    if adapter:
        model = peft.PeftModel.from_pretrained(model, adapter)
    for m in model.modules():
        for name in ("act_fn", "act"):
            if hasattr(m, name) and not isinstance(m, peft.PeftModel):
                m._modules.pop(name, None)
                setattr(m, name, rounded_gelu)
    with torch.no_grad():
        lp = torch.log_softmax(model.double().eval()(input_ids=torch.tensor([IDS])).logits[0], -1)
    return np.array([lp[i, t].item() for i, t in enumerate(IDS[1:])])


def compare(family):
    folder, adapter, file, converted = path(family), path(family + "-adapter"), path(family + ".gguf"), path(family + "-adapter.gguf")
    base = bases.make(family, folder, config=CONFIGS[family])
    write_base(family, base, file)
    makers.make_peft(base, adapter, moved=0.1)
    ask("convert", adapter, converted, "--to", "gguf", "--model", folder)
    alone, lent = llama.ask(file, IDS, [(None, 1), (converted, 1)])
    assert not isinstance(alone, str), f"llama.cpp: {alone}"
    assert not isinstance(lent, str), f"llama.cpp with the adapter: {lent}"
    plain, ours = score(folder), score(folder, "--adapter", adapter)
    moved, said = np.abs(ours - plain).max(), ""
    if family != "phi3":
        exact = makers.peft_logits(base, adapter, IDS)
        exact = np.array([row[t] for row, t in zip(exact - np.logaddexp.reduce(exact, axis=1, keepdims=True), IDS[1:])])
        to_peft = np.abs(ours - exact).max()
        assert to_peft <= 2e-5, f"with the adapter {to_peft:.1e} from PEFT"
        said = f", {np.abs(ours - lent).max():.1e} by its gelu"
        plain, ours = with_rounding(base), with_rounding(base, adapter)
    off, worst = np.abs(plain - alone).max(), np.abs(ours - lent).max()
    assert off <= (1e-4 if family == "phi3" else 1e-3), f"the base alone differs by {off:.1e}"
    assert moved > 1e-2 and worst <= 1e-3, f"with the adapter {worst:.1e} of {moved:.1e}"
    return f"{worst:.1e}, the base alone {off:.1e}, moved {moved:.1e}{said}"


for family in CONFIGS:
    check(f"families_llama_cpp {family}", compare, family)
finish(WORK)
