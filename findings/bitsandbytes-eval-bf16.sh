#!/bin/sh
# bitsandbytes on a CPU: the same 4-bit linear multiplies in f32 while it trains and in bf16 once model.eval() is called, whatever
# bnb_4bit_compute_dtype says.
#
# One would guess: a Linear4bit with compute_dtype=torch.float32 gives x times its dequantised weights, to the rounding of f32, in
# train() as in eval(); compute_dtype is what the documentation names for it.
#
# What happens: in eval() and without gradients, on a CPU that has AVX512-BF16, the weights are laid out anew and multiplied by a
# kernel in bf16. compute_dtype stays at float32 and no message tells. An adapter that was trained over such a base is measured over
# a product that is 3e-3 off the one it learned with; some layers on that is tenths in the log probability of a token. train() before
# the forward, or gradients, keep the product.
#
# Packages: bitsandbytes 0.50.2, torch 2.13.0. Seen on 2026-11-28, on a CPU with AVX512-BF16 (without it the script says so and stops):
#
#     train, with gradients     0.0e+00
#     train, without gradients  0.0e+00
#     eval, without gradients   3.2e-03
set -eu

grep -q avx512_bf16 /proc/cpuinfo || { echo "this CPU has no AVX512-BF16: nothing to see"; exit 0; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >see.py <<'PY'
import sys
import bitsandbytes as bnb, torch
from bitsandbytes.functional import dequantize_4bit

torch.manual_seed(0)
linear = bnb.nn.Linear4bit(1024, 512, bias=False, compute_dtype=torch.float32, quant_type="nf4")
linear.weight = bnb.nn.Params4bit(torch.randn(512, 1024) * 0.02, requires_grad=False, quant_type="nf4")
linear = linear.to("cpu")
wanted_weights = dequantize_4bit(linear.weight.data, linear.weight.quant_state)
x = torch.randn(4, 1024)
wanted = x @ wanted_weights.t()


def see(title, training, gradients):
    linear.train(training)
    with torch.set_grad_enabled(gradients):
        y = linear(x.clone().requires_grad_(gradients)).detach()
    off = ((y - wanted).norm() / wanted.norm()).item()
    print(f"{title:25} {off:.1e}  {y.dtype}, compute_dtype {linear.compute_dtype}")
    return off


exact = see("train, with gradients", True, True), see("train, without gradients", True, False)
off = see("eval, without gradients", False, False)
sys.exit(not (max(exact) < 1e-6 and off > 1e-3))
PY
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check torch==2.13.0 bitsandbytes==0.50.2 numpy==2.4.6
HF_HUB_OFFLINE=1 env/bin/python see.py
