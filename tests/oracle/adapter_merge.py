#!/usr/bin/env python3
"""merge against PEFT's merge_and_unload and dense arithmetic, its survival report against numpy, and extract against planted updates.

  adapter_merge.py [WORD...]   only the checks whose name holds one of the words"""
import json, os, shutil, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
from lib import bases, makers, readers
from lib.program import ROOT, ask, check, finish, refuses, run, workspace
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
norm = np.linalg.norm
IDS = np.random.default_rng(3).integers(3, 60, 24).tolist()
FAMILIES = {}


def base_of(family, dtype="float32", shard=None):
    key = f"{family}-{dtype}{'-sharded' if shard else ''}"
    if key not in FAMILIES:
        FAMILIES[key] = bases.make(family, path("base-" + key), seed=len(FAMILIES) + 1, dtype=dtype, shard=shard)
        for name in ("tokenizer.json", "generation_config.json", "notes.txt"):
            open(path("base-" + key, name), "w").write('{"made_for": "a test"}')
    return FAMILIES[key]


def fresh(name="merged"):
    shutil.rmtree(path("out"), ignore_errors=True)
    os.makedirs(path("out"))
    return path("out", name)


def adapter(base, name, **settings):
    folder = path("in", name.replace(" ", "-"))
    return folder if os.path.exists(folder) else makers.make_peft(base, folder, seed=len(name), **settings)


def tensors(folder):
    out = {}
    for f in sorted(os.listdir(folder)):
        if f.endswith(".safetensors"):
            out.update(load_file(os.path.join(folder, f)))
    return out


def peft_merged(base, folder):
    """The state dict of PEFT's own merge in f64, under the names of the checkpoint's tensors."""
    model = PeftModel.from_pretrained(base.load(), folder).double().merge_and_unload()
    return {k: v.numpy() for k, v in model.state_dict().items()}


def logits(folder):
    return makers.peft_logits(bases.Base(folder), None, IDS)


MERGED = {
    "standard": {}, "rslora patterns": lambda t: dict(target_modules=t, use_rslora=True, lora_alpha=3, rank_pattern={t[0]: 7}, alpha_pattern={t[1]: 5}),
    "dora": dict(use_dora=True), "negative": dict(lora_alpha=-2.5),
}
LLAMA = {
    "embedding": dict(target_modules=["embed_tokens", "q_proj"]), "head": dict(target_modules=["lm_head", "q_proj"]), "saved head": dict(modules_to_save=["lm_head"]),
    "both ends": dict(target_modules=["embed_tokens", "lm_head"]), "saved embedding": dict(modules_to_save=["embed_tokens"]), "saved norm": dict(modules_to_save=["norm"]),
    "bias all": dict(bias="all"), "bias lora_only": dict(bias="lora_only"), "lora_bias": dict(lora_bias=True), "dora embedding": dict(use_dora=True, target_modules=["embed_tokens", "v_proj"]),
    "dora head": dict(use_dora=True, target_modules=["lm_head", "q_proj"]),
}


def merged(family, name, settings):
    base = base_of(family)
    settings = settings(makers.targets_of(base)) if callable(settings) else settings
    folder, out = adapter(base, f"{family}-{name}", **settings), fresh()
    said = ask("merge", "--model", base.folder, "--adapter", folder, "--out", out)
    # PEFT 0.21 merges into the shared tensor of a tied base; Alphar unties it, so the unmerged model is the reference there.
    got, want, plain = tensors(out), peft_merged(base, folder), tensors(base.folder)
    ends = {"embed_tokens", "lm_head"} & (set(settings.get("target_modules", [])) | set(settings.get("modules_to_save", [])))
    bound, worst = 1e-5 if settings.get("use_dora") else 1e-6, (0.0, "")
    if not (base.tied and ends):
        for k, v in got.items():
            w = next(want[n] for n in (k, "transformer." + k, k.replace("embed_out", "lm_head")) if n in want)
            worst = max(worst, (norm(v.double().numpy() - w) / norm(w), k))
        assert worst[0] <= bound, f"{worst[1]} differs from PEFT's by {worst[0]:.1e}"
        assert set(got) == set(plain), f"tensors {sorted(set(got) ^ set(plain))[:4]}"
    else:
        config = json.load(open(os.path.join(out, "config.json")))
        assert config["tie_word_embeddings"] is False and "lm_head.weight" in got, "the tied ends were not parted"
        for side in {"embed_tokens", "lm_head"} - ends:
            k = "lm_head.weight" if side == "lm_head" else "model.embed_tokens.weight"
            assert torch.equal(got[k], plain["model.embed_tokens.weight"]), f"{k} moved, though nothing adapts it"
    a, b = logits(out), makers.peft_logits(base, folder, IDS)
    moved = np.abs(b - makers.peft_logits(base, None, IDS)).max()
    assert moved > 1e-3 and np.abs(a - b).max() <= 3e-5 * max(1, np.abs(b).max()), f"logits differ by {np.abs(a - b).max():.1e} of {moved:.1e}"
    touched = {x["name"] for x in said["sites"]}
    assert touched == set(readers.read_peft(folder)), f"sites {sorted(touched ^ set(readers.read_peft(folder)))[:3]}"
    assert said["min_survival"] == min(x["survival"] for x in said["sites"]) and 0.999 < said["min_survival"] < 1.001, said["min_survival"]
    return f"{worst[0]:.1e}"


