#!/usr/bin/env python3
"""A training step of a mixture of experts against a step of a dense model of the same active weights, in turns, appended to bench/results.csv.

    bench/experts.py [--tokens 512 2048] [--compute bf16] [--targets q_proj,k_proj,v_proj,o_proj] [--rounds 5]       the bases need torch and transformers

Both have attention alike; an MLP of the dense one is as wide as the experts that a token takes are together.  Random routers choose nearly evenly, so that
of 512 tokens an expert has 32 rows.  The bases are of 2 layers: 2.6 GiB the one, 0.4 GiB the other."""
import argparse, os, tempfile

import shapes, table
from train_rival import Side, write_data

MIXTURE, DENSE = "Qwen3-30B-A3B, 2 layers", "Qwen3-30B-A3B's active weights, 2 layers"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--tokens", type=int, nargs="*", default=[512, 2048])
    p.add_argument("--compute", default="bf16", choices=["f32", "bf16"])
    p.add_argument("--targets", default="q_proj,k_proj,v_proj,o_proj")
    p.add_argument("--bases", default=os.environ.get("ALPHAR_BENCH_BASES"), help="folder that keeps the random bases; else a temporary one")
    table.arguments(p)
    a = p.parse_args()
    out = table.open_table(a)
    with tempfile.TemporaryDirectory() as work:
        folders = [os.path.abspath(shapes.write(s, os.path.join(a.bases or work, f"{s}-bf16"))) for s in (MIXTURE, DENSE)]
        for tokens in a.tokens:
            data = os.path.join(work, f"{tokens}.jsonl")
            write_data(data, "plain", tokens)
            sides = [Side([os.path.join(a.build, "bench", "bench_train"), folder, data, str(tokens), "1", "16", str(a.threads), "auto", a.compute, "0", "none",
                           a.targets], GOMP_SPINCOUNT="2000") for folder in folders]
            for side in sides:
                side.step()  # the file comes into memory
            seconds = list(zip(*((s.step() for s in sides) for _ in range(a.rounds))))
            assert sides[0].work == sides[1].work, f"not the same work: {sides[0].work}, {sides[1].work}"
            out.add("experts", f"{MIXTURE}, {a.compute} arithmetic, a step of {tokens} tokens", "own, dense of its active weights", "s", *map(list, seconds))
            for side in sides:
                side.close()


if __name__ == "__main__":
    main()
