#!/usr/bin/env python3
"""`alphar merge` of adapters on stacked experts (PEFT's target_parameters) against merge_and_unload, every tensor within
1e-6: both parameters or one, rsLoRA, a rank of one's own, the router as a single matrix, and gpt_oss's [E, in, out], into bases
that hold the experts stacked; and into what save_pretrained writes, which holds them apart, where `alphar inspect` has to find a
weight for every site too."""
import json, os, subprocess, sys, tempfile, warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")

try:
    import torch, transformers as tf
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file, save_file
    tf.GptOssConfig, tf.Qwen3MoeConfig, tf.Lfm2MoeConfig, tf.PhimoeConfig, LoraConfig(target_parameters=["a"])
except (ImportError, AttributeError, TypeError) as e:
    print(f"skip peft_experts {e}")
    sys.exit(0)

tf.logging.set_verbosity_error()
failed = False
S = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts_per_tok=2)
BOTH = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def qwen():
    return tf.Qwen3MoeConfig(**S, intermediate_size=48, moe_intermediate_size=16, num_experts=4)


def gpt_oss(ffn):
    return tf.GptOssConfig(**S, intermediate_size=ffn, num_local_experts=4)


def alphar(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)


def train(model, adapter, **settings):
    wrapped = get_peft_model(model, LoraConfig(r=2, lora_alpha=5, **settings))
    for key, x in wrapped.named_parameters():
        if "lora_" in key:
            x.data = torch.randn_like(x) * 0.2
    wrapped.save_pretrained(adapter)
    return wrapped


def compare(name, base, adapter, out, before, want, changed):
    """`changed`: how many tensors of the base the adapter moves."""
    global failed
    run = alphar("merge", "--model", base, "--adapter", adapter, "--out", out)
    problem = run.stderr.strip() if run.returncode or run.stderr else None
    if not problem:
        got = load_file(os.path.join(out, "model.safetensors"))
        far = max(float((got[k].double() - want[k].double()).abs().max()) for k in got)
        count = sum(bool((got[k] != before[k]).any()) for k in got)
        problem = f"apart by {far:.3g}, {count} tensors changed, wanted {changed}" if far > 1e-6 or count != changed else None
    failed |= problem is not None
    print(f"not ok {name}: {problem}" if problem else f"ok {name}", flush=True)


def case(name, config, parameters, changed, **more):
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as tmp:
        base, adapter, out = (os.path.join(tmp, x) for x in ("base", "adapter", "merged"))
        model = tf.AutoModelForCausalLM.from_config(config).float()
        before = {k: v.clone().contiguous() for k, v in model.state_dict().items()}
        os.makedirs(base)
        save_file(before, os.path.join(base, "model.safetensors"), {"format": "pt"})  # as the model has them: stacked
        config.save_pretrained(base)
        wrapped = train(model, adapter, target_modules=["q_proj"], target_parameters=parameters, **more)
        compare(name, base, adapter, out, before, wrapped.merge_and_unload().state_dict(), changed)


def saved(name, config, changed, sites, **settings):
    """A base as save_pretrained writes it."""
    global failed
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as tmp:
        base, adapter, merged, out = (os.path.join(tmp, x) for x in ("base", "adapter", "want", "merged"))
        tf.AutoModelForCausalLM.from_config(config).float().save_pretrained(base)
        train(tf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter, **settings)
        model = tf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(merged)
        before, want = (load_file(os.path.join(x, "model.safetensors")) for x in (base, merged))
        compare(name, base, adapter, out, before, want, changed)
        run = alphar("inspect", adapter, "--model", base, "--json")
        found = json.loads(run.stdout)["sites"] if run.returncode == 0 else []
        strengths = sum(x.get("strength") is not None for x in found)
        if strengths != sites:
            failed = True
            print(f"not ok {name}, inspect: {strengths} strengths, wanted {sites}: {run.stderr.strip()}", flush=True)


def updates(base, adapter):
    """What PEFT adds to every parameter, and the parameters; of experts whole stacks, as transformers 5 holds them."""
    plain, model = (tf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32) for _ in range(2))
    merged, before = PeftModel.from_pretrained(model.double(), adapter).merge_and_unload().state_dict(), plain.double().state_dict()
    return {k: merged[k] - w for k, w in before.items() if (merged[k] != w).any()}, before


