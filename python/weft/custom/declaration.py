"""Arrays as a kernel's declaration names them: "T (N, C)", a dtype or a type variable and sizes by name.

A size is a number, a name, or a name with a star, which stands for any number of axes; as a number its value is the
product of theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

#: dtypes by name, and what a kernel calls them.
DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float64": np.dtype(np.float64),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "bool": np.dtype(bool),
}
C_TYPES = {
    "float32": "float", "float16": "f16", "bfloat16": "bf16", "float64": "double",
    "int32": "int", "int64": "long long", "uint8": "unsigned char", "bool": "bool",
}  # fmt: skip
FLOATING = ("float32", "float16", "bfloat16", "float64")


class Declared(NamedTuple):
    """One array of a declaration: the name of its dtype or type variable, and its sizes."""

    type: str
    sizes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.type} ({', '.join(self.sizes)})"


def declared(words: str, what: str) -> Declared:
    """The array that `words` declare; ValueError shows how one is written."""
    match = re.fullmatch(r"\s*([A-Za-z]\w*)\s*\(([^()]*)\)\s*", words) if isinstance(words, str) else None
    sizes = tuple(part.strip() for part in match[2].split(",") if part.strip()) if match else ()
    right = match is not None and all(re.fullmatch(r"\d+|\*?[A-Za-z_]\w*", size) for size in sizes)
    if match is None or not right or sum(size.startswith("*") for size in sizes) > 1:
        raise ValueError(f"{what}: expected a type and sizes, such as 'float32 (N, C)' or 'T (*B, 3)', got {words!r}")
    return Declared(match[1], sizes)


def bind(array: Declared, shape: tuple[int, ...], sizes: dict[str, Any], what: str) -> None:
    """Add to `sizes` what `shape` makes of the sizes of `array`; ValueError where it contradicts them."""
    stars = [i for i, size in enumerate(array.sizes) if size.startswith("*")]
    many = len(shape) - len(array.sizes) + 1  # axes that the star stands for
    fits = len(shape) == len(array.sizes) if not stars else many >= 0
    found: list[tuple[str, Any]] = []
    if fits and stars:
        at = stars[0]
        found = list(zip(array.sizes[:at], shape)) + [(array.sizes[at], shape[at : at + many])]
        found += list(zip(array.sizes[at + 1 :], shape[at + many :]))
    elif fits:
        found = list(zip(array.sizes, shape))
    for name, value in found:
        fits = fits and (int(name) == value if name.isdigit() else sizes.setdefault(name, value) == value)
    if not fits:
        known = ", ".join(f"{name} = {value}" for name, value in sizes.items() if name in array.sizes)
        raise ValueError(f"{what}: expected shape ({', '.join(array.sizes)}), got {shape}{known and f' with {known}'}")


def shape_of(array: Declared, sizes: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape that `array` has under `sizes`."""
    shape: tuple[int, ...] = ()
    for size in array.sizes:
        value = int(size) if size.isdigit() else sizes[size]
        shape += value if isinstance(value, tuple) else (value,)
    return shape


def numbers(sizes: Mapping[str, Any]) -> dict[str, int]:
    """Every size as one number, under its name without a star."""
    return {name.lstrip("*"): math.prod(value) if isinstance(value, tuple) else value for name, value in sizes.items()}
