"""What the scripts on `alphar convert` share: bases made once, folders of their own for outputs, the command."""
import os, shutil

from . import bases
from .program import ask, workspace

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
EXTENSION = dict(peft="", mlx="", gguf=".gguf", kohya=".safetensors")
FOUR = ["gguf", "mlx", "kohya", "peft"]
os.makedirs(path("in"))
_made = {}


def base_of(family):
    if family not in _made:
        _made[family] = bases.make(family, path("base-" + family), seed=len(_made) + 1)
    return _made[family]


def fresh(name):
    """A name inside a folder of its own, so that strays are seen; the last word says the format."""
    folder = path("out", name.replace(" ", "-"))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return os.path.join(folder, "result" + EXTENSION.get(name.rsplit(" ", 1)[-1], ""))


def convert(source, kind, name, base, *flags, dtype="f32"):
    """(the new adapter, what the command said)"""
    out = fresh(f"{name} {kind}")
    return out, ask("convert", source, out, "--to", kind, "--model", base.folder, "--dtype", dtype, *flags)
