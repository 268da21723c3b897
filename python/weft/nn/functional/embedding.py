"""Rows of a table by index, one by one or reduced in bags, with PyTorch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside, on_host
from weft.ops.embedding import check_indices, row_of, scale_gradient

__all__ = ["embedding", "embedding_bag"]


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Integers (...) in [0, V), weight (V, D) -> (..., D); the row padding_idx gets no gradient.

    max_norm: rows that are looked up and whose norm_type-norm is larger are first scaled down to it, in place.
    scale_grad_by_freq: the gradient of a row is divided by how often it was looked up. sparse: gradients are dense
    here, so that only False is taken.

    >>> F.embedding(weft.asarray([2, 0]), weft.asarray([[1.0], [2.0], [3.0]])).numpy()
    array([[3.],
           [1.]], dtype=float32)
    """
    input = positions("embedding", input, weight, sparse)
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    out = ops.embedding(input, weight, padding_idx=padding_idx)
    return by_frequency(out, input, weight.shape[0]) if scale_grad_by_freq else out


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum, mean or largest of the rows of each bag: input (B, n), or (n,) with offsets (B,) -> (B, D).

    weight (V, D). offsets: where each bag of a flat input begins, the first at 0; with include_last_offset (B + 1,),
    the last one its length. mode: "sum", "mean" or "max"; an empty bag gives zeros. per_sample_weights: a factor for
    each row, of input's shape, with "sum". padding_idx: a row that is left out. The rest is as in `embedding`.
    ValueError where the arguments do not fit; IndexError for an index out of range.

    >>> F.embedding_bag(weft.asarray([[0, 2]]), weft.asarray([[1.0], [2.0], [3.0]]), mode="sum").numpy()
    array([[4.]], dtype=float32)
    """
    input = positions("embedding_bag", input, weight, sparse)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: expected mode sum, mean or max, got {mode!r}")
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights.shape != input.shape):
        raise ValueError(
            f"embedding_bag: expected per_sample_weights of shape {input.shape} with mode 'sum', "
            f"got {per_sample_weights.shape} and mode {mode!r}"
        )
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("embedding_bag: expected scale_grad_by_freq only with modes sum and mean, got mode 'max'")
    padding_idx = row_of("embedding_bag", padding_idx, weight.shape[0])
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(f"embedding_bag: expected no offsets for input {input.shape}, got {offsets.shape}")
        sizes = np.full(input.shape[0], input.shape[1])
        input = ops.reshape(input, (-1,))
        if per_sample_weights is not None:
            per_sample_weights = ops.reshape(per_sample_weights, (-1,))
    elif input.ndim == 1 and offsets is not None:
        sizes = bag_sizes(offsets, input.shape[0], include_last_offset)
    else:
        raise ValueError(f"embedding_bag: expected input (B, n), or (n,) with offsets, got {input.shape}")
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    rows = ops.embedding(input, weight, padding_idx=padding_idx)  # (n, D)
    if scale_grad_by_freq:
        rows = by_frequency(rows, input, weight.shape[0])
    counted = None if padding_idx is None else input != padding_idx  # (n,)
    if mode == "max":
        return largest_of_bags(rows, counted, sizes)
    if per_sample_weights is not None:
        rows = rows * ops.expand_dims(per_sample_weights, axis=-1)
    if counted is not None:
        rows = ops.where(ops.expand_dims(counted, axis=-1), rows, 0.0)
    bag = Tensor(beside(np.repeat(np.arange(len(sizes)), sizes), rows))  # (n,), the bag of each row
    out = ops.scatter_add(rows, bag, rows=len(sizes))
    if mode == "sum":
        return out
    if counted is None:
        return out / Tensor(beside(np.maximum(sizes, 1)[:, None].astype(rows.dtype), rows))
    counts = ops.scatter_add(ops.astype(ops.expand_dims(counted, axis=-1), rows.dtype), bag, rows=len(sizes))
    return out / ops.maximum(counts, 1)


def positions(name: str, input: Any, weight: Any, sparse: bool) -> Tensor:
    if sparse:
        raise ValueError(f"{name}: expected sparse=False, as gradients are dense, got True")
    return input if isinstance(input, Tensor) else Tensor(beside(input, weight))


def bag_sizes(offsets: Any, n: int, include_last_offset: bool) -> Any:
    """How many rows each bag has; the host looks at the offsets."""
    starts = on_host(offsets.data if isinstance(offsets, Tensor) else np.asarray(offsets))
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or (include_last_offset and not len(starts)):
        raise ValueError(f"embedding_bag: expected offsets (B,) of integers, got {starts.dtype} {starts.shape}")
    ends = starts if include_last_offset else np.append(starts, n)
    sizes = np.diff(ends)
    if len(starts) and (starts[0] != 0 or (sizes < 0).any() or ends[-1] > n):
        raise ValueError(f"embedding_bag: expected offsets that rise from 0 to at most {n}, got {starts.tolist()}")
    if include_last_offset and ends[-1] != n:
        raise ValueError(f"embedding_bag: expected the last offset to be {n}, got {ends[-1]}")
    return sizes


def largest_of_bags(rows: Any, counted: Any, sizes: Any) -> Any:
    """(n, D) -> (B, D), of equal values the first, zeros for an empty bag."""
    B, D, longest = len(sizes), rows.shape[1], int(max(sizes, default=0))
    if not longest:
        return ops.zeros((B, D), dtype=rows.dtype, device=rows.device)
    starts = np.cumsum(sizes) - sizes
    member = np.arange(longest) < sizes[:, None]  # (B, longest)
    at = np.where(member, starts[:, None] + np.arange(longest), 0)
    each = ops.take(rows, beside(at.reshape(-1), rows), axis=0).reshape((B, longest, D))
    taken = Tensor(beside(member, rows))
    if counted is not None:
        taken = taken & ops.take(counted, beside(at.reshape(-1), rows), axis=0).reshape((B, longest))
    full = ops.any(taken, axis=1, keepdims=True)  # (B, 1)
    held = ops.where(ops.expand_dims(taken, axis=-1), each, -np.inf)
    best = ops.take_along_axis(held, ops.expand_dims(ops.argmax(held.detach(), axis=1), axis=1), axis=1)
    return ops.where(full, ops.squeeze(best, axis=1), 0.0)


def by_frequency(rows: Any, input: Any, count: int) -> Any:
    """rows, with the gradient of each divided by how often its index is looked up."""
    ones = ops.ones((*input.shape, 1), dtype=rows.dtype, device=rows.device)
    often = ops.take(ops.scatter_add(ones, input, rows=count), input, axis=0)  # (..., 1)
    return scale_gradient(rows, 1 / often)


def renormalise(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up down to max_norm where they are longer, in place."""
    if max_norm <= 0:
        raise ValueError(f"embedding: expected max_norm > 0, got {max_norm}")
    check_indices("embedding", input.data, weight.shape[0])
    at = input.data.reshape(-1)
    rows = ops.take(weight.detach(), at, axis=0)
    largest = norm_type == float("inf")
    norms = (
        ops.max(ops.abs(rows), axis=1) if largest else ops.sum(ops.abs(rows) ** norm_type, axis=1) ** (1 / norm_type)
    )
    norms = ops.expand_dims(norms, axis=1)
    weight.check_writable("embedding: max_norm")
    weight.data[at] = ops.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows).data
    weight.touch("embedding: max_norm")
