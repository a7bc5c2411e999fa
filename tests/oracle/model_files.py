#!/usr/bin/env python3
"""`alphar quantize` and `alphar convert` of whole models beside those who define the files: llama.cpp's converter (key-values, tensors and
vocabulary of a GGUF file), gguf-py and libggml (bytes of its types), transformers and bitsandbytes (folders)."""
import json, os, shutil, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
import transformers as tf
from lib import bases, llama, llama_converter
from lib.llama_converter import CASES, SIZES, VOCABULARY, convert
from lib.program import MATERIAL, Skip, ask, check, finish, run, workspace

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
STORIES = os.path.dirname(VOCABULARY)
IDS = [1] + [(37 * i) % 480 + 20 for i in range(59)]


def skip(why):
    print(f"skip model_files {why}")
    finish(WORK)


if llama_converter.missing():
    skip(llama_converter.missing())
import gguf


def keys(file):
    return {k: f.contents() for k, f in gguf.GGUFReader(file).fields.items() if not k.startswith("GGUF.")}


def kinds(file):
    return {k: [int(t) for t in f.types] for k, f in gguf.GGUFReader(file).fields.items() if not k.startswith("GGUF.")}


def tensors(file):
    return {t.name: t for t in gguf.GGUFReader(file).tensors}


def score(model, *flags):
    return np.array(ask("score", "--model", model, "--ids", ",".join(map(str, IDS)), "--compute", "f32", *flags)["logprobs"])


def make(name, *extra, **settings):
    folder = path(name.replace(" ", "-"))
    if not os.path.exists(folder):
        bases.make(name, folder, config=CASES[name], **settings)
        for f in ("tokenizer.json", "tokenizer_config.json", *extra):
            shutil.copy(os.path.join(STORIES, f), folder)
    return folder


# Ours alone: what wrote the file; values that llama.cpp's converter leaves to the defaults of llama.cpp's code.
OURS = {"alphar.quantize", "alphar.convert", "general.file_type"}
DEFAULTS = ("vocab_size", "rope.dimension_count", "rope.freq_base", "attention.key_length", "attention.value_length", "attention.head_count_kv",
            "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.freq_base_swa", "attention.scale", "rope.scaling.original_context_length")
# The converter's alone: names made from the folder's, rope.scaling.type "none", and what else changes nothing.
THEIRS = {"nemotron.attention.layer_norm_rms_epsilon", "general.name", "general.version", "general.size_label", "general.basename", "general.finetune", "general.quantization_version", "general.tags", "general.license"}


def compare_keys(ours, theirs, kinds_of, skipped=("tokenizer.",)):
    arch = ours["general.architecture"]
    assert arch == theirs["general.architecture"], f"{arch}"
    for k, v in theirs.items():
        if k in THEIRS or k.startswith(skipped) or (k.endswith(".rope.scaling.type") and v == "none"):
            continue
        assert k in ours, f"{k} = {v!r} is missing"
        same = np.allclose(ours[k], v, rtol=1e-6) if isinstance(v, float) else ours[k] == v
        assert same, f"{k} is {ours[k]!r}, the converter has {v!r}"
        assert kinds_of[0][k] == kinds_of[1][k], f"{k} has type {kinds_of[0][k]}, the converter's {kinds_of[1][k]}"
    more = [k for k in ours if k not in theirs and k not in OURS and not k.startswith(skipped) and k not in THEIRS]
    odd = [k for k in more if k.removeprefix(arch + ".") not in DEFAULTS]
    assert not odd, f"more than the converter: {odd}"
    return len(more)


def family(name):
    """Key-values and tensors in F32 as the converter's; what the file answers as what the folder does."""
    folder, file, wanted = make(name), path(name + ".gguf"), path(name + "-wanted.gguf")
    ask("quantize", "--model", folder, "--out", file, "--type", "f32")
    convert(name, folder, wanted)
    more = compare_keys(keys(file), keys(wanted), (kinds(file), kinds(wanted)))
    a, b = tensors(file), tensors(wanted)
    assert set(a) == set(b), f"tensors: {sorted(set(a) ^ set(b))}"
    for k in b:
        assert a[k].tensor_type == b[k].tensor_type and list(a[k].shape) == list(b[k].shape), f"{k}: {a[k].tensor_type.name} {a[k].shape}"
        exact = not k.startswith("rope_")
        assert np.array_equal(a[k].data, b[k].data) if exact else np.allclose(a[k].data, b[k].data, rtol=1e-6), f"{k} differs"
    apart = np.abs(score(file) - score(folder)).max()
    assert apart <= 2e-5, f"file and folder differ by {apart:.1e} in log p"
    return f"{len(b)} tensors, {more} keys that the converter leaves to llama.cpp, {apart:.1e} from the folder"


for one in sys.argv[1:] or [c for c in CASES if c not in ("apertus",)]:
    check(f"family: {one}", family, one)
finish(WORK)
