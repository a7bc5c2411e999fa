#!/usr/bin/env python3
"""The edges of `alphar convert` and `inspect`: what a format cannot hold is refused by name, broken files too, nothing is written on
failure, other spellings of the same adapter are read, odd adapters are warned about, and the real files in shared material.

  adapter_edges.py [WORD...]   only the checks whose name holds one of the words"""
import json, os, shutil, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
from lib import makers, readers
from lib.conversion import FOUR, WORK, base_of, convert, fresh, path
from lib.program import MATERIAL, ROOT, Skip, ask, check, finish, refuses, run
from safetensors.torch import load_file, save_file

IDS = np.random.default_rng(3).integers(3, 60, 24).tolist()


# ---- refusals --------------------------------------------------------------------------------------------------------
REFUSALS = [
    ("dora", dict(use_dora=True), ["gguf", "kohya"], ["dora", "merge"]), ("bias all", dict(bias="all"), ["gguf", "mlx", "kohya"], ["bias"]),
    ("bias lora_only", dict(bias="lora_only"), ["gguf", "mlx", "kohya"], ["bias"]), ("lora_bias", dict(lora_bias=True), ["gguf", "mlx", "kohya"], ["bias"]),
    ("modules_to_save", dict(modules_to_save=["lm_head"]), ["gguf", "mlx", "kohya"], ["lm_head"]),
    ("modules_to_save norm", dict(modules_to_save=["norm"]), ["gguf", "mlx", "kohya"], ["norm"]), ("alpha zero", dict(lora_alpha=0), ["gguf", "kohya"], ["alpha"]),
    ("dora embedding", dict(use_dora=True, target_modules=["embed_tokens"]), ["mlx"], ["embed_tokens"]),
]


def refused(name, settings, kind, words):
    base = base_of("llama-tied" if "bias" in name else "llama")
    source = makers.make_peft(base, path("in", "refuse-" + name.replace(" ", "-")), **settings)
    out = fresh(f"refuse {name} {kind}")
    refuses(out, words, "convert", source, out, "--to", kind, "--model", base.folder)
    said = ask("convert", source, out, "--to", kind, "--model", base.folder, status=1)
    assert set(said["error"]) >= {"code", "message"}, said


def zero_is_off(kind):
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "zero"), lora_alpha=0)
    out, _ = convert(source, kind, "zero", base)
    got = readers.read(out, base)
    assert len(got) == 21 and all(not x.delta.any() for x in got.values()), "an adapter of alpha 0 is not off"


def some_zero(kind):
    """One site of alpha 0 among others: folded to zeros, or refused by name; never s = 1."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "some-zero"), alpha_pattern={"q_proj": 0})
    out = fresh(f"some zero {kind}")
    r = run("convert", source, out, "--to", kind, "--model", base.folder, "--dtype", "f32", status=None)
    if r.returncode:
        assert r.returncode == 1 and "alpha" in r.stderr.lower() and not os.path.exists(out), r.stderr
        return "refused"
    d, site = readers.distance(readers.read(out, base), readers.read(source, base))
    assert d <= 1e-6, f"{site} differs by {d:.1e}"
    return "folded"


def out_of_range(alpha, kind):
    """A fold that f16 cannot hold, above or below, is found by the proof, and no file stays; f32 and bf16 hold it."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", f"range-{alpha}"), alpha_pattern={"q_proj": alpha})
    out = fresh(f"range {kind}")
    refuses(out, [], "convert", source, out, "--to", kind, "--model", base.folder, "--dtype", "f16")
    for dtype, bound in (("f32", 1e-6), ("bf16", 2.0**-7)):
        out, _ = convert(source, kind, f"range {dtype}", base, dtype=dtype)
        d, site = readers.distance(readers.read(out, base), readers.read_peft(source))
        assert d <= bound, f"{dtype}: {site} differs by {d:.1e}"


def kohya_dora():
    base = base_of("llama")
    file = makers.make_kohya(base, path("in", "dora.safetensors"))
    makers.edit_tensors(file, lambda t: {**t, **{k.replace("alpha", "dora_scale"): torch.ones(48, 1) for k in t if k.endswith("q_proj.alpha")}})
    out = fresh("kohya dora peft")
    refuses(out, ["dora"], "convert", file, out, "--to", "peft", "--model", base.folder)


