"""Batches of sequences of different lengths: padded to one length, or packed without padding.

A packed batch holds step 0 of all sequences, then step 1 of all that have one, and so on, longest sequence first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.array import OnDevice
from weft.backends.device import beside, on_host


class PackedSequence(NamedTuple):
    """Sequences without padding, as `pack_padded_sequence` makes them.

    data (steps of all, ...): recorded. batch_sizes (longest,) int64 on the host: how many sequences have a step t.
    sorted_indices (N,): where in the batch each of them, longest first, came from; unsorted_indices: the way back; both
    None where the batch was sorted.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def host_integers(name: str, what: str, values: Any) -> Any:
    values = on_host(values.data if isinstance(values, Tensor) else values)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected {what} (N,) of integers, got {values.dtype} {values.shape}")
    return values.astype(np.int64)


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch (T, N, ...), or (N, T, ...) with batch_first, without its padding.

    lengths (N,): of each sequence, at least 1, longest first unless enforce_sorted is false. The host reads them.
    ValueError where they do not fit.

    >>> import weft
    >>> packed = pack_padded_sequence(weft.ones((3, 2, 4)), [3, 1])
    >>> packed.data.shape, packed.batch_sizes.numpy()
    ((4, 4), array([2, 1, 1]))
    """
    name = "pack_padded_sequence"
    sizes = host_integers(name, "lengths", lengths)
    if input.ndim < 2:
        raise ValueError(f"{name}: expected input (T, N, ...) or (N, T, ...), got {input.shape}")
    T, N = (input.shape[1], input.shape[0]) if batch_first else input.shape[:2]
    if sizes.shape != (N,) or not N or sizes.min() < 1 or sizes.max() > T:
        raise ValueError(f"{name}: expected {N} lengths from 1 to {T} for input {input.shape}, got {sizes.tolist()}")
    order = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise ValueError(
                f"{name}: expected lengths that fall, got {sizes.tolist()}; enforce_sorted=False takes any order"
            )
    else:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    present = np.arange(sizes[0])[:, None] < sizes  # (longest, N)
    step, place = np.nonzero(present)
    source = place if order is None else order[place]
    rows = ops.reshape(input, (T * N, *input.shape[2:]))
    at = source * T + step if batch_first else step * N + source
    data = ops.take(rows, beside(at, input), axis=0)
    back = None if order is None else Tensor(beside(np.argsort(order), input))
    return PackedSequence(
        data, Tensor(present.sum(1)), None if order is None else Tensor(beside(order, input)), back
    )  # fmt: skip


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The padded batch (T, N, ...), or (N, T, ...), of a packed one, in the order it came in, and its lengths (N,).

    total_length: T, at least the longest; that by default.

    >>> import weft
    >>> padded, lengths = pad_packed_sequence(pack_padded_sequence(weft.ones((3, 2)), [3, 1]))
    >>> padded.numpy().T, lengths.numpy()
    (array([[1., 1., 1.],
           [1., 0., 0.]], dtype=float32), array([3, 1]))
    """
    sizes = lengths_of(sequence)
    longest = int(sizes[0])
    T = longest if total_length is None else total_length
    if T < longest:
        raise ValueError(f"pad_packed_sequence: expected total_length of at least {longest}, got {total_length}")
    N, data = len(sizes), sequence.data
    counts = sequence.batch_sizes.numpy()
    starts = np.cumsum(counts) - counts
    order = np.arange(N) if sequence.unsorted_indices is None else on_host(sequence.unsorted_indices.data)
    step, place = np.arange(T)[:, None], order[None, :]
    present = step < sizes[order]
    at = np.where(present, np.append(starts, np.zeros(T - longest, np.int64))[:, None] + place, 0)  # (T, N)
    if batch_first:
        at, present = at.T, present.T
    shape = (*at.shape, *data.shape[1:])
    rows = ops.reshape(ops.take(data, beside(np.ascontiguousarray(at).reshape(-1), data), axis=0), shape)
    mask = beside(np.ascontiguousarray(present).reshape(present.shape + (1,) * (data.ndim - 1)), data)
    return ops.where(Tensor(mask), rows, padding_value), Tensor(sizes[order])


def lengths_of(sequence: PackedSequence) -> Any:
    """The lengths of the sequences, longest first, (N,)"""
    counts = sequence.batch_sizes.numpy()
    return (np.arange(counts[0])[:, None] < counts).sum(1)


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_i, ...) as one batch (longest, N, ...), or (N, longest, ...), filled up with padding_value.

    padding_side: "right" or "left".  ValueError where the sequences differ behind their first dimension.

    >>> import weft
    >>> pad_sequence([weft.ones((2,)), weft.ones((3,))], batch_first=True).numpy()
    array([[1., 1., 0.],
           [1., 1., 1.]], dtype=float32)
    """
    given = [x if isinstance(x, (Tensor, OnDevice)) else Tensor(x) for x in sequences]
    if not given or padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: expected sequences, and padding_side left or right, got {padding_side!r}")
    if any(x.ndim < 1 or x.shape[1:] != given[0].shape[1:] for x in given):
        raise ValueError(
            f"pad_sequence: expected sequences (T, {', '.join(map(str, given[0].shape[1:]))}...), "
            f"got {', '.join(str(x.shape) for x in given)}"
        )
    longest = max(x.shape[0] for x in given)
    sides = [(0, longest - x.shape[0]) if padding_side == "right" else (longest - x.shape[0], 0) for x in given]
    made = [ops.pad(x, (side, *[(0, 0)] * (x.ndim - 1)), value=padding_value) for x, side in zip(given, sides)]
    return ops.stack(made, axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences (T_i, ...) of a padded batch (T, N, ...), or (N, T, ...); lengths (N,) are read by the host."""
    sizes = host_integers("unpad_sequence", "lengths", lengths)
    if sizes.shape[0] != padded_sequences.shape[0 if batch_first else 1]:
        raise ValueError(f"unpad_sequence: expected one length for each of {padded_sequences.shape}, got {sizes.shape}")
    rows = padded_sequences if batch_first else ops.swapaxes(padded_sequences, 0, 1)
    return [rows[n, :size] for n, size in enumerate(sizes.tolist())]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (T_i, ...) packed; longest first unless enforce_sorted is false.

    >>> import weft
    >>> pack_sequence([weft.asarray([1.0, 2.0]), weft.asarray([5.0])]).data.numpy()
    array([1., 5., 2.], dtype=float32)
    """
    lengths = np.array([x.shape[0] for x in sequences], np.int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (T_i, ...) of a packed batch, in the order they came in."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
