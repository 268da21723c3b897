"""Tensors from nothing: filled, counted, or made from other arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import check_device

FLOAT32 = np.float32


def asarray(x: Any, /, *, dtype: Any = None, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor of x: an array (whose memory it shares unless `copy`), a number or nested lists of numbers.

    Python floats become float32.  TypeError for what is no number.

    >>> import weft
    >>> weft.asarray([1.5, 2.0]).dtype
    dtype('float32')
    """
    check_device(device)
    if isinstance(x, Tensor) and dtype is None and not copy:
        return x
    if isinstance(x, (list, tuple)) and any(isinstance(i, Tensor) for i in x):
        x = np.stack([np.asarray(i) for i in x])
    if isinstance(x, np.ndarray) and not x.dtype.isnative:  # of a file from another machine
        x = x.astype(x.dtype.newbyteorder("="))
    out = Tensor(x.data if isinstance(x, Tensor) else x)
    data = out.data
    if dtype is not None and data.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError(
                f"asarray: expected copy allowed to change {data.dtype} into {np.dtype(dtype)}, got copy=False"
            )
        return Tensor(data.astype(dtype))
    return Tensor(data.copy()) if copy else out


def created(make: Any, device: str | None) -> Tensor:
    check_device(device)
    return Tensor(make)


def zeros(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of `shape`, float32 by default."""
    return created(np.zeros(shape, dtype or FLOAT32), device)


def ones(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of `shape`, float32 by default."""
    return created(np.ones(shape, dtype or FLOAT32), device)


def full(shape: Any, value: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """`value` everywhere in `shape`; a Python float gives float32."""
    return created(np.full(shape, value, dtype or (FLOAT32 if isinstance(value, float) else None)), device)


def empty(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Memory of `shape` with no particular values, float32 by default."""
    return created(np.empty(shape, dtype or FLOAT32), device)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Numbers from `start` (0 if only one is given) by `step`, `stop` left out; float32 if any is a float."""
    values = np.arange(start, stop, step) if stop is not None else np.arange(0, start, step)
    return created(values.astype(dtype or (FLOAT32 if values.dtype == np.float64 else values.dtype)), device)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: str | None = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, float32 by default."""
    return created(np.linspace(start, stop, num, endpoint=endpoint).astype(dtype or FLOAT32), device)


def eye(
    rows: int, columns: int | None = None, /, *, k: int = 0, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Ones on diagonal k, zeros elsewhere, float32 by default."""
    return created(np.eye(rows, columns, k, dtype or FLOAT32), device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of x's shape and dtype."""
    return created(np.zeros(x.shape, dtype or x.dtype), device)


def ones_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of x's shape and dtype."""
    return created(np.ones(x.shape, dtype or x.dtype), device)


def full_like(x: Any, /, value: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """`value` everywhere, in x's shape and dtype."""
    return created(np.full(x.shape, value, dtype or x.dtype), device)


def empty_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Memory of x's shape and dtype with no particular values."""
    return created(np.empty(x.shape, dtype or x.dtype), device)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate matrices from coordinate vectors."""
    return tuple([Tensor(a) for a in np.meshgrid(*[np.asarray(a) for a in arrays], indexing=indexing)])  # type: ignore[call-overload]
