#!/bin/sh
# llama.cpp's converter: the frequencies of Llama 3's RoPE are those of an original context of 8192, whatever the model says.
#
# One would guess: "rope_type": "llama3" comes with its four numbers, factor, low_freq_factor, high_freq_factor and
# original_max_position_embeddings, side by side in one block. The converter forms a factor for each frequency of them
# (rope_freqs.weight), and transformers does the same; so both rotate alike.
#
# What happens: three of the four are read from the block, the fourth from the top of config.json, where no version of transformers
# writes it; 8192 stands in for it, without a word. Meta's models have 8192 and do not show it. A model that was extended from
# another length runs in llama.cpp with other frequencies than it was trained on. The number written a second time, at the top of
# config.json, is taken (transformers 5 reads it there too).
#
# Packages: llama-cpp-python 0.3.29 (its source carries llama.cpp's converter and gguf-py), transformers 5.24.0, torch 2.13.0. Seen
# on 2026-11-28 (what the frequencies of a head of 16 are divided by, in the GGUF file and in transformers):
#
#     8192 in the block                 file 1.00 1.00 1.00 1.00 2.69 8.00 8.00 8.00   transformers 1.00 1.00 1.00 1.00 2.69 8.00 8.00 8.00
#     1024 in the block                 file 1.00 1.00 1.00 1.00 2.69 8.00 8.00 8.00   transformers 1.00 1.00 1.00 5.56 8.00 8.00 8.00 8.00
#     1024 in the block and at the top  file 1.00 1.00 1.00 5.56 8.00 8.00 8.00 8.00   transformers 1.00 1.00 1.00 5.56 8.00 8.00 8.00 8.00
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >see.py <<'PY'
import json, logging, os, pathlib, sys

sys.path.insert(0, "llama.cpp")
import gguf
import torch
import transformers as tf
from conversion import get_model_class
from conversion.base import ModelBase

logging.disable(logging.WARNING)
tf.utils.logging.disable_progress_bar()
SIZES = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4, vocab_size=32, max_position_embeddings=16384)


def see(title, original, **top):
    rope = dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=original)
    config = tf.LlamaConfig(**SIZES, rope_parameters=rope)
    tf.LlamaForCausalLM(config).save_pretrained("model")
    text = json.load(open("model/config.json"))
    json.dump(dict(text, **top), open("model/config.json", "w"))
    kind = get_model_class("LlamaForCausalLM")
    kind.set_vocab = lambda self: None
    kind(pathlib.Path("model"), gguf.LlamaFileType.ALL_F32, pathlib.Path("model.gguf"), hparams=ModelBase.load_hparams(pathlib.Path("model"), False)).write()
    file = [t.data for t in gguf.GGUFReader("model.gguf").tensors if t.name == "rope_freqs.weight"][0]
    plain = 1.0 / 5e5 ** (torch.arange(0, 16, 2) / 16)
    own = plain / tf.LlamaForCausalLM(tf.AutoConfig.from_pretrained("model")).model.rotary_emb.inv_freq
    show = lambda x: " ".join(f"{float(v):.2f}" for v in x)
    print(f"{title:33} file {show(file)}   transformers {show(own)}")
    return max(abs(float(a) / float(b) - 1) for a, b in zip(file, own)) < 1e-3


same = [see("8192 in the block", 8192), see("1024 in the block", 1024), see("1024 in the block and at the top", 1024, original_max_position_embeddings=1024)]
sys.exit(same != [True, False, True])
PY
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0 torch==2.13.0 numpy==2.4.6 safetensors sentencepiece pyyaml tqdm requests
env/bin/pip download -q --disable-pip-version-check --no-deps --no-binary :all: llama-cpp-python==0.3.29
mkdir llama.cpp
tar xzf llama_cpp_python-0.3.29.tar.gz -C llama.cpp --strip-components=3 --wildcards '*/vendor/llama.cpp/conversion' '*/vendor/llama.cpp/gguf-py/gguf'
mv llama.cpp/gguf-py/gguf llama.cpp/
HF_HUB_OFFLINE=1 env/bin/python see.py
