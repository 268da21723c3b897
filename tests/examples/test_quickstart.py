"""The README's example is the file in examples/, and its output is what that file prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from policy import needs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "quickstart.py"


@needs("sklearn")
def test_the_example_of_the_readme_does_what_the_readme_says():
    readme = (ROOT / "README.md").read_text()
    assert SCRIPT.read_text() in readme
    printed = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True).stdout
    shown = re.search(r"    epoch 1: loss.*?are right\n", readme, re.DOTALL)[0].replace("    ", "")
    # Other instruction sets round differently, so the figures may differ a little; the words may not.
    number = re.compile(r"\d+\.\d+|\d+(?= of)")
    assert number.sub("#", printed) == number.sub("#", shown)
    losses, rights = ([float(x) for x in number.findall(text)] for text in (printed, shown))
    assert all(abs(a - b) <= 0.02 + 0.02 * b for a, b in zip(losses, rights, strict=True))
