#!/usr/bin/env python3
"""Training speed and memory against PEFT: the same random weights, batches, targets, rank and checkpointing, step by step in turns.

    bench/train_rival.py [SHAPE …] [--tokens 512 2048] [--case plain chat] [--dtype bf16 f32] [--checkpoint off|on|auto]
                         [--memory MIB] [--rounds 5]

Both are processes that stay open; a round is a step of each.  Cases: plain, one sample of --tokens tokens, all supervised; chat, a
batch of eight prompts and completions of uneven lengths, --tokens in all, one third supervised.  PEFT runs at its best: of fp32,
bf16, bf16 with bf16 adapters and autocast the one whose best of three steps of the first case was best (or --mode), and for uneven lengths the
better of one padded batch and sample after sample.  With ALPHAR_ISA=avx2 PEFT is held to AVX2 as well.  With --memory Alphar keeps
what fits in so many MiB of its own, with --checkpoint auto what it keeps unasked, and PEFT everything.  That both do the same work is proved by the first loss.
Rows go to bench/results.csv.  Needs torch, transformers, peft, tokenizers."""
import argparse, json, os, random, subprocess, sys, tempfile, time

import shapes, table

MODES = ("fp32", "bf16", "bf16-noauto", "autocast")
SHARES = (0.03, 0.05, 0.06, 0.09, 0.12, 0.15, 0.2, 0.3)  # of the tokens of a chat batch, sample by sample


# ---- the rival: a process of its own ----------------------------------------------------------------------------------------
def rival_samples(a):
    """(ids, first supervised position) as Alphar makes them: docs/data.md."""
    import tokenizers
    with open(os.path.join(a.model, "tokenizer_config.json")) as f:
        eos = json.load(f).get("eos_token")
    tok = tokenizers.Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    samples = []
    for line in open(a.data, encoding="utf-8"):
        line = json.loads(line)
        ids = tok.encode(line.get("text") or line["prompt"], add_special_tokens=True).ids
        first = len(ids) if "prompt" in line else 1
        ids += tok.encode(line.get("completion", ""), add_special_tokens=False).ids
        eos_id = tok.token_to_id(eos["content"] if isinstance(eos, dict) else eos)
        ids += [] if ids[-1] == eos_id else [eos_id]
        samples.append((ids[:a.length], first))
    return samples


def rival(a):
    import peft, torch, transformers
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    bf16 = a.mode.startswith("bf16")
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.bfloat16 if bf16 else torch.float32, attn_implementation="sdpa")
    config = peft.LoraConfig(r=a.rank, lora_alpha=2 * a.rank, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config, autocast_adapter_dtype=a.mode != "bf16-noauto")
    if a.checkpoint == "on":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0.0, fused=True)
    samples = rival_samples(a)
    supervised = sum(len(ids) - first for ids, first in samples)
    groups = [[s] for s in samples] if a.apart else [samples]
    batches = []
    for group in groups:
        width = max(len(ids) for ids, _ in group)
        ids = torch.zeros(len(group), width, dtype=torch.long)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for i, (sample, first) in enumerate(group):
            ids[i, :len(sample)] = torch.tensor(sample)
            labels[i, first:len(sample)] = ids[i, first:len(sample)]
            mask[i, :len(sample)] = 1
        batches.append(dict(input_ids=ids, labels=labels, attention_mask=None if bool(mask.all()) else mask))
    print("opened 0", flush=True)
    for _ in sys.stdin:
        start, total = time.perf_counter(), 0.0
        for batch in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.mode == "autocast"):
                loss = model(**batch, num_items_in_batch=supervised).loss
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        print(f"{time.perf_counter() - start:.6f} {total:.7f} {sum(len(ids) for ids, _ in samples)} {supervised}", flush=True)


