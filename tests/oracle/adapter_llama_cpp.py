#!/usr/bin/env python3
"""llama.cpp as the judge of GGUF adapters that Alphar wrote: its log-probabilities of base + adapter against Alphar's own forward of
the Hugging Face base with the PEFT source.  Without flash attention the base alone agrees to about 1e-6 in log p; the adapter may add
rounding of its own, up to 1e-4 of what it moves.

  adapter_llama_cpp.py [WORD...]   only the checks whose name holds one of the words"""
import json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from lib import bases, llama, makers
from lib.program import MATERIAL, ask, check, finish, run, workspace

STORIES = os.path.join(MATERIAL, "models", "stories260k")
GGUF = os.path.join(STORIES, "stories260K.gguf")
WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)


def skip(why):
    print(f"skip adapter_llama_cpp {why}")
    finish(WORK)


if not os.path.exists(GGUF):
    skip("shared material (stories260k) is missing")
if llama.missing():
    skip(llama.missing())

IDS = json.load(open(os.path.join(STORIES, "golden_logits.json")))["ids"][:48]
BASE = bases.Base(STORIES)
CASES = {
    "standard": {}, "rslora": dict(use_rslora=True, lora_alpha=4), "fractional alpha": dict(lora_alpha=7.3), "negative alpha": dict(lora_alpha=-8),
    "alpha pattern": dict(alpha_pattern={"q_proj": 20, "1.*down_proj": 1.25}), "rank pattern": dict(rank_pattern={"k_proj": 2, "mlp.*": 7}),
    "rslora with patterns": dict(use_rslora=True, lora_alpha=3, rank_pattern={"q_proj": 9, "3.*v_proj": 1}, alpha_pattern={"k_proj": 6, "gate_proj": 0.5}),
    "q and k": dict(target_modules=["q_proj", "k_proj"], r=2), "one layer": dict(layers_to_transform=[3]),
}


def score(*flags):
    return np.array(ask("score", "--model", STORIES, "--ids", ",".join(map(str, IDS)), *flags)["logprobs"])


def converted(name, settings, dtype="f32"):
    source, out = path("in-" + name.replace(" ", "-")), path(name.replace(" ", "-") + f"-{dtype}.gguf")
    if not os.path.exists(source):
        makers.make_peft(BASE, source, moved=0.03, **settings)
    ask("convert", source, out, "--to", "gguf", "--model", STORIES, "--dtype", dtype, "--overwrite")
    return source, out


# Each gives Alphar's log p, the GGUF file, the user's scale.
def converted_case(name, settings, dtype="f32"):
    source, out = converted(name, settings, dtype)
    return score("--adapter", source), out, 1


def scaled():
    """A user's scale multiplies s in both."""
    source, out = converted("rslora", CASES["rslora"])
    return score("--adapter", f"{source}:-0.5"), out, -0.5


def foreign():
    """The other way round: a file that llama.cpp understands means the same to Alphar, through PEFT's format."""
    file, out = makers.make_gguf(BASE, path("foreign.gguf"), alpha=0.25), path("foreign-peft")
    ask("convert", file, out, "--to", "peft", "--model", STORIES, "--dtype", "f32")
    return score("--adapter", out), file, 1


def trained():
    """An adapter that Alphar trained itself."""
    data, out = path("data.jsonl"), path("trained")
    with open(data, "w") as f:
        f.writelines(json.dumps(dict(text=f"Once upon a time a {w} sat under a tree and sang.")) + "\n" for w in ("cat", "dog", "bird", "fox", "bear", "frog"))
    run("train", "--model", STORIES, "--data", data, "--out", out, "--steps", "12", "--batch", "3", "--lr", "5e-3", "--policy", "rslora", "--alpha", "6", "--rank", "4", "--quiet")
    ask("convert", out, path("trained.gguf"), "--to", "gguf", "--model", STORIES, "--dtype", "f32")
    return score("--adapter", out), path("trained.gguf"), 1


def merged():
    """`merge` into a GGUF base: llama.cpp reads the new weights."""
    source, out = path("in-rslora"), path("merged.gguf")
    run("merge", "--model", GGUF, "--adapter", source, "--out", out)
    mine, (theirs,) = score("--adapter", source), llama.ask(out, IDS, [(None, 1)])
    return agrees((mine,), theirs, 1e-4)


def attempt(make, *args):
    try:
        return make(*args)
    except Exception as e:
        return e


def agrees(case, theirs, bound):
    if isinstance(case, Exception):
        raise case
    assert not isinstance(theirs, str), f"llama.cpp {theirs}"
    mine = case[0]
    noise, differs, moves = (np.abs(x - y).max() for x, y in ((base, PLAIN), (theirs, mine), (mine, PLAIN)))
    assert noise <= 2e-5, f"the base alone differs by {noise:.1e}"
    assert moves > 0.1, f"the adapter moves {moves:.1e} only"
    assert differs <= 2 * noise + bound * moves, f"differs by {differs:.1e}, the base alone by {noise:.1e}, the adapter moves {moves:.1e}"
    return f"{differs:.1e}, the base alone {noise:.1e}, moved {moves:.1e}"


PLAIN = score()
made = {name: attempt(converted_case, name, settings) for name, settings in CASES.items()}
made.update({"f16": attempt(converted_case, "standard", {}, "f16"), "user scale": attempt(scaled), "foreign": attempt(foreign), "trained": attempt(trained)})
good = [name for name, x in made.items() if not isinstance(x, Exception)]
base, *answers = llama.ask(GGUF, IDS, [(None, 1)] + [made[name][1:] for name in good])
answers = dict(zip(good, answers))
for name, case in made.items():
    check(f"adapter_llama_cpp {name}", agrees, case, answers.get(name), 5e-3 if name == "f16" else 1e-4)
check("adapter_llama_cpp merged", merged)
finish(WORK)
