"""Hashes of bytes as 64 bits: FarmHash's fingerprint, and SipHash-2-4 with a key. Keras's layers sort texts by them.

Sources: Geoff Pike, FarmHash, Google 2014 (the fingerprint of 64 bits, which no version changes); Jean-Philippe
Aumasson and Daniel J. Bernstein, SipHash: a fast short-input PRF, INDOCRYPT 2012.
"""

from __future__ import annotations

import struct

BITS = 0xFFFFFFFFFFFFFFFF
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def word(s: bytes, i: int) -> int:
    return int.from_bytes(s[i : i + 8], "little")


def right(x: int, n: int) -> int:
    """x, taken modulo 2^64, with its bits turned right by n."""
    x &= BITS
    return (x >> n | x << (64 - n)) & BITS


def folded(x: int) -> int:
    x &= BITS
    return x ^ x >> 47


def mixed(u: int, v: int, by: int) -> int:
    """Two words as one."""
    a = folded(((u ^ v) & BITS) * by)
    return folded((v ^ a) * by) * by & BITS


def farmhash(s: bytes) -> int:
    """FarmHash's fingerprint of bytes, 0 to 2^64 - 1.

    >>> farmhash(b"") == K2
    True
    """
    n = len(s)
    by = K2 + 2 * n
    if n > 64:
        return farmhash_long(s)
    if n > 16:
        a, b, c, d = word(s, 0) * (K1 if n <= 32 else K2), word(s, 8), word(s, n - 8) * by, word(s, n - 16) * K2
        y, z = right(a + b, 43) + right(c, 30) + d, a + right(b + K2, 18) + c
        z = mixed(y, z, by)
        if n <= 32:
            return z
        e, f, g, h = word(s, 16) * by, word(s, 24), (y + word(s, n - 32)) * by, (z + word(s, n - 24)) * by
        return mixed(right(e + f, 43) + right(g, 30) + h, e + right(f + a, 18) + g, by)
    if n >= 8:
        a, b = word(s, 0) + K2, word(s, n - 8)
        return mixed(right(b, 37) * by + a, (right(a, 25) + b) * by, by)
    if n >= 4:
        first, last = (int.from_bytes(s[i : i + 4], "little") for i in (0, n - 4))
        return mixed(n + (first << 3), last, by)
    if n:
        y, z = s[0] + (s[n >> 1] << 8), n + (s[-1] << 2)
        return folded(y * K2 ^ z * K0) * K2 & BITS
    return K2


def farmhash_long(s: bytes) -> int:
    """The fingerprint of more than 64 bytes: 56 bytes of state, moved by 64 bytes at a time."""
    n = len(s)
    x, y = 81 * K2 + word(s, 0), 81 * K1 + 113
    z = folded(y * K2 + 113) * K2
    v, w = (0, 0), (0, 0)
    starts = [*range(0, (n - 1) // 64 * 64, 64), n - 64]
    by = K1
    for i in starts:
        last = i == starts[-1]
        if last:  # the last 64 bytes, which may overlap those before
            by = K1 + ((z & 0xFF) << 1)
            first = w[0] + ((n - 1) & 63)
            v = (v[0] + first, v[1])
            w = (first + v[0], w[1])
        factor = 9 if last else 1
        x = right(x + y + v[0] + word(s, i + 8), 37) * by
        y = right(y + v[1] + word(s, i + 48), 42) * by
        x = (x ^ w[1] * factor) & BITS
        y += v[0] * factor + word(s, i + 40)
        z = right(z + w[0], 33) * by
        v = half(s, i, v[1] * by, x + w[0])
        w = half(s, i + 32, z + w[1], y + word(s, i + 16))
        x, z = z, x
    return mixed(mixed(v[0], w[0], by) + folded(y) * K0 + z, mixed(v[1], w[1], by) + x, by)


def half(s: bytes, i: int, a: int, b: int) -> tuple[int, int]:
    """32 bytes and two words as two words."""
    a += word(s, i)
    b = right(b + a + word(s, i + 24), 21)
    total = a + word(s, i + 8) + word(s, i + 16)
    return (total + word(s, i + 24)) & BITS, (b + right(total, 44) + a) & BITS


def siphash(s: bytes, key: tuple[int, int]) -> int:
    """SipHash-2-4 of bytes under a key of two words, 0 to 2^64 - 1.

    >>> hex(siphash(bytes(range(15)), struct.unpack("<QQ", bytes(range(16)))))    # the paper's own example
    '0xa129ca6149be45e5'
    """
    a, b = (k & BITS for k in key)
    v = [a ^ 0x736F6D6570736575, b ^ 0x646F72616E646F6D, a ^ 0x6C7967656E657261, b ^ 0x7465646279746573]
    padded = s + bytes(7 - len(s) % 8) + bytes([len(s) & 0xFF])
    for (m,) in struct.iter_unpack("<Q", padded):
        v[3] ^= m
        rounds(v, 2)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def rounds(v: list[int], count: int) -> None:
    """`count` rounds of the four words of the state, in place."""
    a, b, c, d = v
    for _ in range(count):
        a, c = a + b & BITS, c + d & BITS
        b, d = right(b, 51) ^ a, right(d, 48) ^ c
        a = right(a, 32)
        c, a = c + b & BITS, a + d & BITS
        b, d = right(b, 47) ^ c, right(d, 43) ^ a
        c = right(c, 32)
    v[:] = a, b, c, d
