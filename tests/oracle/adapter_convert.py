#!/usr/bin/env python3
"""`alphar convert`, judged by readers written elsewhere: s·B·A of every site after every stage of every chain, and PEFT loading what
was written.  What is refused and the edges stand in adapter_edges.py.

  adapter_convert.py [WORD...]   only the checks whose name holds one of the words"""
import json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
from lib import bases, makers, readers
from lib.conversion import EXTENSION, FOUR, WORK, base_of, convert, fresh, path
from lib.program import ask, check, finish, refuses, run
from safetensors.torch import load_file

IDS = np.random.default_rng(3).integers(3, 60, 24).tolist()
# Errors of one rounding of A and of B to the type, twice over: products of rounded factors.
ROUNDING = dict(f32=1e-6, f16=2.0**-10, bf16=2.0**-7)


def check_proof(said, sites, bound):
    proof = said["proof"]
    assert proof["sites"] == sites, f"the proof speaks of {proof['sites']} sites, there are {sites}"
    assert 0 <= proof["max_relative"] <= bound, f"proof: {proof['max_relative']}"
    assert isinstance(proof["worst"], str) and "folded" in said and "alpha" in said, f"proof: {said}"


def chain(source, base, order, name, bound=1e-6):
    """Converts from file to file; after every stage each site's s·B·A is that of the source."""
    want, at, worst = readers.read(source, base), source, 0.0
    for i, kind in enumerate(order):
        at, said = convert(at, kind, f"{name} {i}", base)
        got = readers.read(at, base)
        d, site = readers.distance(got, want)
        assert d <= bound, f"after {' > '.join(order[:i + 1])}: {site} differs by {d:.1e}"
        check_proof(said, len(want), bound)
        worst = max(worst, d)
    return at, worst


# ---- chains ----------------------------------------------------------------------------------------------------------
ORDERS = [["mlx", "gguf", "peft"], ["kohya", "gguf", "kohya", "mlx", "peft"], ["mlx", "mlx", "kohya", "kohya", "gguf", "gguf", "peft", "peft"], ["peft", "kohya", "peft"]]


def settings_for(base, name):
    t = makers.targets_of(base)
    return {
        "plain": {},
        "folded": dict(use_rslora=True, lora_alpha=5, alpha_pattern={t[0]: 3.5, rf"1\..*{t[1]}": 0.25}),
        "fractional": dict(lora_alpha=0.3), "negative": dict(lora_alpha=-3),
        "mixed signs": dict(alpha_pattern={t[0]: -2, rf"2\..*{t[1]}": 1e-3}),
        "ranks": dict(rank_pattern={t[0]: 2, rf"2\..*{t[1]}": 7}, alpha_pattern={t[1]: 3.5}),
        "ranks rslora": dict(use_rslora=True, rank_pattern={t[0]: 2, rf"2\..*{t[1]}": 7}),
        "one layer": dict(layers_to_transform=[1]),
        "huge": dict(lora_alpha=4096), "tiny": dict(lora_alpha=1e-5),
    }[name]


def chained(family, name, order):
    base = base_of(family)
    source = makers.make_peft(base, path("in", f"{family}-{name}".replace(" ", "-")), **settings_for(base, name))
    out, worst = chain(source, base, order, f"{family} {name}")
    if order[-1] == "peft":
        a, b = (makers.peft_logits(base, f, IDS) for f in (source, out))
        moved = np.abs(b - makers.peft_logits(base, None, IDS)).max()
        assert moved > (1e-6 if name == "tiny" else 1e-2), f"the adapter moves the logits by {moved:.1e} only"
        assert np.abs(a - b).max() <= 2e-5 * max(1, moved), f"PEFT's logits over what was written differ by {np.abs(a - b).max():.1e}"
    return f"{worst:.1e}"


def from_foreign(kind, family):
    """Files made by other tools' rules are the start."""
    base = base_of(family)
    order = [k for k in FOUR if k != kind and not (family == "bloom" and k == "mlx")] + ([kind] if (family, kind) != ("bloom", "mlx") else [])
    source = path("in", f"{kind}-{family}" + EXTENSION[kind])
    if kind == "gguf":
        makers.make_gguf(base, source, alpha=6.0)
    elif kind == "kohya":
        makers.make_kohya(base, source, alpha=3.0)
    else:
        makers.make_mlx(base, source, [p for p in makers.linears(base) if ".0." not in p], scale=-1.25, num_layers=2)
    return f"{chain(source, base, order, f'{kind} {family}')[1]:.1e}"