def overwrite():
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "over"))
    for kind in FOUR:
        out, _ = convert(source, kind, "over", base)
        before = open(out, "rb").read() if os.path.isfile(out) else None
        run("convert", source, out, "--to", kind, "--model", base.folder, status=1)
        assert before is None or open(out, "rb").read() == before
        ask("convert", source, out, "--to", kind, "--model", base.folder, "--overwrite")


# ---- edges -----------------------------------------------------------------------------------------------------------
def broken(name, words, change):
    """A PEFT folder that `change` breaks: inspect and convert both say why, and nothing is written."""
    base = base_of("llama")
    folder = path("in", "broken-" + name.replace(" ", "-"))
    makers.make_peft(base, folder, rank_pattern={"o_proj": 3})
    change(folder)
    said = run("inspect", folder, status=1).stderr
    assert all(w.lower() in said.lower() for w in words), f"inspect: {said.strip()[-300:]}"
    for kind in FOUR:
        out = fresh(f"broken {kind}")
        refuses(out, words, "convert", folder, out, "--to", kind, "--model", base.folder)


def cut(file, share):
    def change(folder):
        f = os.path.join(folder, file)
        os.truncate(f, int(os.path.getsize(f) * share))
    return change


def raw_config(old, new):
    def change(folder):
        f = os.path.join(folder, "adapter_config.json")
        text = open(f).read()
        assert old in text
        open(f, "w").write(text.replace(old, new))
    return change


def tensors(change):
    return lambda folder: makers.edit_tensors(folder, change)


Q = "base_model.model.model.layers.0.self_attn.q_proj"
BROKEN = [
    ("alpha missing", ["lora_alpha", "--alpha", "adapter_config.json"], lambda f: makers.edit_config(f, lora_alpha=...)),
    ("alpha nan", ["adapter_config.json"], raw_config('"lora_alpha": 8', '"lora_alpha": NaN')), ("alpha infinite", ["adapter_config.json"], raw_config('"lora_alpha": 8', '"lora_alpha": 1e999')),
    ("alpha is text", ["lora_alpha"], raw_config('"lora_alpha": 8', '"lora_alpha": "8"')), ("rank zero", ["'r'"], lambda f: makers.edit_config(f, r=0)),
    ("rank negative", ["'r'"], lambda f: makers.edit_config(f, r=-4)), ("rank of another size", ["rank"], lambda f: makers.edit_config(f, r=5)),
    ("rank pattern disagrees", ["rank"], lambda f: makers.edit_config(f, rank_pattern={"o_proj": 2})), ("unknown field", ["use_magic_lora"], lambda f: makers.edit_config(f, use_magic_lora=True)),
    ("field that changes the maths", ["kasa_config"], lambda f: makers.edit_config(f, kasa_config={"x": 1})), ("another method", ["peft_type"], lambda f: makers.edit_config(f, peft_type="IA3")),
    ("start that changed the base", ["pissa"], lambda f: makers.edit_config(f, init_lora_weights="pissa")),
    ("config cut", ["adapter_config.json"], cut("adapter_config.json", 0.5)), ("weights cut", ["adapter_model.safetensors"], cut("adapter_model.safetensors", 0.7)),
    ("header cut", ["adapter_model.safetensors"], cut("adapter_model.safetensors", 0.01)), ("weights empty", ["adapter_model.safetensors"], cut("adapter_model.safetensors", 0)),
    ("B missing", [Q.removeprefix("base_model.model.")], tensors(lambda t: {k: v for k, v in t.items() if k != Q + ".lora_B.weight"})),
    ("A and B disagree", [Q.removeprefix("base_model.model.")], tensors(lambda t: {**t, Q + ".lora_B.weight": t[Q + ".lora_B.weight"][:, :2]})),
    ("A holds nan", [Q], tensors(lambda t: {**t, Q + ".lora_A.weight": t[Q + ".lora_A.weight"] * float("nan")})),
    ("stray tensor", ["stray"], tensors(lambda t: {**t, "stray": torch.ones(3)})),
]