# ---- the driver -------------------------------------------------------------------------------------------------------------
class Side:
    """A process that makes one step per line; `seconds`, `loss` and `work` (tokens, supervised) of the last."""

    def __init__(self, command, **environment):
        began = time.perf_counter()
        self.child = subprocess.Popen(command, env=dict(os.environ, **environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.opened, *self.compute = self.answer()[1:]
        self.started = time.perf_counter() - began

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"ended early: {' '.join(self.child.args)}")
        return line.split()

    def step(self):
        self.child.stdin.write("go\n")
        self.child.stdin.flush()
        seconds, self.loss, *work = map(float, self.answer())
        self.work = tuple(map(int, work))
        return seconds

    def memory(self):
        """(RssAnon, RssFile, VmHWM) in MiB."""
        with open(f"/proc/{self.child.pid}/status") as f:
            status = dict(line.split(":", 1) for line in f)
        return tuple(int(status[key].split()[0]) / 1024 for key in ("RssAnon", "RssFile", "VmHWM"))

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def write_data(path, case, tokens):
    rng = random.Random(1)
    with open(os.path.join(table.HERE, "..", "demo", "task", "train.jsonl"), encoding="utf-8") as f:
        words = " ".join(json.loads(line)["prompt"] for line in f).split()
    text = lambda n: " ".join(rng.choice(words) for _ in range(max(int(n), 1)))
    with open(path, "w", encoding="utf-8") as f:
        if case == "plain":
            f.write(json.dumps(dict(text=text(tokens))) + "\n")
        else:
            for share in SHARES:  # the words of the task are about 1.7 tokens each
                n = share * tokens / 1.7
                f.write(json.dumps(dict(prompt=text(n * 2 / 3), completion=" " + text(n / 3))) + "\n")


class Pair:
    """Both sides of one case."""

    def __init__(self, a, model, case, tokens, checkpoint, work):
        self.a, self.checkpoint, self.case = a, checkpoint, case
        self.model, self.data = model, os.path.join(work, f"{case}-{tokens}.jsonl")
        self.length, self.batch = (tokens, 1) if case == "plain" else (4096, len(SHARES))
        write_data(self.data, case, tokens)

    def own(self, checkpoint):
        checkpoint = "auto" if self.a.memory else checkpoint
        return Side([os.path.join(self.a.build, "bench", "bench_train"), self.model, self.data, str(self.length), str(self.batch), str(self.a.rank),
                     str(self.a.threads), checkpoint, self.a.compute, str(self.a.memory)], GOMP_SPINCOUNT="2000")  # as `alphar` runs itself

    def rival(self, mode, apart):
        command = [sys.executable, os.path.abspath(__file__), "--rival", "--model", self.model, "--data", self.data, "--length", str(self.length), "--rank",
                   str(self.a.rank), "--threads", str(self.a.threads), "--mode", mode, "--checkpoint", self.checkpoint]
        return Side(command + (["--apart"] if apart else []))

    def trial(self, mode, apart):
        """Seconds of PEFT's best step of three, the first left out."""
        side = self.rival(mode, apart)
        side.step()
        seconds = min(side.step() for _ in range(3))
        side.close()
        print(f"  PEFT {mode}{', sample by sample' if apart else ''}: {side.work[0] / seconds:.1f} tokens/s", flush=True)
        return seconds


def measure(a, out, name, pair, mode):
    """The rows of one case: tokens/s and memory against PEFT."""
    apart = pair.case == "chat" and pair.trial(mode, True) < pair.trial(mode, False)
    own, rival = pair.own(pair.checkpoint), pair.rival(mode, apart)
    own.step(), rival.step()
    rounded = own.compute == ["bf16"]
    name += ", bf16 arithmetic" if rounded else ""
    if own.work != rival.work or abs(own.loss - rival.loss) > (1e-4 if mode == "fp32" and not rounded else 5e-3) * own.loss:
        raise SystemExit(f"{name}: not the same work: {own.work} {own.loss} against {rival.work} {rival.loss}")
    seconds = [(own.step(), rival.step()) for _ in range(a.rounds)]
    memory, theirs = own.memory(), rival.memory()
    label = f"PEFT {mode}" + (", one by one" if apart else "")
    import peft, torch, transformers
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    out.add("training", name, label, "tokens/s", [own.work[0] / o for o, _ in seconds], [rival.work[0] / r for _, r in seconds], versions=versions)
    out.add("memory", name + ", peak resident", label, "MiB", memory[2], theirs[2], [memory[2] / theirs[2]], versions)
    out.add("memory", name + ", of that own (RssAnon)", label, "MiB", memory[0], theirs[0], [memory[0] / theirs[0]], versions)
    out.add("start", name + ", start to first layer", label, "s", float(own.opened), rival.started, [float(own.opened) / rival.started], versions)
    own.close(), rival.close()


def checkpoint_cost(a, out, name, pair):
    """Own steps with layers kept and with layers computed again, in turns."""
    kept, again = pair.own("off"), pair.own("on")
    kept.step(), again.step()
    name += ", bf16 arithmetic" if kept.compute == ["bf16"] else ""
    seconds = [(again.step(), kept.step()) for _ in range(a.rounds)]
    out.add("checkpointing", name, "own, layers kept", "s", [x for x, _ in seconds], [y for _, y in seconds])
    kept.close(), again.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shapes", nargs="*", default=[])
    p.add_argument("--tokens", type=int, nargs="*", default=[512, 2048])
    p.add_argument("--case", nargs="*", default=["plain", "chat"], choices=("plain", "chat"))
    p.add_argument("--dtype", nargs="*", default=["bf16"], choices=("bf16", "f32"))
    p.add_argument("--checkpoint", default="off", choices=("off", "on", "auto"))
    p.add_argument("--checkpoint-cost", action="store_true", help="own steps kept against recomputed, and nothing else")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--compute", default="auto", choices=("auto", "f32", "bf16"))
    p.add_argument("--memory", type=int, default=0, metavar="MIB", help="of Alphar's own, beside the base's pages")
    p.add_argument("--mode", choices=MODES, help="PEFT's, instead of trying all")
    p.add_argument("--bases", default=os.environ.get("ALPHAR_BENCH_BASES"), help="folder that keeps the random bases; else a temporary one")
    table.arguments(p)
    for name in ("--model", "--data", "--length"):
        p.add_argument(name, help=argparse.SUPPRESS, **(dict(type=int) if name == "--length" else {}))
    for name in ("--rival", "--apart"):
        p.add_argument(name, help=argparse.SUPPRESS, action="store_true")
    a = p.parse_args()
    if a.rival:
        return rival(a)
    if a.checkpoint_cost and a.memory:
        p.error("--checkpoint-cost compares layers kept and computed again: not together with --memory")
    out, mode = table.open_table(a), a.mode
    with tempfile.TemporaryDirectory() as work:
        for shape in a.shapes or ["SmolLM2-135M", "Qwen2.5-0.5B", "Qwen3-0.6B", "TinyLlama-1.1B"]:
            for dtype in a.dtype:
                base = shapes.write(shape, os.path.join(a.bases or work, f"{shape}-{dtype}"), dtype)
                for tokens in a.tokens:
                    for case in a.case:
                        pair = Pair(a, base, case, tokens, a.checkpoint, work)
                        name = f"{shape}, {dtype} file, {tokens} tokens{', chat' if case == 'chat' else ''}{dict(on=', checkpointing', auto=', sparing').get(a.checkpoint, '')}"
                        name += f", --memory {a.memory}M" if a.memory else ""
                        if a.checkpoint_cost:
                            checkpoint_cost(a, out, name, pair)
                            continue
                        mode = mode or min(MODES, key=lambda m: pair.trial(m, False))
                        measure(a, out, name, pair, mode)


if __name__ == "__main__":
    main()
