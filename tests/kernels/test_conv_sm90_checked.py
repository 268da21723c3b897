"""conv_sm90 in checked mode: no report and the same bits under every schedule; a report of every bug put into it."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from kernels.conv_sm90_checks import LARGE, PAIR, SMALL, TURNS, check
from weft.backends import emulator, launch, source
from weft.backends.gpu import conv_sm90
from weft.backends.source import folder

MODES = [(schedule, late) for schedule in ("fifo", "lifo", "reverse", "random") for late in (True, False)]
ONE = ((1, 1), (1, 1))


def convolution(tile, *, images=3, channels=72, outputs=136, taps=(3, 3), **options):
    """More tiles than blocks, ragged, some outside of out altogether where clusters are."""
    options = {"padding": ONE, **options}
    if options.get("grad"):
        channels, outputs = outputs, channels
    return check(np.random.default_rng(5), (images, channels, 7, 6), outputs, taps, tile=tile, **options)


CASES = {
    "forward": (LARGE, {"outputs": 264, "taps": (1, 2)}),
    "forward in turns, 8 channels": (TURNS, {"channels": 8, "bias": "float32", "activation": "relu"}),
    "pixels shared by a cluster, 32 channels": (PAIR, {"channels": 32}),
    "outputs that are not aligned": (SMALL, {"outputs": 67}),
    "parts of K": (SMALL, {"parts": 3, "bias": "bfloat16"}),
    "input gradient": (LARGE, {"grad": True, "outputs": 264, "taps": (2, 1)}),
    "input gradient, 16 channels": (PAIR, {"grad": True, "channels": 16}),
    "input gradient of stride 2": (TURNS, {"grad": True, "stride": (2, 2)}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_report_and_the_same_bits(case):
    tile, options = CASES[case]
    seen = set()
    for schedule, late in MODES:
        with emulator.settings(arch=90, checked=True, schedule=schedule, seed=3, late=late, multiprocessors=2):
            seen.add(convolution(tile, **options).tobytes())
    assert len(seen) == 1


# -- bugs -------------------------------------------------------------------------------------------------------------

KERNEL, MAINLOOP, TILE = "conv_sm90.cu", "gemm_sm90/mainloop.cuh", "gemm_sm90/tile.cuh"
EIGHT, GRAD = {"channels": 8}, {"grad": True}
WAIT_EMPTY = "mbarrier_wait(shared + EMPTY_AT + 8 * ring.stage, ring.phase ^ 1);"
WAIT_FULL = "mbarrier_wait(shared + FULL_AT + 8 * ring.stage, ring.phase);"
EVERYONE = "constexpr unsigned short EVERYONE = (1 << CLUSTER_N) - 1;"
WRONG = "error|poison"

#: what is wrong -> file, text, its replacement, tile, options, and what is said of it in checked mode; "" is any error.
BUGS = {
    "loads do not wait for an empty stage": (MAINLOOP, WAIT_EMPTY, "", SMALL, {}, "more arrivals|race"),
    "stages are multiplied before they are full": (MAINLOOP, WAIT_FULL, "", SMALL, EIGHT, "in flight|wgmma of"),
    "only the first piece is loaded": (KERNEL, "i < PIECES", "i < 1", SMALL, EIGHT, ""),
    "pieces lie on each other": (
        KERNEL, "stage + i * TILE_M * PIECE", "stage", SMALL, EIGHT, "TMA load|uninitialised|race"),
    "what lies behind the last tap is a tap": (
        KERNEL, "PIECES == 1 || tap_y < window.taps_h", "true", SMALL,
        {"channels": 8, "infinite": True, "padding": ((0, 0), (0, 0))}, "where there is none"),
    "offsets forget the dilation": (
        KERNEL, "tap_x * window.dilation_w", "tap_x", SMALL, {"dilation": (2, 2)}, WRONG),
    "rows and columns are exchanged": (
        KERNEL, "full, channel, x, y, image", "full, channel, y, x, image", SMALL, {}, WRONG),
    "the padding is forgotten": (KERNEL, "* window.stride_w + window.left", "* window.stride_w", SMALL, {}, WRONG),
    "the stride is forgotten": (
        KERNEL, "window.out_h * window.stride_h", "window.out_h", SMALL, {"stride": (2, 1)}, WRONG),
    "the next tap begins a channel late": (KERNEL, "piece = 0;", "piece = 1;", SMALL, {}, WRONG),
    "taps are not reversed": (KERNEL, "window.first_w + tap_x * window.step_w", "tap_x", SMALL, GRAD, WRONG),
    "the second block loads the first one's weights": (KERNEL, "column + rank_m * PART", "column", LARGE, {}, WRONG),
    "the second block leaves out its boxes": (
        KERNEL, "if (box % CLUSTER_M == rank_m)", "if (rank_m == 0 && box % CLUSTER_M == 0)", LARGE, GRAD, ""),
    "pixels are not multicast": (
        KERNEL, EVERYONE, "constexpr unsigned short EVERYONE = 1;", PAIR, {}, "deadlock"),
    "both blocks load the same pixels": (
        KERNEL, "rank_n * (TILE_M / CLUSTER_N), row", "0, row", PAIR, {"images": 7}, WRONG),
    "parts of K begin at the first tap": (
        KERNEL, "piece = slice * PIECES % window.pieces;", "piece = 0;", SMALL, {"parts": 4, "channels": 136}, WRONG),
    "a phase is stored as if it were an image": (
        TILE, "row % width, line % height", "line % height, row % width", SMALL,
        {"images": 7, "grad": True, "stride": (2, 1)}, WRONG),
    "columns of 16 bytes are not told apart": (
        MAINLOOP, "smem_descriptor(at, TILE_MN * PIECE,", "smem_descriptor(at, 8 * PIECE,", SMALL, EIGHT, WRONG),
}  # fmt: skip


@pytest.fixture
def patched(tmp_path, monkeypatch):
    """Takes kernels from a copy of their folder, with one text replaced."""

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


def forget():
    launch.KERNELS.clear()
    conv_sm90.plan.cache_clear()


@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_caught(patched, bug):
    file, text, replacement, tile, options, words = BUGS[bug]
    patched(file, text, replacement)
    with emulator.settings(arch=90, checked=True, multiprocessors=2, workers=1):
        with pytest.raises((emulator.EmulatorError, AssertionError)) as caught:
            convolution(tile, **options)
    assert re.search(words, str(caught.value)), caught.value
