#!/usr/bin/env python3
"""`alphar merge` against PEFT on tiny random models of many families: every tensor of the merged folder against
merge_and_unload (1e-6 relative; DoRA 1e-5), the logits that transformers gets from the folder against PEFT's before
merging (which keeps a tied head apart from an adapted embedding), survival of rounding against numpy, and --check."""
import json, os, subprocess, sys, tempfile, warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")
BASE = os.path.join(ROOT, "demo", "base")

try:
    import numpy as np, peft, torch, transformers as tf
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
except ImportError as e:
    print(f"skip merge {e}")
    sys.exit(0)

tf.logging.set_verbosity_error()
tf.logging.disable_progress_bar()
failed = False
FAST = os.environ.get("ALPHAR_TEST_FAST")


def report(name, problem=None):
    global failed
    failed |= problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name}: {problem}", flush=True)


S = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=90, max_position_embeddings=64,
         bos_token_id=1, eos_token_id=2, pad_token_id=0)
KV = dict(S, num_key_value_heads=2)
GPT2 = dict(n_embd=32, n_layer=2, n_head=4, n_inner=48, n_positions=64, vocab_size=90, bos_token_id=1, eos_token_id=2)
LINEAR = "all-linear"


def case(name, config, adapters, **more):
    adapters = adapters if isinstance(adapters, list) else [adapters]
    return dict(dict(name=name, config=config, adapters=adapters, weights=[1.0] * len(adapters), dtype="float32", bound=1e-6, shards=None,
                     bare=False, flags=[]), **more)


def lora(**more):
    return dict(dict(r=4, lora_alpha=6, target_modules=LINEAR), **more)


CASES = [
    case("llama", tf.LlamaConfig(**KV), lora()),
    case("llama, tied", tf.LlamaConfig(**KV, tie_word_embeddings=True), lora(use_rslora=True)),
    case("llama, tied, head adapted", tf.LlamaConfig(**KV, tie_word_embeddings=True), lora(target_modules=["q_proj", "lm_head"])),
    case("llama, tied, embedding adapted", tf.LlamaConfig(**KV, tie_word_embeddings=True), lora(target_modules=["v_proj", "embed_tokens"])),
    case("llama, tied, both adapted", tf.LlamaConfig(**KV, tie_word_embeddings=True), lora(target_modules=["embed_tokens", "lm_head"])),
    case("llama, tied, head saved", tf.LlamaConfig(**KV, tie_word_embeddings=True), lora(modules_to_save=["lm_head"]), shards="8KB"),
    case("llama, embedding and head", tf.LlamaConfig(**KV), lora(target_modules=["embed_tokens", "lm_head", "down_proj"])),
    case("llama, norms saved", tf.LlamaConfig(**KV), lora(modules_to_save=["norm", "input_layernorm"])),
    case("llama, biases all", tf.LlamaConfig(**KV, attention_bias=True, mlp_bias=True), lora(target_modules=["q_proj"], bias="all")),
    case("llama, biases of adapted", tf.LlamaConfig(**KV, attention_bias=True), lora(target_modules=["q_proj", "k_proj"], bias="lora_only")),
    case("llama, bias on B", tf.LlamaConfig(**KV, attention_bias=True), lora(target_modules=["q_proj", "o_proj"], lora_bias=True)),
    case("llama, patterns", tf.LlamaConfig(**KV), lora(rank_pattern={"q_proj": 7}, alpha_pattern={"up_proj": 2.5, "layers.1.self_attn.q_proj": -3})),
    case("llama, sharded", tf.LlamaConfig(**KV), lora(), shards="10KB"),
    case("llama, DoRA", tf.LlamaConfig(**KV), lora(use_dora=True), bound=1e-5),
    case("llama, DoRA on embedding", tf.LlamaConfig(**KV), lora(use_dora=True, target_modules=["embed_tokens", "o_proj"]), bound=1e-5),
    case("llama, two weighted", tf.LlamaConfig(**KV), [lora(), lora(r=3, lora_alpha=5, target_modules=["q_proj", "up_proj"])],
         weights=[0.5, -1.25]),
    case("llama, three", tf.LlamaConfig(**KV), [lora(), lora(use_rslora=True), lora(r=2, modules_to_save=["lm_head"], target_modules=["v_proj"])],
         weights=[1.0, 0.25, 1.0]),
    case("qwen2", tf.Qwen2Config(**KV), lora()),
    case("qwen2, bias on B", tf.Qwen2Config(**KV), lora(target_modules=["q_proj", "v_proj"], lora_bias=True)),
    case("qwen3", tf.Qwen3Config(**KV, head_dim=8), lora()),
    case("mistral", tf.MistralConfig(**KV), lora()),
    case("gpt2", tf.GPT2Config(**GPT2), lora(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
    case("gpt2, without prefix", tf.GPT2Config(**GPT2), lora(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True), bare=True),
    case("gpt2, DoRA", tf.GPT2Config(**GPT2), lora(target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, use_dora=True), bound=1e-5),
    case("gpt2, tied, embeddings adapted", tf.GPT2Config(**GPT2), lora(target_modules=["c_fc", "wte", "wpe"], fan_in_fan_out=True)),
    case("gemma", tf.GemmaConfig(**KV, head_dim=8), lora()),
    case("gemma2", tf.Gemma2Config(**KV, head_dim=8), lora()),
    case("gemma3", tf.Gemma3TextConfig(**KV, head_dim=8), lora()),
    case("phi3", tf.Phi3Config(**KV), lora()),
    case("gpt_neox", tf.GPTNeoXConfig(**S), lora()),
    case("gpt_neox, head adapted", tf.GPTNeoXConfig(**S), lora(target_modules=["dense", "embed_out"])),
    case("bloom", tf.BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=90, bos_token_id=1, eos_token_id=2), lora()),
    case("opt, no family of the table", tf.OPTConfig(**{k: v for k, v in S.items() if k != "intermediate_size"}, ffn_dim=48,
                                                     word_embed_proj_dim=32), lora(target_modules=["q_proj", "fc1"])),
]


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"exit {r.returncode}: {r.stderr[-500:]}")
    return json.loads(r.stdout)


