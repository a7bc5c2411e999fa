#!/usr/bin/env python3
"""combine against the dense weighted sum, its best low-rank approximation, and dense TIES and DARE, in numpy.

  adapter_combine.py [WORD...]   only the checks whose name holds one of the words"""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from lib import makers, readers
from lib.dense import WORK, base_of, fresh, made, norm, path, rank_for, truncated
from lib.program import check, finish, refuses, run

WHOLE_RANK = "32"  # no site of the llama base has more


def sources():
    """Four formats, policies, ranks and sets of sites."""
    base = base_of()
    q = [p for p in makers.linears(base) if "q_proj" in p or "up_proj" in p]
    gguf, mlx, kohya = path("c.gguf"), path("c-mlx"), path("c.safetensors")
    if not os.path.exists(gguf):
        makers.make_gguf(base, gguf, q, seed=11, rank=3, alpha=2.5)
        makers.make_mlx(base, mlx, makers.linears(base, [2]), seed=12, rank=5, scale=0.7)
        makers.make_kohya(base, kohya, seed=13, rank=2, alpha=1.0)
    return [(made("c-peft", use_rslora=True, lora_alpha=3, rank_pattern={"q_proj": 6}), 1.0), (gguf, -0.5), (mlx, 2.0), (kohya, 0.25)]


def summed(parts):
    base, dense = base_of(), {}
    for at, w in parts:
        for p, x in readers.read(at, base).items():
            dense[p] = dense.get(p, 0) + w * x.delta
    return dense


def named(parts):
    return [f"{at}:{w}" if w != 1 else at for at, w in parts]


def compare(got, dense, bound, scale=None):
    assert set(got) == set(dense), sorted(set(got) ^ set(dense))[:3]
    worst = max((norm(got[p].delta - dense[p]) / norm((scale or dense)[p]), p) for p in dense)
    assert worst[0] <= bound, f"{worst[1]} differs by {worst[0]:.1e}"
    return f"{worst[0]:.1e}"


def concat(count):
    base, parts, out = base_of(), sources()[:count], fresh()
    run("combine", out, *named(parts), "--method", "concat", "--model", base.folder)
    got = readers.read_peft(out)
    for p, g in got.items():
        ranks = sum(x[p].rank for x in (readers.read(at, base) for at, _ in parts) if p in x)
        assert g.rank == ranks, f"{p}: rank {g.rank}, the sources have {ranks}"
    delta = makers.peft_deltas(base, out)
    assert set(delta) == set(got), f"PEFT makes other sites of it: {sorted(set(delta) ^ set(got))[:3]}"
    assert all(norm(delta[p] - got[p].delta) <= 1e-10 * norm(delta[p]) for p in got), "PEFT reads another update"
    return compare(got, summed(parts), 1e-6)


def concat_same():
    """An adapter with itself: twice the update, not four times or s² of it."""
    folder, out = made("rescale-plain"), fresh()
    run("combine", out, folder, folder, "--method", "concat")
    return compare(readers.read_peft(out), {p: 2 * x.delta for p, x in readers.read_peft(folder).items()}, 1e-6)


def svd(flag, value):
    base, parts, out = base_of(), sources(), fresh()
    run("combine", out, *named(parts), "--method", "svd", flag, value, "--model", base.folder)
    got, dense, best = readers.read_peft(out), summed(parts), {}
    for p, d in dense.items():
        rank = int(value) if flag == "--rank" else rank_for(d, float(value))
        assert got[p].rank == min(rank, *d.shape), f"{p}: rank {got[p].rank}, wanted {rank}"
        best[p] = truncated(d, rank)
    return compare(got, best, 1e-5, dense)


def ties_dense(parts, density):
    """Trim each update to its largest entries, elect the sign of the sum, average what agrees."""
    base, dense = base_of(), {}
    for at, w in parts:
        for p, x in readers.read(at, base).items():
            dense.setdefault(p, []).append(w * x.delta)
    for p, updates in dense.items():
        kept = []
        for u in updates:
            flat = np.abs(u).ravel()
            keep = int(density * flat.size)
            edge = np.partition(flat, flat.size - keep)[flat.size - keep]
            kept.append(np.where(np.abs(u) >= edge, u, 0))
        kept = np.array(kept)
        sign = np.sign(kept.sum(0))
        agree = (np.sign(kept) == sign) & (kept != 0)
        dense[p] = (kept * agree).sum(0) / np.maximum(agree.sum(0), 1)
    return dense


def ties(rank, density):
    base, out = base_of(), fresh()
    parts = [(made("ties-a"), 1.0), (made("ties-b", use_rslora=True, lora_alpha=4), 1.0), (made("ties-c", target_modules=["q_proj", "o_proj"]), 1.0)]
    run("combine", out, *named(parts), "--method", "ties", "--density", density, "--rank", rank, "--model", base.folder)
    dense = ties_dense(parts, density)
    return compare(readers.read_peft(out), {p: truncated(d, int(rank)) for p, d in dense.items()}, 1e-5, dense)


