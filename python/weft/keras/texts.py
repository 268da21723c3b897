"""Texts, which are arrays of the host: no Tensor holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.keras.symbols import leaves

Array = np.ndarray[Any, Any]


def is_texts(x: Any) -> bool:
    """Whether these are texts in an array, of whatever kind NumPy makes of them."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "OSU"


def host_values(x: Any, name: str) -> Array:
    """Texts as an array of objects, each a str (bytes are UTF-8), other values as they are.  TypeError for others.

    NumPy's own arrays of texts have the length of the longest for each: of a corpus that is a multiple of its size.
    """
    if isinstance(x, Tensor):
        values = on_host(x.data)
    elif isinstance(next(leaves(x), None), (str, bytes)):
        values = np.asarray(x, object)
    else:
        values = np.asarray(x)
    values = values.astype(object) if values.dtype.kind in "SU" else values
    if values.dtype.kind == "O":
        given = [v.decode() if isinstance(v, bytes) else v for v in values.ravel().tolist()]
        if not all(isinstance(v, str) for v in given):
            kinds = ", ".join(sorted({type(v).__name__ for v in given}))
            raise TypeError(f"{name}: expected texts or numbers, got {kinds} of shape {values.shape}")
        values = np.asarray(given, object).reshape(values.shape)
    if values.dtype.kind not in "Oiuf":
        raise TypeError(f"{name}: expected texts or numbers, got {values.dtype} of shape {values.shape}")
    return values


def kind_of(values: Array) -> str:
    """What `host_values` gave, for errors."""
    return f"{'texts' if values.dtype.kind == 'O' else values.dtype} of shape {values.shape}"
