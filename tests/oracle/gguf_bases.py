#!/usr/bin/env python3
"""GGUF files as bases, of every family that llama.cpp has: written by llama.cpp's own converter from seeded Hugging Face folders, read by
Alphar, and judged by transformers (through Alphar's forward of the folder, which logits.py holds against it) and by llama.cpp.

The converter (lib/llama_converter.py) is given a vocabulary of its own, since the seeded bases have none that it would know."""
import ctypes, glob, json, os, pathlib, shutil, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import transformers as tf
from lib import bases, llama, llama_converter, makers
from lib.llama_converter import CASES, SIZES, VOCABULARY, convert
from lib.program import Skip, ask, check, finish, refuses, run, workspace

WORK = workspace()
path = lambda *names: os.path.join(WORK, *names)


def skip(why):
    print(f"skip gguf_bases {why}")
    finish(WORK)


if llama_converter.missing():
    skip(llama_converter.missing())
import gguf

IDS = [1] + [(37 * i) % 480 + 20 for i in range(59)]
# What llama.cpp does otherwise than transformers, so that its log-probabilities judge nothing here.
APART = {"phi3, longrope": "llama.cpp takes factors by the size of the context", "gpt_neox": "llama.cpp has gelu's tanh form"}


def score(model, *flags):
    return np.array(ask("score", "--model", model, "--ids", ",".join(map(str, IDS)), "--compute", "f32", *flags)["logprobs"])


def compare(name):
    folder, file = path(name), path(name + ".gguf")
    bases.make(name, folder, config=CASES[name])
    shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
    convert(name, folder, file)
    ours, theirs = score(file), score(folder)
    apart = np.abs(ours - theirs).max()
    assert apart <= 2e-5, f"GGUF and folder differ by {apart:.1e} in log p"
    said = APART.get(name)
    if not said and not llama.missing():
        judge = llama.ask(file, IDS, [(None, 1)])[0]
        assert not isinstance(judge, str), f"llama.cpp: {judge}"
        gelu = getattr(CASES[name], "hidden_act", None) or getattr(CASES[name], "activation_function", "")
        gelu = "gelu" in str(gelu) or name.startswith("gemma")
        off = np.abs(ours - judge).max()
        assert off <= (1e-2 if gelu else 2e-4), f"llama.cpp differs by {off:.1e}"
        said = f"{off:.1e} from llama.cpp"
    return f"{apart:.1e} from the folder, {said or 'no llama.cpp'}"


WIDE = tf.LlamaConfig(**dict(SIZES, hidden_size=256, intermediate_size=512, num_attention_heads=8, num_key_value_heads=4, num_hidden_layers=2))
TYPES = "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()


def libggml():
    found = sorted(glob.glob(os.path.join(llama.NODE, "node_modules/@node-llama-cpp/*/bins/*/libggml-base.*")))
    if not found:
        raise Skip("no node-llama-cpp, whose libggml quantises")
    lib = ctypes.CDLL(found[0])
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    return lib


def rewrite(source, out, change, beside={}):
    """The file again, each matrix as change(name, array) -> (array, type) has it; beside: tensors that come behind."""
    r = gguf.GGUFReader(source)
    w = gguf.GGUFWriter(out, r.fields["general.architecture"].contents())
    for key, field in r.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            w.add_key_value(key, field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)
    for t in r.tensors:
        x = np.array(t.data, np.float32)
        if x.ndim >= 2:
            x, kind = change(t.name, x)
            w.add_tensor(t.name, x, raw_dtype=kind)
        else:
            w.add_tensor(t.name, x)
    for name, x in beside.items():
        w.add_tensor(name, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def wide():
    folder, file = path("wide"), path("wide.gguf")
    if not os.path.exists(file):
        bases.make("wide", folder, config=WIDE)
        shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
        convert("wide", folder, file)
    return folder, file


def quantise(name, source, out, exact):
    """out: every matrix in the type; exact: what it stands for, in F32."""
    lib, kind = libggml(), gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]

    def pack(_, x):
        if name == "BF16":
            return gguf.quantize(x, kind), kind
        to = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
        x = np.ascontiguousarray(x)
        assert lib.ggml_quantize_chunk(int(kind), x.ctypes.data, to.ctypes.data, 0, x.shape[0], x.shape[1], None) == to.size
        return to, kind

    rewrite(source, out, pack)
    rewrite(source, exact, lambda n, x: (gguf.dequantize(pack(n, x)[0].view(np.float16 if name == "F16" else np.uint8), kind), None))


