#!/usr/bin/env python3
"""inspect, diff, rescale and resize against dense f64 arithmetic in numpy.

  adapter_algebra.py [WORD...]   only the checks whose name holds one of the words"""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from lib import makers, readers
from lib.dense import WORK, base_of, close, fresh, made, norm, path, rank_for, truncated
from lib.program import ask, check, finish, run

IDS = np.random.default_rng(3).integers(3, 60, 24).tolist()


def same_function(got, want, bound, what=""):
    d, site = readers.distance(got, want)
    assert d <= bound, f"{what}{site} differs by {d:.1e}"
    return f"{d:.1e}"


# ---- inspect and diff ------------------------------------------------------------------------------------------------
def inspect(name, settings):
    base = base_of()
    folder, weights = made("inspect-" + name, **settings), base.weights()
    want, said = readers.read_peft(folder), ask("inspect", folder, "--model", base.folder)
    assert said["format"] == "peft" and {x["name"] for x in said["sites"]} == set(want), [x["name"] for x in said["sites"]]
    for x in said["sites"]:
        w, site = want[x["name"]], x["name"]
        u, rank = norm(w.delta), w.a.shape[0]
        weight = norm(base.weight(site, weights))
        assert (x["rank"], x["shape"]) == (rank, [w.b.shape[0], w.a.shape[1]] if not w.embedding else [w.a.shape[1], w.b.shape[0]]), f"{site}: {x['rank']} {x['shape']}"
        assert x["policy"] == ("rslora" if settings.get("use_rslora") else "standard") and x["dora"] == (w.m is not None), site
        close(x["alpha"], w.alpha, 1e-12, f"{site} alpha")
        close(x["scale"], w.s, 1e-12, f"{site} scale")
        for key, value in (("norm_a", norm(w.a)), ("norm_b", norm(w.b)), ("norm_update", u), ("norm_weight", weight), ("strength", u / weight)):
            close(x[key], value, 1e-5, f"{site} {key}")
        sigma = np.linalg.svd(w.b @ w.a, compute_uv=False)
        close(x["stable_rank"], (sigma**2).sum() / sigma[0] ** 2, 1e-4, f"{site} stable_rank")
        for key, keep in (("rank_90", 0.9), ("rank_99", 0.99)):
            assert x[key] == rank_for(w.b @ w.a, keep), f"{site} {key}: {x[key]}, wanted {rank_for(w.b @ w.a, keep)}"
    return f"{len(want)} sites"


def diff_figures():
    a, b = made("inspect-plain"), made("diff-other", lora_alpha=7)
    x, y = readers.read_peft(a), readers.read_peft(b)
    said = ask("diff", a, b, "--tolerance", "10")
    for site in said["sites"]:
        d = x[site["name"]].delta - y[site["name"]].delta
        close(site["max_abs"], np.abs(d).max(), 1e-5, site["name"])
        ratios = [norm(d) / norm(t[site["name"]].delta) for t in (x, y)]
        assert min(abs(site["relative"] / r - 1) for r in ratios) < 1e-5, f"{site['name']}: relative {site['relative']}, wanted {ratios}"
    close(said["max_relative"], max(s["relative"] for s in said["sites"]), 1e-12, "max_relative")
    assert not said["only_in_a"] and not said["only_in_b"] and len(said["sites"]) == len(x)
    ask("diff", a, b, "--tolerance", said["max_relative"] * 1.01)
    run("diff", a, b, "--tolerance", said["max_relative"] * 0.99, status=1)
    same = ask("diff", a, a, "--tolerance", "0")
    assert same["max_relative"] == 0


def diff_sites():
    a, b = made("diff-q", target_modules=["q_proj", "v_proj"]), made("diff-v", target_modules=["v_proj", "o_proj"])
    said = ask("diff", a, b, "--tolerance", "10", status=1)
    want = lambda name: {p for p in makers.linears(base_of()) if p.endswith(name)}
    assert set(said["only_in_a"]) == want("q_proj") and set(said["only_in_b"]) == want("o_proj"), said
    assert {x["name"] for x in said["sites"]} == want("v_proj")


def diff_formats():
    """Two formats of one adapter are equal; a scale that is wrong by half a percent is not."""
    base = base_of()
    gguf = makers.make_gguf(base, path("d.gguf"), alpha=6.0)
    mlx = makers.make_mlx(base, path("d-mlx"), scale=1.5)
    wrong = makers.make_mlx(base, path("d-wrong"), scale=1.5075)
    ask("diff", gguf, mlx, "--model", base.folder, "--tolerance", "1e-6")
    said = ask("diff", gguf, wrong, "--model", base.folder, "--tolerance", "1e-6", status=1)
    assert 0.004 < said["max_relative"] < 0.006, said["max_relative"]