def several():
    """Weighted adapters of several formats add up, each with its own s once."""
    base, out = base_of("llama"), fresh()
    gguf, mlx = makers.make_gguf(base, path("m.gguf"), rank=3), makers.make_mlx(base, path("m-mlx"), scale=0.4, seed=5)
    parts = [(adapter(base, "llama-standard"), 0.5), (gguf, -1.0), (mlx, 2.0)]
    flags = [x for at, w in parts for x in ("--adapter", f"{at}:{w}")]
    run("merge", "--model", base.folder, *flags, "--out", out)
    got, want = tensors(out), {k: v.double().numpy().copy() for k, v in tensors(base.folder).items()}
    for at, w in parts:
        for p, x in readers.read(at, base).items():
            want[p + ".weight"] += w * x.delta
    worst = max((norm(got[k].double().numpy() - want[k]) / norm(want[k]), k) for k in want)
    assert worst[0] <= 1e-6, f"{worst[1]} differs by {worst[0]:.1e}"
    return f"{worst[0]:.1e}"


def rounding(dtype, keep):
    """Into half precision: W + ΔW formed in f32, rounded once; the report says what of ΔW is left."""
    kind = getattr(torch, dict(bf16="bfloat16", f16="float16")[dtype])
    base, out = base_of("llama", str(kind).removeprefix("torch.") if keep else "float32"), fresh()
    folder = adapter(base, f"small-{dtype}-{keep}", moved=0.01, alpha_pattern={"q_proj": 1})
    said = ask("merge", "--model", base.folder, "--adapter", folder, "--out", out, "--dtype", "keep" if keep else dtype)
    got, plain, survival = tensors(out), tensors(base.folder), {x["name"]: x["survival"] for x in said["sites"]}
    for p, x in readers.read_peft(folder).items():
        w = plain[p + ".weight"].float()
        d = torch.from_numpy(x.delta)
        target, before = (w.double() + d).to(kind), w.to(kind)
        assert got[p + ".weight"].dtype == kind
        wrong = (got[p + ".weight"] != target).float().mean().item()
        assert wrong <= 2e-3, f"{p}: {wrong:.1%} of the entries are rounded otherwise"
        want = ((got[p + ".weight"].double() - before.double()) * d).sum().item() / (d * d).sum().item()
        assert abs(survival[p] - want) <= 1e-4 * max(1, abs(want)), f"{p}: survival {survival[p]}, it is {want}"
    assert min(survival.values()) == said["min_survival"]
    spread = min(survival.values()), max(survival.values())
    assert all(v.dtype == kind for v in got.values()), "a tensor kept another type"
    return f"survival {spread[0]:.3f} to {spread[1]:.3f}"


def carried():
    """Shards, index, configuration, tokenizer and unknown small files are as the base has them."""
    base, out = base_of("llama", shard="20KB"), fresh()
    run("merge", "--model", base.folder, "--adapter", adapter(base, "llama-standard"), "--out", out)
    a, b = ({f: sorted(safe_open(os.path.join(d, f), "pt").keys()) for f in os.listdir(d) if f.endswith(".safetensors")} for d in (base.folder, out))
    assert len(a) > 2 and a == b, f"shards {sorted(b)} of {sorted(a)}"
    maps = [json.load(open(os.path.join(d, "model.safetensors.index.json")))["weight_map"] for d in (base.folder, out)]
    assert maps[0] == maps[1], "the index differs"
    for f in ("config.json", "tokenizer.json", "generation_config.json"):
        assert os.path.exists(os.path.join(out, f)), f"{f} is missing"
    assert np.isfinite(logits(out)).all()


def checked():
    """--check runs prompts through both: an exact merge agrees, one whose rounding ate the update does not."""
    base, out = base_of("llama"), fresh()
    shutil.copy(os.path.join(ROOT, "demo", "base", "tokenizer.json"), base.folder)
    differs = {}
    for dtype in ("f32", "bf16"):
        said = ask("merge", "--model", base.folder, "--adapter", adapter(base, "llama-standard"), "--out", out, "--dtype", dtype, "--check", "2", "--overwrite")["check"]
        assert said["prompts"] == 2 and 0 <= said["mean"] <= said["max_logprob_difference"], said
        differs[dtype] = said["max_logprob_difference"]
    assert differs["f32"] <= 1e-3 and differs["bf16"] > 20 * differs["f32"], differs