def types(name):
    folder, source = wide()
    out, exact = path(f"wide-{name}.gguf"), path(f"wide-{name}-exact.gguf")
    quantise(name, source, out, exact)
    ours, wanted = score(out), score(exact)
    apart = np.abs(ours - wanted).max()
    assert apart <= 1e-5, f"{apart:.1e} from the forward of the same values in F32"
    said = ""
    if not llama.missing():  # it rounds activations to 8 bits beside quantised weights
        judge = llama.ask(out, IDS, [(None, 1)])[0]
        assert not isinstance(judge, str), f"llama.cpp: {judge}"
        off = np.abs(ours - judge)
        assert off.max() <= 0.3 and off.mean() <= 0.06, f"llama.cpp differs by {off.max():.1e}, {off.mean():.1e} in the mean"
        said = f", llama.cpp {off.max():.1e}"
    return f"{apart:.1e} from F32{said}"


def train(base, out, targets="all-linear"):
    rows = [{"text": "Once upon a time there was a little fox who could not sleep."}, {"text": "The cat sat on the mat, and so did the dog."}]
    data = path("rows.jsonl")
    pathlib.Path(data).write_text("".join(json.dumps(r) + "\n" for r in rows * 4))
    ask("train", "--model", base, "--data", data, "--out", out, "--steps", "6", "--rank", "4", "--alpha", "8", "--lr", "1e-2", "--targets",
        targets, "--compute", "f32")
    return score(base, "--adapter", out)


def trained_quantised():
    """An adapter trained on Q4_K beside Q6_K, as llama.cpp's Q4_K_M: llama.cpp runs it over the same file."""
    folder, source = wide()
    q4, q6 = path("wide-Q4_K.gguf"), path("wide-Q6_K.gguf")
    for name, file in (("Q4_K", q4), ("Q6_K", q6)):
        if not os.path.exists(file):
            quantise(name, source, file, path("unused.gguf"))
    six = {t.name: t for t in gguf.GGUFReader(q6).tensors}
    mixed = path("wide-Q4_K_M.gguf")
    r = {t.name: t for t in gguf.GGUFReader(q4).tensors}
    take = lambda n, _: ((six if "attn_v" in n or "ffn_down" in n or n == "output.weight" else r)[n].data,
                         (six if "attn_v" in n or "ffn_down" in n or n == "output.weight" else r)[n].tensor_type)
    rewrite(source, mixed, take)
    plain, ours = score(mixed), train(mixed, path("q"))
    ask("convert", path("q"), path("q.gguf"), "--to", "gguf", "--model", mixed)
    moved = np.abs(ours - plain).max()
    if llama.missing():
        return f"moved {moved:.1e}"
    alone, lent = llama.ask(mixed, IDS, [(None, 1), (path("q.gguf"), 1)])
    assert not isinstance(lent, str), f"llama.cpp: {lent}"
    off, base = np.abs(lent - ours).max(), np.abs(alone - plain).max()
    assert moved > 0.5 and off <= base + 0.1, f"moved {moved:.1e}, llama.cpp differs by {off:.1e}, without adapter by {base:.1e}"
    return f"moved {moved:.1e}, llama.cpp differs by {off:.1e}, without adapter by {base:.1e}"


# What PEFT's all-linear leaves out; routers, which llama.cpp adapts too.
TARGETS = {name: "q_proj,v_proj,o_proj,router,experts.gate_up_proj,experts.down_proj" for name in ("gpt_oss", "granitemoe")}
TARGETS["qwen3_5_moe_text"] = "q_proj,in_proj_qkv,in_proj_z,in_proj_b,in_proj_a,out_proj,mlp.gate,shared_expert.up_proj,experts.gate_up_proj,experts.down_proj"
TARGETS["gemma4_text, experts"] = "q_proj,router.proj,mlp.up_proj,experts.gate_up_proj"


