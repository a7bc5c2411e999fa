#!/usr/bin/env python3
"""Conversations against transformers: `alphar data` has the ids of apply_chat_template, and learns the tokens of its
return_assistant_tokens_mask, for templates with {% generation %}; spans of templates without are checked by hand below.

Templates: those written here; ../shared/material's, where they are there; those of an installed TRL; files named on the
command line."""
import glob
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["SOURCE_DATE_EPOCH"] = str(int(time.time()))  # templates see today, in both
import transformers
from transformers.utils import chat_template_utils

ROOT = os.environ.get("ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALPHAR = os.path.join(os.environ.get("BUILD") or os.path.join(ROOT, "build"), "alphar")
MATERIAL = os.path.join(ROOT, "..", "shared", "material")
failed = False


def report(name, problem=None):
    global failed
    failed |= problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name}: {problem}", flush=True)


# ---- conversations -------------------------------------------------------------------------------------------------

WORDS = ["hello", "Grüße", "日本語", "🤔🎉", "  spaces  ", "line\nbreak", "x = {'a': 1}", "don't", "1234567", "é\u0301", "\ttab", "", "ß", "…",
         "<b>bold</b>", "a  b", "\n\n", "end.", "?!", "naïve", "\u00a0", "code:\n```py\nprint(1)\n```"]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Name"}}, "required": ["city"]}}}]


def text(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 6)))


def conversations(seed, count, tools=True):
    rng = random.Random(seed)
    for i in range(count):
        messages = [{"role": "system", "content": text(rng)}] if rng.random() < 0.4 else []
        row = {}
        for _ in range(rng.randint(1, 3)):
            messages.append({"role": "user", "content": text(rng)})
            if tools and rng.random() < 0.25:
                row["tools"] = TOOLS
                messages.append({"role": "assistant", "content": "", "tool_calls": [
                    {"type": "function", "id": "abc123def", "function": {"name": "get_weather", "arguments": {"city": text(rng)}}}]})
                messages.append({"role": "tool", "tool_call_id": "abc123def", "name": "get_weather", "content": "{\"temp\": -3}"})
            messages.append({"role": "assistant", "content": text(rng)})
        yield {"messages": messages, **row}


# ---- both sides ----------------------------------------------------------------------------------------------------

def has_blocks(template):
    return re.search(r"{%[-+]?\s*generation\s*[-+]?%}", template) is not None


def has_empty_block(template, row, tokenizer):
    """transformers learns a token around a place where nothing was generated; here nothing is learned there."""
    _, blocks = chat_template_utils.render_jinja_template([row["messages"]], tools=row.get("tools"), chat_template=template,
                                                          return_assistant_tokens_mask=True, **tokenizer.special_tokens_map)
    return any(a == b for a, b in blocks[0])


def theirs(tokenizer, template, row):
    """(ids, learned, text), or None where the template refuses the row; learned None without generation blocks."""
    mask = has_blocks(template)
    try:
        out = tokenizer.apply_chat_template(row["messages"], tools=row.get("tools"), chat_template=template, tokenize=True,
                                            return_dict=True, return_assistant_tokens_mask=mask)
        rendered = tokenizer.apply_chat_template(row["messages"], tools=row.get("tools"), chat_template=template, tokenize=False)
    except Exception:
        return None
    return list(out["input_ids"]), list(out["assistant_masks"]) if mask else None, rendered


