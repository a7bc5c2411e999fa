"""The committed demo files are what their scripts make: the tokenizer (from the full corpus) and the task; and the
tokenizer gives the ids that Hugging Face's library gives.  Prints ok / not ok lines."""

import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "demo")
failed = False


def report(good, name, why=""):
    global failed
    failed |= not good
    print(f"ok {name}" if good else f"not ok {name}: {why}")


def run(script, *arguments):
    subprocess.run([sys.executable, os.path.join(DEMO, script), *arguments], check=True)


def same(left, right, name):
    report(open(left, "rb").read() == open(right, "rb").read(), f"{name} is what its script makes", f"{left} and {right} differ")


def texts(path):
    return [json.loads(line)["text"] for line in open(path, encoding="utf-8")]


def check_stories(folder):
    stories = texts(os.path.join(folder, "corpus.jsonl"))
    held_out = texts(os.path.join(folder, "held_out.jsonl"))
    report(len(set(stories + held_out)) == 30500, "no story comes twice", "stories repeat")
    left = [s for s in stories if any(c in s for c in "{}[]|/") or not s.isascii()]
    report(not left, "no slot is left open", left[:1])
    return held_out


def check_ids(held_out):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    path = os.path.join(DEMO, "base")
    fast = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(path)
    strings = held_out + ["", " ", "Arr! Ye be me matey, an' that's that.", "Ä 日本 \t\n 123", "<s>x</s>"]
    report(fast.get_vocab_size() == 2048, "the vocabulary has 2048 tokens", fast.get_vocab_size())
    report((auto.bos_token_id, auto.eos_token_id) == (0, 1), "BOS and EOS are 0 and 1", "they are not")
    different = [s for s in strings if fast.encode(s).ids != auto(s)["input_ids"]]
    report(not different, "tokenizers and transformers agree", different[:1])
    lost = [s for s in strings[:-1] if fast.decode(fast.encode(s).ids) != s]
    report(not lost, "decoding gives the text back", lost[:1])


def main():
    with tempfile.TemporaryDirectory() as folder:
        run("make_corpus.py", "--out", folder)
        run("make_tokenizer.py", "--corpus", os.path.join(folder, "corpus.jsonl"), "--out", folder)
        run("make_task.py", "--out", folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            same(os.path.join(folder, name), os.path.join(DEMO, "base", name), f"demo/base/{name}")
        for name in ("train.jsonl", "eval.jsonl", "plain.jsonl", "chat.jsonl"):
            same(os.path.join(folder, name), os.path.join(DEMO, "task", name), f"demo/task/{name}")
        check_ids(check_stories(folder))
    return failed


if __name__ == "__main__":
    sys.exit(main())
