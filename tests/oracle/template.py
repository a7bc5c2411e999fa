#!/usr/bin/env python3
"""Chat templates against Jinja2 in the environment that transformers makes: the same text, or both refuse.

    tests/oracle/template.py [--only NAME] [--seed N] [--scale X] [--show N] [--tool PROGRAM] [--reference]

Three parts: the conformance templates of ../shared/material where they are there; templates drawn from the
grammar below, typed so that most are valid, from a fixed seed (--seed or ALPHAR_SEED; --scale draws more);
and templates written by hand.  Spans of {% generation %} and origins of characters are compared where Jinja2
or the values tell them.  What cannot be compared is left out: addresses, integers beyond 64 bits, complex
numbers, lone surrogates.  --reference shows what the generators make, with Jinja2 alone.  The C side is
template_tool.c."""
import argparse
import collections.abc
import copy
import datetime
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings

warnings.simplefilter("ignore")  # Python warns about '\d' in strings of templates, which is meant here
os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import jinja2.compiler
    import jinja2.nodes
    from transformers.utils import chat_template_utils
except ImportError as e:
    print(f"skip template {e}")
    sys.exit(0)

ROOT = os.environ.get("ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD") or os.path.join(ROOT, "build")
MATERIAL = os.path.join(ROOT, "..", "shared", "material", "conformance", "chat-templates")
Case = collections.namedtuple("Case", "template values spans", defaults=({}, False))
failed = False


# ---- values ------------------------------------------------------------------------------------------------

STRINGS = [
    "", "a", "Hello World", "hello-world foo_bar (baz) [qux] <b>x", "  padded\t\n", "ÄÖÜ straße ẞ",
    "Ǆ ǆ ŉ ﬁ İI ı", "ΑΣ ΟΔΟΣ ς", "emoji 😀👍🏽 end", "日本語 テキスト", "12", "-7", " 42 ", "3.14", "1e3", "0x1F",
    "٣٤", "²½Ⅷ", "a,b,,c", "one  two   three", "line1\nline2\r\nline3\rline4\x0bl5\x85l6\u2028l7",
    "<b>Bold</b> & \"q\" 'x' <!-- c --> &amp;&lt;&#39;", "tab\there\tand", "e\u0301 combining",
    "\u200bzw\u00a0nb\u00ad", "100% of %s and %d", "back\\slash 'quote' \"double\"", "CamelCase XMLHttp",
    "UPPER", "lower", "don't stop", "a\x00b\x1b[0m\x7f", "1_000", "inf", "NaN", "0b101",
    "http://x.y/?q=a b&c=ü", "aXbXc", "xxabcxx", "[INST] hi [/INST]",
]
PEOPLE = [
    {"name": "Ann", "age": 30, "city": "Berlin", "tags": ["x", "y"], "ok": True, "address": {"zip": "10115"}},
    {"name": "bob", "age": 25, "city": "berlin", "tags": ["z"], "ok": False, "address": {"zip": "00100"}},
    {"name": "Cid", "age": 30, "city": "Rom", "tags": ["a"], "ok": True, "address": {"zip": 2}, "note": "n"},
    {"name": "ann", "age": 5, "city": "Rom", "tags": [], "ok": False, "address": {"zip": "9"}, "note": None},
]
TREE = [{"n": "1", "sub": [{"n": "1.1", "sub": []}, {"n": "1.2", "sub": [{"n": "1.2.1", "sub": []}]}]},
        {"n": "2", "sub": []}]
