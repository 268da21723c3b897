"""Random numbers for augmentation: each depends on seed, epoch, sample and draw, and on nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.reference.random import LOW, philox4x32
from weft.random import fold

Array = np.ndarray[Any, Any]
STREAM = 2  # third word of the counter; weft.random's streams have 0 there and `fold` has 1


class SampleRandom:
    """Random numbers for all samples of a batch at once, the same whatever batch or worker a sample falls to.

    indices: (N,) of the samples. Each call draws anew, and every result has N rows, one per sample.

    >>> rng = SampleRandom(seed=0, epoch=3, indices=numpy.array([5, 2]))                    # doctest: +SKIP
    >>> rng.uniform(-1, 1).shape                                                            # doctest: +SKIP
    (2,)
    """

    def __init__(self, seed: int, epoch: int, indices: Any):
        key = fold(seed, epoch)
        self.key = (key & LOW, key >> 32)
        self.indices = np.asarray(indices).astype(np.uint64)
        self.drawn = 0

    def __len__(self) -> int:
        return len(self.indices)

    def only(self, chosen: Array) -> SampleRandom:
        """Random numbers for some of the samples, `chosen` (n,) their places, independent of those drawn here.

        >>> SampleRandom(0, 0, np.arange(5)).only(np.array([1, 3])).uniform().shape
        (2,)
        """
        own = copy.copy(self)
        key = fold(self.key[0] | self.key[1] << 32, self.drawn)
        own.key, own.indices, own.drawn = (key & LOW, key >> 32), self.indices[chosen], 0
        self.drawn += 1
        return own

    def words(self, n: int) -> Array:
        """`n` random 32-bit words per sample, uint64 (N, n)."""
        blocks = -(-n // 4)
        index = self.indices[:, None]
        block = np.arange(self.drawn, self.drawn + blocks, dtype=np.uint64)[None]
        self.drawn += blocks
        shape = (len(self), blocks)
        counter = (index & np.uint64(LOW), index >> np.uint64(32), np.full((1, 1), STREAM, np.uint64), block)
        words = philox4x32(tuple(np.broadcast_to(word, shape) for word in counter), self.key)  # type: ignore[arg-type]
        return np.stack(words, axis=2).reshape(len(self), 4 * blocks)[:, :n]

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Sequence[int] = ()) -> Array:
        """Uniforms in [low, high), float32 (N, *size)."""
        shape = (len(self), *size)
        unit = (self.words(math.prod(size)) >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
        return (unit * np.float32(high - low) + np.float32(low)).reshape(shape)

    def integers(self, low: int, high: int, size: Sequence[int] = ()) -> Array:
        """Integers in [low, high), int64 (N, *size); the range must be smaller than 2**32."""
        if not 0 < high - low < 2**32:
            raise ValueError(f"integers: expected low < high, less than 2**32 apart, got {low} and {high}")
        scaled = self.words(math.prod(size)) * np.uint64(high - low) >> np.uint64(32)
        return (scaled.astype(np.int64) + low).reshape((len(self), *size))

    def normal(self, size: Sequence[int] = ()) -> Array:
        """Standard normals, float32 (N, *size): of each sample the stream of a seed that is drawn for it."""
        low, high = self.words(2).T
        out = np.empty((len(self), *size), np.float32)
        for row, seed in zip(out.reshape(len(self), math.prod(size)), (low | high << np.uint64(32)).tolist()):
            K.random_normal(row, seed=seed, offset=0)
        return out
