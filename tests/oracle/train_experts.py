#!/usr/bin/env python3
"""Training on mixtures of experts compared with PEFT in f64: 30 steps from the same adapter, pairs on attention, router, shared expert and
experts.  Losses 1e-5 relative, s·B·A of every site and expert 1e-4 relative Frobenius.  Then PEFT loads what was written, and its log p are
those of `alphar score`; a greedy text is that of a full forward; and merging gives W_e + s·B_e·A_e of numpy within 1e-6.

The models are those of ../shared/tools/tiny_models.py with the stories260k tokenizer; skips without them."""
import json, math, os, shutil, subprocess, sys, tempfile, warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(ROOT, "..", "shared")
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")
TOKENIZER = os.path.join(SHARED, "material", "models", "stories260k")
STEPS, BATCH, LENGTH, RATE, EPS = 30, 2, 64, 1e-3, 1e-5

try:
    import numpy as np, torch, transformers as tf
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
except ImportError as e:
    print(f"skip train_experts {e}")
    sys.exit(0)
if not os.path.isdir(TOKENIZER):
    print("skip train_experts ../shared is not here")
    sys.exit(0)
tf.logging.set_verbosity_error()
torch.set_num_threads(1)  # of small matrices

GATE_UP, DOWN, ROUTER = "experts.gate_up_proj", "experts.down_proj", "gate.weight"
CASES = [
    ("mixtral", dict(target_modules="all-linear")),
    ("mixtral", dict(target_modules="all-linear", use_rslora=True, lora_alpha=5)),
    ("mixtral", dict(target_modules=["q_proj"], target_parameters=[DOWN])),
    ("mixtral", dict(target_modules=[], target_parameters=[GATE_UP, DOWN], rank_pattern={GATE_UP: 3}, alpha_pattern={DOWN: 7})),
    ("qwen2_moe", dict(target_modules="all-linear")),
    ("qwen2_moe", dict(target_modules=["v_proj", "shared_expert_gate"], target_parameters=[GATE_UP, DOWN, ROUTER])),
    ("qwen3_moe", dict(target_modules="all-linear")),
    ("qwen3_moe", dict(target_modules=["o_proj"], target_parameters=[GATE_UP], use_rslora=True)),
    ("olmoe", dict(target_modules="all-linear")),
    ("qwen3_5_moe", dict(target_modules="all-linear")),
    ("qwen3_5_moe", dict(target_modules=["q_proj", "in_proj_qkv", "in_proj_b", "shared_expert_gate"], target_parameters=[GATE_UP, DOWN, ROUTER])),
    ("granitemoe", dict(target_modules="all-linear")),
    ("granitemoe", dict(target_modules=["k_proj"], target_parameters=[GATE_UP, DOWN, "router.weight"])),
    ("gemma4-moe", dict(target_modules="all-linear")),
    ("gemma4-moe", dict(target_modules=["q_proj", "router.proj", "mlp.up_proj"], target_parameters=[GATE_UP, DOWN], lora_alpha=6)),
    ("gemma4-moe", dict(target_modules=[], target_parameters=[GATE_UP, DOWN], use_rslora=True)),
    ("gpt_oss", dict(target_modules="all-linear")),
    ("gpt_oss", dict(target_modules=["q_proj", "o_proj"], target_parameters=[GATE_UP, DOWN], lora_alpha=6)),  # at 8 two logits of a router are 3e-7 apart once
    ("gpt_oss", dict(target_modules=["v_proj"], target_parameters=[GATE_UP], use_rslora=True)),
    ("gpt_oss", dict(target_modules=["k_proj"], target_parameters=[DOWN, "router.weight"])),
]
# with the load-balancing loss of each sample, as --router-aux-loss or as the base's config.json asks for it
BALANCED = [
    ("mixtral", dict(target_modules=["q_proj"], target_parameters=[ROUTER]), 0.5, "option"),
    ("qwen2_moe", dict(target_modules="all-linear", target_parameters=[ROUTER]), 0.2, "config"),
    ("qwen3_moe", dict(target_modules=["v_proj"], target_parameters=[GATE_UP]), 0.5, "config"),
    ("olmoe", dict(target_modules="all-linear", target_parameters=[ROUTER, DOWN]), 0.3, "option"),
    ("qwen3_5_moe", dict(target_modules=["q_proj", "out_proj"], target_parameters=[ROUTER]), 0.5, "option"),
    ("granitemoe", dict(target_modules=["k_proj"], target_parameters=["router.weight"]), 0.5, "config"),
    ("gpt_oss", dict(target_modules=["v_proj"], target_parameters=["router.weight"]), 0.5, "config"),
]


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {r.returncode}: {r.stderr[-800:]}")
    return r.stdout


