#!/usr/bin/env python3
"""Training on preferences compared with the papers' formulas over PEFT, step by step: loss, margin, accuracy, gradient norm, and the
final s·B·A of every site.

The formulas stand in `objective` below, written with PyTorch's own functions, on tiny seeded models with the stories260k tokenizer;
skips without them.  Bounds: losses 1e-5 relative, margins 1e-5 of the largest, gradient norms 1e-4, s·B·A 1e-3 relative Frobenius.
Fast mode (ALPHAR_TEST_FAST=1) runs a third of the cases.
"""
import json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(ROOT, "..", "shared")
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")
TOKENIZER = os.path.join(SHARED, "material", "models", "stories260k")
STEPS, BATCH, LENGTH = 20, 4, 64

try:
    import torch, transformers as tf, peft
    from torch.nn.functional import logsigmoid
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
except ImportError as e:
    print(f"skip preference {e}")
    sys.exit(0)
if not os.path.isdir(TOKENIZER) or not os.path.exists(os.path.join(SHARED, "tools", "tiny_models.py")):
    print("skip preference ../shared is not here")
    sys.exit(0)

# family, objective, its settings, of the adapter: dora, whole (a module saved so), start: training begins with a given adapter, which
# is what DPO compares with.  Without it Alphar's own start is taken over, B is 0, and the reference is the base.
CASES = [
    ("llama", "dpo", dict(), dict()),
    ("qwen2", "dpo", dict(beta=0.5, label_smoothing=0.1), dict()),
    ("qwen3", "dpo", dict(beta=0.3), dict(start=True)),
    ("llama", "dpo", dict(beta=0.2), dict(dora=True, start=True)),
    ("qwen2", "dpo", dict(), dict(dora=True)),
    ("llama", "dpo", dict(beta=0.2), dict(whole="lm_head")),
    ("mistral", "dpo", dict(), dict(start=True, whole="lm_head")),
    ("llama", "orpo", dict(), dict()),
    ("qwen3", "orpo", dict(beta=0.5), dict(dora=True, start=True)),
    ("mistral", "simpo", dict(), dict(start=True)),
    ("qwen2", "simpo", dict(beta=4, gamma=0.5, label_smoothing=0.05), dict(start=True, whole="lm_head")),
]


def objective(name, c, r, s):
    """c, r: (sum of log p, tokens, the reference's sum) of chosen and rejected; loss, margin."""
    e = s.get("label_smoothing", 0.0)
    if name == "dpo":
        x = s.get("beta", 0.1) * ((c[0] - c[2]) - (r[0] - r[2]))
        return -(1 - e) * logsigmoid(x) - e * logsigmoid(-x), x
    lc, lr = c[0] / c[1], r[0] / r[1]
    if name == "simpo":
        beta = s.get("beta", 2.0)
        x = beta * (lc - lr) - s.get("gamma", beta / 2)
        return -(1 - e) * logsigmoid(x) - e * logsigmoid(-x), beta * (lc - lr)
    beta = s.get("beta", 0.1)
    odds = (lc - torch.log(1 - torch.exp(lc))) - (lr - torch.log(1 - torch.exp(lr)))
    return -lc - beta * logsigmoid(odds), beta * (lc - lr)


def samples(data, folder):
    """(chosen, rejected) of each row as (ids, where the completion begins)."""
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    eos = json.load(open(os.path.join(folder, "tokenizer_config.json")))["eos_token"]
    eos = tok.token_to_id(eos if isinstance(eos, str) else eos["content"])
    out = []
    for line in open(data):
        row = json.loads(line)
        prompt = tok.encode(row["prompt"]).ids
        half = lambda text: ((prompt + tok.encode(text, add_special_tokens=False).ids + [eos])[:LENGTH], len(prompt))
        out.append((half(row["chosen"]), half(row["rejected"])))
    return out


def said(model, sample):
    """Sum of log p over the completion's tokens, and their number."""
    ids, first = torch.tensor(sample[0]), sample[1]
    logp = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
    return logp[first - 1:].sum(), len(ids) - first


def base_of(folder):
    return tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")


def make_start(folder, out, dora=False, whole=None):
    """An adapter with a B that is not zero."""
    torch.manual_seed(1)
    base = base_of(folder)
    config = peft.LoraConfig(r=8, lora_alpha=16, use_dora=dora, target_modules="all-linear", task_type="CAUSAL_LM",
                             modules_to_save=[whole] if whole else None)
    model = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, q in model.named_parameters():
            if "lora_A" in name:
                q.copy_((torch.rand(q.shape, generator=g) * 2 - 1).float() / q.shape[1] ** 0.5)
            if "lora_B" in name:
                q.copy_((torch.randn(q.shape, generator=g) * 0.02).float())
        for m in model.modules():  # the magnitude as a reader of the saved f32 file sees it
            if dora and len(getattr(m, "lora_magnitude_vector", {})):
                w = m.base_layer.weight + m.scaling["default"] * m.lora_B["default"].weight @ m.lora_A["default"].weight
                m.lora_magnitude_vector["default"].weight.copy_(w.norm(dim=1).float())
    model.float().save_pretrained(out)


