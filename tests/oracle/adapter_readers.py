#!/usr/bin/env python3
"""The Python readers and makers that the other adapter scripts judge Alphar by, judged themselves: PEFT's own deltas, files of
known content, and each other.  No Alphar here.

  adapter_readers.py [WORD...]   only the checks whose name holds one of the words"""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from lib import bases, makers, readers
from lib.program import check, finish, workspace

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
PEFT_CASES = {
    "plain": {}, "rslora": dict(use_rslora=True, lora_alpha=5), "dora": dict(use_dora=True), "alpha-zero": dict(lora_alpha=0),
    "negative": dict(lora_alpha=-3), "fractional": dict(lora_alpha=0.3),
    "patterns": lambda t: dict(target_modules=t, rank_pattern={t[0]: 2, f"2.*{t[1]}": 7}, alpha_pattern={t[1]: 3.5}),
    "overlap": lambda t: dict(target_modules=t[:2], alpha_pattern={f"1.*{t[0]}": 5, t[0]: 3}, use_rslora=True),
}


def against_peft(family, name, settings):
    base = FAMILIES[family]
    settings = settings(makers.targets_of(base)) if callable(settings) else settings
    folder = makers.make_peft(base, path(f"{family}-{name}"), **settings)
    got, want = readers.read_peft(folder), makers.peft_deltas(base, folder)
    assert set(got) == set(want), f"sites {sorted(set(got) ^ set(want))[:3]}"
    worst = max(np.linalg.norm(got[p].delta - want[p]) / (np.linalg.norm(want[p]) or 1) for p in want)
    assert worst < 1e-12, f"differs by {worst:.1e}"
    return f"{len(want)} sites"


def round_trip(family, kind):
    base = FAMILIES[family]
    if kind == "gguf":
        got, s = readers.read_gguf(makers.make_gguf(base, path(f"{family}.gguf")), base), 1.5
    elif kind == "kohya":
        got, s = readers.read_kohya(makers.make_kohya(base, path(f"{family}.safetensors"), alpha=3.0), base), 0.75
    else:
        got, s = readers.read_mlx(makers.make_mlx(base, path(f"{family}-{kind}"), npz=kind == "mlx-npz", keys="full" if kind == "mlx-full" else "relative"), base), 10.0
    worst = readers.distance(got, makers.expected_pairs(base, s))[0]
    assert worst < 1e-12, f"differs by {worst:.1e}"


def embedding(kind):
    base = FAMILIES["llama"]
    paths = ["model.embed_tokens", "lm_head", "model.layers.1.mlp.up_proj"]
    if kind == "peft":
        folder = makers.make_peft(base, path("embedding"), target_modules=["embed_tokens", "lm_head", "up_proj"])
        got, want = readers.read_peft(folder), makers.peft_deltas(base, folder)
        assert all(np.allclose(got[p].delta, want[p], rtol=1e-12, atol=1e-14) for p in want) and got["model.embed_tokens"].delta.shape == (60, 32)
        return
    if kind == "gguf":
        got, s = readers.read_gguf(makers.make_gguf(base, path("e.gguf"), paths), base), 1.5
    else:
        got, s = readers.read_mlx(makers.make_mlx(base, path("e-mlx"), paths), base), 10.0
    worst = readers.distance(got, makers.expected_pairs(base, s, paths))[0]
    assert worst < 1e-12, f"differs by {worst:.1e}"


def notices():
    """A reader that cannot fail proves nothing: a changed alpha and a file of another architecture must be told apart."""
    base = FAMILIES["llama"]
    good, other = (readers.read_gguf(makers.make_gguf(base, path(f"n{alpha}.gguf"), alpha=alpha), base) for alpha in (6.0, 6.001))
    assert readers.distance(other, good)[0] > 1e-4
    fails("architecture", readers.read_gguf, makers.make_gguf(FAMILIES["qwen3"], path("n3.gguf")), base)


def fails(word, call, *args):
    try:
        call(*args)
    except AssertionError as e:
        assert word in str(e), str(e)
        return
    raise AssertionError(f"no failure that speaks of {word}")


def last_layers():
    base = FAMILIES["llama"]
    paths = [p for p in makers.linears(base, [2]) if p.endswith(("q_proj", "v_proj"))]
    folder = makers.make_mlx(base, path("last"), paths, num_layers=1)
    assert set(readers.read_mlx(folder, base)) == set(paths)
    fails("instantiate", readers.read_mlx, makers.make_mlx(base, path("wrong"), makers.linears(base, [1]), num_layers=1), base)


def diffusion():
    got = readers.read_kohya(makers.make_diffusion(path("sd.safetensors")))
    assert len(got) == len(makers.DIFFUSION)
    conv = got["lora_unet_down_blocks_0_resnets_0_conv1"]
    assert conv.s == 4 / 6 and conv.delta.shape == (24, 12 * 9)
    assert got["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"].s == 1.0, "missing alpha means the rank"


FAMILIES = {}
for number, family in enumerate(bases.CONFIGS):
    FAMILIES[family] = bases.make(family, path("base-" + family), seed=number + 1)
for family in FAMILIES:
    for name, settings in PEFT_CASES.items():
        if family in ("llama", "gpt2", "phi3") or name in ("plain", "patterns"):
            check(f"adapter_readers peft {family} {name}", against_peft, family, name, settings)
    for kind in ("gguf", "kohya", "mlx", "mlx-full", "mlx-npz"):
        if not (family == "bloom" and kind.startswith("mlx")):
            check(f"adapter_readers {kind} {family}", round_trip, family, kind)
for kind in ("peft", "gguf", "mlx"):
    check(f"adapter_readers embedding {kind}", embedding, kind)
check("adapter_readers notices", notices)
check("adapter_readers mlx layers", last_layers)
check("adapter_readers diffusion", diffusion)
finish(WORK)