def refused(name, family, word, **settings):
    base, out = base_of(family), fresh()
    folder = adapter(base_of("llama"), f"refused-{name}", **settings)
    refuses(out, [word], "merge", "--model", base.folder, "--adapter", folder, "--out", out)


# ---- extract ---------------------------------------------------------------------------------------------------------
def planted(family, rank, seed=9, sites=None, wide=0.2):
    """A tuned copy of the base: a rank-r update of the chosen linears."""
    base, tuned = base_of(family), path("out", "tuned")
    model, rng, deltas = base.load(), np.random.default_rng(seed), {}
    modules = dict(model.named_modules())
    for p in sites or makers.linears(base):
        _, n_out, n_in = base.modules[p]
        d = (rng.normal(0, wide, (n_out, rank)) @ rng.normal(0, wide, (rank, n_in))).astype(np.float32)
        with torch.no_grad():
            w = modules[p].weight
            w += torch.from_numpy(d.T.copy() if base.modules[p][0] == "conv1d" else d)
        deltas[p] = d.astype(np.float64)
    model.save_pretrained(tuned)
    return base, tuned, deltas


def extracted(family, *flags, s=None):
    out = fresh("adapter")
    base, tuned, deltas = planted(family, 3)
    run("extract", "--model", base.folder, "--tuned", tuned, "--out", out, *flags)
    got = readers.read_peft(out)
    assert set(deltas) <= set(got), f"sites {sorted(set(deltas) - set(got))[:3]} are missing"
    for p, d in deltas.items():
        e = norm(got[p].delta - d) / norm(d)
        assert e <= 1e-5 and got[p].rank == 3, f"{p}: differs by {e:.1e}, rank {got[p].rank}"
        assert s is None or abs(got[p].s - s) < 1e-12, f"{p}: s {got[p].s}, wanted {s}"
    a, b = makers.peft_logits(base, out, IDS), logits(tuned)
    assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), f"PEFT's logits differ from the tuned model's by {np.abs(a - b).max():.1e}"


def extract_best():
    """Below the update's rank: the best approximation, and the energy it keeps."""
    out = fresh("adapter")
    base, tuned, deltas = planted("llama", 6)
    said = ask("extract", "--model", base.folder, "--tuned", tuned, "--out", out, "--rank", "2")
    energy = {x["name"]: x["energy"] for x in said["sites"]}
    got = readers.read_peft(out)
    for p, d in deltas.items():
        u, s, v = np.linalg.svd(d, full_matrices=False)
        e = norm(got[p].delta - (u[:, :2] * s[:2]) @ v[:2]) / norm(d)
        assert e <= 1e-5, f"{p}: {e:.1e} from the truncated SVD"
        assert abs(energy[p] - (s[:2] ** 2).sum() / (s**2).sum()) <= 1e-5, f"{p}: energy {energy[p]}"


def extract_some():
    """Sites that did not move need no pair."""
    out = fresh("adapter")
    base = base_of("llama")
    base, tuned, deltas = planted("llama", 2, sites=[p for p in makers.linears(base, [1]) if p.endswith("v_proj")])
    run("extract", "--model", base.folder, "--tuned", tuned, "--out", out, "--rank", "2")
    got = readers.read_peft(out)
    for p, x in got.items():
        d = deltas.get(p, 0 * x.delta)
        assert norm(x.delta - d) <= 1e-5 * (norm(d) or 1), p
    assert set(deltas) <= set(got)


for family in bases.CONFIGS:
    for name, settings in MERGED.items():
        if family in ("llama", "gpt2", "llama-tied") or name in ("rslora patterns", "dora"):
            check(f"adapter_merge {family} {name}", merged, family, name, settings)
for family in ("llama", "llama-tied"):
    for name, settings in LLAMA.items():
        if family == "llama-tied" or "bias" not in name:  # whose linears have biases
            check(f"adapter_merge {family} {name}", merged, family, name, settings)
check("adapter_merge several", several)
for dtype in ("bf16", "f16"):
    for keep in (False, True):
        check(f"adapter_merge {dtype}{' kept' if keep else ''}", rounding, dtype, keep)
check("adapter_merge carried", carried)
check("adapter_merge checked", checked)
check("adapter_merge refuses another base", refused, "shape", "qwen2", "another base")
check("adapter_merge refuses a bias that has no place", lambda: refused("bias", "llama", "lora_bias", lora_bias=True))
for family in ("llama", "gpt2", "phi3", "gemma2"):
    check(f"adapter_merge extract {family}", extracted, family, "--rank", "3")
check("adapter_merge extract alpha", lambda: extracted("llama", "--rank", "3", "--alpha", "12", s=4.0))
check("adapter_merge extract energy", extracted, "llama", "--energy", "0.999999")
check("adapter_merge extract best", extract_best)
check("adapter_merge extract some", extract_some)
finish(WORK)
