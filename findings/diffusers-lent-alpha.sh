#!/bin/sh
# diffusers: a module without alpha takes the alpha of whichever module comes first in the file.
#
# One would guess: in a LoRA file a pair without an `.alpha` has s = 1. That is what diffusers itself gives where no
# module has one, and what sd-scripts, LyCORIS and ComfyUI give. Who has read get_peft_kwargs, which asks a Counter
# for the commonest alpha, would guess that it is the commonest one.
#
# What happens: it is the first one in the order of the file. The Counter counts tensors, which hash by identity, so
# each alpha occurs once and the first wins. The order is that of the names here, so the alphabet decides: to_k's 2
# beats two 8s, and to_out and the single block, which have none, run at s = 2/4. One alpha of 0, which switches its
# own module off, switches off every module that has none. Nothing is said.
#
# Packages: diffusers 0.42.1 with peft 0.21.2, transformers 5.24.0, safetensors 0.8.0, torch 2.13.0. Seen on 2026-11-27:
#
#     modules: to_k to_out.0 to_q to_v single_to_q
#     alphas [None, None, None, None, None] -> s [1.0, 1.0, 1.0, 1.0, 1.0]
#     alphas [2, None, 8, 8, None] -> s [0.5, 0.5, 2.0, 2.0, 0.5]
#     alphas [8, None, 2, 2, None] -> s [2.0, 2.0, 0.5, 0.5, 2.0]
#     alphas [None, None, None, 0, None] -> s [0.0, 0.0, 0.0, 0.0, 0.0]
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check diffusers==0.42.1 peft==0.21.2 transformers==5.24.0 \
    safetensors==0.8.0 torch==2.13.0 numpy==2.4.6

HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error DIFFUSERS_VERBOSITY=error env/bin/python - <<'PY'
import sys, torch
from safetensors.torch import save_file
from diffusers import FluxPipeline, FluxTransformer2DModel

double, single = "transformer_blocks.0.attn.", "single_transformer_blocks.0.attn."
MODULES = [double + "to_k", double + "to_out.0", double + "to_q", double + "to_v", single + "to_q"]


def scales(alphas):
    """s of every module of a tiny random Flux transformer, after a file of rank 4 with these alphas is loaded."""
    model = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(2, 2, 4),
    )
    tensors = {}
    for name in MODULES:
        linear = model.get_submodule(name)
        tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(4, linear.in_features)
        tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(linear.out_features, 4)
    for name, alpha in alphas.items():
        tensors[f"transformer.{name}.alpha"] = torch.tensor(float(alpha))
    save_file(tensors, "lora.safetensors")
    parts = dict.fromkeys(("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    FluxPipeline(transformer=model, **parts).load_lora_weights("lora.safetensors", adapter_name="a")
    return [float(model.get_submodule(name).scaling["a"]) for name in MODULES]


failed = False
print("modules:", *(name.replace("transformer_blocks.0.attn.", "") for name in MODULES))
for alphas, want in [
    ({}, [1, 1, 1, 1, 1]),
    ({double + "to_k": 2, double + "to_q": 8, double + "to_v": 8}, [0.5, 0.5, 2, 2, 0.5]),
    ({double + "to_k": 8, double + "to_q": 2, double + "to_v": 2}, [2, 2, 0.5, 0.5, 2]),
    ({double + "to_v": 0}, [0, 0, 0, 0, 0]),
]:
    s = scales(alphas)
    print("alphas", [alphas.get(name) for name in MODULES], "-> s", s)
    failed |= s != want
sys.exit(failed)
PY
