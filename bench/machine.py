#!/usr/bin/env python3
"""Runs `alphar bench` on random bases of known shapes and appends what it says to bench/results.csv.

    bench/machine.py [SHAPE …] [--tokens 512 2048] [--compute f32] [--rounds 5]       needs nothing but the program"""
import argparse, json, os, subprocess, tempfile

import shapes, table


def middle(r):
    return [r["median"], r["least"], r["most"]]


def rows(out, name, r):
    machine, train, plan, decode, n = r["machine"], r["train"], r["plan"], r["decode"], r["rounds"]
    per_token = train["flops_per_step"] / train["tokens"]
    weights = decode["weight_bytes"]
    out.add("machine", name, f"{machine['product_backend']} product, {machine['product_dtype']}", "GFLOP/s", per_token * train["tokens_per_second"]["median"] / 1e9,
            machine["product_flops"]["median"] / 1e9, middle(train["mfu"]), rounds=n, flops_per_byte=train["flops_per_step"] / (2 * weights))
    out.add("machine", name + ", speed", "plan", "tokens/s", train["tokens_per_second"]["median"],
            train["tokens_per_second"]["median"] * plan["predicted_over_measured"]["median"], [1 / x for x in middle(plan["predicted_over_measured"])], rounds=n)
    mib = lambda b: b / (1 << 20)
    out.add("machine", name + ", own memory (RssAnon)", "plan", "MiB", mib(train["anonymous_bytes"]), mib(plan["anonymous_bytes"]),
            [train["anonymous_bytes"] / plan["anonymous_bytes"]], rounds=n)
    out.add("machine", name + ", mapped files (RssFile)", "", "MiB", mib(train["file_bytes"]), rounds=n)
    out.add("machine", name + ", peak resident", "", "MiB", mib(train["peak_bytes"]), rounds=n)
    out.add("machine", name + ", opening to first layer", "", "s", train["start_seconds"]["median"], rounds=n)
    out.add("machine", name + ", decoding", "reading memory", "GB/s", decode["tokens_per_second"]["median"] * weights / 1e9,
            machine["reading_bytes"]["median"] / 1e9, middle(decode["share_of_reading"]), rounds=n, flops_per_byte=1.0)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shapes", nargs="*", default=[])
    p.add_argument("--tokens", type=int, nargs="*", default=[512, 2048])
    p.add_argument("--compute", default="auto", choices=("auto", "f32", "bf16"))
    table.arguments(p)
    a = p.parse_args()
    out = table.open_table(a)
    with tempfile.TemporaryDirectory() as work:
        for shape in a.shapes or ["SmolLM2-135M", "Qwen2.5-0.5B", "Qwen3-0.6B", "TinyLlama-1.1B"]:
            base = shapes.write(shape, os.path.join(work, shape), config_only=True)
            for tokens in a.tokens:
                command = [os.path.join(a.build, "alphar"), "bench", "--model", base, "--config-only", "--tokens", str(tokens), "--rounds", str(a.rounds),
                           "--threads", str(a.threads), "--compute", a.compute, "--json", "--quiet"]
                result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                rows(out, f"{shape}, bf16 file, {tokens} tokens" + (", bf16 arithmetic" if result["train"]["compute"] == "bf16" else ""), result)


if __name__ == "__main__":
    main()