def written(name, config, rslora, **targets):
    """Adapters that Alphar writes of stacks over a base that has its experts apart, or turned, as PEFT reads them."""
    global failed
    torch.manual_seed(5)
    with tempfile.TemporaryDirectory() as tmp:
        base, adapter, gguf, out = (os.path.join(tmp, x) for x in ("base", "adapter", "adapter.gguf", "out"))
        tf.AutoModelForCausalLM.from_config(config).float().save_pretrained(base)
        train(tf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter, use_rslora=rslora, **(targets or dict(target_modules="all-linear")))
        old, weights = updates(base, adapter)
        far = lambda new: max(float((new[k] - old[k]).norm() / old[k].norm()) for k in old) if new.keys() == old.keys() else f"other parameters: {new.keys() ^ old.keys()}"
        cases = {
            "rescale to a strength": ["rescale", adapter, out, "--strength", "0.02", "--model", base],
            "resize to an energy": ["resize", adapter, out, "--energy", "0.9", "--model", base],
            "convert to PEFT": ["convert", adapter, out, "--to", "peft", "--model", base],
            "of a GGUF file": ["convert", gguf, out, "--to", "peft", "--model", base],
            "of a GGUF file alone": ["convert", gguf, out, "--to", "peft"],
            "combine": ["combine", out, f"{adapter}:0.25", f"{adapter}:0.75", "--model", base],
            "rescale of one parameter": ["rescale", adapter, out, "--factor", "0", "--sites", "experts.down_proj", "--model", base],
        }
        problem = alphar("convert", adapter, gguf, "--to", "gguf", "--model", base)
        problem = problem.stderr if problem.returncode else None
        for command, words in cases.items():
            run = alphar(*words, "--overwrite")
            if problem or run.returncode:
                problem = problem or f"{command}: {run.stderr.strip()}"
                break
            new, _ = updates(base, out)
            if command == "rescale to a strength":
                got = [float(d.norm() / weights[k].norm()) for k, d in new.items()]
                bad = new.keys() != old.keys() or max(abs(x - 0.02) for x in got) > 1e-7
            elif command == "rescale of one parameter":
                bad = {k for k in old if k not in new} != {k for k in old if k.endswith("experts.down_proj")}
            elif command == "resize to an energy":  # of the experts of a stack the one that needs most
                kept = {k: 1 - (new[k] - old[k]).pow(2).sum((-2, -1)) / old[k].pow(2).sum((-2, -1)) for k in old}
                bad = min(float(x.min()) for x in kept.values()) < 0.9
            else:
                bad = not isinstance(far(new), float) or far(new) > 1e-6
            if bad:
                problem = f"{command}: {far(new)}"
                break
        failed |= problem is not None
        print(f"not ok {name}: {problem}" if problem else f"ok {name}", flush=True)


def old(name, config, parts, rslora):
    """An adapter of transformers 4, a pair for each expert's linear: merged, and run as it is."""
    global failed
    torch.manual_seed(3)
    r, alpha = 3, 7
    with tempfile.TemporaryDirectory() as tmp:
        base, adapter, out = (os.path.join(tmp, x) for x in ("base", "adapter", "merged"))
        tf.AutoModelForCausalLM.from_config(config).float().save_pretrained(base)
        before, tensors, want = load_file(os.path.join(base, "model.safetensors")), {}, {}
        for k, w in before.items():
            site = k.removesuffix(".weight")
            want[k] = w.double()
            if ".experts." not in k and "q_proj" not in k:
                continue
            a, b = torch.randn(r, w.shape[1]) * 0.2, torch.randn(w.shape[0], r) * 0.2
            tensors.update({f"base_model.model.{site}.lora_A.weight": a, f"base_model.model.{site}.lora_B.weight": b})
            want[k] += alpha / (r ** 0.5 if rslora else r) * b.double() @ a.double()
        os.makedirs(adapter)
        save_file(tensors, os.path.join(adapter, "adapter_model.safetensors"))
        json.dump(dict(peft_type="LORA", r=r, lora_alpha=alpha, use_rslora=rslora, target_modules=["q_proj", *parts]), open(os.path.join(adapter, "adapter_config.json"), "w"))
        compare(name, base, adapter, out, before, want, sum(".experts." in k or "q_proj" in k for k in before))
        model = tf.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").double()
        ids = list(range(3, 43))
        with torch.no_grad():
            lp = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
        open(os.path.join(base, "tokenizer.json"), "w").write(open(os.path.join(ROOT, "demo", "base", "tokenizer.json")).read())
        run = alphar("score", "--model", base, "--adapter", adapter, "--ids", ",".join(map(str, ids)), "--json")
        far = max(abs(x - lp[i, ids[i + 1]].item()) for i, x in enumerate(json.loads(run.stdout)["logprobs"])) if run.returncode == 0 else run.stderr
        good = run.returncode == 0 and far <= 2e-5
        failed |= not good
        print(f"{'ok' if good else 'not ok'} {name}, run: {far if not good else ''}", flush=True)


