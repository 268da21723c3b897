"""Texts, which are arrays of the host: no Tensor holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import on_host

Array = np.ndarray[Any, Any]


def is_texts(x: Any) -> bool:
    """Whether these are texts in an array, of whatever kind NumPy makes of them."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "OSU"


def host_values(x: Any, name: str) -> Array:
    """Texts as an array of str, other values as they are; bytes are UTF-8.  TypeError for anything else."""
    values = on_host(x.data) if isinstance(x, Tensor) else np.asarray(x)
    if values.dtype.kind == "O":
        given = [v.decode() if isinstance(v, bytes) else v for v in values.ravel().tolist()]
        if not all(isinstance(v, str) for v in given):
            kinds = ", ".join(sorted({type(v).__name__ for v in given}))
            raise TypeError(f"{name}: expected texts or numbers, got {kinds} of shape {values.shape}")
        values = np.asarray(given, str).reshape(values.shape)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind not in "Uiuf":
        raise TypeError(f"{name}: expected texts or numbers, got {values.dtype} of shape {values.shape}")
    return values
