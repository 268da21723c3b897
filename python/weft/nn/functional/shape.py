"""Shapes: arguments as tuples, flattening, padding, and small functions of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from operator import index
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.array import OnDevice
from weft.backends.device import beside
from weft.ops.embedding import check_indices


def tuple_of(value: Any, n: int, name: str, least: int | None = None) -> tuple[int, ...]:
    """An int, or n of them, as a tuple of n.  ValueError says what `name` should have been."""
    try:
        made = tuple(map(index, (value,) * n if isinstance(value, Integral) else value))
    except TypeError:  # floats, which would be cut, and what is no number
        made = ()
    if len(made) != n:
        raise ValueError(f"{name}: expected an int or {n} of them, got {value!r}")
    if least is not None and min(made) < least:
        raise ValueError(f"{name}: expected at least {least}, got {value!r}")
    return made


def shape_of(value: int | Sequence[int]) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, (int, np.integer)) else tuple(value)


def conv_padding(
    padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...], name: str
) -> tuple[tuple[int, int], ...]:
    """Numbers, "valid" or "same" as (before, after) for each axis; the odd one of "same" goes after."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        reach = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple([(r // 2, r - r // 2) for r in reach])
    if isinstance(padding, str):
        raise ValueError(f"{name}: expected padding 'same', 'valid' or numbers, got {padding!r}")
    return tuple([p if isinstance(p, tuple) else (p, p) for p in padding])


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Merge the dimensions from start_dim to end_dim into one.

    ValueError where the input has no such dimensions.

    >>> F.flatten(weft.ones((2, 3, 4)), 1).shape
    (2, 12)
    """
    n = input.ndim
    start, end = start_dim + n if start_dim < 0 else start_dim, end_dim + n if end_dim < 0 else end_dim
    if n and not 0 <= start <= end < n:
        raise ValueError(
            f"flatten: expected an input with dimensions {start_dim} to {end_dim}, got shape {input.shape}"
        )
    size = 1
    for k in input.shape[start : end + 1]:
        size *= k
    return ops.reshape(input, (*input.shape[:start], size, *input.shape[end + 1 :]))


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Split dimension `dim` into `sizes`, one of which may be -1.

    >>> F.unflatten(weft.ones((4, 6)), 1, (2, 3)).shape
    (4, 2, 3)
    """
    if not -input.ndim <= dim < input.ndim:
        raise ValueError(f"unflatten: expected dim within shape {input.shape}, got {dim}")
    dim %= input.ndim
    return ops.reshape(input, (*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Add to the borders: `pad` is (before, after) of the last dimension, then of the one before it, and so on.

    mode: "constant" (with `value`, 0 by default; negative numbers cut off), "reflect", "replicate", "circular".
    ValueError for more pairs than dimensions, or a reflection wider than the input.

    >>> F.pad(weft.asarray([1.0, 2.0]), (1, 2)).numpy()
    array([0., 1., 2., 0., 0.], dtype=float32)
    """
    pairs = list(zip(pad[::2], pad[1::2]))
    if len(pad) % 2 or len(pairs) > input.ndim:
        raise ValueError(f"pad: expected up to {input.ndim} pairs for shape {input.shape}, got {tuple(pad)}")
    if mode == "constant":
        widths = [(0, 0)] * (input.ndim - len(pairs)) + [(max(a, 0), max(b, 0)) for a, b in reversed(pairs)]
        if any(n < 0 for n in pad):
            cut = [slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(reversed(pairs), input.shape[-len(pairs) :])]
            input = input[(..., *cut)]
        return ops.pad(input, tuple(widths), value=0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(f"pad: expected mode constant, reflect, replicate or circular, got {mode!r}")
    for i, (before, after) in enumerate(pairs):
        axis, n = input.ndim - 1 - i, input.shape[input.ndim - 1 - i]
        if (before, after) == (0, 0):
            continue
        if max(before, after) > (n - 1 if mode == "reflect" else n if mode == "circular" else before + after):
            raise ValueError(
                f"pad: expected {mode} padding within dimension {axis} of {input.shape}, got {before, after}"
            )
        where = np.arange(-before, n + after)
        if mode == "reflect":
            where = np.abs(where)
            where = np.where(where >= n, 2 * (n - 1) - where, where)
        else:
            where = np.clip(where, 0, n - 1) if mode == "replicate" else where % n
        input = ops.take(input, where, axis=axis)
    return input


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """(...) of integers in [0, num_classes) -> (..., num_classes) of 0 and 1, int64; -1 takes the largest plus 1.

    >>> F.one_hot(weft.asarray([1, 0]), 3).numpy()
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    labels = tensor.data if hasattr(tensor, "requires_grad") else tensor
    labels = labels if isinstance(labels, OnDevice) else np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: expected integers, got {labels.dtype}")
    n = int(labels.max()) + 1 if num_classes == -1 else num_classes
    if isinstance(labels, OnDevice):
        check_indices("one_hot", labels, n)
    elif labels.size and not 0 <= labels.min() <= labels.max() < n:
        raise IndexError(f"one_hot: expected labels in [0, {n}), got {labels.min()} to {labels.max()}")
    return Tensor((labels[..., None] == beside(np.arange(n), labels)).astype(np.int64))


def norm(input: Any, p: float, dim: int, eps: float) -> Any:
    """The p-norm along `dim`, kept as 1, at least eps; its gradient at zero is zero."""
    if p == 2:
        squares = ops.sum(input * input, axis=dim, keepdims=True)
        return ops.sqrt(ops.where(squares > eps * eps, squares, eps * eps))
    sums = ops.sum(ops.abs(input) ** p, axis=dim, keepdims=True)
    return ops.where(sums > eps**p, sums, eps**p) ** (1 / p)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """Divide by the p-norm along `dim`, which is taken as at least eps.  Same shape.

    >>> F.normalize(weft.asarray([[3.0, 4.0]])).numpy()
    array([[0.6, 0.8]], dtype=float32)
    """
    return input / norm(input, p, dim, eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along `dim`, in [-1, 1].  Same shapes -> that shape without `dim`.

    >>> F.cosine_similarity(weft.asarray([[1.0, 0.0]]), weft.asarray([[1.0, 1.0]])).numpy()
    array([0.70710677], dtype=float32)
    """
    if x1.shape != x2.shape:
        raise ValueError(f"cosine_similarity: expected equal shapes, got {x1.shape} and {x2.shape}")
    return ops.sum(x1 / norm(x1, 2, dim, eps) * (x2 / norm(x2, 2, dim, eps)), axis=dim)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The p-norm of x1 - x2 + eps along the last dimension.  (..., D), (..., D) -> (...); p may be inf.

    ValueError unless the shapes broadcast.

    >>> F.pairwise_distance(weft.asarray([[0.0, 0.0]]), weft.asarray([[3.0, 4.0]])).numpy().round(3)
    array([5.], dtype=float32)
    """
    d = ops.abs(x1 - x2 + eps)
    if p == float("inf"):
        return ops.max(d, axis=-1, keepdims=keepdim)
    if p == 2:
        return ops.sqrt(ops.sum(d * d, axis=-1, keepdims=keepdim))
    return ops.sum(d**p, axis=-1, keepdims=keepdim) ** (1 / p)
