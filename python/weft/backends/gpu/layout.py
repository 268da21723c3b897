"""How kernels walk strided arrays: the order of dimensions, which of them merge, and the struct that kernels read."""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAX_RANK = 8
NARROW = 1 << 31  # elements and offsets below this are counted in 32 bits
Shape = tuple[int, ...]


def broadcast(name: str, shapes: Sequence[Shape]) -> Shape:
    """The shape that all `shapes` broadcast to; ValueError names them."""
    rank = max([len(s) for s in shapes], default=0)
    out = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, rank - len(shape)):
            if n != 1:
                if out[i] not in (1, n):
                    raise ValueError(f"{name}: expected shapes that broadcast, got {' and '.join(map(str, shapes))}")
                out[i] = n
    return tuple(out)


def spread(shape: Shape, strides: Shape, itemsize: int, to: Shape) -> list[int]:
    """Strides in elements of an array broadcast to the shape `to`: 0 along the axes that it repeats."""
    lead = len(to) - len(shape)
    return [0] * lead + [0 if n == 1 else s // itemsize for n, s in zip(shape, strides)]


def memory_order(shape: Shape, strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The axes of `shape` from the outermost in memory to the innermost, where the operands agree; else C order.

    An operand has no opinion about axes along which it repeats itself.
    """
    axes = [i for i, n in enumerate(shape) if n > 1]
    c_order = tuple(range(len(shape)))
    chosen = None
    for steps in strides:
        if not axes or all([steps[i] == 0 for i in axes]):
            continue
        if chosen is None:
            if any([steps[i] == 0 for i in axes]):  # it repeats: it only may object
                continue
            chosen = sorted(axes, key=lambda i: -abs(steps[i]))
    if chosen is None or chosen == axes:
        return c_order
    for steps in strides:
        known = [abs(steps[i]) for i in chosen if steps[i]]
        if known != sorted(known, reverse=True):
            return c_order
    rest = iter(chosen)
    return tuple([next(rest) if n > 1 else i for i, n in enumerate(shape)])


def dense(shape: Shape, order: tuple[int, ...]) -> list[int]:
    """Strides in elements of an array without gaps whose axes lie in `order`, outermost first."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return strides


def collapse(
    shape: Shape, strides: Sequence[Sequence[int]], order: tuple[int, ...]
) -> tuple[list[int], list[list[int]]]:
    """Sizes, and strides per operand, innermost first, in as few dimensions as the memory allows."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis in reversed(order):
        n = shape[axis]
        if n == 1:
            continue
        if sizes and all([s[axis] == t[-1] * sizes[-1] for s, t in zip(strides, steps)]):
            sizes[-1] *= n
            continue
        sizes.append(n)
        for s, t in zip(strides, steps):
            t.append(s[axis])
    if not sizes:
        return [1], [[0] for _ in strides]
    return sizes, steps


def division(divisor: int) -> tuple[int, int, int]:
    """`Division` of common.cuh: (divisor, multiplier, shift); divisors from 2^31 on only occur with 64-bit indices."""
    if divisor >= 1 << 31:
        return divisor & 0xFFFFFFFF, 0, 0
    divisor = max(divisor, 1)  # of nothing, which is not walked
    shift = (divisor - 1).bit_length()
    return divisor, ((1 << 32) * ((1 << shift) - divisor)) // divisor + 1 & 0xFFFFFFFF, shift


def check_rank(name: str, sizes: Sequence[int]) -> None:
    if len(sizes) > MAX_RANK:
        raise ValueError(f"{name}: expected memory of at most {MAX_RANK} dimensions, got one of {len(sizes)}")


def pack(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> bytes:
    """`Layout` of common.cuh."""
    rank = len(sizes)
    fill = [0] * (MAX_RANK - rank)
    words = [w for n in sizes for w in division(n)] + 3 * fill
    steps = [s for operand in strides for s in (*operand, *fill)]
    return struct.pack(f"<{3 * MAX_RANK}I i4x {len(steps)}q".replace(" ", ""), *words, rank, *steps)


def reach(sizes: Sequence[int], strides: Sequence[int]) -> int:
    """The farthest offset, in elements, of the walk of one operand."""
    return sum([(n - 1) * abs(s) for n, s in zip(sizes, strides)])