def npz():
    base = base_of("llama")
    source = makers.make_mlx(base, path("in", "npz"), scale=0.7, npz=True)
    return f"{chain(source, base, ['peft', 'mlx'], 'npz')[1]:.1e}"


def gguf_f16():
    base = base_of("qwen3")
    source = makers.make_gguf(base, path("in", "f16.gguf"), dtype=np.float16)
    return f"{chain(source, base, ['peft', 'gguf'], 'f16')[1]:.1e}"


def gguf_big_endian():
    """Version 3 files may be big-endian: read aright or refused by that name."""
    base, out = base_of("qwen3"), fresh("big peft")
    source = makers.make_gguf(base, path("in", "big.gguf"), big_endian=True)
    r = run("convert", source, out, "--to", "peft", "--model", base.folder, "--dtype", "f32", status=None)
    if r.returncode:
        assert "endian" in r.stderr.lower() and not os.path.exists(out), r.stderr
        return "refused"
    d, site = readers.distance(readers.read_peft(out), makers.expected_pairs(base, 1.5))
    assert d <= 1e-6, f"{site} differs by {d:.1e}"


# ---- what formats hold ------------------------------------------------------------------------------------------------
def dora_to_mlx(settings, name):
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "dora" + name), use_dora=True, **settings)
    want = readers.read_peft(source)
    mlx, said = convert(source, "mlx", "dora" + name, base)
    back, _ = convert(mlx, "peft", "dora back" + name, base)
    for at in (mlx, back):
        got = readers.read(at, base)
        d, site = readers.distance(got, want)
        assert d <= 1e-6, f"{site} differs by {d:.1e}"
        for p in want:
            assert got[p].m is not None and np.array_equal(got[p].m, want[p].m), f"{p}: magnitudes changed"
    a, b = (makers.peft_logits(base, f, IDS) for f in (source, back))
    assert np.abs(a - b).max() <= 1e-5, f"logits differ by {np.abs(a - b).max():.1e}"


def embeddings(kind):
    """An untied base: the embedding and the head are sites like others."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "embedding"), target_modules=["embed_tokens", "lm_head", "q_proj"], use_rslora=True, lora_alpha=3)
    out, worst = chain(source, base, [kind, "peft"], "embedding")
    a, b = (makers.peft_logits(base, f, IDS) for f in (source, out))
    assert np.abs(a - b).max() <= 2e-5, f"logits differ by {np.abs(a - b).max():.1e}"
    return f"{worst:.1e}"


def neox_head():
    """transformers 5 calls it lm_head, its files and older versions embed_out."""
    base = base_of("gpt-neox")
    source = makers.make_peft(base, path("in", "neox-head"), target_modules=["lm_head", "query_key_value"])
    out, worst = chain(source, base, ["gguf", "peft"], "neox head")
    a, b = (makers.peft_logits(base, f, IDS) for f in (source, out))
    assert np.abs(a - b).max() <= 2e-5, f"logits differ by {np.abs(a - b).max():.1e}"
    return f"{worst:.1e}"


def tied(kind, target):
    """On a tied base MLX would turn the head too, and llama.cpp has no such tensor or aborts: PEFT's function has no such file."""
    base = base_of("llama-tied")
    source = makers.make_peft(base, path("in", "tied-" + target), target_modules=[target, "q_proj"])
    out = fresh(f"tied {target} {kind}")
    refuses(out, [target], "convert", source, out, "--to", kind, "--model", base.folder)


def dtypes(kind, dtype):
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "dtypes"), use_rslora=True, lora_alpha=5, alpha_pattern={"q_proj": 3.3})
    out, said = convert(source, kind, "dtype " + dtype, base, dtype=dtype)
    d, site = readers.distance(readers.read(out, base), readers.read(source, base))
    assert d <= ROUNDING[dtype], f"{site} differs by {d:.1e}"
    assert d >= ROUNDING[dtype] / 100 or dtype == "f32", f"nothing was rounded: {d:.1e}"
    check_proof(said, 21, ROUNDING[dtype])
    if kind != "gguf":
        file = out if kind == "kohya" else os.path.join(out, "adapter_model.safetensors" if kind == "peft" else "adapters.safetensors")
        found = {t.dtype for k, t in load_file(file).items() if not k.endswith("alpha")}
        assert found == {dict(f32=torch.float32, f16=torch.float16, bf16=torch.bfloat16)[dtype]}, found
    return f"{d:.1e}"