# ---- rescale ---------------------------------------------------------------------------------------------------------
SOURCES = {"plain": {}, "rslora patterns": dict(use_rslora=True, lora_alpha=6, alpha_pattern={"q_proj": 3.0}, rank_pattern={"k_proj": 9})}


def rescaled(source, *flags, factor, sites=None):
    folder, out = made("rescale-" + source.replace(" ", "-"), **SOURCES[source]), fresh()
    run("rescale", folder, out, *flags)
    got, want = readers.read_peft(out), readers.read_peft(folder)
    assert set(got) == set(want)
    for p, w in want.items():
        s = factor(p, w) if sites is None or sites in p else w.s
        close(got[p].s, s, 1e-14, p)
        assert np.array_equal(got[p].a, w.a) and np.array_equal(got[p].b, w.b), f"{p}: numbers changed"
    delta = makers.peft_deltas(base_of(), out)
    assert all(norm(delta[p] - got[p].delta) <= 1e-12 * norm(delta[p]) for p in got), "PEFT reads another scale"


def keep_function(source, *flags):
    folder, out = made("rescale-" + source.replace(" ", "-"), **SOURCES[source]), fresh()
    run("rescale", folder, out, *flags, "--keep-function")
    got, want = readers.read_peft(out), readers.read_peft(folder)
    assert all(got[p].s != want[p].s for p in want), "s did not change"
    return same_function(got, want, 1e-6)


def strength():
    base = base_of()
    folder, out, weights = made("rescale-plain"), fresh(), base.weights()
    run("rescale", folder, out, "--strength", "0.02", "--model", base.folder)
    for p, w in readers.read_peft(out).items():
        close(norm(w.delta) / norm(base.weight(p, weights)), 0.02, 1e-5, p)


def other_formats(kind):
    base, out = base_of(), fresh("result" + dict(gguf=".gguf", kohya=".safetensors", mlx="")[kind])
    source = path("r" + dict(gguf=".gguf", kohya=".safetensors", mlx="-mlx")[kind])
    dict(gguf=makers.make_gguf, kohya=makers.make_kohya, mlx=makers.make_mlx)[kind](base, source)
    run("rescale", source, out, "--factor", "-0.5", "--model", base.folder)
    got, want = readers.read(out, base), readers.read(source, base)
    for w in want.values():
        w.s *= -0.5
    return same_function(got, want, 1e-6)


# ---- resize ----------------------------------------------------------------------------------------------------------
def check_figures(said, got, want):
    for x in said["sites"]:
        g, w = got[x["name"]], want[x["name"]]
        error = norm(g.delta - w.delta) / norm(w.delta)
        assert x["rank"] == g.rank, f"{x['name']}: rank {x['rank']}, the file has {g.rank}"
        assert abs(x["relative_error"] - error) <= 1e-5, f"{x['name']}: relative_error {x['relative_error']}, it is {error}"
        assert abs(x["energy"] - (1 - error**2)) <= 1e-5, f"{x['name']}: energy {x['energy']}, it is {1 - error ** 2}"


def resize_down(name, settings, rank):
    folder, out = made("resize-" + name, **settings), fresh()
    said = ask("resize", folder, out, "--rank", rank)
    got, want, worst = readers.read_peft(out), readers.read_peft(folder), 0.0
    for p, w in want.items():
        best = truncated(w.delta, rank)
        d = norm(got[p].delta - best) / norm(w.delta)
        assert d <= 1e-5 and got[p].rank == min(rank, w.rank, *w.delta.shape), f"{p}: {d:.1e} from the truncated SVD, rank {got[p].rank}"
        a, b = got[p].a @ got[p].a.T, got[p].b.T @ got[p].b
        assert norm(a - b) <= 1e-4 * norm(a), f"{p}: the singular values are not split evenly"
        worst = max(worst, d)
    check_figures(said, got, want)
    assert norm(makers.peft_logits(base_of(), out, IDS)) > 0  # PEFT loads it
    return f"{worst:.1e}"


def resize_up(name, settings, rank):
    """Zero rows and columns: what was there is bit-equal, and so is the function."""
    folder, out = made("resize-" + name, **settings), fresh()
    said = ask("resize", folder, out, "--rank", rank)
    got, want = readers.read_peft(out), readers.read_peft(folder)
    for p, w in want.items():
        r, g = w.rank, got[p]
        assert g.rank == rank and np.array_equal(g.a[:r], w.a) and np.array_equal(g.b[:, :r], w.b), f"{p}: numbers changed"
        assert not g.a[r:].any() and not g.b[:, r:].any(), f"{p}: the new part is not zero"
        assert abs(g.s - w.s) <= np.spacing(abs(w.s)), f"{p}: s {g.s}, was {w.s}"
    check_figures(said, got, want)
    a, b = (makers.peft_logits(base_of(), f, IDS) for f in (folder, out))
    assert np.abs(a - b).max() <= 1e-12