def supplied_alpha():
    """--alpha supplies what is missing, by the adapter's own policy."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "supplied"), use_rslora=True, lora_alpha=6)
    want = readers.read_peft(source)
    makers.edit_config(source, lora_alpha=...)
    out = fresh("supplied gguf")
    ask("convert", source, out, "--to", "gguf", "--alpha", "6", "--model", base.folder, "--dtype", "f32")
    d, site = readers.distance(readers.read_gguf(out, base), want)
    assert d <= 1e-6, f"{site} differs by {d:.1e}"


def other_shape():
    """The base says what a site's shape is."""
    base, other = base_of("llama"), base_of("qwen2")
    source = makers.make_peft(base, path("in", "shape"), target_modules=["q_proj"])
    out = fresh("shape mlx")
    refuses(out, ["q_proj"], "convert", source, out, "--to", "mlx", "--model", other.folder)


def accepted(name, change):
    """Spellings that mean the same adapter."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "accepted-" + name))
    want = readers.read_peft(source)
    change(source)
    out, _ = convert(source, "peft", "accepted " + name, base)
    d, site = readers.distance(readers.read_peft(out), want)
    assert d <= 1e-6, f"{site} differs by {d:.1e}"
    assert np.abs(makers.peft_logits(base, out, IDS) - makers.peft_logits(base, None, IDS)).max() > 1e-2


ACCEPTED = [
    ("wrapped twice", tensors(lambda t: {"base_model.model." + k: v for k, v in t.items()})),
    ("default names", tensors(lambda t: {k.replace(".weight", ".default.weight"): v for k, v in t.items()})),
    ("unknown but off", lambda f: makers.edit_config(f, use_magic_lora=False, magic_config=None, magic_list=[], magic_name="", magic_map={})),
    ("integer-valued alpha", raw_config('"lora_alpha": 8', '"lora_alpha": 8.0')),
]


def gguf_without_alpha():
    base = base_of("llama")
    source = makers.make_gguf(base, path("in", "no-alpha.gguf"), alpha=None)
    out = fresh("no alpha peft")
    refuses(out, ["alpha", "--alpha"], "convert", source, out, "--to", "peft", "--model", base.folder)
    ask("convert", source, out, "--to", "peft", "--model", base.folder, "--alpha", "2", "--dtype", "f32")
    d, site = readers.distance(readers.read_peft(out), makers.expected_pairs(base, 0.5))
    assert d <= 1e-6, f"{site} differs by {d:.1e}"


def mlx_without_scale():
    base = base_of("llama")
    source = makers.make_mlx(base, path("in", "no-scale"))
    config = json.load(open(os.path.join(source, "adapter_config.json")))
    del config["lora_parameters"]["scale"]
    makers.edit_config(source, **config)
    out = fresh("no scale peft")
    refuses(out, ["scale"], "convert", source, out, "--to", "peft", "--model", base.folder)


def foreign_broken(kind, share):
    base = base_of("llama")
    file = path("in", f"cut-{share}" + (".gguf" if kind == "gguf" else ".safetensors"))
    makers.make_gguf(base, file) if kind == "gguf" else makers.make_kohya(base, file)
    os.truncate(file, int(os.path.getsize(file) * share))
    out = fresh("cut peft")
    refuses(out, [os.path.basename(file)], "convert", file, out, "--to", "peft", "--model", base.folder)


def warned(name, word, settings, change=None):
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "warn-" + name.replace(" ", "-")), **settings)
    if change:
        change(source)
    said = ask("inspect", source)
    texts = [w["code"] + " " + w["text"] for w in said["warnings"]]
    assert any(word in t.lower() for t in texts), f"warnings {texts}"
    quiet = ask("inspect", makers.make_peft(base, path("in", "quiet")))
    assert not any(word in (w["code"] + " " + w["text"]).lower() for w in quiet["warnings"]), f"an ordinary adapter is warned about too: {quiet['warnings']}"


WARNINGS = [
    ("rank pattern alone", "rank_pattern", dict(rank_pattern={"q_proj": 2})), ("alpha zero", "zero", dict(lora_alpha=0)),
    ("untrained", "untrained", {}, tensors(lambda t: {k: v * 0 if ".lora_B" in k else v for k, v in t.items()})), ("scale large", "scale", dict(lora_alpha=400)),
    ("scale small", "scale", dict(lora_alpha=0.01)),
]


def pickles(name):
    folder = os.path.join(MATERIAL, "adapters", name)
    if not os.path.exists(folder):
        raise Skip("shared material is missing")
    at = folder if name == "bloom-560m" else os.path.join(folder, os.listdir(folder)[0])
    out = fresh("pickle gguf")
    words = {"lfs-pointers": ["lfs"], "loralib-roberta": ["pickle"], "bloom-560m": ["enable_lora"]}[name]
    refuses(out, words, "convert", at, out, "--to", "peft")


def real_mlx():
    folder = os.path.join(MATERIAL, "adapters", "mlx-qwen2.5-0.5b-r8")
    if not os.path.exists(folder):
        raise Skip("shared material is missing")
    said = ask("inspect", folder)
    assert said["format"] == "mlx" and len(said["sites"]) == 8 and all(x["scale"] == 10 for x in said["sites"]), said
    raw = load_file(os.path.join(folder, "adapters.safetensors"))
    for x in said["sites"]:
        a, b = (raw[f"{x['name']}.lora_{c}"].double().numpy() for c in "ab")
        norm = 10 * np.linalg.norm(a @ b)
        assert abs(x["norm_update"] - norm) <= 1e-6 * norm and x["shape"] == [b.shape[1], a.shape[0]], x


def trusted(kind):
    """Somebody edits alpha in a file that Alphar wrote: the metadata disagree, and the user says whom to believe."""
    base = base_of("llama")
    source = makers.make_peft(base, path("in", "trusted"), use_rslora=True, lora_alpha=6)
    file, _ = convert(source, kind, "trusted", base)
    if kind == "kohya":
        makers.edit_tensors(file, lambda t: {k: v * 2 if k.endswith("alpha") else v for k, v in t.items()})
    elif kind == "mlx":
        parameters = json.load(open(os.path.join(file, "adapter_config.json")))["lora_parameters"]
        makers.edit_config(file, lora_parameters={**parameters, "scale": parameters["scale"] * 2})
    else:
        makers.edit_config(file, lora_alpha=12)
    out = fresh("trusted gguf")
    refuses(out, ["--trust"], "convert", file, out, "--to", "gguf", "--model", base.folder)
    for trust, factor in (("config", 2), ("metadata", 1)):
        out = fresh(f"trust {trust} gguf")
        ask("convert", file, out, "--to", "gguf", "--model", base.folder, "--trust", trust, "--dtype", "f32")
        want = readers.read_peft(source)
        for x in want.values():
            x.s *= factor
        d, site = readers.distance(readers.read_gguf(out, base), want)
        assert d <= 1e-6, f"--trust {trust}: {site} differs by {d:.1e}"


def folded(kind):
    """--fold: the file's own scale is 1 for every site, s stands in B; an adapter of alpha 0 becomes one of zeros."""
    base = base_of("llama")
    for name, settings in (("fold", dict(use_rslora=True, lora_alpha=6, alpha_pattern={"q_proj": -2})), ("fold-zero", dict(lora_alpha=0))):
        source = makers.make_peft(base, path("in", name), **settings)
        out, said = convert(source, kind, name, base, "--fold")
        got = readers.read(out, base)
        d, site = readers.distance(got, readers.read_peft(source))
        assert d <= 1e-6, f"{site} differs by {d:.1e}"
        assert all(x.s == 1 for x in got.values()) and said["folded"] == 21, f"scales {sorted({x.s for x in got.values()})}, folded {said['folded']}"


