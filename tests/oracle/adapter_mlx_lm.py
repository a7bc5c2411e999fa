#!/usr/bin/env python3
"""mlx-lm itself loads what `convert --to mlx` wrote, and moves the logits as PEFT does with the source.  Needs the packages mlx
(mlx[cpu] where there is no Metal) and mlx-lm; everything is skipped without them.

  adapter_mlx_lm.py [WORD...]   only the checks whose name holds one of the words"""
import os, shutil, sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import transformers as tf
from lib import bases, makers, readers
from lib.llama_converter import CASES, OLDER, VOCABULARY
from lib.program import Skip, ask, check, finish, workspace
from safetensors.torch import load_file, save_file

try:
    import mlx.core as mx
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model
except ImportError as e:
    mx, missing = None, str(e)

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
IDS = np.random.default_rng(3).integers(3, 60, 14).tolist()  # shorter than any window: mlx-lm's gemma2 has none
GEMMA3 = dict(bases.GEMMA, num_hidden_layers=6)  # mlx-lm wants one layer with full attention
NEOX = dict(vocab_size=60, hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=64,
            hidden_act="gelu_new", bos_token_id=1, eos_token_id=2)  # mlx-lm has these two fixed


def base_of(family):
    folder = path("base-" + family)
    if os.path.exists(folder):
        return bases.Base(folder)
    own = {"gpt-neox": lambda: tf.GPTNeoXConfig(**NEOX), "gemma3": lambda: tf.Gemma3TextConfig(**GEMMA3)}.get(family)
    return bases.make(family, folder, config=own and own())


def mlx_folder(base):
    """The base as mlx-lm takes it: gpt2's published checkpoints have no prefix."""
    if base.type != "gpt2":
        return Path(base.folder)
    folder = base.folder + "-bare"
    if not os.path.exists(folder):
        shutil.copytree(base.folder, folder)
        file = os.path.join(folder, "model.safetensors")
        save_file({k.removeprefix("transformer."): v for k, v in load_file(file).items() if k != "lm_head.weight"}, file)
    return Path(folder)


def mlx_config(base):
    """Fields of older configurations that mlx-lm insists on."""
    rope = base.config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    theta = rope.get("rope_theta", 10000.0)
    more = dict(n_ctx=64, rotary_emb_base=theta, rotary_pct=rope.get("partial_rotary_factor", base.config.get("rotary_pct", 0.25)),
                rope_scaling=None, rope_theta=theta, layer_norm_eps=1e-5)
    if base.type == "gemma3_text":
        more["sliding_window_pattern"] = 6
    return {**{k: v for k, v in more.items() if k not in base.config}, "rope_parameters": {"rope_theta": theta, "rope_type": "default"}}


def mlx_logits(base, folder=None):
    model, _ = load_model(mlx_folder(base), model_config=mlx_config(base))
    if folder:
        load_adapters(model, folder)
    model.eval()
    return np.array(model(mx.array([IDS]))[0].astype(mx.float32), np.float64)


def agrees(family, settings):
    if mx is None:
        raise Skip(missing)
    base = base_of(family)
    source = makers.make_peft(base, path(f"in-{family}-{len(settings)}-{settings.get('use_dora')}"), **settings)
    out = path(f"out-{family}-{len(settings)}-{settings.get('use_dora')}")
    ask("convert", source, out, "--to", "mlx", "--model", base.folder, "--dtype", "f32")
    before, after = mlx_logits(base), mlx_logits(base, out)
    want_before, want_after = makers.peft_logits(base, None, IDS), makers.peft_logits(base, source, IDS)
    own = np.abs(before - want_before).max()
    moved = np.abs(want_after - want_before).max()
    off = np.abs(after - want_after).max()
    assert moved > 0.1, f"the adapter moves the logits by {moved:.1e} only"
    assert own <= 1e-2, f"the bases differ by {own:.1e}"
    assert off <= 3 * own + 1e-4 * moved, f"off by {off:.1e}, the bases by {own:.1e}, moved {moved:.1e}"
    return f"moved {moved:.1g}, off {off:.1e}, base off {own:.1e}"


