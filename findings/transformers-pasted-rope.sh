#!/bin/sh
# transformers 5: a rope_scaling block pasted from a model card takes the model's theta away.
#
# One would guess: model cards of long-context models say to add a "rope_scaling" block to config.json, with type and
# factor. It changes the scaling and leaves theta alone, as in version 4, where theta stands outside of the block.
#
# What happens: a config.json that transformers 5 saved holds theta inside "rope_parameters". A "rope_scaling" beside
# it replaces that block as a whole, and the default 10000 fills the gap: of theta = 1000000 nothing is left. No
# warning says so; model and adapter run on rotary frequencies that they were not trained with. The same block with
# theta in it, or the same values inside "rope_parameters", are fine.
#
# Packages: transformers 5.24.0, torch 2.13.0. Seen on 2026-11-27:
#
#     as saved                     theta   1000000  inv_freq 1.000e+00 3.162e-02 1.000e-03 3.162e-05
#     yarn inside rope_parameters  theta   1000000  inv_freq 1.000e+00 3.162e-02 6.250e-04 7.906e-06
#     yarn pasted as rope_scaling  theta     10000  inv_freq 1.000e+00 1.000e-01 1.000e-02 6.250e-04
#     the same with theta in it    theta   1000000  inv_freq 1.000e+00 3.162e-02 6.250e-04 7.906e-06
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0 torch==2.13.0 numpy==2.4.6

HF_HUB_OFFLINE=1 env/bin/python - 2>messages <<'PY'
import json, sys
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
saved = Qwen2Config(
    hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
    vocab_size=32, max_position_embeddings=32768, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
)
saved.save_pretrained("model")
text = open("model/config.json").read()


def load(title, **change):
    json.dump({**json.loads(text), **change}, open("model/config.json", "w"))
    config = AutoConfig.from_pretrained("model")
    frequencies = AutoModelForCausalLM.from_config(config).model.rotary_emb.inv_freq.tolist()
    theta = config.rope_parameters["rope_theta"]
    print(f"{title:28} theta {theta:9.0f}  inv_freq", *(f"{f:.3e}" for f in frequencies))
    return theta, frequencies


plain = load("as saved")
inside = load("yarn inside rope_parameters", rope_parameters={**YARN, "rope_theta": 1e6})
pasted = load("yarn pasted as rope_scaling", rope_scaling=YARN)
whole = load("the same with theta in it", rope_scaling={**YARN, "rope_theta": 1e6})
sys.exit(not (plain[0] == inside[0] == 1e6 and whole == inside and pasted[0] == 1e4 and pasted[1] != inside[1]))
PY
if grep -i -E 'rope|theta' messages; then
    echo "transformers says something about it now" >&2
    exit 1
fi
