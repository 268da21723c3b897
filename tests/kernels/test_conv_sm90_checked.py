"""conv_sm90 in checked mode: no report and the same bits under every schedule; a report of every bug put into it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import policy
from kernels.checked import FEW_ORDERS, ORDERS, caught, same_bits
from kernels.conv_checks import Conv, check

pytestmark = policy.needs("emulator")
LARGE, TURNS, PAIR, SMALL = "128x256x64s3c2x1", "128x128x64s5p", "256x128x64s4c1x2", "64x64x64s8"
ONE = ((1, 1), (1, 1))
FORWARD, INPUT_GRAD, WEIGHT_GRAD = "forward", "input_grad", "weight_grad"

#: More tiles than blocks, ragged, some outside of out altogether where clusters are.
LAYER = Conv(3, 72, 7, 6, 136, padding=ONE)
FLIPPED = Conv(3, 136, 7, 6, 72, padding=ONE)


def convolution(tile, direction, case=LAYER, parts=1, **changes):
    options = {name: changes.pop(name) for name in ("bias", "activation") if name in changes}
    case = dataclasses.replace(case, **changes)
    return check(np.random.default_rng(5), case, direction, "bfloat16", kernel=f"conv_sm90/{tile}/{parts}", **options)


CASES = {
    "forward": (LARGE, FORWARD, {"O": 264, "kernel": (1, 2)}),
    "forward in turns, 8 channels": (TURNS, FORWARD, {"C": 8, "activation": "relu"}),
    "pixels shared by a cluster, 32 channels": (PAIR, FORWARD, {"C": 32}),
    "outputs that are not aligned": (SMALL, FORWARD, {"O": 67, "kernel": (2, 1)}),
    "parts of K": (SMALL, FORWARD, {"N": 2, "kernel": (1, 3), "parts": 3}),
    "input gradient": (LARGE, INPUT_GRAD, {"case": FLIPPED, "C": 264, "kernel": (2, 1)}),
    "input gradient, 16 channels": (PAIR, INPUT_GRAD, {"case": FLIPPED, "O": 16}),
    "input gradient of stride 2": (TURNS, INPUT_GRAD, {"case": FLIPPED, "stride": (2, 2)}),
    "weight gradient": (LARGE, WEIGHT_GRAD, {"C": 64, "kernel": (3, 1)}),
    "weight gradient, 8 channels": (TURNS, WEIGHT_GRAD, {"C": 8, "N": 5}),
    "weight gradient, 32 channels, in parts": (PAIR, WEIGHT_GRAD, {"C": 32, "N": 6, "kernel": (2, 1), "parts": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_report_and_the_same_bits(case):
    tile, direction, options = CASES[case]
    orders = ORDERS if case in ("forward", "input gradient", "weight gradient") else FEW_ORDERS
    same_bits(lambda: convolution(tile, direction, **options), orders, arch=90, seed=3, multiprocessors=2)


# -- bugs -------------------------------------------------------------------------------------------------------------

KERNEL, MAINLOOP, TILE = "conv_sm90.cu", "gemm_sm90/mainloop.cuh", "gemm_sm90/tile.cuh"
WAIT_EMPTY = "mbarrier_wait(shared + EMPTY_AT + 8 * ring.stage, ring.phase ^ 1);"
WAIT_FULL = "mbarrier_wait(shared + FULL_AT + 8 * ring.stage, ring.phase);"
EVERYONE = "constexpr unsigned short EVERYONE = (1 << SHARERS) - 1;"
WRONG = "error|poison"

#: what is wrong -> file, text, its replacement, tile, pass, changes, and what is said of it in checked mode; "" is any
#: error.
BUGS = {
    "loads do not wait for an empty stage": (MAINLOOP, WAIT_EMPTY, "", SMALL, FORWARD, {}, "more arrivals|race"),
    "stages are multiplied before they are full": (
        MAINLOOP, WAIT_FULL, "", SMALL, FORWARD, {"C": 8}, "in flight|wgmma of"),
    "only the first piece is loaded": (KERNEL, "i < 64 / CHANNELS", "i < 1", SMALL, FORWARD, {"C": 8}, ""),
    "pieces lie on each other": (
        KERNEL, "(i * TILE_M + rank_n * PART_M)", "(rank_n * PART_M)", SMALL, FORWARD, {"C": 8},
        "TMA load|uninitialised|race"),
    "offsets forget the dilation": (
        KERNEL, "piece.x * window.dilation_w", "piece.x", SMALL, FORWARD, {"dilation": (2, 2)}, WRONG),
    "rows and columns are exchanged": (
        KERNEL, "channel, pixel.x, pixel.y, pixel", "channel, pixel.y, pixel.x, pixel", SMALL, FORWARD, {}, WRONG),
    "the padding is forgotten": (
        KERNEL, "* window.stride_w + window.left", "* window.stride_w", SMALL, WEIGHT_GRAD, {}, WRONG),
    "the stride is forgotten": (
        KERNEL, "window.out_h * window.stride_h", "window.out_h", SMALL, FORWARD, {"stride": (2, 1)}, WRONG),
    "the next tap begins a channel late": (KERNEL, "number = 0;", "number = 1;", SMALL, FORWARD, {}, WRONG),
    "taps are not reversed": (
        KERNEL, "window.first_w + piece.x * window.step_w", "piece.x", SMALL, INPUT_GRAD, {}, WRONG),
    "the second block loads the first one's filters": (
        KERNEL, "tile.column + rank_m * PART_N", "tile.column", LARGE, FORWARD, {}, WRONG),
    "pixels are not multicast": (
        KERNEL, EVERYONE, "constexpr unsigned short EVERYONE = 1;", PAIR, FORWARD, {}, "deadlock"),
    "both blocks load the same pixels": (
        KERNEL, "tile.row + rank_n * PART_M", "tile.row", PAIR, FORWARD, {"N": 7}, WRONG),
    "parts of K begin at the first tap": (
        KERNEL, "slice * (64 / CHANNELS)", "0", SMALL, FORWARD, {"parts": 4, "C": 136}, WRONG),
    "a phase is stored as if it were an image": (
        TILE, "row % width, line % height", "line % height, row % width", SMALL, INPUT_GRAD,
        {"N": 7, "stride": (2, 1)}, WRONG),
    "rows of 16 bytes along K are not told apart": (
        MAINLOOP, "K ? smem_descriptor(at, BOX,", "K ? smem_descriptor(at, EIGHT,", SMALL, FORWARD, {"C": 8}, WRONG),
    "rows of 16 bytes across K are taken for the others": (
        MAINLOOP, "smem_descriptor(at, EIGHT, BOX, 0)", "smem_descriptor(at, BOX, EIGHT, 0)", SMALL, WEIGHT_GRAD,
        {"C": 8}, WRONG),
    "columns of the weight gradient begin at the first pixel": (
        KERNEL, "pixel(window, slice * 64)", "pixel(window, 0)", SMALL, WEIGHT_GRAD, {}, WRONG),
    "the weight gradient's tiles begin at the first tap": (
        KERNEL, "Piece(window, tile.column / CHANNELS)", "Piece(window, 0)", SMALL, WEIGHT_GRAD, {}, WRONG),
    "the second block leaves out its columns": (
        KERNEL, "if (i % CLUSTER_M == rank_m)", "if (rank_m == 0 && i % CLUSTER_M == 0)", LARGE, WEIGHT_GRAD,
        {"C": 32}, ""),
    "the second block leaves out its gradients": (
        KERNEL, "if (box % CLUSTER_N != rank_n) continue;", "if (rank_n || box % CLUSTER_N) continue;", PAIR,
        WEIGHT_GRAD, {}, ""),
}  # fmt: skip


QUICK = list(BUGS)[::3]


@pytest.mark.parametrize("bug", policy.mostly_slow(BUGS, QUICK.__contains__))
def test_bugs_are_caught(patched, bug):
    file, text, replacement, tile, direction, options, words = BUGS[bug]
    patched(file, text, replacement)
    case = FLIPPED if direction == INPUT_GRAD else LAYER
    caught(lambda: convolution(tile, direction, case, **options), {"checked late": words}, arch=90, multiprocessors=2)
