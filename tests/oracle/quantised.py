#!/usr/bin/env python3
"""train --quantize beside bitsandbytes and PEFT on the CPU: codes and scales of NF4, what they unpack to, 20 steps of training on it,
and updates beside what it takes off W.

Builds a tool against $BUILD/libalphar.a for the blocks themselves."""
import json, os, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
import transformers as tf
from lib import bases, makers
from lib.program import MATERIAL, ask, check, finish, run, workspace

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
TOKENIZER = os.path.join(MATERIAL, "models", "stories260k", "tokenizer.json")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEXT = "Once upon a time there was a little fox who could not sleep, and so she counted all the stars."


def skip(why):
    print(f"skip quantised {why}")
    finish(WORK)


try:
    import bitsandbytes
    import bitsandbytes.functional as F
    import peft
except ImportError as problem:
    skip(f"{problem}")
if not os.path.exists(TOKENIZER):
    skip("shared material (stories260k) is missing")


def build_tool():
    source = path("tool.c")
    with open(source, "w") as f:
        f.write('''#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kern/dtype.h"
#include "kern/pack.h"
int main(int argc, char **argv) { /* tool pack|twice|unpack TYPE */
    size_t n = 0, k, cap = 1 << 26;
    char *in = malloc(cap), *out = malloc(4 * cap);
    ar_dtype t;
    while ((k = fread(in + n, 1, cap - n, stdin))) n += k;
    if (argc != 3 || !ar__dtype_from_name(&t, argv[2])) return 1;
    if (!strcmp(argv[1], "unpack")) {
        ar__dtype(t)->to_f32((float *)(void *)out, in, n / 36 * 64);
        return fwrite(out, 4, n / 36 * 64, stdout) != n / 36 * 64;
    }
    ar__dtype(t)->from_f32(out, (float *)(void *)in, n / 4);
    if (!strcmp(argv[1], "twice") && !ar__nf4_quantise_scales(out, n / 4 / 64)) return 1;
    return fwrite(out, 36, n / 4 / 64, stdout) != n / 4 / 64;
}
''')
    libs = subprocess.run(["pkg-config", "--libs", "jansson"], capture_output=True, text=True, check=True).stdout.split()
    build = os.path.join(ROOT, os.environ.get("BUILD", "build"))
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O1", *os.environ.get("TOOL_FLAGS", "").split(), f"-I{ROOT}/include",
                    f"-I{ROOT}/src", "-o", path("tool"), source, f"{build}/libalphar.a", *libs, "-fopenmp", "-lm"], check=True)


def tool(verb, kind, data):
    return np.frombuffer(subprocess.run([path("tool"), verb, kind], input=data, capture_output=True, check=True).stdout, np.uint8)


def blocks(kind, dtype, twice):
    """The same codes; values to the bit.  Twice: on the CPU bitsandbytes takes some scales that lie within 2e-5 of the middle of
    two steps for the farther one; such blocks may be a step apart."""
    torch.manual_seed(1)
    x = (torch.randn(512, 896) * 0.02 * torch.rand(512, 1)).to(dtype)
    x[3, :64] = 0
    codes, state = F.quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=twice)
    wanted = F.dequantize_4bit(codes, state).float().numpy().reshape(-1, 64)
    ours = tool("twice" if twice else "pack", kind, x.float().numpy().tobytes())
    assert (ours.reshape(-1, 36)[:, 4:].reshape(-1) == codes.numpy().reshape(-1)).all(), "other codes"
    got = tool("unpack", kind, ours.tobytes()).view(np.float32).reshape(-1, 64)
    other = (got != wanted).any(axis=1)
    if not twice:
        assert not other.any(), f"{other.sum()} of {len(other)} blocks differ"
        return f"{len(other)} blocks"
    # Their mean is summed in f32 there: a last bit of a scale may differ, and with it a rounding.
    step = {torch.float32: 2.0**-22, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}[dtype]
    other = (np.abs(got - wanted) > step * np.abs(wanted) + 1e-7).any(axis=1)
    most = np.abs(x.float().numpy().reshape(-1, 64)).max(axis=1)
    code, group = state.state2.code.numpy(), state.state2.absmax.numpy()
    at = (most - state.offset.item()) / group[np.arange(len(most)) // 256]  # -1 to 1
    middles = (code[1:] + code[:-1]) / 2
    away = np.array([np.abs(middles - v).min() for v in at[other]] or [0])
    assert away.max() <= 2e-5, f"{other.sum()} of {len(other)} blocks differ, one {away.max():.1e} from a middle"
    return f"{other.sum()} of {len(other)} blocks a step of their scale off, within {away.max():.0e} of a middle"


CONFIG = tf.LlamaConfig(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                        max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def base_and_adapter():
    folder, adapter = path("base"), path("start")
    if not os.path.exists(folder):
        made = bases.make("llama", folder, config=CONFIG)
        makers.make_peft(made, adapter, moved=0.02, r=4, lora_alpha=8)
        os.symlink(TOKENIZER, os.path.join(folder, "tokenizer.json"))
    return folder, adapter


def peft_losses(folder, adapter, ids, twice, steps):
    config = tf.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32,
                                   bnb_4bit_use_double_quant=twice)
    base = tf.AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32, attn_implementation="eager", device_map="cpu")
    model = peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array(losses)


