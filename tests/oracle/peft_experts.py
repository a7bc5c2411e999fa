#!/usr/bin/env python3
"""`alphar merge` of adapters on stacked experts (PEFT's target_parameters) against merge_and_unload, every tensor within
1e-6: both parameters or one, rsLoRA, a rank of one's own, the router as a single matrix, and gpt_oss's [E, in, out]."""
import os, subprocess, sys, tempfile, warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")

try:
    import torch, transformers as tf
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file
    tf.GptOssConfig, tf.Qwen3MoeConfig, LoraConfig(target_parameters=["a"])
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


def case(name, config, parameters, changed, **more):
    global failed
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as tmp:
        base, adapter, out = (os.path.join(tmp, x) for x in ("base", "adapter", "merged"))
        model = tf.AutoModelForCausalLM.from_config(config).float()
        before = {k: v.clone().contiguous() for k, v in model.state_dict().items()}
        os.makedirs(base)
        save_file(before, os.path.join(base, "model.safetensors"), {"format": "pt"})  # as the model has them: stacked
        config.save_pretrained(base)
        wrapped = get_peft_model(model, LoraConfig(r=2, lora_alpha=5, target_modules=["q_proj"], target_parameters=parameters, **more))
        for key, x in wrapped.named_parameters():
            if "lora_" in key:
                x.data = torch.randn_like(x) * 0.2
        wrapped.save_pretrained(adapter)
        want = wrapped.merge_and_unload().state_dict()
        run = subprocess.run([PROGRAM, "merge", "--model", base, "--adapter", adapter, "--out", out], capture_output=True, text=True)
        problem = run.stderr.strip() if run.returncode else None
        if not problem:
            got = load_file(os.path.join(out, "model.safetensors"))
            far = max(float((got[k].double() - want[k].double()).abs().max()) for k in got)
            count = sum(bool((got[k] != before[k]).any()) for k in got)
            problem = f"apart by {far:.3g}, {count} tensors changed, wanted {changed}" if far > 1e-6 or count != changed else None
    failed |= problem is not None
    print(f"not ok {name}: {problem}" if problem else f"ok {name}", flush=True)


case("both", qwen(), BOTH, 6)
case("down alone, rslora", qwen(), BOTH[1:], 4, use_rslora=True)
case("gate_up alone", qwen(), BOTH[:1], 4)
case("router, a rank of its own", qwen(), BOTH + ["mlp.gate.weight"], 8, rank_pattern={"experts.gate_up_proj": 4})
case("gpt_oss", gpt_oss(24), BOTH, 6)
case("gpt_oss, square", gpt_oss(32), BOTH, 6)
sys.exit(failed)
