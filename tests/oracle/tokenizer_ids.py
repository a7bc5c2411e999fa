#!/usr/bin/env python3
"""Token ids against Hugging Face's tokenizers and the sentencepiece package: the same ids and the same decoded text.

    tests/oracle/tokenizer_ids.py [--driver PROGRAM] [--seed N] [--strings N] [--only NAME]

Strings: the conformance files and datasets of ../shared/material where it is there, and random Unicode that leans on
what goes wrong (runs of spaces, marks, unassigned code points, added tokens glued together).  Tokenizers: those of the
material, and small ones trained on the spot for what the material lacks.  The C side is tokenize_ids.c."""
import argparse
import json
import os
import random
import sys
import tempfile

import sentencepiece
import tokenizers
from lib.tokens import Driver, build_driver
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = os.environ.get("ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MATERIAL = os.path.join(ROOT, "..", "shared", "material")


# ---- strings ---------------------------------------------------------------------------------------------------------

RANGES = [(0x20, 0x7E)] * 6 + [(0, 0x1F), (0x7F, 0xA0), (0xA1, 0x17F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xDFF),
          (0xE00, 0xFFF), (0x1000, 0x139F), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x20D0, 0x20FF), (0x2100, 0x24FF), (0x2580, 0x27BF),
          (0x3000, 0x30FF), (0x3130, 0x318F), (0x3200, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FB), (0xE000, 0xF8FF),
          (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFF), (0x10000, 0x10FFF), (0x11000, 0x12FFF), (0x16800, 0x18FFF),
          (0x1B000, 0x1BCFF), (0x1D100, 0x1D7FF), (0x1E000, 0x1E9FF), (0x1F000, 0x1FAFF), (0x20000, 0x3FFFF), (0xE0000, 0xE01FF),
          (0x100000, 0x10FFFF), (0, 0x10FFFF)]
SNIPPETS = [" ", "  ", "   ", "\n", "\r\n", "\t", "\n\n", " \n ", "\u00a0", "\u3000", "'s", "'S", "'ll", "'\u017f", "don't", "I'LL", "hello", "Hello World",
            "123", "1234567", "3.14", "\u0663\u0664", "\u00b2\u00b3", "\u2160", "\u4f60\u597d", "\u0441\u043b\u043e\u0432\u043e", "e\u0301", "\u00e9", "\u1112\u1161\u11ab", "\ud55c",
            "\U0001F468\u200d\U0001F469\u200d\U0001F467", "\U0001F1E9\U0001F1EA", "\u2764\ufe0f", "\u200b", "\u200d", "\ufeff", "\ufffd", "\u2581", "\u2581\u2581", "a\u2581b", "<0x41>",
            "<unk>", "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "fi\ufb01", "\uff21\uff22", "\u212b", "\u0130", "\u1e9b\u0323", "-->", "...", "!!!", "#include <a.h>",
            "x = y_1 + 2;", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0646\u0635", "\u05e9\u05dc\u05d5\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947", "\x00", "\x1b[0m", "_", "\u203f"]


def random_char(rng):
    while True:
        low, high = rng.choice(RANGES)
        c = rng.randint(low, high)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def random_string(rng, added):
    out = []
    for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 30])):
        kind = rng.random()
        if kind < 0.35:
            out.append("".join(random_char(rng) for _ in range(rng.randint(1, 6))))
        elif kind < 0.6:
            out.append(rng.choice(SNIPPETS))
        elif kind < 0.7 and added:
            out.append(rng.choice(added))
        elif kind < 0.8:
            out.append(rng.choice(" \n\t\u00a0a\u0301-'1") * rng.choice([1, 2, 3, 7, 20, 60]))
        else:
            out.append(rng.choice(["", " "]) + "".join(rng.choice("etaoinshrdlucmfwypvbgkjqxz") for _ in range(rng.randint(1, 12))))
    return "".join(out)


def long_strings(rng):
    """Lengths at which anything quadratic, or a pattern's stack, would show."""
    words = " ".join("".join(rng.choice("abcdefgh") for _ in range(rng.randint(1, 9))) for _ in range(20000))
    return [words, "a" * 60000, " " * 60000, "\u00e9" * 20000, "1" * 30000, "\n" * 30000, "ab" * 20000, "\u4f60\u597d" * 10000, "a" + "\u0301\u0316" * 3000, "\U0001F600" * 5000]


