"""gemm_sm90 in checked mode: no report and the same bits under every schedule; a report of every bug put into it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.checked import FEW_ORDERS, ORDERS, caught, same_bits
from kernels.gemm_checks import check
from weft.backends import emulator
from weft.backends.gpu import gemm_sm90

LARGE, TURNS, PAIR, SMALL = "128x256x64s3c2x1", "128x128x64s5p", "256x128x64s4c1x2", "64x64x64s8"
BY_STRUCTURE = (LARGE, TURNS, PAIR, SMALL)
CASES = {
    "plain": {},
    "aux": {"bias": "column", "activation": "gelu", "aux": True},
    "residual": {"residual": True, "bias": "row"},
    "beta f32": {"beta": 0.5, "out_dtype": "float32"},
    "accumulate": {"beta": 1.0, "out_dtype": "float32"},
    "elements": {"out_margin": 3},
    "elements with a bias": {"out_margin": 3, "bias": "column", "k": 64},
}


def product(tile, *, parts=1, k=200, layout="NT", **options):
    """More tiles than blocks, ragged, some outside of out altogether where clusters are."""
    kernel = f"gemm_sm90/{tile}/{parts}"
    return check(np.random.default_rng(5), 130, 264, k, "bfloat16", layout, kernel=kernel, **options)


def every_time(row):
    """Of each tile the plain case and every third of the others, which are others of the next tile."""
    tile, case = row
    return case == "plain" or (BY_STRUCTURE.index(tile) + list(CASES).index(case)) % 3 == 0


@pytest.mark.parametrize("row", policy.mostly_slow(itertools.product(BY_STRUCTURE, CASES), every_time), ids="-".join)
def test_no_report_and_the_same_bits(row):
    tile, case = row
    layout = ["NN", "NT", "TN", "TT"][list(CASES).index(case) % 4]
    run = lambda: product(tile, layout=layout, **CASES[case])
    same_bits(run, ORDERS if case == "plain" else FEW_ORDERS, arch=90, seed=3, multiprocessors=2)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [tile.name for tile in gemm_sm90.TILES])
def test_every_tile(tile):
    for i, options in enumerate(CASES.values()):
        layout, seen = ["NT", "NN", "TT", "TN"][i % 4], set()
        for seed in range(3):
            with emulator.settings(
                arch=90, checked=True, schedule="random", seed=seed, late=seed % 2 == 0, multiprocessors=4
            ):
                seen.add(product(tile, layout=layout, **{"k": 64 * 9, **options}).tobytes())
        assert len(seen) == 1


def test_parts_and_batches_checked():
    for schedule, late in (("fifo", True), ("random", False)):
        with emulator.settings(arch=90, checked=True, schedule=schedule, late=late, multiprocessors=2):
            product(TURNS, parts=3, k=64 * 7, bias="column")
            product(LARGE, batch=(2, 2), b_batch=(2, 1), layout="NN")


# -- bugs -------------------------------------------------------------------------------------------------------------

MAINLOOP, TILE, STORE = "gemm_sm90/mainloop.cuh", "gemm_sm90/tile.cuh", "gemm_sm90/store.cuh"
WAIT_EMPTY = "mbarrier_wait(shared + EMPTY_AT + 8 * ring.stage, ring.phase ^ 1);"
WAIT_FULL = "mbarrier_wait(shared + FULL_AT + 8 * ring.stage, ring.phase);"
RELEASE = "wgmma_wait<1>();  // the stage before this one has been read\n      release(previous);"
BUFFER_FREE = "if (!READS && speaks()) bulk_wait_read<STORE_BUFFERS - 2>();"

#: what is wrong -> (file, text, its replacement, tile, options), and what is said of it where.
BUGS = {
    "loads do not wait for an empty stage": (
        (MAINLOOP, WAIT_EMPTY, "", SMALL, {}),
        {"checked late": "more arrivals|race", "checked early": "race", "fast late": ""}),
    "nor in a cluster": (
        (MAINLOOP, WAIT_EMPTY, "", LARGE, {}),
        {"checked late": "more arrivals|race", "checked early": "more arrivals|race"}),
    "a stage is released while it is read": (
        (MAINLOOP, RELEASE, "release(previous);\n      wgmma_wait<1>();", SMALL, {}), {"checked late": "race"}),
    "stages are multiplied before they are full": (
        (MAINLOOP, WAIT_FULL, "", SMALL, {}), {"checked late": "wgmma of shared|in flight", "checked early": "race"}),
    "sums are read before the products end": (
        (MAINLOOP, "    wgmma_wait<0>();\n    release(previous);", "    release(previous);", SMALL, {}),
        {"fast late": "poison"}),
    "registers are not fenced": (
        (MAINLOOP, "  wgmma_fence();\n", "", SMALL, {}),
        {"checked late": "without wgmma_fence", "fast early": "without wgmma_fence"}),
    "fewer bytes are expected than come": (
        (MAINLOOP, "(full, STAGE_BYTES)", "(full, STAGE_BYTES / 2)", SMALL, {}),
        {"checked late": "", "checked early": "", "fast late": ""}),
    "teams do not wait for their turn": (
        (MAINLOOP, "(PINGPONG)\n      mbarrier_wait", "(false)\n      mbarrier_wait", TURNS, {}),
        {"checked late": "", "checked early": "race|deadlock", "fast late": "deadlock"}),
    "buffers are not fenced for TMA": (
        (STORE, "    fence_proxy_async();\n", "", SMALL, {}),
        {"checked late": "without fence_proxy_async", "checked early": "without fence_proxy_async"}),
    "TMA stores before all have written": (
        (STORE, "    warpgroup_sync();\n    if (speaks()) {", "    if (speaks()) {", SMALL, {}),
        {"checked late": "race", "checked early": "race"}),
    "a buffer is filled before TMA has read it": (
        (STORE, BUFFER_FREE, "", SMALL, {}), {"fast late": "error", "checked late": ""}),
    "a buffer is fetched into before TMA has read it": (
        (STORE, "          bulk_wait_read<1>();\n", "", LARGE, {"residual": True, "out_dtype": "float32"}),
        {"fast late": "error"}),
    "what is added is read before it comes": (
        (STORE, "mbarrier_wait(loaded + 8 * (turn % STORE_BUFFERS), turn / STORE_BUFFERS & 1);", "", LARGE,
         {"residual": True, "k": 64}),
        {"checked late": "in flight", "checked early": "race"}),
    "the bias is read before all have written it": (
        (STORE, "= column_bias[i];\n      warpgroup_sync();", "= column_bias[i];", SMALL, {"bias": "column"}),
        {"checked late": "uninitialised|race", "checked early": "uninitialised|race", "fast late": "poison"}),
    "the bias is written before all have read the one before": (
        (STORE, "if constexpr (STORE_BY == Store::elements) warpgroup_sync();", "", SMALL,
         {"out_margin": 3, "bias": "column", "k": 64}),
        {"checked late": "race", "checked early": "race"}),
    "lanes do not wait for each other's elements": (
        (STORE, "    fragment.store(x, staged);\n    __syncwarp();", "    fragment.store(x, staged);", SMALL,
         {"out_margin": 3}),
        {"checked late": "race", "checked early": "race"}),
    "the block ends before its stores": (
        (STORE, "if (STORE_BY != Store::elements && speaks()) bulk_wait<0>();", "", SMALL, {}),
        {"fast late": "before the thread exits", "checked late": "before the thread exits"}),
    "multicast leaves the neighbour out": (
        (TILE, "EVERYONE = (1 << SHARERS) - 1;", "EVERYONE = 1;", LARGE, {}),
        {"checked late": "deadlock", "fast early": "deadlock"}),
    "multicast beyond the cluster": (
        (TILE, "EVERYONE = (1 << SHARERS) - 1;", "EVERYONE = 7;", LARGE, {}),
        {"checked late": "mask 0x7", "fast early": "mask 0x7"}),
    "only the own producer hears of an empty stage": (
        (MAINLOOP, "mbarrier_arrive_remote(empty, lane);", "mbarrier_arrive(empty);", LARGE, {}),
        {"checked late": "race", "checked early": "race"}),
    "loads before the neighbour has started": (
        (MAINLOOP, "  if constexpr (CLUSTER > 1) {\n    cluster_sync();\n  } else {\n    __syncthreads();\n  }\n",
         "  __syncthreads();\n", LARGE, {}),
        {"checked late": "may not have started", "checked early": "may not have started"}),
    "exit before the neighbour's last word": (
        (MAINLOOP, "    if constexpr (CLUSTER > 1) cluster_sync();\n", "", LARGE, {}),
        {"checked late": "exits although", "checked early": "exits although"}),
}  # fmt: skip


QUICK = list(BUGS)[::3]


@pytest.mark.parametrize("bug", policy.mostly_slow(BUGS, QUICK.__contains__))
def test_bugs_are_caught(patched, bug):
    (file, text, replacement, tile, options), said = BUGS[bug]
    patched(file, text, replacement)
    run = lambda: product(tile, **{"k": 64 * 12, **options})
    caught(run, said, r"gemm_sm90\.cu|(mainloop|tile|store)\.cuh", arch=90, multiprocessors=2)
