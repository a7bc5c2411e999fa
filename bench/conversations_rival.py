#!/usr/bin/env python3
"""Conversations to token ids against transformers' apply_chat_template, one thread each, in turns; rows go to bench/results.csv.

    bench/conversations_rival.py [--rows 100000] [--rounds 3]     needs: transformers; ../shared/material

Five questions of GSM8K with their answers make a conversation."""
import argparse
import json
import os
import random
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
import transformers

import table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MATERIAL = os.path.join(ROOT, "..", "shared", "material")
TEMPLATES = ["Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "microsoft-Phi-3.5-mini-instruct"]


def conversations(count):
    with open(os.path.join(MATERIAL, "datasets/gsm8k/train.jsonl"), encoding="utf-8") as f:
        pairs = [json.loads(line) for line in f]
    rng = random.Random(1)
    for _ in range(count):
        picked = (rng.choice(pairs) for _ in range(5))
        yield [m for p in picked for m in ({"role": "user", "content": p["question"]}, {"role": "assistant", "content": p["answer"]})]


def base(folder, template):
    """A folder with Qwen2.5's tokenizer and the template."""
    os.symlink(os.path.abspath(os.path.join(MATERIAL, "tokenizers/qwen2.5/tokenizer.json")), os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(MATERIAL, "conformance/chat-templates", template + ".jinja"), encoding="utf-8") as f:
        source = f.read()
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": source}, f)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100000)
    table.arguments(parser)
    args = parser.parse_args()
    args.threads = 1
    out = table.open_table(args)
    rows = list(conversations(args.rows))
    versions = f"transformers {transformers.__version__}"
    for template in TEMPLATES:
        with tempfile.TemporaryDirectory() as folder:
            base(folder, template)
            path = os.path.join(folder, "rows.jsonl")
            with open(path, "w", encoding="utf-8") as f:
                f.writelines(json.dumps({"messages": m}) + "\n" for m in rows)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            program = os.path.join(args.build, "bench", "bench_conversations")
            ours = subprocess.Popen([program, folder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            given, read, theirs = [], [], []
            for _ in range(args.rounds):
                ours.stdin.write("go\n")
                ours.stdin.flush()
                a, b, tokens = ours.stdout.readline().split()
                start = time.perf_counter()
                count = sum(len(tokenizer.apply_chat_template(m, tokenize=True, return_dict=False)) for m in rows)
                theirs.append(len(rows) / (time.perf_counter() - start))
                given.append(len(rows) / float(a))
                read.append(len(rows) / float(b))
                assert count == int(tokens), (template, count, tokens)
            ours.stdin.close()
            ours.wait()
        out.add("conversations", f"{template}: rendered, encoded", "transformers", "rows/s", given, theirs, versions=versions)
        out.add("conversations", f"{template}: read, rendered, masked, encoded", "transformers", "rows/s", read, theirs, versions=versions)


if __name__ == "__main__":
    main()