def dataset_lines():
    out = []
    for folder, _, names in os.walk(os.path.join(MATERIAL, "datasets")):
        for name in sorted(names):
            if name.endswith((".jsonl", ".json")):
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    out += [line for line in f if len(line) < 20000]
    return out


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for v in value.values() if isinstance(value, dict) else value:
            yield from texts_of(v)


def conformance_strings():
    out = []
    path = os.path.join(MATERIAL, "conformance")
    if os.path.isdir(path):
        with open(os.path.join(path, "tokenizers", "vectors.json"), encoding="utf-8") as f:
            for cases in json.load(f).values():
                out += [c["text"] for c in cases if isinstance(c.get("text"), str)]
        for name in sorted(os.listdir(os.path.join(path, "vocab"))):
            if name.endswith(".inp"):
                with open(os.path.join(path, "vocab", name), encoding="utf-8") as f:
                    out += f.read().split("\n__ggml_vocab_test__\n")
        for folder in ("chat-templates",):
            for name in sorted(os.listdir(os.path.join(path, folder))):
                with open(os.path.join(path, folder, name), encoding="utf-8") as f:
                    out.append(f.read())
    return list(dict.fromkeys(out))


# ---- comparing ---------------------------------------------------------------------------------------------------------

class Reference:
    """Hugging Face's library on one tokenizer.json."""

    def __init__(self, path):
        self.tokenizer = tokenizers.Tokenizer.from_file(path)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        with open(path, encoding="utf-8") as f:
            self.added = [t["content"] for t in json.load(f)["added_tokens"]]
        self.count = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text, special):
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, ids, skip):
        return self.tokenizer.decode(ids, skip_special_tokens=skip)


class SentencePiece:
    """The sentencepiece package on one tokenizer.model; it decodes without control pieces only."""

    def __init__(self, path):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=path)
        self.added = [self.processor.id_to_piece(i) for i in range(min(20, self.processor.vocab_size()))]
        self.count = self.processor.vocab_size()

    def encode(self, text, special):
        return self.processor.encode(text, add_bos=special)

    def decode(self, ids, skip):
        return self.processor.decode(ids) if skip else None


def first_difference(driver, reference, text):
    """None, or what differs for one text."""
    ids = None
    for special in (False, True):
        want, got = reference.encode(text, special), driver.encode(text, special)
        if want != got:
            return f"special={special} text={text[:300]!r}\n  want {want[:60]}\n  got  {got[:60]}"
        ids = want
    for skip in (False, True):
        want = reference.decode(ids, skip)
        if want is not None and want != (got := driver.decode(ids, skip)):
            return f"decode skip={skip} ids={ids[:60]}\n  want {want[:200]!r}\n  got  {got[:200]!r}"
    return None


def random_ids(rng, count):
    return [rng.randrange(count) for _ in range(rng.randint(1, 20))]


