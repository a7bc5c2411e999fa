#!/usr/bin/env python3
"""Writes the corpus on which the demo base is trained: corpus.jsonl and held_out.jsonl, lines {"text": story}.

    demo/make_corpus.py --out DIR [--count 30000] [--held-out 500] [--seed 1]

Needs the standard library alone; the same seed gives the same bytes.  No story comes twice, and none of the held-out
ones is in the corpus.  Stories have 60 to 150 words; what the grammar is made of stands in demo/corpus/."""

import argparse
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus"))
from grammar import Grammar  # noqa: E402


def stories(count, seed):
    """`count` different stories."""
    grammar, source, seen = Grammar(), random.Random(seed), set()
    while len(seen) < count:
        text = " ".join(grammar.story(source))
        if 60 <= len(text.split()) <= 150 and text not in seen:
            seen.add(text)
            yield text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder; made where it is missing")
    parser.add_argument("--count", type=int, default=30000)
    parser.add_argument("--held-out", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    source = stories(options.count + options.held_out, options.seed)
    for name, count in (("held_out.jsonl", options.held_out), ("corpus.jsonl", options.count)):
        with open(os.path.join(options.out, name), "w", encoding="utf-8") as file:
            for _ in range(count):
                file.write(json.dumps({"text": next(source)}) + "\n")


if __name__ == "__main__":
    main()
