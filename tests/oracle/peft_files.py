#!/usr/bin/env python3
"""Targets, PEFT files written and PEFT files read, compared with PEFT itself on a tiny Llama.

  peft_files.py [NAME...]     only the groups targets, written, read, trust, safetensors

Builds peft_tool.c against $BUILD/libalphar.a (BUILD: build), with $CC."""
import copy, json, math, os, re, shutil, subprocess, sys, tempfile, warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch, transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from safetensors import safe_open

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
TMP = tempfile.mkdtemp(prefix="alphar-peft-")
TOOL = os.path.join(TMP, "peft_tool")
failed = 0


def report(name, problem=None):
    global failed
    failed += problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name} {problem}", flush=True)


def build_tool():
    flags = os.environ.get("TOOL_FLAGS", "").split()
    libs = subprocess.run(["pkg-config", "--libs", "jansson", "libpcre2-8", "openblas", "lapacke"], capture_output=True, text=True, check=True).stdout.split()
    cmd = [os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O1", "-g", *flags, f"-I{ROOT}/include", f"-I{ROOT}/src", "-o", TOOL,
           f"{ROOT}/tests/oracle/peft_tool.c", f"{BUILD}/libalphar.a", *libs, "-fopenmp", "-lm"]
    subprocess.run(cmd, check=True)


def tool(*args, **kw):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, **kw)


def model(tied=False, bias=True, seed=0):
    torch.manual_seed(seed)
    c = transformers.LlamaConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=12, num_attention_heads=4, num_key_value_heads=2,
                                 vocab_size=40, max_position_embeddings=64, attention_bias=bias, mlp_bias=False, tie_word_embeddings=tied)
    m = transformers.LlamaForCausalLM(c).eval()
    with torch.no_grad():
        for n, p in m.named_parameters():
            p.normal_(0, 0.3) if "norm" not in n else p.add_(torch.randn_like(p) * 0.1)
    return m


def modules_of(m):
    out = []
    head = m.get_output_embeddings()
    for n, x in m.named_modules():
        w = getattr(x, "weight", None)
        if not isinstance(w, torch.nn.Parameter):
            continue
        kind = ("head" if x is head else "linear") if isinstance(x, torch.nn.Linear) else "embedding" if isinstance(x, torch.nn.Embedding) else "norm"
        out.append(dict(path=n, kind=kind, n_out=w.shape[0], n_in=w.shape[1] if w.ndim > 1 else 1, bias=getattr(x, "bias", None) is not None))
    return out


def write_json(name, value):
    path = os.path.join(TMP, name)
    json.dump(value, open(path, "w"))
    return path


