"""What can be wrong with a model file."""

from __future__ import annotations


class UnsupportedError(ValueError):
    """A model asks for something of ONNX that Weft does not have; `weft.onnx.operators.unsupported` says why."""
