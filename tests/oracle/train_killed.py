#!/usr/bin/env python3
"""A run that is killed anywhere: after each kill PEFT loads its folder and agrees with `alphar score`, and when it is resumed
to its end, everything in it is to the bit what an undisturbed run leaves.

  train_killed.py [KILLS]     so many kills (6)"""
import json, os, random, re, signal, subprocess, sys, tempfile, time, warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch, transformers
from peft import PeftModel

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALPHAR = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "alphar")
BASE, DATA, HELD_OUT = (os.path.join(ROOT, "demo", p) for p in ("base", "task/train.jsonl", "task/eval.jsonl"))
TEXT = "Once upon a time there was a brave duck."
BOUND = 2e-5  # in log p, f32 against f32
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
failed = 0

OPTIONS = ["--model", BASE, "--data", DATA, "--eval-data", HELD_OUT, "--eval-every", "7", "--steps", "36", "--batch", "2", "--max-length",
           "96", "--rank", "4", "--save-every", "3", "--compute", "f32"]
RUNS = {
    "plain": ["--lr", "5e-3"],
    "dora, dropout": ["--dora", "--dropout", "0.1", "--lr", "5e-3"],
    "a saved head, patterns": ["--modules-to-save", "lm_head", "--rank-pattern", "q_proj=2", "--alpha-pattern", "q_proj=8"],
}


def report(name, problem=None):
    global failed
    failed += problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name} {problem}", flush=True)


def alphar(*args):
    return subprocess.run([ALPHAR, *args, "--quiet"], capture_output=True, text=True)


def has_checkpoint(out):
    folder = os.path.join(out, "checkpoints")
    return os.path.isdir(folder) and any(re.fullmatch(r"step-\d+", n) for n in os.listdir(folder))


def difference(out):
    """The largest difference in log p between PEFT and alphar on one text, with the folder as it stands."""
    said = json.loads(alphar("score", "--model", BASE, "--adapter", out, "--text", TEXT, "--json").stdout)
    base = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns of keys that it does not take,
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings")  # and of a saved head on a tied base
        model = PeftModel.from_pretrained(base, out).eval()
    ids = torch.tensor([said["ids"]])
    with torch.no_grad():
        logp = model(ids).logits.float().log_softmax(-1)[0]
    want = logp[range(len(said["ids"]) - 1), said["ids"][1:]]
    return (want - torch.tensor(said["logprobs"])).abs().max().item()


def contents(out):
    """What has to be equal: the adapter, card and settings as they are, metrics without their seconds."""
    files = {n: open(os.path.join(out, n), "rb").read() for n in ("adapter_model.safetensors", "adapter_config.json", "README.md", "run.json")}
    files["metrics.jsonl"] = re.sub(r'"seconds":[0-9.]*', "", open(os.path.join(out, "metrics.jsonl")).read())
    return files


def killed(name, extra, kills, where):
    whole, cut = os.path.join(where, "whole"), os.path.join(where, "cut")
    began = time.time()
    first = alphar("train", *OPTIONS, *extra, "--out", whole)
    if first.returncode:
        return report(name, first.stderr)
    seconds, worst, looked = time.time() - began, 0.0, 0
    rng = random.Random(name)
    for _ in range(kills):
        again = ["--resume", cut] if os.path.exists(os.path.join(cut, "run.json")) else [*OPTIONS, *extra, "--out", cut, "--resume"]
        run = subprocess.Popen([ALPHAR, "train", *again, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            run.wait(rng.uniform(0.1, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            run.send_signal(rng.choice(SIGNALS))
        run.wait()
        if has_checkpoint(cut):
            worst = max(worst, difference(cut))
            looked += 1
    last = alphar("train", "--resume", cut)
    left, right = contents(whole), contents(cut) if last.returncode == 0 else {}
    other = [n for n in left if left[n] != right.get(n)]
    problem = last.stderr if last.returncode else f"differ: {other}" if other else None
    if not problem and not (looked and worst <= BOUND):
        problem = f"log p differs by {worst:.2g} ({looked} looks)"
    report(f"{name}: killed {kills} times, PEFT looked {looked} times, log p within {worst:.1e}", problem)


if __name__ == "__main__":
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    for name, extra in RUNS.items():
        with tempfile.TemporaryDirectory(prefix="alphar-killed-") as where:
            killed(name, extra, kills, where)
    sys.exit(failed > 0)