# ---- targets ---------------------------------------------------------------------------------------------------------
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SPECS = [
    dict(target_modules=["q_proj", "v_proj"]), dict(target_modules=None), dict(target_modules=ALL), dict(target_modules="all-linear"),
    dict(target_modules="ALL-Linear"), dict(target_modules=["all-linear"]), dict(target_modules=["lm_head"]), dict(target_modules=["embed_tokens"]),
    dict(target_modules=["model.embed_tokens", "lm_head", "q_proj"]), dict(target_modules=["self_attn.q_proj"]), dict(target_modules=["attn.q_proj"]),
    dict(target_modules=["proj"]), dict(target_modules=["_proj"]), dict(target_modules=["mlp"]), dict(target_modules=["norm"]), dict(target_modules=[]),
    dict(target_modules=r".*\.q_proj"), dict(target_modules=r"model\.layers\.(0|11)\.self_attn\.[qk]_proj"), dict(target_modules=r".*self_attn.*"),
    dict(target_modules=r".*"), dict(target_modules="q_proj"), dict(target_modules=r".*(?:q|k)_proj$"), dict(target_modules=r"(?!.*layers\.1\.).*v_proj"),
    dict(target_modules=r".*_proj", exclude_modules=r".*mlp.*"), dict(target_modules=r".*layers\.[3-5]\..*down_proj"), dict(target_modules="[unclosed"),
    dict(target_modules="all-linear", exclude_modules=["down_proj", "layers.0.self_attn.q_proj"]), dict(target_modules="all-linear", exclude_modules="q_proj"),
    dict(target_modules="all-linear", exclude_modules=r".*\.(0|1)\..*"), dict(target_modules=["q_proj"], exclude_modules=["q_proj"]),
    dict(target_modules=["q_proj", "k_proj"], exclude_modules=["model.layers.3.self_attn.q_proj"]),
    dict(target_modules=["q_proj"], exclude_modules=["self_attn"]), dict(target_modules=["q_proj"], exclude_modules=[]),
    dict(target_modules=["q_proj"], layers_to_transform=[1, 11]), dict(target_modules=["q_proj"], layers_to_transform=1),
    dict(target_modules=["q_proj"], layers_to_transform=[]), dict(target_modules=["q_proj"], layers_to_transform=[99]),
    dict(target_modules=["q_proj"], layers_to_transform=0), dict(target_modules=["q_proj", "lm_head"], layers_to_transform=[0]),
    dict(target_modules=["model.layers.2.self_attn.q_proj", "v_proj"], layers_to_transform=[5]),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers"), dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=["h", "layers"]),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=["h"]), dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=[]),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="lay.*"), dict(target_modules=["q_proj"], layers_pattern="layers"),
    dict(target_modules=r".*q_proj", layers_to_transform=[1]), dict(target_modules=["layers.3.mlp.up_proj", "o_proj"], layers_to_transform=[2, 3]),
    dict(target_modules=["q_proj"], modules_to_save=["lm_head"]), dict(target_modules="all-linear", modules_to_save=["lm_head", "embed_tokens"]),
    dict(target_modules=["q_proj", "lm_head"], modules_to_save=["lm_head"]), dict(target_modules=["q_proj", "down_proj"], modules_to_save=["mlp"]),
    dict(target_modules=["q_proj"], modules_to_save=["norm"]), dict(target_modules=["q_proj"], modules_to_save=["model.norm"]),
    dict(target_modules=["q_proj"], modules_to_save=["layers.0.mlp", "input_layernorm"]), dict(target_modules=["q_proj", "v_proj"], modules_to_save=["self_attn"]),
    dict(target_modules="all-linear", modules_to_save=["layers.1"]), dict(target_modules="all-linear", modules_to_save=["layers"]),
    dict(target_modules=["q_proj", "v_proj"], modules_to_save=["layers.4.self_attn.q_proj"]),
    dict(target_modules=["q_proj"], rank_pattern={"q_proj": 2}, alpha_pattern={"q_proj": 3}),
    dict(target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2, "layers.1.self_attn.v_proj": 7}, alpha_pattern={"layers.1.self_attn.v_proj": 5, "v_proj": 3}),
    dict(target_modules=["q_proj", "v_proj"], rank_pattern={"layers.1.self_attn.v_proj": 7, "v_proj": 2}),
    dict(target_modules=ALL, rank_pattern={r"^model\.layers\.1\.self_attn\.q_proj": 3, r".*\.mlp\..*": 5}), dict(target_modules=ALL, alpha_pattern={"1.self_attn.q_proj": 1.5, "proj": 9}),
    dict(target_modules=ALL, alpha_pattern={"(q|k)_proj": 1, "[gu].*_proj": 2}), dict(target_modules=["q_proj"], rank_pattern={"self_attn": 2}),
    dict(target_modules=["q_proj", "embed_tokens"], rank_pattern={"model.embed_tokens": 2}, alpha_pattern={"embed_tokens": 64}),
    dict(target_modules=["q_proj"], use_rslora=True, rank_pattern={"layers.2.self_attn.q_proj": 9}), dict(target_modules=["q_proj"], alpha_pattern={"([": 9}),
    dict(target_modules=["q_proj"], bias="all"), dict(target_modules=["q_proj", "up_proj"], bias="lora_only"), dict(target_modules=["nothing", "typo"]),
    dict(target_modules=["q_proj", "typo"]), dict(target_modules=["model.layers.0.self_attn.q_proj"]), dict(target_modules=["o"]), dict(target_modules=["0"]),
]
# Where Alphar stops and PEFT goes on without a word, on purpose.
STRICTER = [dict(target_modules=["q_proj"], modules_to_save=["nothing"])]


