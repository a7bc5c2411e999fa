#!/usr/bin/env python3
"""Bases with a vision tower (gemma3, gemma4, mistral3, qwen3_5, qwen3_5_moe): the language model runs from the whole folder, in both spellings of its
tensors, as transformers runs it on text; an adapter trained on it is PEFT's, on the language model's modules alone.
Bound 2e-5 in log p."""
import json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")
BASE = os.path.join(ROOT, "demo", "base")

try:
    import peft, torch, transformers as tf
    from safetensors.torch import load_file, save_file
except ImportError as e:
    print(f"skip multimodal {e}")
    sys.exit(0)
tf.logging.set_verbosity_error()
tf.logging.disable_progress_bar()

TEXT = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=12, vocab_size=2048,
            max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
PER_LAYER = ",per_layer_input_gate,per_layer_projection,per_layer_model_projection"
VISION = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
DELTA = dict(TEXT, num_hidden_layers=4, head_dim=16, linear_key_head_dim=16, linear_value_head_dim=24, linear_num_key_heads=2, linear_num_value_heads=4,
             rope_parameters=dict(rope_type="default", rope_theta=1e6, partial_rotary_factor=0.25, mrope_section=[1, 1, 0], mrope_interleaved=True))
QWEN_VISION = dict(hidden_size=32, intermediate_size=48, depth=2, num_heads=2, patch_size=14, out_hidden_size=48, num_position_embeddings=16)
BASES = {
    "gemma3": lambda: tf.Gemma3ForConditionalGeneration(tf.Gemma3Config(
        text_config=dict(TEXT, sliding_window=9, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
        vision_config=dict(VISION, model_type="siglip_vision_model"), mm_tokens_per_image=4, image_token_index=2047)),
    "gemma4": lambda: tf.Gemma4ForConditionalGeneration(tf.Gemma4Config(
        text_config=dict(TEXT, num_hidden_layers=4, global_head_dim=16, sliding_window=9, num_kv_shared_layers=2, hidden_size_per_layer_input=8,
                         layer_types=["sliding_attention", "full_attention"] * 2, vocab_size_per_layer_input=2048, use_bidirectional_attention="vision"),
        vision_config=dict(VISION, num_key_value_heads=2, head_dim=16, patch_size=4, position_embedding_size=64), image_token_id=2047)),
    "mistral3": lambda: tf.Mistral3ForConditionalGeneration(tf.Mistral3Config(
        text_config=dict(TEXT, model_type="ministral3"), vision_config=dict(VISION, model_type="pixtral", head_dim=16), image_token_index=2047)),
    "qwen3_5": lambda: tf.Qwen3_5ForConditionalGeneration(tf.Qwen3_5Config(text_config=DELTA, vision_config=QWEN_VISION, image_token_id=2047, video_token_id=2046)),
    "qwen3_5_moe": lambda: tf.Qwen3_5MoeForConditionalGeneration(tf.Qwen3_5MoeConfig(
        text_config=dict(DELTA, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=36),
        vision_config=QWEN_VISION, image_token_id=2047, video_token_id=2046)),
}


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"exit {r.returncode}: {r.stderr[-600:]}")
    return r


def build(name, folder, old):
    torch.manual_seed(5)
    model = BASES[name]().eval()
    with torch.no_grad():
        for q in model.parameters():
            q.normal_(0, 1.0 / q.shape[-1] ** 0.5) if q.ndim > 1 else q.add_(torch.randn_like(q) * 0.2)
        for n, q in [*model.named_parameters(), *model.named_buffers()]:
            q.mul_(0.3 if name == "gemma4" and "q_norm" in n else 1.3 if "layer_scalar" in n else 1)
        for k, q in model.named_parameters():
            if "A_log" in k:
                q.uniform_(-4, 1)
    model.save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    renamed = {}
    for k, v in tensors.items():
        bare = k.replace("model.language_model.", "").replace("language_model.model.", "")
        if "language_model" in k and bare != k:
            k = ("language_model.model." if old else "model.language_model.") + bare
        elif k.endswith("lm_head.weight"):
            k = "language_model.lm_head.weight" if old else "lm_head.weight"
        renamed[k] = v
    save_file(renamed, path, metadata={"format": "pt"})
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        f.write(open(os.path.join(BASE, "tokenizer.json")).read())
    experts = dict(experts_implementation="eager") if "moe" in name else {}
    return tf.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **experts).eval().double()


def compare(model, folder, ids, *more):
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1)
    r = run(PROGRAM, "score", "--model", folder, "--ids", ",".join(map(str, ids)), "--json", *more)
    got = json.loads(r.stdout)["logprobs"]
    worst = max(abs(g - lp[i, ids[i + 1]].item()) for i, g in enumerate(got))
    assert worst <= 2e-5, f"log p {worst:.1e}"
    assert "not used" not in r.stderr, r.stderr
    return worst


def check(name, old, work):
    folder, out = os.path.join(work, f"{name}-{old}"), os.path.join(work, f"{name}-{old}-adapter")
    model = build(name, folder, old)
    ids = torch.randint(3, 290, (40,)).tolist()
    base = compare(model, folder, ids)
    run(PROGRAM, "train", "--model", folder, "--data", os.path.join(ROOT, "demo", "task", "train.jsonl"), "--out", out, "--overwrite", "--steps", "4",
        "--batch", "4", "--max-length", "48", "--lr", "1e-2", "--quiet", "--targets", "q_proj,v_proj,down_proj" + (PER_LAYER if name == "gemma4" else ""))
    adapted = peft.PeftModel.from_pretrained(model, out)
    sites = {n for n, _ in adapted.named_modules() if n.endswith("lora_A.default")}
    assert sites and all(".language_model." in n for n in sites), f"sites outside the language model: {[n for n in sites if '.language_model.' not in n][:2]}"
    with_adapter = compare(adapted.eval(), folder, ids, "--adapter", out)
    saved = os.path.join(work, f"{name}-{old}-merged")
    run(PROGRAM, "merge", "--model", folder, "--adapter", out, "--out", saved)
    before, after = load_file(os.path.join(folder, "model.safetensors")), load_file(os.path.join(saved, "model.safetensors"))
    assert before.keys() == after.keys(), "merging lost a tensor"
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed and all("language_model" in k for k in changed), "merging changed other parts"
    return f"log p {base:.1e}, with the adapter {with_adapter:.1e}"


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for name in BASES:
            for old in (False, True)[:1 if name in ("gemma4", "qwen3_5", "qwen3_5_moe") else 2]:  # which came with version 5
                label = f"multimodal {name}{', tensors as transformers 4 named them' if old else ''}"
                try:
                    print(f"ok {label}: {check(name, old, work)}", flush=True)
                except (AssertionError, RuntimeError, ValueError) as e:
                    failed += 1
                    print(f"not ok {label}: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
