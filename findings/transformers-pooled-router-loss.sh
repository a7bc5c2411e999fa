#!/bin/sh
# transformers: the load-balancing loss of a mixture is the least there is for layers that each send everything to one expert.
#
# One would guess: the loss is large where a layer's router sends all tokens to one expert, and each layer's imbalance adds to it, since
# experts of different layers have nothing to do with each other.
#
# What happens: load_balancing_loss_func, which mixtral, the Qwen mixtures, OLMoE, GPT-OSS and Granite share, pools the layers before it
# multiplies: expert 0 of all layers counts as one expert. Two layers of two experts, of which one sends all to expert 0 and the other all to
# expert 1, have the loss 1.0, that of perfect balance; two that send all to expert 0 have 2.0, the most there is.
#
# Packages: transformers 5.24.0, torch 2.13.0. Seen on 2026-11-29:
#
#     one layer, all to expert 0                       2.0
#     two layers, all to expert 0                      2.0
#     two layers, all to expert 0, all to expert 1     1.0
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >see.py <<'PY'
import sys
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func as balance

first = torch.tensor([[20.0, -20.0]]).repeat(16, 1)
seen = [round(balance(layers, 2, 1).item(), 3) for layers in ((first,), (first, first), (first, -first))]
for name, x in zip(("one layer, all to expert 0", "two layers, all to expert 0", "two layers, all to expert 0, all to expert 1"), seen):
    print(f"{name:48} {x}")
sys.exit(seen != [2.0, 2.0, 1.0])
PY
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 transformers==5.24.0
HF_HUB_OFFLINE=1 env/bin/python see.py