def experts(name):
    """Pairs on experts and routers, trained on the folder: run over the file, and as a GGUF adapter by llama.cpp."""
    folder, file, out, lent = path(name), path(name + ".gguf"), path(name + "-a"), path(name + "-a.gguf")
    if not os.path.exists(file):
        bases.make(name, folder, config=CASES[name])
        shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
        convert(name, folder, file)
    plain, ours = score(folder), train(folder, out, TARGETS.get(name, "all-linear"))
    ask("convert", out, lent, "--to", "gguf", "--model", folder)
    same = max(np.abs(score(b, "--adapter", a) - ours).max() for b in (folder, file) for a in (out, lent))
    moved = np.abs(ours - plain).max()
    assert same <= 2e-5 < 0.01 < moved, f"adapter and GGUF adapter, folder and GGUF base: {same:.1e} apart, moved {moved:.1e}"
    if llama.missing():
        return f"moved {moved:.1e}"
    judge = llama.ask(file, IDS, [(None, 1), (lent, 1)])[1]
    assert not isinstance(judge, str), f"llama.cpp: {judge}"
    off = np.abs(judge - ours).max()
    assert off <= (1e-2 if name.startswith("gemma") else 1e-3), f"moved {moved:.1e}, llama.cpp differs by {off:.1e}"  # gelu
    return f"moved {moved:.1e}, llama.cpp differs by {off:.1e}"


