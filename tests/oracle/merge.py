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


for c in CASES[::3] if FAST else CASES:
    with tempfile.TemporaryDirectory() as room:
        try:
            report(c["name"], one(c, room))
        except Exception as e:
            report(c["name"], f"{type(e).__name__}: {e}")
sys.exit(failed)
