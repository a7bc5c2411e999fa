#!/usr/bin/env python3
"""config.json as people edit it, field by field and family by family: Alphar's log-probabilities are transformers' for
the same file, or the field is refused by name; where versions of transformers differ a warning says so.  Heads that a
file brings beside tie_word_embeddings are checked the same way.  Bound 2e-5 in log p.

  config.py [FAMILY...]   only the cases of these"""
import json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD", "build"))), "alphar")

try:
    import torch, transformers as tf
    from safetensors.torch import load_file, save_file
except ImportError as e:
    print(f"skip config {e}")
    sys.exit(0)
tf.logging.set_verbosity_error()
tf.logging.disable_progress_bar()

SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, vocab_size=64,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-5)
LISTED = ["full_attention", "sliding_attention"] * 2
FULL = ["full_attention"] * 4
V5 = dict(rope_type="default", rope_theta=5e5)
LINEAR = dict(rope_type="linear", factor=2.0)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
YARN = dict(type="yarn", factor=4.0, original_max_position_embeddings=32)

# (family, fields that replace the file's, what stderr says; "refused: …" where Alphar has to stop)
CASES = [
    ("llama", dict(rope_parameters=V5), ""),
    ("llama", dict(rope_parameters=V5, rope_scaling=LINEAR), "rope_scaling alone counts, with rope_theta 10000 because it names none"),
    ("llama", dict(rope_parameters=V5, rope_scaling=LINEAR, rope_theta=1e6), "rope_scaling alone counts, with rope_theta 1e+06"),
    ("llama", dict(rope_parameters=V5, rope_scaling=dict(LINEAR, rope_theta=7e5)), "with rope_theta 700000"),
    ("llama", dict(rope_parameters=dict(LINEAR, rope_theta=1e6), rope_scaling=dict(type="linear", factor=2.0), rope_theta=1e6), ""),
    ("llama", dict(rope_parameters=V5, rope_scaling={}), ""),
    ("llama", dict(rope_parameters=V5, rope_scaling=None), ""),
    ("llama", dict(rope_parameters=V5, rope_theta=1e6), "rope_theta is 1e+06, and 500000 inside the block"),
    ("llama", dict(rope_parameters=LINEAR, rope_theta=1e6), ""),
    ("qwen2", dict(rope_parameters=dict(V5, rope_theta=1e6), rope_scaling=YARN), "rope_scaling alone counts"),
    ("mistral", dict(rope_parameters=V5, rope_scaling=dict(type="dynamic", factor=2.0)), "rope_scaling alone counts"),
    ("llama", dict(rope_scaling=dict(type="linear", rope_type="default", factor=2.0)), "'factor' has no effect with rope type 'default'"),
    ("llama", dict(rope_scaling=dict(factor=2.0)), "'factor' has no effect"),
    ("llama", dict(rope_scaling=dict(LINEAR, low_freq_factor=2.0, beta_fast=8)), "'low_freq_factor' has no effect"),
    ("llama", dict(rope_scaling=dict(LLAMA3, original_max_position_embeddings=64)), ""),
    ("llama", dict(rope_scaling=dict(LLAMA3, original_max_position_embeddings=64), original_max_position_embeddings=32),
     "original_max_position_embeddings is 32, which counts"),
    ("llama", dict(rope_scaling=LLAMA3, original_max_position_embeddings=32), ""),
    ("llama", dict(rope_scaling=LLAMA3), ""),
    ("llama", dict(rope_parameters=dict(LLAMA3, rope_theta=5e5), original_max_position_embeddings=16), ""),
    ("llama", dict(original_max_position_embeddings=16), ""),
    ("qwen2", dict(rope_scaling=YARN), ""),
    ("qwen2", dict(rope_scaling=dict(YARN, beta_fast=0, beta_slow=0)), ""),
    ("qwen2", dict(rope_scaling=dict(YARN, factor=None)), ""),
    ("qwen3", dict(rope_scaling=YARN, original_max_position_embeddings=64), "original_max_position_embeddings is 64"),
    ("qwen3", dict(rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.5)), ""),
    ("llama", dict(rope_scaling=dict(type="dynamic", factor=2.0, original_max_position_embeddings=8), max_position_embeddings=16),
     "'original_max_position_embeddings' has no effect"),
    ("llama", dict(rope_scaling=dict(YARN, attention_factor=0.0)), "refused: 'attention_factor' is 0"),
    ("llama", dict(partial_rotary_factor=0.5), "refused: partial_rotary_factor is 0.5"),
    ("llama", dict(rope_scaling=dict(type="longrope", factor=2.0)), "refused: 'short_factor'"),
    ("llama", dict(rope_parameters=dict(full_attention=V5)), "refused: 'full_attention'"),
    ("llama", dict(sliding_window=8), "refused: 'sliding_window' is 8, which the llama family does not do"),
    ("llama", dict(sliding_window=None, max_window_layers=2, use_sliding_window=False), ""),
    ("llama", dict(layer_types=LISTED), "refused: layer_types[1] is sliding_attention"),
    ("llama", dict(layer_types=FULL), ""),
    ("llama", dict(use_sliding_window=True), "refused: 'use_sliding_window' is true"),
    ("llama", dict(qk_layernorm=True), "refused: 'qk_layernorm' is true"),
    ("llama", dict(hidden_act="gelu"), ""),
    ("llama", dict(hidden_act="gelu_new"), ""),
    ("llama", dict(hidden_act="relu"), "refused: activation 'relu'"),
    ("llama", dict(hidden_act="swish", pretraining_tp=4), ""),
    ("llama", dict(attention_dropout=0.1), "attention_dropout is 0.1"),
    ("llama", dict(attention_dropout=0, hidden_dropout=0.0, resid_pdrop=0.0, neftune_noise_alpha=0.0, bos_token="<s>", eos_token="</s>"), ""),
    ("llama", dict(hidden_dropout=0.1), "refused: 'hidden_dropout' is 0.1"),
    ("llama", dict(max_sequence_length=2048, temperature=0.6, top_p=0.9, max_length=4096, is_decoder=True, num_nextn_predict_layers=0), ""),
    ("mistral", dict(sliding_window=8), ""),
    ("mistral", dict(sliding_window=None), ""),
    ("mistral", dict(sliding_window=8, layer_types=LISTED, head_dim=8), ""),
    ("mistral", dict(sliding_window=8, layer_types=FULL, head_dim=8), ""),
    ("mistral", dict(sliding_window=None, layer_types=LISTED, head_dim=8), "refused: layer_types[1] is sliding_attention"),
    ("mistral", dict(sliding_window=8, use_sliding_window=False), "refused: use_sliding_window is false"),
    ("mistral", dict(sliding_window=8, use_sliding_window=True), ""),
    ("mistral", dict(sliding_window=8, max_window_layers=2), "refused: max_window_layers is 2"),
    ("mistral", dict(attention_bias=True), "refused: 'attention_bias' is true, which the mistral family does not do"),
    ("mistral", dict(attention_bias=False, mlp_bias=False), ""),
    ("mistral", dict(mlp_bias=True), "refused: 'mlp_bias' is true"),
    ("qwen2", dict(sliding_window=8, max_window_layers=0), ""),
    ("qwen2", dict(sliding_window=8, use_sliding_window=True), ""),
    ("qwen2", dict(sliding_window=8, use_sliding_window=True, max_window_layers=2), ""),
    ("qwen2", dict(sliding_window=8, use_sliding_window=True, layer_types=LISTED), ""),
    ("qwen3", dict(sliding_window=8, use_sliding_window=True, layer_types=FULL, max_window_layers=0), ""),
    ("qwen2", dict(sliding_window=8, layer_types=LISTED), "refused: layer_types[1] is sliding_attention, but there is no window"),
    ("qwen3", dict(sliding_window=None, use_sliding_window=True, layer_types=LISTED), "refused: there is no window"),
    ("qwen3", dict(layer_types=FULL[:3]), "refused: layer_types names 3 layers"),
    ("qwen2", dict(layer_types=["attention"] * 4), ""),
    ("qwen2", dict(attention_bias=False), ""),
    ("qwen2", dict(attention_bias=True), ""),
    ("qwen2", dict(mlp_bias=True), "refused: 'mlp_bias' is true"),
    ("gemma", dict(hidden_act="gelu"), ""),
    ("gemma", dict(hidden_activation="relu"), ""),
    ("gemma", dict(attn_logit_softcapping=50.0), "refused: 'attn_logit_softcapping' is 50"),
    ("gemma2", dict(hidden_act="relu"), ""),
    ("gemma2", dict(attn_logit_softcapping=None, final_logit_softcapping=None), ""),
    ("gemma2", dict(attn_logit_softcapping=1.5, final_logit_softcapping=2.5, query_pre_attn_scalar=5), ""),
    ("gemma2", dict(sliding_window=5, layer_types=FULL), ""),
    ("gemma2", dict(sliding_window_pattern=3), "refused: 'sliding_window_pattern' is 3"),
    ("gemma2", dict(use_bidirectional_attention=True), "refused: 'use_bidirectional_attention' is true"),
    ("gemma3_text", dict(sliding_window_pattern=2, layer_types=None), ""),
    ("gemma3_text", dict(sliding_window_pattern=0, layer_types=None), "refused: 'sliding_window_pattern' is below 1"),
    ("gemma3_text", dict(rope_theta=5e5, rope_local_base_freq=3e3), ""),
    ("gemma3_text", dict(rope_theta=5e5, rope_scaling=dict(rope_type="linear", factor=4.0)), ""),
    ("gemma3_text", dict(rope_scaling=dict(type="linear", factor=4.0)), "refused: wants rope_type"),
    ("gemma3_text", dict(rope_parameters=dict(full_attention=dict(V5, rope_theta=3e5))), ""),
    ("gemma3_text", dict(rope_parameters=V5), "refused: rope_parameters holds 'rope_type'"),
    ("gemma3_text", dict(attn_logit_softcapping=50.0), "refused: 'attn_logit_softcapping' is 50"),
    ("olmo3", dict(rope_parameters=dict(full_attention=dict(YARN, rope_theta=3e5), sliding_attention=V5)), ""),
    ("olmo3", dict(rope_theta=5e5, rope_scaling=dict(YARN, rope_type="yarn")), ""),
    ("gemma3_text", dict(sliding_window=None, layer_types=None), "refused: sliding_window is null"),
    ("gemma2", dict(sliding_window=None, layer_types=LISTED), "refused: layer_types[1] is sliding_attention"),
    ("cohere2", dict(sliding_window=8, layer_types=FULL), ""),
    ("olmo3", dict(rope_parameters=dict(full_attention=V5, sliding_attention=dict(rope_type="longrope", short_factor=[1], long_factor=[1],
     original_max_position_embeddings=8))), "refused: neither longrope nor a partial_rotary_factor"),
    ("olmo3", dict(rope_parameters=dict(full_attention=V5, sliding_attention=dict(V5, partial_rotary_factor=0.5))), "refused: neither longrope"),
    ("exaone4", dict(sliding_window=8, sliding_window_pattern=2, layer_types=None), ""),
    ("exaone4", dict(sliding_window_pattern="LLLX", layer_types=None, sliding_window=8), "refused: letters L (window) and G"),
    ("cohere2", dict(layer_types=None, sliding_window_pattern=2, logit_scale=0.3), ""),
    ("cohere2", dict(use_qk_norm=True), "refused: 'use_qk_norm' is true"),
    ("phi3", dict(rope_scaling=dict(type="longrope", short_factor=[1, 2, 3, 4], long_factor=[2, 3, 4, 5]), original_max_position_embeddings=16), ""),
    ("phi3", dict(rope_scaling=dict(type="longrope", short_factor=[1, 2], long_factor=[2, 3]), original_max_position_embeddings=16),
     "refused: short_factor and long_factor hold 2 numbers, wanted 4"),
    ("phi3", dict(rope_scaling=dict(type="longrope", short_factor=[1, 2, 3, 0], long_factor=[2, 3, 4, 5]), original_max_position_embeddings=16),
     "refused: short_factor[3] is no number above 0"),
    ("phi3", dict(rope_scaling=LINEAR), "refused: rope type 'linear', wanted default or longrope"),
    ("phi3", dict(sliding_window=8, layer_types=LISTED), "refused: make them agree"),
    ("phi3", dict(rope_parameters=dict(V5, partial_rotary_factor=0.5)), ""),
    ("ministral3", dict(sliding_window=8), ""),
    ("llama", dict(rope_parameters=dict(YARN, rope_theta=1e4, llama_4_scaling_beta=0.1)), "refused: 'llama_4_scaling_beta' is 0.1"),
    ("gemma4_text", dict(), ""),
    ("gemma4_text", dict(per_layer_config=None, global_head_dim=16), "refused: config.json wants [32, 32]"),  # null: all alike
    ("gemma4_text", dict(global_head_dim=24), ""),  # per_layer_config counts
    ("gemma4_text", dict(use_bidirectional_attention="vision", num_experts=4, moe_intermediate_size=8), ""),
    ("gemma4_text", dict(use_bidirectional_attention="all"), "refused: use_bidirectional_attention is 'all'"),
    ("gemma4_text", dict(enable_moe_block=True, num_experts=4, top_k_experts=2), "refused: enable_moe_block is true, but 'moe_intermediate_size' is not there"),
    ("gemma4_text", dict(enable_moe_block=True, num_experts=4, top_k_experts=5, moe_intermediate_size=8), "refused: top_k_experts is 5, but there are 4 experts"),
    ("gemma4_text", dict(enable_moe_block=True, num_experts=4, top_k_experts=2, moe_intermediate_size=8), "refused: router.proj.weight"),  # not in the files
    ("gemma4_text", dict(per_layer_config={"1": dict(head_dim=16)}), "refused: gives layer 3 heads of 8"),
    ("gemma4_text", dict(per_layer_config={"1": dict(head_dim=16, intermediate_size=64)}), "refused: holds 'intermediate_size'"),
    ("gemma4_text", dict(per_layer_config={"7": dict(head_dim=16)}), "refused: names layer '7'"),
    ("gemma4_text", dict(num_kv_shared_layers=4), "refused: num_kv_shared_layers is 4 of 4 layers"),
    ("gemma4_text", dict(num_kv_shared_layers=3), "refused: layer 1 takes the keys and values of an earlier layer"),
    ("gemma4_text", dict(vocab_size_per_layer_input=32), "refused: vocab_size_per_layer_input is 32"),
    ("gemma4_text", dict(rope_theta=1e4), "refused: 'rope_theta' is 10000"),
    ("gemma4_text", dict(rope_parameters=dict(full_attention=dict(rope_type="proportional", rope_theta=1e5), sliding_attention=V5)), ""),
    ("gemma4_text", dict(rope_parameters=dict(full_attention=V5, sliding_attention=V5)), ""),
    ("llama", dict(num_kv_shared_layers=2), "refused: 'num_kv_shared_layers' is 2"),
    ("llama", dict(rope_parameters=dict(rope_type="proportional", rope_theta=1e4, partial_rotary_factor=0.5)), ""),
    ("gpt2", dict(n_inner=None, scale_attn_by_inverse_layer_idx=True), ""),
    ("gpt2", dict(add_cross_attention=True), "refused: 'add_cross_attention' is true"),
    ("gpt2", dict(resid_pdrop=0.1), "a dropout of 0.1"),
    ("gpt2", dict(n_positions=32), "refused: is [64, 32], config.json wants [32, 32]"),
    ("qwen3_5_text", dict(layer_types=None, full_attention_interval=2, attn_output_gate=True, mtp_num_hidden_layers=1), ""),
    ("qwen3_5_text", dict(rope_parameters=dict(V5, partial_rotary_factor=0.5, mrope_section=[1, 1, 0])), ""),
    ("qwen3_5_text", dict(attn_output_gate=False), "refused: attn_output_gate is false"),
    ("qwen3_5_text", dict(hidden_act="gelu"), "refused: wanted silu"),
    ("qwen3_5_text", dict(linear_num_key_heads=3), "refused: 4 value heads over 3 key heads"),
    ("qwen3_5_text", dict(linear_conv_kernel_dim=3), "refused: wanted 160 times 3"),
    ("qwen3_5_text", dict(linear_conv_kernel_dim=17), "refused: 'linear_conv_kernel_dim' is 17"),
    ("qwen3_5_text", dict(layer_types=["linear_attention", "sliding_attention"] * 2), "refused: layer_types[1] is sliding_attention"),
    ("qwen3_5_text", dict(layer_types=["linear_attention", "mamba"] * 2), "refused: wanted full_attention or linear_attention"),
    ("qwen3_5_moe_text", dict(norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], intermediate_size=7, mtp_num_hidden_layers=1), ""),
    ("qwen3_5_moe_text", dict(layer_types=None, full_attention_interval=2), ""),
    ("qwen3_5_moe_text", dict(num_experts_per_tok=9), "refused: num_experts_per_tok is 9, but there are 4 experts"),
    ("qwen3_5_moe_text", dict(moe_intermediate_size=24), "refused: config.json wants [24, 32]"),
    ("qwen3_5_moe_text", dict(output_router_logits=True, router_aux_loss_coef=0.3), ""),
    ("qwen3_5_moe_text", dict(linear_num_key_heads=3), "refused: 4 value heads over 3 key heads"),
    ("lfm2", dict(layer_types=None, full_attn_idxs=[1, 3]), ""),
    ("lfm2", dict(intermediate_size=7, block_ff_dim=48, hidden_act="gelu", conv_dim=7, num_heads=7, theta=7.0, use_pos_enc=False), ""),  # the first counts
    ("lfm2", dict(tie_embedding=False, tie_word_embeddings=True), ""),
    ("lfm2", dict(block_multiple_of=1, intermediate_size=49), ""),
    ("lfm2", dict(block_ffn_dim_multiplier=None, intermediate_size=50), "refused: config.json wants [33, 32]"),  # not rounded up: newer code takes no null
    ("lfm2", dict(block_auto_adjust_ff_dim=False), "refused: is [32, 32], config.json wants [48, 32]"),
    ("lfm2", dict(block_ffn_dim_multiplier=1e5), "refused: 'block_ffn_dim_multiplier' is 100000"),
    ("lfm2", dict(block_multiple_of=0), "refused: 'block_multiple_of' is 0"),
    ("lfm2", dict(conv_L_cache=4), "refused: wanted 32 times 4"),
    ("lfm2", dict(conv_L_cache=17), "refused: 'conv_L_cache' is 17"),
    ("lfm2", dict(conv_bias=True), "refused: tensor 'model.layers.0.conv.in_proj.bias' is not there"),
    ("lfm2", dict(layer_types=["conv", "linear_attention"] * 2), "refused: wanted full_attention or conv"),
    ("lfm2", dict(layer_types=None, full_attn_idxs=[1, 4]), "refused: full_attn_idxs[1] is no layer"),
    ("lfm2", dict(layer_types=["full_attention", "conv"] * 2), "refused: tensor 'model.layers.0.self_attn.q_proj.weight' is not there"),
    ("lfm2_moe", dict(), "refused: model_type 'lfm2_moe', wanted one of"),
    ("llama", dict(conv_L_cache=3), "refused: 'conv_L_cache' is 3"),
    ("llama", dict(linear_conv_kernel_dim=4), "refused: 'linear_conv_kernel_dim' is 4"),
    ("llama", dict(n_embd=32), "refused: 'n_embd' is 32"),
    ("llama", dict(num_hidden_layers=0), "refused: 'num_hidden_layers' is 0"),
    ("llama", dict(vocab_size="64"), "refused: 'vocab_size': found string, wanted integer"),
]


