"""The tables of README.md and docs/performance.md and its figure are what bench/page makes of bench/results.csv, and that table is whole.
Prints ok / not ok lines."""

import csv
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.pages import ROOT, finish, read, report  # noqa: E402

RESULTS = os.path.join(ROOT, "bench", "results.csv")
sys.path.insert(0, os.path.join(ROOT, "bench"))
import table  # noqa: E402

with tempfile.TemporaryDirectory() as work:
    subprocess.run([sys.executable, os.path.join(ROOT, "bench", "page"), work], check=True)
    for name in ("README.md", "docs/performance.md", "docs/performance/roofline.svg"):
        report(read(work, name) == read(ROOT, name), f"{name} is what bench/results.csv gives", "run bench/page")
xml.etree.ElementTree.fromstring(read(ROOT, "docs", "performance", "roofline.svg"))
report(b"(performance/roofline.svg)" in read(ROOT, "docs", "performance.md"), "docs/performance.md shows the figure", "not linked")

with open(RESULTS, encoding="utf-8", newline="") as f:
    header, *lines = csv.reader(f)
report(tuple(header) == table.COLUMNS, "the table has its columns", str(header))
wrong = []
for number, line in enumerate(lines, 2):
    row = dict(zip(header, line))
    spread = [float(row[k]) for k in ("least", "ratio", "most")] if row.get("ratio") else [0.0]
    good = len(line) == len(header) and row["commit"] and float(row["ours"]) > 0 and int(row["rounds"]) >= 1 and spread == sorted(spread)
    good = good and bool(row["ratio"]) == bool(row["theirs"])
    if not good:
        wrong.append(number)
report(lines and not wrong, "every row has a commit, figures above 0 and an ordered spread", f"lines {wrong}")

with tempfile.TemporaryDirectory() as work:
    program = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "alphar")
    out = table.Table(os.path.join(work, "r.csv"), program, 2)
    out.add("g", "w, with a comma", "them", "tokens/s", [4.0, 9.0, 10.0], [2.0, 3.0, 5.0])
    out.add("g", "alone", "", "s", 0.25)
    with open(os.path.join(work, "r.csv"), encoding="utf-8", newline="") as f:
        first, second = csv.DictReader(f)
    got = [first[k] for k in ("what", "ours", "theirs", "ratio", "least", "most", "rounds")]
    report(got == ["w, with a comma", "9", "3", "2", "2", "3", "3"], "a ratio is the median of the rounds' own", str(got))
    got = [second[k] for k in ("ours", "theirs", "ratio", "least", "most")]
    report(got == ["0.25", "", "", "", ""], "what has no rival has no ratio", str(got))
finish()