def trained_here(family):
    """mlx-lm's own files: the layers it instantiates and the names it gives them."""
    if mx is None:
        raise Skip(missing)
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.utils import linear_to_lora_layers
    base = base_of(family)
    model, _ = load_model(mlx_folder(base), model_config=mlx_config(base))
    model.freeze()
    parameters = dict(rank=3, scale=2.5, dropout=0.0)
    linear_to_lora_layers(model, 2, parameters)
    mx.random.seed(1)
    tensors = {k: 0.1 * mx.random.normal(v.shape) for k, v in tree_flatten(model.trainable_parameters())}
    folder = path("own-" + family)
    os.makedirs(folder, exist_ok=True)
    mx.save_safetensors(os.path.join(folder, "adapters.safetensors"), tensors)
    makers.json.dump(dict(fine_tune_type="lora", num_layers=2, lora_parameters=parameters), open(os.path.join(folder, "adapter_config.json"), "w"))
    out = path("own-peft-" + family)
    ask("convert", folder, out, "--to", "peft", "--model", base.folder, "--dtype", "f32")
    got = readers.read_peft(out)
    assert len(got) == len(tensors) // 2, f"{len(got)} sites of {len(tensors)} tensors"
    before, after = mlx_logits(base), mlx_logits(base, folder)
    off = np.abs(after - makers.peft_logits(base, out, IDS)).max()
    own, moved = np.abs(before - makers.peft_logits(base, None, IDS)).max(), np.abs(after - before).max()
    assert moved > 0.1, f"the adapter moves the logits by {moved:.1e} only"
    assert off <= 3 * own + 1e-4 * moved, f"off by {off:.1e}, the bases by {own:.1e}, moved {moved:.1e}"
    return f"moved {moved:.1g}, off {off:.1e}, base off {own:.1e}"


def unfused(folder, out):
    """gpt_oss as mlx-lm has it: its loader takes experts in MXFP4 or so."""
    shutil.copytree(folder, out)
    tensors = {}
    for k, v in load_file(os.path.join(folder, "model.safetensors")).items():
        stem, bias = k.removesuffix("_bias"), k.endswith("_bias")
        turn = (lambda x: x.contiguous()) if bias else (lambda x: x.transpose(1, 2).contiguous())
        if stem.endswith("experts.gate_up_proj"):
            for i, part in enumerate(("gate_proj", "up_proj")):
                tensors[stem.replace("gate_up_proj", part) + (".bias" if bias else ".weight")] = turn(v[..., i::2])
        elif stem.endswith("experts.down_proj"):
            tensors[stem + (".bias" if bias else ".weight")] = turn(v)
        else:
            tensors[k] = v
    save_file(tensors, os.path.join(out, "model.safetensors"), {"format": "pt"})


def stacked(folder, out):
    """qwen3_5_moe as published, with experts in one tensor, and their number by the name that mlx-lm reads."""
    import torch
    shutil.copytree(folder, out)
    tensors, config = load_file(os.path.join(folder, "model.safetensors")), makers.json.load(open(os.path.join(folder, "config.json")))
    text = config["text_config"]
    experts = text["num_experts"] = text.get("num_experts") or text["num_local_experts"]
    for layer in range(text["num_hidden_layers"]):
        at = f"model.language_model.layers.{layer}.mlp.experts."
        part = lambda name: torch.stack([tensors.pop(f"{at}{e}.{name}.weight") for e in range(experts)])
        tensors[at + "gate_up_proj"] = torch.cat([part("gate_proj"), part("up_proj")], 1).contiguous()
        tensors[at + "down_proj"] = part("down_proj")
    save_file(tensors, os.path.join(out, "model.safetensors"), {"format": "pt"})
    makers.json.dump(config, open(os.path.join(out, "config.json"), "w"))


def multimodal(kind, folder):
    """A folder whose language model mixes by the delta rule; mlx-lm has the text part under no model_type of its own."""
    import torch
    torch.manual_seed(3)
    vision = dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2, patch_size=4, spatial_merge_size=2, temporal_patch_size=1, out_hidden_size=64,
                  num_position_embeddings=16)
    name = "qwen3_5_moe" if kind.endswith("moe") else "qwen3_5"
    text = {k: v for k, v in CASES[name + "_text"].to_dict().items() if k not in ("architectures", "transformers_version")}
    config = getattr(tf, "Qwen3_5MoeConfig" if kind.endswith("moe") else "Qwen3_5Config")(text_config=text, vision_config=vision, tie_word_embeddings=text["tie_word_embeddings"])
    model = getattr(tf, "Qwen3_5MoeForConditionalGeneration" if kind.endswith("moe") else "Qwen3_5ForConditionalGeneration")(config)
    with torch.no_grad():
        for n, q in model.named_parameters():
            q.normal_(0, 1.0 / q.shape[-1] ** 0.5) if q.ndim > 1 else q.uniform_(-4, 1) if "A_log" in n else q.add_(torch.randn_like(q) * 0.1)
    model.save_pretrained(folder)


