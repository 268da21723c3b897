"""What tests of the kernels on rows share: how near results must be, runs over schedules, bugs put into kernels."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from kernels.array_checks import ROUNDING, on
from weft.backends import emulator, launch, source


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
        worst = (np.abs(values - w) - allowed).max()
        assert worst <= 0, f"output {i}: {worst} beyond {allowed.max()}, of {scale}"


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


def bits(outs):
    return [None if out is None else out.get().tobytes() for out in outs]


def same_under_every_schedule(run):
    """run() -> device arrays: no report in checked mode and the same bits, whichever thread or block runs first."""
    plain = bits(run())
    for schedule in emulator.SCHEDULES:
        for late in (True, False):
            with emulator.settings(checked=True, schedule=schedule, seed=7, late=late, multiprocessors=2):
                assert bits(run()) == plain, f"{schedule}, late={late}"


@pytest.fixture
def patched(tmp_path, monkeypatch):
    """Takes kernels from a copy of their folder, with one text replaced."""
    folder = source.folder

    def patch(file, text, replacement):
        shutil.copytree(folder("kernels"), tmp_path / "kernels")
        path = tmp_path / "kernels" / file
        before = path.read_text()
        assert text in before, f"{file} no longer holds {text!r}"
        path.write_text(before.replace(text, replacement))
        monkeypatch.setattr(source, "folder", lambda name: tmp_path / name if name == "kernels" else folder(name))
        launch.KERNELS.clear()

    yield patch
    launch.KERNELS.clear()


def caught(run, checked):
    """That run() fails: by its own assertions, or by what the emulator says of the kernel."""
    with emulator.settings(checked=checked, schedule="random", seed=3, workers=1):
        with pytest.raises((emulator.EmulatorError, AssertionError)):
            run()
