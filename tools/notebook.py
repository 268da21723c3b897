"""Run a notebook's cells in one process and compare what comes out with what it holds, or write that into it.

    python tools/notebook.py examples/quickstart.ipynb            # exit code 1 where a cell prints something else
    python tools/notebook.py examples/quickstart.ipynb --write

The cells become one Python file; printed text, values of last lines and matplotlib's figures are kept as Jupyter keeps
them. Numbers may differ by 2 %: processors round differently. Lines that begin with % or ! are left out.
"""

from __future__ import annotations

import argparse
import ast
import base64
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NUMBER = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?|\d+")
PROLOGUE = '''\
import json, sys
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
def shown(value):
    """What Jupyter shows of the value of a cell's last line."""
    if value is not None:
        html = value._repr_html_() if hasattr(value, "_repr_html_") else None
        print("\\x1d" + json.dumps({"text": repr(value), "html": html}), end="", flush=True)
def ended(number):
    for figure in map(plt.figure, plt.get_fignums()):
        figure.savefig(f"{sys.argv[1]}/{number:03d}-{figure.number:03d}.png", dpi=80, bbox_inches="tight")
        print("\\x1c" + repr(figure), end="")
    plt.close("all")
    print("\\x1e", end="", flush=True)
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--write", action="store_true", help="keep what comes out in the notebook")
    args = parser.parse_args()
    notebook = json.loads(args.notebook.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    outputs = executed(["".join(cell["source"]) for cell in cells])
    if args.write:
        for number, (cell, output) in enumerate(zip(cells, outputs), 1):
            cell["outputs"], cell["execution_count"] = output, number
        args.notebook.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        return 0
    wrong = [text for number, (cell, output) in enumerate(zip(cells, outputs), 1)
             if (text := difference(number, cell["outputs"], output))]  # fmt: skip
    print("\n".join(wrong) or f"{args.notebook.name}: {len(cells)} cells print what they show")
    return 1 if wrong else 0


def executed(sources: list[str]) -> list[list[dict[str, Any]]]:
    """The outputs of each cell; RuntimeError with its traceback if one raises."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "cells.py"
        parts = [f"{as_script(source)}\nended({number})\n" for number, source in enumerate(sources)]
        script.write_text("\n".join([PROLOGUE, *parts]))
        done = subprocess.run([sys.executable, str(script), folder], capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"cell {done.stdout.count(chr(30)) + 1} of {len(sources)}:\n{done.stderr}")
        texts = done.stdout.split("\x1e")[:-1]
        return [read_outputs(text, sorted(Path(folder).glob(f"{number:03d}-*.png")), number + 1)
                for number, text in enumerate(texts)]  # fmt: skip


def as_script(source: str) -> str:
    """A cell as lines of a file: its last line shown where it is a value, magic left out."""
    lines = ["" if line.startswith(("%", "!")) else line for line in source.splitlines()]
    body = ast.parse("\n".join(lines)).body
    if body and isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";"):
        first = body[-1].lineno - 1
        lines[first:] = ["shown(", *lines[first:], ")"]
    return "\n".join(lines)


def read_outputs(text: str, pictures: list[Path], number: int) -> list[dict[str, Any]]:
    """The outputs of a cell as a notebook holds them: printed text, the last line's value, named pictures."""
    text, *names = text.split("\x1c")
    printed, _, value = text.partition("\x1d")
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)})
    if value:
        found = json.loads(value)
        data = {"text/plain": found["text"].splitlines(keepends=True)}
        if found["html"]:
            data = {"text/html": found["html"].splitlines(keepends=True)} | data
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    for path, name in zip(pictures, names, strict=True):
        data = {"image/png": base64.b64encode(path.read_bytes()).decode() + "\n", "text/plain": [name]}
        outputs.append({"data": data, "metadata": {}, "output_type": "display_data"})
    return outputs


def difference(number: int, kept: list[dict[str, Any]], found: list[dict[str, Any]]) -> str | None:
    """How the outputs of a cell differ from those that the notebook holds, in words, or None."""
    texts = ["".join(output.get("text") or output["data"]["text/plain"]) for output in kept]
    others = ["".join(output.get("text") or output["data"]["text/plain"]) for output in found]
    told = f"cell {number}: expected\n{'---'.join(texts)}\ngot\n{'---'.join(others)}"
    if [NUMBER.sub("#", text) for text in texts] != [NUMBER.sub("#", text) for text in others]:
        return told
    pairs = zip(NUMBER.findall(" ".join(texts)), NUMBER.findall(" ".join(others)))
    return None if all(abs(float(a) - float(b)) <= 0.02 + 0.02 * abs(float(a)) for a, b in pairs) else told


if __name__ == "__main__":
    sys.exit(main())