def training(kind, twice):
    folder, adapter = base_and_adapter()
    data, out, steps = path("row.jsonl"), path("out-" + kind), 20
    with open(data, "w") as f:
        f.write(json.dumps(dict(text=TEXT)) + "\n")
    ask("train", "--model", folder, "--data", data, "--out", out, "--steps", str(steps), "--init-adapter", adapter, "--quantize", kind, "--lr", "1e-3",
        "--schedule", "constant", "--warmup", "0", "--clip", "0", "--weight-decay", "0", "--batch", "1", "--compute", "f32")
    rows = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    ours = np.array([r["loss"] for r in rows if "loss" in r])
    ids = ask("tokenize", "--model", folder, "--text", TEXT)["ids"]
    theirs = None
    for end in ([], [2]):  # a text ends with EOS
        theirs = peft_losses(folder, adapter, ids + end, twice, steps)
        if abs(theirs[0] / ours[0] - 1) < 1e-3:
            break
    plain = peft_losses_unquantised(folder, adapter, ids + end, 1)[0]
    apart = np.abs(ours / theirs - 1).max()
    assert apart <= 1e-3, f"losses differ by {apart:.1e}: {ours[:3]} and {theirs[:3]}"
    assert theirs[-1] < theirs[0] - 0.05 and abs(plain / theirs[0] - 1) > 2 * apart, "the losses say nothing"
    return f"losses within {apart:.1e}, {theirs[0]:.4f} to {theirs[-1]:.4f} (unquantised {plain:.4f})"


def noise(kind, twice):
    """inspect and diff beside what bitsandbytes takes off each weight, made of the folder and read from one that transformers saved."""
    folder, adapter = base_and_adapter()
    packed = path("packed-" + kind)
    config = tf.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32,
                                   bnb_4bit_use_double_quant=twice)
    tf.AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32, device_map="cpu").save_pretrained(packed)
    model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    by_type = ask("inspect", adapter, "--model", folder, "--quantize", kind)
    by_folder = ask("inspect", adapter, "--model", packed, "--original", folder)
    plain = ask("inspect", adapter, "--model", folder)
    twice_as_much = path("twice-" + kind)
    run("rescale", adapter, twice_as_much, "--factor", "2", "--overwrite")
    apart = ask("diff", adapter, twice_as_much, "--model", folder, "--quantize", kind, status=1)
    worst, ratios = 0.0, []
    for a, b, p, d in zip(by_type["sites"], by_folder["sites"], plain["sites"], apart["sites"]):
        w = model.get_submodule(a["name"]).weight.detach()
        q = F.dequantize_4bit(*F.quantize_4bit(w.contiguous(), blocksize=64, quant_type="nf4", compress_statistics=twice))
        want = (w.double() - q.double()).norm().item()
        worst = max(worst, abs(a["norm_noise"] / want - 1), abs(b["norm_noise"] / want - 1))
        ratios.append(a["norm_update"] / want)
        assert abs(a["over_noise"] / ratios[-1] - 1) < 1e-3 and p["norm_noise"] is None and p["over_noise"] is None, a["name"]
        assert d["name"] == a["name"] and all(abs(d[k] / ratios[-1] / f - 1) < 1e-3 for k, f in (("over_noise", 1), ("over_noise_a", 1), ("over_noise_b", 2))), d
    assert worst < (1e-3 if twice else 1e-6), f"noise is {worst:.1e} from bitsandbytes'"
    total = by_type["total"]["over_noise"]
    assert total["sites"] == len(ratios) and abs(total["most"] / max(ratios) - 1) < 1e-3 and abs(total["median"] / sorted(ratios)[len(ratios) // 2] - 1) < 1e-3
    assert plain["total"]["over_noise"] is None
    return f"within {worst:.0e}, update by noise {total['least']:.3g} to {total['most']:.3g}"


def peft_losses_unquantised(folder, adapter, ids, steps):
    base = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = peft.PeftModel.from_pretrained(base, adapter)
    return [model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()]


build_tool()
for name, dtype in (("nf4", torch.float32), ("nf4-bf16", torch.bfloat16), ("nf4-f16", torch.float16)):
    check(f"quantised: {name} as bitsandbytes {bitsandbytes.__version__}", blocks, name, dtype, False)
    check(f"quantised: {name}, its scales too", blocks, name, dtype, True)
for name, twice in (("nf4", False), ("nf4-dq", True)):
    check(f"quantised: updates beside the noise of {name}", noise, name, twice)
    check(f"quantised: 20 steps on {name} as PEFT", training, name, twice)
finish(WORK)