case("both", qwen(), BOTH, 6)
case("down alone, rslora", qwen(), BOTH[1:], 4, use_rslora=True)
case("gate_up alone", qwen(), BOTH[:1], 4)
case("router, a rank of its own", qwen(), BOTH + ["mlp.gate.weight"], 8, rank_pattern={"experts.gate_up_proj": 4})
case("gpt_oss", gpt_oss(24), BOTH, 6)
case("gpt_oss, square", gpt_oss(32), BOTH, 6)

FAMILIES = {
    "qwen3_moe": qwen(),
    "qwen2_moe": tf.Qwen2MoeConfig(**S, intermediate_size=48, moe_intermediate_size=16, num_experts=4, shared_expert_intermediate_size=24),
    "mixtral": tf.MixtralConfig(**S, intermediate_size=48, num_local_experts=4),
    "olmoe": tf.OlmoeConfig(**S, intermediate_size=48, num_experts=4),
    "phimoe": tf.PhimoeConfig(**S, intermediate_size=48, num_local_experts=4),
    "lfm2_moe": tf.Lfm2MoeConfig(**S, intermediate_size=48, moe_intermediate_size=16, num_experts=4, num_dense_layers=0,
                                 layer_types=["full_attention"] * 2),
    "qwen3_5_moe": tf.Qwen3_5MoeTextConfig(**S, moe_intermediate_size=16, shared_expert_intermediate_size=24, num_experts=4,
                                           layer_types=["full_attention"] * 2),
    "granitemoe": tf.GraniteMoeConfig(**S, intermediate_size=48, num_local_experts=4),
}
ROUTERS = {"phimoe": "mlp.router.weight", "granitemoe": "block_sparse_moe.router.weight", "lfm2_moe": "feed_forward.gate.weight"}
for family, config in FAMILIES.items():  # of two layers with four experts, whose three matrices are tensors, or of which two are stacks
    stacked = family == "granitemoe"
    both, down = (4, 2) if stacked else (24, 8)
    parameters = ["experts.gate_up_proj", "experts.down_proj"]
    router = ROUTERS.get(family, "mlp.gate.weight")
    if family in ("qwen3_moe", "mixtral", "olmoe"):  # with 8 matrices of attention
        for rslora in (False, True):
            more = dict(target_modules="all-linear", use_rslora=rslora)
            saved(f"{family} as saved, all-linear{', rslora' * rslora}", config, 8 + 2 + both, 8 + 2 + both, **more)
    more = dict(target_modules=["q_proj"], target_parameters=parameters, use_rslora=True)
    saved(f"{family} as saved, rslora", config, 2 + both, 2 + (16 if stacked else both), **more)
    more = dict(target_modules=["q_proj"], target_parameters=parameters[1:] + [router])
    saved(f"{family} as saved, down and router", config, 2 + 2 + down, 2 + 2 + 8, **more)
for rslora in (False, True):
    written(f"mixtral written for PEFT{', rslora' * rslora}", FAMILIES["mixtral"], rslora)
    written(f"gpt_oss written for PEFT{', rslora' * rslora}", gpt_oss(24), rslora, target_modules=["q_proj", "o_proj"], target_parameters=BOTH)
    written(f"qwen3_moe written for PEFT{', rslora' * rslora}", FAMILIES["qwen3_moe"], rslora)
    old(f"mixtral of transformers 4{', rslora' * rslora}", FAMILIES["mixtral"], ["w1", "w2", "w3"], rslora)
    old(f"qwen3_5_moe of single experts{', rslora' * rslora}", FAMILIES["qwen3_5_moe"], ["gate_proj", "up_proj", "down_proj"], rslora)
    old(f"qwen3_moe of transformers 4{', rslora' * rslora}", FAMILIES["qwen3_moe"], ["gate_proj", "up_proj", "down_proj"], rslora)
sys.exit(failed)