def dare(density):
    """Each entry of each update is dropped or divided by the density; sites in one source only show it entry by entry."""
    base, out = base_of(), fresh()
    a, b = made("dare-a", target_modules=["q_proj", "up_proj", "v_proj"]), made("dare-b", target_modules=["v_proj"], lora_alpha=5)
    flags = ["combine", out, a, b, "--method", "dare", "--density", density, "--rank", WHOLE_RANK, "--model", base.folder]
    run(*flags, "--seed", "7")
    got, x, y = readers.read_peft(out), readers.read_peft(a), readers.read_peft(b)
    kept = total = 0
    masks = []
    for p in got:
        if p.endswith("v_proj"):
            continue
        full, d = x[p].delta / density, got[p].delta
        mask = np.abs(d) > np.abs(d - full)
        assert norm(d - mask * full) <= 1e-5 * norm(full), f"{p}: entries are neither 0 nor the update over the density"
        kept, total = kept + mask.sum(), total + mask.size
        masks.append(mask)
    spread = 4 * np.sqrt(density * (1 - density) / total)
    assert abs(kept / total - density) <= spread, f"kept {kept / total:.4f}, promised {density} ± {spread:.4f}"
    same_shape = [m for m in masks if m.shape == masks[0].shape]
    assert not any(np.array_equal(same_shape[0], m) for m in same_shape[1:]), "two sites were dropped alike"
    for p in got:
        if p.endswith("v_proj"):
            u, v = x[p].delta / density, y[p].delta / density
            choices = np.array([0 * u, u, v, u + v])
            rest = np.abs(choices - got[p].delta).min(0)
            assert norm(rest) <= 1e-5 * norm(u + v), f"{p}: entries are no sum of kept entries"
            chosen = np.abs(choices - got[p].delta).argmin(0)
            shares = [(chosen == i).mean() for i in range(4)]
            assert abs(shares[1] + shares[3] - density) < 0.1 and abs(shares[2] + shares[3] - density) < 0.1, f"shares {shares}"
            assert abs(shares[3] - density**2) < 0.1, "the sources are dropped together"
    read = lambda: open(os.path.join(out, "adapter_model.safetensors"), "rb").read()
    first = read()
    run(*flags, "--seed", "7", "--overwrite")
    assert read() == first, "the same seed gave another file"
    run(*flags, "--seed", "8", "--overwrite")
    assert read() != first, "another seed gave the same file"
    return f"kept {kept / total:.3f}"


def dare_mean():
    """The mean over seeds is the update itself: nothing is lost or gained by the rescaling."""
    a, b = made("dare-a", target_modules=["q_proj", "up_proj", "v_proj"]), made("dare-b", target_modules=["v_proj"], lora_alpha=5)
    base, mean, seeds = base_of(), {}, 24
    for seed in range(seeds):
        out = fresh()
        run("combine", out, a, b, "--method", "dare", "--density", "0.6", "--rank", WHOLE_RANK, "--seed", seed, "--model", base.folder)
        for p, g in readers.read_peft(out).items():
            mean[p] = mean.get(p, 0) + g.delta / seeds
    want = readers.read_peft(a)
    slope = [(mean[p] * want[p].delta).sum() / (want[p].delta ** 2).sum() for p in want if not p.endswith("v_proj")]
    assert abs(np.mean(slope) - 1) < 0.02, f"the mean is {np.mean(slope):.3f} of the update"


def apart():
    """Sources without a common site: PEFT makes no sites of their product (every target in every layer)."""
    base, out = base_of(), fresh()
    a = made("apart-a", target_modules=["q_proj"], layers_to_transform=[0])
    b = made("apart-b", target_modules=["up_proj"], layers_to_transform=[2], r=7, use_rslora=True)
    run("combine", out, a, b, "--method", "concat")
    delta, want = makers.peft_deltas(base, out), summed([(a, 1), (b, 1)])
    assert set(delta) == set(want), f"sites {sorted(set(delta) ^ set(want))}"
    assert all(norm(delta[p] - want[p]) <= 1e-6 * norm(want[p]) for p in want)


def combine_refuses(name, settings, word):
    out = fresh()
    refuses(out, [word], "combine", out, made("combine-" + name, **settings), made("rescale-plain"))


def combine_diffusion():
    one, two, out = makers.make_diffusion(path("s1.safetensors"), 1), makers.make_diffusion(path("s2.safetensors"), 2), fresh("result.safetensors")
    run("combine", out, f"{one}:0.5", f"{two}:-1", "--method", "concat")
    got, x, y = (readers.read_kohya(f) for f in (out, one, two))
    return compare(got, {p: 0.5 * x[p].delta - y[p].delta for p in x}, 1e-6)


for count in (2, 3, 4):
    check(f"adapter_combine concat {count}", concat, count)
check("adapter_combine with itself", concat_same)
check("adapter_combine apart", apart)
for flag, value in (("--rank", "1"), ("--rank", "4"), ("--rank", "16"), ("--energy", "0.95")):
    check(f"adapter_combine svd {flag} {value}", svd, flag, value)
for rank, density in ((WHOLE_RANK, 0.5), (WHOLE_RANK, 0.25), ("4", 0.5)):
    check(f"adapter_combine ties rank {rank} density {density}", ties, rank, density)
for density in (0.5, 0.8):
    check(f"adapter_combine dare {density}", dare, density)
check("adapter_combine dare mean", dare_mean)
check("adapter_combine refuses dora", combine_refuses, "dora", dict(use_dora=True), "dora")
check("adapter_combine diffusion", combine_diffusion)
finish(WORK)
