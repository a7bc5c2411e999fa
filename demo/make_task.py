#!/usr/bin/env python3
"""Writes the demo task, demo/task/train.jsonl, eval.jsonl and chat.jsonl: the base's stories, told on by a pirate.

    demo/make_task.py [--out demo/task] [--train 240] [--eval 24] [--chat 120] [--seed 1001]

Lines {"prompt": the opening of a story, "completion": some sentences of it in pirate talk}; in chat.jsonl conversations
of two turns, where somebody gives the opening and then asks for more.  The stories come from the grammar of the corpus
under another seed, and what is held out shares no opening with what is trained on.  What is to be learned is a way of
speaking, so it shows at a glance, works on any opening, and comes in degrees."""

import argparse
import itertools
import json
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus"))
from grammar import Grammar  # noqa: E402

TALK = {
    "am": "be", "is": "be", "are": "be", "was": "were", "you": "ye", "your": "yer", "my": "me",
    "yes": "aye", "hello": "ahoy", "hi": "ahoy", "friend": "matey", "friends": "mateys", "girl": "lass", "boy": "lad",
    "said": "roared", "asked": "roared", "house": "ship", "water": "sea", "food": "grub",
}  # fmt: skip


def speak(word):
    """One word in pirate talk, its capital kept."""
    lower = word.lower()
    told = TALK.get(lower, lower)
    return told[0].upper() + told[1:] if word[0].isupper() else told


def pirate(text, source):
    """Word by word; the first sentence and every third or so that is not speech open with a call, and so it ends."""
    sentences = []
    for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text):
        sentence = re.sub(r"[A-Za-z]+", lambda m: speak(m.group()), sentence)
        if not sentences or (source.random() < 0.35 and sentence[0] != '"'):
            sentence = "Arr! " + sentence
        sentences.append(sentence)
    return " ".join(sentences + ["Yo ho ho!"])


def first_sentences(text, words):
    """As many whole sentences as `words` words hold, ending outside a quotation."""
    out = told = ""
    for sentence in re.split(r"(?<=[.!?]) ", text):
        told = f"{told} {sentence}".strip()
        if len(told.split()) > words:
            break
        if told.count('"') % 2 == 0 and told[-1] in '.!?"':
            out = told
    return out


def samples(count, seed):
    grammar, source, seen = Grammar(), random.Random(seed), set()
    while len(seen) < count:
        opening, rest = grammar.story(source)
        told = first_sentences(rest, 40)
        if opening in seen or not 25 <= len(told.split()):
            continue
        seen.add(opening)
        yield opening, told, pirate(told, source)


def row(opening, told):
    return {"prompt": opening, "completion": " " + told}


def conversations(count, seed):
    grammar, source = Grammar(), random.Random(seed)
    more = ("What happened then?", "Tell me more.", "And then?")
    while count:
        opening, rest = grammar.story(source)
        told = first_sentences(rest, 26)
        then = first_sentences(rest[len(told) :].strip(), 26)
        if not 12 <= len(told.split()) or not 12 <= len(then.split()):
            continue
        said = opening, pirate(told, source), source.choice(more), pirate(then, source)
        yield {"messages": [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]}
        count -= 1


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.join(here, "task"))
    parser.add_argument("--train", type=int, default=240)
    parser.add_argument("--eval", type=int, default=24)
    parser.add_argument("--chat", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1001)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    source = samples(options.train + options.eval, options.seed)
    train, held_out = list(itertools.islice(source, options.train)), list(source)
    write(os.path.join(options.out, "train.jsonl"), (row(opening, pirate) for opening, _, pirate in train))
    write(os.path.join(options.out, "eval.jsonl"), (row(opening, pirate) for opening, _, pirate in held_out))
    write(os.path.join(options.out, "plain.jsonl"), (row(opening, plain) for opening, plain, _ in held_out))
    write(os.path.join(options.out, "chat.jsonl"), conversations(options.chat, options.seed + 1))


if __name__ == "__main__":
    main()