def base(folder):
    return tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").double()


def samples(folder, data):
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    eos = tok.token_to_id("</s>")
    out = []
    for line in open(data):
        d = json.loads(line)
        prompt = tok.encode(d["prompt"]).ids
        ids = prompt + tok.encode(d["completion"], add_special_tokens=False).ids + [eos]
        out.append((ids[:LENGTH], ([-100] * len(prompt) + ids[len(prompt):])[:LENGTH]))
    return out


def train_with_peft(folder, data, out, settings, balance):
    torch.manual_seed(1)
    model = get_peft_model(base(folder), LoraConfig(**dict(dict(r=4, lora_alpha=8, task_type="CAUSAL_LM"), **settings)), autocast_adapter_dtype=False)
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for n, q in model.named_parameters():
            if "lora_" in n:  # as f32, which is what is saved
                q.copy_((torch.randn(q.shape, generator=g) * (0.3 / q.shape[1] ** 0.5 if "lora_A" in n else 0.05)).double())
    model.float().save_pretrained(os.path.join(out, "start"))
    model.double().train()
    learned = [q for q in model.parameters() if q.requires_grad]
    opt, rows, losses, uneven = torch.optim.AdamW(learned, lr=RATE, eps=EPS, weight_decay=0), samples(folder, data), [], []
    for step in range(STEPS):
        batch = [rows[(step * BATCH + j) % len(rows)] for j in range(BATCH)]
        loss, count = 0.0, sum(x != -100 for r in batch for x in r[1][1:])
        for ids, labels in batch:  # one by one: padding past a window is NaN in f64
            got = model(input_ids=torch.tensor([ids]), output_router_logits=balance > 0)
            part = torch.nn.functional.cross_entropy(got.logits[0, :-1], torch.tensor(labels[1:]), ignore_index=-100, reduction="sum") / count
            (part + balance / BATCH * got.aux_loss if balance else part).backward()
            loss += part.item()
            uneven.append(got.aux_loss.item() if balance else 0)
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        opt.step()
        opt.zero_grad()
        losses.append(loss)
    model.save_pretrained(os.path.join(out, "end"))
    return losses, [sum(uneven[i:i + BATCH]) / BATCH for i in range(0, len(uneven), BATCH)]


def number_for(patterns, path, otherwise):
    import re
    for key, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({key})$", path):
            return value
    return otherwise


def updates(folder, experts):
    """(site, expert) -> s·B·A in double, from the configuration and the tensors."""
    c, t, out = json.load(open(os.path.join(folder, "adapter_config.json"))), load_file(os.path.join(folder, "adapter_model.safetensors")), {}
    for key, a in t.items():
        if ".lora_A." not in key:
            continue
        a, b = a.double(), t[key.replace("lora_A", "lora_B")].double()
        path = key.replace("base_model.model.", "", 1).replace(".lora_A.weight", "")
        stacked = path.endswith((".experts", ".experts.base_layer"))
        if stacked:
            inner, lone = path.endswith(".base_layer"), key.replace(".lora_A", ".base_layer.lora_A") not in t
            names = [n for n in c["target_parameters"] if n.endswith("gate_up_proj")]
            path = path.replace(".base_layer", "") + (".gate_up_proj" if inner or (lone and names) else ".down_proj")
        elif path.endswith((".gate", ".router")):
            path += ".weight"
        count = experts if stacked else 1
        r, alpha = a.shape[0] // count, number_for(c.get("alpha_pattern"), path, c["lora_alpha"])
        assert r == number_for(c.get("rank_pattern"), path, c["r"]), f"{path}: rank {r}"
        s = alpha / (math.sqrt(r) if c.get("use_rslora") else r)
        for e in range(count):
            out[path, e] = s * b[:, e::count] @ a[e * r:(e + 1) * r]
    return out