CALL = {"type": "function", "id": "call_1",
        "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2, "flags": [True, None]}}}
TOOLS = [
    {"type": "function", "function": {
        "name": "weather", "description": "Weather of a \"city\"", "parameters": {
            "type": "object", "required": ["city"], "properties": {
                "city": {"type": "string", "description": "Name"}, "days": {"type": "integer"},
                "unit": {"type": ["string", "null"], "enum": ["C", "F"]}}}}},
    {"type": "function",
     "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
MESSAGES = [
    {"role": "system", "content": "Be brief.\nUse <b>no</b> tags."},
    {"role": "user", "content": "  What's 2+2? \n"},
    {"role": "assistant", "content": "<think>\nhm 🤔\n</think>\n\nIt is 4.", "reasoning_content": "sum"},
    {"role": "user",
     "content": [{"type": "text", "text": "And "}, {"type": "image"}, {"type": "text", "text": "this?"}]},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "weather", "tool_call_id": "call_1", "content": "{\"temp\": -3.5}"},
    {"role": "assistant", "content": None},
]
VALUES = {
    "i": 7, "j": -3, "k": 0, "m": 12, "big": 1234567890123, "f": 2.5, "g": -0.75, "h": 1e-7,
    "yes": True, "no": False, "nil": None, "a": "A0", "x": [1, 2],
    "xs": [3, 1, 2, 3], "ys": [], "zs": [-1.5, 0, 2, 10], "ws": ["pear", "Apple", "fig", "apple", "Äpfel"],
    "mix": [1, "a", None, 2.5, True, "", [1], {"k": 1}], "nest": [[1, 2], [3], []],
    "pairs": [["a", 1], ["b", 2]], "d": {"a": 1, "b": "two", "c": [1, 2, 3], "B": None, "n": 4}, "e": {},
    "deep": {"a": {"b": {"c": [{"d": "deep!"}]}}},
    "odd": {"items": "I", "keys": [1], "get": "G", "values": 0, "copy": "C", "x y": 1, "_p": "under",
            "0": "zero", "Zed": "<&>"},
    "people": PEOPLE, "tree": TREE, "tools": TOOLS, "messages": MESSAGES, "bos_token": "<s>",
    "eos_token": "</s>", "add_generation_prompt": True, **{f"s{i}": s for i, s in enumerate(STRINGS)},
}
# transformers gives these to every template.
ALWAYS = {"messages": None, "tools": None, "documents": None, "add_generation_prompt": False}


def case_of(template, spans=False):
    """With the values that it may read alone: short lines for the tool, and for who reads a failure."""
    names = set(re.findall(r"\w+", template))
    values = {name: value for name, value in VALUES.items() if name in names}
    return Case(template, ALWAYS | values if spans else values, spans)


# ---- terminals: what is drawn character by character -------------------------------------------------------

def quoted(rng, text):
    """A literal of the text, with some of its characters escaped in one of the ways that Python knows."""
    quote, out = rng.choice("'\""), []
    for ch in text:
        code = ord(ch)
        if ch in "\\" + quote:
            out.append("\\" + ch)
        elif code < 32 or code == 127:
            out.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(ch, f"\\x{code:02x}"))
        elif code > 126 and rng.random() < 0.3:
            wide = f"\\u{code:04X}" if code < 65536 else f"\\U{code:08x}"
            out.append(f"\\x{code:02x}" if code < 256 else wide)
        else:
            out.append(rng.choice((f"\\x{code:02X}", f"\\{code:03o}")) if rng.random() < 0.02 else ch)
    return quote + "".join(out) + quote


def string_literal(maker, depth):
    rng = maker.rng
    if rng.random() < 0.5:
        return quoted(rng, rng.choice(STRINGS))
    return quoted(rng, "".join(rng.choices("abcxyzABC 012,.-_éß日😀\n\t'\"\\", k=rng.randint(0, 8))))


def short_literal(maker, depth):
    """A string that is often found in others."""
    return quoted(maker.rng, maker.rng.choice(SHORT))


def integer_literal(maker, depth):
    rng = maker.rng
    n = rng.choice([0, 1, 2, 3, 5, 7, 10, 16, 42, 100, 255, 1000, 65536, 10 ** 15, rng.randrange(10 ** 4)])
    forms = [hex(n), f"0x{n:X}", bin(n), oct(n), f"{n:_}", f"0X{n:_x}", f"0b_{n:b}", f"0O{n:o}"]
    return rng.choice([str(n)] * 6 + forms)


def text(maker, depth):
    rng = maker.rng
    return "".join(rng.choice(TEXTS) for _ in range(rng.randint(0, 3)))


def blanks(maker, depth):
    rng = maker.rng
    return "".join(rng.choice(BLANKS) for _ in range(rng.randint(0, 4)))


def conversion(maker, depth):
    """A conversion of printf and what it takes."""
    rng, kind = maker.rng, maker.rng.choice("ddiuxXoeEfFgGssssrrac%")
    wants = {"s": "any", "r": "any", "a": "any", "c": "code"}.get(kind, "num" if kind in "ieEfFgG" else "int")
    if kind == "%":
        return "%%", []
    flags = "".join(rng.choice("-+ 0#") for _ in range(rng.choice((0, 0, 1, 2))))
    width = rng.choice(("", "", "5", "12", "*"))
    precision = rng.choice(("", "", ".0", ".2", ".10", ".", ".*"))
    arguments = [str(rng.randint(-6, 9))] * (width == "*") + [str(rng.randint(0, 5))] * (precision == ".*")
    long = rng.choice(("", "", "", "l"))
    return "%" + flags + width + precision + long + kind, [*arguments, maker.expand(wants, min(depth, 2))]


def printf(maker, depth):
    """A format and its arguments, now and then one too many or too few."""
    rng, formats, arguments = maker.rng, [], []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        form, given = conversion(maker, depth)
        formats.append(form + rng.choice(("", " ", "|é")))
        arguments += given
    if rng.random() < 0.05:
        arguments = arguments[1:] if rng.random() < 0.5 else arguments + ["1"]
    given = f"({', '.join(arguments)}{',' * (len(arguments) == 1)})"
    if len(arguments) == 1 and rng.random() < 0.5:
        given = f"({arguments[0]})"
    return f"{quoted(rng, ''.join(formats))} % {given}"


def field(maker, kind):
    """What stands behind the name in a field of str.format."""
    rng = maker.rng
    fill = rng.choice(("", "", rng.choice(("*", "é", "")) + rng.choice("<>^")))
    spec = rng.choice({"int": ("", "d", "x", "#x", "b", "o", ",", "_", "+", "05", "+d", "c"),
                       "num": ("", ".2f", ".3", "e", "g", "%", ",.1f", "08.2f", "+.1e", " "),
                       "str": ("", "s", ".3", "10", "10.2"), "any": ("",)}[kind])
    width = rng.choice("59") if fill and not spec[:1].isdigit() and spec[:1] not in ("+", " ", "#") else ""
    convert = rng.choice(("", "", "!r", "!s", "!a")) if kind in ("any", "str") else ""
    return convert + (":" + fill + width + spec if fill + width + spec else "")


def braces(maker, depth):
    """str.format with fields that are counted, numbered or named."""
    rng, fields, arguments = maker.rng, [], []
    style = rng.choice(("counted", "numbered", "named"))
    for n in range(rng.randint(1, 3)):
        kind = rng.choice(("int", "num", "str", "str", "any"))
        name = {"counted": "", "numbered": str(n), "named": "abc"[n]}[style]
        fields.append("{" + name + field(maker, kind) + "}")
        arguments.append((name + "=" if style == "named" else "") + maker.expand(kind, min(depth, 2)))
    shape = rng.choice((" ", "", "{{}}", "é")).join(fields)
    shape += rng.choice(["", "", "", "", "", "}}", "{{", "{{x}}"] * 3 + ["}", "{"])
    return f"{quoted(rng, shape)}.format({', '.join(arguments)})"


SHORT = [" ", ",", "a", "l", "o", "X", "li", "", "\n", "é", "😀", "World", "x", "-", "日本", "b", "ab", ">"]
TEXTS = ["a", "b ", " ", "  ", "\n", "\n", "text\n", "x\n  ", "<|im_start|>", "é\n", "\t"]
BLANKS = ["a", "b ", " ", "  ", "\t", "\n", "\n", "\n\n", "\r\n", "\r", "x\n  ", "\n \t", "\u00a0", "\u3000",
          "\x0b", "\x0c", "\x1f", "\u2028", "\x85", "\u200b", "é", "{ ", *"}%#-+'\"", "}}", "%}", "#}"]
CHOICES = {name: choices.split() for name, choices in {
    "floatlit": "0.5 1.0 2.5 1e3 1E-3 1.5e+10 3.14159 0.1 1e16 1e15 123456789.125 1_0.5 1e22 1e-5 0.0001 "
                "2.675 1e308 5e-324 100.0 1_000.000_1 0.0 00.5 7.0 1e2 123456.789e3 9007199254740993.0 "
                "0.30000000000000004",
    "exactfloat": "0.5 2.5 1.25 3.0 f g", "floatvar": "f g h", "intvar": "i j k m i m big",
    "smallint": "i k 1 2 3",
    "n": "0 1 2 3 5 8 20", "width": "0 4 7 20 30", "near": "0 1 2 -1 -2 -3 5 9 -9",
    "positive": "1 2 3 4 7 10", "name": "a b c x", "slot": "n s seen",
    "key": "a b c B nope items keys n"}.items()}
CHOICES |= {"strvar": [f"s{i}" for i in range(len(STRINGS))], "sign": ["", "", "", "", "-", "+"],
            "end": ["", "", "", "\n", "\n\n", "\r\n", " \n", "\n "]}
TERMINALS = {"strlit": string_literal, "short": short_literal, "intlit": integer_literal, "text": text,
             "blanks": blanks, "printf": printf, "braces": braces}


# ---- the grammar -------------------------------------------------------------------------------------------

# [name] and its productions, one a line or with ¦ between them; \ where one goes on in the next line.  $name
# is a hole, `N:` a weight, ⏎ a newline, · blanks or none, ∅ nothing, « » the ends of a block and ‹ › those of
# an output, which have a - or + at times.

EXPRESSIONS = r"""
[any]
4: $str ¦ 3: $int ¦ 2: $float ¦ 2: $bool ¦ none ¦ nil ¦ 2: $list ¦ $tuple ¦ $dict ¦ $undef
[pany]
4: $pstr ¦ 3: $pint ¦ 2: $pfloat ¦ $pbool ¦ none ¦ 2: $plist ¦ $ptuple ¦ $pdict ¦ nope
[str]
4: $strlit ¦ 4: $strvar ¦ $pstr ~ $pany ¦ $pstr + $pstr ¦ $pstr * $n ¦ $pstr|upper ¦ $pstr.strip()
$pstr[$slice] ¦ $pwords|join($short) ¦ $pany|string ¦ $pdict['a']|string ¦ $pstr if $bool else $pstr
messages[0].content
[pstr]
5: $strlit ¦ 6: $strvar ¦ ($str)
[int]
5: $intlit ¦ 4: $intvar ¦ $pint·+·$pint ¦ $pint·-·$pint ¦ $pint * $smallint ¦ $pint·//·$positive
$pint·%·$positive ¦ -$pint ¦ $pseq|length ¦ $pstr.find($short) ¦ $pstr|int ¦ $smallint ** $n
[pint]
4: $intlit ¦ 4: $intvar ¦ ($int)
[float]
4: $floatlit ¦ 4: $floatvar ¦ $pfloat·+·$pnum ¦ $pfloat·-·$pnum ¦ $pfloat·*·$smallint ¦ $pnum·/·$positive
$pint|float ¦ $pfloat|round($smallint) ¦ -$pfloat
[pfloat]
3: $floatlit ¦ 3: $floatvar ¦ ($float)
[num]
3: $int ¦ 2: $float ¦ $bool
[pnum]
3: $pint ¦ 2: $pfloat
[bool]
true ¦ false ¦ yes ¦ no ¦ True ¦ $pint < $pint ¦ $pstr == $pstr ¦ $pint in $plist ¦ $short in $pstr
not $pbool ¦ $pbool and $pbool ¦ $pbool or $pbool ¦ $pany is defined ¦ $pstr is string
$pstr.startswith($short)
[pbool]
true ¦ false ¦ yes ¦ no ¦ ($bool)
[undef]
nope ¦ d.nope ¦ xs[99] ¦ (1 if false) ¦ e.x
[ints]
3: xs ¦ 2: zs ¦ x ¦ [$int, $int] ¦ [$int, $int, $int] ¦ range($n) ¦ $pints + $pints ¦ $pints[$slice]
[pints]
4: xs ¦ 2: zs ¦ x ¦ [$int, $int] ¦ ($ints)
[words]
4: ws ¦ [$str, $str] ¦ [$strlit, $strlit, $strlit] ¦ $pstr.split() ¦ $pstr.split($short) ¦ $pstr|list
[pwords]
4: ws ¦ [$strlit, $strlit] ¦ ($words)
[list]
2: $ints ¦ 2: $words ¦ ys ¦ [] ¦ nest ¦ pairs ¦ mix ¦ [$any] ¦ [$any, $any] ¦ $pany|list ¦ people
$plist + $plist ¦ $plist * $smallint
[plist]
2: $pints ¦ 2: $pwords ¦ ys ¦ [$any] ¦ ($list)
[tuple]
() ¦ ($any,) ¦ ($any, $any) ¦ ($int, $str) ¦ $ptuple + $ptuple ¦ $ptuple * $smallint ¦ $ptuple[$slice]
[ptuple]
() ¦ ($any,) ¦ ($any, $any) ¦ ($tuple)
[dict]
3: d ¦ odd ¦ e ¦ deep ¦ {} ¦ {$strlit: $any} ¦ {'a': $any, 'b': $any} ¦ {$int: $str, $strlit: $int}
dict(a=$any, b=2) ¦ dict(d, z=$any) ¦ people[$smallint]
[pdict]
4: d ¦ odd ¦ e ¦ {'a': $any, 'b': $any} ¦ ($dict)
[seq]
$str ¦ $list ¦ $tuple
[pseq]
2: $pstr ¦ 2: $plist ¦ $ptuple
[code]
65 ¦ $intlit % 1000 + 32 ¦ 'é' ¦ 'x'
[print]
8: ‹$any›
[slice]
$optint:$optint ¦ $optint:$optint ¦ $optint:$optint:$optint ¦ : ¦ :: ¦ $optint:: ¦ ::-1
[optint]
2: $near ¦ ∅ ¦ none ¦ i ¦ nil ¦ -$intvar
"""

LITERALS = r"""
[printf_top]
6: ‹$printf› ¦ ‹[$printf]› ¦ ‹$printf_wrong›
[printf_wrong]
$pstr % $pany ¦ $printfmt % $pany ¦ $printfmt % ($pany, $pany) ¦ '%(a)s %(b)r' % {'a': $any, 'b': $any}
'%(n)5d|%(n)-5d|%(n)05d' % {'n': $pint} ¦ '%(nope)s' % d ¦ '%(a)s %%' % d ¦ 'abc' % $any ¦ '%s' % $pany
'%s' % ($pany,)
[braces_top]
6: ‹$braces› ¦ ‹$pstr.format($any, a=$any)› ¦ ‹'{0[a]}|{1[0]}|{2.name}'.format(d, xs, people[0])›
‹'{:>{w}}|{:{f}^{w}}'.format($str, $int, w=$n, f='*')› ¦ ‹'{0.__class__}{a.nope}'.format($pany, a=d)›
[constant]
none ¦ None ¦ true ¦ True ¦ false ¦ False
[scalar]
4: $intlit ¦ 4: $floatlit ¦ 6: $strlit ¦ 2: $constant ¦ -$intlit ¦ -$floatlit ¦ $strlit $strlit
$strlit·$strlit⏎$strlit
[literal]
4: $scalar ¦ [$literals] ¦ [$literals,] ¦ [] ¦ [·$literals·] ¦ () ¦ ($literal,) ¦ ($literals, $literal)
($literal, $literal,) ¦ ($literal) ¦ {} ¦ {$strlit: $literal} ¦ {$strlit·:·$literal,·$strlit·:·$literal,}
{$scalar: $literal, $scalar: $literal} ¦ {1: $literal, true: $literal, 1.0: $literal}
{($scalar, $scalar): $literal}
[literals]
$literal ¦ $literal, $literal ¦ $literal,·$literal·,·$literal
[literal_top]
8: ‹$literal› ¦ ‹$literal, $literal› ¦ ‹$literal,› ¦ ‹$literals|tojson› ¦ ‹[$literal]›
"""

OPERATORS = r"""
[arithmetic]
8: $term·$binary·$term ¦ $term·$binary·$term·$binary·$term ¦ $term $binary $term $binary $term $binary $term
[binary]
3: + ¦ 3: - ¦ 2: * ¦ 2: / ¦ 2: // ¦ 2: %
[term]
6: $pnum ¦ 4: $intvar ¦ $floatvar ¦ $exactfloat ¦ 2: ($arithmetic) ¦ -$pnum ¦ +$pnum ¦ - -$pint
-$smallint ** 2 ¦ $smallint ** $smallint ** $smallint ¦ $smallint ** -$smallint ¦ $pnum|abs ¦ -$pint|abs
-$pfloat|round ¦ $pstr|length ¦ true ¦ no
[comparison]
3: $term·$compare·$term ¦ $term $compare $term $compare $term ¦ $pstr $compare $pstr ¦ $plist $compare $plist
$ptuple $compare $ptuple ¦ 2: $pany == $pany ¦ $pany != $pany ¦ 2: $pany in $plist ¦ $pany not in $plist
$pany in $ptuple ¦ $short in $pstr ¦ $short not in $pstr ¦ $pstr in $pdict ¦ 'a' in d ¦ '$key' in odd
$pint in range($n) ¦ $pdict == $pdict ¦ $term < $term == $bool ¦ not $term < $term ¦ $term in $plist == $bool
[compare]
== ¦ != ¦ < ¦ <= ¦ > ¦ >=
[logic]
$choice and $choice ¦ $choice or $choice ¦ $choice and $choice or $choice ¦ $choice or $choice and $choice
not $choice ¦ not $choice and $choice ¦ not $choice or not $choice ¦ not not $choice ¦ ($logic) and $choice
$comparison or $choice ¦ $choice and $comparison
[choice]
2: $pany ¦ $pbool ¦ $comparison ¦ nope ¦ nope2 ¦ ys ¦ s0 ¦ k
[inline]
$pany if $choice else $pany ¦ $pany if $logic ¦ $pany if $choice else $pany if $choice else $pany
($pany if $choice) ~ $pany ¦ $pany if $choice if $choice else $pany
$choice or $choice if $choice else $choice and $choice ¦ $pany·~·$pany if not $choice else $pany|string
[concat]
$pany·~·$pany ¦ $pany ~ $pany ~ $pany ¦ $term ~ $term + $term ¦ $term * $term ~ $term ¦ $term ~ $term * $term
$pstr ~ $term|abs ¦ $pstr + $pstr ~ $pany ¦ -$term ~ $pany ¦ $pany ~ $pstr|upper ~ $pany
$pany ~ $pany is defined
[operator_top]
6: ‹$arithmetic› ¦ 4: ‹$comparison› ¦ 4: ‹$logic› ¦ 3: ‹$inline› ¦ 3: ‹$concat› ¦ ‹$comparison, $logic›
‹[$arithmetic, $logic]› ¦ ‹$pstr·*·$near› ¦ ‹$near·*·$pstr› ¦ ‹$plist·*·$near› ¦ ‹$plist + $plist›
‹$ptuple + $ptuple›
[operand_top]
5: ‹$pany·$anyop·$pany› ¦ ‹[-$pany]› ¦ ‹+$pany› ¦ ‹$pany if $pany else $pany› ¦ ‹not $pany›
‹[$pany and $pany]› ¦ ‹[$pany or $pany]› ¦ ‹$pany $compare $pany $compare $pany› ¦ ‹$pany in $pany›
‹$pany not in $pany›
[anyop]
2: + ¦ - ¦ 2: * ¦ / ¦ // ¦ % ¦ ~ ¦ == ¦ != ¦ < ¦ <= ¦ > ¦ >= ¦ and ¦ or
"""

ITEMS = r"""
[slice_top]
4: ‹$pstr[$slice]› ¦ 4: ‹$plist[$slice]› ¦ 2: ‹$ptuple[$slice]› ¦ ‹range($n)[$slice]›
‹$pstr[$slice][$slice]› ¦ ‹$plist[$slice]|length› ¦ ‹$plist[$slice]|join(',')› ¦ ‹$pany[$slice]›
‹$pstr[$near:]·~·$pstr[:$near]›
[item_top]
3: ‹[$pstr[$near]]› ¦ 3: ‹[$plist[$near]]› ¦ 2: ‹[$ptuple[$near]]› ¦ 2: ‹range($n)[$near]› ¦ 2: ‹[d[$pstr]]›
3: ‹[$pdict['$key']]› ¦ 3: ‹[d.$key]› ¦ ‹odd['$key']› ¦ ‹odd.get('$key')› ¦ ‹[odd.get('$key', $any)]›
‹odd.keys()› ¦ ‹odd.items()|list› ¦ ‹odd['x y']·~·odd._p› ¦ ‹odd['0']·~·odd.0·~·odd[0]›
‹deep.a.b.c[0].d·~·deep['a']['b'].c.0['d']› ¦ ‹people[$near].name› ¦ ‹people[$near]['tags'][$near]›
‹pairs.0.1·~·pairs[1].0› ¦ ‹((1, 2), 3).0.1› ¦ ‹[$pany[$pany]]› ¦ ‹[$pany.$key]› ¦ ‹[$pany['$key']]›
‹[xs[$pfloat], xs[$pbool], xs['a'], xs[none]]› ¦ ‹[d[1], d[none], d[nope], d[[1]]]› ¦ ‹[$pstr['upper']()]›
‹$pstr['split'](',')› ¦ ‹d['get']('a')› ¦ ‹xs['index'](1)› ¦ ‹$pany.nope.nope›
‹[$pstr.nope, $pint.nope, $pany['nope']]› ¦ ‹[$pany|attr('nope'), d|attr('a')]› ¦ ‹($pstr|attr('upper'))()›
‹[xs.$mutator, d.pop, s1.__class__, d.__init__]›
‹xs.$mutator(1)› ¦ ‹d.$dictmutator('a')›
‹[d.update is defined, xs.append is callable, xs.index is callable, s1.upper is callable]›
‹{1: 'i', 1.5: 'f', true: 't', none: 'n', (1, 2): 'u'}[$pnum]›
‹{'a': {'b': [1, {'c': $any}]}}['a'].b[1]['c']›
[mutator]
append ¦ clear ¦ pop ¦ reverse ¦ insert ¦ sort ¦ extend ¦ remove
[dictmutator]
clear ¦ pop ¦ popitem ¦ setdefault ¦ update
"""

METHODS = r"""
[method_top]
4: ‹$pstr.$plain()› ¦ 4: ‹[$pstr.$plain()]›
4: ‹[$pstr.$question(), $pstr.$question(), $pstr.$question()]›
2: ‹[$pstr.$strip()]› ¦ 2: ‹[$pstr.$strip($pstr)]› ¦ ‹[$pstr.$strip(none)]› ¦ 2: ‹$pstr.$split()›
3: ‹$pstr.$split($short)› ¦ 2: ‹$pstr.$split($short, $near)› ¦ 2: ‹$pstr.$split($short, maxsplit=$near)›
‹$pstr.$split(maxsplit=$near)› ¦ ‹$pstr.$split(sep=$short, maxsplit=$near)› ¦ ‹$pstr.$split(none, $near)›
‹$pstr.splitlines()› ¦ ‹$pstr.splitlines(true)› ¦ ‹$pstr.splitlines(keepends=true)›
2: ‹$pstr.partition($short)› ¦ 2: ‹$pstr.rpartition($short)› ¦ 2: ‹$pstr.replace($short, $short)›
2: ‹$pstr.replace($short, $pstr)› ¦ ‹$pstr.replace($short, $short, $near)› ¦ 2: ‹[$pstr.$affix($short)]›
‹$pstr.$affix(($short, $short))› ¦ ‹$pstr.$affix($short, $near)› ¦ ‹$pstr.$affix($short, $near, $near)›
‹$pstr.$affix(($short, $short), $near)› ¦ 2: ‹$pstr.$find($short)› ¦ ‹$pstr.$find($short, $near)›
‹$pstr.$find($short, $near, $near)› ¦ ‹$pstr.$index($short)› ¦ ‹$pstr.$index($short, $near)›
2: ‹$pstr.count($short)› ¦ ‹$pstr.count($short, $near)› ¦ ‹$pstr.count($short, $near, $near)›
‹$short.join($pwords)› ¦ ‹$short.join($pstr)› ¦ ‹$short.join($plist)› ¦ ‹$short.join(d)›
‹$short.join($pstr.split($short))› ¦ 2: ‹[$pstr.$adjust($n)]› ¦ ‹$pstr.$adjust($n, $fill)›
‹[$intlit|string ~ '', ($pint|string).zfill($n), $pstr.zfill($n)]›
‹$pstr.removeprefix($short)› ¦ ‹$pstr.removesuffix($short)› ¦ ‹[$pstr.expandtabs()]›
‹[$pstr.expandtabs($n)]› ¦ ‹$pstr.expandtabs(tabsize=$n)› ¦ ‹$pstr.$plain().$plain().$strip()›
‹$pstr.split($short)[$near].$plain()› ¦ ‹$pstr.$split($short)|length·~·$pstr.$plain()› ¦ ‹$pstr.$plain(1)›
‹$pstr.$affix()› ¦ ‹$pstr.$affix($pany)› ¦ ‹$pstr.$split('')› ¦ ‹$pstr.nope()› ¦ ‹$pany.$plain()›
‹$pany.$split($short)› ¦ ‹'{a} {b[0]}'.format_map({'a': $any, 'b': $pstr})›
[plain]
2: upper ¦ 2: lower ¦ 2: title ¦ 2: capitalize ¦ strip ¦ lstrip ¦ rstrip ¦ 2: swapcase ¦ 2: casefold
[question]
isdigit ¦ isalpha ¦ isalnum ¦ isspace ¦ islower ¦ isupper ¦ isnumeric ¦ isdecimal ¦ istitle ¦ isidentifier
isprintable ¦ isascii
[strip]
strip ¦ lstrip ¦ rstrip
[split]
2: split ¦ rsplit
[affix]
startswith ¦ endswith
[find]
find ¦ rfind
[index]
index ¦ rindex
[adjust]
center ¦ ljust ¦ rjust
[fill]
'*' ¦ 'é' ¦ '😀' ¦ 'ab' ¦ ''
[container_top]
2: ‹$plist.index($pany)› ¦ ‹xs.index(3, $near)› ¦ ‹ws.index('fig', $near, $near)› ¦ 4: ‹$plist.count($pany)›
‹[1, 1.0, true, 'a', none].count($pany)› ¦ ‹$ptuple.count($pany)› ¦ ‹$ptuple.index($pany)› ¦ ‹$plist.copy()›
4: ‹$pdict.get('$key')› ¦ 3: ‹[$pdict.get('$key', $any)]› ¦ ‹$pdict.get($pany)› ¦ ‹$pdict.get($short, $any)›
4: ‹$pdict.keys()|list› ¦ 4: ‹$pdict.values()|list› ¦ 4: ‹$pdict.items()|list›
‹d.keys()·~·d.values()·~·d.items()› ¦ ‹$pdict.copy()›
‹d.keys()|sort|join(',')·~·d.items()|length·~·('a' in d.keys())·~·(1 in d.values())›
‹(('a', 1) in d.items(), d.keys()|first, d.items()|last)›
‹d.keys() == $pdict.keys()› ¦ ‹d.keys()|reverse|list› ¦ ‹e.items()|list or $pany› ¦ ‹$pdict == $pdict.copy()›
‹dict($pdict)› ¦ ‹dict($pdict, a=$any)› ¦ ‹dict([('a', $any), ['b', $any]])› ¦ ‹dict(pairs)›
‹dict(**$pdict)› ¦ ‹dict(d.items(), b=0)|tojson› ¦ ‹dict.fromkeys(ws)› ¦ ‹dict.fromkeys($pwords, $any)›
‹range($near, $near)|list› ¦ ‹range($near, $near, $near)|list› ¦ ‹range($n)·~·range(1, $n)·~·range($n, 0, -2)›
‹[range($n)|length, 2 in range($n), range($n)|last, range($n)|sum]›
‹range($n) == range(0, $n, 1)› ¦ ‹range($pany)› ¦ ‹$plist.$mutator($any)› ¦ ‹$pdict.$dictmutator($any)›
‹$plist.nope($any)› ¦ ‹$pdict.nope($any)› ¦ ‹$pdict.keys($any)› ¦ ‹$ptuple.append(1)›
"""

FILTERS = r"""
[text_top]
4: ‹$pstr|$textfilter› ¦ ‹[$pany|$textfilter]› ¦ ‹$pstr|$textfilter|$textfilter› ¦ ‹$pstr|trim($pstr)›
‹[$pstr|trim(chars=$short)]› ¦ 3: ‹$pstr|replace($short, $short)› ¦ ‹$pstr|replace($short, $pstr, $near)›
‹$pstr|replace($short, $short, count=$near)› ¦ ‹$pstr|replace(old=$short, new=$short)›
‹$pany|replace($pany, $short)› ¦ ‹[$pstr|center($n)]› ¦ ‹[$pstr|center(width=$n)]› ¦ ‹$pstr|center›
2: ‹$pstr|indent› ¦ ‹$pstr|indent($n)› ¦ ‹$pstr|indent($n, true)› ¦ ‹$pstr|indent($n, false, true)›
‹$pstr|indent(width=$n, first=true, blank=true)› ¦ ‹$pstr|indent(first=true)› ¦ ‹$pstr|indent('> ')›
‹$pstr|indent($pstr, blank=yes)› ¦ ‹$pany|indent› ¦ 2: ‹$pstr|truncate($width)›
‹$pstr|truncate($width, true)› ¦ ‹$pstr|truncate($width, false, $short)›
‹$pstr|truncate($width, true, '…', $n)›
‹$pstr|truncate(length=$width, killwords=yes, end='', leeway=0)›
‹$pstr|truncate› ¦ ‹$pany|truncate($width)› ¦ ‹$pstr|wordcount› ¦ ‹$pany|string|wordcount› ¦ ‹[$pany|string]›
‹$printfmt|format($any)› ¦ ‹$printfmt|format($any, $any)› ¦ ‹'%s-%s'|format($any, $any)›
‹'%(p)s|%(q)r'|format(p=$any, q=$any)› ¦ ‹'%d %s'|format($pint, p=1)› ¦ 2: ‹$pstr|reverse›
2: ‹[$pstr|first, $pstr|last]› ¦ ‹$pstr|length·~·$pstr|count› ¦ ‹$pstr|list› ¦ ‹[$pstr|default($any)]›
‹$pstr|default($any, true)›
‹$pstr|d($any)·~·nope|d($any)·~·nope|default(default_value='z', boolean=false)›
‹$pstr|urlencode› ¦ ‹$pany|urlencode› ¦ ‹$pstr|$textfilter($pany)› ¦ ‹$pstr|nofilter›
«filter $textfilter»$text‹$any›$text«endfilter»
«filter $textfilter|replace($short, $short)»$text‹$any›«endfilter»
«filter indent($n, true)|trim»$text‹$pstr›$text«endfilter»
[textfilter]
2: upper ¦ 2: lower ¦ 3: title ¦ 2: capitalize ¦ 2: trim ¦ string
[printfmt]
'%s' ¦ '<%5s>' ¦ '%d' ¦ '%r %%' ¦ '%s %s' ¦ '%.3f'
[number_top]
4: ‹[$pstr|int]› ¦ 2: ‹[$pany|int]› ¦ 2: ‹[$pstr|int($pint)]› ¦ ‹[$pstr|int(default=$any)]›
2: ‹[$numeral|int(0, $base)]› ¦ ‹[$numeral|int(base=$base)]› ¦ ‹[$numeral|int(base=$base, default=-1)]›
3: ‹[$pstr|float]› ¦ 2: ‹[$pany|float]› ¦ ‹[$pstr|float($any)]› ¦ ‹[$numeral|float(default=$any)]›
2: ‹[$pnum|abs]› ¦ ‹[$pany|abs]› ¦ 3: ‹[$pnum|round]› ¦ 3: ‹[$pnum|round($near)]›
2: ‹[$pnum|round($near, '$how')]› ¦ ‹[$pnum|round(method='$how')]›
‹[$pnum|round(precision=$n, method='$how')]›
‹[$halves|round, $halves|round(1), $halves|round(2), $halves|round(0, 'ceil')|int]›
‹[$pnum|round|int]› ¦ ‹[$pany|round]› ¦ 2: ‹[$plist|sum]› ¦ ‹[[$exactfloat, $smallint, $exactfloat]|sum]›
‹[zs|sum(start=$pnum)]› ¦ ‹[people|sum('age')]› ¦ ‹[people|sum(attribute='age', start=$pnum)]›
‹[nest|sum(start=[])]› ¦ ‹[pairs|sum(attribute=1)]› ¦ ‹[$pints|sum / $pints|length]›
2: ‹$pnum|filesizeformat› ¦ ‹$sizes|filesizeformat› ¦ ‹$sizes|filesizeformat(true)›
‹$sizes|filesizeformat(binary=yes)› ¦ ‹$pstr|filesizeformat› ¦ 2: ‹[$pints|min, $pints|max]›
‹[$pwords|min, $pwords|max]› ¦ ‹[ws|min(true), ws|max(case_sensitive=true)]›
‹[people|min(attribute='age'), (people|max(attribute='city')).name]›
‹[ys|min, ys|max|default('u')]› ¦ ‹[$pany|max]›
[halves]
0.5 ¦ 1.5 ¦ 2.5 ¦ -0.5 ¦ -1.5 ¦ 0.125 ¦ 2.675 ¦ 1.005 ¦ 0.25 ¦ 0.35 ¦ 12345.6785 ¦ 1e15
[how]
2: common ¦ 2: ceil ¦ 2: floor ¦ nope
[numeral]
'0x1F' ¦ '1f' ¦ '0b101' ¦ '101' ¦ '0o17' ¦ '17' ¦ ' 42\n' ¦ '1_000' ¦ '٣٤' ¦ '-0' ¦ '+5' ¦ '1e3' ¦ '12.9'
'-0.5' ¦ '.5' ¦ '5.' ¦ '1_0.0_1' ¦ 'inf' ¦ 'nan' ¦ '- 1' ¦ '' ¦ 'zz' ¦ $pstr ¦ $pnum ¦ none
[base]
2 ¦ 8 ¦ 10 ¦ 16 ¦ 36 ¦ 0 ¦ 1
[sizes]
0 ¦ 1 ¦ 999 ¦ 1000 ¦ 1023 ¦ 1024 ¦ 1500 ¦ 1e6 ¦ (2**20) ¦ (10**12) ¦ 123456789 ¦ 1.5e25 ¦ 0.5 ¦ -2000 ¦ $pnum
[sequence_top]
2: ‹$pseq|join($short)› ¦ 2: ‹$plist|join› ¦ ‹$plist|join(d=$short)› ¦ ‹people|join(', ', attribute='$field')›
‹people|join(attribute='name')› ¦ ‹d|join(',')› ¦ 2: ‹[$pseq|first, $pseq|last]› ¦ 2: ‹$pseq|length›
‹$pseq|count› ¦ 2: ‹$pseq|list› ¦ ‹$pdict|list·~·$pdict|length·~·$pdict|first› ¦ ‹$plist|reverse|list›
‹$ptuple|reverse|join(',')› ¦ 3: ‹$pints|sort› ¦ 2: ‹$pwords|sort› ¦ ‹$pwords|sort(true)›
‹$pwords|sort(reverse=true, case_sensitive=true)› ¦ ‹$pints|sort(reverse=$pbool)›
‹people|sort(attribute='$field')|map(attribute='name')|join(',')›
‹people|sort(attribute='city,age')|map(attribute='name')|join(',')›
‹people|sort(true, true, 'name')|map(attribute='name')|list›
‹people|sort(attribute='age', reverse=true)|map(attribute='name')|join›
‹pairs|sort(attribute=1)·~·pairs|sort(attribute='0', reverse=true)›
‹nest|sort·~·(d|list)|sort·~·pairs|sort› ¦ ‹$plist|sort› ¦ 2: ‹$plist|unique|list›
‹$pwords|unique(true)|list›
‹people|unique(attribute='city')|map(attribute='name')|list›
‹people|unique(case_sensitive=true, attribute='city')|map(attribute='name')|list›
‹[1, true, 1.0, 'A', 'a', none, nope, none]|unique|list›
2: ‹$pseq|batch($positive)|list› ¦ ‹$plist|batch($positive, $any)|list›
‹$plist|batch(linecount=$positive, fill_with=$any)|list›
‹$pseq|batch($near)|list› ¦ 2: ‹$pseq|slice($positive)|list› ¦ ‹$plist|slice($positive, $any)|list›
‹$plist|slice(slices=$positive, fill_with=$any)|list› ¦ ‹$pints|slice($near)|list›
3: ‹people|map(attribute='$field')|list› ¦ ‹people|map(attribute='$field', default=$any)|list›
‹people|map(attribute='note', default='-')|join(',')›
‹pairs|map(attribute=0)|join·~·pairs|map(attribute='1')|sum›
‹people|map('attr', 'name')|list› ¦ 2: ‹$pwords|map('$textfilter')|list›
2: ‹$pwords|map('replace', $short, $short)|join(',')› ¦ ‹$pwords|map('length')|list›
‹$plist|map('string')|join($short)› ¦ ‹$plist|map('default', $any, true)|list› ¦ ‹$plist|map('int')|list›
‹$pints|map('round', 1)|list·~·$pints|map('abs')|sum›
‹nest|map('join', '+')|list·~·nest|map('sum')|list·~·nest|map('first')|list›
‹$plist|map('tojson')|join(',')› ¦ ‹$plist|map('nofilter')|list› ¦ ‹$plist|map|list›
‹$plist|map(attribute='a', nope=1)|list› ¦ 2: ‹$plist|select|list› ¦ 2: ‹$plist|reject|list›
3: ‹$plist|$pick('$simpletest')|list› ¦ 2: ‹$pints|$pick('$numbertest')|list›
2: ‹$pints|$pick('$comparetest', $pnum)|list› ¦ ‹$pwords|$pick('$comparetest', $pstr)|list›
‹$plist|$pick('in', $plist)|list› ¦ ‹$pints|$pick('divisibleby', $positive)|list›
‹$plist|$pick('nope')|list› ¦ 2: ‹people|$pickattr('ok')|map(attribute='name')|list›
2: ‹people|$pickattr('$field', '$simpletest')|map(attribute='name')|list›
2: ‹people|$pickattr('age', '$comparetest', $pint)|map(attribute='name')|list›
‹people|$pickattr('name', 'in', ['Ann', 'bob'])|map(attribute='name')|list›
‹people|$pickattr('address.zip', '$comparetest', '10115')|list|length›
‹people|$pickattr('tags.0', 'equalto', 'x')|map(attribute='tags')|first›
‹pairs|$pickattr(1, '$comparetest', 1)|list›
‹messages|selectattr('role', 'equalto', 'user')|list|length›
‹people|$pickattr()|list› ¦ 2: ‹people|groupby('$field')|list›
‹people|groupby('city')|map(attribute='grouper')|list·~·(people|groupby('city'))[0].list|length›
‹people|groupby(attribute='city', case_sensitive=true)|map('first')|list›
‹people|groupby('note', default='-')|map(attribute=0)|list›
‹pairs|groupby(1)·~·pairs|groupby(attribute=0)› ¦ 2: ‹$pdict|dictsort›
‹d|dictsort(true)·~·d|dictsort(reverse=true)› ¦ ‹{'b': $pint, 'A': $pint}|dictsort(false, 'value')›
‹{'b': $pstr, 'A': $pstr}|dictsort(by='value', reverse=true)›
‹d|dictsort(by='nope')› ¦ 2: ‹$pdict|items|list·~·nope|items|list› ¦ ‹$pany|items|list› ¦ ‹$pany|list›
‹$pany|first› ¦ ‹$pany|length› ¦ ‹$pany|join($pany)›
‹$plist|map('upper')|select('in', ['A', 'FIG'])|list·~·$plist|select|first|default('none')›
«set it = $plist|map('string')»‹it|list›‹it|list›
«set it = $plist|select»«for v in it»‹v›«break»«endfor»‹it|list›
«for k, group in people|groupby('city')»‹k›:‹group|map(attribute='name')|join('+')›;«endfor»
«for row in $plist|batch(2)»‹row›‹loop.length›«endfor»
[field]
3: name ¦ 3: age ¦ 2: city ¦ note ¦ ok ¦ tags ¦ address.zip ¦ tags.0 ¦ nope
[pick]
select ¦ reject
[pickattr]
selectattr ¦ rejectattr
[simpletest]
defined ¦ undefined ¦ none ¦ string ¦ number ¦ integer ¦ float ¦ boolean ¦ mapping ¦ iterable ¦ sequence
true ¦ false
[numbertest]
odd ¦ even
[comparetest]
== ¦ != ¦ < ¦ >= ¦ eq ¦ ne ¦ lt ¦ le ¦ gt ¦ ge ¦ equalto ¦ lessthan ¦ greaterthan
[json_top]
8: ‹($any)|tojson› ¦ 6: ‹($any)|tojson(indent=$n)›
‹$any|tojson(indent='--')·~·$plist|tojson(indent=none)›
2: ‹($pany)|tojson($pbool)› ¦ 2: ‹($any)|tojson(ensure_ascii=true)›
2: ‹($any)|tojson(separators=(',', ':'))›
2: ‹($any)|tojson(indent=$n, separators=('; ', ' = '), sort_keys=true)›
‹$pdict|tojson(sort_keys=$pbool)›
‹{$scalar: $literal, $scalar: $literal, 'z': [$any]}|tojson›
‹{1: 2, 2.5: 'f', none: 0, true: []}|tojson(indent=2)› ¦ ‹{($int, 1): 2}|tojson› ¦ ‹[$any, nope]|tojson›
‹[$floatlit, -$floatlit, f * 1e308, $pnum / 3]|tojson› ¦ ‹$literal|tojson(indent=2, ensure_ascii=true)›
‹tools|tojson(indent=4)› ¦ ‹$pany|tojson|length·~·messages[$near]|tojson›
‹(1, (2, []), {})|tojson(indent=1)› ¦ ‹d.items()|list|tojson·~·range($n)|list|tojson› ¦ ‹range(3)|tojson›
‹$pstr|tojson|tojson›
"""

MARKUP = r"""
[html_top]
3: ‹$pstr|$escape› ¦ ‹$html|$escape› ¦ 2: ‹$pany|$escape› ¦ 2: ‹$html|striptags› ¦ ‹$pany|striptags›
2: ‹$pdict|urlencode› ¦ 2: ‹$pstr|urlencode›
‹pairs|urlencode·~·'?'·~·[('a b', 'c/d'), ('é', $pany)]|urlencode›
‹$pany|urlencode›
2: ‹{'class': $any, 'id': nope, 'data-x': none, 'b': $html}|xmlattr›
‹{$short: $any}|xmlattr›
‹{'a': $pany}|xmlattr(false)·~·{}|xmlattr·~·{'q': 1}|xmlattr(autospace=true)›
‹$pdict|xmlattr› ¦ ‹$html|forceescape|forceescape›
[escape]
escape ¦ e ¦ forceescape ¦ safe ¦ safe|e ¦ e|forceescape
[html]
s21 ¦ s39 ¦ '<a href="x">T\'s</a>' ¦ '&lt;b&gt; &amp; &quot;q&quot; &#39;'
' <p>a\n  b</p> <br/>\tc<!-- <i> -->d' ¦ 'a < b > c &#x41;&#66; & d;' ¦ $pstr
[markup_top]
3: ‹$marked + $html› ¦ 2: ‹$html + $marked› ¦ 2: ‹$marked ~ $html› ¦ 2: ‹[$marked]›
‹$marked is escaped·~·$html is escaped› ¦ 2: ‹$marked % $html› ¦ ‹$fmarked % ($html, $pint)›
‹$fmarked|format($html, $pany)› ¦ ‹$marked.join([$html, $marked])› ¦ ‹$marked.replace('<', $html)›
‹[$marked, $html]|join($html)› ¦ ‹$marked|join(',')› ¦ ‹$marked * 2›
‹$marked == $html·~·($marked == $marked)›
‹[$marked.split(' '), $marked.upper(), $marked|upper, $marked.strip()]›
‹[$marked[1:], $marked[0], $marked|first, $marked|reverse]›
‹$marked|$escape› ¦ ‹$marked|length·~·$marked|string|e·~·$marked|trim|e› ¦ ‹$marked|replace('&', $html)|e›
‹$marked|striptags·~·$marked|title·~·$marked|indent› ¦ ‹$marked|tojson·~·[$marked]|join|e›
‹{$marked: 1}['<']·~·'<'|e in ['&lt;']› ¦ ‹$marked.format($html)› ¦ ‹($fmarked|string).format($html)›
‹$marked|safe + $html|e + $html› ¦ «set h»$text‹$html›«endset»‹h|e›‹h is escaped›
«macro w(z)»<i>‹z›</i>«endmacro»‹w($html)·~·$html›‹w($html) is escaped›‹w($html)|e›
[marked]
3: ($html|e) ¦ 2: ('<b>'|safe) ¦ ('a&b'|escape) ¦ ($html|forceescape) ¦ ('%s <'|safe) ¦ ('{} <'|e)
[fmarked]
('%s <i>%r</i>'|safe) ¦ ('%s/%s'|e) ¦ ('{0} {0}'|safe)
"""

WRAPPING = r"""
[wrap_top]
3: ‹$words_of|wordwrap($columns)› ¦ ‹$words_of|wordwrap› ¦ 2: ‹$words_of|wordwrap($columns, false)›
‹$words_of|wordwrap($columns, true, '⏎>')›
‹$words_of|wordwrap(width=$columns, wrapstring=' | ', break_long_words=$pbool)›
2: ‹$words_of|wordwrap($columns, break_on_hyphens=false)›
‹$words_of|wordwrap($columns, false, '/', false)› ¦ ‹$pany|wordwrap($columns)›
[words_of]
2: ($phrase) ¦ 2: ($phrase ~ $phrase) ¦ ($phrase ~ ' ' ~ $phrase) ¦ $pstr
[phrase]
'The quick brown fox jumps over the lazy dog. ' ¦ 'well-known state-of-the-art non-é-x -- and---more '
'--flag -x a-b-c 1-2 foo--bar (left-right) "q-r" ' ¦ 'Donaudampfschifffahrtsgesellschaftskapitän '
' leading\tand  double   spaces\n\nnew paragraph \n' ¦ '日本語の長い文章 です emoji😀😀😀😀 '
'http://x.y/very-long-path/with-parts_and-more?q=1 ' ¦ 'e.g. i-e, x-1 1-x a-1b '
[columns]
1 ¦ 2 ¦ 5 ¦ 8 ¦ 2: 10 ¦ 2: 15 ¦ 20 ¦ 30 ¦ 0
"""

TESTS = r"""
[test_top]
5: ‹$pany is $typetest› ¦ 4: ‹$pany is not $typetest› ¦ 2: ‹[$pint is odd, $pint is even, $pnum is even]›
‹$pany is odd› ¦ 2: ‹$pint is divisibleby $positive› ¦ ‹$pint is divisibleby($positive)›
‹$pint is not divisibleby(num=$positive)› ¦ ‹$pnum is divisibleby $pnum›
2: ‹[$pstr is lower, $pstr is upper]› ¦ ‹$pany is lower·~·($pany is upper)› ¦ 2: ‹$pany is in $plist›
‹$short is in $pstr› ¦ ‹$pany is not in($plist)› ¦ ‹$pany is in(seq=$ptuple)›
2: ‹$pnum is $compareword $pnum› ¦ ‹$pnum is $compareword($pnum)› ¦ ‹$pany is $equalword $pany›
‹$pstr is not $equalword $pstr› ¦ ‹$pany is $compareword $pany› ¦ 2: ‹$pany is sameas $single›
‹$single is sameas($single)·~·($single is not sameas $single)›
‹xs is sameas xs·~·(xs is sameas [3, 1, 2, 3])·~·(d is sameas d)›
‹'$filtername' is filter·~·('$filtername' is not filter)›
‹'$testname' is test·~·('$filtername' is test)› ¦ ‹$pany is filter›
‹[namespace is callable, range is callable, xs is callable, nope is callable, dict is callable]›
‹$pany is $typetest and $pany is $typetest› ¦ ‹$pany is $typetest or not $pany is $typetest›
‹not $pany is $typetest› ¦ ‹$pany is $typetest == true›
‹$pany is $typetest if $pany is $typetest else $pany is not $typetest›
‹$pint is odd + 1› ¦ ‹$pint is divisibleby $positive + 1› ¦ ‹$pint is eq $pint|string›
‹$pstr ~ 'x' is string› ¦ ‹$pany|string is string·~·-$pint is number› ¦ ‹[$pstr is string, 1]|first is true›
‹$pany is $typetest is $typetest› ¦ ‹$pany is nope› ¦ ‹$pany is $typetest(1)› ¦ ‹$pint is divisibleby›
‹$pint is divisibleby -$positive› ¦ ‹$pany is eq $pany.nope› ¦ ‹$pany is $compareword $pdict['a']›
‹$pany is defined and $pany is not none and $pany|string is string›
«if $pany is $typetest»A«elif $pany is not $typetest»B«else»C«endif»
«if $pint is odd and not $pint is even»A«else»B«endif»
[typetest]
2: defined ¦ 2: undefined ¦ 2: none ¦ boolean ¦ integer ¦ float ¦ number ¦ 2: string ¦ 2: sequence
2: iterable ¦ 2: mapping ¦ true ¦ false ¦ callable ¦ escaped
[compareword]
lt ¦ le ¦ gt ¦ ge ¦ lessthan ¦ greaterthan
[equalword]
eq ¦ ne ¦ equalto
[single]
none ¦ true ¦ false ¦ nil ¦ yes ¦ no
[filtername]
upper ¦ tojson ¦ e ¦ d ¦ count ¦ nope
[testname]
odd ¦ equalto ¦ == ¦ in ¦ nope
"""

UNDEFINEDS = r"""
[undefined_top]
2: ‹[$undef]› ¦ ‹$undef ~ $pany›
‹[$undef == $undef, $undef != $pany, $undef == none, $pany == $undef]›
‹[not $undef, $undef and 1, $undef or 'z', 1 and $undef]›
‹$undef in $plist·~·($undef not in [nope])› ¦ ‹$pany in $undef› ¦ ‹$short in $undef·~·('' in nope)›
«for v in $undef»‹v›«else»none«endfor» ¦ ‹$undef.x› ¦ ‹$undef['x']› ¦ ‹$undef[0]› ¦ ‹$undef[1:]› ¦ ‹$undef()›
‹$undef.x()› ¦ ‹$undef·$anyop·$pany› ¦ ‹$pany·$anyop·$undef› ¦ ‹-$undef› ¦ ‹+$undef›
6: ‹[($undef)|$absorbing]› ¦ ‹[($undef)|$refusing]› ¦ ‹$undef|default($any)› ¦ ‹$undef.x|default($any)›
‹d.nope|default('x')·~·d.a|default('x')› ¦ ‹($undef)|default($any)|string|upper›
‹nope|join(',')·~·nope|sort·~·nope|unique|list·~·nope|map('upper')|list·~·nope|select|list›
‹nope|batch(2)|list·~·nope|slice(2)|list·~·nope|groupby('x')›
‹[$undef is $typetest, $undef is not $typetest]› ¦ ‹{'a': $undef, 'b': [$undef]}› ¦ ‹{$undef: 1}›
‹[$undef, $undef]|unique|list|length› ¦ ‹[1, nope]|sum› ¦ ‹[nope, 'a']|join('-')›
‹[nope, nope]|map('default', 'q')|join› ¦ ‹'%s|%r' % (nope, nope)› ¦ ‹'%d' % nope›
‹'{}|{!r}'.format(nope, nope)› ¦ ‹nope if nope else 'no'·~·('a' if nope)› ¦ ‹[('a' if nope)]›
‹($undef if no) is undefined› ¦ ‹namespace(a=nope).a is defined›
‹namespace().b is defined·~·namespace().b·~·[namespace().b]›
‹loop.index› ¦ ‹[loop, caller, varargs, kwargs is defined]› ¦ ‹nope < $undef› ¦ ‹range(nope)›
‹$pstr.split(nope)› ¦ ‹$pstr.replace(nope, 'x')› ¦ ‹$pstr|replace(nope, 'x')·~·$pstr|replace('a', nope)›
‹$pstr + nope› ¦ ‹$pstr * nope› ¦ ‹xs[nope]·~·d[nope]·~·s1[nope]› ¦ ‹xs[nope:]›
«set u = nope»‹u is defined›‹[u]› ¦ «set u = nope.x»‹u› ¦ «if nope»A«elif nope == nope2»B«endif»
«if nope.x»A«else»B«endif» ¦ «if nope.x is defined»A«else»B«endif»
«if $undef is defined and $undef.x»A«else»B«endif» ¦ «with u = nope»‹[u, u is defined]›«endwith»
«macro m(q, r=nope, t=q)»‹[q, r, t, q is defined]›«endmacro»‹m()›‹m(nope)›‹m(1)›
‹raise_exception($undef)› ¦ ‹nope|tojson› ¦ ‹strftime_now(nope)›
[absorbing]
string ¦ list ¦ join ¦ length ¦ count ¦ upper ¦ lower ¦ title ¦ capitalize ¦ trim ¦ wordcount ¦ first ¦ last
sum ¦ max ¦ min ¦ sort ¦ replace('a', 'b') ¦ urlencode ¦ escape ¦ striptags ¦ items|list ¦ default ¦ center(4)
truncate ¦ reverse ¦ format ¦ unique|list
[refusing]
int ¦ float ¦ abs ¦ round ¦ tojson ¦ indent ¦ dictsort ¦ filesizeformat ¦ xmlattr ¦ wordwrap
"""

STATEMENTS = r"""
[body]
$node ¦ $node$node ¦ $node$node$node ¦ $text
[node]
4: $text ¦ 5: [‹$name›] ¦ 2: ‹$e› ¦ 3: $set ¦ 2: $if ¦ 2: $for ¦ «with $name = $e»$body«endwith»
«with $name = $e, $name = $name»$body«endwith» ¦ «with»$set$body«endwith»
«filter $blockfilter»$body«endfilter» ¦ {#$sign c ‹x› «x» $sign#}
{%$sign raw $sign%}$text{{ x }}{% if %}{# c #}$text{%$sign endraw $sign%}
«print $e» ¦ «print $e, $e» ¦ $call
[set]
4: «set $name = $e» ¦ «set $name, $name = $e, $e» ¦ «set ($name, $name) = [$e, $e]»
«set $name, $name = pairs[0]» ¦ «set $name = $e, $e» ¦ 2: «set $name»$body«endset»
«set $name | $blockfilter»$body«endset» ¦ «set $name = $name ~ $e» ¦ «set $name = $name + 1»
[blockfilter]
upper ¦ trim ¦ replace('a', 'b') ¦ indent(2) ¦ upper|trim ¦ length
[if]
2: «if $cond»$body«endif» ¦ 2: «if $cond»$body«else»$body«endif» ¦ «if $cond»$body«elif $cond»$body«endif»
«if $cond»$body«elif $cond»$body«else»$body«endif»
«if $cond»$body«elif $cond»$body«elif $cond»$body«else»$body«endif»
[for]
3: «for $name in $iterable»$lbody«endfor» ¦ «for $name in $iterable»$lbody«else»$body«endfor»
«for $name, $name in $couples»$lbody«endfor» ¦ «for ($name, $name) in $couples»$lbody«endfor»
2: «for $name in $iterable if $kept»$lbody«endfor»
«for $name in $iterable if $kept»$lbody«else»$body«endfor»
«for $name, $name in $couples if $kept»$lbody«endfor»
[call]
2: «macro m($parameters)»$body«endmacro»‹m($arguments)›
«macro m($parameters)»$body‹caller()›«endmacro»«call m($arguments)»$body«endcall»
[e]
4: $name ¦ 2: $intlit ¦ 2: $short ¦ $name ~ $name ¦ s1 ¦ i ¦ ws|first ¦ [$name, $e] ¦ $name if $cond else $e
$name|default($e)
[cond]
2: $name ¦ $name is defined ¦ $name == $e ¦ yes ¦ no ¦ i > 3 ¦ not $name ¦ $cond and $cond ¦ $cond or $name
$name in ws ¦ $name is string ¦ ys
[iterable]
2: xs ¦ 2: ws ¦ ys ¦ nope ¦ range($n) ¦ [$e, $e] ¦ [$e, $e, $e] ¦ 'abé' ¦ d ¦ $name ¦ xs|reverse ¦ ws|sort
xs|select('odd') ¦ people|map(attribute='name') ¦ xs[1:] ¦ 1, 2, 3 ¦ xs|batch(2)
[couples]
pairs ¦ d.items() ¦ d|items ¦ d|dictsort ¦ [(1, 2), [3, 4]] ¦ nest ¦ people|groupby('city') ¦ e.items()
ws|map('list')
[parameters]
$name ¦ $name, $name ¦ a, b=2 ¦ a=$e, b=a ¦ a, b='q', c=b ~ '!' ¦ ∅
[arguments]
∅ ¦ $e ¦ $e, $e ¦ b=$e ¦ a=$e, b=$e ¦ $e, c=$e ¦ $e, $e, $e, $e
[lbody]
$lnode ¦ $lnode$lnode ¦ $lnode$lnode$lnode ¦ $lnode$node$lnode$lnode
[lnode]
3: $node ¦ 4: ‹$loopword›, ¦ 3: [‹$name›] ¦ 2: «if $lcond»«$jump»«endif» ¦ 2: «if $lcond»$lbody«endif»
«if $lcond»$lbody«else»$lbody«endif» ¦ ‹loop.cycle($e, $e)› ¦ «if loop.changed($name)»!«endif»
‹loop.changed($e)› ¦ «set ns.$slot = ns.$slot ~ $e» ¦ «set ns.n = ns.n + 1»
«set outer = loop»«for $name in $iterable»‹outer.index›.‹loop.index›«endfor»
«if not loop.last», «endif» ¦ «set $name = loop.$loopcount»
[loopword]
3: loop.index ¦ 2: loop.index0 ¦ 2: loop.revindex ¦ loop.revindex0 ¦ loop.first ¦ 2: loop.last
2: loop.length ¦ loop.previtem ¦ loop.nextitem ¦ [loop.previtem]
[loop.nextitem is defined, loop.previtem is undefined] ¦ loop.depth ¦ loop.depth0 ¦ loop ¦ loop|length
loop.nope ¦ ns.n ¦ ns.$slot
[loopcount]
index ¦ length ¦ last
[jump]
break ¦ continue
[lcond]
loop.first ¦ loop.last ¦ loop.index is odd ¦ loop.index > 1 ¦ $name == 3 ¦ $name == $e ¦ $name is string
ns.n < 2 ¦ not ns.seen ¦ loop.index0 == loop.length - 2 ¦ $cond
loop.previtem is defined and loop.previtem == $name
[kept]
6: $name ¦ 3: $name == 3 ¦ 3: $name == $e ¦ 3: $name is string ¦ 3: $name != $short ¦ 3: $name is not none
3: not $name ¦ 2: ns.n < 2 ¦ 2: not ns.seen ¦ 2: $name in ws ¦ yes ¦ no ¦ loop.first
[loop_top]
18: «set ns = namespace(n=0, s='', seen=false)»$for[‹ns.n›|‹ns.s›]
6: «set ns = namespace(n=0)»$for$for‹[ns, $name]›
6: «set ns = namespace(n=0)»$for[‹$name›‹loop is defined›]
«set ns = namespace(n=0)»«for $name in $iterable if ns.n < $n»«set ns.n = ns.n + 1»‹$loopword›;«endfor»‹ns.n›
«set ns = namespace(n=0)»«for $name in $iterable»«set ns.n = ns.n + loop.index»«for $name in $iterable»\
$lnode$lnode«endfor»$lnode«endfor»
8: $recursion
«for $name in $iterable»«if loop.index == $n»«break»«endif»‹$loopword›«else»none«endfor»
«for $name in $iterable»«if loop.index is even»«continue»«endif»‹$loopword›,«endfor»
«set it = ws|map('upper')»«for v in it»‹v›,‹loop.last›«if loop.first»«break»«endif»«endfor»|‹it|list›
«for v in ws|select»‹loop.length›,‹v›,‹loop.revindex›‹loop.last›;«endfor»
«for a, (b, c) in [[1, [2, 3]], (4, 'xy')]»‹a›‹b›‹c›«endfor»
«for $name in $pany»‹$name›«endfor» ¦ «break»
«for $name in $iterable»«set $name = $name ~ '!'»‹$name›‹loop.nextitem›‹loop.previtem›«endfor»‹$name›
«for loop in xs»‹loop›«endfor»
«for v in xs»‹loop.$loopcount›«for w in loop.previtem»x«endfor»«endfor»
«for v in [xs, ws]»«for w in v»‹loop.index›,‹loop.length›;«endfor»‹loop.index›;«endfor»
«for v in xs»«set loop = 5»‹loop›«endfor»
[recursion]
2: «for v in tree recursive»‹v.n›@‹$treeword›(‹loop(v.sub)›)«endfor»
«for v in tree recursive»«if v.sub»‹v.n›[‹loop(v.sub)|upper›]«else»‹v.n›‹loop.index›«endif»«endfor»
«for v in tree recursive»‹loop.depth›‹loop.index›/‹loop.length›«if not loop.last»,«endif»‹loop(v.sub)›«else»\
-«endfor»
«for v in tree if v.n != $short recursive»‹v.n›(‹loop(v.sub)›)«endfor»
«for v in [1, [2, [3, 4]], 5] recursive»«if v is iterable»(‹loop(v)›)«else»‹v›‹loop.depth0›«endif»«endfor»
«for v in tree recursive»«set s = loop(v.sub)»‹v.n›<‹s›>«endfor»
«for v in tree»‹loop(v.sub)›«endfor»
[treeword]
loop.depth ¦ loop.depth0 ¦ loop.index ¦ loop.revindex ¦ loop.last ¦ [loop.nextitem is defined]
"""

SCOPES = r"""
[scope_top]
8: $node$node$node[‹a›|‹b›|‹c›|‹x›]$node[‹a›|‹b›|‹c›|‹x›]
3: $set$node[‹$name›‹$name›] ¦ 3: $set$body[‹$name›][‹$name›]$set[‹$name›]
2: «if $cond»$set«else»$set«endif»[‹$name›|‹$name›]
2: «for $name in $iterable»[‹$name›]$set[‹$name›]«endfor»[‹$name›|‹$name›]
2: $set«for $name in $iterable»$if[‹$name›]«endfor»[‹$name›]
«with $name = $e»$set[‹$name›]«with $name = $name»[‹$name›]«endwith»«endwith»[‹$name›]
«with a = 1, b = a»[‹a›‹b›]«endwith»[‹a›‹b›] ¦ «with a, b = [1, 2]»[‹a›‹b›]«endwith»
«filter $blockfilter»$set[‹$name›]«endfilter»[‹$name›] ¦ «set $name»$set[‹$name›]«endset»[‹$name›][‹$name›]
$set«macro m($parameters)»[‹$name›]$set[‹$name›]«endmacro»‹m($arguments)›[‹$name›]$set‹m($arguments)›
«macro m()»[‹$name›‹later›]«endmacro»‹m()›«set later = 1»«set $name = $e»‹m()›
«if $cond»«macro m()»1‹$name›«endmacro»«else»«macro m()»2‹$name›«endmacro»«endif»‹m()›
«for $name in $iterable»«macro m()»‹$name›‹loop.index›«endmacro»‹m()›«endfor»
«for $name in $iterable»«macro m()»‹$name›«endmacro»«set $name = $e»‹m()›«endfor»‹m is defined›
$set«macro outer()»«macro inner()»[‹$name›]«endmacro»$set‹inner()›«endmacro»‹outer()›
«macro m()»«call k()»[‹$name›]$set[‹$name›]«endcall»[‹$name›]«endmacro»«macro k()»‹caller()›«endmacro»‹m()›
«set ns = namespace($name=$e)»«for v in ws»«set ns.$name = v»$set«endfor»‹ns.$name›[‹$name›]
«set ns = namespace(a=1)»«macro m(p)»«set p.a = p.a + 1»«set ns.a = ns.a * 2»«endmacro»‹m(ns)›‹ns.a›
«set ns = namespace(d, z=1)»‹ns.a›‹ns.z›‹ns.nope›«set ns.a, ns.b = 5, 6»‹ns.a›‹ns.b›
«set $name.x = 1»
«set ns = namespace()»«set ns.$name = $e»«set ns2 = ns»«set ns2.$name = $e»‹ns.$name›‹ns›
«set a = 1»«for v in xs»«set a = a + v»‹a› «endfor»‹a›
«set a = 1»«for v in xs»«if v > 1»«set a = v»«endif»‹a›«endfor»‹a›
«set b = 'o'»«for v in ws»‹b›«set b = v»‹b›«else»«set b = 'e'»«endfor»‹b›
«for v in ys»«else»«set b = 'e'»«endfor»[‹b›] ¦ «set a = a»[‹a›]«set c = c»[‹c is defined›]
«if no»«set a = 1»«endif»[‹a›]«if no»«set c = 1»«endif»[‹c›]
«for v in xs»«if loop.first»«set a = v»«endif»[‹a›]«endfor»[‹a›]
«for a in a»‹a›«endfor»‹a›
«for a in xs if a != 3»‹a›«for a in ws»‹a›«endfor»‹a›«endfor»‹a›
«macro a(a)»‹a›«endmacro»‹a(2)› ¦ «set m = 1»«macro m()»x«endmacro»‹m()› ¦ «macro true()»x«endmacro»
«set range = 5»‹range› ¦ «set namespace = 1»«set q = dict(a=namespace)»‹q› ¦ ‹dict›«set xs = 1»
«set true = 1»
«set a»«for v in xs»‹v›«set b = v»«endfor»«endset»‹a›[‹b›]
«set a = 1»«block»
"""

MACROS = r"""
[macro_top]
9: «macro m($signature)»$inside$inside$inside«endmacro»‹m($given)›$text‹m($given)›
9: «macro m($signature)»$inside$inside|‹varargs›|‹kwargs›«endmacro»‹m($given)›$text‹m($given)›
9: «macro m(a=0, b=1)»$inside$inside«endmacro»‹m($easy)›$text‹m($easy)›‹m($easy)|length›
9: «macro m(a=0, b=1)»$inside‹caller($e)›«endmacro»«call(x=5) m($easy)»$handed«endcall»
3: «macro m($signature)»$inside‹caller()›«endmacro»«call$callee m($given)»$handed«endcall»
6: «macro m(a=0, b=1)»$inside‹caller($pass)›$inside‹caller($pass)›«endmacro»«call($handedto) m($easy)»\
‹[x, y]›$handed«endcall»
«macro m()»«if caller is defined»‹caller()›«else»none«endif»«endmacro»‹m()›«call m()»$handed«endcall»
«macro m(a)»‹a›«if a»‹m(a[1:])›«endif»«endmacro»‹m($strlit)›
«macro m(a)»«if a is mapping»{ «for k, v in a.items()»‹k›:‹m(v)›«if not loop.last»,«endif»«endfor»\
}«elif a is iterable and a is not string»[«for v in a»‹m(v)›«endfor»]«else»‹a›«endif»«endmacro»‹m($any)›
«macro f(a)»<‹a›>«endmacro»«macro g(a)»‹f(a) ~ f(a|string|upper)›«endmacro»‹g($any)›
‹m(1)›«macro m(a)»‹a›«endmacro» ¦ «if yes»‹m(1)›«endif»«macro m(a)»‹a›«endmacro»
«macro m(a)»‹g(a)›«endmacro»«macro g(a)»g‹a›«endmacro»‹m($e)›
«macro m($signature)»x«endmacro»‹m›‹m.name›‹m.arguments›‹m.catch_kwargs›‹m.catch_varargs›‹m.caller›
«macro m($signature)»‹varargs›«endmacro»‹m.catch_varargs›‹m.arguments|length›
«macro m(a, a)»‹a›«endmacro»‹m(1, 2)› ¦ «macro m(a=1, b)»‹a›«endmacro»‹m(1, 2)›
«macro m(caller)»‹caller›«endmacro»‹m(1)›
«macro m(a, caller=none)»‹a›«if caller»‹caller()›«endif»«endmacro»‹m($e)›«call m($e)»$handed«endcall»
«macro m(x)»‹x|upper›«endmacro»‹[$any, $any]|map('string')|map('upper')|join(m('-'))›
«macro m(x)»‹x›«endmacro»«set k = m»‹k($e)›‹[m][0]($e)›‹{'f': m}.f($e)›‹{'f': m}['f']($e)›
«macro m(x)»‹x›«endmacro»«set out = m($any)»‹out|length›‹out is string›‹[out]›
«macro m(x)»⏎  ‹x›⏎«endmacro»«filter indent(2)»‹m($pstr)›«endfilter»
«macro m(x)»«set x = x ~ '!'»‹x›«endmacro»‹m(x)›‹x›
«macro m(x)»«for v in x»‹v›«break»«endfor»«endmacro»‹m($iterable)›
«for v in xs»«macro m()»«continue»«endmacro»«endfor»
«macro m(a, b=a ~ '1', c=b)»‹a›,‹b›,‹c›«endmacro»‹m($e)›|‹m($e, c=$e)›|‹m(b=$e)›
«call nope()»x«endcall» ¦ «call $name»x«endcall»
«macro m()»‹caller(1, k=2)›«endmacro»«call(a, b=3, k=4) m()»‹a›‹b›‹k›«endcall»
«macro m()»‹caller()›«endmacro»«call m()»«call m()»‹$name›«endcall»‹$name›«endcall»
«macro m()»‹caller()›«endmacro»«for v in xs»«call m()»‹v›‹loop.index›«endcall»«endfor»
«macro m(a)»‹kwargs.q|default('-')›‹varargs[0]›‹varargs|join('+')›‹kwargs|dictsort›«endmacro»‹m($given)›
[signature]
∅ ¦ a ¦ a, b ¦ a, b=2 ¦ a='p', b='q' ¦ a, b=a ¦ a=$e, b=[]
[easy]
∅ ¦ $any ¦ $e, $e ¦ b=$e ¦ a=$e, b=$any ¦ *[1, 2] ¦ **{'b': $e} ¦ $e, **{'b': $e} ¦ $e, b=$e,
[given]
∅ ¦ $any ¦ $e, $e ¦ b=$e ¦ a=$e ¦ $e, b=$e ¦ $e, $e, $e ¦ $e, q=$e ¦ $e, $e, $e, q=1, r=2 ¦ *[1, 2] ¦ *xs
**{'b': $e} ¦ $e, **{'b': $e} ¦ a=1, **{'a': 2} ¦ *[1], **{'q': 3} ¦ b=1, *[2] ¦ $e, a=$e ¦ $e, $e,
[inside]
4: ‹a› ¦ 3: ‹[a, b]› ¦ 2: ‹varargs› ¦ 2: ‹kwargs› ¦ ‹varargs|length› ¦ ‹a is defined›‹b is defined›
‹a|default('da')› ¦ «set a = a ~ '.'» ¦ $text ¦ «for v in varargs»‹v›‹loop.index›«endfor»
«if a»A«else»B«endif» ¦ ‹$name›
[callee]
2: ∅ ¦ () ¦ (x=1) ¦ (x)
[handedto]
x ¦ x, y ¦ x, y='Y'
[pass]
1 ¦ $e ¦ 1, 2 ¦ x=$e ¦ ∅
[handed]
$text ¦ ‹$name› ¦ ‹a›$text ¦ <‹x|default('-')›> ¦ «set a = 'set'»‹a›
"""

SPACES = r"""
[space_top]
4: $blanks$space$blanks$space$blanks$space$blanks$end
2: $blanks$space$blanks$space$blanks$space$blanks$space$blanks$space$blanks$end
$blanks$end ¦ ⏎$space⏎$space⏎$space$end
  $space⏎    $space⏎$space$blanks$end
[space]
4: $output ¦ 2: {%$sign set q = 1 $sign%} ¦ 2: {#$sign comment ⏎ $sign#} ¦ {##} ¦ {#-#} ¦ {#--#}
{#$sign$sign#}
3: {%$sign if yes $sign%}$blanks$space$blanks{%$sign endif $sign%}
2: {%$sign if no $sign%}$blanks{%$sign else $sign%}$blanks$space$blanks{%$sign endif $sign%}
3: {%$sign for v in [1, 2] $sign%}$blanks$output$blanks{%$sign endfor $sign%}
2: {%$sign raw $minus%}$blanks{{ x }}$blanks{%$sign endraw $sign%}
{%$sign raw $sign%}$blanks{% x %}$blanks{%$sign endraw $sign%}
{%$sign·raw·%}$blanks{%$sign·endraw·$sign%}
{%$sign set q $sign%}$blanks$output$blanks{%$sign endset $sign%}[{{ q }}]
{%$sign macro m() $sign%}$blanks$output{%$sign endmacro $sign%}[{{ m() }}]
{%$sign generation $sign%}$blanks$output$blanks{%$sign endgeneration $sign%}
{%$sign print 1 $sign%} ¦ {%-·if yes·-%}$blanks{%-·endif·-%} ¦ {{$sign 'x' $minus}} ¦ {{ '⏎' }} ¦ {{ 'a⏎b' }}
{{ "q\⏎r" }} ¦ {{ i⏎ }} ¦ {%⏎if yes⏎%}$blanks{%⏎endif⏎%} ¦ {% if yes: %}x{% endif: %}
{{'}}'}}{{"%}"}}{{ '{#' }}
[output]
{{ i }} ¦ {{i}} ¦ {{- i }} ¦ {{ i -}} ¦ {{- i -}} ¦ {{+ i }} ¦ {{·'é'·}}
[minus]
∅ ¦ -
"""

GENERATIONS = r"""
[generation_top]
4: «for message in messages»$turn«endfor»$after
2: «for message in messages if message.content is string»$turn$text«endfor»
$text«generation»$said«endgeneration»$text«generation»$said«endgeneration»$end
«for message in messages»«if loop.index is odd»«continue»«endif»$learn$text«if loop.index > $n»«break»«endif»\
«endfor»
$turnmacro«for message in messages»‹turn(message)›$learn«endfor»
«with r = 'R'»$learn‹r›«endwith»«set r = 'S'»$learn‹r›
[turn]
3: <|‹message.role›|>«if message.role == 'assistant'»$learn«else»‹message.content|string|trim›«endif»$text
«if message['role'] != 'assistant'»‹message['role'] ~ message.content›«else»⏎$learn⏎«endif»
$text$learn
«set content = message.content|string»«if message.role == 'assistant'»$learn‹content|length›«endif»
[learn]
3: «generation»$said«endgeneration» ¦ «generation»$said$said«endgeneration» ¦ $text«generation»«endgeneration»
«generation»«if message.tool_calls»«for c in message.tool_calls»‹c.function|tojson›«endfor»«else»\
‹message.content›«endif»«endgeneration»
«generation»«set r = 'inner'»‹r›«endgeneration»‹r›
«generation»«for m2 in messages»‹m2.role›‹loop.index›«endfor»$said«endgeneration»
[said]
3: ‹message.content› ¦ $text ¦ ‹message.content|string|trim ~ eos_token› ¦ é😀‹message.role› ¦ ‹loop.index›
‹i›
[after]
∅ ¦ «if add_generation_prompt»<|assistant|>⏎«endif»
[turnmacro]
«macro turn(m)»<‹m.role›>⏎«endmacro»
[nested_top]
«macro m(t)»a«generation»‹t›«endgeneration»b«endmacro»‹m($pstr)›‹m('z')›
«set q»«generation»‹$pstr›«endgeneration»«endset»‹q›
«generation»a«generation»‹$pstr›«endgeneration»b«endgeneration»
«filter upper»«generation»‹$pstr›«endgeneration»«endfilter»
«for v in tree recursive»«generation»‹v.n›‹loop(v.sub)›«endgeneration»«endfor»
«for v in xs»«generation»«break»«endgeneration»«endfor»
«generation»$set«endgeneration»[‹$name›] ¦ «generation»$body«endgeneration»
"""

GLOBALS = r"""
[global_top]
2: ‹range($near, $near, $positive)|list·~·range($near)|list·~·range(5, $near, -1)|list›
‹range(3)·~·range(1, 4)·~·range(0, 9, 2)› ¦ ‹range(0, 5, 0)› ¦ ‹range($pany)|list› ¦ ‹range(100001)|length›
‹range(99999)|length·~·range(3)[1]·~·range(9)[2:7:2]·~·range(3)|last›
2: ‹dict(a=$any, b=$any)› ¦ ‹dict()·~·dict({})·~·dict(x=dict(y=1)).x.y›
«set j = joiner($short)»«for v in $iterable»‹j()›‹v›«endfor»‹j()›
«set j = joiner()»‹j()›‹j()›‹j()›
«set c = cycler($any, $any)»‹c.next()›‹c.next()›‹c.current›‹c.reset()›‹c.next()›
«set c = cycler('odd', 'even')»«for v in xs»‹c.next()›«endfor»
‹cycler()› ¦ 3: ‹strftime_now($timeformat)› ¦ ‹strftime_now($timeformat ~ $short)|upper›
«set today = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024'»‹today›
‹raise_exception($pstr)› ¦ ‹raise_exception('a' ~ $any)› ¦ «if $bool»‹raise_exception('no')›«else»fine«endif»
‹raise_exception()› ¦ «set ns = namespace($slot=$any)»‹ns.$slot›‹ns›
«set ns = namespace({'a': 1}, b=$any)»‹ns.a›‹ns.b›‹ns['b']›‹ns['nope']›
«set ns = namespace([['a', 1]])»‹ns.a› ¦ «set ns = namespace(1)» ¦ «set ns = namespace()»«set ns._x = 1»
«set ns = namespace(items=1, get=2)»‹ns.items›‹ns.get›‹ns.keys is defined›
«set ns = namespace()»«set ns.a = [1]»«set ns.a = ns.a + [2]»‹ns.a›‹ns is mapping›‹ns == ns›‹ns|string›
‹namespace(a=1)·~·[namespace(b='x')]› ¦ «include 'x'» ¦ «import 'x' as y» ¦ «extends 'x'»
«from 'x' import y»
‹joiner is callable·~·(cycler is defined)›
‹$fn()› ¦ ‹[$fn is defined, $fn is callable]›
[fn]
range ¦ dict ¦ nope ¦ len ¦ str ¦ zip ¦ enumerate ¦ print ¦ open
[timeformat]
'%Y-%m-%d' ¦ '%d %b %Y' ¦ '%d %B %Y' ¦ '%A, %d %B' ¦ '%H:%M:%S' ¦ '%I %p' ¦ '%j %U %W %w %u' ¦ '%G-W%V'
'%a %y %C' ¦ '%e|%k|%l' ¦ '%-d.%-m.' ¦ '%D %T %R %F' ¦ '%c' ¦ '%x %X' ¦ '%f' ¦ '%z|%Z' ¦ '%%|%n|%t|'
'no format é' ¦ '' ¦ '%' ¦ '%Q' ¦ $pany
"""

CHATS = r"""
[chat_top]
$head«for message in $turns»$exchange«endfor»$tail$end
$head$macros«for message in $turns»$exchange$exchange«endfor»$tail$end
[head]
∅ ¦ ‹bos_token› ¦ {{- bos_token }}⏎
«if messages[0].role == 'system'»«set system_message = messages[0].content»«set loop_messages = messages[1:]»\
«else»«set system_message = ''»«set loop_messages = messages»«endif»<<SYS>>‹system_message›<</SYS>>⏎
«set ns = namespace(last=-1, tool=false)»«for m in messages[::-1]»\
«set index = (messages|length - 1) - loop.index0»«if ns.last < 0 and m.role == 'user'»«set ns.last = index»\
«endif»«endfor»‹ns.last›
«if tools is defined and tools is not none»«for tool in tools»‹tool|tojson›⏎«endfor»«endif»
«if tools»‹'# Tools⏎'›«for tool in tools»‹tool.function.name ~ ': ' ~ tool.function.description›\
«for p, s in tool.function.parameters.properties.items()»‹p›\
«if p in tool.function.parameters.get('required', [])»*«endif»\
 ‹s.type is string and s.type or s.type|join('|')›⏎«endfor»«endfor»«endif»
«if not date_string is defined»«set date_string = strftime_now("%d %b %Y")»«endif»Today: ‹date_string›⏎
[turns]
4: messages ¦ messages[1:] ¦ messages|rejectattr('role', 'equalto', 'system')
messages|selectattr('content', 'string')|list ¦ messages|reject('none') ¦ messages[::-1]
[exchange]
‹'<|im_start|>' + message.role + '⏎'›$content‹'<|im_end|>' + '⏎'›
<|‹message['role']›|>⏎$content<|end|>⏎
«if message.role == 'user'»[INST] $content [/INST]«elif message.role == 'assistant'» $content‹eos_token›\
«elif message.role in ['system', 'tool']»<s>$content</s>«else»‹raise_exception('role ' ~ message.role)›«endif»
«if (message.role == 'user') != (loop.index0 % 2 == 0)»‹loop.index0›!«endif»
«if message.tool_calls is defined and message.tool_calls»«for tool_call in message.tool_calls»\
«set tool_call = tool_call.function if tool_call.function is defined else tool_call»\
<tool_call>⏎{"name": "‹tool_call.name›", "arguments": ‹tool_call.arguments|tojson›\
}⏎</tool_call>«if not loop.last»⏎«endif»«endfor»«else»$content«endif»
«if message.tool_calls»«for k, v in message.tool_calls[0].function.arguments|items»<‹k›\
>‹v|tojson if v is mapping or (v is sequence and v is not string) else v|string›</‹k›>«endfor»«endif»
«if message.role == 'tool'»«if loop.first or messages[loop.index0 - 1].role != 'tool'»<tool_response>«endif»\
$content«if loop.last or loop.nextitem.role != 'tool'»</tool_response>«endif»«endif»
«if loop.last and add_generation_prompt»<|assistant|>«endif»
[content]
3: «if message.content is string»‹message.content|trim›«elif message.content is iterable»\
«for part in message.content»«if part.type == 'text'»‹part.text›\
«elif 'image' in part or part['type'] == 'image'»<image>«endif»«endfor»«endif»
‹message.content› ¦ ‹(message.content or '')|string›
«set content = message.content if message.content is string else ''»«if '</think>' in content»\
«set thought = content.split('</think>')[0].rstrip('⏎').split('<think>')[-1].lstrip('⏎')»\
«set content = content.split('</think>')[-1].lstrip('⏎')»(‹thought›)«endif»‹content›
«if message.reasoning_content is defined and message.reasoning_content is not none»\
‹message.reasoning_content.strip()›«endif»‹message.get('content', 'x')›
‹render(message.content)|default('?') if render is defined else message.content|string›
«generation»‹message.content›‹eos_token›«endgeneration»
[macros]
«macro render(content)»«if content is none»‹''›«elif content is string»‹content›«else»«for item in content»\
‹item.text if item.type == 'text' else '<' ~ item.type ~ '>'›«endfor»«endif»«endmacro»
«macro render(x, depth=0)»«if x is mapping»«for k, v in x|dictsort»‹'  ' * depth›‹k›: ‹render(v, depth + 1)›\
⏎«endfor»«elif x is string»‹x|tojson›«elif x is iterable»«for v in x»‹render(v, depth + 1)›,«endfor»«else»‹x›\
«endif»«endmacro»
[tail]
∅
«if add_generation_prompt»‹'<|im_start|>assistant⏎'›«endif»
«if add_generation_prompt»{{- '<|im_start|>assistant⏎' }}«if enable_thinking is defined and enable_thinking \
is false»‹'<think>⏎⏎</think>⏎⏎'›«endif»«endif»
"""

GRAMMAR = "".join((EXPRESSIONS, LITERALS, OPERATORS, ITEMS, METHODS, FILTERS, MARKUP, WRAPPING, TESTS,
                   UNDEFINEDS, STATEMENTS, SCOPES, MACROS, SPACES, GENERATIONS, GLOBALS, CHATS))
# What an operand of the wrong type may stand for, now and then.
OPERANDS = set("pstr pint pfloat pnum pbool plist ptuple pdict pseq pints pwords short".split())
# Expressions inside of statements stay small.
DEPTHS = {"e": 2, "cond": 2, "kept": 2, "lcond": 2, "iterable": 1, "couples": 1, "given": 4, "space": 4}

# How many cases of which production, how deep, how often with a wrong operand, how many tags with a sign.
Kind = collections.namedtuple("Kind", "start count depth wrong signs spans", defaults=(0.02, 0.1, False))
KINDS = {
    "literals": Kind("literal_top", 600, 4),
    "operators": Kind("operator_top", 1600, 4),
    "operands": Kind("operand_top", 900, 2),
    "printf": Kind("printf_top", 600, 3, 0.03),
    "str.format": Kind("braces_top", 300, 3, 0.03),
    "slices": Kind("slice_top", 700, 3, 0.03),
    "items": Kind("item_top", 500, 3, 0.03),
    "methods of str": Kind("method_top", 1800, 3),
    "containers": Kind("container_top", 600, 3),
    "filters of text": Kind("text_top", 900, 3),
    "filters of numbers": Kind("number_top", 800, 3),
    "filters of sequences": Kind("sequence_top", 1500, 3),
    "tojson": Kind("json_top", 500, 4, 0.03),
    "filters of HTML": Kind("html_top", 300, 3, 0.03),
    "Markup": Kind("markup_top", 350, 3, 0),
    "wordwrap": Kind("wrap_top", 250, 3, 0.03),
    "tests": Kind("test_top", 900, 3, 0.03),
    "undefined": Kind("undefined_top", 700, 3, 0),
    "expressions": Kind("print", 800, 6),
    "loops": Kind("loop_top", 1000, 6, 0.01),
    "scopes": Kind("scope_top", 1500, 6, 0),
    "macros": Kind("macro_top", 800, 5, 0.01),
    "white space": Kind("space_top", 1200, 5, 0, 0.4),
    "generation": Kind("generation_top", 400, 6, 0, 0.15, True),
    "generation inside": Kind("nested_top", 150, 5, 0),
    "globals": Kind("global_top", 400, 3),
    "chats": Kind("chat_top", 600, 6, 0, 0.3),
}


class Grammar:
    """Productions by name: (weight, pieces, how deep it goes at least).  Pieces: text and names in turn."""

    def __init__(self, source):
        self.rules, drafts = {}, {}
        for line in source.replace("\\\n", "").split("\n"):
            if head := re.fullmatch(r"\[([a-z]\w*)\]", line):
                assert head[1] not in drafts, head[1]
                rule = drafts[head[1]] = []
            elif line:
                rule += [self.production(part) for part in line.split(" ¦ ")]
        self.depth = self.find_depths(drafts)
        for name, rule in drafts.items():
            self.rules[name] = [(w, pieces, self.needed(pieces)) for w, pieces in rule]

    @staticmethod
    def production(text):
        weight, body = re.fullmatch(r"(?:(\d+): )?(.*)", text).groups()
        return int(weight or 1), re.split(r"\$([a-z]\w*)", body.replace("⏎", "\n").replace("∅", ""))

    def needed(self, pieces):
        return max((self.depth.get(name, 99) for name in pieces[1::2]), default=0)

    def find_depths(self, drafts):
        self.depth = {name: 0 for name in (*CHOICES, *TERMINALS)}
        for _ in range(20):
            for name, rule in drafts.items():
                self.depth[name] = min(self.depth.get(name, 99), 1 + min(self.needed(p) for _, p in rule))
        used = {name for rule in drafts.values() for _, pieces in rule for name in pieces[1::2]}
        assert used <= self.depth.keys(), f"no such production: {used - self.depth.keys()}"
        return self.depth


class Maker:
    """Draws templates of one kind."""

    def __init__(self, grammar, rng, kind):
        self.grammar, self.rng, self.kind = grammar, rng, kind

    def sign(self):
        return self.rng.choice("---+") if self.rng.random() < self.kind.signs else ""

    def tags(self, piece):
        """The text of a production with its tags and its optional blanks."""
        rng, out = self.rng, []
        for ch in piece:
            if ch in "«‹":
                out.append(("{%" if ch == "«" else "{{") + self.sign().replace("+", "+" if ch == "«" else ""))
                out.append(rng.choice("    \n") if rng.random() < 0.9 else "")
            elif ch in "»›":
                sign = self.sign().replace("+", "+" if ch == "»" else "")
                out.append((" " if rng.random() < 0.9 else "") + sign + ("%}" if ch == "»" else "}}"))
            else:
                out.append(rng.choice(("", " ", " ", " ", "  ", "\n")) if ch == "·" else ch)
        return "".join(out)

    def expand(self, name, depth):
        rng = self.rng
        if name in OPERANDS and rng.random() < self.kind.wrong:
            name = "pany"
        if name in TERMINALS:
            return TERMINALS[name](self, depth)
        if name in CHOICES:
            return rng.choice(CHOICES[name])
        depth = min(depth, DEPTHS.get(name, depth))
        rule = self.grammar.rules[name]
        fitting = [p for p in rule if p[2] < depth] or [p for p in rule if p[2] == min(q[2] for q in rule)]
        pieces = rng.choices(fitting, [p[0] for p in fitting])[0][1]
        return "".join(self.expand(p, depth - 1) if n % 2 else self.tags(p) for n, p in enumerate(pieces))


def generated(name, rng, scale):
    """The cases of one kind; each template once."""
    kind, found = KINDS[name], {}
    maker = Maker(Grammar(GRAMMAR), random.Random(f"{rng}/{name}"), kind)
    for _ in range(4 * int(kind.count * scale)):
        if len(found) == int(kind.count * scale):
            break
        template = maker.expand(kind.start, kind.depth)
        found.setdefault(template, case_of(template, kind.spans))
    return list(found.values())


PIECES = [*"{}%#-+|().,:='\" \n[]~!*/1e", "{{", "}}", "{%", "%}", "is", " not ", " if "]


def mangled(templates, rng, count):
    """Templates with characters lost, doubled, swapped and put in: mostly errors that both must see."""
    rng, cases = random.Random(f"{rng}/mangled"), []
    for _ in range(count):
        template = rng.choice(templates)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(template) + 1)
            piece = rng.choice(["", "", "", "", template[at:at + 1] * 2, *PIECES])
            template = template[:at] + piece + template[at + rng.choice((0, 1, 1, 1, 2)):]
        cases.append(case_of(template))
    return cases


