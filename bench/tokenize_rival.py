#!/usr/bin/env python3
"""Encoding speed against Hugging Face's tokenizers, one thread each, in turns; rows go to bench/results.csv.

    bench/tokenize_rival.py [--rounds 7]     needs: tokenizers; ../shared/material"""
import argparse
import os
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers

import table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MATERIAL = os.path.join(ROOT, "..", "shared", "material")
DATA = ["gsm8k/train.jsonl", "wwdc25-mlx/train.jsonl", "oasst/en_100_message.jsonl", "wikisql-mlx/train.jsonl"]
NAMES = ["qwen2.5", "gpt2", "phi3", "falcon", "gpt-neox"]


def rival(tokenizer, lines):
    """The faster of the library's two ways: offsets left out, one call for all lines."""
    start = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    seconds = time.perf_counter() - start
    return seconds, sum(len(e) for e in encoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    table.arguments(parser)
    args = parser.parse_args()
    args.threads = 1
    out = table.open_table(args)
    program = os.path.join(args.build, "bench", "bench_tokenize")
    versions = f"tokenizers {tokenizers.__version__}"
    for name in NAMES:
        path = os.path.join(MATERIAL, "tokenizers", name, "tokenizer.json")
        start = time.perf_counter()
        tokenizer = tokenizers.Tokenizer.from_file(path)
        opened = time.perf_counter() - start
        for data in DATA:
            with open(os.path.join(MATERIAL, "datasets", data), encoding="utf-8") as f:
                lines = f.read().rstrip("\n").split("\n")
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as f:
                f.write("\n".join(lines))
                f.flush()
                size = os.path.getsize(f.name)
                ours = subprocess.Popen([program, path, f.name, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                first = float(ours.stdout.readline().split()[1])
                a, b = [], []
                for _ in range(args.rounds):
                    ours.stdin.write("go\n")
                    ours.stdin.flush()
                    seconds, count = ours.stdout.readline().split()
                    a.append(float(seconds))
                    seconds, rival_count = rival(tokenizer, lines)
                    b.append(seconds)
                    assert int(count) == rival_count, (name, data, count, rival_count)
                ours.stdin.close()
                ours.wait()
            rate = lambda seconds: [size / t / 1e6 for t in seconds]
            out.add("tokenizing", f"{name}, {data}", "tokenizers", "MB/s", rate(a), rate(b), versions=versions)
        out.add("tokenizing", f"{name}, opening", "tokenizers", "s", first, opened, [first / opened], versions)


if __name__ == "__main__":
    main()
