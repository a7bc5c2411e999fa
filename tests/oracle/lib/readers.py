"""Readers of the four adapter formats, written from the definitions of the formats' own readers and sharing nothing with Alphar:
PEFT 0.21 (LoraConfig, get_delta_weight), llama.cpp (llama-adapter.cpp), mlx-lm (tuner/utils.py, lora.py), kohya (networks/lora.py).

Each gives {site: Site} with Hugging Face module paths; Site.delta is s·B·A in f64, in the orientation of the weight: [n_out, n_in],
and [vocabulary, dim] for an embedding."""
import json, math, os, re
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file


@dataclass
class Site:
    a: np.ndarray  # [r, n_in]; embedding: [r, vocabulary]
    b: np.ndarray  # [n_out, r]; embedding: [dim, r]
    s: float
    m: np.ndarray = None  # DoRA's magnitudes
    embedding: bool = False
    alpha: float = None
    extra: dict = field(default_factory=dict)

    @property
    def rank(self):
        return self.b.shape[1]

    @property
    def delta(self):
        d = self.s * (self.b @ self.a)
        return d.T if self.embedding else d


def numpy64(t):
    return t.to(torch.float64).numpy()


# ---- PEFT ------------------------------------------------------------------------------------------------------------
def matched(patterns, path):
    """PEFT's rule: the first key, in the order of the file, that ends the path at a dot."""
    return next((k for k in patterns or {} if re.match(rf"(.*\.)?({k})$", path)), None)


def peft_scale(config, path, rank):
    alpha = config["lora_alpha"]
    key = matched(config.get("alpha_pattern"), path)
    if key is not None:
        alpha = config["alpha_pattern"][key]
    return alpha, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


PEFT_KEY = re.compile(r"^base_model\.model\.(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(\.default)?(\.weight|\.bias)?$")


def read_peft(folder):
    config = json.load(open(os.path.join(folder, "adapter_config.json")))
    parts, whole = {}, {}
    for key, t in load_file(os.path.join(folder, "adapter_model.safetensors")).items():
        m = PEFT_KEY.match(key)
        if m:
            parts.setdefault(m[1], {})[m[2] + (m[4] if m[4] == ".bias" else "")] = numpy64(t)
        else:
            whole[key.removeprefix("base_model.model.")] = numpy64(t)
    sites = {}
    for path, p in parts.items():
        embedding = "lora_embedding_A" in p
        a, b = (p["lora_embedding_A"], p["lora_embedding_B"]) if embedding else (p["lora_A"], p["lora_B"])
        key, rank = matched(config.get("rank_pattern"), path), a.shape[0]
        told = config["rank_pattern"][key] if key is not None else config["r"]
        assert told == rank and b.shape[1] == rank, f"{path}: the configuration says rank {told}, A has {rank} rows, B {b.shape[1]} columns"
        alpha, s = peft_scale(config, path, rank)
        extra = {"bias": p["lora_B.bias"]} if "lora_B.bias" in p else {}
        sites[path] = Site(a, b, s, p.get("lora_magnitude_vector"), embedding, alpha, extra)
    return Sites(sites, whole)


class Sites(dict):
    """{site: Site}, and the whole tensors of the file beside them."""

    def __init__(self, sites, whole=None):
        super().__init__(sites)
        self.whole = whole or {}


# ---- GGUF ------------------------------------------------------------------------------------------------------------
GGUF_ARCH = dict(llama="LLAMA", mistral="LLAMA", qwen2="QWEN2", qwen3="QWEN3", gemma="GEMMA", gemma2="GEMMA2", gemma3_text="GEMMA3", gemma4_text="GEMMA4", phi3="PHI3",
                 gpt2="GPT2", gpt_neox="GPTNEOX", bloom="BLOOM", ministral3="MISTRAL3", smollm3="SMOLLM3", granite="GRANITE", olmo2="OLMO2", olmo3="OLMO2",
                 exaone4="EXAONE4", glm4="GLM4", cohere2="COHERE2", stablelm="STABLELM", starcoder2="STARCODER2", nemotron="NEMOTRON", apertus="APERTUS",
                 hunyuan_v1_dense="HUNYUAN_DENSE", seed_oss="SEED_OSS", ernie4_5="ERNIE4_5", phi="PHI2", lfm2="LFM2")