def build(family, folder, tied=False):
    torch.manual_seed(3)
    kind = dict(llama=tf.LlamaConfig, mistral=tf.MistralConfig, qwen2=tf.Qwen2Config, qwen3=tf.Qwen3Config, gemma=tf.GemmaConfig,
                gemma2=tf.Gemma2Config, gemma3_text=tf.Gemma3TextConfig, olmo3=tf.Olmo3Config, exaone4=tf.Exaone4Config, phi3=tf.Phi3Config,
                ministral3=tf.Ministral3Config, gemma4_text=tf.Gemma4TextConfig, cohere2=tf.Cohere2Config, gpt2=tf.GPT2Config,
                qwen3_5_text=tf.Qwen3_5TextConfig, qwen3_5_moe_text=tf.Qwen3_5MoeTextConfig, lfm2=tf.Lfm2Config, lfm2_moe=tf.Lfm2MoeConfig)[family]
    extra = dict(sliding_window=None) if family == "mistral" else dict(sliding_window=8) if family in ("gemma2", "gemma3_text", "olmo3", "cohere2") else {}
    if family in ("qwen3", "gemma", "gemma2", "gemma3_text", "gemma4_text", "exaone4", "ministral3"):
        extra["head_dim"] = 8
    if family == "gemma4_text":
        extra |= dict(sliding_window=8, layer_types=LISTED[1:] + LISTED[:1], global_head_dim=16, num_kv_shared_layers=2, hidden_size_per_layer_input=6,
                      vocab_size_per_layer_input=64)
    if family.startswith("qwen3_5"):
        extra = dict(head_dim=8, layer_types=["linear_attention", "full_attention"] * 2, linear_key_head_dim=16,
                     linear_value_head_dim=24, linear_num_key_heads=2, linear_num_value_heads=4)
    if family == "qwen3_5_moe_text":
        extra |= dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=36)
    if family.startswith("lfm2"):
        extra = dict(layer_types=["conv", "full_attention"] * 2, block_multiple_of=4)
    if family == "lfm2_moe":
        extra |= dict(num_experts=4, moe_intermediate_size=16, num_dense_layers=0)
    if family == "gpt2":
        torch.manual_seed(3)
        model = tf.GPT2LMHeadModel(tf.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=64, vocab_size=64, bos_token_id=1, eos_token_id=2,
                                                 attn_pdrop=0, resid_pdrop=0, embd_pdrop=0))
        model.save_pretrained(folder)
        return
    sizes = {k: v for k, v in SIZES.items() if family not in ("cohere2", "lfm2", "lfm2_moe") or k != "rms_norm_eps"}
    model = tf.AutoModelForCausalLM.from_config(kind(**sizes, **extra, pad_token_id=0, tie_word_embeddings=tied))
    with torch.no_grad():
        for q in model.parameters():
            q.normal_(0, 1.0 / q.shape[-1] ** 0.5) if q.ndim > 1 else q.add_(torch.randn_like(q) * 0.2)
        for name, q in model.named_parameters():
            if "A_log" in name:
                q.uniform_(-4, 1)
    model.save_pretrained(folder)


