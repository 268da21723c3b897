"""Dropout: zero what a Philox stream says, scale the rest."""

from __future__ import annotations

import math

from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.reference.random import threshold, words
from weft.backends.registry import primitive


def kept(shape, *, p, seed, offset):
    """Which elements survive: those whose uniform, one per element in C order, is at least p.  -> bool of `shape`."""
    return (words(math.prod(shape), seed, offset) >> 8 >= threshold(p)).reshape(shape)


def keep_scale(p):
    """What keeps the expectation: 1 / (1 - p), and 0 where nothing is kept."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


@primitive
def dropout(x, *, p, seed, offset):
    """x -> same shape: 0 with probability p, else x / (1 - p). Linear in x, so it is its own backward."""
    stays = kept(x.shape, p=p, seed=seed, offset=offset)
    return narrow(namespace(x).where(stays, wide(x) * keep_scale(p), 0.0), x.dtype)