def build_base(c, folder):
    torch.manual_seed(len(c["name"]))
    c["config"]._attn_implementation = "eager"
    model = tf.AutoModelForCausalLM.from_config(c["config"]).to(getattr(torch, c["dtype"]))
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape) * (0.2 if p.dim() > 1 else 0.1) + (1.0 if p.dim() == 1 and "bias" not in name else 0.0))
    model.save_pretrained(folder, **(dict(max_shard_size=c["shards"]) if c["shards"] else {}))
    if c["bare"]:
        path = os.path.join(folder, "model.safetensors")
        save_file({k.removeprefix("transformer."): v for k, v in load_file(path).items()}, path, {"format": "pt"})


def load(folder):
    """The model, and what transformers missed or did not expect."""
    model, info = tf.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, attn_implementation="eager", dtype=torch.float32)
    left = {k: v for k, v in info.items() if k in ("missing_keys", "unexpected_keys", "mismatched_keys") and v}
    return model.eval(), left


def build_adapter(base, spec, folder, seed):
    torch.manual_seed(seed)
    model = peft.get_peft_model(load(base)[0], peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **spec))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_embedding" in name or "lora_A" in name or "lora_B" in name:
                p.copy_(torch.randn(p.shape) * 0.15)
            elif "lora_magnitude" in name:
                p.mul_(1 + 0.2 * torch.randn(p.shape))
            elif p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape))
    model.save_pretrained(folder)


def by_peft(c, base, folders):
    """Logits before merging and the merged state; several adapters with PEFT's own s times the weight, one after another."""
    ids = torch.arange(3, 33).reshape(2, 15)
    model = peft.PeftModel.from_pretrained(load(base)[0], folders[0], adapter_name="a0").eval()
    names = ["a0"]
    for i, f in enumerate(folders[1:], 1):
        model.load_adapter(f, adapter_name=f"a{i}")
        names.append(f"a{i}")
    for m in model.modules():
        if isinstance(m, peft.tuners.lora.LoraLayer):
            for n, w in zip(names, c["weights"]):
                if n in m.scaling:
                    m.scaling[n] *= w
    model.base_model.set_adapter(names)
    with torch.no_grad():
        logits = model(ids).logits
    return ids, logits, model.merge_and_unload(adapter_names=names).state_dict()


def compare(c, base, folders, out):
    ids, logits, want = by_peft(c, base, folders)
    model, left = load(out)
    if left:
        return f"transformers: {left}"
    with torch.no_grad():
        got = model(ids).logits
    d = ((got - logits).norm() / logits.norm()).item()
    if not d <= 20 * c["bound"]:
        return f"logits differ by {d:.3g}"
    if "tied" in c["name"]:
        return None if not model.config.tie_word_embeddings or len(folders) and c["name"] == "llama, tied" else "the tie is left in config.json"
    state = model.state_dict()
    if state.keys() != want.keys():
        return f"other tensors: {state.keys() ^ want.keys()}"
    for k, v in want.items():
        d = ((state[k] - v).norm() / v.norm().clamp(min=1e-20)).item()
        if not d <= c["bound"]:
            return f"{k} differs by {d:.3g}"


