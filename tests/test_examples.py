"""The examples in docstrings compute what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
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
    if ">>>" in path.read_text() or path.parent.name == "ops"
]
NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")
parser = doctest.DocTestParser()


class Checker(doctest.OutputChecker):
    """Numbers with a point may differ in the last digits, which are the processor's."""

    def check_output(self, want, got, options):
        if super().check_output(want, got, options):
            return True
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (want, got)]
        texts = [re.sub(r"\s+", "", NUMBER.sub("#", text)) for text in (want, got)]
        return texts[0] == texts[1] and np.allclose(*numbers, rtol=1e-5, atol=1e-7)


def documented(module):
    """(name, object) of what a module defines, the methods of its classes too. Examples run in between, and may load
    more into either."""
    yield module.__name__, module
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__ or not getattr(value, "__doc__", None):
            continue
        yield name, value
        if inspect.isclass(value):
            for attribute, method in list(vars(value).items()):
                if inspect.isfunction(method) or isinstance(method, (property, classmethod, staticmethod)):
                    yield f"{name}.{attribute}", method


def test_digits_may_differ_and_numbers_not():
    same = Checker().check_output
    assert same("array([0.8813736, 1.])\n", "array([0.8813737, 1.])\n", 0)
    assert not same("array([0.8813736])\n", "array([0.8814])\n", 0) and not same("array([1, 2])", "array([1, 3])", 0)


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
        doctest.DocTestRunner(Checker(), verbose=False, optionflags=doctest.ELLIPSIS).run(test, out=said.append)
        assert not said, "".join(said)