def gguf_names(base):
    """{name in the GGUF base: path}, by the table of the gguf package."""
    import gguf
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH[GGUF_ARCH[base.type]], base.layers)
    return {table.get_name(path): path for path in base.modules if table.get_name(path)}


def hf_rows(base, path):
    """rows[i]: where row i of the Hugging Face weight stands in the GGUF base's weight; None where they agree."""
    n_out = base.modules[path][1]
    if base.type in ("llama", "mistral", "ministral3", "smollm3", "granite") and path.endswith(("q_proj", "k_proj")):
        heads = base.heads if path.endswith("q_proj") else base.kv_heads
        half = n_out // heads // 2  # HF [head, half, i] stands at [head, i, half]
        return np.arange(n_out).reshape(heads, half, 2).swapaxes(1, 2).reshape(-1)
    if base.type in ("gpt_neox", "bloom") and path.endswith("query_key_value"):
        size = n_out // base.heads // 3  # HF [head, q|k|v, i] stands at [q|k|v, head, i]
        return np.arange(n_out).reshape(3, base.heads, size).swapaxes(0, 1).reshape(-1)
    return None


def read_gguf(file, base):
    import gguf
    reader = gguf.GGUFReader(file)
    value = lambda key: reader.fields[key].contents() if key in reader.fields else None
    assert value("general.type") == "adapter" and value("adapter.type") == "lora", "not a LoRA adapter"
    arch = gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[GGUF_ARCH[base.type]]]
    assert value("general.architecture") == arch, f"architecture {value('general.architecture')}, llama.cpp wants {arch}"
    assert reader.fields["adapter.lora.alpha"].types == [gguf.GGUFValueType.FLOAT32], "llama.cpp aborts when adapter.lora.alpha is not f32"
    alpha, names, parts = value("adapter.lora.alpha"), gguf_names(base), {}
    for t in reader.tensors:
        name, _, side = t.name.rpartition(".")
        assert side in ("lora_a", "lora_b") and name.endswith(".weight"), f"llama.cpp refuses tensor {t.name}"
        data = gguf.dequantize(t.data, t.tensor_type).astype(np.float64).reshape([int(n) for n in reversed(t.shape)])
        parts.setdefault(name.removesuffix(".weight"), {})[side] = data
    sites = {}
    for name, p in parts.items():
        path, a, b = names[name], p["lora_a"], p["lora_b"]
        rank = b.shape[1]
        s = alpha / rank if alpha else 1.0
        embedding = base.modules[path][0] == "embedding"
        if embedding:
            a = a.T
        else:
            rows = hf_rows(base, path)
            b = b if rows is None else b[rows]
        assert a.shape[0] == rank, f"{name}: llama.cpp refuses ranks {a.shape[0]} and {rank}"
        want = (base.modules[path][2], base.modules[path][1]) if embedding else base.modules[path][1:]
        assert (b.shape[0], a.shape[1]) == tuple(want), f"{name}: llama.cpp refuses shapes {b.shape} {a.shape}"
        sites[path] = Site(a, b, s, None, embedding, alpha)
    return Sites(sites)


# ---- MLX -------------------------------------------------------------------------------------------------------------
def mlx_name(base, path):
    """The module's path in mlx-lm's model of the family."""
    if base.type == "gpt2":
        return path.replace("transformer.", "model.", 1)
    if base.type == "gpt_neox":
        if path == "embed_out":
            return "model.embed_out"
        return path.replace("gpt_neox.layers.", "model.h.", 1).replace("gpt_neox.", "model.", 1)
    return path


def mlx_sites(base, config):
    """{mlx name: path} of the modules that mlx-lm turns into LoRA layers for this configuration."""
    block = re.compile(r"^(model\.(?:layers|h)\.(\d+))\.(.+)$")
    keys = config["lora_parameters"].get("keys")
    last, found = config["num_layers"], {}
    first = base.layers - last if last > 0 else 0
    for path, (kind, _, _) in base.modules.items():
        if kind == "head" and base.tied and base.type != "gemma3_text":
            continue  # its tied head is the embedding's as_linear: no module
        name = mlx_name(base, path)
        m = block.match(name)
        if m and int(m[2]) >= first and (keys is None or m[3] in keys):
            found[name] = path
        elif keys is not None and name in keys:
            found[name] = path
    return found


