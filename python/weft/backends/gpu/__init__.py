"""What the devices `cuda` and `emulated` share: arrays, namespace, and the entries of primitives over kernels/."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from weft.backends.registry import Primitive

Entry = Callable[..., Any]

array_types: list[type] = []  # of the devices in use so far
entries: list[tuple[Primitive, str, Entry]] = []
#: The modules of this package that register entries.
FAMILIES = (
    "activation",
    "attention",
    "attention_backward",
    "batch_norm",
    "conv",
    "embedding",
    "gated",
    "loss",
    "matmul",
    "norm",
    "optimizer",
    "pool",
    "random",
    "rnn",
    "rope",
    "softmax",
)


def entry(primitive: Primitive, dtypes: str) -> Callable[[Entry], Entry]:
    """Register an entry of `primitive` for the arrays of both devices; `dtypes` as in `Primitive.on`."""

    def register(function: Entry) -> Entry:
        entries.append((primitive, dtypes, function))
        for array_type in array_types:
            primitive.on(array_type, dtypes)(function)
        return function

    return register


def use(array_type: type) -> None:
    """Make the entries known for the arrays of one more device."""
    array_types.append(array_type)
    for primitive, dtypes, function in entries:
        primitive.on(array_type, dtypes)(function)


def load() -> None:
    """Import what registers entries; a primitive that meets a device array for the first time asks for it."""
    for family in FAMILIES:
        importlib.import_module(f"weft.backends.gpu.{family}")