def prove_logits():
    base = base_of("qwen2")
    shutil.copy(os.path.join(ROOT, "demo", "base", "tokenizer.json"), base.folder)
    source, out = makers.make_peft(base, path("in", "logits"), use_rslora=True), fresh("logits gguf")
    proof = ask("convert", source, out, "--to", "gguf", "--model", base.folder, "--dtype", "f32", "--prove", "logits")["proof"]
    told = {k: v for k, v in proof.items() if "logit" in k}
    assert told and all(v <= 1e-3 for v in told.values() if isinstance(v, (int, float))), f"the proof says nothing of logits: {proof}"


def configurations():
    """Real configurations, with weights of their ranks: each is read with its own s, or refused by a field that it has."""
    folder = os.path.join(MATERIAL, "adapter_configs")
    if not os.path.exists(folder):
        raise Skip("shared material is missing")
    read, why = 0, []
    for name in sorted(os.listdir(folder)):
        config, at = json.load(open(os.path.join(folder, name))), path("in", "real-" + name)
        os.makedirs(at)
        shutil.copyfile(os.path.join(folder, name), os.path.join(at, "adapter_config.json"))
        mlx = "lora_parameters" in config
        rank = config["lora_parameters"]["rank"] if mlx else config.get("r", 4)
        targets = ["self_attn.q_proj", "self_attn.v_proj"] if mlx else config.get("target_modules") or ["q_proj"]
        targets, tensors = [targets] if isinstance(targets, str) else targets, {}
        for t in targets:
            if mlx:
                tensors.update({f"model.layers.23.{t}.lora_a": torch.ones(8, rank), f"model.layers.23.{t}.lora_b": torch.ones(rank, 6)})
            else:
                root = f"base_model.model.model.layers.0.{t}."
                tensors.update({root + "lora_A.weight": torch.ones(rank, 8), root + "lora_B.weight": torch.ones(6, rank)})
        for m in config.get("modules_to_save") or []:
            tensors[f"base_model.model.{m}.weight"] = torch.ones(6, 8)
        save_file(tensors, os.path.join(at, "adapters.safetensors" if mlx else "adapter_model.safetensors"))
        r = run("inspect", at, "--json", status=None)
        if r.returncode:
            field = next((k for k in config if f"'{k}'" in r.stderr or k in r.stderr), None)
            assert r.returncode == 1 and field, f"{name}: refused for no field of it: {r.stderr.strip()[-200:]}"
            why.append(f"{name[:3]} {field}")
            continue
        want = config["lora_parameters"]["scale"] if mlx else config["lora_alpha"] / rank
        sites = json.loads(r.stdout)["sites"]
        assert len(sites) == len(targets) and all(x["scale"] == want and x["rank"] == rank for x in sites), f"{name}: wanted s {want}, rank {rank}: {sites}"
        read += 1
    assert read >= 50, f"only {read} are read; refused: {why}"
    return f"{read} read, refused {', '.join(why)}"


