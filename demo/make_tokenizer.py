#!/usr/bin/env python3
"""Trains the demo tokenizer, a byte-level BPE as GPT-2's, and writes tokenizer.json and tokenizer_config.json.

    demo/make_tokenizer.py --corpus corpus.jsonl --out DIR [--size 2048]

Needs the standard library alone; the same corpus gives the same bytes.  Ids: 0 <s> (put in front of a text), 1 </s>
(ends one), 2–257 the bytes in GPT-2's order, then the merges, most frequent pair first (ties: the smaller pair)."""

import argparse
import collections
import heapq
import json
import os
import re

# GPT-2's pattern for ASCII text, which the corpus is; the tokenizer itself uses the full one (ByteLevel, use_regex).
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
SPECIAL = ["<s>", "</s>"]


def byte_letters():
    """byte -> the printable character that stands for it in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


def count_words(path):
    counts = collections.Counter()
    for line in open(path, encoding="utf-8"):
        text = json.loads(line)["text"]
        if not text.isascii():
            raise SystemExit(f"{path}: the corpus has to be ASCII")
        counts.update(WORDS.findall(text))
    return counts


def learn_merges(counts, merge_count):
    """The classic algorithm, with the words of each pair indexed: merge the most frequent pair, again and again."""
    letters = byte_letters()
    words = [([letters[b] for b in word.encode()], n) for word, n in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (parts, n) in enumerate(words):
        for pair in zip(parts, parts[1:]):
            pairs[pair] += n
            where[pair].add(i)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < merge_count:
        n, best = heapq.heappop(heap)
        if -n != pairs[best] or not -n:
            continue  # an entry from before the count changed
        merges.append(best)
        changed = set()
        for i in where.pop(best):
            parts, n = words[i]
            for pair in zip(parts, parts[1:]):
                pairs[pair] -= n
                changed.add(pair)
            parts = merge(parts, best)
            words[i] = (parts, n)
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
                where[pair].add(i)
                changed.add(pair)
        for pair in changed:
            heapq.heappush(heap, (-pairs[pair], pair))
    return merges


def merge(parts, pair):
    out, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


def tokenizer_json(merges):
    tokens = SPECIAL + list(byte_letters().values()) + [left + right for left, right in merges]
    if len(set(tokens)) != len(tokens):
        raise SystemExit("two merges make the same token: choose another --size")
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bos = {"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": content, **added} for i, content in enumerate(SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0], "tokens": [SPECIAL[0]]}},
        },
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [f"{left} {right}" for left, right in merges],
        },
    }


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=0)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", required=True, help="folder; made where it is missing")
    parser.add_argument("--size", type=int, default=2048)
    options = parser.parse_args()
    merges = learn_merges(count_words(options.corpus), options.size - len(SPECIAL) - 256)
    os.makedirs(options.out, exist_ok=True)
    write(os.path.join(options.out, "tokenizer.json"), tokenizer_json(merges))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[1],
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
    }
    write(os.path.join(options.out, "tokenizer_config.json"), settings)


if __name__ == "__main__":
    main()
