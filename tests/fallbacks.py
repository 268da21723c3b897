"""Which kernels a training step runs, and what it leaves to references: `with watched() as seen: step()`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from weft.backends import gpu
from weft.backends.array import OnDevice
from weft.backends.registry import PRIMITIVES, Primitive


@dataclass
class Seen:
    """Calls by primitive: those that an entry took, those that fell back to the reference, and the cold functions."""

    entries: Counter[str] = field(default_factory=Counter)
    references: Counter[str] = field(default_factory=Counter)
    cold: Counter[str] = field(default_factory=Counter)


def on_device(arrays: Any) -> bool:
    return any(isinstance(a, OnDevice) or (isinstance(a, list) and on_device(a)) for a in arrays)


def described(primitive: Primitive, arrays: Any) -> str:
    heads = [a[0] if isinstance(a, list) else a for a in arrays if a is not None and (not isinstance(a, list) or a)]
    return f"{primitive.__name__}({', '.join(str(a.dtype) for a in heads)})"


@contextlib.contextmanager
def watched() -> Iterator[Seen]:
    """Note every call of a primitive on device arrays, also those that an entry or a reference makes of another's."""
    seen, before = Seen(), {}
    call, cold = Primitive.__call__, {kind: kind.cold for kind in gpu.array_types}

    def counted(self: Primitive, *arrays: Any, **params: Any) -> Any:
        if on_device(arrays):
            seen.entries[self.__name__] += 1
        return call(self, *arrays, **params)

    def replaced(primitive: Primitive) -> Any:
        reference = primitive.reference

        def run(*arrays: Any, **params: Any) -> Any:
            if on_device(arrays):
                seen.references[described(primitive, arrays)] += 1
            return reference(*arrays, **params)

        return run

    def cold_counted(self: Any, function: Any, args: Any, kwargs: Any) -> Any:
        seen.cold[function.__name__] += 1
        return cold[type(self)](self, function, args, kwargs)

    for primitive in PRIMITIVES.values():
        before[primitive] = primitive.reference
        primitive.reference = replaced(primitive)
        primitive.found.clear()
    Primitive.__call__ = counted
    for kind in cold:
        kind.cold = cold_counted
    try:
        yield seen
    finally:
        Primitive.__call__ = call
        for kind, method in cold.items():
            kind.cold = method
        for primitive, reference in before.items():
            primitive.reference = reference
            primitive.found.clear()