def bare_ids():
    """score --ids needs no tokenizer."""
    base = base_of("mistral")
    assert not os.path.exists(os.path.join(base.folder, "tokenizer.json"))
    assert len(ask("score", "--model", base.folder, "--ids", "1,5,7")["logprobs"]) == 2


for name, settings, kinds, words in REFUSALS:
    for kind in kinds:
        check(f"adapter_edges refuses {name} {kind}", refused, name, settings, kind, words)
for kind in ("peft", "mlx"):
    check(f"adapter_edges alpha zero is off {kind}", zero_is_off, kind)
for kind in FOUR:
    check(f"adapter_edges some zero {kind}", some_zero, kind)
check("adapter_edges kohya dora", kohya_dora)
for alpha in (8e6, 8e-7):
    for kind in ("gguf", "mlx"):
        check(f"adapter_edges out of range {alpha} {kind}", out_of_range, alpha, kind)
check("adapter_edges overwrite", overwrite)
for name, words, change in BROKEN:
    check(f"adapter_edges broken {name}", broken, name, words, change)
check("adapter_edges supplied alpha", supplied_alpha)
check("adapter_edges other shape", other_shape)
for name, change in ACCEPTED:
    check(f"adapter_edges accepts {name}", accepted, name, change)
check("adapter_edges gguf without alpha", gguf_without_alpha)
check("adapter_edges mlx without scale", mlx_without_scale)
for kind in ("gguf", "kohya"):
    for share in (0.02, 0.5, 0.95):
        check(f"adapter_edges cut {kind} {share}", foreign_broken, kind, share)
for case in WARNINGS:
    check(f"adapter_edges warns {case[0]}", warned, *case)
for name in ("bloom-560m", "loralib-roberta", "lfs-pointers"):
    check(f"adapter_edges refuses {name}", pickles, name)
check("adapter_edges real mlx", real_mlx)
check("adapter_edges real configurations", configurations)
for kind in ("peft", "mlx", "kohya"):
    check(f"adapter_edges trust {kind}", trusted, kind)
for kind in FOUR:
    check(f"adapter_edges fold {kind}", folded, kind)
check("adapter_edges prove logits", prove_logits)
check("adapter_edges score without tokenizer", bare_ids)
finish(WORK)
