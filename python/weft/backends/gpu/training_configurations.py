"""The kernels of optimizers and of what stands around the products of a model, in their shipped kinds, for
configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by its name)
import numpy as np

from weft.backends.gpu import embedding, gated, pool, rope
from weft.backends.gpu import optimizer as steps

Compiled = tuple[Any, ...]
REAL = tuple(map(np.dtype, ("float32", "float16", "bfloat16", "float64")))


def optimizer() -> Iterator[Compiled]:
    for dtype in REAL:
        for name in ("sgd", "adam", "rmsprop", "lion", "squares", "scale"):
            yield "optimizer.cu", name, steps.optimizer_kernel(name, dtype, dtype).defines, 75, 128
    for name in ("keep_table", "count_step", "gradient_scale"):
        yield "optimizer.cu", name, steps.optimizer_kernel(name, REAL[0], REAL[0]).defines, 75, 64


def pool_() -> Iterator[Compiled]:
    for dtype in REAL:
        for tap in ("uint8_t", "int32_t"):
            for name in ("max_pool", "max_pool_backward", "mean_pool", "mean_pool_backward"):
                if tap == "uint8_t" or name.startswith("max"):
                    yield "pool.cu", name, pool.pool_kernel(name, dtype, tap).defines, 75, 96


def scatter() -> Iterator[Compiled]:
    for indices in map(np.dtype, ("int32", "int64")):
        for dtype in (*REAL, np.dtype("int32")):
            for name in ("scatter_add", "scatter_add_runs"):
                yield "scatter.cu", name, embedding.scatter_kernel(name, indices, dtype).defines, 75, 96
        for name in ("count_digits", "scan_digits", "place_keys"):
            yield "scatter.cu", name, embedding.scatter_kernel(name, indices).defines, 75, 64


def rope_() -> Iterator[Compiled]:
    for dtype in REAL:
        for table in dict.fromkeys((REAL[0], dtype)):
            yield "rope.cu", "rope", rope.rope_kernel(dtype, table).defines, 75, 96


def gated_() -> Iterator[Compiled]:
    for dtype in REAL:
        for activation in gated.ACTIVATIONS:
            for name in ("gated", "gated_backward"):
                yield "gated.cu", name, gated.gated_kernel(name, dtype, activation).defines, 75, 128