def train(model, data, name, settings):
    """Losses, margins, accuracies, gradient norms."""
    with torch.no_grad():
        told = [[said(model, half)[0] for half in pair] for pair in data]
    trained = [q for q in model.parameters() if q.requires_grad]
    opt, out, at = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0), [], 0
    for _ in range(STEPS):
        judged = []
        for k in range(BATCH):
            i = (at + k) % len(data)
            halves = [(*said(model, half), t) for half, t in zip(data[i], told[i])]
            judged.append(objective(name, *halves, settings))
        at += BATCH
        loss = torch.stack([j[0] for j in judged]).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0).item()
        opt.step()
        opt.zero_grad()
        margins = [j[1].item() for j in judged]
        out.append((loss.item(), sum(margins) / BATCH, sum(m > 0 for m in margins) / BATCH, norm))
    return out


def updates(folder):
    t = load_file(os.path.join(folder, "adapter_model.safetensors"))
    out = {k: v.double() for k, v in t.items() if ".lora_" not in k}
    for k, a in t.items():
        if ".lora_A." in k:
            out[k] = 2 * t[k.replace("lora_A", "lora_B")].double() @ a.double()
    return out


def alphar(folder, rows, out, *flags):
    r = subprocess.run([PROGRAM, "train", "--model", folder, "--data", rows, "--out", out, "--rank", "8", "--alpha", "16", "--batch", str(BATCH),
                        "--max-length", str(LENGTH), "--schedule", "constant", "--warmup", "0", "--no-shuffle", "--quiet", "--compute", "f32",
                        *flags], capture_output=True, text=True)
    assert r.returncode == 0, f"exit {r.returncode}: {r.stderr[-800:]}"


def compare(case, models, rows, work):
    family, name, settings, adapter = *case[:3], dict(case[3])
    folder, out = os.path.join(models, family), os.path.join(work, "alphar")
    flags = ["--objective", name] + [x for k, v in settings.items() for x in ("--" + k.replace("_", "-"), str(v))]
    flags += ["--dora"] if adapter.get("dora") else []
    flags += ["--modules-to-save", adapter["whole"]] if adapter.get("whole") else []
    start = os.path.join(work, "start")
    if adapter.pop("start", False):
        make_start(folder, start, **adapter)
        flags += ["--init-adapter", start]
    else:
        alphar(folder, rows, start, "--steps", "1", "--lr", "0", *flags)
    model = peft.PeftModel.from_pretrained(base_of(folder), start, is_trainable=True, autocast_adapter_dtype=False).double()
    want = train(model, samples(rows, folder), name, settings)
    model.save_pretrained(os.path.join(work, "end"))
    alphar(folder, rows, out, "--steps", str(STEPS), "--lr", "1e-3", *flags)
    got = [json.loads(l) for l in open(os.path.join(out, "metrics.jsonl"))]
    assert len(got) == STEPS, f"{len(got)} steps"
    loss = max(abs(g["loss"] - w[0]) / abs(w[0]) for g, w in zip(got, want))
    margin = max(abs(g["margin"] - w[1]) for g, w in zip(got, want)) / max(abs(w[1]) for w in want)
    norm = max(abs(g["grad_norm"] - w[3]) / w[3] for g, w in zip(got, want))
    first = 1 if name == "dpo" else 0  # the first step of DPO compares equal models: which is ahead is rounding
    assert [g["accuracy"] for g in got[first:]] == [w[2] for w in want[first:]], "accuracies differ"
    a, b = updates(out), updates(os.path.join(work, "end"))
    assert a.keys() == {k for k in b if "magnitude" not in k}, f"tensors differ: {set(a) ^ set(b)}"
    update = max(((a[k] - b[k]).norm() / b[k].norm()).item() for k in a)
    text = f"loss {loss:.1e}, margin {margin:.1e}, gradient norm {norm:.1e}, sBA {update:.1e}; {got[0]['loss']:.4f} to {got[-1]['loss']:.4f}"
    assert loss <= 1e-5 and margin <= 1e-5 and norm <= 1e-4 and update <= 1e-3, text
    return text


def write_rows(path):
    things = ["red ball", "small dog", "big blue boat", "cat", "old tree by the lake"]
    with open(path, "w") as f:
        for i in range(24):
            thing = things[i % 5]
            row = dict(prompt=f"Question {i}: what did Tim and Lily find?", chosen=f" They found a {thing}." + " It was nice." * (i % 3),
                       rejected=" No." + f" The {things[(i + 2) % 5]} ran away and was sad." * (1 + i % 4))
            f.write(json.dumps(row) + "\n")


def main():
    failed = 0
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as work:
        models, rows = os.path.join(work, "models"), os.path.join(work, "rows.jsonl")
        cases = CASES[::3] if os.environ.get("ALPHAR_TEST_FAST") else CASES
        subprocess.run([sys.executable, os.path.join(SHARED, "tools", "tiny_models.py"), models, *sorted({c[0] for c in cases}),
                        "--tokenizer", TOKENIZER], check=True, capture_output=True)
        write_rows(rows)
        for i, case in enumerate(cases):
            words = " ".join(f"{k} {v}" for k, v in {**case[2], **case[3]}.items())
            name = f"preference {case[1]} {case[0]} {words}".strip()
            folder = os.path.join(work, str(i))
            os.makedirs(folder)
            try:
                print(f"ok {name}: {compare(case, models, rows, folder)}", flush=True)
            except AssertionError as e:
                failed += 1
                print(f"not ok {name}: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
