"""Checked mode: a kernel gives no report and the same bits in every order, and a bug put into it is found."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from weft.backends import emulator, launch, source
from weft.backends.gpu import conv, gemm

#: Which thread or block runs next, and whether asynchronous copies and products land as late as they may.
ORDERS = [(schedule, late) for schedule in emulator.SCHEDULES for late in (True, False)]
#: Those that differ most from each other, for the many cases of a kernel whose first runs in all.
FEW_ORDERS = [("random", True), ("lifo", False), ("reverse", True)]
#: Those of kernels that start nothing asynchronous.
SCHEDULES = [(schedule, True) for schedule in emulator.SCHEDULES]


def bits(found):
    """The bytes of arrays, on a device or not, of None and of lists and tuples of these."""
    if isinstance(found, (tuple, list)):
        return b"".join(map(bits, found))
    if found is None or isinstance(found, bytes):
        return found or b""
    return (found if isinstance(found, np.ndarray) else found.get()).tobytes()


def same_bits(run, orders=ORDERS, **settings):
    """run() -> arrays: no report in checked mode and the same bits, whichever thread or block runs first."""
    found = {}
    for schedule, late in orders:
        with emulator.settings(checked=True, schedule=schedule, late=late, **settings):
            found.setdefault(bits(run()), []).append((schedule, late))
    assert len(found) == 1, f"results by (schedule, late): {list(found.values())}"
    return found.popitem()[0]


def same_under_every_schedule(run):
    """`same_bits` of kernels without asynchronous copies, which are those of a run without checks too."""
    assert same_bits(run, SCHEDULES, seed=7, multiprocessors=2) == bits(run())


def forget():
    """Drop every kernel that was made, and every plan that holds one."""
    for kept in (launch.KERNELS, conv.PLANS, gemm.PLANS):
        kept.clear()


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
        forget()

    yield patch
    forget()


def caught(run, said, files="", **settings):
    """That run() fails, by its own assertions or by a report of the emulated device, in each mode of `said`.

    said: {"checked late", or "fast" or "early" of these: a regular expression for what is said}. files: one for the
    names of those that a report must give a line of.
    """
    for mode, words in said.items():
        with emulator.settings(checked="checked" in mode, late="late" in mode, workers=1, **settings):
            with pytest.raises((emulator.EmulatorError, AssertionError)) as error, np.errstate(all="ignore"):
                run()
        report = str(error.value)
        assert re.search(words, report), f"{mode}: {report}"
        if files and error.type is emulator.EmulatorError:
            assert re.search(rf"({files}):\d+", report), f"{mode}: no line in {report}"
