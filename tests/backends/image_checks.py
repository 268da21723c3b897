"""What the checks of convolution, pooling and batch norm share: other processes, and memory full of NaN."""

import os
import subprocess
import sys

import numpy as np

import weft


def elsewhere(script, **settings):
    """What `script` prints in a process of its own, where WEFT_ISA and WEFT_NUM_THREADS can differ."""
    path = [os.path.dirname(os.path.dirname(__file__)), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p), **settings}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{settings}: {done.stderr}"
    return done.stdout


def poison():
    """Leave NaN in the memory that the next large arrays get."""
    for _ in range(2):
        blocks = [weft._cpu.empty((n,)) for n in (1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 20)]
        for block in blocks:
            block[:] = np.nan


def close(got, want, what, tolerance=2e-6):
    """Shape, dtype and NaN agree, and every element lies within `tolerance` of the largest."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if got.dtype.kind != "f":
        return np.testing.assert_array_equal(got, want, what)
    assert got.dtype == np.float32, what
    plain = np.isfinite(want)
    np.testing.assert_array_equal(got[~plain], want[~plain].astype(np.float32), what)
    worst = np.abs(got[plain] - want[plain]).max(initial=0)
    assert worst <= tolerance * max(1, np.abs(want[plain]).max(initial=0)), f"{what}: off by {worst}"


def strided(a, kind):
    """The same values, contiguous or in memory that a kernel cannot walk through."""
    if kind == 1 and a.ndim > 1:
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)).transpose(0, -1, *range(1, a.ndim - 1))
    if kind == 2:
        return np.repeat(a, 2, axis=-1)[..., ::2]
    return a
