#!/bin/sh
# One model folder is two models: transformers 4 throws a trained head away that transformers 5 uses.
#
# One would guess: with "tie_word_embeddings": true the head is the embedding in any release, whatever the file holds;
# or else the file's lm_head.weight counts in any release.
#
# What happens: where the file holds both tensors and they differ (an adapter on lm_head was merged into a copy of it,
# and the configuration stayed), 4.57.6 ties, says nothing, and the head is lost. 5.24.0 compares the two and uses the
# file's head; it prints a note, and its config.tie_word_embeddings stays true all the same.
#
# Packages: transformers 4.57.6 and 5.24.0, each with torch 2.13.0. Seen on 2026-11-27:
#
#     4.57.6 head: model.embed_tokens.weight config: True logits: -0.054 0.017 0.063
#     5.24.0 head: lm_head.weight config: True logits: 1.092 -4.967 -3.920
#     lines about it: 0 from 4.57.6, 1 from 5.24.0
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0 torch==2.13.0 safetensors==0.8.0 numpy==2.4.6 \
    requests==2.34.2
env/bin/pip install -q --disable-pip-version-check --no-deps --target v4 \
    transformers==4.57.6 huggingface-hub==0.36.0 tokenizers==0.22.1

cat >run.py <<'PY'
import sys, torch, transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

want = sys.argv[1]
torch.manual_seed(1)
if want == "make":
    LlamaForCausalLM(LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=32, tie_word_embeddings=True,
    )).save_pretrained("model")
    tensors = load_file("model/model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + torch.randn(32, 16)
    save_file(tensors, "model/model.safetensors", metadata={"format": "pt"})
    sys.exit()

tensors = load_file("model/model.safetensors")
model = AutoModelForCausalLM.from_pretrained("model")
head = model.get_output_embeddings().weight
used = next(name for name in ("model.embed_tokens.weight", "lm_head.weight") if torch.equal(head, tensors[name]))
with torch.no_grad():
    logits = model(torch.tensor([[1, 2, 3]])).logits[0, -1, :3].tolist()
print(transformers.__version__, "head:", used, "config:", model.config.tie_word_embeddings, end=" ")
print("logits:", *(f"{x:.3f}" for x in logits))
sys.exit(used != want)
PY
export HF_HUB_OFFLINE=1
env/bin/python run.py make 2>/dev/null
PYTHONPATH=v4 env/bin/python run.py model.embed_tokens.weight 2>messages4
env/bin/python run.py lm_head.weight 2>messages5
v4_lines=$(grep -c -i tied messages4 || true)
v5_lines=$(grep -c -i 'tied.*NOT tie' messages5 || true)
echo "lines about it: $v4_lines from 4.57.6, $v5_lines from 5.24.0"
[ "$v4_lines" -eq 0 ] && [ "$v5_lines" -gt 0 ]
