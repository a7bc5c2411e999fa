"""Dense f64 references for the algebra of adapters, over the llama base and named PEFT adapters made once."""
import os, shutil

import numpy as np

from . import bases, makers
from .program import workspace

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
norm = np.linalg.norm
_bases, _made = {}, {}


def base_of(family="llama"):
    if family not in _bases:
        _bases[family] = bases.make(family, path("base-" + family), seed=len(_bases) + 1)
    return _bases[family]


def made(name, family="llama", **settings):
    if name not in _made:
        _made[name] = makers.make_peft(base_of(family), path("in", name), seed=len(_made) + 1, **settings)
    return _made[name]


def fresh(name="result"):
    """A name in an empty folder."""
    shutil.rmtree(path("out"), ignore_errors=True)
    os.makedirs(path("out"))
    return path("out", name)


def truncated(delta, rank):
    u, s, v = np.linalg.svd(delta, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def rank_for(delta, keep):
    """The smallest rank that keeps this share of the squared norm."""
    s = np.linalg.svd(delta, compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(s) / s.sum(), keep * (1 - 1e-12)) + 1)


def close(got, want, bound, what):
    assert abs(got - want) <= bound * abs(want), f"{what}: {got}, wanted {want}"
