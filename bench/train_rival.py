#!/usr/bin/env python3
"""Training speed and memory against PEFT (f32): the same random weights, tokens, rank and targets, in turns in one run.

    bench/train_rival.py [--program build/alphar] [--hidden 896 --layers 24 …] [--tokens 512] [--rounds 5] [--rank 16]

A round trains a few steps with each, in processes of their own; the first step of each (loading, first touch) is not
counted.  Prints one JSON line: medians of tokens/s, their ratio per round with its spread, peak resident bytes.
Defaults are the shape of Qwen2.5-0.5B.  Needs torch, transformers, peft; the tokenizer is the embedded base's."""
import argparse, json, os, resource, shutil, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def model_config(a):
    import transformers
    return transformers.Qwen2Config(hidden_size=a.hidden, intermediate_size=a.intermediate, num_hidden_layers=a.layers, num_attention_heads=a.heads,
                                    num_key_value_heads=a.kv_heads, vocab_size=a.vocab, tie_word_embeddings=True, max_position_embeddings=4096,
                                    bos_token_id=0, eos_token_id=1)


def peft_steps(a):
    """A child process: `steps` steps, seconds of each on stdout."""
    import torch, transformers, peft
    torch.set_num_threads(a.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32, attn_implementation="sdpa")
    model = peft.get_peft_model(model, peft.LoraConfig(r=a.rank, lora_alpha=2 * a.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0.0, fused=True)
    seconds = []
    for _ in range(a.steps):
        ids = torch.randint(0, a.vocab, (1, a.tokens))
        start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(dict(seconds=seconds, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))


def rival_round(a, work):
    command = [sys.executable, os.path.abspath(__file__), "--child", "--model", work + "/model"]
    for name in ("tokens", "rank", "steps", "vocab", "threads"):
        command += ["--" + name, str(getattr(a, name))]
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()[-1])
    return a.tokens / statistics.median(r["seconds"][1:]), r["peak"]


def own_round(a, work):
    out = work + "/out"
    command = [a.program, "train", "--model", work + "/model", "--data", work + "/data.jsonl", "--out", out, "--overwrite", "--quiet", "--batch", "1",
               "--steps", str(a.steps), "--max-length", str(a.tokens), "--rank", str(a.rank), "--threads", str(a.threads), "--strength-every", "0"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(child.stderr.read().decode())
    lines = [json.loads(l) for l in open(out + "/metrics.jsonl")]
    return statistics.median(l["tokens"] / l["seconds"] for l in lines[1:]), usage.ru_maxrss * 1024


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def main():
    p = argparse.ArgumentParser()
    for name, value in dict(hidden=896, intermediate=4864, layers=24, heads=14, kv_heads=2, vocab=151936, tokens=512, rank=16, steps=4, rounds=5,
                            threads=len(os.sched_getaffinity(0))).items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    p.add_argument("--program", default=os.path.join(ROOT, "build", "alphar"))
    p.add_argument("--child", action="store_true")
    p.add_argument("--model")
    a = p.parse_args()
    if a.child:
        return peft_steps(a)
    import torch, transformers, peft
    with tempfile.TemporaryDirectory() as work:
        torch.manual_seed(1)
        transformers.AutoModelForCausalLM.from_config(model_config(a)).save_pretrained(work + "/model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(os.path.join(ROOT, "demo", "base", name), work + "/model")
        story = " ".join(json.loads(l)["prompt"] for l in open(os.path.join(ROOT, "demo", "task", "train.jsonl")))
        with open(work + "/data.jsonl", "w") as f:
            f.write(json.dumps(dict(text=story)) + "\n")
        own, rival = [], []
        for _ in range(a.rounds):
            own.append(own_round(a, work))
            rival.append(rival_round(a, work))
    ratios = sorted(o[0] / r[0] for o, r in zip(own, rival))
    print(json.dumps(dict(tokens=a.tokens, rank=a.rank, layers=a.layers, hidden=a.hidden, threads=a.threads,
                          alphar_tokens_per_s=round(statistics.median(o[0] for o in own), 1), peft_tokens_per_s=round(statistics.median(r[0] for r in rival), 1),
                          ratio=round(statistics.median(ratios), 2), spread=[round(ratios[0], 2), round(ratios[-1], 2)],
                          alphar_peak_mib=max(o[1] for o in own) >> 20, peft_peak_mib=max(r[1] for r in rival) >> 20, cpu=cpu_name(),
                          isa=subprocess.run([a.program, "--version"], capture_output=True, text=True).stdout.splitlines()[1],
                          torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)))


if __name__ == "__main__":
    main()
