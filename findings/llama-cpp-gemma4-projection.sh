#!/bin/sh
# llama.cpp loads a LoRA pair on gemma 4's per_layer_model_projection and runs the model without it.
#
# One would guess: an adapter that loads is applied, every pair of it. llama.cpp is strict there: a pair for a tensor that the model
# does not have ends the loading with a message.
#
# What happens: llama.cpp's converter writes the pair, llama.cpp finds its tensor in the model, checks and loads it, says nothing, and
# answers with the base's log probabilities, equal to the bit. Pairs on linears inside the layers are applied. The projection lies
# ahead of them, and the forward of gemma 4 multiplies by it without asking for adapters (ggml_mul_mat where the others have
# build_lora_mm, in the converters' release; gemma 3n has the same line, which was read only). PEFT applies the pair, and its
# "all-linear" makes one, so an adapter trained that way runs in part. Merged into the weights before conversion, the pair counts in
# llama.cpp too.
#
# Packages: node-llama-cpp 3.22.1 from npm (llama.cpp v0.5.0), llama-cpp-python 0.3.29 (its source carries llama.cpp's converters, run with
# the transformers 4.57.6 that they ask for), transformers 5.24.0, peft 0.21.2, torch 2.13.0. Needs Linux on x86-64 and Node.js 20 or
# newer. Seen on 2026-11-28 (largest differences in the log probabilities of 31 tokens; thousandths apart are
# rounding: llama.cpp looks gelu up in a table of f16):
#
#     no adapter                                                            apart 0.004
#     q_proj                      moved by PEFT 3.226  by llama.cpp 3.221  apart 0.008
#     per_layer_input_gate        moved by PEFT 2.320  by llama.cpp 2.316  apart 0.004
#     per_layer_projection        moved by PEFT 0.662  by llama.cpp 0.663  apart 0.004
#     per_layer_model_projection  moved by PEFT 2.127  by llama.cpp 0.000  apart 2.126
#     the last one, merged                             by llama.cpp 2.124  apart 0.005
#     log probabilities with the last one and of the base: equal
#     lines that llama.cpp says about it: 0
#     a pair for a tensor that is not there: refused
#     all-linear makes a pair on the last one: True
set -eu