def check_files(c, base, out):
    """The same shards, the right index, metadata kept, the configuration byte for byte unless the tie ended."""
    names = lambda d: sorted(n for n in os.listdir(d) if n != "merge.json")
    if names(base) != names(out):
        return f"files {set(names(base)) ^ set(names(out))}"
    total = 0
    index = os.path.join(out, "model.safetensors.index.json")
    where = json.load(open(index)) if os.path.exists(index) else None
    for n in names(out):
        if not n.endswith(".safetensors"):
            continue
        with safe_open(os.path.join(out, n), "pt") as f:
            if f.metadata() != {"format": "pt"}:
                return f"metadata of {n}: {f.metadata()}"
            for k in f.keys():
                total += f.get_tensor(k).nbytes
                if where and where["weight_map"].get(k) != n:
                    return f"the index puts {k} elsewhere"
    if where and where["metadata"]["total_size"] != total:
        return f"total_size {where['metadata']['total_size']}, the tensors have {total}"
    a, b = (open(os.path.join(d, "config.json")).read() for d in (base, out))
    if a != b and (json.loads(a) | {"tie_word_embeddings": False}) != json.loads(b):
        return "config.json changed"


def one(c, room):
    base, out = os.path.join(room, "base"), os.path.join(room, "out")
    build_base(c, base)
    folders = []
    for i, spec in enumerate(c["adapters"]):
        folders.append(os.path.join(room, f"adapter{i}"))
        build_adapter(base, spec, folders[-1], 10 + i)
    args = []
    for f, w in zip(folders, c["weights"]):
        args += ["--adapter", f if w == 1.0 else f"{f}:{w}"]
    result = run(PROGRAM, "merge", "--json", "--model", base, *args, "--out", out, *c["flags"])
    problem = compare(c, base, folders, out) or check_files(c, base, out)
    if not problem and not 0.9999 < result["min_survival"] <= 1.0001:
        problem = f"survival {result['min_survival']}"
    return problem


def pair_updates(folder):
    """site -> s·B·A in double."""
    c = json.load(open(os.path.join(folder, "adapter_config.json")))
    t = load_file(os.path.join(folder, "adapter_model.safetensors"))
    s = c["lora_alpha"] / c["r"]
    return {k[len("base_model.model."):-len(".lora_A.weight")]: s * t[k.replace("lora_A", "lora_B")].double().numpy() @ t[k].double().numpy()
            for k in t if k.endswith("lora_A.weight")}


