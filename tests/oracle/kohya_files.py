#!/usr/bin/env python3
"""Files in kohya's and diffusers' naming, through the program and back, by the rules of the loaders that read them.

  kohya_files.py [WORD...]   only the checks whose name holds one of the words"""
import json, math, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from lib import readers
from lib.program import ask, check, finish, refuses, workspace

WORK = workspace()
path = lambda name: os.path.join(WORK, name)
# (A's name, B's name), what both begin with, and whether the loaders of such names use an alpha tensor
DIALECTS = dict(
    flux=("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight", True),
    sdxl=("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", True),
    dotted=("diffusion_model.blocks.0.self_attn.q.lora_down.weight", "diffusion_model.blocks.0.self_attn.q.lora_up.weight", True),
    unet=("unet.mid_block.attn1.to_q.lora.down.weight", "unet.mid_block.attn1.to_q.lora.up.weight", False),
    old=("unet.attn1.processor.to_out_lora.down.weight", "unet.attn1.processor.to_out_lora.up.weight", False),
    text=("text_encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight", "text_encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight", False),
    peft=("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "transformer.transformer_blocks.0.attn.to_q.lora_B.weight", False))


def module(name):
    for tail in (".lora_down.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight", ".lora_A.weight"):
        if name.endswith(tail):
            return name.removesuffix(tail)


def pair(rng, rank=4, n_in=20, n_out=12):
    return (torch.tensor(rng.normal(0, 1, shape), dtype=torch.float32) for shape in ((rank, n_in), (n_out, rank)))


def loaded(file, down, up):
    """s·B·A as sd-scripts and ComfyUI load it: an alpha tensor, or s = 1."""
    t = load_file(file)
    alpha = t.pop(module(down) + ".alpha", None)
    assert set(t) == {down, up}, f"names {sorted(t)}"
    s = 1.0 if alpha is None else float(alpha) / len(t[down])
    return s * t[up].double().numpy() @ t[down].double().numpy(), alpha


def distance(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def rescaled(name):
    """Another s arrives by the loader's own rule, in a file of the same names."""
    down, up, has_alpha = DIALECTS[name]
    a, b = pair(np.random.default_rng(1))
    save_file({down: a, up: b}, path("in.safetensors"))
    out = path(f"{name}.safetensors")
    ask("rescale", path("in.safetensors"), out, "--scale", "0.3")
    got, alpha = loaded(out, down, up)
    assert (alpha is not None) == has_alpha, f"alpha {alpha}"
    worst = distance(got, 0.3 * b.double().numpy() @ a.double().numpy())
    assert worst <= 1e-6, f"differs by {worst:.1e}"


def configured(rslora):
    """diffusers' metadata: alpha by PEFT's rules for its own loader, and in B for everybody after conversion."""
    down, up, _ = DIALECTS["peft"]
    a, b = pair(np.random.default_rng(2))
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": rslora, "alpha_pattern": {"attn.to_q": 3}, "target_modules": ["to_q"]}
    metadata = {"lora_adapter_metadata": json.dumps({f"transformer.{k}": v for k, v in config.items()})}
    save_file({down: a, up: b}, path("told.safetensors"), metadata)
    out = path(f"told-{rslora}.safetensors")
    ask("convert", path("told.safetensors"), out, "--to", "kohya")
    s = 3 / (math.sqrt(4) if rslora else 4)
    worst = distance(loaded(out, down, up)[0], s * b.double().numpy() @ a.double().numpy())
    assert worst <= 1e-6, f"differs by {worst:.1e}"
    assert "lora_adapter_metadata" not in readers.metadata(out), "diffusers would apply the configuration a second time"


def zero():
    """alpha 0: as sd-scripts' networks/lora.py computes, the rank."""
    down, up, _ = DIALECTS["flux"]
    a, b = pair(np.random.default_rng(3))
    save_file({down: a, up: b, module(down) + ".alpha": torch.tensor(0.0)}, path("zero.safetensors"))
    site, = ask("inspect", path("zero.safetensors"))["sites"]
    assert site["scale"] == 1 and site["alpha"] == 4, site
    out = path("off.safetensors")
    refuses(out, ["alpha is 0", "--fold"], "rescale", path("zero.safetensors"), out, "--scale", "0")


def carried():
    """What a trainer noted stays, but for hashes of tensors that changed."""
    down, up, _ = DIALECTS["flux"]
    a, b = pair(np.random.default_rng(4))
    notes = {"ss_tag_frequency": '{"cat": {"a cat": 3}}', "ss_network_module": "networks.lora_flux", "ss_network_dim": "4", "ss_network_alpha": "1.0",
             "sshs_model_hash": "x", "modelspec.title": "t", "modelspec.hash_sha256": "x"}
    save_file({down: a, up: b, module(down) + ".alpha": torch.tensor(1.0)}, path("notes.safetensors"), notes)
    out = path("carried.safetensors")
    ask("rescale", path("notes.safetensors"), out, "--scale", "2")
    got = readers.metadata(out)
    assert got["ss_network_alpha"] == "8" and got["ss_network_dim"] == "4", got
    assert all(got[k] == notes[k] for k in ("ss_tag_frequency", "ss_network_module", "modelspec.title")), got
    assert not {"sshs_model_hash", "modelspec.hash_sha256"} & set(got), got


for name in DIALECTS:
    check(f"kohya_files rescaled {name}", rescaled, name)
for rslora in (False, True):
    check(f"kohya_files configured {'rslora' if rslora else 'standard'}", configured, rslora)
check("kohya_files zero", zero)
check("kohya_files carried", carried)
finish(WORK)
