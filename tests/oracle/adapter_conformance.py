#!/usr/bin/env python3
"""The conformance folder: Alphar gives the expected logits for every case in every format, so does llama.cpp where it is at hand,
the formats of a case hold one update, and the files are what conformance/make makes.

  adapter_conformance.py [WORD...]   only the checks whose name holds one of the words"""
import filecmp, json, os, shutil, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from lib import bases, llama, readers
from lib.program import ROOT, ask, check, finish, workspace
from safetensors.torch import load_file

HERE = os.path.join(ROOT, "conformance")
WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
FILES = dict(peft="peft", gguf="adapter.gguf", mlx="mlx", kohya="kohya.safetensors")
BASE = os.path.join(HERE, "base")


def close(got, want):
    """The page's own criterion."""
    got, want = np.asarray(got, np.float64), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}"
    worst = np.abs(got - want).max() / np.abs(want).max()
    assert worst <= EXPECTED["tolerance"], f"the logits differ by {worst:.1e} of the largest"
    return f"{worst:.1e}"


def score(*flags, base=path("base")):
    file = path("logits.safetensors")
    if os.path.exists(file):
        os.remove(file)
    ask("score", "--model", base, "--ids", ",".join(map(str, EXPECTED["ids"])), "--logits", file, *flags)
    return load_file(file)["logits"].numpy()


def passes(name, kind):
    return close(score("--adapter", os.path.join(HERE, "adapters", name, FILES[kind])), EXPECTED["cases"][name]["logits"])


def one_update(name, kinds):
    base, folder = bases.Base(BASE), os.path.join(HERE, "adapters", name)
    first, worst = readers.read(os.path.join(folder, FILES[kinds[0]]), base), 0.0
    for kind in kinds[1:]:
        got = readers.read(os.path.join(folder, FILES[kind]), base)
        d, site = readers.distance(got, first)
        assert d <= 1e-6, f"{kind}: {site} differs by {d:.1e}"
        assert all((x.m is None) == (got[p].m is None) and (x.m is None or np.array_equal(x.m, got[p].m)) for p, x in first.items()), f"{kind}: magnitudes"
        worst = max(worst, d)
    return f"{worst:.1e}"


def chosen(logits):
    lp = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return np.array([lp[i, t] for i, t in enumerate(EXPECTED["ids"][1:])])


def llama_cpp():
    """base.gguf and the GGUF files, as llama.cpp reads them."""
    names = [n for n, c in EXPECTED["cases"].items() if "gguf" in c["formats"]]
    base, *answers = llama.ask(os.path.join(HERE, "base.gguf"), EXPECTED["ids"], [(None, 1)] + [(os.path.join(HERE, "adapters", n, FILES["gguf"]), 1) for n in names])
    worst = 0.0
    for name, got in zip(["base", *names], [base, *answers]):
        assert not isinstance(got, str), f"{name}: llama.cpp {got}"
        d = np.abs(got - chosen(np.array(EXPECTED["cases"][name]["logits"] if name != "base" else EXPECTED["base"]))).max()
        assert d <= 1e-4, f"{name}: llama.cpp's log p differ by {d:.1e}"
        worst = max(worst, d)
    return f"{len(names)} cases, {worst:.1e}"


def same_files():
    out = path("made")
    r = subprocess.run([sys.executable, os.path.join(HERE, "make"), out], capture_output=True, text=True)
    assert r.returncode == 0, (r.stderr or r.stdout)[-400:]
    differ = []
    for folder, _, names in os.walk(out):
        for name in names:
            made = os.path.join(folder, name)
            kept = os.path.join(HERE, os.path.relpath(made, out))
            if name == "expected.json":
                a, b = (json.load(open(f)) for f in (made, kept))
                assert {k: c["catches"] for k, c in a["cases"].items()} == {k: c["catches"] for k, c in b["cases"].items()}
                assert all(np.allclose(a["cases"][k]["logits"], b["cases"][k]["logits"], rtol=1e-6, atol=1e-7) for k in a["cases"]), "expected logits"
            elif not os.path.exists(kept) or not filecmp.cmp(made, kept, shallow=False):
                differ.append(os.path.relpath(made, out))
    stray = [os.path.join(f, n) for f, _, names in os.walk(os.path.join(HERE, "adapters")) for n in names if not os.path.exists(os.path.join(out, os.path.relpath(os.path.join(f, n), HERE)))]
    assert not differ and not stray, f"run conformance/make: {differ[:4]} differ, {stray[:4]} are left over"
    size = sum(os.path.getsize(os.path.join(f, n)) for f, _, names in os.walk(HERE) for n in names)
    assert size < 1 << 20, f"the folder has {size} bytes"


def page():
    text = open(os.path.join(HERE, "README.md")).read()
    for name, c in EXPECTED["cases"].items():
        formats = "all" if len(c["formats"]) == 4 else ", ".join(c["formats"])
        assert f"| {name} | {formats} | {c['catches']} |" in text, f"README.md lacks the line of {name}"


if not os.path.exists(os.path.join(HERE, "expected.json")):
    print("skip adapter_conformance conformance/make has not been run yet")
    sys.exit(0)
EXPECTED = json.load(open(os.path.join(HERE, "expected.json")))
shutil.copytree(BASE, path("base"))
shutil.copy(os.path.join(ROOT, "demo", "base", "tokenizer.json"), path("base"))
check("adapter_conformance base", lambda: close(score(), EXPECTED["base"]))
check("adapter_conformance base without tokenizer", lambda: close(score(base=BASE), EXPECTED["base"]))
for name, c in EXPECTED["cases"].items():
    for kind in c["formats"]:
        check(f"adapter_conformance {name} {kind}", passes, name, kind)
    if len(c["formats"]) > 1:
        check(f"adapter_conformance {name} one update", one_update, name, c["formats"])
check("adapter_conformance llama.cpp", llama_cpp)
check("adapter_conformance page", page)
check("adapter_conformance files", same_files)
finish(WORK)
