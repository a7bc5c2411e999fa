#!/usr/bin/env python3
"""Folders that other tools quantised, as bases: each read beside a plain folder of what that tool's own code unpacks, to the bit.

bitsandbytes' are saved by transformers, mlx's unpacked by mlx, compressed-tensors' by its library; FP8's codes are torch's.  GPTQ's and
AWQ's packing is written down here from their papers' code."""
import json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
import transformers as tf
from lib import bases
from lib.program import Skip, ask, check, finish, run, workspace
from safetensors.torch import load_file, save_file

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)
IDS = "1,20,57,94,131,168,205,242,279,316,353,390"
CONFIG = tf.LlamaConfig(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                        max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0, attention_bias=True)
rng = np.random.default_rng(3)


def plain(dtype):
    folder = path(f"plain-{dtype}")
    if not os.path.exists(folder):
        bases.make("llama", folder, config=CONFIG)
        tensors = {k: v.to(getattr(torch, dtype)) for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
        save_file(tensors, os.path.join(folder, "model.safetensors"))
        config = json.load(open(os.path.join(folder, "config.json")))
        json.dump(dict(config, dtype=dtype), open(os.path.join(folder, "config.json"), "w"))
    return folder, load_file(os.path.join(folder, "model.safetensors"))


def write(name, like, tensors, quantisation=None, key="quantization_config"):
    folder = path(name)
    os.makedirs(folder)
    config = json.load(open(os.path.join(like, "config.json")))
    if quantisation:
        config[key] = quantisation
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    return folder


def score(folder):
    return ask("score", "--model", folder, "--ids", IDS, "--compute", "f32")["logprobs"]


def is_matrix(name):
    return name.startswith("model.layers.") and name.endswith("proj.weight")


def compare(name, dtype, quantise, config, key="quantization_config"):
    """quantise(W) -> (the parts by their endings, what they unpack to)."""
    like, tensors = plain(dtype)
    packed, exact = {}, {}
    for k, w in tensors.items():
        if not is_matrix(k):
            packed[k] = exact[k] = w
            continue
        parts, values = quantise(w)
        for end, part in parts.items():
            packed[k[: -len(".weight")] + end] = part
        exact[k] = values.to(w.dtype)
    a, b = write(name, like, packed, config, key), write(name + "-exact", like, exact)
    ours, wanted = score(a), score(b)
    assert ours == wanted, f"log p differ by {np.abs(np.array(ours) - wanted).max():.1e}"
    base = np.abs(np.array(wanted) - score(like)).max()
    assert base > 1e-4, "quantising changed nothing"
    return f"the bits of what it unpacks to; {base:.1e} from the model that it was made from"


def bitsandbytes(name, dtype, **settings):
    try:
        import bitsandbytes as bnb
    except ImportError as problem:
        raise Skip(str(problem))
    like, _ = plain(dtype)
    model = tf.AutoModelForCausalLM.from_pretrained(like, quantization_config=tf.BitsAndBytesConfig(**settings), dtype=getattr(torch, dtype),
                                                    device_map="cpu")
    model.save_pretrained(path(name))
    exact = dict(load_file(os.path.join(like, "model.safetensors")))
    for module, m in model.named_modules():
        if isinstance(m, bnb.nn.Linear4bit):
            exact[module + ".weight"] = bnb.functional.dequantize_4bit(m.weight.data, m.weight.quant_state)
        elif isinstance(m, bnb.nn.Linear8bitLt):
            exact[module + ".weight"] = (m.weight.data.float() * m.weight.SCB.view(-1, 1) * 0.007874015718698502).to(getattr(torch, dtype))
    plain_folder = write(name + "-exact", like, {k: v.to(getattr(torch, dtype)) for k, v in exact.items()})
    ours, wanted = score(path(name)), score(plain_folder)
    assert ours == wanted, f"log p differ by {np.abs(np.array(ours) - wanted).max():.1e}"
    return f"{np.abs(np.array(wanted) - score(like)).max():.1e} from the model that it was made from"


def mlx(bits, group):
    try:
        import mlx.core as mx
    except ImportError as problem:
        raise Skip(str(problem))

    def quantise(w):
        q, scales, biases = mx.quantize(mx.array(w.float().numpy()).astype(mx.bfloat16), group_size=group, bits=bits)
        values = mx.dequantize(q, scales, biases, group_size=group, bits=bits)
        to = lambda x: torch.tensor(np.array(x.astype(mx.float32))).to(torch.bfloat16)
        return {".weight": torch.tensor(np.array(q)), ".scales": to(scales), ".biases": to(biases)}, to(values)

    return compare(f"mlx-{bits}-{group}", "bfloat16", quantise, dict(group_size=group, bits=bits), "quantization")


def pack_words(q, bits):
    """[n, k] -> int32 [n, k·bits / 32], lowest bits first."""
    as_bits = ((q[:, :, None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1).reshape(q.shape[0], -1, 32)
    return (as_bits << np.arange(32, dtype=np.uint32)).sum(axis=2, dtype=np.uint64).astype(np.uint32).view(np.int32)


def asymmetric(w, bits, group):
    """By groups of inputs: codes [out, in], zeros and scales [out, in / group]."""
    x = w.float().numpy().reshape(w.shape[0], -1, group)
    low, high = np.minimum(x.min(axis=2), 0), np.maximum(x.max(axis=2), 0)
    scale = ((high - low) / (2**bits - 1)).astype(np.float16)
    zero = np.clip(np.round(-low / scale.astype(np.float32)), 1, 2**bits - 1).astype(np.int64)
    q = np.clip(np.round(x / scale.astype(np.float32)[:, :, None]) + zero[:, :, None], 0, 2**bits - 1).astype(np.int64)
    return q.reshape(w.shape), zero, scale


def gptq(bits, group, shuffled, version):
    def quantise(w):
        q, zero, scale = asymmetric(w, bits, group)
        order = np.repeat(np.arange(w.shape[1] // group), group)
        if shuffled:  # act-order: the group of an input is anything
            mixed = rng.permutation(w.shape[1])
            order = order[mixed]
        values = torch.tensor(scale[:, order]) * torch.tensor((q - zero[:, order]).astype(np.float16))
        stored = zero - (1 if version == "gptq" else 0)
        parts = {".qweight": torch.tensor(pack_words(q, bits).T.copy()), ".qzeros": torch.tensor(pack_words(stored.T, bits)),
                 ".scales": torch.tensor(scale.T.copy()), ".g_idx": torch.tensor(order.astype(np.int32))}
        return parts, values

    config = dict(quant_method="gptq", bits=bits, group_size=group, desc_act=shuffled, sym=False, checkpoint_format=version)
    return compare(f"gptq-{bits}-{group}-{shuffled}-{version}", "float16", quantise, config)


def awq(group):
    def quantise(w):
        q, zero, scale = asymmetric(w, 4, group)
        places = np.array([0, 2, 4, 6, 1, 3, 5, 7])
        pack = lambda x: pack_words(x.reshape(x.shape[0], -1, 8)[:, :, places].reshape(x.shape), 4)
        order = np.repeat(np.arange(w.shape[1] // group), group)
        values = torch.tensor((q - zero[:, order]).astype(np.float16)) * torch.tensor(scale[:, order])
        return {".qweight": torch.tensor(pack(q.T)), ".qzeros": torch.tensor(pack(zero.T)), ".scales": torch.tensor(scale.T.copy())}, values

    return compare(f"awq-{group}", "float16", quantise, dict(quant_method="awq", bits=4, group_size=group, version="gemm", zero_point=True))


def fp8(tiles):
    def quantise(w):
        x = w.float()
        if tiles:
            rows, cols = -(-x.shape[0] // tiles), -(-x.shape[1] // tiles)
            scale = torch.stack([torch.stack([x[i * tiles : (i + 1) * tiles, j * tiles : (j + 1) * tiles].abs().max() / 448 for j in range(cols)]) for i in range(rows)])
            whole = scale.repeat_interleave(tiles, 0)[: x.shape[0]].repeat_interleave(tiles, 1)[:, : x.shape[1]]
        else:
            scale = x.abs().amax(dim=1, keepdim=True) / 448
            whole = scale
        q = (x / whole).to(torch.float8_e4m3fn)
        return {".weight": q, ".weight_scale_inv" if tiles else ".weight_scale": scale}, (q.float() * whole).to(torch.bfloat16)

    config = dict(quant_method="fp8", activation_scheme="dynamic", weight_block_size=[tiles, tiles]) if tiles else dict(
        quant_method="compressed-tensors", format="float-quantized")
    return compare(f"fp8-{tiles}", "bfloat16", quantise, config)


def compressed_tensors(bits, group, symmetric):
    try:
        from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
    except ImportError as problem:
        raise Skip(str(problem))

    def quantise(w):
        x, half = w.float().reshape(w.shape[0], -1, group), 2 ** (bits - 1)
        scale = (x.abs().amax(dim=2) / (half - 0.5)).to(torch.bfloat16)
        zero = torch.zeros_like(scale) if symmetric else torch.round(-x.mean(dim=2) / scale.float()).clamp(-half, half - 1)
        q = (torch.round(x / scale.float()[:, :, None]) + zero[:, :, None].float()).clamp(-half, half - 1).to(torch.int8).reshape(w.shape)
        parts = {".weight_packed": pack_to_int32(q, bits), ".weight_scale": scale, ".weight_shape": torch.tensor(w.shape)}
        if not symmetric:
            parts[".weight_zero_point"] = pack_to_int32(zero.to(torch.int8), bits, packed_dim=0)
        assert (unpack_from_int32(parts[".weight_packed"], bits, torch.Size(w.shape)) == q).all()
        spread = lambda t: t.repeat_interleave(group, 1)
        return parts, (q.to(torch.bfloat16) - spread(zero.to(torch.bfloat16))) * spread(scale)

    config = dict(quant_method="compressed-tensors", format="pack-quantized", config_groups=dict(group_0=dict(weights=dict(
        num_bits=bits, group_size=group, symmetric=symmetric))))
    return compare(f"ct-{bits}-{group}-{symmetric}", "bfloat16", quantise, config)


GPT_OSS = tf.GptOssConfig(vocab_size=512, hidden_size=96, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                          max_position_embeddings=128, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def mxfp4_folders():
    """Two folders, as OpenAI publishes it and as transformers unpacks that."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors
    like, g = path("gpt-oss"), torch.Generator().manual_seed(5)
    if not os.path.exists(like):
        bases.make("gpt_oss", like, config=GPT_OSS)
        config = json.load(open(os.path.join(like, "config.json")))
        json.dump(dict(config, dtype="bfloat16"), open(os.path.join(like, "config.json"), "w"))
    packed, exact = {}, {}
    for k, w in load_file(os.path.join(like, "model.safetensors")).items():
        w = w.to(torch.bfloat16)
        if not k.endswith(("experts.gate_up_proj", "experts.down_proj")):
            packed[k] = exact[k] = w
            continue
        experts, n_in, n_out = w.shape
        blocks = torch.randint(0, 256, (experts, n_out, n_in // 32, 16), generator=g, dtype=torch.uint8)
        scales = torch.randint(117, 125, (experts, n_out, n_in // 32), generator=g, dtype=torch.uint8)
        scales[0, 0, 0], scales[1, 0, 0] = 0, 90
        packed[k + "_blocks"], packed[k + "_scales"] = blocks, scales
        exact[k] = convert_moe_packed_tensors(blocks, scales)
    return like, packed, exact


MXFP4 = dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"])


def mxfp4():
    like, packed, exact = mxfp4_folders()
    a, b = write("mxfp4", like, packed, MXFP4), write("mxfp4-exact", like, exact)
    ours, wanted = score(a), score(b)
    assert ours == wanted, f"log p differ by {np.abs(np.array(ours) - wanted).max():.1e}"
    model = tf.AutoModelForCausalLM.from_pretrained(b, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").double()
    ids = [int(i) for i in IDS.split(",")]
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    far = max(abs(w - lp[i, ids[i + 1]].item()) for i, w in enumerate(ours))
    assert far <= 2e-5, f"{far:.1e} from transformers"
    return f"the bits of what transformers unpacks; {far:.1e} from its log p"


def mxfp4_damaged():
    like, packed, _ = mxfp4_folders()
    scales = next(k for k in packed if k.endswith("gate_up_proj_scales"))
    blocks = scales.replace("_scales", "_blocks")
    wrong = {"none": {scales: None}, "shape": {scales: packed[scales][:, :-1]}, "type": {blocks: packed[blocks].to(torch.int32)},
             "nan": {scales: torch.full_like(packed[scales], 255)}, "few": {blocks: packed[blocks][:-1]}}
    for name, change in wrong.items():
        tensors = {k: v for k, v in {**packed, **change}.items() if v is not None}
        r = run("score", "--model", write(f"mxfp4-{name}", like, tensors, MXFP4), "--ids", IDS, status=None)
        assert r.returncode in range(1, 100) and "gate_up_proj" in r.stderr, f"{name}: {r.returncode} {r.stderr[-300:]}"
    return ", ".join(wrong)


def damaged():
    """A part that is missing, or of another size, is an error that names the matrix."""
    folder = path("gptq-4-32-False-gptq")
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    scales = "model.layers.1.mlp.up_proj.scales"
    config = json.load(open(os.path.join(folder, "config.json")))["quantization_config"]
    for name, edit, words in (("no-scales", lambda t: t.pop(scales), "scales' is not there"),
                              ("short", lambda t: t.update({scales: t[scales][:-1].contiguous()}), "do not make a quantised matrix"),
                              ("endless", lambda t: [t.pop(k) for k in tensors if k.endswith("g_idx")], "its shape"),
                              ("groups", lambda t: t.update({"model.layers.0.mlp.up_proj.g_idx": t["model.layers.0.mlp.up_proj.g_idx"] + 99}), "up_proj")):
        broken = dict(tensors)
        edit(broken)
        made = write(f"damaged-{name}", folder, broken, dict(config, group_size=2**63 - 1) if name == "endless" else config)
        said = run("score", "--model", made, "--ids", IDS, status=1)
        assert words in said.stderr and "proj" in said.stderr, said.stderr


for kind, dtype, settings in (("nf4", "bfloat16", {}), ("nf4", "float32", {}), ("nf4-dq", "float16", dict(bnb_4bit_use_double_quant=True)), ("fp4", "bfloat16", {})):
    check(f"packed base: bitsandbytes {kind} of {dtype}",
          lambda k=kind, d=dtype, s=settings: bitsandbytes(f"bnb-{k}-{d}", d, load_in_4bit=True, bnb_4bit_quant_type=k[:3], **s))
check("packed base: bitsandbytes 8 bits", lambda: bitsandbytes("bnb-8", "float16", load_in_8bit=True))
for bits, group in ((4, 64), (4, 32), (8, 64), (3, 64), (6, 128)):
    check(f"packed base: mlx {bits} bits, groups of {group}", mlx, bits, group)
for bits, group, shuffled, version in ((4, 32, False, "gptq"), (4, 128, True, "gptq"), (8, 64, False, "gptq_v2"), (3, 64, False, "gptq")):
    check(f"packed base: GPTQ {bits} bits, groups of {group}{', in act-order' if shuffled else ''}, {version}", gptq, bits, group, shuffled, version)
check("packed base: AWQ", awq, 64)
check("packed base: FP8, tiles of 128", fp8, 128)
check("packed base: FP8, tiles of 48", fp8, 48)
check("packed base: FP8, a scale a row", fp8, 0)
for bits, group, symmetric in ((4, 64, True), (4, 32, False), (8, 128, True)):
    check(f"packed base: compressed-tensors {bits} bits, {'symmetric' if symmetric else 'with zero points'}", compressed_tensors, bits, group, symmetric)
check("packed base: mxfp4, gpt_oss's experts", mxfp4)
check("packed base: mxfp4, damaged", mxfp4_damaged)
check("packed base: damaged parts", damaged)
finish(WORK)