def ours(folder, *more):
    ids = [(7 * i) % 61 + 3 for i in range(40)]
    r = subprocess.run([PROGRAM, "score", "--model", folder, "--ids", ",".join(map(str, ids)), "--json", *more], capture_output=True, text=True)
    return r.returncode, json.loads(r.stdout).get("logprobs"), r.stderr + r.stdout


def theirs(folder):
    ids = torch.tensor([[(7 * i) % 61 + 3 for i in range(40)]])
    model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        lp = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].double(), -1)
    return [lp[i, ids[0, i + 1]].item() for i in range(39)]


def compare(folder, want):
    code, got, said = ours(folder)
    assert code == 0, f"refused: {said.strip()[-300:]}"
    worst = max(abs(a - b) for a, b in zip(got, want))
    assert worst <= 2e-5, f"log p {worst:.1e}"
    return worst, said


def check_field(work, family, fields, says):
    folder = os.path.join(work, family)
    if not os.path.isdir(folder):
        build(family, folder)
        os.rename(os.path.join(folder, "config.json"), os.path.join(folder, "first.json"))
    config = json.load(open(os.path.join(folder, "first.json")))
    if any(k.startswith("rope") for k in fields) or "original_max_position_embeddings" in fields:
        config.pop("rope_parameters", None)
    config.update(fields)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    if says.startswith("refused: "):
        code, _, said = ours(folder)
        assert code == 1 and says[9:] in said, f"exit {code}: {said.strip()[-300:]}"
        return "refused"
    worst, said = compare(folder, theirs(folder))
    warned = "warning" in said or "config.json" in said
    assert (says in said) if says else not warned, f"said: {said.strip()[-400:]}"
    return f"log p {worst:.1e}"


