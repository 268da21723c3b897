"""Data types: their kinds and limits, and what a mix of them becomes.

The types are NumPy's, and `weft.bfloat16`. Types of one kind mix into the smallest that holds both, real floating ones
mix with complex ones, and Python's numbers are weak: they take the type of the array beside them. Python array API
standard 2024.12, "Type Promotion Rules"; where the standard leaves a mix of kinds open, integers take the float's type.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from weft.autograd import NO_NUMBERS

SCALARS = (float, int, bool, complex)
FLOAT32 = np.dtype(np.float32)
COMPLEX64 = np.dtype(np.complex64)
INT64 = np.dtype(np.int64)

CATEGORIES = {
    "b": "bool",
    "i": "signed integer",
    "u": "unsigned integer",
    "f": "real floating",
    "c": "complex floating",
}
ORDER = "biufVc"  # a value of a later kind would be cut to fit; V: bfloat16 and its like
WORDS = {"i": "integers", "u": "integers", "f": "floating-point numbers", "V": "floating-point numbers"}
WORDS["c"] = "complex numbers"
KINDS = {
    **{name: (name,) for name in CATEGORIES.values()},
    "integral": ("signed integer", "unsigned integer"),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}


def as_dtype(by: str, dtype: Any, default: Any = None) -> Any:
    """A dtype of numbers from whatever names it, `default` from None; TypeError for what is none."""
    if dtype is None:
        return default
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{by}: expected a dtype, got {dtype!r}") from None
    if found.kind in NO_NUMBERS:
        raise TypeError(f"{by}: expected a dtype of numbers, got {dtype!r}")
    return found


def promoted(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of an op on arrays of dtypes `a` and `b`; where kinds mix, the float's.

    TypeError for uint64 beside a signed integer: no integer type holds both, and a float would round them.
    """
    if a == b:
        return a
    for x, y in ((a, b), (b, a)):
        if x.kind in "biu" and y.kind not in "biu":
            return y
    dtype = np.result_type(a, b)
    if a.kind in "biu" and dtype.kind not in "biu":
        raise TypeError(f"promotion: expected types that one integer type holds, got {a} and {b}; cast one of them")
    return dtype


def beside_scalar(dtype: np.dtype[Any], scalar: Any) -> np.dtype[Any]:
    """The dtype of an op on an array of `dtype` and a Python number of `scalar`'s type."""
    if isinstance(scalar, complex) and dtype.kind != "c":
        return np.result_type(dtype if dtype.kind == "f" else FLOAT32, COMPLEX64)
    if isinstance(scalar, float) and dtype.kind in "biu":
        return FLOAT32
    return INT64 if dtype.kind == "b" and isinstance(scalar, int) and not isinstance(scalar, bool) else dtype


def check_holds(by: str, dtype: np.dtype[Any], value: Any) -> None:
    """TypeError where an array of `dtype` would cut `value`, a number or an array, to fit: floats to integers, ..."""
    kind = value.dtype.kind if hasattr(value, "dtype") else np.asarray(value).dtype.kind
    if ORDER.find(kind) > ORDER.find(dtype.kind) >= 0:
        raise TypeError(f"{by}: expected values that {dtype} can hold, got {WORDS[kind]}")


def dtype_of(x: Any) -> np.dtype[Any]:
    """The dtype of an array, or a dtype itself, of whatever form."""
    if not isinstance(x, type) and hasattr(x, "dtype"):
        return x.dtype  # type: ignore[no-any-return]
    return np.dtype(x)


def category(dtype: np.dtype[Any]) -> str:
    """The kind of a dtype in the standard's words; bfloat16 is real floating."""
    known = CATEGORIES.get(dtype.kind)
    if known is None and "float" in dtype.name:  # those of ml_dtypes
        return "real floating"
    if known is None:
        raise TypeError(f"dtype: expected a type of numbers, got {dtype}")
    return known


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that an op on these arrays, dtypes and Python numbers has.

    Python's numbers are weak. ValueError without an array or a dtype; TypeError for types that do not mix.

    >>> import weft
    >>> weft.result_type(weft.int8, weft.uint8)
    dtype('int16')
    """
    dtypes = [dtype_of(x) for x in arrays_and_dtypes if not isinstance(x, SCALARS) or isinstance(x, np.generic)]
    if not dtypes:
        raise ValueError("result_type: expected at least one array or dtype, got none")
    out = dtypes[0]
    for dtype in dtypes[1:]:
        out = promoted(out, dtype)
    for x in arrays_and_dtypes:
        if isinstance(x, SCALARS) and not isinstance(x, np.generic):
            out = beside_scalar(out, x)
    return out


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether values of a dtype (or of an array) keep their meaning in dtype `to`, by the standard's promotion rules.

    >>> import weft
    >>> weft.can_cast(weft.int8, weft.int16), weft.can_cast(weft.float64, weft.float32)
    (True, False)
    """
    have, want = dtype_of(from_), dtype_of(to)
    kinds = {category(have), category(want)}
    mixing = ({"signed integer", "unsigned integer"}, {"real floating", "complex floating"})
    return (len(kinds) == 1 or kinds in mixing) and bool(np.result_type(have, want) == want)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, one of the names below, or a tuple of such.

    kind: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric".
    ValueError for another name.

    >>> import weft
    >>> weft.isdtype(weft.bfloat16, "real floating"), weft.isdtype(weft.int8, ("bool", weft.int16))
    (True, False)
    """
    if isinstance(kind, tuple):
        return any([isdtype(dtype, k) for k in kind])
    if not isinstance(kind, str):
        return bool(np.dtype(dtype) == np.dtype(kind))
    if kind not in KINDS:
        raise ValueError(f"isdtype: expected a dtype or one of {', '.join(KINDS)}, got {kind!r}")
    return category(np.dtype(dtype)) in KINDS[kind]


class FloatInfo(NamedTuple):
    """The limits of a floating dtype, as Python numbers."""

    bits: int
    eps: float
    """The distance from 1 to the next number."""
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


class IntInfo(NamedTuple):
    """The limits of an integer dtype, as Python numbers."""

    bits: int
    max: int
    min: int
    dtype: np.dtype[Any]


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype, or of an array's; of a complex one, those of its parts.

    >>> import weft
    >>> weft.finfo(weft.float32).eps
    1.1920928955078125e-07
    """
    dtype = dtype_of(type)
    if category(dtype) not in ("real floating", "complex floating"):
        raise ValueError(f"finfo: expected a floating dtype, got {dtype}")
    if dtype.kind == "V":
        import ml_dtypes

        info: Any = ml_dtypes.finfo(dtype)
    else:
        info = np.finfo(dtype)
    eps, high, low, small = [float(n) for n in (info.eps, info.max, info.min, info.smallest_normal)]
    return FloatInfo(int(info.bits), eps, high, low, small, np.dtype(info.dtype))


def iinfo(type: Any, /) -> IntInfo:
    """The limits of an integer dtype, or of an array's.

    >>> import weft
    >>> weft.iinfo(weft.int8).min
    -128
    """
    dtype = dtype_of(type)
    if dtype.kind not in "iu":
        raise ValueError(f"iinfo: expected an integer dtype, got {dtype}")
    info = np.iinfo(dtype)
    return IntInfo(int(info.bits), int(info.max), int(info.min), dtype)
