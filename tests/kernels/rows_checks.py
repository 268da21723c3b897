"""What tests of the kernels on rows share: how near results must be, and how arrays may lie."""

from __future__ import annotations

import numpy as np

from kernels import checked as checks
from kernels.array_checks import ROUNDING, on


def widened(x):
    """What the reference of the same precision computes with: 16 bits as float32."""
    return x if x is None or x.dtype.kind in "biu" or x.dtype.itemsize > 2 else x.astype(np.float32)


def exact(x):
    return x if x is None or x.dtype.kind in "biu" else x.astype(np.float64)


def accurate(got, reference, arrays, params, *, terms=0.0, kinds=None):
    """Each of `got` within twice the error that the reference has in the same precision, and a few roundings.

    arrays: the inputs of the primitive in NumPy. terms: the size of what is subtracted, where results cancel.
    """
    outs = got if type(got) is tuple else (got,)
    many = lambda out: out if type(out) is tuple else (out,)
    same = many(reference(*[widened(a) for a in arrays], **params))
    want = many(reference(*[exact(a) for a in arrays], **params))
    for i, (g, s, w) in enumerate(zip(outs, same, want, strict=True)):
        if w is None:
            assert g is None
            continue
        values = g.get().astype(np.float64)
        assert values.shape == w.shape and np.isfinite(values).all(), f"output {i}: {values.shape}, {w.shape}"
        if kinds is not None:
            assert g.dtype == kinds[i], f"output {i}: {g.dtype}, expected {kinds[i]}"
        if not w.size:
            continue
        # the reference of float64 is what is compared with: how far off it is itself is not known
        computed = 16 * ROUNDING["d"] if g.dtype.char == "d" else ROUNDING["f"]
        scale = max(np.abs(w).max(), terms)
        allowed = 2 * np.abs(s.astype(np.float64) - w).max() + 4 * computed * scale
        allowed = allowed + 1.01 * ROUNDING[g.dtype.char] * np.abs(w) + (2.0**-24 if g.dtype.char == "e" else 0)
        off = np.abs(values - w)
        at = np.unravel_index(np.argmax(off / np.maximum(allowed, np.finfo(np.float64).tiny)), off.shape)
        assert off[at] <= allowed[at], f"output {i}: off by {off[at]} of {scale}, {allowed[at]} allowed, at {at}"


def lie(values, device, kind):
    """Values on a device in other memory: as they come, transposed, with gaps, backwards or off the 16 bytes."""
    if kind == "transposed":
        return on(device, np.ascontiguousarray(values.T)).T
    if kind == "gaps":
        wide = np.full((*values.shape[:-1], 2 * values.shape[-1] + 1), 99, values.dtype)
        wide[..., 1::2] = values
        return on(device, wide)[..., 1::2]
    if kind == "backwards":
        return on(device, np.ascontiguousarray(values[..., ::-1]))[..., ::-1]
    if kind == "misaligned":
        flat = np.concatenate([np.full(1, 99, values.dtype), values.reshape(-1)])
        return on(device, flat)[1:].reshape(values.shape)
    return on(device, values)


LAYOUTS = ("transposed", "gaps", "backwards", "misaligned")


def caught(run, checked):
    """That run() fails, in checked mode or without."""
    checks.caught(run, {"checked late" if checked else "fast late": ""}, schedule="random", seed=3)
