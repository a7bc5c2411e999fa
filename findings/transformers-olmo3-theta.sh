#!/bin/sh
# transformers 5: an OLMo 3 file in the older spelling keeps its rope_theta in one kind of layer and loses it in the other.
#
# One would guess: OLMo 3 turns layers with and without a window by the same theta (scaling is for the latter alone). A
# config.json of transformers 4 says it with "rope_theta"; version 5, which keeps a block for each kind of layer in
# "rope_parameters", puts that theta into both blocks.
#
# What happens: rope_theta is handed out once. Layers without a window get it, layers with a window get 500000, the family's
# default, whatever the file says, without a word. Published bases have 500000 and do not show it; a base that was pretrained or
# extended with another theta runs on two. With both blocks written out the file is read as it stands.
#
# Packages: transformers 4.57.6 and 5.24.0, torch 2.13.0. Seen on 2026-11-28 (the third frequency of a head of 8, without and
# with the window):
#
#     4.57.6  theta 1000000              1.000e-03  1.000e-03
#     5.24.0  theta 1000000              1.000e-03  1.414e-03
#     5.24.0  theta 1000000, two blocks  1.000e-03  1.000e-03
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >see.py <<'PY'
import json, os, sys
import transformers as tf

V = tf.__version__
SIZES = dict(model_type="olmo3", hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, vocab_size=32,
             max_position_embeddings=64, sliding_window=8, layer_types=["sliding_attention", "full_attention"])
KINDS = ("full_attention", "sliding_attention")


def see(title, **fields):
    os.makedirs("model", exist_ok=True)
    json.dump(dict(SIZES, **fields), open("model/config.json", "w"))
    model = tf.AutoModelForCausalLM.from_config(tf.AutoConfig.from_pretrained("model")).model
    if V.startswith("4"):
        pair = [model.rotary_embs[k].inv_freq[2].item() for k in KINDS]
    else:
        pair = [getattr(model.rotary_emb, k + "_inv_freq")[2].item() for k in KINDS]
    print(f"{V:7} {title:26}", *(f" {f:.3e}" for f in pair))
    return pair


old = see("theta 1000000", rope_theta=1e6, rope_scaling=None)
if V.startswith("4"):
    sys.exit(old[0] != old[1])
new = see("theta 1000000, two blocks", rope_parameters={k: dict(rope_type="default", rope_theta=1e6) for k in KINDS})
sys.exit(not (old[0] == new[0] == new[1] != old[1]))
PY
for version in 4.57.6 5.24.0; do
    python3 -m venv "env-$version"
    "env-$version/bin/pip" install -q --disable-pip-version-check "transformers==$version" torch==2.13.0 numpy==2.4.6
    HF_HUB_OFFLINE=1 "env-$version/bin/python" see.py
done
