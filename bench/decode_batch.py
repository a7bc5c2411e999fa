#!/usr/bin/env python3
"""Decoding several sequences together against one: `alphar generate` on a random base, in turns, appended to bench/results.csv.

    bench/decode_batch.py [SHAPE …] [--sequences 4 16] [--rounds 5]       the bases need torch and transformers

Tokens/s of all sequences together, from the time that STEPS more tokens of each take: opening and prompts fall out."""
import argparse, json, os, subprocess, tempfile, time

import shapes, table

FEW, STEPS = 2, 48


def seconds(program, base, sequences, tokens, threads):
    prompts = [x for i in range(sequences) for x in ("--prompt", f"Once upon a time number {i}")]
    command = [program, "generate", "--model", base, *prompts, "--max-tokens", str(tokens), "--temperature", "0", "--threads", str(threads), "--json"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def with_whole_vocabulary(base, folder):
    """The same base with a tokenizer that has a text for every id: random weights draw any of them."""
    os.makedirs(folder)
    for name in os.listdir(base):
        os.symlink(os.path.join(base, name), os.path.join(folder, name))
    with open(os.path.join(base, "tokenizer.json"), encoding="utf-8") as f:
        tokenizer = json.load(f)
    with open(os.path.join(base, "config.json"), encoding="utf-8") as f:
        size = json.load(f)["vocab_size"]
    vocab = tokenizer["model"]["vocab"]
    known = set(vocab.values()) | {t["id"] for t in tokenizer["added_tokens"]}
    vocab.update({f"<unused{i}>": i for i in range(size) if i not in known})
    os.remove(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tokenizer, f)
    return folder


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shapes", nargs="*", default=["Qwen2.5-0.5B"])
    p.add_argument("--sequences", type=int, nargs="*", default=[4, 16])
    p.add_argument("--bases", default=os.environ.get("ALPHAR_BENCH_BASES"), help="folder that keeps the random bases; else a temporary one")
    table.arguments(p)
    a = p.parse_args()
    out, program = table.open_table(a), os.path.join(a.build, "alphar")
    with tempfile.TemporaryDirectory() as work:
        for shape in a.shapes:
            base = os.path.abspath(shapes.write(shape, os.path.join(a.bases or work, f"{shape}-bf16")))
            base = with_whole_vocabulary(base, os.path.join(work, "whole", shape))
            rate = lambda n: n * STEPS / (seconds(program, base, n, FEW + STEPS, a.threads) - seconds(program, base, n, FEW, a.threads))
            rate(1)  # the file comes into memory
            for n in a.sequences:
                pairs = [(rate(n), rate(1)) for _ in range(a.rounds)]
                out.add("decoding", f"{shape}, bf16 file, {n} sequences together", "own, one sequence", "tokens/s", [x for x, _ in pairs],
                        [y for _, y in pairs])


if __name__ == "__main__":
    main()
