"""Types that users see: strict checks of user code over what a wheel ships, and stubs that say what there is."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import weft
from policy import HANG, needs

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "weft"


def stubs():
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "tools" / "stubs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(path, of=None):
    """The names that a stub declares, or those of one of its classes."""
    body = ast.parse(path.read_text()).body
    if of is not None:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == of).body
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return names | {node.target.id for node in body if isinstance(node, ast.AnnAssign)}


def public(names):
    return {name for name in names if not name.startswith("_")}


@needs("native")
def test_every_binding_is_in_the_stub():
    from weft import _cpu

    assert public(declared(PACKAGE / "_cpu.pyi")) - {"Array", "Pair", "Pads"} == public(dir(_cpu))


def test_every_method_of_tensor_is_declared():
    found = declared(PACKAGE / "tensor_methods.pyi", of="TensorMethods")
    ours = declared(PACKAGE / "autograd.py", of="Tensor") | set(weft.Tensor.__slots__)
    there = {name for name in vars(weft.Tensor) if name not in vars(object)} | {
        "__eq__",
        "__ne__",
        "__lt__",
        "__hash__",
    }
    there -= {"__module__", "__doc__", "__slots__", "__array_priority__", "__weakref__", "_hooks"}
    assert there - found - ours == set()
    assert found - there - {"__ge__", "__gt__", "__le__"} == set()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The stubs that a build writes."""
    folder = tmp_path_factory.mktemp("stubs")
    stubs().write(folder)
    return folder


@pytest.mark.parametrize("package", ["weft", "weft.nn", "weft.nn.functional", "weft.optim"])
def test_wheels_declare_every_public_name(package, written):
    """What the package exports at run time, less modules and what leaks from the standard library."""
    text = (written / Path(*package.split(".")) / "__init__.pyi").read_text()
    said = set(re.findall(r"^from .* as (\w+)$", text, re.MULTILINE)) | set(re.findall(r"^(\w+):", text, re.MULTILINE))
    starred = re.findall(r"^from (\S+) import \*$", text, re.MULTILINE)
    runtime = importlib.import_module(package)
    known = said.union(*[dir(importlib.import_module(module)) for module in starred])
    there = {name for name, value in vars(runtime).items() if type(value).__name__ not in ("module", "_Feature")}
    assert public(there) - known - {"Any", "name", "function"} == set()
    if package == "weft":  # what is imported late, too
        assert {"nn", "optim", "train", "save", "load", "profile", "capture", "bfloat16", "Tensor", "exp"} <= said
    assert [name for name in sorted(said - {"onnx"}) if not hasattr(runtime, name)] == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as a wheel has it: links to the sources, and the stubs that the build writes."""
    folder = tmp_path_factory.mktemp("site")
    for path in PACKAGE.rglob("*.py*"):
        if path.suffix in (".py", ".pyi"):
            link = folder / "weft" / path.relative_to(PACKAGE)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    assert (PACKAGE / "py.typed").exists()
    shutil.copy(PACKAGE / "py.typed", folder / "weft")
    stubs().write(folder)
    return folder


@pytest.mark.slow  # mypy reads NumPy's stubs and the whole package
@needs("mypy")
def test_user_code_is_checked_strictly(installed, tmp_path):
    user = Path(__file__).with_name("user_code.py")
    options = ["--strict", "--follow-imports=silent", "--no-error-summary", "--hide-error-context"]
    environment = os.environ | {"MYPYPATH": str(installed), "MYPY_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "mypy", *options, str(user)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=HANG)
    got = {}
    for line in done.stdout.splitlines():
        found = re.search(r"user_code\.py:(\d+): (error|note): (.*)", line)
        assert found, line
        if found[2] == "note" and "Revealed type" not in found[3]:
            continue
        if found[2] == "note":
            got[int(found[1])] = re.search(r'type is "(?:.*\.)?(\w+)"', found[3])[1]
        else:
            got[int(found[1])] = "error: " + re.search(r"\[([\w-]+)\]$", found[3])[1]
    lines = user.read_text().splitlines()
    expected = {
        i: re.search(r"# (Tensor|error: [\w-]+)$", line)[1]
        for i, line in enumerate(lines, 1)
        if re.search(r"# (Tensor|error: [\w-]+)$", line)
    }
    assert len(expected) == 11 and got == expected