def rounding(room, stored, written, scale):
    """Survival and every written value against numpy, for a base stored in one type and written in another."""
    c = case("rounding", tf.LlamaConfig(**KV), lora(), dtype=stored)
    base, out, adapter = (os.path.join(room, n) for n in ("base", "out", "adapter"))
    build_base(c, base)
    build_adapter(base, c["adapters"][0], adapter, 5)
    result = run(PROGRAM, "merge", "--json", "--model", base, "--adapter", f"{adapter}:{scale}", "--out", out, "--dtype", written)
    to = {"keep": getattr(torch, stored), "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[written]
    before, after, delta = load_file(os.path.join(base, "model.safetensors")), load_file(os.path.join(out, "model.safetensors")), pair_updates(adapter)
    config = json.load(open(os.path.join(out, "config.json")))
    if config.get("dtype") != str(to).split(".")[1]:
        return f"config.json says {config.get('dtype')}"
    survival = {x["name"]: x["survival"] for x in result["sites"]}
    if survival.keys() != delta.keys():
        return f"sites {survival.keys() ^ delta.keys()}"
    for k, v in before.items():
        site = k.removesuffix(".weight")
        d = torch.from_numpy(delta[site]) * scale if site in delta else torch.zeros(v.shape, dtype=torch.double)
        want = (v.float() + d.float()).to(to)
        if after[k].dtype != to:
            return f"{k} is {after[k].dtype}"
        off = (after[k].double() - want.double()).abs() > 1e-6 * want.double().abs().max()
        if off.sum() > 1e-3 * off.numel():  # a tie of rounding may fall the other way for another last bit of the sum
            return f"{k}: {off.sum()} of {off.numel()} values differ"
        if site not in delta:
            continue
        s = (((after[k].double() - v.to(to).double()) * d).sum() / (d * d).sum()).item()
        if abs(s - survival[site]) > 1e-4:
            return f"{site}: survival {survival[site]}, numpy has {s}"
    if min(survival.values()) != result["min_survival"]:
        return "min_survival is no minimum"
    if scale < 0.01 and to != torch.float32 and not result["min_survival"] < 0.95:
        return f"nothing was lost: {result['min_survival']}"


def fp8(room):
    """An fp8 tensor is carried where nothing adapts it, and refused by name where something does."""
    base, adapter = os.path.join(room, "base"), os.path.join(room, "adapter")
    c = case("fp8", tf.LlamaConfig(**KV), lora(target_modules=["q_proj"]))
    build_base(c, base)
    build_adapter(base, c["adapters"][0], adapter, 5)
    path = os.path.join(base, "model.safetensors")
    t = load_file(path)
    for name, refused in (("model.layers.0.mlp.up_proj.weight", False), ("model.layers.1.self_attn.q_proj.weight", True)):
        t[name] = t[name].to(torch.float8_e4m3fn)
        save_file(t, path, {"format": "pt"})
        out = os.path.join(room, "out")
        r = subprocess.run([PROGRAM, "merge", "--model", base, "--adapter", adapter, "--out", out, "--overwrite"], capture_output=True, text=True)
        if not refused:
            if r.returncode:
                return r.stderr
            got = load_file(os.path.join(out, "model.safetensors"))[name]
            if got.dtype != torch.float8_e4m3fn or got.view(torch.uint8).ne(t[name].view(torch.uint8)).any():
                return "the fp8 tensor changed"
        elif r.returncode != 1 or name not in r.stderr or "F8_E4M3" not in r.stderr:
            return f"exit {r.returncode}: {r.stderr}"


def check_runs(room):
    """--check on the demo's base (bf16, tied), in f32 and as it is."""
    adapter = os.path.join(room, "adapter")
    torch.manual_seed(3)
    config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **lora(lora_alpha=2, target_modules=["q_proj", "down_proj", "lm_head"]))
    peft.get_peft_model(load(BASE)[0], config).save_pretrained(adapter)
    check = [run(PROGRAM, "merge", "--json", "--model", BASE, "--adapter", adapter, "--out", os.path.join(room, d), "--dtype", d, "--check", "3")
             for d in ("f32", "keep")]
    exact, rounded = (c["check"]["max_logprob_difference"] for c in check)
    if check[0]["check"]["prompts"] != 3 or not exact < 2e-5:
        return f"f32 differs by {exact}"
    if not 1e-4 < rounded < 1:
        return f"bf16 differs by {rounded}"
    if not check[0]["untied"]:
        return "the tie is kept"