# ---- by hand: what real templates do, and what surprises ---------------------------------------------------

HAND = r'''
{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -1 }} {{ -5|abs }} {{ -5 // 2 }} {{ -5 % 3 }} {{ 5 % -3 }}↵
 {{ -7.5 // 2 }} {{ 7 % -2.5 }}
====
{{ 1 ~ 2 + 3 }}
====
{{ 1 ~ 2 * 3 }} {{ 'a' + 1 ~ 2 }} {{ 4 - 2 ~ '' == '42' }}
====
{{ 'a' ~ 1 == 'a1' }} {{ not 1 == 2 }} {{ 1 < 2 < 3 }}↵
 {{ 3 > 2 == true }} {{ 1 == 1 in [true] }}
====
{{ '\é' }}|{{ '\d\w' }}|{{ "\"q\"" }}|{{ 'a' "b" 'c' }}|{{ '\101\x41\u0041\U00000041' }}|{{ 'a\
b' }}|{{ '{{' ~ '}}' }}
====
{{ {'a':{'b':1}}}}|{{ {'a': [1, (2, {'c': {}})]}['a'][1][1]}}
====
{{ (1,) }}{{ () }}{{ 1, 2 }}{{ [1, 2,] }}{{ {'a': 1,} }}{{ (1) }}{{ ((1)) }}{{ 1, }}
====
{{ [true, none, 1.0, 1e16, 1e-5, 'it''s', "it's", 'q"', "it's \"q\"", '\n\t\\\x00\x7f\u200b\u00a0é😀', nope] }}
====
{{ 1.0 }} {{ 1e15 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ -0.0 }} {{ 1/3 }}↵
 {{ 2/2 }} {{ 1e22 }} {{ 5e-324 }}
====
{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 5|round }} {{ 15|round(-1) }}↵
 {{ 2.4|round(0, 'ceil') }} {{ -2.5|round(method='floor') }}
====
{{ 3|round(1, 'ceil') }} {{ 25|round(-1, 'floor') }} {{ 2.5|round(none) }}
====
{{ true + true }} {{ true * 3 }} {{ 'ab' * 2 }} {{ 2 * [1] }} {{ [1] + [2] }} {{ (1,) + (2,) }}↵
 {{ 'a' * -1 }}| {{ 7 // 2.0 }} {{ true / 2 }}
====
{{ {1: 'a', true: 'b', 1.0: 'c'} }} {{ {'a': 1, 'a': 2} }} {{ {1: 2}[true] }} {{ 1 in {true: 0} }}↵
 {{ [1] == [true] }} {{ (1, 2) == [1, 2] }}
====
{{ nope is callable }}{{ nope is iterable }}{{ nope is sequence }}{{ 'a' is iterable }}{{ 5 is iterable }}↵
{{ true is number }}{{ true is integer }}
====
{{ 5 is divisibleby 2 + 1 }}{{ 4 is even and 3 is odd }}{{ not 3 is even }}{{ 3 is not even }}↵
{{ 'x' is in ['x'] }}{{ 1 is lt 2 }}
====
{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ '==' is test }}{% if 'nope' is filter %}↵
{{ 1|nope }}{% endif %}ok
====
{% if false %}{{ 1|nofilter }}{% endif %}ok
====
{% for x in [] %}{{ 1|nofilter }}{% endfor %}ok
====
{% if false %}{{ 1 is notest }}{% endif %}{{ (1|nofilter) if false else 'ok' }}
====
{{ d.items is callable }}{{ odd.items() is mapping }}{{ odd['items'] }}{{ odd.items is string }}↵
{% for k, v in odd.items() %}{{ k }}={{ v }};{% endfor %}
====
{{ d.pop }}|{{ xs.append }}|{{ s1.__class__ }}|{{ d.nope }}|{{ d['nope'] }}|{{ xs[50] }}|{{ s1[50] }}↵
|{{ xs['a'] }}|{{ nil.x }}|{{ 5 .x }}
====
{{ xs.append(1) }}
====
{{ s2['upper']() }}{{ s2['nope'] }}{{ ('a-b'['split'])('-') }}
====
{{ pairs.0.1 }}{{ (1, (2, 3)).1.0 }}{{ xs.0 }}{{ xs[-1] }}{{ xs[1:][0] }}{{ s8[::-1] }}{{ s8[-3:] }}↵
{{ xs[::2] }}{{ xs[none:none:none] }}
====
{{ 10|string|length }}{{ '%05.1f|%-6s|%+d|%x|%e|%%|%s' % (3.14159, 'ab', 5, 255, 12345.678, [1, 'a']) }}↵
{{ '%(a)s' % d }}
====
{{ 'abc' % {} }}{{ 'abc' % [] }}{{ '%s' % 'x' }}{{ '%s %s' % ('a', none) }}{{ '%s' % (1,) }}↵
{{ '%s' % {'a': 1} }}
====
{{ '%s' % (1, 2) }}
====
{{ "don't stop"|title }} {{ "don't stop".title() }} {{ 'ΟΔΟΣ'.lower() }} {{ 'straße'.upper() }}↵
 {{ 'ﬁ'|capitalize }} {{ 'ǆ'.title() }} {{ 'İ'|lower|length }}
====
{{ ' a b '.split() }}{{ ' a b '.split(' ') }}{{ 'a,b,,c'.split(',', 1) }}{{ ''.split() }}{{ ''.split(',') }}↵
{{ 'a\n\nb\n'.splitlines() }}{{ 'abc'.partition('z') }}
====
{{ ['b', 'A', 'c']|sort }}{{ ['b', 'A', 'c']|sort(case_sensitive=true) }}{{ {'b': 1, 'A': 2}|dictsort }}↵
{{ ['a', 'A', 'b']|unique|list }}{{ ['b', 'A']|min }}
====
{{ [1, 'a']|sort }}
====
{{ [3, 1, 2]|sort|map('string')|join('-') }}{{ xs|select('gt', 1)|list }}
====
{{ xs|map('pow')|list }}
====
{{ messages|map(attribute='role')|unique|list|join(',') }}↵
{{ people|selectattr('note')|map(attribute='name')|list }}{{ people|sum(attribute='age') }}
====
{{ {'a': 'é<&>\'"', 'b': [1, 2.0, true, none], 1: {}}|tojson }}{{ [1, {'a': []}]|tojson(indent=2) }}↵
{{ 'é'|tojson(ensure_ascii=true) }}
====
{{ tools|tojson(indent=4) }}
====
{{ {'b': 1, 'a': (1, 2)}|tojson(sort_keys=true, separators=(',', ':')) }}{{ 1e16|tojson }}↵
{{ '\u2028\x7f\x01/'|tojson }}
====
{{ nope|tojson }}
====
{{ nope ~ 'x' }}{{ [nope] }}{{ nope == nope2 }}{{ nope in [1] }}{{ 1 in nope }}{{ nope|length }}↵
{{ nope|list }}{{ (nope|first) is defined }}
====
{{ nope.x }}
====
{{ nope + 1 }}
====
{{ ('a' if false) }}|{{ ('a' if false) is defined }}|{{ 1 if true else nope.x }}|{{ true or nope.x }}↵
|{{ false and nope.x }}
====
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
====
{% set ns = namespace(x=1, found=false) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}↵
{% set ns.found = true %}{% endfor %}{{ ns.x }}{{ ns.found }}{{ ns }}
====
{% if true %}{% set x = 'in' %}{% endif %}{{ x }}{% with x = 'w' %}{{ x }}{% set x = 'v' %}{{ x }}↵
{% endwith %}{{ x }}
====
{% set x %}a{{ 1 }}{% endset %}[{{ x }}]{% set y | upper | replace('A', 'B') %}aaa{% endset %}{{ y }}↵
{{ x is string }}
====
{% set a, b = 1, 2 %}{% set (c, d) = (b, a) %}{{ a }}{{ b }}{{ c }}{{ d }}{% set a, b = b, a %}{{ a }}{{ b }}↵
{% set t = 1, 2 %}{{ t }}
====
{% set a, b = [1] %}
====
{% macro m(a, b=a, *c) %}{% endmacro %}
====
{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 3, 4, c=5) }}↵
{{ m(b=1) }}{{ m() }}
====
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
====
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, b=2) }}
====
{% macro wrap(tag) %}<{{ tag }}>{{ caller(tag|upper, n=1) }}</{{ tag }}>{% endmacro %}↵
{% call(x, n=2) wrap('b') %}{{ x }}{{ n }}{{ tag }}{% endcall %}
====
{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}
====
{% macro m() %}{{ x }}{% endmacro %}{% set x = 5 %}{{ m() }}{% for x in [1] %}{{ m() }}{% endfor %}
====
{% for x in [1, 2] %}{% macro m() %}{{ x }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}
====
{% for x in [1, 2] %}{{ loop }}{{ [loop.index, loop.last, loop.previtem, loop.nextitem] }}{% endfor %}↵
{{ loop }}
====
{% for x in range(10) if x is even %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ '' if loop.last else ',' }}↵
{% endfor %}
====
{% set ns = namespace(n=0) %}{% for x in range(6) if ns.n < 3 %}{% set ns.n = ns.n + 1 %}{{ x }}↵
{{ loop.last }}{% endfor %}{{ ns.n }}
====
{% set ns = namespace(n=0) %}{% for x in range(6) if ns.n < 3 %}{% set ns.n = ns.n + 1 %}{{ x }}↵
{{ loop.length }}{% endfor %}{{ ns.n }}
====
{% for x in xs if loop.index > 1 %}{{ x }}{% endfor %}
====
{% for x in [] %}x{% else %}{{ x is defined }}empty{% endfor %}{% for x in [1] %}{% break %}{% else %}↵
no{% endfor %}end
====
{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{{ loop.index }}↵
{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}
====
{% for v in tree recursive %}{{ v.n }}{% if v.sub %}[{{ loop(v.sub) }}]{% endif %}{{ loop.depth }}{% endfor %}
====
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for k, v in d|dictsort %}{{ k }}↵
{% endfor %}{% for k in d %}{{ k }}{% endfor %}
====
{% for a, b in [1, 2] %}{% endfor %}
====
{% for c in 'aé😀' %}{{ loop.cycle('x', 'y') }}{{ c }}{% if loop.changed(c) %}!{% endif %}{% endfor %}
====
a
  {% if true %}
    b
  {% endif %}
c  {# x #}
  d {%- if true +%}
 e {%+ endif %}
====
{% raw %}
  {{ x }} {% if %}
{% endraw %}
{%- raw -%}  {{ y }}  {%- endraw -%}  z
====
  {{ 1 }}  ␠
  {%- set x = 1 -%}  ␠
  {{- x -}}  y
====
{#- a -#} b {#+ c +#} d {# {{ x }} #}

{##}e
====
{{ '  x  ' -}}   {{- ' y' }}
{%+ if true %} z{% endif %}
====
{{ "a
b" }}{{ 'c\nd' }}{{ 'e\
f' }}
====
{% if x is not defined %}{% set x = false %}{% endif %}{% if not tools is defined %}{% set tools = none %}↵
{% endif %}{{ x }}{{ tools is none }}
====
{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}↵
{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ message['content'] }}{% endfor %}
====
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + ↵
message['content']|string|trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call at once") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- for arg_name, arg_val in tool_call.arguments | items %}{{- arg_name + '="' ~ arg_val ~ '"' }}↵
{%- if not loop.last %}, {% endif %}{%- endfor %}
    {%- endif %}
{%- endfor %}
====
{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}
{{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
{{- "list[" + json_to_python_type(json_spec|items) + "]" }}
{%- elif json_spec.type is iterable and json_spec.type is not string %}
{{- "Union[" }}{%- for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{%- if not loop.last %}↵
{{- "," }}{%- endif %}{%- endfor %}{{- "]" }}
{%- else %}
{{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- for tool in tools %}{{ tool.function.name }}({% for name, fields in ↵
tool.function.parameters.properties.items() %}{{ name }}: {{ json_to_python_type(fields) }}↵
{% if not loop.last %}, {% endif %}{% endfor %})
{% endfor %}
====
{%- set ns = namespace(index=0, last_query=-1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.last_query == -1 and message.role == "user" and not (message.content is string and ↵
message.content.startswith('<tool_response>')) %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{{- ns.last_query }}
{%- for message in messages %}
    {%- if loop.index0 > ns.last_query and (loop.last or (not loop.last and message.reasoning_content)) %}↵
{{- loop.index0 }}{%- endif %}
{%- endfor %}
====
{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content }}↵
{{ eos_token }}{% endgeneration %}{% else %}<{{ message.role }}>
{% endif %}{% endfor %}
====
{%- for message in messages -%}
  {%- generation -%}
    {{ message.role }} ␠
  {%- endgeneration -%}
  {{- '\n' -}}
{%- endfor -%}
====
{% generation %}{% set y = 1 %}{{ y }}{% endgeneration %}{{ y is defined }}
====
{%- if tools is not none %}{{ '[AVAILABLE_TOOLS][' }}{% for tool in tools %}{% set tool = tool.function %}↵
{{ '{"type": "function", "function": {' }}{% for key, val in tool.items() if key != "return" %}↵
{% if val is string %}{{ '"' + key + '": "' + val + '"' }}{% else %}{{ '"' + key + '": ' + val|tojson }}↵
{% endif %}{% if not loop.last %}{{ ", " }}{% endif %}{% endfor %}{{ "}}" }}{% if not loop.last %}{{ ", " }}↵
{% else %}{{ "]" }}{% endif %}{% endfor %}{{ '[/AVAILABLE_TOOLS]' }}{% endif %}
====
{%- macro render_typescript_type(param_spec, required_params, is_nullable=false) -%}
    {%- if param_spec.type is mapping or param_spec.type is not string -%}{{ param_spec.type|join(" | ") }}
    {%- elif param_spec.type == "string" -%}{%- if param_spec.enum -%}↵
{{ '"' + param_spec.enum|join('" | "') + '"' }}{%- else -%}string{%- if is_nullable %} | null{%- endif -%}↵
{%- endif -%}
    {%- else -%}number{%- endif -%}
{%- endmacro -%}
{%- for tool in tools %}{%- for name, spec in tool.function.parameters.properties.items() %}
{{ name }}{{ '' if name in (tool.function.parameters.required or []) else '?' }}↵
: {{ render_typescript_type(spec, tool.function.parameters.required) }}
{%- if spec.description %} // {{ spec.description }}{%- endif %},
{%- endfor %}{%- endfor %}
====
{% set content = messages[2].content %}{% if '</think>' in content %}↵
{% set content = (content.split('</think>')|last).lstrip('\n') %}{% endif %}[{{ content }}↵
]{{ content.strip().split('\n')[-1] }}
====
{% for m in messages %}{% if m.content is string %}{{ m.content }}{% elif m.content is sequence %}↵
{% for c in m.content %}{{ c['text'] if c['type'] == 'text' else '<start_of_image>' }}{% endfor %}↵
{% elif m.content is none %}nothing{% endif %}{{ "\n" if not loop.last }}{% endfor %}
====
{%- set role_indicators = {'user': '<|User|>', 'assistant': '<|Assistant|>'} -%}
{%- for m in messages if m.role in role_indicators -%}↵
{{ role_indicators[m.role] ~ (m.content if m.content is string else '') }}{%- endfor -%}
====
{% for message in messages %}{% set role = {'system': 'im_system', 'tool': 'im_tool'}.get(message.role, ↵
message.role) %}<|{{ role }}|>{{ message.get('name') or message['role'] }}<|im_middle|>{% endfor %}
====
{{ strftime_now('%d %b %Y') }}|{{ strftime_now("%Y-%m-%d") }}|{{ strftime_now('%z%Z%f') }}↵
|{{ strftime_now('%A %-d %B, %H:%M') }}
====
{%- set yesterday_day = strftime_now("%d")|int - 1 -%}{{ yesterday_day ~ strftime_now("/%m/%Y") }}↵
{{ '%02d' % yesterday_day }}
====
{%- if documents %}{{ documents|length }}{% else %}{{ documents is defined }}{% endif %}{{ documents }}
====
{% set loop_messages = messages|rejectattr('role', 'in', ['system', 'tool'])|list %}↵
{% for m in loop_messages %}{{ loop.index }}{{ m.role }}{{ m is sameas loop_messages[-1] }};{% endfor %}
====
{{ '<tool_call>\n{"name": "' + messages[4].tool_calls[0].function.name + '", "arguments": ' + ↵
(messages[4].tool_calls[0].function.arguments|tojson) + '}\n</tool_call>' }}
====
{% set args = messages[4].tool_calls[0].function.arguments %}{% for k in args %}<arg_key>{{ k }}↵
</arg_key><arg_value>{{ args[k] if args[k] is string else args[k]|tojson }}</arg_value>{% endfor %}{{ args }}
====
{% filter indent(4) %}a
b

c{% endfilter %}|{{ 'x\n\ny'|indent(2, true, true) }}|{{ 'x\ny'|indent('> ') }}
====
{{ 'x'|center(5) }}|{{ 'x'.ljust(3, '.') }}|{{ '-5'.zfill(4) }}|{{ 'a\tb'.expandtabs(4) }}↵
|{{ 'abc'|truncate(3) }}|{{ 'a b c d e f g h'|truncate(8) }}
====
{{ '<a>'|e }}{{ '<a>'|e|e }}{{ ('<a>'|e) + '<' }}{{ '<b>x</b> &amp; y'|striptags }}{{ ['<'|e] }}↵
{{ '<'|e ~ '<' }}{{ {'a': '<', 'b': none}|xmlattr }}
====
{{ 'a b/c?é&'|urlencode }}{{ {'a b': 'c/d', 'é': 1}|urlencode }}{{ 1000|filesizeformat }}↵
{{ 1|filesizeformat }}{{ 'a b, c-d'|wordcount }}
====
{{ [1, 2, 3, 4, 5]|batch(2, 0)|list }}{{ [1, 2, 3, 4, 5]|slice(2)|list }}↵
{{ people|groupby('city')|map('first')|list }}{{ xs|reverse|list }}{{ 'abc'|reverse }}
====
{{ '42.9'|int }}{{ '0x1F'|int(0, 16) }}{{ 'x'|int(7) }}{{ none|int }}{{ '1_000'|int }}{{ '1e3'|int }}↵
{{ 'inf'|int }}{{ 'inf'|float }}{{ true|int }}{{ '٣'|int }}
====
{{ range(5)|list }}{{ range(1, 8, 3)|list }}{{ range(3, 0, -1)|list }}{{ range(3) }}{{ dict(a=1, b='x') }}↵
{{ dict(d, a=0).a }}
====
{% set j = joiner('; ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}{% set c = cycler('a', 'b') %}↵
{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
====
{% set x = nope or 'fallback' %}{{ x }}{{ nope|default('d') }}{{ ''|default('d', true) }}↵
{{ none|default('d') }}{{ s0 or 'e' }}{{ 0 and 1 }}{{ [] or {} }}
====
{% if '' %}a{% elif [] %}b{% elif 0.0 %}c{% elif {} %}d{% elif () %}e{% elif none %}f{% elif ' ' %}↵
g{% endif %}
====
{% print 1, 'a' %}{% if yes: %}x{% endif %}{% for x in xs: %}{{ x }}{% endfor %}
====
{% include 'x' %}
====
{% do xs %}
====
{% endif %}
====
{% if true %}
====
{{ 1 }
====
{{ }}
====
{{ 01 }}
====
{{ 1. }}
====
{{ .5 }}
====
{{ 'a }}
====
{{ a b }}
====
{{ a..b }}
====
{{ x is }}
====
{{ {1, 2} }}
====
{{ [x for x in xs] }}
====
{{ lambda: 1 }}
====
{{ f"x" }}
====
{{ a ? b : c }}
====
{{ a && b }}
====
{{ not }}
====
{{ x = 1 }}
====
{% set x = %}
====
{% set 1 = 2 %}
====
{% set x.y.z = 1 %}
====
{% for in xs %}{% endfor %}
====
{% unknown %}
====
{# never closed
====
{% raw %} never closed
====
{{ 'a' if }}
====
{{ (1, 2 }}
====
{{ [1, 2) }}
====
{{ 'x'|upper| }}
====
{{ m(a=1, 2) }}
====
{{ m(**d, *xs) }}
====
{{ 1 if 2 else }}
====
{{ 1 is divisibleby }}
====
{{ true.x }}{{ none.x }}{{ (1).x }}{{ 1.5.x }}
====
{{ [1, 2, 3].index(4) }}
====
{{ 'abc'.index('z') }}
====
{{ {}['a']['b'] }}
====
{{ 1 / 0 }}
====
{{ 1 % 0 }}
====
{{ 1.0 // 0 }}
====
{{ 'a' + 1 }}
====
{{ [] < {} }}
====
{{ {[]: 1} }}
====
{{ d < 1 }}
====
{{ messages[0].content.nope() }}
====
{{ raise_exception('stop: ' ~ messages[0].role) }}
====
{{ dict(1) }}
====
{{ 5() }}
====
{{ xs.__class__.__mro__ }}
====
{{ xs[1:2, 3] }}
====
{{ nil[1:] }}
====
{{ xs[::0] }}
'''