def compare(name, program, path, reference, strings, rng, random_count):
    driver = Driver(program, path)
    bad, done = [], 0
    generated = (random_string(rng, reference.added) for _ in range(random_count))
    for text in (*strings, *generated):
        difference = first_difference(driver, reference, text)
        done += 1
        if difference:
            bad.append(difference)
            if len(bad) == 5:
                break
    for _ in range(random_count // 4):
        ids = random_ids(rng, reference.count)
        for skip in (False, True):
            want = reference.decode(ids, skip)
            if want is not None and want != (got := driver.decode(ids, skip)) and len(bad) < 5:
                bad.append(f"decode skip={skip} ids={ids}\n  want {want!r}\n  got  {got!r}")
    if driver.close() != 0:
        bad.append("the driver failed at the end")
    print(f"{'not ok' if bad else 'ok'} {name} ({done} strings)")
    for b in bad:
        print("# " + b.replace("\n", "\n# "))
    sys.stdout.flush()
    return not bad


# ---- tokenizers made here ----------------------------------------------------------------------------------------------

CORPUS = ["The quick brown fox jumps over the lazy dog, again and again.", "Hello world! How are you today? I'm fine, thanks; and you?",
          "It's 3.14159 or 42 or 1000000; x_1 = y + 2.", "na\u00efve caf\u00e9 \u00fcber stra\u00dfe \u4f60\u597d\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "def f(a, b):\n    return a + b\n"] * 30


def trained():
    """(name, Tokenizer): what the material has no file of."""
    specials = ["<unk>", "<s>", "</s>", "<mask>"]

    def make(model, trainer, normalizer=None, pre=None, post=None, decoder=None, added=()):
        t = tokenizers.Tokenizer(model)
        for part, value in (("normalizer", normalizer), ("pre_tokenizer", pre), ("decoder", decoder)):
            if value is not None:
                setattr(t, part, value)
        t.train_from_iterator(CORPUS, trainer)
        if post is not None:
            t.post_processor = post
        t.add_tokens(list(added))
        return t

    def unigram(**options):
        return trainers.UnigramTrainer(vocab_size=300, special_tokens=specials, unk_token="<unk>", show_progress=False, **options)

    def bpe(**options):
        return trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False, **options)

    token = tokenizers.AddedToken
    odd = [token("Day", normalized=True, single_word=True), token("<L>", lstrip=True), token("<R>", rstrip=True, normalized=False),
           token("fox jump", normalized=True), token("\u00c9", normalized=True), token("<LR>", lstrip=True, rstrip=True, special=True)]
    yield "unigram-metaspace", make(models.Unigram(), unigram(), normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
                                    pre_tokenizers.Metaspace(), processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)]), decoders.Metaspace(), odd)
    yield "unigram-first", make(models.Unigram(), unigram(), normalizers.Sequence([normalizers.Strip(), normalizers.NFKC()]),
                                pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None, decoders.Metaspace(prepend_scheme="first"), odd)
    yield "unigram-lower", make(models.Unigram(), unigram(), normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]),
                                pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), None, decoders.Metaspace(), odd)
    yield "bpe-suffix", make(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), bpe(end_of_word_suffix="</w>"), normalizers.Lowercase(),
                             pre_tokenizers.Whitespace(), processors.RobertaProcessing(("</s>", 2), ("<s>", 1)), decoders.BPEDecoder("</w>"), odd)
    yield "bpe-prefix", make(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True), bpe(continuing_subword_prefix="##"), normalizers.NFC(),
                             pre_tokenizers.BertPreTokenizer(), processors.BertProcessing(("</s>", 2), ("<s>", 1)), decoders.WordPiece("##"), odd)
    yield "bpe-digits", make(models.BPE(unk_token="<unk>"), bpe(), normalizers.NFKD(),
                             pre_tokenizers.Sequence([pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Digits(individual_digits=True)]), None, None, odd)
    yield "byte-level-normalizer", make(models.BPE(), bpe(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()), normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()]),
                                        None, None, decoders.ByteLevel(), odd)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"[\s&&[^\n]]+|\p{Lu}|\d{1,2}+|o*"), behavior, invert), pre_tokenizers.ByteLevel(add_prefix_space=True)])
            yield f"split-{behavior}{'-invert' if invert else ''}", make(models.BPE(), bpe(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()), None, pre,
                                                                          processors.ByteLevel(), decoders.ByteLevel(), odd)
    patterns = {"cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                "possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
                "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                "deepseek": "[\r\n]|\\s?\\p{L}+|\\s?\\p{P}+|[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+|\\p{N}",
                "words": r"\b\w+\b|[[:punct:]]+|\h|^.|\S$"}
    for name, pattern in patterns.items():
        pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        yield "pattern-" + name, make(models.BPE(), bpe(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()), None, pre, processors.ByteLevel(), decoders.ByteLevel(), odd)


def with_byte_fallback(t):
    """The same unigram with <0x00> … <0xFF> behind its pieces."""
    config = json.loads(t.to_str())
    config["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
    config["model"]["byte_fallback"] = True
    config["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
                                                          {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return tokenizers.Tokenizer.from_str(json.dumps(config))


def with_charsmap(t, model_path):
    """The same tokenizer behind a Precompiled normalizer, with the map of a SentencePiece model."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    proto = pb.ModelProto()
    with open(model_path, "rb") as f:
        proto.ParseFromString(f.read())
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    return t


def sentencepiece_models(folder):
    text = os.path.join(folder, "text")
    with open(text, "w", encoding="utf-8") as f:
        f.write("\n".join(CORPUS))
    settings = {"spm-unigram": {}, "spm-unigram-bytes": {"byte_fallback": True, "vocab_size": 500}, "spm-bpe": {"model_type": "bpe"},
                "spm-bpe-user": {"model_type": "bpe", "user_defined_symbols": ["<sep>", "fox", "  ", "\u2581the"], "normalization_rule_name": "identity"},
                "spm-unigram-user": {"user_defined_symbols": ["<sep>", "fox", "qu"], "control_symbols": ["<ctl>"]},
                "spm-suffix": {"treat_whitespace_as_suffix": True}, "spm-keep": {"remove_extra_whitespaces": False, "normalization_rule_name": "nfkc_cf"},
                "spm-plain": {"add_dummy_prefix": False, "model_type": "bpe", "byte_fallback": True, "vocab_size": 500}}
    for name, options in settings.items():
        prefix = os.path.join(folder, name)
        options = {"vocab_size": 220, "model_type": "unigram", "hard_vocab_limit": False, **options}
        sentencepiece.SentencePieceTrainer.train(input=text, model_prefix=prefix, minloglevel=3, **options)
        yield name, prefix + ".model"


def material_files():
    for name in ("qwen2.5", "qwen3", "gpt2", "phi2", "phi3", "gpt-neox", "falcon", "minimind"):
        yield name, os.path.join(MATERIAL, "tokenizers", name, "tokenizer.json")
    yield "gpt2-arrays", os.path.join(MATERIAL, "tokenizers", "gpt2", "tokenizer.merges-as-arrays.json")
    yield "stories260k", os.path.join(MATERIAL, "models", "stories260k", "tokenizer.json")
    yield "stories260k-spm", os.path.join(MATERIAL, "models", "stories260k", "tokenizer.model")
    yield "mistral-v1", os.path.join(MATERIAL, "tokenizers", "mistral-spm", "tokenizer.model.v1")
    yield "mistral-v3", os.path.join(MATERIAL, "tokenizers", "mistral-spm", "mistral_instruct_tokenizer_240323.model.v3")


def run_trained(args, program, folder, rng, wanted):
    ok = True
    last_spm = None
    strings = CORPUS[:5] + SNIPPETS + conformance_strings()[:150] + long_strings(rng)[:4]
    for name, path in sentencepiece_models(folder):
        last_spm = last_spm or path
        if wanted(name):
            ok &= compare(name, program, path, SentencePiece(path), strings, rng, args.strings // 4)
    for name, t in trained():
        variants = [(name, t)]
        if name == "unigram-metaspace":
            variants += [("unigram-bytes", with_byte_fallback(t)), ("unigram-charsmap", with_charsmap(tokenizers.Tokenizer.from_str(t.to_str()), last_spm))]
        for variant, one in variants:
            if not wanted(variant):
                continue
            path = os.path.join(folder, variant + ".json")
            one.save(path)
            ok &= compare(variant, program, path, Reference(path), strings, rng, args.strings // 4)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--driver")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--strings", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=1500, help="dataset lines per tokenizer, 0: all")
    parser.add_argument("--only")
    args = parser.parse_args()
    rng, ok = random.Random(args.seed), True

    def wanted(name):
        return not args.only or args.only in name

    with tempfile.TemporaryDirectory() as folder:
        program = args.driver or build_driver(folder)
        if os.path.isdir(MATERIAL):
            lines = dataset_lines()
            strings = conformance_strings() + SNIPPETS + long_strings(rng)
            for name, path in material_files():
                if wanted(name):
                    some = rng.sample(lines, args.lines) if args.lines else lines
                    reference = Reference(path) if path.endswith(".json") else SentencePiece(path)
                    ok &= compare(name, program, path, reference, strings + some, rng, args.strings)
        else:
            print("skip material: ../shared/material is not there")
        ok &= run_trained(args, program, folder, rng, wanted)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
