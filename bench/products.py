#!/usr/bin/env python3
"""Runs bench_products and appends its pairs to bench/results.csv: own products against OpenBLAS, oneDNN and the reference.

    bench/products.py [--rounds 9]"""
import argparse, os, re, subprocess

import table


def openblas_version(program):
    """From the name of the library that the program is linked with."""
    for line in subprocess.run(["ldd", program], capture_output=True, text=True).stdout.splitlines():
        found = re.search(r"libopenblas\S* => (\S+)", line)
        if found:
            real = re.search(r"(\d+\.\d+\.\d+)", os.path.realpath(found[1]))
            return "OpenBLAS " + (real[1] if real else "?")
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    table.arguments(parser)
    parser.set_defaults(rounds=9)
    a = parser.parse_args()
    out, program = table.open_table(a), os.path.join(a.build, "bench", "bench_products")
    versions = openblas_version(program)
    child = subprocess.Popen([program, str(a.rounds), str(a.threads)], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.startswith("# "):
            versions += ", " + line[2:].strip()
            continue
        what, rival, own, theirs, ratio, least, most = line.rstrip("\n").split("\t")
        out.add("products", what, rival, "GFLOP/s", float(own), float(theirs), [float(ratio), float(least), float(most)], versions, a.rounds)
    if child.wait():
        raise SystemExit("bench_products failed")


if __name__ == "__main__":
    main()
