"""The kernels behind the array namespace in their shipped kinds, for configurations.py.

What maps and reductions are compiled with is asked of their own plans, for arrays that only say how they would lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by its name)
import numpy as np

from weft.backends import checks
from weft.backends.array import OnDevice
from weft.backends.gpu import index, maps, reduce
from weft.backends.gpu.expressions import EXPRESSIONS, STORAGE

Compiled = tuple[Any, ...]
DTYPES = ("float32", "float16", "bfloat16", "float64", "int32", "int64", "uint8", "bool")
REAL = DTYPES[:4]
REGISTERS = 64  # of a thread in blocks of 256: four blocks per multiprocessor at least


class Lying(OnDevice):
    """An array of a GPU that nobody has: shape, strides and dtype without memory."""

    device_name = "cuda:0"
    pointer = 4096

    def __init__(self, shape: tuple[int, ...], dtype: str):
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.ndim = len(shape)
        self.size = math.prod(shape)
        self.strides = tuple(math.prod(shape[i + 1 :]) * self.dtype.itemsize for i in range(len(shape)))


def map_() -> Iterator[Compiled]:
    seen = set()
    for name, expression in EXPRESSIONS.items():
        for dtype in DTYPES:
            x = Lying((64, 64), dtype)
            try:
                plan = maps.make_plan(name, [x] * expression.arity, None, None, None, (0, 0, 0))
            except TypeError:  # a dtype that the function has no meaning for
                continue
            if plan.kernel not in seen:
                seen.add(plan.kernel)
                # CUDA's sin, cos and tan of large float64 keep 40 bytes of their argument's reduction on the stack
                stack = 40 if dtype == "float64" and name in ("sin", "cos", "tan") else 0
                yield "map.cu", "map", plan.kernel.defines, 75, 2 * REGISTERS, 999, stack


def reduce_() -> Iterator[Compiled]:
    seen = set()
    for name in reduce.OPERATIONS:
        for dtype in DTYPES:
            for axis in (0, 1):
                try:
                    plan = reduce.make_plan(name, Lying((4096, 512), dtype), axis, False)
                except TypeError:
                    continue
                for one in (plan.kernel, plan.second):
                    if one not in seen:
                        seen.add(one)
                        yield "reduce.cu", one.name, one.defines, 75, 2 * REGISTERS


def scan() -> Iterator[Compiled]:
    for dtype in map(np.dtype, DTYPES):
        out, accumulate = reduce.result_types("sum", dtype)
        defines = {"IN": STORAGE[dtype.char], "ACCUMULATE": accumulate, "OUT": STORAGE[out.char]}
        for name in ("scan_rows", "scan_columns"):
            yield "scan.cu", name, defines, 75, REGISTERS


def index_() -> Iterator[Compiled]:
    for indices in ("i", "l"):
        of = {"INDEX": STORAGE[indices]}
        for word in index.WORDS.values():
            for name in ("take", "take_along_axis"):
                yield "index.cu", name, {"WORD": word, **of}, 75, REGISTERS


def check() -> Iterator[Compiled]:
    for rule in checks.RULES:
        for dtype in map(np.dtype, ("float32", "float64") if rule == "probability" else ("int32", "int64", "uint64")):
            yield "check.cu", "check", index.check_kernel(rule, dtype).defines, 75, REGISTERS


def transpose() -> Iterator[Compiled]:
    for bits in maps.BITS.values():
        yield "transpose.cu", "transpose", {"TYPE": bits, "WIDE": 0}, 75, REGISTERS


def philox() -> Iterator[Compiled]:
    yield "philox.cu", "random_bits", {"OUT": "float"}, 75, REGISTERS
    for dtype in map(np.dtype, REAL):
        for name in ("random_uniform", "random_normal", "dropout"):
            yield "philox.cu", name, {"OUT": STORAGE[dtype.char]}, 75, REGISTERS