def trained_by_alphar(name, targets):
    """An adapter that was trained here, on the family's experts or its own linears, moves mlx-lm's log-probabilities as ours; and comes back."""
    if mx is None:
        raise Skip(missing)
    folder, adapter, out, data = path("t-" + name), path("t-a-" + name), path("t-m-" + name), path("t.jsonl")
    if name.startswith("qwen3_5"):
        multimodal(name, folder)
    else:
        bases.make(name, folder, config=CASES[name])
    shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
    theirs = folder
    if name == "gpt_oss":
        unfused(folder, theirs := folder + "-unfused")
    if name == "qwen3_5_moe":
        stacked(folder, theirs := folder + "-stacked")
    with open(data, "w") as f:
        f.write('{"text": "Once upon a time there was a little fox who could not sleep."}\n' * 8)
    ask("train", "--model", folder, "--data", data, "--out", adapter, "--steps", "6", "--rank", "4", "--alpha", "8", "--lr", "1e-2", "--targets", targets,
        "--compute", "f32")
    ask("convert", adapter, out, "--to", "mlx", "--model", folder, "--dtype", "f32")
    config = makers.json.load(open(os.path.join(folder, "config.json")))
    rope = config.get("rope_parameters") or {}
    more = dict(num_experts=config.get("num_local_experts"), rope_theta=rope.get("rope_theta", 1e4), rope_scaling=rope if name == "gpt_oss" else None,
                **(OLDER.get(name, {}) if name.startswith("gemma4") else {}))
    ids = [1] + [(37 * i) % 480 + 20 for i in range(13)]

    def theirs_of(adapter_of=None):
        model, _ = load_model(Path(theirs), strict=not name.startswith("qwen3_5"), model_config={k: v for k, v in more.items() if k not in config})
        if adapter_of:
            load_adapters(model, adapter_of)
        model.eval()
        x = np.array(model(mx.array([ids]))[0].astype(mx.float32), np.float64)
        return (x - np.logaddexp.reduce(x, -1, keepdims=True))[np.arange(len(ids) - 1), ids[1:]]

    score = lambda *flags: np.array(ask("score", "--model", folder, "--ids", ",".join(map(str, ids)), "--compute", "f32", *flags)["logprobs"])
    before, after = score(), score("--adapter", adapter)
    own, off, back = (np.abs(a - b).max() for a, b in ((theirs_of(), before), (theirs_of(out), after), (score("--adapter", out), after)))
    moved = np.abs(after - before).max()
    assert moved > 0.1 and own <= 2e-4 and off <= 3 * own + 1e-4 * moved and back <= 2e-5, f"moved {moved:.1e}, base off {own:.1e}, off {off:.1e}, back {back:.1e}"
    return f"moved {moved:.1g}, off {off:.1e}, base off {own:.1e}"


STACKS = "q_proj,experts.gate_up_proj,experts.down_proj"
DELTA = "in_proj_qkv,in_proj_z,in_proj_b,in_proj_a,out_proj,o_proj"
TRAINED = {"mixtral": "all-linear", "qwen3_moe": "all-linear", "olmoe": "all-linear", "qwen2_moe": STACKS + ",mlp.gate,shared_expert.up_proj,shared_expert_gate",
           "granitemoe": STACKS + ",router", "gemma4_text, experts": STACKS + ",router.proj,mlp.up_proj", "gpt_oss": STACKS + ",router", "qwen3_5": DELTA, "qwen3_5_moe": DELTA + ",mlp.gate,experts.gate_up_proj,experts.down_proj"}
FOLDED = dict(use_rslora=True, lora_alpha=5, rank_pattern={"q_proj": 2, "c_proj": 2}, alpha_pattern={"v_proj": 3.5, "c_attn": 2})
for family in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "gpt2", "gpt-neox"):
    check(f"adapter_mlx_lm plain {family}", agrees, family, {})
    check(f"adapter_mlx_lm trained {family}", trained_here, family)
for family in TRAINED:
    check(f"adapter_mlx_lm by alphar {family}", trained_by_alphar, family, TRAINED[family])
for family in ("llama", "gpt2"):
    check(f"adapter_mlx_lm folded {family}", agrees, family, FOLDED)
check("adapter_mlx_lm dora", agrees, "llama", dict(use_dora=True, lora_alpha=3))
check("adapter_mlx_lm embeddings", agrees, "llama", dict(target_modules=["embed_tokens", "lm_head", "q_proj"]))
finish(WORK)