def ours(folder, template, rows, *more):
    """A list with an entry for each row: (ids, learned, text), or None."""
    with tempfile.TemporaryDirectory() as tmp:
        data, jinja = os.path.join(tmp, "data.jsonl"), os.path.join(tmp, "t.jinja")
        with open(data, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        with open(jinja, "w", encoding="utf-8", newline="") as f:
            f.write(template)
        run = subprocess.run([ALPHAR, "data", "--model", folder, "--data", data, "--template", jinja, "--json", "--skip-bad",
                              "--max-length", "1000000", *more], capture_output=True, text=True)
    found = [None] * len(rows)
    if run.returncode:
        return found, run.stderr
    for s in json.loads(run.stdout)["samples"]:
        found[s["line"] - 1] = (s["ids"], s["learned"], s["text"])
    return found, run.stderr


def compare(name, folder, tokenizer, template, rows):
    want = [theirs(tokenizer, template, r) for r in rows]
    got, said = ours(folder, template, rows, *([] if has_blocks(template) else ["--train-on", "all"]))
    problems = []
    for row, w, g in zip(rows, want, got):
        if w is None or g is None:
            nothing = w is not None and (len(w[0]) < 2 or (w[1] is not None and not any(w[1][1:])))
            if (w is None) != (g is None) and not nothing:
                problems.append(f"{'theirs' if w is None else 'ours'} refuses {json.dumps(row)[:300]} ({said[-300:]})")
            continue
        if g[2] != w[2]:
            problems.append(f"another text: {g[2]!r} for {w[2]!r}")
        elif g[0] != w[0]:
            problems.append(f"other ids for {w[2]!r}: {g[0]} for {w[0]}")
        elif w[1] is not None and g[1][1:] != w[1][1:] and not has_empty_block(template, row, tokenizer):
            at = next(i for i in range(1, len(w[1])) if w[1][i] != g[1][i])
            problems.append(f"token {at} ({tokenizer.decode([w[0][at]])!r}) of {w[2]!r}: {g[1][at]} for {w[1][at]}")
    report(name, f"{len(problems)} of {len(rows)}: {problems[0][:900]}" if problems else None)


# ---- templates -----------------------------------------------------------------------------------------------------

OWN = {
    "chatml with generation": "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}{%- if m.role == 'assistant' %}{% generation %}"
                              "{{- m.content + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}{%- else %}{{- m.content + '<|im_end|>\\n' }}"
                              "{%- endif %}{%- endfor %}",
    "bare text with generation": "{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content | trim }}{% endgeneration %}\n{% endfor %}",
    "generation in mid-word": "{% for m in messages %}{{ m.role }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
                              "{% else %}{{ m.content }}{% endif %}end{% endfor %}",
    "every role": "{{ bos_token }}{% for m in messages %}{% generation %}[{{ m.role|upper }}]{% endgeneration %} {{ m.content }} {% endfor %}",
}


def load(folder):
    return transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"), **special_tokens(folder))


def special_tokens(folder):
    path = os.path.join(folder, "tokenizer_config.json")
    config = json.load(open(path, encoding="utf-8")) if os.path.exists(path) else {}
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    return {n: config[n]["content"] if isinstance(config[n], dict) else config[n] for n in names if config.get(n)}


def templates():
    """Pairs of name and source."""
    yield from OWN.items()
    try:
        import trl
        more = glob.glob(os.path.join(os.path.dirname(trl.__file__), "chat_templates", "*.jinja"))
    except ImportError:
        print("skip templates of TRL: it is not installed")
        more = []
    material = glob.glob(os.path.join(MATERIAL, "conformance", "chat-templates", "*.jinja"))
    if not material:
        print("skip templates of models: ../shared/material is not there")
    for path in sorted(material) + sorted(more) + sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            yield os.path.basename(path), f.read()


def tokenizers():
    yield "demo", os.path.join(ROOT, "demo", "base")
    for name in ("qwen2.5", "qwen3", "gpt2", "phi3", "phi2", "gpt-neox", "falcon", "minimind"):
        folder = os.path.join(MATERIAL, "tokenizers", name)
        if os.path.exists(os.path.join(folder, "tokenizer.json")):
            yield name, folder


# ---- spans by hand ---------------------------------------------------------------------------------------------------

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
         {"role": "assistant", "content": "d"}]
