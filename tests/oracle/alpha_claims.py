"""docs/alpha-claims.md is what docs/claims/page makes of the measured tables, these are whole, and every sweep behind them is one that Alphar takes.
Prints ok / not ok lines."""

import csv
import glob
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.pages import ROOT, finish, read, report  # noqa: E402

CLAIMS = os.path.join(ROOT, "docs", "claims")
ALPHAR = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "alphar")

with tempfile.TemporaryDirectory() as work:
    subprocess.run([sys.executable, os.path.join(CLAIMS, "page"), work], check=True)
    report(read(work, "alpha-claims.md") == read(ROOT, "docs", "alpha-claims.md"), "the page is what the tables give", "run docs/claims/page")

with open(os.path.join(CLAIMS, "results.csv"), encoding="utf-8", newline="") as f:
    rows = list(csv.DictReader(f))
# What a candidate learns proves nothing here: a step of one sample, and one sample held out.
with open(os.path.join(ROOT, "demo", "task", "eval.jsonl"), encoding="utf-8") as f:
    held_out = f.readline()
grids = sorted(glob.glob(os.path.join(ROOT, "examples", "claims", "*.yaml")))
for grid in grids:
    name = os.path.basename(grid)[: -len(".yaml")]
    with tempfile.TemporaryDirectory() as work:
        out, one = os.path.join(work, "o"), os.path.join(work, "one.jsonl")
        with open(one, "w", encoding="utf-8") as f:
            f.write(held_out)
        r = subprocess.run([ALPHAR, "sweep", "--grid", grid, "--out", out, "--steps", "1", "--batch", "1", "--eval-data", one, "--compute", "f32", "--json", "--quiet"], cwd=ROOT, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        made = [x for x in os.listdir(out) if x.startswith("run-")] if os.path.isdir(out) else []
    measured = [x for x in rows if x["claim"] == name]
    report(r.returncode == 0 and len(made) == len(measured) > 0, f"{name}: a row for each candidate", f"{len(made)} candidates, {len(measured)} rows: {r.stderr}")
report(len(rows) == sum(x["claim"] + ".yaml" in map(os.path.basename, grids) for x in rows), "no row without a sweep", "")
bad = [x for x in rows if not float(x["loss"]) > 0 or not float(x["strength"]) >= 0]
report(not bad, "every row has a loss and a strength", str(bad))
finish()
