#!/usr/bin/env python3
"""An adapter of the shape of an 8B model (rank 64, seven targets, 32 layers: 335 MB in bf16, 671 MB in f32) goes through inspect,
convert and resize in at most 300 MiB of resident memory, mapped files included.  Seconds are told, never judged."""
import json, os, shutil, struct, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.program import PROGRAM, check, finish, workspace

import numpy as np

LIMIT = 300 * 1024  # KiB, as getrusage counts
RANK, LAYERS = 64, 32
SHAPES = {"self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096), "self_attn.o_proj": (4096, 4096),
          "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096), "mlp.down_proj": (4096, 14336)}
WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)


def make(dtype):
    """Written tensor by tensor from one block of random numbers, so that the maker stays small."""
    folder, size = path(dtype), dict(bf16=2, f32=4)[dtype]
    os.makedirs(folder)
    config = dict(peft_type="LORA", task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules=[s.split(".")[1] for s in SHAPES], bias="none",
                  base_model_name_or_path="an 8B model", lora_dropout=0.0, use_rslora=False, use_dora=False, fan_in_fan_out=False)
    json.dump(config, open(os.path.join(folder, "adapter_config.json"), "w"))
    header, at, plan = {"__metadata__": {"format": "pt"}}, 0, []
    for layer in range(LAYERS):
        for site, (n_out, n_in) in SHAPES.items():
            for side, shape in (("A", (RANK, n_in)), ("B", (n_out, RANK))):
                n = shape[0] * shape[1] * size
                header[f"base_model.model.model.layers.{layer}.{site}.lora_{side}.weight"] = dict(dtype=dtype.upper(), shape=shape, data_offsets=[at, at + n])
                plan.append(n)
                at += n
    numbers = np.random.default_rng(1).normal(0, 0.02, 2_500_003).astype(np.float32)
    block = numbers.tobytes() if size == 4 else (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for i, n in enumerate(plan):
            start = i * 7919 * size % (len(block) - n)
            f.write(block[start:start + n])
    return folder, at


# A child starts with its parent's peak on its account: a small process of its own starts and waits for the command.
WAIT = """import json, os, sys
null = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
_, status, usage = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss]))"""


def measured(*args):
    """(exit status, peak KiB, seconds) of the command; its output goes to a file."""
    start = time.monotonic()
    r = subprocess.run([sys.executable, "-I", "-S", "-c", WAIT, path("log"), PROGRAM, *args], capture_output=True, text=True, check=True)
    return *json.loads(r.stdout), time.monotonic() - start


def bounded(size, *args):
    status, peak, seconds = measured(*args)
    assert status == 0, f"exit {status}: {open(path('log')).read()[-300:]}"
    assert peak <= LIMIT, f"peak {peak / 1024:.0f} MiB of a {size / 2**20:.0f} MiB adapter, bound {LIMIT // 1024} MiB, {seconds:.1f} s"
    return f"peak {peak / 1024:.0f} MiB of a {size / 2**20:.0f} MiB adapter, {seconds:.1f} s"


def all_of(dtype):
    folder, size = make(dtype)
    check(f"adapter_memory inspect {dtype}", bounded, size, "inspect", folder, "--json")
    check(f"adapter_memory convert {dtype}", bounded, size, "convert", folder, path("out.gguf"), "--to", "gguf", "--heads", "32,8", "--dtype", "keep", "--json")
    check(f"adapter_memory resize {dtype}", bounded, size, "resize", folder, path("out"), "--rank", "16", "--json")
    for made in (folder, path("out")):
        shutil.rmtree(made, ignore_errors=True)
    if os.path.exists(path("out.gguf")):
        os.remove(path("out.gguf"))


if shutil.disk_usage(WORK).free < 4 << 30:
    print(f"skip adapter_memory {WORK} has less than 4 GiB free")
else:
    for dtype in ("bf16", "f32"):
        all_of(dtype)
finish(WORK)