# What is learned of TURNS, span by span; tokens that only begin in a span count, so that some begin or end in a
# bracket beside them.
BY_HAND = {
    "Qwen-Qwen2.5-7B-Instruct.jinja": ["b<|im_end|>\n", "d<|im_end|>\n"],
    "Qwen-Qwen3-0.6B.jinja": ["b<|im_end|>\n", "<think>\n\n</think>\n\nd<|im_end|>\n"],
    "microsoft-Phi-3.5-mini-instruct.jinja": ["b<|end|>\n", "d<|end|>\n<|endoftext|>"],
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja": ["b<｜end▁of▁sentence｜><", "d<｜end▁of▁sentence｜>"],
    "ByteDance-Seed-OSS.jinja": ["b<seed:eos><", "d<seed:eos>"],
    "GLM-4.6.jinja": [">\n<think></think>\nb", ">\n<think></think>\nd"],
    "unsloth-Apriel-1.5.jinja": ["b\n<|end|>\n<|endoftext|>", "d\n<|end|>\n<|endoftext|>"],
}


def spans(ids, learned, tokenizer):
    found, last = [], 0
    for i, (one, on) in enumerate(zip(ids, learned)):
        if on and not last:
            found.append([])
        if on:
            found[-1].append(one)
        last = on
    return [tokenizer.decode(s) for s in found]


def check_by_hand():
    folder = os.path.join(MATERIAL, "tokenizers", "qwen3")
    if not os.path.exists(folder):
        print("skip spans by hand: ../shared/material is not there")
        return
    tokenizer = load(folder)
    for name, want in BY_HAND.items():
        with open(os.path.join(MATERIAL, "conformance", "chat-templates", name), encoding="utf-8") as f:
            template = f.read()
        got, said = ours(folder, template, [{"messages": TURNS}])
        found = spans(got[0][0], got[0][1], tokenizer) if got[0] else said
        report(f"spans of {name}", None if found == want else f"{found} for {want}")


# ---- SentencePiece files ---------------------------------------------------------------------------------------------

SPM_TEMPLATES = {
    "marks with spaces": """{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %}{% generation %}
{{- ' ' + m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}""",
    "marks without": """{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}{% generation %}
{{- m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}""",
    "letters": """{% for m in messages %}{{ bos_token + m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content + '\n' }}{% endgeneration %}
{%- else %}{{ m.content + '\n' }}{% endif %}{{ eos_token }}{% endfor %}"""}


def check_sentencepiece():
    """tokenizer.model alone, as transformers converts it.  No runs of spaces, which its conversion merges in another order than SentencePiece does."""
    words = ["Can", "I", "keep", "the", "bike?", "日本", "é", "x<y", "[INS", "ok.", "🙂"]
    for path in sorted(glob.glob(os.path.join(MATERIAL, "tokenizers", "mistral-spm", "*.model.*"))):
        for legacy in (True, False):
            rng = random.Random(1)
            say = lambda role: {"role": role, "content": " ".join(rng.choice(words) for _ in range(rng.randint(1, 9)))}
            rows = [{"messages": [say("user"), say("assistant"), say("user"), say("assistant")]} for _ in range(40)]
            with tempfile.TemporaryDirectory() as folder:
                os.symlink(os.path.abspath(path), os.path.join(folder, "tokenizer.model"))
                with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
                    json.dump({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": legacy}, f)
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
                for name, template in SPM_TEMPLATES.items():
                    compare(f"{os.path.basename(path)}, legacy {legacy}: {name}", folder, tokenizer, template, rows)


def main():
    all_templates = list(templates())
    for tokenizer_name, folder in tokenizers():
        tokenizer = load(folder)
        for name, template in all_templates:
            few = tokenizer_name not in ("qwen3", "demo")
            rows = list(conversations(name, 8 if few else 25, tools=tokenizer_name != "demo"))
            compare(f"{name} with {tokenizer_name}", folder, tokenizer, template, rows)
    check_by_hand()
    check_sentencepiece()
    return failed


if __name__ == "__main__":
    sys.exit(main())
