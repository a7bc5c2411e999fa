"""Makers of test adapters in all four formats, seeded; written with PEFT, safetensors, numpy and the gguf package, never with Alphar."""
import json, os, re, warnings

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from . import readers

warnings.filterwarnings("ignore")
import peft

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS = {"glm4": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"], "phi": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
           "starcoder2": ["q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"], "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], "gpt2": ["c_attn", "c_proj", "c_fc"],
           "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"], "bloom": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]}


def targets_of(base):
    return TARGETS.get(base.type, ALL)


# ---- PEFT ------------------------------------------------------------------------------------------------------------
def make_peft(base, folder, seed=1, dtype="float32", moved=0.3, model=None, **settings):
    """A PEFT adapter whose pairs, magnitudes, biases and whole tensors all moved from their start; saved by PEFT."""
    settings = {**dict(r=4, lora_alpha=8, target_modules=targets_of(base), task_type="CAUSAL_LM", fan_in_fan_out=base.type == "gpt2"), **settings}
    torch.manual_seed(seed)  # PEFT draws A from torch's own generator, whatever was drawn before
    model = peft.get_peft_model(model or base.load(), peft.LoraConfig(**settings))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                wide = moved if ".lora_" in name and "magnitude" not in name else 0.1
                p.add_(torch.randn(p.shape, generator=generator) * wide)
    model.save_pretrained(folder)
    if dtype != "float32":
        edit_tensors(folder, lambda t: {k: v.to(getattr(torch, dtype)) for k, v in t.items()})
    return folder


def edit_tensors(folder, change):
    path = folder if os.path.isfile(folder) else os.path.join(folder, "adapter_model.safetensors")
    save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path, metadata=readers.metadata(path))


def edit_config(folder, **values):
    """Sets fields; a value of ... removes one."""
    path = os.path.join(folder, "adapter_config.json")
    config = {**json.load(open(path)), **values}
    json.dump({k: v for k, v in config.items() if v is not ...}, open(path, "w"), indent=2)


def peft_logits(base, folder, ids, dtype=torch.float64, weight=1.0):
    """Logits [T, V] of PEFT's own forward over base + adapter; without a folder the base's."""
    model = base.load()
    if folder:
        model = peft.PeftModel.from_pretrained(model, folder)
        if weight != 1.0:
            for m in model.modules():
                if hasattr(m, "scaling"):
                    m.scaling = {k: v * weight for k, v in m.scaling.items()}
    model = model.to(dtype).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0].double().numpy()


def peft_deltas(base, folder):
    """{site: s·B·A} as PEFT computes it, in f64 and in the orientation of Site.delta."""
    model = peft.PeftModel.from_pretrained(base.load(), folder).double()
    out = {}
    for path, m in model.base_model.model.named_modules():
        if hasattr(m, "get_delta_weight"):
            d = m.get_delta_weight("default").detach().numpy()
            out[path] = d.T if getattr(m, "fan_in_fan_out", False) else d
    return out


def random_pairs(base, paths, rank=4, seed=1):
    """{path: (A, B)} f32; rank a number or {path: number}."""
    rng, out = np.random.default_rng(seed), {}
    for path in paths:
        kind, n_out, n_in = base.modules[path]
        r = rank[path] if isinstance(rank, dict) else rank
        n_out, n_in = (n_in, n_out) if kind == "embedding" else (n_out, n_in)
        out[path] = (rng.normal(0, 0.3, (r, n_in)).astype(np.float32), rng.normal(0, 0.3, (n_out, r)).astype(np.float32))
    return out


def linears(base, layers=None):
    return [p for p, (kind, _, _) in base.modules.items() if kind in ("linear", "conv1d") and (layers is None or any(f".{n}." in p for n in layers))]


# ---- kohya -----------------------------------------------------------------------------------------------------------
def save_kohya(file, modules, metadata=None, alpha_dtype=torch.float32):
    """modules: {name: (down, up, alpha or None)}."""
    tensors = {}
    for name, (down, up, alpha) in modules.items():
        tensors[f"{name}.lora_down.weight"] = torch.as_tensor(np.ascontiguousarray(down))
        tensors[f"{name}.lora_up.weight"] = torch.as_tensor(np.ascontiguousarray(up))
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha, dtype=alpha_dtype)
    save_file(tensors, file, metadata=metadata)
    return file


def make_kohya(base, file, seed=1, alpha=2.0, rank=4, metadata=None, alpha_dtype=torch.float32):
    """A language model's adapter in kohya's layout."""
    modules = {}
    for path, (a, b) in random_pairs(base, linears(base), rank, seed).items():
        modules["lora_te_" + path.replace(".", "_")] = (a, b, alpha)
    return save_kohya(file, modules, metadata, alpha_dtype)