[ "$(uname -sm)" = "Linux x86_64" ] || { echo "the pinned package is for Linux on x86-64: nothing to see"; exit 0; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >make.py <<'PY'
import json
import peft, torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, normalizers

tf.utils.logging.disable_progress_bar()
SITES = ["q_proj", "per_layer_input_gate", "per_layer_projection", "per_layer_model_projection"]
IDS = [1] + [(37 * i) % 200 + 20 for i in range(31)]

words = ["<pad>", "<bos>", "<eos>", "<unk>"] + [f"<0x{i:02X}>" for i in range(256)] + ["\u2581", "a", "b", "ab"]
bpe = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [("a", "b")], unk_token="<unk>", byte_fallback=True))
bpe.add_special_tokens(words[:4])
bpe.normalizer = normalizers.Replace(" ", "\u2581")
bpe.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
tokenizer = dict(tokenizer_class="PreTrainedTokenizerFast", pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")


def save(model, folder):
    model.save_pretrained(folder)
    bpe.save(folder + "/tokenizer.json")
    json.dump(tokenizer, open(folder + "/tokenizer_config.json", "w"))
    config = json.load(open(folder + "/config.json"))
    json.dump(dict(config, global_head_dim=32), open(folder + "/config.json", "w"))  # transformers 5 reads it, and writes it elsewhere


torch.manual_seed(1)
config = tf.Gemma4TextConfig(
    hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    global_head_dim=32, vocab_size=len(words), vocab_size_per_layer_input=len(words), hidden_size_per_layer_input=8,
    num_kv_shared_layers=3, sliding_window=16, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
)
model = tf.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
with torch.no_grad():
    for name, p in model.named_parameters():
        if p.ndim == 2:
            p.normal_(0, p.shape[-1] ** -0.5)
save(model, "model")


def score(model):
    with torch.no_grad():
        p = model(torch.tensor([IDS])).logits[0].double().log_softmax(-1)
    return [p[i, IDS[i + 1]].item() for i in range(len(IDS) - 1)]


load = lambda: tf.AutoModelForCausalLM.from_pretrained("model", dtype=torch.float32, attn_implementation="eager").eval()
scores = {"base": score(load())}
for site in SITES:
    adapted = peft.get_peft_model(load(), peft.LoraConfig(r=4, lora_alpha=8, target_modules=[site], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if ".lora_" in name:
                p.normal_(0, 0.1)
    scores[site] = score(adapted)
    adapted.save_pretrained(site)
save(adapted.merge_and_unload(), "merged")
everything = peft.get_peft_model(load(), peft.LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
paired = any("per_layer_model_projection.lora_A" in name for name, _ in everything.named_parameters())
json.dump(dict(ids=IDS, sites=SITES, paired=paired, scores=scores), open("made.json", "w"))
PY

cat >ask.mjs <<'JS'
import fs from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const llama = await getLlama({gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.warn,
    logger: (level, message) => process.stderr.write(message + "\n")});
const {ids, sites} = JSON.parse(fs.readFileSync("made.json", "utf8"));
const every = {probabilities: true, options: {temperature: 1, topK: 0, topP: 1, minP: 0}};

async function score(file, adapter) {
    const model = await llama.loadModel({modelPath: file});
    try {
        const context = await model.createContext({contextSize: 64, flashAttention: false, experimentalKvCacheKeyType: "F32",
            experimentalKvCacheValueType: "F32", ...(adapter ? {lora: {adapters: [{filePath: adapter, scale: 1}]}} : {})});
        const steps = await context.getSequence().controlledEvaluate(ids.map(id => [id, {generateNext: every}]));
        return ids.slice(1).map((id, i) => Math.log(steps[i].next.probabilities.get(id)));
    } catch (e) {
        return "refused";
    } finally {
        await model.dispose();
    }
}

const scores = {base: await score("model.gguf"), merged: await score("merged.gguf")};
for (const site of sites) {
    process.stderr.write(`adapter on ${site}\n`);
    scores[site] = await score("model.gguf", `${site}.gguf`);
}
process.stderr.write("end\n");
scores.unknown = await score("model.gguf", "unknown.gguf");
fs.writeFileSync("scores.json", JSON.stringify(scores));
process.exit(0);
JS

cat >see.py <<'PY'
import json, sys

made, theirs = json.load(open("made.json")), json.load(open("scores.json"))
ours, sites, last = made["scores"], made["sites"], made["sites"][-1]
off = lambda a, b: max(abs(x - y) for x, y in zip(a, b, strict=True))
moved = {site: (off(ours[site], ours["base"]), off(theirs[site], theirs["base"])) for site in sites}
print(f"{'no adapter':27} {'':41} apart {off(ours['base'], theirs['base']):.3f}")
for site, (peft, llama) in moved.items():
    print(f"{site:27} moved by PEFT {peft:.3f}  by llama.cpp {llama:.3f}  apart {off(ours[site], theirs[site]):.3f}")
merged = off(theirs["merged"], theirs["base"])
print(f"{'the last one, merged':27} {'':20}  by llama.cpp {merged:.3f}  apart {off(theirs['merged'], ours[last]):.3f}")
print("log probabilities with the last one and of the base:", "equal" if theirs[last] == theirs["base"] else "not equal")
log = open("log").read().splitlines()
said = log[log.index(f"adapter on {last}") + 1:log.index("end")]
refused = [line for line in log[log.index("end"):] if "does not exist in base model" in line]
print("lines that llama.cpp says about it:", len(said), *said)
print("a pair for a tensor that is not there:", "refused" if refused and theirs["unknown"] == "refused" else "loaded")
print("all-linear makes a pair on the last one:", made["paired"])
sys.exit(not (
    off(ours["base"], theirs["base"]) < 0.03 and min(peft for peft, _ in moved.values()) > 0.3
    and all(off(ours[site], theirs[site]) < 0.03 for site in sites[:-1]) and off(theirs["merged"], ours[last]) < 0.03
    and theirs[last] == theirs["base"] and not said and refused and theirs["unknown"] == "refused" and made["paired"]
))
PY

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0 peft==0.21.2 torch==2.13.0 numpy==2.4.6 safetensors==0.8.0 \
    sentencepiece==0.2.3 pyyaml tqdm requests==2.34.2
env/bin/pip install -q --disable-pip-version-check --no-deps --target v4 \
    transformers==4.57.6 huggingface-hub==0.36.0 tokenizers==0.22.1
env/bin/pip download -q --disable-pip-version-check --no-deps --no-binary :all: llama-cpp-python==0.3.29
mkdir llama.cpp
tar xzf llama_cpp_python-0.3.29.tar.gz -C llama.cpp --strip-components=3 --wildcards '*/vendor/llama.cpp/convert_hf_to_gguf.py' \
    '*/vendor/llama.cpp/convert_lora_to_gguf.py' '*/vendor/llama.cpp/conversion' '*/vendor/llama.cpp/gguf-py/gguf'
npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1 >/dev/null

export HF_HUB_OFFLINE=1
run() { # its messages only where it fails
    "$@" >messages 2>&1 || { cat messages; exit 1; }
}
run env/bin/python make.py
for model in model merged; do
    run env PYTHONPATH=v4 env/bin/python llama.cpp/convert_hf_to_gguf.py "$model" --outtype f32 --outfile "$model.gguf"
done
for site in q_proj per_layer_input_gate per_layer_projection per_layer_model_projection; do
    run env PYTHONPATH=v4 env/bin/python llama.cpp/convert_lora_to_gguf.py --base model --outtype f32 --outfile "$site.gguf" "$site"
done
LC_ALL=C sed 's/per_layer_model_proj/per_layer_model_none/g' per_layer_model_projection.gguf >unknown.gguf
node ask.mjs 2>log || { cat log; exit 1; }
env/bin/python see.py
