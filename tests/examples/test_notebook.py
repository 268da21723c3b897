"""The quick-start notebook runs, and prints what it shows."""

from __future__ import annotations

import json
import subprocess
import sys

from policy import ROOT, needs

TOOL, NOTEBOOK = ROOT / "tools" / "notebook.py", ROOT / "examples" / "quickstart.ipynb"


def check(notebook):
    return subprocess.run([sys.executable, str(TOOL), str(notebook)], capture_output=True, text=True)


@needs("sklearn", "matplotlib")
def test_its_cells_print_what_it_shows():
    done = check(NOTEBOOK)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_a_notebook_with_outputs_that_links_to_what_exists():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in code) == len(code) - 1  # all but the imports
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        for target in [part.split(")")[0] for part in "".join(cell["source"]).split("](")[1:]]:
            assert (NOTEBOOK.parent / target).exists(), target


@needs("matplotlib")
def test_another_output_or_an_error_is_told(tmp_path):
    cell = lambda source, *outputs: {"cell_type": "code", "source": [source], "outputs": list(outputs)}
    stream = lambda text: {"output_type": "stream", "name": "stdout", "text": [text]}
    path = tmp_path / "n.ipynb"
    for source, text, code, words in (
        ("print('a 1.00')", "a 1.01\n", 0, "1 cells print"),
        ("print('a 1.00')", "a 1.10\n", 1, "cell 1: expected"),
        ("%pip install x\nprint('b')", "a\n", 1, "cell 1: expected"),
        ("1 / 0", "", 1, "ZeroDivisionError"),
    ):
        path.write_text(json.dumps({"cells": [cell(source, stream(text))]}))
        done = check(path)
        assert done.returncode == code and words in done.stdout + done.stderr, done
