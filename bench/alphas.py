#!/usr/bin/env python3
"""Alpha measured at once against one at a time, appended to bench/results.csv.

    bench/alphas.py [SHAPE] [--tokens 16 64 512] [--count 8] [--rounds 5]       the base needs torch and transformers

evaluation:  COUNT scales in one pass over COUNT evaluations at one scale, of one sample of so many tokens
sweep:       a step of COUNT candidates over COUNT steps of one, a sample each
share:       that step over one of a single candidate on COUNT samples: what it costs that the adapters differ
further:     what of that a candidate behind the first costs, over the passing of its own tokens
memory:      what a further candidate takes, over value, gradient and moments of its own numbers
halving:     a sweep of the demo's task with --halving over the whole of it, and whether both name the same winner"""
import argparse, json, os, subprocess, tempfile, time

import shapes, table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GRID = ["--alpha", "8,32,128", "--lr", "1e-3,3e-3,1e-2", "--steps", "120", "--batch", "4", "--compute", "f32"]


def in_turns(a, base, tokens, compute, count, rounds):
    """{eval, train, share}: a list of (together, apart), a pair each round; the first round, in which the file comes into memory, is dropped.
    {memory}: (anonymous bytes, a candidate's state)."""
    program = os.path.join(a.build, "bench", "bench_alphas")
    r = subprocess.run([program, base, str(tokens), "1", str(count), "16", str(a.threads), compute], input="\n" * (rounds + 1), text=True,
                       stdout=subprocess.PIPE, check=True)
    pairs = {"eval": [], "train": [], "share": [], "memory": []}
    for line in r.stdout.splitlines():
        kind, together, apart = line.split()
        pairs[kind].append((float(together), float(apart)))
    return {kind: p[0] if kind == "memory" else list(zip(*p[1:])) for kind, p in pairs.items()}


def sweep(a, work, *options):
    out = os.path.join(work, f"sweep{len(options)}")
    began = time.perf_counter()
    subprocess.run([os.path.join(a.build, "alphar"), "sweep", "--model", "demo/base", "--data", "demo/task/train.jsonl", "--eval-data", "demo/task/eval.jsonl",
                    *GRID, *options, "--threads", str(a.threads), "--out", out, "--overwrite", "--quiet"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env=dict(os.environ, ALPHAR_HOME=""))
    seconds = time.perf_counter() - began
    with open(os.path.join(out, "sweep.json"), encoding="utf-8") as f:
        return seconds, json.load(f)["best"]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shape", nargs="?", default="Qwen2.5-0.5B")
    p.add_argument("--tokens", type=int, nargs="*", default=[16, 64, 512])
    p.add_argument("--count", type=int, default=8)
    p.add_argument("--compute", default="bf16", choices=["f32", "bf16"])
    p.add_argument("--bases", default=os.environ.get("ALPHAR_BENCH_BASES"), help="folder that keeps the random bases; else a temporary one")
    table.arguments(p)
    a = p.parse_args()
    out = table.open_table(a)
    with tempfile.TemporaryDirectory() as work:
        base = os.path.abspath(shapes.write(a.shape, os.path.join(a.bases or work, f"{a.shape}-bf16"))) if a.tokens else None
        for tokens in a.tokens:
            pairs = in_turns(a, base, tokens, a.compute, a.count, a.rounds)
            for kind, what, rival in (("eval", f"{a.count} alphas of {tokens} tokens in one pass", "own, one at a time"),
                                      ("train", f"a step of {a.count} candidates, {tokens} tokens each", "own, one at a time"),
                                      ("share", f"a step of {a.count} candidates, {tokens} tokens each", "own, one candidate, all tokens")):
                out.add("alphas", f"{a.shape}, {a.compute} arithmetic, {what}", rival, "s", *map(list, pairs[kind]))
            further = [((t - w) / (a.count - 1) + w / a.count, w / a.count) for t, w in zip(*pairs["share"])]
            out.add("alphas", f"{a.shape}, {a.compute} arithmetic, a further candidate, {tokens} tokens", "its own tokens alone", "s",
                    *map(list, zip(*further)))
            (most, state), (least, _) = pairs["memory"], in_turns(a, base, tokens, a.compute, a.count // 2, 1)["memory"]
            each = (most - least) / (a.count - a.count // 2) / 2**20
            out.add("alphas", f"{a.shape}, memory of a further candidate, {tokens} tokens", "its state", "MiB", each, state / 2**20, [each * 2**20 / state])
        rounds = [(sweep(a, work, "--halving"), sweep(a, work)) for _ in range(min(a.rounds, 3))]
        same = all(h[1] == w[1] for h, w in rounds)
        out.add("alphas", f"demo task, 9 candidates with --halving, {'the same' if same else 'another'} winner", "own, all to the end", "s",
                [h[0] for h, _ in rounds], [w[0] for _, w in rounds])


if __name__ == "__main__":
    main()