def logprobs(model, ids):
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    return lp[range(len(ids) - 1), ids[1:]]


def spread(model, ids, want):
    """By how much a rounding to f32 of each weight moves each log p: where q · k of the delta rule is near 0, its norm makes much of little."""
    kept, g, most = [q.clone() for q in model.parameters()], torch.Generator().manual_seed(4), torch.zeros_like(want)
    for _ in range(4):
        with torch.no_grad():
            for q, w in zip(model.parameters(), kept):
                q.copy_(w * (1 + torch.randn(w.shape, generator=g, dtype=w.dtype) * 2**-24))
        most = most.maximum((logprobs(model, ids) - want).abs())
    return most


def check_score(folder, adapter):
    ids = list(range(5, 60))
    model = PeftModel.from_pretrained(base(folder), adapter).eval().double()
    want = logprobs(model, ids)
    got = json.loads(run(PROGRAM, "score", "--model", folder, "--adapter", adapter, "--ids", ",".join(map(str, ids)), "--json"))["logprobs"]
    off, bound = (torch.tensor(got, dtype=torch.float64) - want).abs(), torch.full_like(want, 2e-5)
    if "qwen3_5" in folder:  # some forty operators round, and not only the weights
        bound = bound.maximum(4 * spread(model, ids, want))
    worst = (off / bound).argmax()
    assert (off <= bound).all(), f"log p {off[worst]:.1e} from PEFT's, bound {bound[worst]:.1e}"
    return off.max().item()


def check_cache(folder, adapter, work):
    got = json.loads(run(PROGRAM, "generate", "--model", folder, "--adapter", adapter, "--prompt", "Tim and Lily", "--max-tokens", "24", "--json"))
    path = os.path.join(work, "l.safetensors")
    run(PROGRAM, "score", "--model", folder, "--adapter", adapter, "--ids", ",".join(map(str, got["prompt_ids"] + got["ids"])), "--logits", path, "--json")
    logits, n = load_file(path)["logits"], len(got["prompt_ids"])
    for i, t in enumerate(got["ids"]):
        gap = (logits[n - 1 + i].max() - logits[n - 1 + i, t]).item()
        assert gap <= 1e-5, f"token {i}: {gap:.1e} below the largest logit of the full forward"


def merged(weights, change):
    """name -> W + s·B·A, of experts that are stacked or apart."""
    out = {k: v.double() for k, v in weights.items()}
    for (path, e), d in change.items():
        layer, rest = path.split("layers.")[1].split(".", 1)
        for name, w in out.items():
            if f"layers.{layer}." not in name:
                continue
            if rest.endswith(("gate_up_proj", "down_proj")) and ".experts." in path:
                half = d.shape[0] // 2
                apart = {"gate_proj": d[:half], "w1": d[:half], "up_proj": d[half:], "w3": d[half:]} if "gate_up" in rest else {"down_proj": d, "w2": d}
                for part, x in apart.items():
                    if name.endswith(f".experts.{e}.{part}.weight"):
                        w += x
                if name.endswith(("input_linear.weight" if "gate_up" in rest else "output_linear.weight")):
                    w[e] += d
                if name.endswith(rest):  # gpt_oss: [experts, in, out]
                    w[e] += d.T if "mlp.experts" in rest else d
            elif name.split(f"layers.{layer}.")[1] in (rest.removesuffix(".weight") + ".weight", rest.replace("mlp.gate.weight", "block_sparse_moe.gate.weight"),
                                                       rest.replace("router.weight", "router.layer.weight")):
                w += d
    return out


