#!/usr/bin/env python3
"""Vocabularies inside GGUF files: ids as llama.cpp's own vectors say (shared material: conformance/vocab), and of a vocabulary written with
gguf-py from a tokenizer.json those of the tokenizer.json itself, over texts of every kind."""
import contextlib, glob, io, json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import tokens
from lib.program import MATERIAL, Skip, ask, check, finish, run, workspace

WORK = workspace()
PROGRAM = tokens.build_driver(WORK)
VECTORS = os.path.join(MATERIAL, "conformance", "vocab")
TOKENIZERS = os.path.join(MATERIAL, "tokenizers")
# Folder → the name by which llama.cpp's converter knows the way it cuts texts.
WRITTEN = {"qwen2.5": "qwen2", "qwen3": "qwen2", "gpt2": "gpt-2", "phi2": "phi-2", "falcon": "falcon", "gpt-neox": "olmo"}


def ids_of(model, text):
    return ask("tokenize", "--model", model, "--no-special", "--text", text)["ids"]


def all_ids(model, many):
    """Of each text; the first as the command has it, too."""
    driver = tokens.Driver(PROGRAM, model)
    ids = [driver.encode(t, False) for t in many]
    driver.close()
    assert ids[0] == ids_of(model, many[0]), "the command gives other ids than the library"
    return ids


def texts():
    found = sorted(glob.glob(os.path.join(VECTORS, "*.inp")))
    if not found:
        raise Skip("shared material (conformance/vocab) is missing")
    return open(found[0], encoding="utf8", newline="").read().split("\n__ggml_vocab_test__\n")


def vectors(file):
    inputs = open(file + ".inp", encoding="utf8", newline="").read().split("\n__ggml_vocab_test__\n")
    wanted = [[int(x) for x in line.split()] for line in open(file + ".out").read().split("\n")]
    assert len(wanted) >= len(inputs), "more texts than answers"
    bad = [t for t, ids, own in zip(inputs, wanted, all_ids(file, inputs)) if own != ids]
    assert not bad, f"{len(bad)} of {len(inputs)} texts have other ids, first {bad[0]!r}"
    return f"{len(inputs)} texts"


def written(folder, pre):
    source = os.path.join(TOKENIZERS, folder, "tokenizer.json")
    if not os.path.exists(source):
        raise Skip(f"shared material (tokenizers/{folder}) is missing")
    return compare(folder, source, "gpt2", pre)


def gemma4():
    """tokenizer.ggml.model gemma4, as llama.cpp's converter writes it: pieces with bytes to fall back on, merged over the whole text; from
    the pieces of Phi 3 with Gemma's normalizer."""
    folder = os.path.join(TOKENIZERS, "phi3")
    if not os.path.exists(folder):
        raise Skip("shared material (tokenizers/phi3) is missing")
    spec = json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf8"))
    spec |= dict(normalizer=dict(type="Replace", pattern=dict(String=" "), content="\u2581"), post_processor=None, pre_tokenizer=dict(
        type="Split", pattern=dict(String=" "), behavior="MergedWithPrevious", invert=False))
    for token in spec["added_tokens"]:
        token["rstrip"] = False
    source = os.path.join(WORK, "tokenizer.json")
    json.dump(spec, open(source, "w"))
    return compare("gemma4", source, "gemma4", None)


def compare(name, source, model, pre):
    import gguf
    spec = json.load(open(source, encoding="utf8"))
    vocab, added = spec["model"]["vocab"], {t["id"]: t for t in spec["added_tokens"]}
    count = max([*vocab.values(), *added]) + 1
    text, kind = [f"[PAD{i}]" for i in range(count)], [5] * count
    for token, i in vocab.items():
        text[i], kind[i] = token, 6 if token.startswith("<0x") else 1
    for i, t in added.items():
        text[i], kind[i] = t["content"], 3 if t["special"] else 4
    file = os.path.join(WORK, name + ".gguf")
    w = gguf.GGUFWriter(file, "qwen2")
    w.add_tokenizer_model(model)
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(text)
    w.add_token_types(kind)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    many = texts() + ["a\u0301 e\u0300 \uac01", "".join(t["content"] + " x " for t in added.values()), "x\n\n  y\t\tz   ", "1234567 12.5e-3"]
    bad = [t for t, ours, theirs in zip(many, all_ids(file, many), all_ids(source, many)) if ours != theirs]
    assert not bad, f"{len(bad)} of {len(many)} texts have other ids, first {bad[0]!r}"
    return f"{len(many)} texts"


