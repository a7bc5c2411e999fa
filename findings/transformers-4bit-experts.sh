#!/bin/sh
# transformers: a mixture of experts that is loaded in 4 bits keeps its experts in bf16 since version 5.
#
# One would guess: load_in_4bit puts every linear of the layers in 4 bits, as it did in transformers 4, so that a QLoRA recipe for a
# mixture of experts needs about a quarter of the memory of bf16.
#
# What happens: version 5 holds the experts of a layer as two parameters of three dimensions, and the quantiser replaces modules that
# are torch.nn.Linear alone. Attention becomes 4 bits, experts and router stay in bf16, which are nearly all of the model's weights;
# the loading says nothing, is_loaded_in_4bit is true, and get_memory_footprint is what tells.
#
# Packages: transformers 4.57.6 and 5.24.0, bitsandbytes 0.50.2, torch 2.13.0. Seen on 2026-11-28 (bytes of a model of which experts
# are nine tenths, against bf16):
#
#     transformers 4.57.6   experts uint8      0.26
#     transformers 5.24.0   experts bfloat16   0.96
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >see.py <<'PY'
import sys
import torch, transformers as tf

tf.logging.set_verbosity_error()
config = tf.MixtralConfig(vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2, tie_word_embeddings=True)
torch.manual_seed(0)
tf.AutoModelForCausalLM.from_config(config).save_pretrained("base")
plain = tf.AutoModelForCausalLM.from_pretrained("base", torch_dtype=torch.bfloat16).get_memory_footprint()
settings = tf.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
model = tf.AutoModelForCausalLM.from_pretrained("base", quantization_config=settings, torch_dtype=torch.bfloat16, device_map="cpu")
assert model.is_loaded_in_4bit
kinds = {str(p.dtype).removeprefix("torch.") for n, p in model.named_parameters() if ".experts." in n}
left = model.get_memory_footprint() / plain
print(f"transformers {tf.__version__}   experts {', '.join(sorted(kinds)):10} {left:.2f}", flush=True)
wanted = ({"uint8"}, left < 0.5) if sys.argv[1] == "4" else ({"bfloat16"}, left > 0.9)
sys.exit(not (kinds == wanted[0] and wanted[1]))
PY
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check torch==2.13.0 bitsandbytes==0.50.2 numpy==2.4.6 accelerate==1.12.0 transformers==4.57.6
HF_HUB_OFFLINE=1 env/bin/python see.py 4 2>see.log || { tail -3 see.log && exit 1; }
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0
HF_HUB_OFFLINE=1 env/bin/python see.py 5 2>see.log || { tail -3 see.log && exit 1; }
