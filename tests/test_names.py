"""Public namespaces: every name is meant to be there, and says what it is for."""

from __future__ import annotations

import importlib
import inspect
import types

import pytest

import weft

NAMESPACES = """
    weft weft.nn weft.nn.functional weft.optim weft.data weft.train weft.metrics weft.io weft.models weft.linalg
    weft.fft weft.random weft.testing weft.nn.init weft.optim.lr_scheduler weft.vision
""".split()
WITHOUT_EXAMPLES = {"weft.models"}  # those of a configuration's size


def public(namespace):
    module = importlib.import_module(namespace)
    names = getattr(module, "__all__", [name for name in dir(module) if not name.startswith("_")])
    return {name: getattr(module, name) for name in names if not isinstance(getattr(module, name), types.ModuleType)}


def is_dtype(value):
    return isinstance(value, type) and value.__module__ == "numpy"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_no_name_is_a_leaked_import(namespace):
    allowed = {"weft.linalg": {"LinAlgError"}}.get(namespace, set())
    for name, value in public(namespace).items():
        home = getattr(value, "__module__", None) or "weft"
        assert home.startswith("weft") or is_dtype(value) or name in allowed, f"{namespace}.{name} of {home}"
    module = importlib.import_module(namespace)
    if not hasattr(module, "__path__"):  # a file, whose imports `__all__` leaves out
        return
    modules = {name for name in dir(module) if isinstance(getattr(module, name), types.ModuleType)}
    foreign = {name for name in modules if not name.startswith("_") and not
               getattr(module, name).__name__.startswith("weft")}  # fmt: skip
    assert not foreign


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_name_has_a_docstring(namespace):
    missing = [name for name, value in public(namespace).items() if callable(value) and not inspect.getdoc(value)]
    assert not missing


@pytest.mark.parametrize("namespace", [name for name in NAMESPACES if name not in WITHOUT_EXAMPLES])
def test_every_function_and_class_has_an_example(namespace):
    """But dtypes and exceptions."""
    missing = []
    for name, value in public(namespace).items():
        plain = is_dtype(value) or (isinstance(value, type) and issubclass(value, Exception))
        if callable(value) and not plain and ">>>" not in (inspect.getdoc(value) or ""):
            missing.append(name)
    assert not missing


def test_what_only_weft_uses_is_hidden():
    for name in ("Any", "importlib", "LAZY", "annotations"):
        assert not hasattr(weft, name), name
    F = weft.nn.functional
    for name in ("shape_of", "tuple_of", "conv_padding", "layers"):
        assert name not in dir(F) and name not in F.__all__, name
    assert not any(hasattr(F, name) for name in ("shape_of", "tuple_of", "conv_padding"))
