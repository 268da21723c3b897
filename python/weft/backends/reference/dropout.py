"""Dropout: zero what a Philox stream says, scale the rest."""

from __future__ import annotations

import math

import numpy as np

from weft.backends.array import device_of, namespace, on_devices
from weft.backends.reference.precision import narrow, wide
from weft.backends.reference.random import random_bits, threshold, words
from weft.backends.registry import primitive


def kept(shape, *, p, seed, offset, device="cpu"):
    """Which elements survive: those whose uniform, one per element in C order, is at least p.  -> bool of `shape`."""
    least = threshold(p)
    if device == "cpu":
        return (words(math.prod(shape), seed, offset) >> 8 >= least).reshape(shape)
    xp = on_devices()
    if least == 1 << 24:
        return xp.zeros(shape, dtype=bool, device=device)
    bits = random_bits(xp.empty(shape, dtype=np.uint32, device=device), seed=seed, offset=offset)
    return xp.greater_equal(bits, least << 8)


def keep_scale(p):
    """What keeps the expectation: 1 / (1 - p), and 0 where nothing is kept."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


@primitive
def dropout(x, *, p, seed, offset):
    """x -> same shape: 0 with probability p, else x / (1 - p). Linear in x, so it is its own backward."""
    stays = kept(x.shape, p=p, seed=seed, offset=offset, device=device_of(x))
    return narrow(namespace(x).where(stays, wide(x) * keep_scale(p), 0.0), x.dtype)