DIFFUSION = [("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", (32, 32), None),
             ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0", (32, 32), None),
             ("lora_unet_down_blocks_0_attentions_0_proj_in", (32, 24), (1, 1)), ("lora_unet_down_blocks_0_resnets_0_conv1", (24, 12), (3, 3)),
             ("lora_unet_mid_block_resnets_1_conv2", (40, 24), (3, 3)), ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", (28, 28), None),
             ("lora_te_text_model_encoder_layers_0_mlp_fc1", (56, 28), None)]


def make_diffusion(file, seed=1, alpha=4.0, rank=4, alpha_dtype=torch.float16, dtype=np.float32):
    """UNet and text encoder names, 1×1 and 3×3 convolutions, one site without alpha."""
    rng, modules = np.random.default_rng(seed), {}
    for i, (name, (n_out, n_in), kernel) in enumerate(DIFFUSION):
        r = rank + 2 if kernel == (3, 3) else rank
        down = rng.normal(0, 0.3, (r, n_in, *(kernel or ()))).astype(dtype)
        up = rng.normal(0, 0.3, (n_out, r, *((1, 1) if kernel else ()))).astype(dtype)
        modules[name] = (down, up, None if i == 1 else alpha)
    return save_kohya(file, modules, {"ss_network_dim": str(rank), "ss_network_alpha": str(alpha), "ss_network_module": "networks.lora"}, alpha_dtype)


# ---- MLX -------------------------------------------------------------------------------------------------------------
def make_mlx(base, folder, paths=None, seed=1, scale=10.0, rank=4, num_layers=-1, keys="relative", npz=False, dora=False):
    """keys: relative (block-relative names), full (module paths) or None."""
    os.makedirs(folder, exist_ok=True)
    paths = paths or linears(base)
    tensors = {}
    weights = base.weights() if dora else None
    for path, (a, b) in random_pairs(base, paths, rank, seed).items():
        name = readers.mlx_name(base, path)
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
        if dora:
            w = base.weight(path, weights)
            tensors[f"{name}.m"] = (np.linalg.norm(w, axis=1) * np.random.default_rng(seed + 1).uniform(0.8, 1.2, len(w))).astype(np.float32)
    names = [readers.mlx_name(base, p) for p in paths]
    keys = {None: None, "full": names, "relative": sorted({re.sub(r"^model\.(layers|h)\.\d+\.", "", n) for n in names})}[keys]
    parameters = dict(rank=rank, scale=scale, dropout=0.0, alpha=2 * rank, **({} if keys is None else {"keys": keys}))
    json.dump(dict(fine_tune_type="dora" if dora else "lora", num_layers=num_layers, lora_parameters=parameters, model="tiny"),
              open(os.path.join(folder, "adapter_config.json"), "w"))
    if npz:
        np.savez(os.path.join(folder, "adapters.npz"), **tensors)
    else:
        save_file({k: torch.from_numpy(v) for k, v in tensors.items()}, os.path.join(folder, "adapters.safetensors"))
    return folder


# ---- GGUF ------------------------------------------------------------------------------------------------------------
def make_gguf(base, file, paths=None, seed=1, alpha=6.0, rank=4, dtype=np.float32, big_endian=False):
    import gguf
    order = gguf.GGUFEndian.BIG if big_endian else gguf.GGUFEndian.LITTLE
    w = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[readers.GGUF_ARCH[base.type]]], endianess=order)
    w.add_type("adapter")
    w.add_string("adapter.type", "lora")
    if alpha is not None:
        w.add_float32("adapter.lora.alpha", alpha)
    names = {path: name for name, path in readers.gguf_names(base).items()}
    for path, (a, b) in random_pairs(base, paths or linears(base), rank, seed).items():
        rows = readers.hf_rows(base, path)
        if rows is not None:
            stored = np.empty_like(b)
            stored[rows] = b
            b = stored
        if base.modules[path][0] == "embedding":
            a = np.ascontiguousarray(a.T)
        w.add_tensor(f"{names[path]}.weight.lora_a", a.astype(dtype))
        w.add_tensor(f"{names[path]}.weight.lora_b", b.astype(dtype))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return file


def expected_pairs(base, s, paths=None, rank=4, seed=1):
    """What a reader must find in a file of the makers above: {path: Site}."""
    out = {}
    for path, (a, b) in random_pairs(base, paths or linears(base), rank, seed).items():
        out[path] = readers.Site(a.astype(np.float64), b.astype(np.float64), s, None, base.modules[path][0] == "embedding")
    return readers.Sites(out)
