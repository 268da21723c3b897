"""Philox4x32-10 random numbers: bits, uniforms and normals that are equal on every device.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11). The generator is a function of a
counter and a key: word i of the stream `seed` is word i % 4 of the block with counter i // 4 and key `seed`, so any
part of the stream can be computed on its own, by any number of threads.

Normals are Box-Muller over polynomials that are written out here: each step is one IEEE operation on float64, so every
device gets the same bits, which the libraries' log and cos would not give.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.backends.device import beside
from weft.backends.registry import primitive

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF
BLOCKS_AT_ONCE = 1 << 14  # so that the working set of the vectorised rounds stays in cache

# significant bits of a uniform, per dtype: as many as keep every value exact and below one
UNIFORM_BITS = {"d": 53, "f": 24, "e": 11, "E": 8}

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # log(2) in two parts: e * HIGH is exact
ATANH = [1 / (2 * k + 1) for k in range(12)]  # atanh(s) / s in powers of s * s
SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(9)]  # sin(a) / a in powers of a * a
COS = [(-1) ** k / math.factorial(2 * k) for k in range(10)]


def philox4x32(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Ten rounds over a counter of four words (Python ints, or uint64 arrays of 32-bit values) -> four words.

    >>> [hex(w) for w in philox4x32((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & LOW, (a >> 32) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return c0, c1, c2, c3


def words(n: int, seed: int, offset: int) -> np.ndarray[Any, Any]:
    """Words `offset` to `offset + n` of the stream `seed` as uint32 (n,); offset is a multiple of 4."""
    blocks = -(-n // 4)
    out = np.empty((blocks, 4), np.uint32)
    seed, offset = int(seed), int(offset)  # arrays of a device in a recorded step, which then says that it cannot be
    key = (seed & LOW, seed >> 32)
    for start in range(0, blocks, BLOCKS_AT_ONCE):
        stop = min(blocks, start + BLOCKS_AT_ONCE)
        index = np.arange(start, stop, dtype=np.uint64) + np.uint64(offset // 4)
        zero = np.zeros_like(index)
        for j, word in enumerate(philox4x32((index & LOW, index >> 32, zero, zero), key)):
            out[start:stop, j] = word
    return out.reshape(-1)[:n]


def polynomial(coefficients: list[float], x: Any) -> Any:
    """Horner's rule, one rounding per operation."""
    y = coefficients[-1]
    for c in coefficients[-2::-1]:
        y = y * x + c
    return y


def log(u: Any) -> Any:
    """Natural logarithm of positive normal float64."""
    bits = u.view(np.int64)
    exponent = (bits - 0x3FE6A09E00000000) >> 52  # so that u / 2**exponent lies between sqrt(1/2) and sqrt(2)
    m = (bits - (exponent << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    e = exponent.astype(np.float64)
    return e * LN2_HIGH + (2.0 * s * polynomial(ATANH, s * s) + e * LN2_LOW)


def box_muller(w: Any) -> Any:
    """Words (..., 2) uint32 -> independent standard normals (..., 2) float64."""
    u = (w[..., 0].astype(np.float64) + 0.5) * 2.0**-32
    r = np.sqrt(-2.0 * log(u))
    # The upper two bits choose the quadrant, the others an angle around its middle, between -pi/4 and pi/4.
    angle = ((w[..., 1] & 0x3FFFFFFF).astype(np.float64) - (2.0**29 - 0.5)) * (2.0 * math.pi * 2.0**-32)
    square = angle * angle
    s, c = angle * polynomial(SIN, square), polynomial(COS, square)
    odd, upper = (w[..., 1] >> 30 & 1).astype(bool), (w[..., 1] >> 31).astype(bool)
    r = np.where(upper, -r, r)
    x, y = np.where(odd, -s, c), np.where(odd, c, s)
    return np.stack([r * x, r * y], axis=-1)


def threshold(p: float) -> int:
    """A word w falls below probability p, in steps of 2**-24, exactly when w >> 8 is less than this."""
    return math.ceil(p * 2**24)


@primitive
def random_bits(out, *, seed, offset):
    """Fill `out` (uint32, C order) with words of the stream `seed` from `offset`, a multiple of 4, on."""
    out[...] = beside(words(out.size, seed, offset).reshape(out.shape), out)
    return out


@primitive
def random_uniform(out, *, seed, offset):
    """Fill `out` (C order) with uniforms in [0, 1): the upper bits of one word each, of two for float64."""
    if out.dtype.char == "d":
        w = words(2 * out.size, seed, offset).reshape(-1, 2).astype(np.uint64)
        u = ((w[:, 0] << 21) | (w[:, 1] >> 11)).astype(np.float64) * 2.0**-53
    else:
        bits = UNIFORM_BITS[out.dtype.char]
        u = (words(out.size, seed, offset) >> (32 - bits)).astype(np.float32) * np.float32(2.0**-bits)
    out[...] = beside(u.reshape(out.shape), out)
    return out


@primitive
def random_normal(out, *, seed, offset):
    """Fill `out` (C order) with standard normals, one word each, computed in float64 and rounded once."""
    n = out.size
    z = box_muller(words(n + n % 2, seed, offset).reshape(-1, 2))
    out[...] = beside(z.reshape(-1)[:n].reshape(out.shape), out)
    return out