def tie(folder, change):
    """A tied model whose file brings a head as well, changed by `change`; None takes the embedding away instead."""
    build("llama", folder, tied=True)
    path = os.path.join(folder, "model.safetensors")
    t = load_file(path)
    t["lm_head.weight"] = t["model.embed_tokens.weight"].clone()
    if change is None:
        del t["model.embed_tokens.weight"]
    else:
        change(t["lm_head.weight"])
    save_file(t, path, metadata={"format": "pt"})


def run(*command):
    r = subprocess.run([PROGRAM, *command], capture_output=True, text=True)
    assert r.returncode == 0, f"alphar {command[0]}: {r.stderr.strip()[-300:]}"
    return r.stderr


def check_head(work, change, differs):
    folder = os.path.join(work, "tie")
    tie(folder, change)
    worst, said = compare(folder, theirs(folder))
    assert said.count("ties the head to the embedding, but") == differs, f"said: {said.strip()[-300:]}"
    return f"log p {worst:.1e}"


def check_written(work):
    """What merge and full training write of such a base is one that both versions read alike."""
    folder, adapter = os.path.join(work, "tie"), os.path.join(work, "adapter")
    tie(folder, lambda head: head.mul_(0.5).add_(0.1))
    with open(os.path.join(ROOT, "demo", "base", "tokenizer.json")) as f:
        tokenizer = json.load(f)
    kept = {k: v for k, v in tokenizer["model"]["vocab"].items() if v < 64}
    tokenizer["model"]["vocab"] = kept
    tokenizer["model"]["merges"] = []
    json.dump(tokenizer, open(os.path.join(folder, "tokenizer.json"), "w"))
    data = os.path.join(work, "data.jsonl")
    open(data, "w").write('{"text": "abc"}\n' * 4)
    first = ["--model", folder, "--data", data, "--steps", "2", "--batch", "2", "--max-length", "16", "--compute", "f32"]
    run("train", *first, "--lr", "1e-2", "--targets", "q_proj,lm_head", "--out", adapter)
    run("train", *first, "--lr", "0", "--method", "full", "--out", os.path.join(work, "full"))
    run("merge", "--model", folder, "--adapter", adapter, "--out", os.path.join(work, "merged"))
    _, with_adapter, said = ours(folder, "--adapter", adapter)
    worst = []
    for name, want in (("merged", with_adapter), ("full", theirs(folder))):
        written = os.path.join(work, name)
        assert json.load(open(os.path.join(written, "config.json")))["tie_word_embeddings"] is False, f"{name}: still tied"
        assert "lm_head.weight" in load_file(os.path.join(written, "model.safetensors")), f"{name}: no head"
        worst.append(max(abs(a - b) for a, b in zip(theirs(written), want)))
    assert max(worst) <= 2e-5, f"log p {worst}"
    return f"log p {worst[0]:.1e}, {worst[1]:.1e}"


def attempt(name, check, *args):
    if len(sys.argv) > 1 and name.split()[0] not in sys.argv[1:]:
        return 0
    try:
        print(f"ok config {name}: {check(*args)}", flush=True)
        return 0
    except (AssertionError, RuntimeError, ValueError, TypeError) as e:
        print(f"not ok config {name}: {e}", flush=True)
        return 1


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for family, fields, says in CASES:
            failed += attempt(f"{family} {json.dumps(fields)}", check_field, work, family, fields, says)
        failed += attempt("tied, another head in the file", check_head, work, lambda head: head.mul_(0.5).add_(0.1), 1)
        failed += attempt("tied, a head that differs in one value", check_head, work, lambda head: head[-1, -1].add_(1.0), 1)
        failed += attempt("tied, the same head in the file", check_head, work, lambda head: None, 0)
        failed += attempt("tied, only the head in the file", check_head, work, None, 0)
        failed += attempt("tied, another head: merge and full training", check_written, work)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
