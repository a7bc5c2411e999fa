"""Tiny seeded bases of every family, and what a reader of adapters may ask of a base: its modules, heads and weights.

Sizes are chosen so that no two dimensions agree by accident: hidden 32, q 48, k and v 24, feed-forward 40, vocabulary 60."""
import json, os

import torch
import transformers as tf
from safetensors.torch import load_file

tf.logging.set_verbosity_error()
tf.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
LLAMA_LIKE = dict(vocab_size=60, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                  max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
WIDE = dict(LLAMA_LIKE, head_dim=12)
GEMMA = dict(WIDE, query_pre_attn_scalar=12, sliding_window=16)
CONFIGS = {
    "llama": lambda: tf.LlamaConfig(**WIDE, rms_norm_eps=1e-5),
    "llama-tied": lambda: tf.LlamaConfig(**WIDE, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "mistral": lambda: tf.MistralConfig(**WIDE, sliding_window=None),
    "qwen2": lambda: tf.Qwen2Config(**LLAMA_LIKE, tie_word_embeddings=True),
    "qwen3": lambda: tf.Qwen3Config(**WIDE, tie_word_embeddings=True),
    "gemma": lambda: tf.GemmaConfig(**WIDE),
    "gemma2": lambda: tf.Gemma2Config(**GEMMA),
    "gemma3": lambda: tf.Gemma3TextConfig(**GEMMA),
    "gemma4": lambda: tf.Gemma4TextConfig(**WIDE, global_head_dim=16, sliding_window=16, num_kv_shared_layers=1, hidden_size_per_layer_input=6,
                                          layer_types=["sliding_attention", "full_attention", "full_attention"], vocab_size_per_layer_input=60),
    "ministral3": lambda: tf.Ministral3Config(**WIDE),
    "smollm3": lambda: tf.SmolLM3Config(**WIDE),
    "granite": lambda: tf.GraniteConfig(**LLAMA_LIKE),
    "olmo2": lambda: tf.Olmo2Config(**LLAMA_LIKE),
    "olmo3": lambda: tf.Olmo3Config(**LLAMA_LIKE),
    "exaone4": lambda: tf.Exaone4Config(**WIDE),
    "glm4": lambda: tf.Glm4Config(**WIDE),
    "cohere2": lambda: tf.Cohere2Config(**LLAMA_LIKE),
    "stablelm": lambda: tf.StableLmConfig(**LLAMA_LIKE, partial_rotary_factor=0.5),
    "starcoder2": lambda: tf.Starcoder2Config(**LLAMA_LIKE),
    "nemotron": lambda: tf.NemotronConfig(**WIDE),
    "apertus": lambda: tf.ApertusConfig(**LLAMA_LIKE),
    "hunyuan": lambda: tf.HunYuanDenseV1Config(**WIDE),
    "seed_oss": lambda: tf.SeedOssConfig(**WIDE, attention_dropout=0.0, residual_dropout=0.0),
    "ernie4_5": lambda: tf.Ernie4_5Config(**WIDE),
    "phi": lambda: tf.PhiConfig(**LLAMA_LIKE),
    "phi3": lambda: tf.Phi3Config(**LLAMA_LIKE, sliding_window=None),
    "lfm2": lambda: tf.Lfm2Config(**WIDE, layer_types=["conv", "full_attention", "conv"], block_multiple_of=10),
    "gpt2": lambda: tf.GPT2Config(vocab_size=60, n_positions=64, n_embd=32, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2),
    "gpt-neox": lambda: tf.GPTNeoXConfig(vocab_size=60, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
                                         max_position_embeddings=64, bos_token_id=1, eos_token_id=2),
    "bloom": lambda: tf.BloomConfig(vocab_size=60, hidden_size=32, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2),
}


def fill(model, seed):
    """Wider than usual, so that every part of a block shows in the logits."""
    torch.manual_seed(seed)
    with torch.no_grad():
        scalars = [(n, b) for n, b in model.named_buffers() if n.endswith("layer_scalar")]
        for name, p in [*model.named_parameters(), *scalars]:
            if p.ndim >= 2:
                p.normal_(0, 1.0 / p.shape[-1] ** 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.2)
            else:
                p.add_(torch.randn_like(p) * 0.2)
            if scalars and name.endswith("q_norm.weight"):
                p.mul_(0.3)  # gemma 4's scores are not divided by the root of a head's size


def make(family, folder, seed=1, dtype="float32", shard=None, config=None):
    config = config or CONFIGS[family]()
    config._attn_implementation = "eager"
    model = tf.AutoModelForCausalLM.from_config(config).eval()
    fill(model, seed)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(folder, **(dict(max_shard_size=shard) if shard else {}))
    return Base(folder)


class Base:
    def __init__(self, folder):
        self.folder = folder
        self.config = json.load(open(os.path.join(folder, "config.json")))
        self.type = self.config["model_type"]
        self.tied = bool(self.config.get("tie_word_embeddings", self.type in ("gemma", "gemma2", "gemma3_text", "gemma4_text", "gpt2", "bloom", "smollm3", "cohere2", "starcoder2", "ernie4_5", "lfm2")))
        pick = lambda *names: next((self.config[n] for n in names if self.config.get(n)), None)
        self.heads = pick("num_attention_heads", "n_head")
        self.kv_heads = pick("num_key_value_heads") or self.heads
        self.layers = pick("num_hidden_layers", "n_layer")
        self._modules = None

    @property
    def modules(self):
        """{path: (kind, n_out, n_in)} of linears and embeddings, in PyTorch's order; kind is linear, conv1d, head or embedding."""
        if self._modules is None:
            config = tf.AutoConfig.from_pretrained(self.folder)
            with torch.device("meta"):
                model = tf.AutoModelForCausalLM.from_config(config)
            head, found = model.get_output_embeddings(), {}
            for path, m in model.named_modules():
                kind = type(m).__name__
                if kind == "Conv1D":
                    found[path] = ("conv1d", m.weight.shape[1], m.weight.shape[0])
                elif isinstance(m, torch.nn.Linear):
                    found[path] = ("head" if m is head else "linear", *m.weight.shape)
                elif isinstance(m, torch.nn.Embedding):
                    found[path] = ("embedding", *m.weight.shape)
            self._modules = found
        return self._modules

    def load(self, dtype=torch.float32):
        return tf.AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype, attn_implementation="eager").eval()

    def weights(self):
        """{tensor name: f64 numpy array} as the files hold them."""
        out = {}
        for f in sorted(os.listdir(self.folder)):
            if f.endswith(".safetensors"):
                out.update({k: v.double().numpy() for k, v in load_file(os.path.join(self.folder, f)).items()})
        return out

    def weight(self, path, weights):
        """The weight of a module in the orientation [n_out, n_in]; a tied head is the embedding."""
        w = next((weights[n] for n in (f"{path}.weight", f"{path.removeprefix('transformer.')}.weight") if n in weights), None)
        if w is None:
            w = next(weights[n] for n in weights if n.endswith(("embed_tokens.weight", "wte.weight", "word_embeddings.weight")))
        return w.T if self.modules[path][0] == "conv1d" else w
