"""Fuzz target: the reader of ONNX models."""

from __future__ import annotations

import random

from mutated_onnx import SEEDS

from weft.onnx.module import OnnxModule, parsed


def onnx(data: bytes) -> None:
    """A model from its bytes: a module, or a ValueError with words."""
    try:
        OnnxModule(parsed(data, "model"))
    except ValueError as error:
        if not str(error):
            raise AssertionError("no words") from None


TARGETS = {"onnx": (onnx, lambda: [seed(random.Random(0)).SerializeToString() for seed in SEEDS])}