def by_hand():
    """Each also with a newline at its end, and with the line ends of Windows."""
    for template in HAND[1:-1].replace("↵\n", "").replace("␠", "").split("\n====\n"):
        spans = bool(re.search("{%-? generation", template))
        for variant in (template, template + "\n", template.replace("\n", "\r\n")):
            yield case_of(variant, spans)


# ---- the two sides -----------------------------------------------------------------------------------------

def noon(pattern):
    return datetime.datetime(2026, 11, 23, 12, 0).strftime(pattern)


class Reference:
    """Jinja2 as transformers sets it up, at a fixed time."""

    def __init__(self, source=""):
        self.env = chat_template_utils._compile_jinja_template(source).environment
        self.env.globals["strftime_now"] = noon

    def answer(self, case):
        values = copy.deepcopy(case.values)  # xs|indent adds to the list before it fails
        try:
            template = self.env.from_string(case.template)
            if not case.spans:
                return {"text": template.render(**values)}
            render = chat_template_utils._render_with_assistant_indices
            text, spans = render(compiled_template=template, **values)
            return {"text": text, "generation": spans}
        except Exception as e:  # a template may fail with whatever Python raises
            return {"error": f"{type(e).__name__}: {e}"}

    def answers(self, cases):
        """With a bound on memory, for a string that is repeated too often."""
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm") as f:
            used = int(f.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
        try:
            return [self.answer(case) for case in cases]
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


INCOMPARABLE = re.compile(r" at 0x|[0-9]{19}|[0-9]j\)|<(class|function|built-in|bound|generator)", re.I)
# How much memory there is says nothing, and infinite constants become names in the code that Jinja2 makes.
ACCIDENTAL = re.compile(r"MemoryError|NameError: name '(inf|nan)' is not defined")


def is_comparable(theirs):
    try:
        theirs.get("text", "").encode()
    except UnicodeEncodeError:
        return False
    return not ACCIDENTAL.match(theirs.get("error", "")) and not INCOMPARABLE.search(theirs.get("text", ""))


def behind(function, change):
    """A filter whose value goes through a function."""
    changed = lambda *args, **kwargs: change(function(*args, **kwargs))
    changed.__dict__.update(getattr(function, "__dict__", {}))
    return changed


class Nameless:
    """A generator that refuses to print its address."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return self.items

    def __repr__(self):
        raise TypeError("an address says nothing")

    @classmethod
    def instead(cls, value):
        return cls(value) if isinstance(value, collections.abc.Iterator) else value


def exceeds_64_bits(case):
    """Whether some number on the way does: the sandbox of Jinja2 lets one look at its operators."""
    reference, seen = Reference("{# that looks at numbers #}"), []
    env, filters = reference.env, Reference().env.filters

    def look(value):
        if isinstance(value, (int, complex)) and not (isinstance(value, int) and -2 ** 63 <= value < 2 ** 63):
            seen.append(value)
        return value

    env.intercepted_binops = frozenset(env.binop_table)
    env.call_binop = lambda context, operator, left, right: look(env.binop_table[operator](left, right))
    env.filters = filters | {name: behind(filters[name], look) for name in ("int", "sum", "round")}
    reference.answer(case)
    return bool(seen)


def is_accident(case, theirs):
    """Whether it is otherwise where no address is printed and nothing computed early, as none[1:] is: empty
    then, an error later."""
    reference, generator = Reference("{# that computes nothing early #}"), jinja2.compiler.CodeGenerator
    early = generator._output_child_to_const

    def only_text(self, node, *rest):
        if isinstance(node, jinja2.nodes.TemplateData):
            return early(self, node, *rest)
        raise jinja2.nodes.Impossible()

    env, filters = reference.env, Reference().env.filters
    env.filters = {name: behind(function, Nameless.instead) for name, function in filters.items()}
    env.optimized, generator._output_child_to_const = False, only_text
    try:
        late = reference.answer(case)
    finally:
        generator._output_child_to_const = early
    return late.get("text") != theirs.get("text")


def build_tool(folder):
    path = os.path.join(folder, "template_tool")
    wanted = ["jansson", "yaml-0.1", "libpcre2-8", "libutf8proc", "openblas", "lapacke"]
    libs = subprocess.run(["pkg-config", "--libs", *wanted], capture_output=True, text=True).stdout.split()
    flags = ["-std=c17", "-O1", "-D_GNU_SOURCE", f"-I{ROOT}/include", f"-I{ROOT}/src", "-fopenmp"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", path, f"{ROOT}/tests/oracle/template_tool.c",
                    f"{BUILD}/libalphar.a", *libs, "-lm", "-lpthread"], check=True)
    return path


def ask(tool, cases, folder):
    """The answers of one process, as many as it lives to give."""
    requests, replies = os.path.join(folder, "requests"), os.path.join(folder, "replies")
    with open(requests, "w") as f:
        f.writelines(json.dumps({"template": c.template, "values": c.values}) + "\n" for c in cases)
    with open(requests) as source, open(replies, "w") as sink:
        try:
            status = subprocess.run([tool], stdin=source, stdout=sink, timeout=600).returncode
        except subprocess.TimeoutExpired:
            status = "timeout"
    with open(replies, encoding="utf-8") as f:
        lines = f.read().split("\n")[:-1]
    return [json.loads(line) for line in lines], status


def answers(tool, cases, folder):
    """One for each case; where the tool dies, that is the answer, and it starts again behind."""
    out = []
    for _ in range(20):
        some, status = ask(tool, cases[len(out):], folder)
        out += some
        if len(out) >= len(cases):
            return out
        out.append({"fault": f"the tool ended with {status}"})
    return out + [{"fault": "the tool ended too often"}] * (len(cases) - len(out))


def joined(spans):
    """Without the empty ones; those that touch or overlap are one."""
    out = []
    for first, last in sorted(tuple(s) for s in spans if s[0] < s[1]):
        if out and first <= out[-1][1]:
            out[-1][1] = max(out[-1][1], last)
        else:
            out.append([first, last])
    return out


def differs(case, theirs, ours):
    if "fault" in ours:
        return True
    if "error" in theirs or "error" in ours:
        return ("error" in theirs) != ("error" in ours)
    spans_differ = case.spans and joined(theirs["generation"]) != joined(ours["generation"])
    return theirs["text"] != ours["text"] or spans_differ


# ---- reports -----------------------------------------------------------------------------------------------

def report(name, problem=None):
    global failed
    failed |= problem is not None
    print(f"ok {name}" if problem is None else f"not ok {name}: {problem}", flush=True)


def shown(answer):
    return {key: value for key, value in answer.items() if key != "outside"}


def compare(name, cases, theirs, ours, show):
    triples = [t for t in zip(cases, theirs, ours) if is_comparable(t[1])]
    bad = [t for t in triples if differs(*t)]
    bad = [t for t in bad if "fault" in t[2] or not (exceeds_64_bits(t[0]) or is_accident(*t[:2]))]
    report(f"{name} ({len(triples)})", f"{len(bad)} differ" if bad else None)
    # The shortest say most.
    for case, their, our in sorted(bad, key=lambda t: len(t[0].template))[:show]:
        print(f"# template={case.template!r} values={case.values!r}"[:1500],
              f"theirs={shown(their)!r}"[:600], f"ours={shown(our)!r}"[:600])
    reasons = (our.get("error", our.get("fault", "(other text)"))[:70] for _, _, our in bad)
    for reason, n in collections.Counter(reasons).most_common(5):
        print(f"# {n} times ours: {reason}")


def describe(name, cases, theirs, seconds):
    """What the generators make, without a tool."""
    comparable = [t for t in theirs if is_comparable(t)]
    valid = 100 * sum("text" in t for t in comparable) / max(1, len(comparable))
    left = len(cases) - len(comparable)
    print(f"# {name}: {len(cases)} cases, {left} left out, {valid:.0f} % valid, {seconds:.1f} s")
    return len(cases)


# ---- conformance -------------------------------------------------------------------------------------------

def conformance_cases():
    """(name of the template, conversation, case, what is expected)"""
    with open(os.path.join(MATERIAL, "conversations.json"), encoding="utf-8") as f:
        conversations = json.load(f)
    with open(os.path.join(MATERIAL, "expected.json"), encoding="utf-8") as f:
        expected = json.load(f)
    for name in sorted(n for n in os.listdir(MATERIAL) if n.endswith(".jinja")):
        with open(os.path.join(MATERIAL, name), encoding="utf-8") as f:
            source = f.read()
        for c in conversations:
            tokens = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
            values = tokens | c.get("extra", {}) | dict(
                messages=c["messages"], tools=c.get("tools"), documents=None,
                add_generation_prompt=c.get("add_generation_prompt", False))
            yield name, c["name"], Case(source, values), expected[name][c["name"]]


def check_conformance(tool, folder):
    found = list(conformance_cases())
    ours = answers(tool, [case for _, _, case, _ in found], folder)
    by_template = collections.defaultdict(list)
    for (name, conversation, case, want), got in zip(found, ours):
        if "assistant" in want:
            case, want = case._replace(spans=True), dict(want, generation=want["assistant"])
        by_template[name].append((conversation, differs(case, want, got), want, got))
    for name, results in by_template.items():
        bad = [(what, first_difference(want, got)) for what, wrong, want, got in results if wrong]
        report(f"conformance {name} ({len(results)})", f"{len(bad)} differ" if bad else None)
        for what, where in bad[:5]:
            print(f"# {what}: {where}")


def first_difference(want, got):
    if "text" not in want or "text" not in got:
        return f"want {shown(want)!r}"[:400] + f" got {shown(got)!r}"[:400]
    at = len(os.path.commonprefix([want["text"], got["text"]]))
    return f"at character {at}, behind {want['text'][max(0, at - 60):at]!r}: " \
           f"want {want['text'][at:at + 80]!r} got {got['text'][at:at + 80]!r}"


# ---- origins -----------------------------------------------------------------------------------------------

# What messages say is Chinese here, what the template says is Greek, and so is what is no message.
ORIGINS = r'''
Α{{ messages[0].content }}Β{{ messages[1].content }}Γ
{{ 'Α' + messages[0].content + 'Β' }}{{ 'Α' ~ messages[1].content ~ bos_token }}
{% for m in messages %}Α{{ m.content|trim }}{{ m['content'].strip() }}Β{% if loop.last %}Γ{% endif %}↵
{% endfor %}
{{ c[1:3] }}Α{{ (c ~ 'ΑΒ')[1:] }}{{ ('Α' ~ c)[0] }}{{ c[-1] }}{{ ('Α' ~ c)[::-1] }}
{% set x %}Α{{ c }}Β{% endset %}{{ x }}{{ x|upper }}{% set y = x ~ 'Γ' %}{{ y }}
{% macro m(t, u='Β') %}Α{{ t }}{{ u }}{% endmacro %}{{ m(c) }}{{ m('Γ', c) }}{{ m(c)|trim }}
{% macro m() %}Α{{ caller(c) }}Β{% endmacro %}{% call(t) m() %}Γ{{ t }}{% endcall %}
{% filter upper %}Α{{ c }}Β{% endfilter %}{% filter indent(2, true) %}Α{{ c }}{% endfilter %}
{{ ['Α', c, bos_token]|join('Β') }}{{ 'Α'.join([c, 'Β']) }}{{ c.join(['Α', 'Β']) }}
{{ c.replace('国', 'Α') }}{{ 'ΑΒ'.replace('Α', c) }}{{ c|replace('国', 'Α') }}{{ 'ΑΒ'|replace('Α', c) }}
{{ 'Α%sΒ' % c }}{{ 'Α%s%sΒ' % (c, 'Γ') }}{{ c % () }}{{ 'Α%(k)s' % {'k': c} }}{{ 'Α%s'|format(c) }}
{{ 'Α{}Β'.format(c) }}{{ 'Α{0}{k}'.format(c, k='Γ') }}{{ 'Α{:>9}Β'.format(c) }}
{{ c|upper }}{{ c|lower }}{{ c|title }}{{ c|capitalize }}{{ 'αβ'|upper ~ c.lower() }}{{ (c ~ 'α').upper() }}
{{ c|center(9) ~ 'Α' }}{{ c.ljust(9, 'Α') }}{{ c.rjust(9, 'Α') }}{{ 'Α'.ljust(3, c[0]) }}{{ 'Α'|center(5) }}
{{ c|e }}{{ ('<Α' ~ c)|e }}{{ c|safe }}{{ ('Α'|safe) + c }}{{ (c|e) ~ 'Α' }}{{ ('<i>Α' ~ c)|striptags }}
{{ c|tojson }}{{ messages|tojson }}{{ {'Α': c}|tojson }}{{ tools|tojson(indent=2) }}{{ ['Α', c]|tojson }}
{{ [c, 'Α'] }}{{ {'Α': c} }}{{ (c, 'Α') }}{{ messages[0] }}{{ [c]|string ~ 'Α' }}
{% for k, v in messages[0].items() %}{{ k }}Α{{ v }}{% endfor %}{% for k, v in tools[0]|items %}{{ k }}↵
{{ v }}Α{% endfor %}
{% for ch in c %}{{ ch }}Α{% endfor %}{{ c|list|join('Α') }}{{ c|reverse }}{{ c|first }}{{ c|last }}↵
Α{{ c|sort|join }}
{{ c.split('国')|join('Α') }}{{ c.partition('国')|join('Α') }}{{ c.splitlines()|join('Α') }}↵
{{ (c ~ 'Α').split('国')[-1] }}
{{ messages|map(attribute='content')|join('Α') }}{{ messages|selectattr('role', 'eq', ↵
'user')|map(attribute='content')|first }}
{{ c * 2 ~ 'Α' * 2 }}{{ ('Α' ~ c) * 2 }}{{ c|truncate(4, true, 'Α', 0) }}{{ (c ~ ' ' ~ 'Α')|wordwrap(3) }}
{{ c|default('Α') }}{{ nope|default(c) }}{{ nope|default('Α') }}{{ c or 'Α' }}{{ 'Α' and c }}↵
{{ c if c else 'Α' }}
{% set ns = namespace(t='Α') %}{{ ns.t }}{% set ns.t = ns.t ~ c %}{{ ns.t }}{{ dict(a=c).a }}↵
{{ dict(a='Α')['a'] }}
{% with t = c, u = 'Α' %}{{ t }}{{ u }}{% endwith %}{% set t, u = c, 'Α' %}{{ t }}{{ u }}{{ [c, 'Α'][1] }}↵
{{ {'k': c}.k }}
{{ {'国': 'Α'}[c[1]] }}{{ {'user': 'Α', 'assistant': 'Β'}[messages[0].role] }}↵
{{ {c: 'Α'}|items|first|join('Β') }}
{{ c|batch(2)|map('join')|join('Α') }}{{ ↵
messages|groupby('role')|map(attribute='list')|first|map(attribute='content')|join('Α') }}
{% for m in messages %}{% generation %}Α{{ m.content }}{% endgeneration %}Β{% endfor %}↵
{{ c.removeprefix('中') }}{{ c.removesuffix('文') }}Α
{{ c|indent(2, true) }}{{ ('Α\n' ~ c)|indent('Β') }}{{ c.expandtabs(2) }}{{ 'Α\t'.expandtabs(2) }}↵
{{ ('Α' ~ c).swapcase() }}
'''


def origin_cases():
    messages = [{"role": "user", "content": "中国 的\n文"}, {"role": "assistant", "content": "好 的!", "name": "国"}]
    values = {"messages": messages, "tools": [{"name": "工", "说": ["明", 1]}], "bos_token": "Σ"}
    for template in ORIGINS.strip().replace("↵\n", "").split("\n"):
        yield Case("{% set c = messages[0].content %}" + template, values)


def wrong_origins(answer):
    """(character, place) of those that are on the wrong side."""
    outside = {n for first, last in answer["outside"] for n in range(first, last)}
    chinese = {n for n, ch in enumerate(answer["text"]) if "\u4e00" <= ch <= "\u9fff"}
    greek = {n for n, ch in enumerate(answer["text"]) if "\u0370" <= ch <= "\u03ff"}
    return [(answer["text"][n], n) for n in sorted((chinese - outside) | (greek & outside))]


def check_origins(tool, folder, reference):
    cases = list(origin_cases())
    bad = []
    for case, ours in zip(cases, answers(tool, cases, folder)):
        theirs = reference.answer(case)
        if differs(case, theirs, ours):
            bad.append(f"# template={case.template!r} theirs={theirs!r} ours={shown(ours)!r}")
        elif wrong := wrong_origins(ours):
            bad.append(f"# template={case.template!r} text={ours['text']!r} {wrong=}")
    report(f"origins ({len(cases)})", f"{len(bad)} are wrong" if bad else None)
    print(*bad, sep="\n", end="\n" if bad else "")


# ---- all of it ---------------------------------------------------------------------------------------------

def all_cases(args):
    """By name: drawn, mangled and written ones."""
    hand = list(by_hand())
    found = {name: generated(name, args.seed, args.scale) for name in KINDS}
    some = hand + [c for name in ("chats", "macros", "loops", "operators") for c in found[name][:150]]
    found["mangled"] = mangled([c.template for c in some], args.seed, int(1500 * args.scale))
    found["by hand"] = hand
    return {name: cases for name, cases in found.items() if not args.only or args.only in name}


def reference_only(args):
    reference, begin, total = Reference(), time.time(), 0
    for name, cases in all_cases(args).items():
        start = time.time()
        theirs = reference.answers(cases)
        total += describe(name, cases, theirs, time.time() - start)
    for case in origin_cases():
        assert "text" in reference.answer(case), (case.template, reference.answer(case))
    print(f"# {total} cases in {time.time() - begin:.1f} s")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="the kinds of cases whose name has this in it")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("ALPHAR_SEED", 7)))
    parser.add_argument("--scale", type=float, default=1, help="how many cases: 10 for ten times as many")
    parser.add_argument("--show", type=int, default=10, help="how many differing cases of a kind to print")
    parser.add_argument("--tool", help="a template_tool that is built already")
    parser.add_argument("--reference", action="store_true")
    return parser.parse_args()


def main():
    args = parse_arguments()
    if args.reference:
        return reference_only(args)
    reference = Reference()
    with tempfile.TemporaryDirectory() as folder:
        tool = args.tool or build_tool(folder)
        if os.path.isdir(MATERIAL) and not args.only:
            check_conformance(tool, folder)
        elif not args.only:
            print("skip conformance of chat templates: ../shared/material is not there")
        for name, cases in all_cases(args).items():
            ours = answers(tool, cases, folder)
            compare(name, cases, reference.answers(cases), ours, args.show)
        if not args.only or args.only in "origins":
            check_origins(tool, folder, reference)
    return failed


if __name__ == "__main__":
    sys.exit(main())