def by_peft(base, spec):
    """{"pairs": {path: [r, alpha, s]}, "whole": [...]} or None where PEFT refuses."""
    try:
        m = get_peft_model(copy.deepcopy(base), LoraConfig(**{**dict(r=4, lora_alpha=8, task_type="CAUSAL_LM"), **spec}))
    except Exception:
        return None
    pairs, whole = {}, set()
    for n, x in m.base_model.model.named_modules():
        if hasattr(x, "lora_A") and "default" in x.scaling:
            pairs[n] = [x.r["default"], x.lora_alpha["default"], x.scaling["default"]]
    for n, p in m.base_model.model.named_parameters():
        if not p.requires_grad or ".lora_" in n:
            continue
        whole.add(n.replace(".modules_to_save.default", "").replace(".base_layer", ""))
    return dict(pairs=pairs, whole=sorted(whole))


def same(a, b):
    if a is None or b is None:
        return a is None and b is None
    if set(a["pairs"]) != set(b["pairs"]) or sorted(a["whole"]) != sorted(b["whole"]):
        return False
    return all(x[0] == b["pairs"][k][0] and x[1] == b["pairs"][k][1] and math.isclose(x[2], b["pairs"][k][2], rel_tol=1e-15) for k, x in a["pairs"].items())


def test_targets():
    for tied in (False, True):
        base = model(tied)
        mods = write_json("modules.json", modules_of(base))
        specs = SPECS + STRICTER
        lines = "".join(json.dumps({**dict(peft_type="LORA", r=4, lora_alpha=8), **s}) + "\n" for s in specs)
        got = [json.loads(x) for x in tool("targets", mods, input=lines, check=True).stdout.splitlines()]
        for spec, g in zip(specs, got):
            name = f"targets{'-tied' if tied else ''} {json.dumps(spec)}"
            mine = None if "error" in g else g
            want = by_peft(base, spec)
            if spec in STRICTER:
                report(name, None if mine is None else "expected an error")
                continue
            ok = same(mine, want)
            # What we would write must select the same modules again.
            if ok and mine and mine["targets"]:
                again = by_peft(base, {**spec, "target_modules": mine["targets"]})
                ok = again is not None and set(again["pairs"]) == set(mine["pairs"])
            report(name, None if ok else f"ours {str(g)[:300]} PEFT {str(want)[:300]}")


