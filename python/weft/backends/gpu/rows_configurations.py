"""The kernels on rows in their shipped kinds, for configurations.py: asked of what chooses among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by its name)
import numpy as np

from weft.backends.gpu import batch_norm, loss, norm, rows
from weft.backends.gpu import softmax as softmax_
from weft.backends.gpu.expressions import STORAGE

Compiled = tuple[Any, ...]
REAL = tuple(map(np.dtype, ("float32", "float16", "bfloat16", "float64")))
#: Lengths of rows, one whole and one odd for each team of threads.
LENGTHS = (32, 31, 128, 99, 512, 511, 1024, 4096, 4095, 8192, 16384, 16383, 32768, 32001, 100_000, 100_001)
REGISTERS = 128  # of a thread in blocks of 128 to 512
OF_1024 = 64


def ceiling(team: rows.Team) -> int:
    return OF_1024 if team.lanes == 1024 else REGISTERS


def softmax() -> Iterator[Compiled]:
    seen = set()
    for dtype in REAL:
        for length in LENGTHS:
            for name, operands in (("softmax", 1), ("log_softmax", 1), ("softmax_backward", 2),
                                   ("log_softmax_backward", 2)):  # fmt: skip
                team = rows.team(length, dtype.itemsize, operands)
                if (name, dtype, team) not in seen:
                    seen.add((name, dtype, team))
                    yield "softmax.cu", name, team.defines(dtype.char), 75, ceiling(team)
        for vector in (1, 16 // dtype.itemsize):
            defines = softmax_.columns_defines(dtype.char, vector)
            for name in ("softmax_columns", "log_softmax_columns"):
                for direction in ("", "_backward"):
                    yield "softmax_columns.cu", name + direction, defines, 75, REGISTERS


def cross_entropy() -> Iterator[Compiled]:
    for dtype in REAL:
        for team in dict.fromkeys(loss.team_of(length, dtype.itemsize) for length in LENGTHS):
            for label in ("i", "l"):
                defines = loss.defines(team, dtype.char, label)
                for name in ("cross_entropy", "cross_entropy_in_place", "cross_entropy_backward"):
                    yield "cross_entropy.cu", name, defines, 75, ceiling(team)


def norm_() -> Iterator[Compiled]:
    for dtype in REAL:
        for backward in (False, True):
            for team in dict.fromkeys(norm.team_of(length, dtype.itemsize, backward) for length in LENGTHS):
                for parameter in dict.fromkeys((dtype.char, "d" if dtype.char == "d" else "f")):
                    defines = {**team.defines(dtype.char), "PARAMETER": STORAGE[parameter]}
                    for name in ("layer_norm", "rms_norm"):
                        yield "norm.cu", name + "_backward" * backward, defines, 75, ceiling(team)
                    if backward:
                        yield "norm.cu", "norm_parameters", defines, 75, OF_1024
                        if not team.keep:
                            yield "norm.cu", "norm_partials", defines, 75, REGISTERS


def batch_norm_() -> Iterator[Compiled]:
    by_parts = ("batch_norm_partials", "batch_norm_apply", "batch_norm_backward_partials", "batch_norm_backward_apply")
    for dtype in REAL:
        for channels in (64, 63):
            walk = batch_norm.walk_over(1 << 14, channels, dtype.itemsize)
            for parameter in dict.fromkeys((dtype.char, "d" if dtype.char == "d" else "f")):
                defines = walk.defines(dtype.char, parameter)
                for name in (*by_parts, "batch_norm_moments", "batch_norm_sums", "batch_norm_running"):
                    yield "batch_norm.cu", name, defines, 75, REGISTERS