def keeps(kind, dtype):
    """--dtype keep of a half-precision adapter that needs no fold: the very numbers."""
    base = base_of("mistral")
    source = makers.make_peft(base, path("in", "keep-" + dtype), dtype=dtype)
    out, _ = convert(source, kind, "keep " + dtype, base, dtype="keep")
    got, want = readers.read(out, base), readers.read(source, base)
    for p in want:
        assert np.array_equal(got[p].a, want[p].a) and np.array_equal(got[p].b, want[p].b), f"{p}: numbers changed"


def rounded_once():
    """A fold is formed in double and rounded once: B is the rounded product, not a product of rounded factors."""
    base = base_of("qwen2")
    source = makers.make_peft(base, path("in", "once"), alpha_pattern={"q_proj": 3.3}, dtype="bfloat16")
    out, said = convert(source, "gguf", "once", base, dtype="f16")
    want, got = readers.read(source, base), readers.read(out, base)
    for p in want:
        if p.endswith("q_proj"):
            exact = (want[p].b * (want[p].s / got[p].s)).astype(np.float16)
            assert np.array_equal(exact.astype(np.float64), got[p].b), f"{p}: B is not the product rounded once"


def mlx_layout():
    """num_layers -1 and keys that name every module: no reader of any age drops a site."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "layout"), target_modules=["q_proj", "down_proj"], layers_to_transform=[0, 2])
    out, _ = convert(source, "mlx", "layout", base)
    config = json.load(open(os.path.join(out, "adapter_config.json")))
    assert config["num_layers"] == -1 and config["fine_tune_type"] == "lora", config
    got = set(readers.mlx_sites(base, config).values())
    assert got == set(readers.read_peft(source)), f"keys instantiate {sorted(got)}"


def gguf_heads(family):
    """--heads H,KV instead of the base; without either the permutation cannot be known."""
    base = base_of(family)
    source = makers.make_peft(base, path("in", "heads-" + family), target_modules=["q_proj", "k_proj", "v_proj"])
    out = fresh("heads gguf")
    ask("convert", source, out, "--to", "gguf", "--heads", f"{base.heads},{base.kv_heads}", "--dtype", "f32")
    d, site = readers.distance(readers.read_gguf(out, base), readers.read_peft(source))
    assert d <= 1e-6, f"{site} differs by {d:.1e}"


def gguf_without_base():
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "heads"), target_modules=["q_proj"])
    makers.edit_config(source, base_model_name_or_path="nowhere")
    out = fresh("no base gguf")
    refuses(out, ["--model"], "convert", source, out, "--to", "gguf")


# ---- kohya's names ---------------------------------------------------------------------------------------------------
def kohya_metadata():
    """A file that Alphar wrote names its paths itself: no base is needed to read it."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "names"))
    file, _ = convert(source, "kohya", "names", base)
    out = fresh("names back peft")
    ask("convert", file, out, "--to", "peft", "--dtype", "f32")
    d, site = readers.distance(readers.read_peft(out), readers.read_peft(source))
    assert d <= 1e-6, f"{site} differs by {d:.1e}"
    meta = readers.metadata(file)
    assert "ss_network_dim" in meta and "ss_network_alpha" in meta, meta
    assert all(t.dtype == torch.float32 for k, t in load_file(file).items() if k.endswith(".alpha")), "alpha is kept in f32"


def kohya_unnamed():
    base = base_of("llama")
    file = makers.make_kohya(base, path("in", "unnamed.safetensors"))
    out = fresh("unnamed peft")
    refuses(out, ["--model"], "convert", file, out, "--to", "peft")


