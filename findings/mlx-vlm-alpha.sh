#!/bin/sh
# One adapter folder of mlx-vlm is two adapters: the release that loads it decides.
#
# One would guess: a folder that mlx-vlm's own save_adapter wrote means the same to the next release, because its
# adapter_config.json holds all there is to know: rank, alpha, dropout.
#
# What happens: up to 0.4.4 the update is multiplied by alpha, from 0.5.0 on by alpha / rank. Names of files, tensors
# and fields stay, none of them holds a version, and the newer release loads the older folder without a word. An
# adapter of rank 4 that was trained at s = 16 runs at s = 4.
#
# Packages: mlx-vlm 0.4.4 and 0.5.0 with mlx 0.31.2 on its CPU backend. Seen on 2026-11-27:
#
#     0.4.4 saves ['language_model.q_proj.A', 'language_model.q_proj.B'] ['{', '"rank":', '4,', '"alpha":', '16,', …]
#     0.4.4 loads it and runs x W + 16.000 (x A) B
#     0.5.0 loads it and runs x W + 4.000 (x A) B
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check 'mlx[cpu]==0.31.2'
for version in 0.4.4 0.5.0; do
    env/bin/pip install -q --disable-pip-version-check --no-deps --target "mlx-vlm-$version" "mlx-vlm==$version"
done

cat >run.py <<'PY'
import importlib, os, sys, types
import mlx.core as mx
import mlx.nn as nn

version, job = sys.argv[1:]

# trainer/utils.py and trainer/lora.py need mlx alone. The packages around them import datasets, OpenCV and more at
# once, so their __init__ stays out.
for name in ("mlx_vlm", "mlx_vlm.trainer"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [os.path.join("mlx-vlm-" + version, *name.split("."))]
trainer = importlib.import_module("mlx_vlm.trainer.utils")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.language_model = nn.Module()
        self.language_model.q_proj = nn.Linear(8, 8, bias=False)
        self.config = types.SimpleNamespace()


mx.random.seed(1)
model = Model()
weight = model.language_model.q_proj.weight
if job == "save":
    model = trainer.get_peft_model(model, ["q_proj"], rank=4, alpha=16, dropout=0.0, verbose=False)
    model.language_model.q_proj.B = mx.random.normal((4, 8))
    os.mkdir("adapter")
    trainer.save_adapter(model, "adapter/adapters.safetensors")
    config = open("adapter/adapter_config.json").read().split()
    print(version, "saves", sorted(mx.load("adapter/adapters.safetensors")), config)
else:
    trainer.print_trainable_parameters = lambda model: None
    model = trainer.apply_lora_layers(model, "adapter")
    model.eval()
    layer, x = model.language_model.q_proj, mx.random.normal((5, 8))
    update, product = layer(x) - x @ weight.T, x @ layer.A @ layer.B
    s = (mx.sum(update * product) / mx.sum(product * product)).item()
    print(f"{version} loads it and runs x W + {s:.3f} (x A) B")
    sys.exit(abs(s - {"0.4.4": 16, "0.5.0": 16 / 4}[version]) > 1e-3)
PY
env/bin/python run.py 0.4.4 save
env/bin/python run.py 0.4.4 load
env/bin/python run.py 0.5.0 load