def phi3():
    """Conversations: control tokens of Phi 3 take the line break behind them, and the text behind one begins with a space; as the folder."""
    file, folder = os.path.join(VECTORS, "ggml-vocab-phi-3.gguf"), os.path.join(TOKENIZERS, "phi3")
    if not os.path.exists(file) or not os.path.exists(folder):
        raise Skip("shared material (conformance/vocab, tokenizers/phi3) is missing")
    template, data = os.path.join(WORK, "phi3.jinja"), os.path.join(WORK, "phi3.jsonl")
    open(template, "w").write(json.load(open(os.path.join(folder, "tokenizer_config.json")))["chat_template"])
    with open(data, "w") as f:
        for user, answer in (("Hello there", "Hi, I am  well."), ("\n x <|end|> y", "  indented\n\n"), ("\u00a0\u00e9", "\u3000ok </s> <s>\n x")):
            f.write(json.dumps({"messages": [{"role": "system", "content": "Be\n\nkind"}, {"role": "user", "content": user},
                                             {"role": "assistant", "content": answer}, {"role": "user", "content": "a"},
                                             {"role": "assistant", "content": " b"}]}) + "\n")
    said = [ask("data", "--model", m, "--template", template, "--data", data, "--show", "9")["samples"] for m in (file, folder)]
    assert len(said[0]) == 3 and 13 not in said[1][0]["ids"][:2], "no test"
    bad = [b["text"] for a, b in zip(*said) if (a["ids"], a["learned"]) != (b["ids"], b["learned"])]
    assert not bad, f"other ids or marks for {bad[0]!r}"


def unnamed(architecture):
    """A file that does not say how texts are cut: only of GPT-2 itself is that known."""
    import gguf
    file = os.path.join(WORK, f"unnamed-{architecture}.gguf")
    w = gguf.GGUFWriter(file, architecture)
    w.add_tokenizer_model("gpt2")
    w.add_token_list(["a", "b", "\u0120", "ab"])
    w.add_token_types([1, 1, 1, 1])
    w.add_token_merges(["a b"])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if architecture != "gpt2":
        assert "nothing says how texts are cut" in run("tokenize", "--model", file, "--text", "ab a", status=1).stderr
    else:
        assert ids_of(file, "ab a") == [3, 2, 0]


def behind_control(inst):
    """The text behind a control token begins with a space again, but not of a vocabulary that has [INST] as one."""
    import gguf
    file = os.path.join(WORK, f"behind-{inst}.gguf")
    tokens, types = ["<unk>", "<s>", "</s>", "\u2581", "a", "\u2581a"], [2, 3, 3, 1, 1, 1]
    w = gguf.GGUFWriter(file, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens + ["[INST]"] * inst)
    w.add_token_scores([0.0, 0.0, 0.0, -2.0, -3.0, -1.0] + [0.0] * inst)
    w.add_token_types(types + [3] * inst)
    w.add_bos_token_id(1)
    w.add_add_bos_token(False)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    template, data = os.path.join(WORK, "behind.jinja"), os.path.join(WORK, "behind.jsonl")
    open(template, "w").write("{% for m in messages %}{{ m.content }}</s>{% endfor %}")
    open(data, "w").write(json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]}) + "\n")
    ids = ask("data", "--model", file, "--template", template, "--data", data, "--show", "1")["samples"][0]["ids"]
    assert ids == [5, 2, 4 if inst else 5, 2], ids


for one in sorted(glob.glob(os.path.join(VECTORS, "*.gguf"))):
    if os.path.exists(one + ".inp"):
        check(f"gguf vocabulary: {os.path.basename(one)}", vectors, one)
for one, pre in WRITTEN.items():
    check(f"gguf vocabulary written from {one}", written, one, pre)
check("gguf vocabulary of gemma4", gemma4)
check("gguf vocabulary of phi3 in conversations", phi3)
for one in (0, 1):
    check(f"gguf vocabulary: text behind a control token, {'with' if one else 'without'} [INST]", behind_control, one)
for one in ("gpt2", "llama"):
    check(f"gguf vocabulary without a name, {one}", unnamed, one)
finish(WORK)
