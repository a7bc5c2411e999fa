#!/usr/bin/env python3
"""Encoding speed against Hugging Face's tokenizers, one thread each, in turns: medians and their ratio.

    bench/tokenize_rival.py [--bench build/bench/bench_tokenize] [--passes 7]     needs: tokenizers; ../shared/material"""
import argparse
import os
import statistics
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers

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
    parser.add_argument("--bench", default=os.path.join(ROOT, "build", "bench", "bench_tokenize"))
    parser.add_argument("--passes", type=int, default=7)
    args = parser.parse_args()
    print(f"{'tokenizer':10} {'data':28} {'MB':>6} {'alphar MB/s':>12} {'rival MB/s':>11} {'ratio':>6}")
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
                ours = subprocess.Popen([args.bench, path, f.name, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                first = float(ours.stdout.readline().split()[1])
                a, b = [], []
                for _ in range(args.passes):
                    ours.stdin.write("go\n")
                    ours.stdin.flush()
                    seconds, count = ours.stdout.readline().split()
                    a.append(float(seconds))
                    seconds, rival_count = rival(tokenizer, lines)
                    b.append(seconds)
                    assert int(count) == rival_count, (name, data, count, rival_count)
                ours.stdin.close()
                ours.wait()
            x, y = statistics.median(a), statistics.median(b)
            print(f"{name:10} {data:28} {size / 1e6:6.2f} {size / x / 1e6:12.1f} {size / y / 1e6:11.1f} {y / x:6.2f}")
        print(f"{name:10} {'open, seconds':28} {'':6} {first:12.3f} {opened:11.3f} {opened / first:6.2f}")


if __name__ == "__main__":
    main()
