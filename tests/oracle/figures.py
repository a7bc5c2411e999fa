"""The committed figures of docs/alpha.md are what docs/figures/make draws from the committed CSV files, and the page shows
each of them.  Prints ok / not ok lines."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.pages import ROOT, finish, read, report  # noqa: E402

FIGURES = os.path.join(ROOT, "docs", "figures")
with tempfile.TemporaryDirectory() as work:
    subprocess.run([sys.executable, os.path.join(FIGURES, "make"), work], check=True)
    drawn = sorted(os.listdir(work))
    committed = sorted(name for name in os.listdir(FIGURES) if name.endswith(".svg"))
    report(drawn == committed and drawn, "every figure is drawn", f"drawn {drawn}, committed {committed}")
    page = read(ROOT, "docs", "alpha.md").decode()
    for name in committed:
        same = name in drawn and read(work, name) == read(FIGURES, name)
        report(same, f"{name} is what its CSV gives", "run docs/figures/make")
        report(f"(figures/{name})" in page, f"docs/alpha.md shows {name}", "not linked")
        xml.etree.ElementTree.fromstring(read(FIGURES, name))
finish()