def gguf_file(room):
    """A GGUF base with llama's row order, in f32, f16 and q8_0, against the merged folder."""
    import gguf
    base, adapter, out = (os.path.join(room, n) for n in ("base", "adapter", "out"))
    c = case("gguf", tf.LlamaConfig(**dict(KV, hidden_size=64, intermediate_size=96)), lora(target_modules="all-linear"))
    build_base(c, base)
    build_adapter(base, c["adapters"][0], adapter, 5)
    run(PROGRAM, "merge", "--json", "--model", base, "--adapter", adapter, "--out", out)
    t, want = load_file(os.path.join(base, "model.safetensors")), load_file(os.path.join(out, "model.safetensors"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    Q = gguf.GGMLQuantizationType

    def order(k, x, back=False):
        h = 4 if "q_proj" in k else 2 if "k_proj" in k else 0
        if not h:
            return x
        shape = (h, -1, 2, x.shape[-1]) if back else (h, 2, x.shape[0] // h // 2, x.shape[-1])
        return x.reshape(shape).swapaxes(1, 2).reshape(x.shape)

    for kind, bound in ((Q.F32, 1e-6), (Q.F16, 1e-3), (Q.Q8_0, 1e-2)):
        path, merged = os.path.join(room, f"{kind.name}.gguf"), os.path.join(room, f"merged-{kind.name}.gguf")
        w = gguf.GGUFWriter(path, "llama")
        w.add_block_count(2), w.add_embedding_length(64), w.add_head_count(4), w.add_head_count_kv(2), w.add_name("base of a test")
        for k, v in t.items():
            v = np.ascontiguousarray(order(k, v.numpy()))
            q = kind if v.ndim == 2 else Q.F32
            w.add_tensor(names.get_name(k, (".weight",)) , gguf.quants.quantize(v, q), raw_dtype=q)
        w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
        run(PROGRAM, "merge", "--json", "--model", path, "--adapter", adapter, "--out", merged)
        r = gguf.GGUFReader(merged)
        got = {x.name: x for x in r.tensors}
        if "general.name" not in r.fields or len(got) != len(t):
            return "key-values or tensors are lost"
        for k, v in want.items():
            x = got[names.get_name(k, (".weight",))]
            y = order(k, gguf.quants.dequantize(x.data, x.tensor_type).reshape(v.shape), back=True)
            d = np.linalg.norm(y - v.numpy()) / np.linalg.norm(v.numpy())
            if (x.tensor_type != kind and v.ndim == 2) or not d <= bound:
                return f"{kind.name} {x.name}: {x.tensor_type.name}, differs by {d:.3g}"


def rescued(room):
    """--rescue N on Q4_0: the sites of least survival, by numpy, are F16 of W + dW; all else has the bytes of a merge without it."""
    import gguf
    base, adapter = os.path.join(room, "base"), os.path.join(room, "adapter")
    c = case("rescued", tf.LlamaConfig(**dict(KV, hidden_size=64, intermediate_size=96)), lora(target_modules="all-linear"))
    build_base(c, base)
    build_adapter(base, c["adapters"][0], adapter, 5)
    names, Q = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2), gguf.GGMLQuantizationType
    path = os.path.join(room, "base.gguf")
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(2), w.add_embedding_length(64), w.add_head_count(4), w.add_head_count_kv(2)
    for k, v in load_file(os.path.join(base, "model.safetensors")).items():
        q = Q.Q4_0 if v.ndim == 2 else Q.F32
        w.add_tensor(names.get_name(k, (".weight",)), gguf.quants.quantize(np.ascontiguousarray(v.numpy()), q), raw_dtype=q)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()

    def read(name, *options):
        out = os.path.join(room, name)
        answer = run(PROGRAM, "merge", "--json", "--model", path, "--adapter", adapter, "--out", out, "--scale", "0.02", *options)
        return answer, {x.name: x for x in gguf.GGUFReader(out).tensors}

    def values(x):
        return gguf.quants.dequantize(x.data, x.tensor_type).astype(np.float64).ravel()

    (_, plain), (_, full), (said, got) = read("plain.gguf"), read("full.gguf", "--dtype", "f32"), read("rescued.gguf", "--rescue", "3")
    before = {x.name: values(x) for x in gguf.GGUFReader(path).tensors}
    survival = {}
    for k, x in full.items():
        delta = values(x) - before[k]
        if delta.any():
            survival[k] = (values(plain[k]) - before[k]) @ delta / (delta @ delta)
    order = sorted(survival, key=survival.get)
    if len(order) != 14 or survival[order[2]] == survival[order[3]]:
        return f"{len(order)} sites, or a tie: no test"
    wide = sorted(k for k, x in got.items() if x.tensor_type == Q.F16)
    if wide != sorted(order[:3]) or sum(s["rescued"] for s in said["sites"]) != 3:
        return f"rescued {wide}, wanted {order[:3]}"
    for k, x in got.items():
        if k in wide and not np.array_equal(x.data.ravel(), full[k].data.astype(np.float16).ravel()):
            return f"{k} is not F16 of W + dW"
        if k not in wide and not np.array_equal(x.data, plain[k].data):
            return f"{k} differs from a merge without --rescue"
    if not min(s["survival"] for s in said["sites"] if s["rescued"]) > 0.98:
        return "what was rescued does not survive"


def attempt(name, f, *args):
    with tempfile.TemporaryDirectory() as room:
        try:
            report(name, f(*args, room) if f is one else f(room, *args))
        except Exception as e:
            report(name, f"{type(e).__name__}: {e}")


for c in CASES[::3] if FAST else CASES:
    attempt(c["name"], one, c)
for stored, written, scale in (("bfloat16", "keep", 0.002), ("float32", "bf16", 0.002), ("float16", "keep", 0.0005), ("bfloat16", "f32", 0.001),
                               ("bfloat16", "f16", 0.01)):
    attempt(f"rounding, {stored} to {written}", rounding, stored, written, scale)
attempt("fp8 tensors", fp8)
attempt("--check", check_runs)
attempt("GGUF base", gguf_file)
attempt("--rescue", rescued)
sys.exit(failed)
