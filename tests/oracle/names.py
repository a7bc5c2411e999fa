"""The table of names against those who made the names: gguf-py's TensorNameMap for every row, transformers' own modules
for every path (each path a module of that kind, each linear and embedding in the table), and the row orders against the
converters' reshapes in numpy.  Builds names_tool.c against $BUILD/libalphar.a with $CC."""

import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
SIZES = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=40,
             n_embd=16, n_layer=2, n_head=4, n_inner=32, pad_token_id=0, bos_token_id=1, eos_token_id=2)
failed = False


def report(name, problem=None):
    global failed
    failed |= problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name}: {problem}", flush=True)


def build_tool(folder):
    path = os.path.join(folder, "names_tool")
    libs = subprocess.run(["pkg-config", "--libs", "jansson"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", f"-I{ROOT}/include", f"-I{ROOT}/src", "-o", path,
                    f"{ROOT}/tests/oracle/names_tool.c", f"{BUILD}/libalphar.a", *libs, "-fopenmp", "-lm"], check=True)
    return path


def read_table(tool):
    families = {}
    for line in subprocess.run([tool, "table"], capture_output=True, text=True, check=True).stdout.splitlines():
        arch, types, hf, gguf, mlx, kind, order, conv = line.split("\t")
        families.setdefault((arch, types), []).append((hf, gguf, kind, int(order), conv == "1"))
    return families


def check_gguf(arch, rows):
    try:
        import gguf
    except ImportError:
        print(f"skip GGUF names of {arch}: no gguf module")
        return
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[arch]
    names = gguf.get_tensor_name_map(number, 2)
    # The table of OUTPUT is by family: gemma has none because its head is always tied.
    wrong = []
    for hf, stem, *_ in rows:
        found = names.get_name(hf.removeprefix("transformer.") if arch == "bloom" else hf)
        if hf.endswith("dt_bias"):  # which the converter calls a bias
            found = names.get_name(hf.replace("dt_bias", "dt_proj")) + ".bias"
        if stem.endswith(".scale"):  # gemma 4's, which the converter names by their matrix
            found = names.get_name(hf.rsplit(".router.", 1)[0] + (".router.proj" if "gate_inp" in stem else ".experts.down_proj")) + ".scale"
        if found != stem and not (stem == "output" and found is None and gguf.MODEL_TENSOR.OUTPUT not in gguf.MODEL_TENSORS[number]):
            wrong.append((hf, stem, found))
    wrong = [w for w in wrong if arch != "phi2" or w[2]]  # llama.cpp has no norms of q and k for phi
    if arch in ("qwen2moe", "qwen3moe", "granitemoe"):  # nor dense layers beside experts, and it knows the name that a router has in files
        wrong = [w for w in wrong if w[2] or not (".mlp." in w[0] or names.get_name(w[0] + ".layer") == w[1])]
    report(f"GGUF names of {arch} ({len(rows)})", wrong or None)


def module_kind(module):
    import torch
    name = type(module).__name__
    if name == "Conv1D":
        return "conv1d"
    if isinstance(module, torch.nn.Linear) or ("Router" in name and not hasattr(module, "proj")):
        return "linear"
    if isinstance(module, torch.nn.Embedding) or "Embedding" in name:
        return "embedding"
    return "norm" if "Norm" in name or name == "Conv1d" else None  # a kernel is no module that may carry a pair


