"""The examples in docstrings compute what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import weft
from policy import require

#: Modules whose examples need more than Weft: what `policy.require` wants.
NEEDS = {
    "weft.custom.cuda_kernel": "emulator",
    "weft.custom.scalar_op": "numba",
    "weft.onnx.backend": "onnx",
    "weft.sklearn": "sklearn",
}
PACKAGE = Path(weft.__file__).parent
MODULES = [
    ".".join(("weft", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>>" in path.read_text()
]
parser = doctest.DocTestParser()


def documented(module):
    """(name, object) of what a module defines, the methods of its classes too."""
    yield module.__name__, module
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__ or not getattr(value, "__doc__", None):
            continue
        yield name, value
        if inspect.isclass(value):
            for attribute, method in vars(value).items():
                if inspect.isfunction(method) or isinstance(method, (property, classmethod, staticmethod)):
                    yield f"{name}.{attribute}", method


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    if name in NEEDS:
        require(NEEDS[name])
    module = importlib.import_module(name)
    for title, value in documented(module):
        text = inspect.getdoc(value) or ""
        if ">>>" not in text:
            continue
        names = {**vars(module), "weft": weft, "np": np, "nn": weft.nn, "F": weft.nn.functional}
        said = []
        test = parser.get_doctest(text, names, f"{name}.{title}", None, None)
        doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(test, out=said.append)
        assert not said, "".join(said)
