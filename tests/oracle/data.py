"""What `alphar eval` reads, masks, cuts and drops: tokens, supervised tokens and mean loss on a small random model
against a reading in Python of the rules in docs/data.md, with Hugging Face's tokenizer and transformers' forward.
Prints ok / not ok lines."""

import json
import os
import random
import shutil
import subprocess
import tempfile

import torch
import transformers
from tokenizers import Tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALPHAR = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "alphar")
DEMO = os.path.join(ROOT, "demo", "base")
BOS, EOS = 0, 1
TASK = "Below is an instruction that describes a task"
WRITE = " Write a response that appropriately completes the request.\n\n### Instruction:\n"
failed = False


def report(good, name, why=""):
    global failed
    failed |= not good
    print(f"ok {name}" if good else f"not ok {name}: {why}")


def make_model(folder):
    torch.manual_seed(5)
    config = transformers.LlamaConfig(vocab_size=2048, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=EOS)
    model = transformers.LlamaForCausalLM(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(DEMO, name), folder)
    return model.double().eval()


def parts(d):
    """(prompt or None, what is learned)"""
    has = lambda *names: all(d.get(n) is not None for n in names)
    if has("prompt", "completion"):
        return d["prompt"], d["completion"]
    if has("question", "answer"):
        return d["question"] + "\n", d["answer"]
    if has("instruction", "output"):
        if d.get("input"):
            head = TASK + ", paired with an input that provides further context." + WRITE + d["instruction"] + "\n\n### Input:\n" + d["input"]
        else:
            head = TASK + "." + WRITE + d["instruction"]
        return head + "\n\n### Response:\n", d["output"]
    return None, d["text"]


def once(ids):
    """A text that begins with BOS gets no second one."""
    return ids[1:] if ids[:2] == [BOS, BOS] else ids


def encode(tok, d, max_length, everything):
    prompt, learned = parts(d)
    front = once(tok.encode(prompt).ids) if prompt is not None else []
    ids = once(front + tok.encode(learned, add_special_tokens=prompt is None).ids)
    if ids[-1] != EOS:
        ids.append(EOS)
    first = 1 if everything or prompt is None else max(1, len(front))
    ids = ids[:max_length]
    return ids, [i >= first for i in range(len(ids))]


def expect(model, tok, samples, max_length, everything):
    tokens = supervised = 0
    loss = 0.0
    for d in samples:
        ids, marks = encode(tok, d, max_length, everything)
        if not any(marks):
            continue
        with torch.no_grad():
            logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        loss -= sum(logp[i - 1, ids[i]].item() for i in range(len(ids)) if marks[i])
        tokens += len(ids)
        supervised += sum(marks)
    return tokens, supervised, loss / supervised


def words(rng, low, high):
    pool = "once upon a time there was Fox, “naïve” 12 34 été 猫 </s> \n\t the end. \u0000 !?".split(" ")
    return " ".join(rng.choice(pool) for _ in range(rng.randint(low, high)))


def make_samples(rng):
    makers = [
        lambda: {"text": words(rng, 0, 60)},
        lambda: {"prompt": words(rng, 0, 30), "completion": words(rng, 0, 30)},
        lambda: {"question": words(rng, 1, 20), "answer": words(rng, 1, 20), "text": "", "tags": []},
        lambda: {"instruction": words(rng, 1, 9), "input": rng.choice(["", None, words(rng, 1, 5)]), "output": words(rng, 1, 20)},
        lambda: {"prompt": None, "completion": None, "messages": None, "text": words(rng, 1, 20)},
        lambda: {"prompt": words(rng, 1, 5), "completion": words(rng, 1, 5) + "</s>"},
        lambda: {"text": "<s>" + words(rng, 1, 20) + "</s>"},
        lambda: {"prompt": "<s>" + words(rng, 1, 9), "completion": words(rng, 1, 9)},
    ]
    return [rng.choice(makers)() for _ in range(60)]


def write(path, samples, rng):
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write("\ufeff")
        for d in samples:
            f.write(json.dumps(d, ensure_ascii=rng.random() < 0.5) + rng.choice(["\n", "\r\n", "\n\n"]))


def check(folder, path, model, tok, samples, max_length, arguments):
    command = [ALPHAR, "eval", "--model", folder, "--data", path, "--max-length", str(max_length), "--json", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    name = f"eval of {len(samples)} samples, --max-length {max_length} {' '.join(arguments)}".rstrip()
    if run.returncode:
        return report(False, name, run.stderr.strip())
    got = json.loads(run.stdout)["results"][0]
    tokens, supervised, loss = expect(model, tok, samples, max_length, "all" in arguments)
    report((got["tokens"], got["supervised"]) == (tokens, supervised), name + ": counts",
           f"found {got['tokens']}, {got['supervised']}, wanted {tokens}, {supervised}")
    report(abs(got["loss"] - loss) <= 2e-6 * loss, name + ": loss", f"found {got['loss']}, wanted {loss}")


def main():
    rng = random.Random(11)
    with tempfile.TemporaryDirectory() as work:
        folder, path = os.path.join(work, "model"), os.path.join(work, "data.jsonl")
        model, tok = make_model(folder), Tokenizer.from_file(os.path.join(DEMO, "tokenizer.json"))
        for max_length in (400, 60, 12):
            samples = make_samples(rng)
            write(path, samples, rng)
            for arguments in ([], ["--no-pack"], ["--train-on", "all"]):
                check(folder, path, model, tok, samples, max_length, arguments)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