# ---- files -----------------------------------------------------------------------------------------------------------
CONFIGS = {
    "plain": dict(target_modules=["q_proj", "v_proj"]), "rslora": dict(target_modules="all-linear", use_rslora=True, lora_alpha=5),
    "dora": dict(target_modules=["q_proj", "up_proj"], use_dora=True), "dora-rslora": dict(target_modules=ALL, use_dora=True, use_rslora=True),
    "patterns": dict(target_modules=ALL, rank_pattern={"q_proj": 2, r".*\.1\.mlp\..*": 7}, alpha_pattern={"down_proj": 1.5, "layers.10.self_attn.k_proj": 3}),
    "rank-pattern-rslora": dict(target_modules=["q_proj", "k_proj"], rank_pattern={"q_proj": 2}, use_rslora=True),
    "embedding": dict(target_modules=["embed_tokens", "q_proj"]), "embedding-dora": dict(target_modules=["embed_tokens", "q_proj"], use_dora=True),
    "head": dict(target_modules=["lm_head", "q_proj"]), "save-head": dict(target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "save-both": dict(target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens"]), "save-norm": dict(target_modules=["q_proj"], modules_to_save=["model.norm", "layers.2.mlp"]),
    "bias-all": dict(target_modules=["q_proj", "up_proj"], bias="all"), "bias-lora-only": dict(target_modules=["q_proj", "v_proj"], bias="lora_only"),
    "lora-bias": dict(target_modules=["q_proj", "v_proj"], lora_bias=True), "regex": dict(target_modules=r".*layers\.[2-4]\..*_proj", exclude_modules=r".*\.o_proj"),
    "layers": dict(target_modules=["q_proj", "v_proj"], layers_to_transform=[0, 11], layers_pattern="layers"), "alpha-zero": dict(target_modules=["q_proj"], lora_alpha=0),
    "alpha-fractional": dict(target_modules=["q_proj"], lora_alpha=0.3), "alpha-negative": dict(target_modules=["q_proj"], lora_alpha=-4), "dropout": dict(target_modules=["q_proj"], lora_dropout=0.05),
    "exclude": dict(target_modules="all-linear", exclude_modules=["down_proj"]), "pattern-anchored": dict(target_modules=["q_proj"], rank_pattern={r"^model\.layers\.1\.self_attn\.q_proj": 3}),
}
IDS = torch.randint(0, 40, (2, 12), generator=torch.Generator().manual_seed(3))


def logits(m):
    with torch.no_grad():
        return m.eval()(input_ids=IDS).logits.double()


def unescape(pattern):
    return re.sub(r"\\(.)", r"\1", pattern[1:])


def by_formula(base, folder):
    """The base with s·BA folded in by ALPHA's formulas, straight from the file: no PEFT."""
    m = copy.deepcopy(base).double()
    t = {k.removeprefix("base_model.model."): v.double() for k, v in load_file(f"{folder}/adapter_model.safetensors").items()}
    cfg = json.load(open(f"{folder}/adapter_config.json"))
    for k in t:
        if ".lora_" not in k and m.config.tie_word_embeddings and k == "lm_head.weight":
            m.lm_head.weight = torch.nn.Parameter(m.lm_head.weight.detach().clone())
    if m.config.tie_word_embeddings and any("embed_tokens" in k or "lm_head" in k for k in t):
        m.lm_head.weight = torch.nn.Parameter(m.lm_head.weight.detach().clone())
    params = dict(m.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for k, v in t.items():
            if ".lora_" not in k:
                params[k.replace(".base_layer", "")].copy_(v)
        for k, a in t.items():
            e = k.endswith(".lora_embedding_A")
            if not e and not k.endswith(".lora_A.weight"):
                continue
            site = k.rsplit(".lora_", 1)[0]
            b = t[f"{site}.lora_embedding_B" if e else f"{site}.lora_B.weight"]
            r, al = a.shape[0], cfg["lora_alpha"]
            assert r == next((x for p, x in cfg["rank_pattern"].items() if unescape(p) == site), cfg["r"])
            al = next((x for p, x in cfg["alpha_pattern"].items() if unescape(p) == site), al)
            s = al / (math.sqrt(r) if cfg["use_rslora"] else r)
            w = params[f"{site}.weight"]
            new = w + s * ((b @ a).T if e else b @ a)
            if f"{site}.lora_magnitude_vector" in t:
                mag = t[f"{site}.lora_magnitude_vector"]
                new = mag * new / new.norm(dim=0, keepdim=True) if e else mag[:, None] * new / new.norm(dim=1, keepdim=True)
            w.copy_(new)
            if f"{site}.lora_B.bias" in t:
                params[f"{site}.bias"].add_(s * t[f"{site}.lora_B.bias"])
    return m


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_written():
    for tied in (False, True):
        base = model(tied)
        mods = write_json("modules.json", modules_of(base))
        for name, c in CONFIGS.items():
            full = f"written{'-tied' if tied else ''} {name}"
            out = os.path.join(TMP, full.replace(" ", "-"))
            cfg = write_json("c.json", {**dict(peft_type="LORA", r=4, lora_alpha=8, base_model_name_or_path="tiny"), **c})
            r = tool("build", mods, cfg, out)
            if r.returncode:
                report(full, r.stderr.strip())
                continue
            try:
                peft = PeftModel.from_pretrained(copy.deepcopy(base).double(), out)
                got, want = logits(peft), logits(by_formula(base, out))
                plain = logits(copy.deepcopy(base).double())
                d, moved = distance(got, want), distance(got, plain)
                meta = safe_open(f"{out}/adapter_model.safetensors", "pt").metadata()
                scales = json.loads(meta["alphar.scales"])
                live = {n: x.scaling["default"] for n, x in peft.base_model.model.named_modules() if hasattr(x, "lora_A")}
                wrong = [n for n in live if not math.isclose(live[n], scales[n], rel_tol=1e-15)]
                bad = None
                if d > 1e-6: bad = f"logits differ by {d:.2e}"
                elif (moved < 1e-4) != (name == "alpha-zero"): bad = f"the adapter moves the logits by {moved:.2e}"
                elif set(live) != set(scales) or wrong: bad = f"scales {wrong[:3]}"
                elif meta["format"] != "pt" or meta["alphar.train.lr"] != "0.0002": bad = "metadata"
                report(full, bad)
            except Exception as e:
                report(full, f"{type(e).__name__} {str(e)[:400]!r}")


def test_read():
    for tied in (False, True):
        base = model(tied)
        base.name_or_path = ""
        for name, c in CONFIGS.items():
            full = f"read{'-tied' if tied else ''} {name}"
            src, out = (os.path.join(TMP, full.replace(" ", "-") + x) for x in ("", "-again"))
            torch.manual_seed(1)
            peft = get_peft_model(copy.deepcopy(base), LoraConfig(**{**dict(r=4, lora_alpha=8, task_type="CAUSAL_LM"), **c}))
            with torch.no_grad():
                for n, p in peft.named_parameters():
                    if p.requires_grad:
                        p.add_(torch.randn_like(p) * 0.1)
            peft.save_pretrained(src)
            r = tool("resave", src, out)
            if r.returncode:
                report(full, r.stderr.strip())
                continue
            try:
                a, b = load_file(f"{src}/adapter_model.safetensors"), load_file(f"{out}/adapter_model.safetensors")
                a = {k: v for k, v in a.items() if not k.endswith(".base_layer.weight")}
                bad = None
                if set(a) != set(b): bad = f"keys {sorted(set(a) ^ set(b))[:4]}"
                elif not all(torch.equal(a[k].float().flatten(), b[k].flatten()) for k in a): bad = "values"
                else:
                    again = PeftModel.from_pretrained(copy.deepcopy(base), out)
                    d = distance(logits(again), logits(peft))
                    if d > 1e-6: bad = f"logits differ by {d:.2e}"
                report(full, bad)
            except Exception as e:
                report(full, f"{type(e).__name__} {str(e)[:400]!r}")


def test_trust():
    base = model()
    mods = write_json("modules.json", modules_of(base))
    src = os.path.join(TMP, "trust")
    cfg = write_json("c.json", dict(peft_type="LORA", r=4, lora_alpha=8, target_modules=["q_proj"]))
    tool("build", mods, cfg, src, check=True)
    path = f"{src}/adapter_config.json"
    c = json.load(open(path))
    json.dump({**c, "lora_alpha": 16}, open(path, "w"))
    r = tool("show", src)
    report("trust refused", None if r.returncode == 1 and "--trust config" in r.stderr and "s = 2" in r.stderr else r.stderr)
    for trust, s in (("config", 4.0), ("metadata", 2.0)):
        out = f"{src}-{trust}"
        r = tool("resave", src, out, trust)
        got = {x[2] for x in json.loads(r.stdout)["pairs"].values()} if not r.returncode else r.stderr
        again = tool("show", out)
        report(f"trust {trust}", None if got == {s} and again.returncode == 0 else f"{got} {again.stderr}")


def test_safetensors():
    """Our writer's bytes are the reference library's."""
    base = model()
    mods = write_json("modules.json", modules_of(base))
    out = os.path.join(TMP, "st")
    tool("build", mods, write_json("c.json", dict(peft_type="LORA", r=4, lora_alpha=8, target_modules=["q_proj", "k_proj"])), out, check=True)
    f = f"{out}/adapter_model.safetensors"
    meta = safe_open(f, "pt").metadata()
    save_file(load_file(f), f"{out}/ref.safetensors", metadata=meta)
    def parts(path):
        raw = open(path, "rb").read()
        n = int.from_bytes(raw[:8], "little")
        head = raw[8:8 + n].decode()
        end = json.JSONDecoder().raw_decode(head, head.index(":") + 1)[1]  # the reference library's order of metadata is random
        return n, head.index("__metadata__"), head[end:], raw[8 + n:]
    report("safetensors layout", None if parts(f) == parts(f"{out}/ref.safetensors") else "differs from the reference library's")


GROUPS = dict(targets=test_targets, written=test_written, read=test_read, trust=test_trust, safetensors=test_safetensors)
try:
    build_tool()
    for g in sys.argv[1:] or GROUPS:
        GROUPS[g]()
finally:
    shutil.rmtree(TMP, ignore_errors=True)
sys.exit(failed > 0)