def check_merge(folder, adapter, change, work):
    out = os.path.join(work, "merged")
    run(PROGRAM, "merge", "--model", folder, "--adapter", adapter, "--out", out)
    before, after = (load_file(os.path.join(x, "model.safetensors")) for x in (folder, out))
    want = merged(before, change)
    far = max((after[k].double() - want[k]).abs().max().item() for k in want)
    moved = sum(bool((after[k] != before[k]).any()) for k in after)
    assert far <= 1e-6 and moved, f"merge is {far:.1e} from numpy, {moved} tensors moved"
    return far


def balanced_copy(folder, to, weight):
    shutil.copytree(folder, to)
    config = json.load(open(os.path.join(to, "config.json")))
    json.dump(dict(config, output_router_logits=True, router_aux_loss_coef=weight), open(os.path.join(to, "config.json"), "w"))
    return to


def compare(case, models, data, work):
    family, settings, balance, where = case if len(case) == 4 else (*case, 0, "")
    folder, oracle, out = os.path.join(models, family), os.path.join(work, "peft"), os.path.join(work, "alphar")
    config = json.load(open(os.path.join(folder, "config.json")))
    experts = config.get("num_local_experts") or config["num_experts"]
    want, uneven = train_with_peft(folder, data, oracle, settings, balance)
    if where == "config":
        folder = balanced_copy(folder, os.path.join(work, family), balance)
    run(PROGRAM, "train", "--model", folder, "--data", data, "--out", out, "--init-adapter", os.path.join(oracle, "start"), "--no-shuffle", "--quiet",
        "--compute", "f32", "--steps", str(STEPS), "--batch", str(BATCH), "--max-length", str(LENGTH), "--lr", str(RATE), "--eps", str(EPS),
        "--schedule", "constant", "--warmup", "0", *(["--router-aux-loss", str(balance)] if where == "option" else []))
    lines = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    got = [g["loss"] for g in lines if "loss" in g]
    loss = max(abs(g - w) / abs(w) for g, w in zip(got, want))
    if balance:
        off = max(abs(g["router_aux_loss"] - w) / w for g, w in zip((g for g in lines if "loss" in g), uneven))
        assert off <= 1e-5, f"load-balancing loss {off:.1e}"
    a, b = updates(out, experts), updates(os.path.join(oracle, "end"), experts)
    assert len(got) == STEPS and a.keys() == b.keys(), f"{len(got)} steps, sites differ: {set(a) ^ set(b)}"
    update = max(((a[k] - b[k]).norm() / b[k].norm()).item() for k in b)
    assert loss <= 1e-5 and update <= 1e-4, f"loss {loss:.1e}, sBA {update:.1e}"
    score = check_score(folder, out)
    check_cache(folder, out, work)
    merge = check_merge(folder, out, a, work)
    return f"{len(a)} updates; loss {loss:.1e}, sBA {update:.1e}, log p {score:.1e}, merge {merge:.1e}"


def main():
    failed, word = 0, sys.argv[1] if len(sys.argv) > 1 else ""
    cases = [c for c in CASES + BALANCED if word in c[0] or (word in ("balanced", c[0] + " balanced") and len(c) == 4)]
    with tempfile.TemporaryDirectory() as work:
        models, data = os.path.join(work, "models"), os.path.join(work, "data.jsonl")
        run(sys.executable, os.path.join(SHARED, "tools", "tiny_models.py"), models, *sorted({c[0] for c in cases}), "--tokenizer", TOKENIZER)
        with open(data, "w") as f:
            for i in range(40):
                f.write(json.dumps({"prompt": f"Question {i}: what did Tim and Lily find?", "completion": f" They found {i} red balls " + "in the big park. " * (i % 5)}) + "\n")
        for i, case in enumerate(cases):
            name, folder = f"train_experts {case[0]} {' '.join(f'{k}={v}' for k, v in case[1].items())} {' '.join(map(str, case[2:]))}".strip(), os.path.join(work, str(i))
            os.makedirs(folder)
            try:
                print(f"ok {name}: {compare(case, models, data, folder)}", flush=True)
            except (AssertionError, RuntimeError, ValueError) as e:
                failed += 1
                print(f"not ok {name}: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
