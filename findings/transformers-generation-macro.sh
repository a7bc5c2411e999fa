#!/bin/sh
# transformers: {% generation %} inside a macro or a {% set %} block marks other tokens than the ones it is written around.
#
# One would guess: return_assistant_tokens_mask gives the tokens between {% generation %} and {% endgeneration %}, wherever
# the template has them; a template that writes each kind of turn in a macro of its own is an ordinary one.
#
# What happens: the text is right, the mask is not. Where a block begins is taken as the length of what the template has
# put out so far, and while a macro or a set block runs, its own text is not put out yet. So the mask is too far left by as much as
# the macro wrote before the block: the header of the turn is marked in place of its answer, nothing is said, and a
# training with assistant_only_loss learns the header.
#
# Packages: transformers 5.24.0 with tokenizers 0.23.3, jinja2 3.1.6. Seen on 2026-11-27, what is marked under each text:
#
#     in the loop       <user>hi<bot>yes#<user>and<bot>no#
#                       .............yes#..............no#
#     in a macro        <user>hi<bot>yes#<user>and<bot>no#
#                       ........<bot..............<bo.....
#     in a set block    <user>hi<bot>yes#<user>and<bot>no#
#                       ........<bot..............<bo.....
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

python3 -m venv env
env/bin/pip install -q --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3 jinja2==3.1.6 numpy==2.4.6

HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error env/bin/python - <<'PY'
import sys

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

# One token a letter, so that the mask can be read under the text.
letters = [chr(c) for c in range(32, 127)]
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[])))
messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "and"}, {"role": "assistant", "content": "no"}]

answer = "<bot>{% generation %}{{ m.content }}#{% endgeneration %}"
turns = "{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}{% else %}ANSWER{% endif %}{% endfor %}"
templates = {
    "in the loop": turns.replace("ANSWER", answer),
    "in a macro": "{% macro bot(m) %}" + answer + "{% endmacro %}" + turns.replace("ANSWER", "{{ bot(m) }}"),
    "in a set block": turns.replace("ANSWER", "{% set text %}" + answer + "{% endset %}{{ text }}"),
}

texts, marked = {}, {}
for name, template in templates.items():
    out = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    texts[name] = "".join(letters[i] for i in out["input_ids"])
    marked[name] = "".join(letters[i] if mark else "." for i, mark in zip(out["input_ids"], out["assistant_masks"]))
    print(f"{name:17} {texts[name]}\n{'':17} {marked[name]}")

same_text = len(set(texts.values())) == 1
right = marked["in the loop"].replace(".", "") == "yes#no#"
wrong = all(marked[name] == "........<bot..............<bo....." for name in ("in a macro", "in a set block"))
sys.exit(0 if same_text and right and wrong else "not what the comment says any more")
PY