def read_mlx(folder, base):
    config = json.load(open(os.path.join(folder, "adapter_config.json")))
    par, kind = config["lora_parameters"], config.get("fine_tune_type", "lora")
    assert kind in ("lora", "dora"), f"fine_tune_type {kind}"
    par["rank"], par["scale"], par["dropout"]  # mlx-lm fails without them
    names, parts = mlx_sites(base, config), {}
    file = os.path.join(folder, "adapters.safetensors")
    tensors = load_file(file) if os.path.exists(file) else {k: torch.from_numpy(v) for k, v in np.load(os.path.join(folder, "adapters.npz")).items()}
    for key, t in tensors.items():
        name, _, side = key.rpartition(".")
        assert side in ("lora_a", "lora_b") or (side == "m" and kind == "dora"), f"mlx-lm has no parameter {key}"
        assert name in names, f"mlx-lm does not instantiate {name}: its tensors are dropped or refused"
        parts.setdefault(names[name], {})[side] = numpy64(t)
    sites = {}
    for path, p in parts.items():
        embedding = base.modules[path][0] == "embedding"
        n_out, n_in = base.modules[path][1:]
        b, a = p["lora_b"].T, p["lora_a"].T
        want = (n_in, n_out) if embedding else (n_out, n_in)
        assert (b.shape[0], a.shape[1]) == want, f"{path}: shapes {b.shape} {a.shape}"
        assert a.shape[0] == b.shape[1] == par["rank"], f"{path}: rank {a.shape[0]}, mlx-lm instantiates {par['rank']}"
        assert (kind == "dora") == ("m" in p), f"{path}: magnitudes"
        sites[path] = Site(a, b, par["scale"], p.get("m"), embedding)
    missing = set(names.values()) - set(sites)
    assert not missing or kind == "lora", f"DoRA sites without weights {sorted(missing)[:3]}"
    return Sites(sites)


# ---- kohya -----------------------------------------------------------------------------------------------------------
def kohya_names(base):
    names = {}
    for path in base.modules:
        name = "lora_te_" + path.replace(".", "_")
        assert name not in names, f"{name} is ambiguous"
        names[name] = path
    return names


def read_kohya(file, base=None):
    """With a base: its paths; without one the names of the file."""
    parts = {}
    for key, t in load_file(file).items():
        name, _, rest = key.partition(".")
        assert rest in ("lora_down.weight", "lora_up.weight", "alpha"), f"no LoRA tensor of kohya: {key}"
        parts.setdefault(name, {})[rest] = numpy64(t.to(torch.float32) if rest == "alpha" else t)
    names, sites = kohya_names(base) if base else None, {}
    for name, p in parts.items():
        down, up = p["lora_down.weight"], p["lora_up.weight"]
        rank = down.shape[0]
        alpha = float(p["alpha"]) if "alpha" in p else None
        s = alpha / rank if alpha else 1.0  # None and 0 mean the rank
        path = names[name] if names else name
        embedding = bool(base) and base.modules[path][0] == "embedding"
        sites[path] = Site(down.reshape(rank, -1), up.reshape(up.shape[0], rank), s, None, embedding, alpha, dict(down=down.shape, up=up.shape))
    return Sites(sites)


def read(path, base=None):
    if os.path.isfile(path):
        return read_gguf(path, base) if path.endswith(".gguf") else read_kohya(path, base)
    return read_peft(path) if os.path.exists(os.path.join(path, "adapter_model.safetensors")) else read_mlx(path, base)


def metadata(file):
    with safe_open(file, "pt") as f:
        return f.metadata() or {}


def distance(x, y):
    """The worst relative Frobenius difference of s·B·A over the sites of y, and its site; sites that differ are an error."""
    assert set(x) == set(y), f"sites differ: {sorted(set(x) ^ set(y))[:4]}"
    worst = (0.0, "")
    for path in y:
        a, b = x[path].delta, y[path].delta
        assert a.shape == b.shape, f"{path}: shapes {a.shape} {b.shape}"
        norm = np.linalg.norm(b)
        worst = max(worst, (float(np.linalg.norm(a - b) / norm if norm else np.linalg.norm(a)), path))
    return worst
