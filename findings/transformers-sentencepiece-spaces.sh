#!/bin/sh
# transformers: from a tokenizer.model, two spaces in a row become other ids than in SentencePiece.
#
# One would guess: AutoTokenizer over a folder whose vocabulary is a SentencePiece `tokenizer.model` gives the ids that the
# sentencepiece library gives for that file, since it is what the model was trained with.
#
# What happens: transformers 5 converts the file into a BPE of its own, and its merges of spaces come out in another order. A
# run of spaces keeps its last space, where SentencePiece gives that one to the word: `a  keep` is a|__|keep here and a|_|_keep
# there. Indented code and tables are tokenized otherwise than in training; text with single spaces is the same. Nothing is said.
#
# Packages: transformers 5.24.0 with tokenizers 0.23.3, sentencepiece 0.2.3, protobuf 7.36.2; the files are those that
# mistral-common 1.8.5 carries. Seen on 2026-11-27, with 1 to 8 spaces between `a` and `keep`, the counts that differ:
#
#     tokenizer.model.v1: [2, 4, 5, 6, 8]
#         4 spaces: sentencepiece ['▁a', '▁▁▁', '▁keep'], transformers ['▁a', '▁▁▁▁', 'keep']
#     mistral_instruct_tokenizer_240323.model.v3: [2, 4, 5, 6, 8]
#         4 spaces: sentencepiece ['▁a', '▁▁▁', '▁keep'], transformers ['▁a', '▁▁▁▁', 'keep']
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2 \
    mistral-common==1.8.5 numpy==2.4.6

HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error env/bin/python - <<'PY'
import json, os, shutil, sys

import mistral_common, sentencepiece
from transformers import AutoTokenizer

data = os.path.join(os.path.dirname(mistral_common.__file__), "data")
expected = True
for name in ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"):
    folder = name + "-folder"
    os.mkdir(folder)
    shutil.copy(os.path.join(data, name), os.path.join(folder, "tokenizer.model"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, f)
    theirs = AutoTokenizer.from_pretrained(folder)
    own = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))
    pairs = {n: (own.encode("a" + " " * n + "keep", out_type=str), theirs.tokenize("a" + " " * n + "keep")) for n in range(1, 9)}
    differ = [n for n, (a, b) in pairs.items() if a != b]
    print(f"{name}: {differ}")
    if 4 in differ:
        print(f"    4 spaces: sentencepiece {pairs[4][0]}, transformers {pairs[4][1]}")
    expected &= differ == [2, 4, 5, 6, 8]
sys.exit(0 if expected else "not what the comment says any more")
PY