def text_modules(model_type):
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM
    kw = dict(SIZES, head_dim=4) if model_type in ("ministral", "hunyuan_v1_dense") else dict(SIZES)  # whose code has no default
    if model_type == "stablelm":
        kw["qk_layernorm"] = True
    if model_type in ("mistral3", "gemma3", "gemma4", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "mixtral", "qwen3_5", "qwen3_5_moe"):
        return None  # wrappers, whose text model has the names; mixtral's experts have no rows
    mixers = ["linear_attention", "full_attention"]  # layer 1 is either
    if model_type == "lfm2":
        mixers[0] = "conv"
    orders = [dict(layer_types=mixers), dict(layer_types=mixers[::-1])] if model_type in ("qwen3_5_text", "qwen3_5_moe_text", "lfm2") else [{}]
    try:
        configs = [AutoConfig.for_model(model_type, **kw, **order) for order in orders]
        if hasattr(configs[0], "mlp_only_layers"):  # and layers without experts
            configs.append(AutoConfig.for_model(model_type, **kw, mlp_only_layers=[1]))
        if hasattr(configs[0], "enable_moe_block"):
            configs.append(AutoConfig.for_model(model_type, **kw, enable_moe_block=True, num_experts=4, top_k_experts=2, moe_intermediate_size=8))
        with torch.device("meta"):
            models = [AutoModelForCausalLM.from_config(config) for config in configs]
    except (ValueError, KeyError):
        return None
    tensors = [n for model in models for n, _ in (*model.named_buffers(), *model.named_parameters())]
    scalars = {n: "norm" for n in tensors if n.endswith(("layer_scalar", ".A_log", ".dt_bias", ".sinks", ".router.scale", ".per_expert_scale"))}  # no module, but a name of the table
    return {n: k for model in models for n, m in model.named_modules() if (k := module_kind(m)) and "rotary" not in n} | scalars


def check_modules(model_type, rows):
    modules = text_modules(model_type)
    if modules is None:
        print(f"skip modules of {model_type}: no language model of these modules alone")
        return
    if "lm_head" in modules:  # gpt_neox: the head's name up to transformers 4
        rows = [row for row in rows if row[0] != "embed_out"]
    head = {"head": "linear"}
    own = {hf: "conv1d" if conv else head.get(kind, kind) for hf, _, kind, _, conv in rows}
    wrong = [(p, k, modules.get(p)) for p, k in own.items() if modules.get(p) != k]
    wrong = [w for w in wrong if not (model_type == "phi" and "layernorm" in w[0] and w[2] is None)]  # q and k are normed if asked
    missing = [p for p, k in modules.items() if k != "norm" and ".0." not in p and p not in own and "experts" not in p]
    problems = ([f"not so in transformers: {wrong}"] if wrong else []) + ([f"not in the table: {missing}"] if missing else [])
    report(f"modules of {model_type} ({len(rows)})", "; ".join(problems) or None)


def check_rows(tool, name, order, n, heads, kv, reshape, more=""):
    out = subprocess.run([tool, "rows", str(order), str(n), f"{heads},{kv}{more}"], capture_output=True, text=True, check=True).stdout
    report(f"rows {name} {n}/{heads}/{kv}", None if [int(x) for x in out.split()] == reshape(np.arange(n)).tolist() else "differ")


def main():
    with tempfile.TemporaryDirectory() as folder:
        tool = build_tool(folder)
        for (arch, types), rows in read_table(tool).items():
            check_gguf(arch, rows)
            for model_type in types.split(","):
                check_modules(model_type, rows)
        for n, heads, kv in ((64, 8, 4), (128, 32, 8), (6, 3, 1)):
            check_rows(tool, "q", 1, n, heads, kv, lambda x: x.reshape(heads, 2, n // heads // 2).swapaxes(1, 2).reshape(-1))
            check_rows(tool, "k", 2, n, heads, kv, lambda x: x.reshape(kv, 2, n // kv // 2).swapaxes(1, 2).reshape(-1))
        for n, heads in ((48, 4), (90, 3)):
            check_rows(tool, "qkv", 3, n, heads, heads,
                       lambda x: np.concatenate([x.reshape(heads, 3, -1)[:, i].reshape(-1) for i in range(3)]))
        for keys, each, d, before in ((2, 2, 24, 64), (3, 1, 8, 48), (4, 4, 1, 0), (2, 3, 16, 0)):
            check_rows(tool, f"values of {before}", 4, before + keys * each * d, 8, 2,
                       lambda x: np.concatenate([x[:before], x[before:].reshape(keys, each, d).swapaxes(0, 1).reshape(-1)]), f",{keys},{keys * each},{d}")
    sys.exit(failed)


main()
