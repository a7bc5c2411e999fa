#!/usr/bin/env python3
"""train --init pissa beside PEFT's init_lora_weights="pissa", and --init loftq beside numpy's singular values of what bitsandbytes takes off W.

PiSSA: 30 steps; losses within 1e-5, and W + s'·B'·A' of our adapter (twice the rank, over the base as it is) within 1e-4 of PEFT's
W_res + s·B·A.  LoftQ: the pairs at the start, the noise that run.json names, and the first loss over Q(W) + s·B·A."""
import json, math, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
import transformers as tf
from lib import bases
from lib.program import MATERIAL, ask, check, finish, run, workspace
from safetensors.torch import load_file

WORK, STEPS = workspace(), 30
path = lambda *names: os.path.join(WORK, *names)
TOKENIZER = os.path.join(MATERIAL, "models", "stories260k", "tokenizer.json")
TEXTS = ["Once upon a time there was a little fox who could not sleep.", "She counted all the stars, and then she counted them again.",
         "The sun was warm, the day was long, and Tim had a red ball."]
COMMON = ["--schedule", "constant", "--warmup", "0", "--clip", "0", "--batch", "1", "--no-shuffle", "--compute", "f32", "--lr", "1e-3"]
CONFIGS = {
    "llama": lambda: tf.LlamaConfig(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                                    num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0),
    "gpt2": lambda: tf.GPT2Config(vocab_size=512, n_positions=128, n_embd=64, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2, resid_pdrop=0.0,
                                  embd_pdrop=0.0, attn_pdrop=0.0),
}


def skip(why):
    print(f"skip starts {why}")
    finish(WORK)


try:
    import peft
except ImportError as problem:
    skip(f"{problem}")
if not os.path.exists(TOKENIZER):
    skip("shared material (stories260k) is missing")


def make_base(family):
    folder = path(family)
    if not os.path.exists(folder):
        bases.make(family, folder, config=CONFIGS[family]())
        os.symlink(TOKENIZER, os.path.join(folder, "tokenizer.json"))
        with open(path("rows.jsonl"), "w") as f:
            f.writelines(json.dumps(dict(text=t)) + "\n" for t in TEXTS)
    return folder


def load(folder):
    return tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def train(folder, out, *options):
    ask("train", "--model", folder, "--data", path("rows.jsonl"), "--out", out, *COMMON, *options)
    rows = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    return np.array([r["loss"] for r in rows if "loss" in r])


def samples(folder, first_loss, model):
    """The ids of each text, with EOS behind them where that is what was trained on."""
    ids = [ask("tokenize", "--model", folder, "--text", t)["ids"] for t in TEXTS]
    for end in ([], [2]):
        if abs(loss_of(model, ids[0] + end).item() / first_loss - 1) < 1e-4:
            return [i + end for i in ids]
    raise AssertionError(f"no way to read the first text gives its loss of {first_loss}")


def loss_of(model, ids):
    return model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss


def updates(folder):
    """{site: s·B·A} in double, by PEFT's rule."""
    c, t = json.load(open(os.path.join(folder, "adapter_config.json"))), load_file(os.path.join(folder, "adapter_model.safetensors"))
    assert not c["rank_pattern"] and not c["alpha_pattern"], "patterns that nobody asked for"
    s = c["lora_alpha"] / (math.sqrt(c["r"]) if c["use_rslora"] else c["r"])
    a_end = ".lora_A.weight"
    return {k[len("base_model.model."):-len(a_end)]: s * t[k.replace("lora_A", "lora_B")].double() @ t[k].double() for k in t if k.endswith(a_end)}


def weight_of(model, site):
    m = model.get_submodule(site)
    w = m.weight.detach().double()
    return w.T if type(m).__name__ == "Conv1D" else w


def peft_run(folder, ids, rslora, rank, alpha):
    base = load(folder)
    plain = {n: weight_of(base, n) for n, m in base.named_modules() if type(m).__name__ in ("Linear", "Conv1D")}
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, use_rslora=rslora, target_modules="all-linear", init_lora_weights="pissa",
                             fan_in_fan_out="gpt2" in folder, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, config)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0), []
    for t in range(STEPS):
        loss = loss_of(model, ids[t % len(ids)])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    merged = {}
    for name, m in model.named_modules():
        if hasattr(m, "lora_A") and len(m.lora_A):
            w = m.base_layer.weight.detach().double()
            w = w.T if type(m.base_layer).__name__ == "Conv1D" else w
            merged[name.removeprefix("base_model.model.")] = w + m.scaling["default"] * m.lora_B["default"].weight.double() @ m.lora_A["default"].weight.double()
    return np.array(losses), {k: v.detach() for k, v in merged.items()}, plain


def pissa(family, rslora):
    folder, out = make_base(family), path(f"pissa-{family}-{rslora}")
    rank, alpha = 4, 6
    ours = train(folder, out, "--steps", STEPS, "--rank", rank, "--alpha", alpha, "--init", "pissa", *(["--policy", "rslora"] if rslora else []))
    theirs, merged, plain = peft_run(folder, samples(folder, ours[0], load(folder)), rslora, rank, alpha)
    apart = np.abs(ours / theirs - 1).max()
    got = updates(out)
    assert got.keys() == merged.keys(), f"other sites: {sorted(got.keys() ^ merged.keys())[:4]}"
    assert json.load(open(os.path.join(out, "adapter_config.json")))["r"] == 2 * rank
    off = max(((plain[k] + got[k] - merged[k]).norm() / merged[k].norm()).item() for k in got)
    moved = min(((merged[k] - plain[k]).norm() / plain[k].norm()).item() for k in got)
    assert theirs[-1] < theirs[0] - 0.05 and moved > 20 * off, f"nothing was learned: {theirs[0]} to {theirs[-1]}, moved {moved:.1e}"
    assert apart <= 1e-5 and off <= 1e-4, f"losses within {apart:.1e}, merged weights within {off:.1e}"
    # PEFT's reader over the base as it is.
    said_of(out, folder, peft.PeftModel.from_pretrained(load(folder), out))
    return f"losses within {apart:.1e}, merged weights within {off:.1e} (moved {moved:.1e} at least), {theirs[0]:.4f} to {theirs[-1]:.4f}"


