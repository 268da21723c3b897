"""What the operators share: values that say how, read on the host, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.autograd import Tensor, is_recording
from weft.backends.device import beside


def ints(x: Any) -> list[int]:
    """The integers of a Tensor that says how: axes, sizes, a shape."""
    values = x.numpy()
    if values.dtype.kind not in "iu":
        raise TypeError(f"expected integers, got {values.dtype}")
    return [int(n) for n in values.reshape(-1)]


def number(x: Any) -> Any:
    """The one value of a Tensor, as a Python number."""
    if x.size != 1:
        raise ValueError(f"expected one value, got shape {x.shape}")
    return x.numpy().reshape(-1)[0].item()


def host(x: Any) -> np.ndarray[Any, Any]:
    """The values on the host, for what has no gradient; ValueError where one would be lost."""
    if isinstance(x, Tensor) and x.requires_grad and is_recording():
        raise ValueError("expected no input that requires a gradient, which this operator lacks; run it under no_grad")
    return x.numpy() if isinstance(x, Tensor) else np.asarray(x)


def like(values: Any, x: Any) -> Tensor:
    """Values made on the host, as a Tensor where x is."""
    return Tensor(beside(np.asarray(values), x))


def axis_of(axis: int, n: int) -> int:
    """An axis counted from the front; ValueError outside of n axes."""
    if not -n <= axis < n:
        raise ValueError(f"expected an axis in [{-n}, {n}), got {axis}")
    return axis % n


def axes_of(axes: Sequence[int], n: int) -> list[int]:
    """Axes counted from the front, each once."""
    found = [axis_of(axis, n) for axis in axes]
    if len(set(found)) != len(found):
        raise ValueError(f"expected each axis once, got {list(axes)} of {n}")
    return found


def one_of(name: str, value: Any, known: Sequence[Any]) -> Any:
    if value not in known:
        raise ValueError(f"expected {name} out of {', '.join(map(str, known))}, got {value!r}")
    return value


def flag(name: str, value: int) -> bool:
    """An attribute that is 0 or 1."""
    return bool(one_of(name, value, (0, 1)))


def is_float(x: Any) -> bool:
    return bool(x.dtype.kind not in "biuc")


def is_integer(x: Any) -> bool:
    return bool(x.dtype.kind in "iu")


def computed_in(dtype: Any, *xs: Any) -> tuple[Any, ...]:
    """Each of xs in `dtype`."""
    return tuple(x if x is None or x.dtype == dtype else x.astype(dtype) for x in xs)
