"""ONNX: modules to files that any runtime reads, and files back to modules that train.

    weft.onnx.export(model, images, "model.onnx")
    model = weft.onnx.load("model.onnx")                 # a Module: its parameters are the initializers

Needs the extra: pip install 'weft[onnx]'. docs/onnx.md tells what is translated to what, and what is not supported.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Backend", "OnnxModule", "UnsupportedError", "export", "exports", "load"]

HOMES = {
    "export": "exporting",
    "exports": "exporters",
    "load": "module",
    "OnnxModule": "module",
    "Backend": "backend",
    "UnsupportedError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'weft.onnx' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"weft.onnx.{HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError("weft.onnx: expected the package onnx, got none; pip install 'weft[onnx]'") from error
    globals()[name] = value
    return value