def kohya_alphas(alpha, dtype, s):
    base = base_of("llama")
    file = makers.make_kohya(base, path("in", f"alpha-{alpha}-{dtype}.safetensors".replace("torch.", "")), alpha=alpha, alpha_dtype=dtype)
    out, _ = convert(file, "peft", f"alphas {alpha}", base)
    d, site = readers.distance(readers.read_peft(out), makers.expected_pairs(base, s))
    assert d <= 1e-6, f"{site} differs by {d:.1e}"


def diffusion():
    """Names, kernels and alphas of a diffusion adapter pass untouched; other formats refuse it."""
    file = makers.make_diffusion(path("in", "sd.safetensors"))
    out = fresh("sd kohya")
    ask("convert", file, out, "--to", "kohya", "--dtype", "f32")
    got, want = readers.read_kohya(out), readers.read_kohya(file)
    d, site = readers.distance(got, want)
    assert d <= 1e-6, f"{site} differs by {d:.1e}"
    for name in want:
        assert got[name].extra == want[name].extra, f"{name}: shapes {got[name].extra}"
    for kind in ("peft", "gguf", "mlx"):
        other = fresh(f"sd {kind}")
        refuses(other, [], "convert", file, other, "--to", kind)
    said = ask("inspect", file)
    assert said["format"] == "kohya" and {x["name"] for x in said["sites"]} == set(want), [x["name"] for x in said["sites"]]
    for x in said["sites"]:
        norm = np.linalg.norm(want[x["name"]].delta)
        assert abs(x["norm_update"] / norm - 1) < 1e-6 and abs(x["scale"] / want[x["name"]].s - 1) < 1e-6, x


for family in bases.CONFIGS:
    four = [k for k in FOUR if not (family == "bloom" and k == "mlx")]
    check(f"adapter_convert chain {family} folded", chained, family, "folded", four)
    check(f"adapter_convert chain {family} ranks", chained, family, "ranks", ["gguf", "kohya", "peft"])
    for kind in ("gguf", "kohya", "mlx"):
        if (family, kind) != ("bloom", "mlx"):
            check(f"adapter_convert from {kind} {family}", from_foreign, kind, family)
for name in ("plain", "fractional", "negative", "mixed signs", "ranks rslora", "one layer", "huge", "tiny"):
    check(f"adapter_convert chain llama {name}", chained, "llama", name, FOUR)
for order in ORDERS:
    check(f"adapter_convert order {' '.join(order)}", chained, "qwen3", "folded", order)
check("adapter_convert mixed ranks to mlx", chained, "mistral", "ranks", ["mlx", "peft"])
check("adapter_convert npz", npz)
check("adapter_convert gguf f16", gguf_f16)
check("adapter_convert gguf big-endian", gguf_big_endian)
check("adapter_convert dora to mlx", dora_to_mlx, {}, "")
check("adapter_convert dora folded to mlx", dora_to_mlx, dict(use_rslora=True, alpha_pattern={"k_proj": 3.3}), "-folded")
for kind in ("gguf", "mlx"):
    check(f"adapter_convert embedding {kind}", embeddings, kind)
    for target in ("embed_tokens", "lm_head"):
        check(f"adapter_convert tied {target} {kind}", tied, kind, target)
check("adapter_convert embedding gpt-neox", neox_head)
for kind in FOUR:
    for dtype in ("f32", "f16", "bf16"):
        check(f"adapter_convert dtype {kind} {dtype}", dtypes, kind, dtype)
    for dtype in ("bfloat16", "float16"):
        check(f"adapter_convert keep {kind} {dtype}", keeps, kind, dtype)
check("adapter_convert rounded once", rounded_once)
check("adapter_convert mlx layout", mlx_layout)
for family in ("llama", "mistral"):
    check(f"adapter_convert heads {family}", gguf_heads, family)
check("adapter_convert gguf without base", gguf_without_base)
check("adapter_convert kohya metadata", kohya_metadata)
check("adapter_convert kohya unnamed", kohya_unnamed)
for alpha, dtype, s in ((None, torch.float32, 1.0), (0.3, torch.float32, 0.075), (-2.0, torch.float16, -0.5), (1.5, torch.bfloat16, 0.375), (2, torch.int64, 0.5)):
    check(f"adapter_convert kohya alpha {alpha} {dtype}".replace("torch.", ""), kohya_alphas, alpha, dtype, s)
check("adapter_convert diffusion", diffusion)
finish(WORK)
