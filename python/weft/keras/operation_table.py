"""More functions of `keras.ops`: those that are one function, or one line, of Weft's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weft import ops
from weft.interop import functions as like_numpy
from weft.keras import backend
from weft.nn import functional as F


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts of a size, or cut at indices."""
    n = x.shape[axis]
    if not isinstance(indices_or_sections, int):
        sizes = np.diff([0, *indices_or_sections, n])
        if n is None or (sizes < 0).any():
            raise ValueError(f"split: expected rising indices within {n}, got {list(indices_or_sections)}")
    elif n is None or n % indices_or_sections:
        raise ValueError(f"split: expected a number of parts that divides {n}, got {indices_or_sections}")
    else:
        sizes = np.full(indices_or_sections, n // indices_or_sections)
    return list(ops.split(x, [int(size) for size in sizes], axis=axis))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Values of `constant_values`, by default 0, around x; numpy.pad's ways of giving widths."""
    if mode != "constant" or constant_values not in (None, 0):
        raise ValueError(f"pad: expected mode constant and value 0, got {mode!r} and {constant_values}")
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    return ops.pad(x, tuple((int(a), int(b)) for a, b in widths))


def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The k largest values along the last axis, and where they are."""
    if not 0 <= k <= x.shape[-1]:
        raise ValueError(f"top_k: expected k within the last axis of {tuple(x.shape)}, got {k}")
    where = ops.argsort(x, axis=-1, descending=True)[..., :k]
    return ops.take_along_axis(x, where, axis=-1), where


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The logarithm of the sum of exponentials, without overflow."""
    largest = ops.max(x.detach(), axis=axis, keepdims=True)
    largest = ops.where(ops.isfinite(largest), largest, ops.zeros_like(largest))
    out = ops.log(ops.sum(ops.exp(x - largest), axis=axis, keepdims=True)) + largest
    if keepdims:
        return out
    return ops.reshape(out, ()) if axis is None else ops.squeeze(out, axis=axis)


def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    near = (x1 == x2) | (ops.isfinite(x2) & (ops.abs(x1 - x2) <= atol + rtol * ops.abs(x2)))
    return near | (ops.isnan(x1) & ops.isnan(x2)) if equal_nan else near


def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    axes = tuple(axes) if isinstance(axes, list) else axes
    return ops.mean(x, axis=axes, keepdims=keepdims), ops.var(x, axis=axes, keepdims=keepdims)


def rms_normalization(x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None) -> Any:
    """x by the root of its mean square along an axis, or several; times scale."""
    epsilon = backend.epsilon() if epsilon is None else epsilon
    if axis in (-1, x.ndim - 1):
        return F.rms_norm(x, x.shape[-1], scale, epsilon)
    wide = x if x.dtype.itemsize >= 4 else ops.astype(x, dtype=np.float32)
    mean = ops.mean(wide * wide, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=True)
    out = wide / ops.sqrt(mean + epsilon)
    return ops.astype(out if scale is None else out * scale, dtype=x.dtype)


def segment_sum(data: Any, segment_ids: Any, num_segments: int, sorted: bool = False) -> Any:
    """Sums of the rows of each number."""
    rows = ops.reshape(data, (data.shape[0], -1))
    return ops.reshape(ops.scatter_add(rows, segment_ids, rows=num_segments), (num_segments, *data.shape[1:]))


def same(*names: str, **renamed: str) -> dict[str, Callable[..., Any]]:
    """Weft's functions by Keras's names."""
    return {name: getattr(ops, other) for name, other in {**{n: n for n in names}, **renamed}.items()}


MORE: dict[str, Callable[..., Any]] = same(
    "ceil", "tan", "sinh", "cosh", "trunc", "log2", "log10", "isinf", "erf", "logaddexp", "hypot", "reciprocal",
    "signbit", "nextafter", "bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "logical_xor", "tril", "triu",
    "meshgrid", "full_like",
    arcsin="asin", arccos="acos", arctan="atan", arctan2="atan2", arcsinh="asinh", arccosh="acosh", arctanh="atanh",
    mod="remainder",
) | {
    "split": split, "pad": pad, "top_k": top_k, "logsumexp": logsumexp, "isclose": isclose, "moments": moments,
    "segment_sum": segment_sum, "rms_normalization": rms_normalization,
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: like_numpy.diagonal(x, offset, axis1, axis2),
    "trace": lambda x, offset=0, axis1=0, axis2=1: like_numpy.trace(x, offset, axis1, axis2),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: like_numpy.nan_to_num(
        x, nan=nan, posinf=posinf, neginf=neginf),
    "average": lambda x, axis=None, weights=None: like_numpy.average(x, axis, weights),
    "roll": lambda x, shift, axis=None: like_numpy.roll(x, shift, axis),
    "tensordot": lambda x1, x2, axes=2: like_numpy.tensordot(x1, x2, axes),
    "true_divide": lambda x1, x2: x1 / x2, "divide_no_nan": lambda x1, x2: ops.where(
        x2 == 0, ops.zeros_like(x1 + x2), x1 / ops.where(x2 == 0, ops.ones_like(x2), x2)),
    "allclose": lambda x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False: ops.all(isclose(x1, x2, rtol, atol, equal_nan)),
    "amax": lambda x, axis=None, keepdims=False: ops.max(x, axis=axis, keepdims=keepdims),
    "amin": lambda x, axis=None, keepdims=False: ops.min(x, axis=axis, keepdims=keepdims),
    "argsort": lambda x, axis=-1: like_numpy.argsort(x, axis),
    "sort": lambda x, axis=-1: like_numpy.sort(x, axis),
    "count_nonzero": lambda x, axis=None: ops.sum(ops.astype(x != 0, dtype=np.int32), axis=axis, dtype=np.int32),
    "cumprod": lambda x, axis: ops.cumulative_prod(x, axis=axis), "diff": lambda a, n=1, axis=-1: ops.diff(
        a, axis=axis, n=n),
    "dot": lambda x1, x2: like_numpy.dot(x1, x2),
    "exp2": lambda x: 2.0**x, "fliplr": lambda x: like_numpy.fliplr(x),
    "flipud": lambda x: like_numpy.flipud(x), "inner": lambda x1, x2: like_numpy.inner(x1, x2),
    "outer": lambda x1, x2: like_numpy.outer(x1, x2), "ravel": lambda x: like_numpy.ravel(x),
    "hstack": lambda xs: like_numpy.hstack(xs), "vstack": lambda xs: like_numpy.vstack(xs),
    "unstack": lambda x, num=None, axis=0: list(ops.unstack(x, axis=axis)),
    "ptp": lambda x, axis=None, keepdims=False: like_numpy.ptp(x, axis, keepdims=keepdims),
    "searchsorted": lambda sorted_sequence, values, side="left": ops.searchsorted(sorted_sequence, values, side=side),
    "slice": lambda inputs, start_indices, shape: inputs[tuple(slice(int(a), int(a) + n) for a, n in zip(
        start_indices, shape))],
    "rad2deg": lambda x: x * (180 / np.pi), "deg2rad": lambda x: x * (np.pi / 180), "fabs": ops.abs,
    "in_top_k": lambda targets, predictions, k: ops.sum(ops.astype(
        predictions > ops.take_along_axis(predictions, targets[:, None], axis=1), dtype=np.int32), axis=-1) < k,
}  # fmt: skip