def said_of(adapter, folder, model, *options):
    """score through the adapter says what the model does."""
    ids = ask("tokenize", "--model", folder, "--text", TEXTS[1])["ids"]
    said = np.array(ask("score", "--model", folder, "--adapter", adapter, "--ids", ",".join(map(str, ids)), *options)["logprobs"])
    want = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, :-1].double(), -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    off = np.abs(said - want.detach().numpy()).max()
    assert off < 2e-5, f"score {' '.join(options)} is {off:.1e} off in log p"


def gguf():
    """A file whose rows of q and k lie otherwise: the triples are those of the folder, and so is all that follows."""
    story = os.path.join(MATERIAL, "models", "stories260k")
    outs = []
    for base in (story, os.path.join(story, "stories260K.gguf")):
        outs.append(path("of-" + os.path.basename(base)))
        train(base, outs[-1], "--steps", 4, "--rank", 4, "--init", "pissa")
    a, b = (updates(out) for out in outs)
    off = max(((a[k] - b[k]).norm() / a[k].norm()).item() for k in a)
    assert a.keys() == b.keys() and off < 1e-6, f"{off:.1e} apart"
    return f"{off:.1e} apart over {len(a)} sites"


def loftq(alpha, rounds):
    import bitsandbytes.functional as F
    folder, out, rank = make_base("llama"), path(f"loftq-{alpha}-{rounds}"), 8
    loss = train(folder, out, "--steps", 2, "--rank", rank, "--alpha", alpha, "--init", f"loftq:{rounds}", "--quantize", "nf4")
    noise = json.load(open(os.path.join(out, "run.json")))["resolved"]["noise"]
    start, model = updates(os.path.join(out, "start")), load(folder)
    trained, over_q = updates(out), load(folder)
    assert noise.keys() == start.keys(), "noise of other sites"
    worst = shrinks = 0.0
    for site, update in start.items():
        w = weight_of(model, site)
        q = F.dequantize_4bit(*F.quantize_4bit(w.float().contiguous(), blocksize=64, quant_type="nf4")).double()
        u, sigma, vt = np.linalg.svd((w - q).numpy())
        best = (u[:, :rank] * sigma[:rank]) @ vt[:rank]
        before, after = np.linalg.norm(sigma) / w.norm().item(), np.linalg.norm(sigma[rank:]) / w.norm().item()
        left = (w - q - update).norm().item() / w.norm().item()
        worst = max(worst, np.linalg.norm(update.numpy() - best) / np.linalg.norm(best))
        shrinks = max(shrinks, left / before)
        said = noise[site]
        assert abs(said["before"] / before - 1) < 1e-5 and abs(said["after"] / after - 1) < 1e-4, f"{site}: {said}, wanted {before}, {after}"
        assert abs(left / after - 1) < 1e-4, f"{site}: what is left is {left}, wanted {after}"
        with torch.no_grad():
            model.get_submodule(site).weight.copy_((q + update).float())
            over_q.get_submodule(site).weight.copy_((q + trained[site]).float())
    assert worst < 1e-4 and shrinks < 0.9, f"{worst:.1e} from the best of its rank, {shrinks:.3f} of the noise is left"
    samples(folder, loss[0], model)  # the first loss is that of Q(W) + s·B·A
    run("combine", path(f"plain-{alpha}-{rounds}"), f"{out}:1", f"{os.path.join(out, 'start')}:-1")
    said_of(out, folder, over_q, "--quantize", "nf4")
    end, learned = trained, updates(path(f"plain-{alpha}-{rounds}"))
    off = max(((learned[k] - (end[k] - start[k])).norm() / (end[k] - start[k]).norm()).item() for k in learned)
    assert off < 1e-5, f"without the correction: {off:.1e} from what was learned"
    return f"{worst:.1e} from the best of rank {rank}; at most {shrinks:.3f} of the noise is left"


def rounds_change_nothing():
    a, b = (load_file(os.path.join(path(f"loftq-16-{n}"), "adapter_model.safetensors")) for n in (1, 3))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a), "rounds changed the adapter"


for family, rslora in (("llama", False), ("llama", True), ("gpt2", False)):
    check(f"starts: pissa as PEFT {peft.__version__}, {family}{', rslora' if rslora else ''}", pissa, family, rslora)
check("starts: pissa on a GGUF file as on its folder", gguf)
try:
    import bitsandbytes
except ImportError as problem:
    skip(f"loftq {problem}")
for alpha, rounds in ((16, 1), (4, 1), (16, 3)):
    check(f"starts: loftq:{rounds} at s = {alpha / 8:g} as numpy and bitsandbytes {bitsandbytes.__version__}", loftq, alpha, rounds)
check("starts: loftq's rounds end on the same", rounds_change_nothing)
finish(WORK)
