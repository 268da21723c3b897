"""16-bit floats are stored narrow and computed wide: float32 inside, one rounding at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from weft.backends.array import namespace


def wide(x: Any) -> Any:
    """`x` as float32 if it is a 16-bit float; anything else, None too, as it is."""
    if x is None or x.dtype.itemsize != 2 or x.dtype.kind not in "fV":  # bfloat16 is of kind V
        return x
    return namespace(x).astype(x, np.float32)


def narrow(y: Any, dtype: Any) -> Any:
    """`y` in `dtype`; None passes."""
    return y if y is None or y.dtype == dtype else namespace(y).astype(y, dtype)


def computed_wide(reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that widens its arrays and rounds every output to the dtype of its first array."""

    @wraps(reference)
    def body(*arrays: Any, **params: Any) -> Any:
        dtype = next(a.dtype for a in arrays if a is not None)
        out = reference(*[wide(a) for a in arrays], **params)
        return tuple([narrow(y, dtype) for y in out]) if type(out) is tuple else narrow(out, dtype)

    return body
