"""Rules of the house that can be read off the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((ROOT / "python" / "weft").rglob("*.py"))
SOURCES = [
    path
    for folder in ("python", "csrc", "kernels", "tests", "benchmarks", "examples", "tools")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".h", ".cpp", ".inc", ".cu", ".cuh", ".sh")
]

# What runs text or bytes as code: neither a checkpoint nor a data set may ever reach one of these.
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch"}
# `weft bench` times the peers that are installed and loads no file
PEERS = {
    f"python/weft/bench/{name}.py": {"torch"} for name in ("attention", "conv", "gemm", "optim", "rowwise", "train")
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
COMPILERS = {"python/weft/custom/emit.py": {"compile"}}  # of trees built from a function of this process, not of text


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_stays_short_and_finished(path):
    text = path.read_text()
    assert text.count("\n") < 500
    unfinished = re.findall(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", text)
    assert not unfinished


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_nothing_is_unpickled_evaluated_or_asserted(path):
    forbidden = FORBIDDEN_MODULES - PEERS.get(name_of(path), set())
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & forbidden, where
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in forbidden, where
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else None
            assert called not in FORBIDDEN_CALLS - COMPILERS.get(name_of(path), set()), where
            for keyword in node.keywords:
                allowed = keyword.arg != "allow_pickle" or getattr(keyword.value, "value", True) is False
                assert allowed, where
        elif isinstance(node, ast.Assert):
            pytest.fail(f"{where}: raise, never assert")


def test_nothing_speaks_of_one_machine():
    for path in [*SOURCES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", *ROOT.glob("docs/*.md")]:
        assert not re.search(r"/(?:work|root|home)/", path.read_text()), name_of(path)


def test_every_environment_variable_is_documented():
    read = re.compile(r'(?:environ(?:\.get)?[(\[]|getenv\()"(WEFT_\w+)')
    found = {name for path in [*PACKAGE, *(ROOT / "csrc").rglob("*.cpp"), ROOT / "setup.py"] for name in
             read.findall(path.read_text())}  # fmt: skip
    listed = set(re.findall(r"^\| `(WEFT_\w+)` \|", (ROOT / "docs" / "environment.md").read_text(), re.M))
    assert found == listed and len(found) > 10