def resize_by(flag, value):
    """The smallest rank of each site that keeps the promise."""
    folder, out = made("resize-by", r=8, rank_pattern={"q_proj": 12}, use_rslora=True), fresh()
    said = ask("resize", folder, out, flag, value)
    got, want = readers.read_peft(out), readers.read_peft(folder)
    keep, ranks = value if flag == "--energy" else 1 - value**2, set()
    for p, w in want.items():
        assert got[p].rank == rank_for(w.delta, keep), f"{p}: rank {got[p].rank}, wanted {rank_for(w.delta, keep)}"
        d = norm(got[p].delta - truncated(w.delta, got[p].rank)) / norm(w.delta)
        assert d <= 1e-5, f"{p}: {d:.1e} from the truncated SVD"
        ranks.add(got[p].rank)
    check_figures(said, got, want)
    assert len(ranks) > 1, "one rank only: the case is too easy"
    delta = makers.peft_deltas(base_of(), out)
    assert all(norm(delta[p] - got[p].delta) <= 1e-10 * norm(delta[p]) for p in got), "PEFT reads other ranks"


def resize_diffusion():
    file, out = makers.make_diffusion(path("sd.safetensors")), fresh("result.safetensors")
    ask("resize", file, out, "--rank", "2")
    got, want = readers.read_kohya(out), readers.read_kohya(file)
    assert set(got) == set(want)
    for name, w in want.items():
        d = norm(got[name].delta - truncated(w.delta, 2)) / norm(w.delta)
        assert d <= 1e-5, f"{name}: {d:.1e} from the truncated SVD"
        down, up = w.extra["down"], w.extra["up"]
        assert got[name].extra == dict(down=(2, *down[1:]), up=(up[0], 2, *up[2:])), f"{name}: {got[name].extra}"


def resize_dora():
    """DoRA's direction depends on the whole update: cutting it is still the best B·A, and the magnitudes stay."""
    folder, out = made("resize-dora", use_dora=True), fresh()
    r = run("resize", folder, out, "--rank", "8")
    got, want = readers.read_peft(out), readers.read_peft(folder)
    assert all(np.array_equal(got[p].m, want[p].m) and norm(got[p].delta - want[p].delta) <= 1e-12 * norm(want[p].delta) for p in want), r.stdout


INSPECTED = {"plain": {}, "rslora": dict(use_rslora=True, lora_alpha=3), "patterns": SOURCES["rslora patterns"], "negative": dict(lora_alpha=-2.5),
             "dora": dict(use_dora=True), "embedding": dict(target_modules=["embed_tokens", "lm_head", "q_proj"])}
for name, settings in INSPECTED.items():
    check(f"adapter_algebra inspect {name}", inspect, name, settings)
for name, body in (("figures", diff_figures), ("sites", diff_sites), ("formats", diff_formats)):
    check(f"adapter_algebra diff {name}", body)
for source in SOURCES:
    ratio = lambda value: (lambda p, w: w.s * value / dict(plain=8).get(source, 6))
    for name, flags, factor in (("alpha", ["--alpha", "5"], ratio(5)), ("fractional alpha", ["--alpha=0.3"], ratio(0.3)), ("negative alpha", ["--alpha=-2"], ratio(-2)),
                                ("scale", ["--scale", "0.125"], lambda p, w: 0.125), ("factor", ["--factor=-3"], lambda p, w: w.s * -3)):
        check(f"adapter_algebra rescale {source} {name}", lambda: rescaled(source, *flags, factor=factor))
    check(f"adapter_algebra rescale {source} sites", lambda: rescaled(source, "--factor", "2", "--sites", ".*q_proj", factor=lambda p, w: w.s * 2, sites="q_proj"))
    check(f"adapter_algebra rescale {source} keep function", keep_function, source, "--alpha", "17")
check("adapter_algebra rescale strength", strength)
for kind in ("gguf", "kohya", "mlx"):
    check(f"adapter_algebra rescale {kind}", other_formats, kind)
RESIZED = {"plain": {}, "rslora": dict(use_rslora=True, lora_alpha=3), "negative": dict(lora_alpha=-2), "embedding": dict(target_modules=["embed_tokens", "lm_head", "q_proj"])}
for name, settings in RESIZED.items():
    for rank in (1, 3):
        check(f"adapter_algebra resize {name} down {rank}", resize_down, name, settings, rank)
    check(f"adapter_algebra resize {name} up", resize_up, name, settings, 7)
for flag, value in (("--energy", 0.9), ("--energy", 0.99), ("--max-error", 0.25)):
    check(f"adapter_algebra resize {flag} {value}", resize_by, flag, value)
check("adapter_algebra resize diffusion", resize_diffusion)
check("adapter_algebra resize dora up", resize_dora)
finish(WORK)