def published():
    """gpt_oss's experts in MXFP4, as a folder has them and as the converter repacks them: one model."""
    import torch
    from safetensors.torch import load_file, save_file
    folder, file, tensors, g = path("published"), path("published.gguf"), {}, torch.Generator().manual_seed(3)
    bases.make("gpt_oss", folder, config=tf.GptOssConfig(**dict(CASES["gpt_oss"].to_dict(), intermediate_size=32, dtype="bfloat16")))
    shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
    for k, w in load_file(os.path.join(folder, "model.safetensors")).items():
        if not k.endswith(("experts.gate_up_proj", "experts.down_proj")):
            tensors[k] = w.to(torch.bfloat16)
            continue
        experts, n_in, n_out = w.shape
        tensors[k + "_blocks"] = torch.randint(0, 256, (experts, n_out, n_in // 32, 16), generator=g, dtype=torch.uint8)
        tensors[k + "_scales"] = torch.randint(118, 124, (experts, n_out, n_in // 32), generator=g, dtype=torch.uint8)
    save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    config = json.load(open(os.path.join(folder, "config.json")))
    json.dump(dict(config, quantization_config=dict(quant_method="mxfp4")), open(os.path.join(folder, "config.json"), "w"))
    convert("gpt_oss", folder, file)
    kinds = {t.tensor_type.name for t in gguf.GGUFReader(file).tensors if "_exps.weight" in t.name}
    assert kinds == {"MXFP4"}, f"{kinds}"
    ours, theirs = score(file), score(folder)
    assert (ours == theirs).all(), f"GGUF and folder differ by {np.abs(ours - theirs).max():.1e} in log p"
    if llama.missing():
        return "the folder's bits"
    judge = llama.ask(file, IDS, [(None, 1)])[0]
    assert not isinstance(judge, str), f"llama.cpp: {judge}"
    off = np.abs(ours - judge)
    assert off.max() <= 0.3 and off.mean() <= 0.06, f"llama.cpp differs by {off.max():.1e}, {off.mean():.1e} in the mean"
    return f"the folder's bits; llama.cpp differs by {off.max():.1e}"


def merged():
    """merge --check runs both GGUF files: in F32 they agree; in Q8_0 a rescued file is nearer than one without."""
    source, small, adapter = wide()[1], path("wide-Q8_0.gguf"), path("to-merge")
    if not os.path.exists(small):
        quantise("Q8_0", source, small, path("unused.gguf"))
    train(source, adapter)
    far = {}
    for name, base, *flags in (("f32", source), ("plain", small, "--dtype", "q2_k"), ("rescued", small, "--dtype", "q2_k", "--rescue", "99")):
        far[name] = ask("merge", "--model", base, "--adapter", adapter, "--out", path(f"merged-{name}.gguf"), "--check", "2", *flags)["check"]
    apart = {k: v["max_logprob_difference"] for k, v in far.items()}
    assert far["f32"]["prompts"] == 2 and apart["f32"] <= 2e-5, f"F32 differs by {apart['f32']:.1e}"
    assert apart["rescued"] < 0.02 < apart["plain"], f"{apart}"
    return f"F32 {apart['f32']:.1e}, Q2_K {apart['plain']:.1e}, rescued {apart['rescued']:.1e}"


def behind_factor():
    """A pair of a gemma 4 expert's down_proj, which llama.cpp would not multiply by the expert's factor: refused both ways."""
    name = "gemma4_text, experts"
    folder, out, lent = path(name), path("behind"), path("behind.gguf")
    if not os.path.exists(folder):
        bases.make(name, folder, config=CASES[name])
        shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
    train(folder, out, "experts.down_proj")
    refuses(lent, ["behind the expert's factor"], "convert", out, lent, "--to", "gguf", "--model", folder)
    w = gguf.GGUFWriter(lent, "gemma4")
    for key, value in {"general.type": "adapter", "adapter.type": "lora"}.items():
        w.add_string(key, value)
    w.add_float32("adapter.lora.alpha", 8.0)
    for half, shape in (("a", (5, 4, 32)), ("b", (5, 64, 4))):
        w.add_tensor(f"blk.0.ffn_down_exps.weight.lora_{half}", np.zeros(shape, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    refuses(lent + ".none", ["behind the expert's factor"], "inspect", lent)
    return "refused"


def scaled():
    """NVFP4 as it is published: a scale of each tensor in another beside it, which goes with the weight wherever that goes."""
    kind, rng, beside, packed = gguf.GGMLQuantizationType.NVFP4, np.random.default_rng(7), {}, {}
    folder, source = wide()
    out, exact, adapter = path("scaled.gguf"), path("scaled-exact.gguf"), path("scaled-a")
    for t in gguf.GGUFReader(source).tensors:
        n, k = t.data.shape if t.name.startswith("blk.") and t.data.ndim == 2 else (0, 0)
        if not n:
            continue
        block = rng.integers(0, 256, (n, k // 64, 36), dtype=np.uint8)
        block[..., :4] = 0x30 + rng.integers(0, 16, (n, k // 64, 4))  # scales of 16 values
        packed[t.name] = block.reshape(n, -1)
        stem, size = t.name.removesuffix(".weight"), gguf.dequantize(packed[t.name], kind).std() * k**0.5
        beside |= {stem + ".scale": np.array([rng.uniform(0.5, 1.0) / size], np.float32), stem + ".input_scale": np.ones(1, np.float32)}
    value = lambda n, x: (gguf.dequantize(packed[n], kind) * beside[n.removesuffix("weight") + "scale"] if n in packed else x)
    half = lambda x: gguf.dequantize(gguf.quantize(np.ascontiguousarray(x, np.float32), gguf.GGMLQuantizationType.BF16), gguf.GGMLQuantizationType.BF16)
    rewrite(source, out, lambda n, x: (packed[n], kind) if n in packed else (x, None), beside)
    rewrite(source, exact, lambda n, x: (half(value(n, x)) if n in packed else x, None))  # to run it is widened to bf16
    rewrite(source, path("scaled-f32.gguf"), lambda n, x: (value(n, x), None))
    apart = [np.abs(score(out) - score(exact)).max()]
    ask("convert", out, path("scaled-hf"), "--to", "hf", "--dtype", "f32")
    apart.append(np.abs(score(path("scaled-hf")) - score(path("scaled-f32.gguf"))).max())
    ours = train(out, adapter)
    apart.append(np.abs(score(exact, "--adapter", adapter) - ours).max())
    moved = np.abs(ours - score(out)).max()
    makers.make_peft(bases.make("wide", folder, config=WIDE), adapter + "-dora", moved=0.2, use_dora=True, target_modules=["up_proj", "q_proj"])
    merged = []
    for lent in (adapter, adapter + "-dora"):
        ask("merge", "--model", out, "--adapter", lent, "--dtype", "f32", "--out", path("scaled-merged.gguf"), "--overwrite")
        merged.append(np.abs(score(path("scaled-merged.gguf")) - score(path("scaled-f32.gguf"), "--adapter", lent)).max())
    noise = [ask("quantize", "--model", m, "--out", path("scaled-8.gguf"), "--type", "q8_0", "--overwrite")["noise"] for m in (path("scaled-f32.gguf"), out)]
    assert abs(noise[0] / noise[1] - 1) < 1e-3, f"noise of the same values {noise}"  # of both files, not of what the scales leave
    eight, said = score(path("scaled-8.gguf")), "no llama.cpp"
    if not llama.missing():
        off = [np.abs(a - b).mean() for a, b in zip((score(out), eight), (llama.ask(f, IDS, [(None, 1)])[0] for f in (out, path("scaled-8.gguf"))))]
        assert max(off) <= 0.06, f"llama.cpp differs by {off} in the mean"
        said = f"llama.cpp {off[0]:.1e} and {off[1]:.1e} in the mean"
    for wrong, words in ((np.array([np.nan], np.float32), "holds nan"), (np.ones(2, np.float32), "holds 2 values of F32"), (np.ones(1, np.float16), "of F16")):
        rewrite(source, path("wrong.gguf"), lambda n, x: (packed[n], kind) if n in packed else (x, None), beside | {"blk.1.ffn_up.scale": wrong})
        refuses(path("never"), ["blk.1.ffn_up.scale", words], "score", "--model", path("wrong.gguf"), "--ids", "1,2,3")
    assert max(apart) <= 2e-5 and max(merged) <= 2e-2 and moved > 0.2, f"{apart}, merged {merged}, moved {moved}"
    return f"{max(apart):.1e} from the values, merged {max(merged):.1e} (f32 beside bf16), {said}"


def scaled_stacks():
    """A scale of each expert, or one of all: of a stack that holds gate and up in one, and of one that holds a matrix of each."""
    said = []
    for name, stack in (("gemma4_text, experts", "ffn_gate_up_exps"), ("qwen3_moe", "ffn_up_exps")):
        folder, file, out = path(name), path(name + ".gguf"), path(name + "-scaled.gguf")
        if not os.path.exists(file):
            bases.make(name, folder, config=CASES[name])
            shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
            convert(name, folder, file)
        count = next(t.shape[2] for t in gguf.GGUFReader(file).tensors if stack in t.name)
        scale = {"one": np.float32([-4.0]), "each": 2.0 ** np.arange(count, dtype=np.float32)}
        for which, by in scale.items():
            beside = {t.name.replace(".weight", ".scale"): by for t in gguf.GGUFReader(file).tensors if stack in t.name}
            rewrite(file, out, lambda n, x: (x / by.reshape(-1, 1, 1) if stack in n else x, None), beside)
            ask("convert", out, out + "-hf", "--to", "hf", "--dtype", "f32", "--overwrite")
            apart = max(np.abs(score(x) - score(file)).max() for x in (out + "-hf",)), np.abs(score(out) - score(file)).max()
            assert apart[0] <= 2e-5 and apart[1] <= 0.1, f"{stack}, {which}: {apart}"  # to run it is widened to bf16
            said.append(f"{apart[0]:.1e}")
    return ", ".join(said)


LENT = {"gemma4_text": ("q_proj", "k_proj", "per_layer_input_gate", "per_layer_projection", "per_layer_model_projection"),
        "lfm2": ("in_proj", "out_proj", "q_proj", "w1", "w2"),
        "qwen3_5_text": ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj", "q_proj", "o_proj", "down_proj")}


def lent(name):
    """Adapters on a family's own linears, run by llama.cpp: all but the pair of gemma 4's per_layer_model_projection, which it loads and leaves out."""
    folder, file, said = path(name), path(name + ".gguf"), []
    base = bases.make(name, folder, config=CASES[name])
    shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
    convert(name, folder, file)
    plain = score(folder)
    for target in LENT[name]:
        adapter, out = path(f"{name}-lent-{target}"), path(f"{name}-lent-{target}.gguf")
        makers.make_peft(base, adapter, moved=0.4 if target == "q_proj" else 0.2, target_modules=[target])  # which stand in some layers alone
        warned = "does not run it" in run("convert", adapter, out, "--to", "gguf", "--model", folder).stderr
        assert warned == (target == "per_layer_model_projection"), f"{target}: warned {warned}"
        if llama.missing():
            continue
        judge = llama.ask(file, IDS, [(out, 1)])[0]
        assert not isinstance(judge, str), f"llama.cpp: {judge}"
        ours = score(folder, "--adapter", adapter)
        off, moved = np.abs((plain if warned else ours) - judge).max(), np.abs(ours - plain).max()
        assert moved > 0.5 and off <= 2e-2, f"{target}: llama.cpp differs by {off:.1e}, moved {moved:.1e}"
        said.append(f"{off:.0e}")
    return f"llama.cpp within {', '.join(said)}" if said else "no llama.cpp"


def value_heads():
    """Pairs on the delta rule's linears over a file that has value heads in another order: there and back to the bit, merged into either, and into a file
    of blocks that hold columns of two heads."""
    from safetensors.torch import load_file
    name, targets = "qwen3_5_text", ["in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"]
    folder, file, adapter, lent, back, apart = (path("value-heads" + x) for x in ("", ".gguf", "-a", "-a.gguf", "-back", "-blocks"))
    sizes = dict(CASES[name].to_dict(), linear_value_head_dim=48)  # no multiple of a block
    base = bases.make(name, folder, config=tf.Qwen3_5TextConfig(**sizes))
    shutil.copy(os.path.join(os.path.dirname(VOCABULARY), "tokenizer.json"), folder)
    ask("convert", folder, file, "--to", "gguf")
    makers.make_peft(base, adapter, moved=0.2, target_modules=targets)
    ask("convert", adapter, lent, "--to", "gguf", "--model", folder)
    for model in (["--model", file], []):  # the adapter says how many heads there are
        ask("convert", lent, back, "--to", "peft", "--overwrite", *model)
        a, b = (load_file(os.path.join(x, "adapter_model.safetensors")) for x in (adapter, back))
        assert set(a) == set(b) and all((a[k] == b[k]).all() for k in a), "the adapter does not come back"
    moved, ours, rounded = score(folder, "--adapter", adapter), [], []
    for base_of, lent_of in ((folder, lent), (file, adapter), (file, lent)):
        ours.append(np.abs(score(base_of, "--adapter", lent_of) - moved).max())
    for base_of, out in ((folder, "-merged"), (file, "-merged.gguf")):
        ask("merge", "--model", base_of, "--adapter", adapter, "--out", path("value-heads" + out))
        rounded.append(score(path("value-heads" + out)))
    ask("quantize", "--model", folder, "--out", apart + ".gguf", "--type", "q8_0")
    ask("convert", apart + ".gguf", apart, "--to", "hf", "--dtype", "f32")
    ours.append(np.abs(score(apart + ".gguf") - score(apart)).max())
    damaged = gguf.GGUFReader(apart + ".gguf", "r+")
    next(t for t in damaged.tensors if t.name == "blk.1.ssm_a").data[2] = 0.5  # of no exponent
    damaged.data.flush()
    refuses(back + ".none", ["blk.1.ssm_a", "NaN"], "score", "--model", apart + ".gguf", "--ids", "1,2,3")
    ours.append(np.abs(rounded[0] - rounded[1]).max())
    far = np.abs(rounded[0] - moved).max()  # the rule's norm makes much of little
    assert max(ours) <= 2e-5 and far <= 5e-4 and np.abs(moved - score(folder)).max() > 0.5, f"{ours}"
    return f"log p within {max(ours):.1e}, merged {far:.1e}"


for one in TYPES if len(sys.argv) < 2 else []:
    check(f"gguf base in {one}", types, one)
if len(sys.argv) < 2 or "scaled" in sys.argv:
    check("gguf base in NVFP4, scaled", scaled)
    check("gguf base: stacks of experts, scaled", scaled_stacks)
if len(sys.argv) < 2 or "gpt_oss" in sys.argv:
    check("gguf base: gpt_oss in MXFP4", published)
if len(sys.argv) < 2:
    check("gguf base merged", merged)
    check("gguf base in Q4_K and Q6_K: trained, and run by llama.cpp", trained_quantised)
if len(sys.argv) < 2 or "qwen3_5_text" in sys.argv:
    check("gguf adapters: value heads of qwen3_5_text", value_heads)
if len(sys.argv) < 2 or "gemma4_text, experts" in sys.argv:
    check("gguf adapter on gemma4_text, experts' down_proj", behind_factor)
for one in [x for x in LENT if x in (sys.argv[1:] or LENT)]:
    check(f"gguf adapters on {one}", lent, one)
for one in [x for x in ("mixtral", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss", "gemma4_text, experts", "qwen3_5_moe_text") if x in (sys.argv[1:] or CASES)]:
    check(f"gguf base: {one}, pairs on experts", experts, one)
for one in [x for x in CASES if x in (sys.argv[1:] or CASES)]:
    check(f"gguf base: {one}", compare, one)
finish(WORK)
