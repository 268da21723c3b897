"""attention_sm90 in checked mode: no report and the same bits in every schedule; a report of every bug put into it."""

from __future__ import annotations

import dataclasses

import pytest

import policy
from kernels.attention_sm90_checks import TINY, check, check_varlen
from kernels.checked import FEW_ORDERS, ORDERS, caught, same_bits
from weft.backends.gpu import attention_sm90
from weft.backends.gpu.attention_sm90 import Tile

pytestmark = policy.needs("emulator")
#: Ragged, more tiles than blocks, three steps of keys for most rows; results in memory of their own.
SHAPE = (2, 2, 1, 130, 97, 32, 32)
ALONE = dataclasses.replace(TINY, turns=False)
KINDS = {
    "two in turn": (SHAPE, TINY, None),
    "three in turn": ((1, 2, 1, 200, 97, 32, 32), Tile(3, 32, 3), 1),
    "each alone": (SHAPE, ALONE, 1),
    "results in the queries' memory": ((1, 2, 1, 130, 97, 256, 256), Tile(2, 80, turns=False), 1),
}


def run(shape, tile, visible):
    return check(shape, "emulated", tile=tile, visible=visible, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_no_report_and_the_same_bits(kind):
    orders = ORDERS if kind == "two in turn" else FEW_ORDERS
    same_bits(lambda: run(*KINDS[kind]), orders, arch=90, seed=3, multiprocessors=3)


def test_sequences_of_different_lengths():
    lengths = [(130, 97), (0, 5), (70, 33)]
    run = lambda: check_varlen(lengths, "emulated", visible=1, bottom_right=True, seed=1)
    same_bits(run, FEW_ORDERS, arch=90, seed=3, multiprocessors=3)


@pytest.mark.slow
@pytest.mark.parametrize("head", list(attention_sm90.TILES))
def test_every_tile(head):
    for order, visible in (("full", None), ("causal", 1)):
        for tile in attention_sm90.TILES[head][order]:
            shape = (1, 2, 1, tile.m + 10, 2 * tile.n + 7, head, head)
            same_bits(lambda: run(shape, tile, visible), arch=90, seed=3, multiprocessors=3)  # noqa: B023


# -- bugs -------------------------------------------------------------------------------------------------------------

KERNEL, TILE, PRODUCTS = "attention_sm90.cu", "attention_sm90/tile.cuh", "attention_sm90/products.cuh"
K_READ = "        wgmma_wait<1>();\n        wgmma_hold(s);\n        release(shared + K_EMPTY_AT + 8 * keys.stage);\n"
V_READ = "        wgmma_wait<0>();\n        wgmma_hold(sums);\n        release(v_empty);\n"

#: what is wrong -> (file, text, its replacement, tile), and what is said of it where. That products wait for keys
#: cannot be tested here: whoever waited for a later load, of queries or values, counts as having waited for the keys.
BUGS = {
    "keys are loaded over those that are read": (
        (KERNEL, "mbarrier_wait(shared + K_EMPTY_AT + 8 * keys.stage, keys.phase ^ 1);", "", TINY),
        {"checked late": "more arrivals|race", "checked early": "more arrivals|race"}),
    "values too": (
        (KERNEL, "mbarrier_wait(shared + V_EMPTY_AT + 8 * values.stage, values.phase ^ 1);", "", TINY),
        {"checked late": "more arrivals|race", "checked early": "more arrivals|race"}),
    "queries too": (
        (KERNEL, "      mbarrier_wait(shared + Q_EMPTY_AT + 8 * i, q_phase ^ 1);\n", "", TINY),
        {"checked late": "wgmma of shared|more arrivals", "checked early": "more arrivals|race"}),
    "fewer bytes are expected than come": (
        (KERNEL, "(full, COUNT * BYTES)", "(full, COUNT * BYTES / 2)", TINY), {"checked late": "", "fast late": ""}),
    "products start before values have come": (
        (KERNEL, "mbarrier_wait(shared + V_FULL_AT + 8 * values.stage, values.phase);", "", TINY),
        {"checked late": "wgmma of shared|in flight", "checked early": "race"}),
    "before queries have come": (
        (KERNEL, "mbarrier_wait(q_full, q_phase);", "", TINY),
        {"checked late": "wgmma of shared|in flight", "checked early": "race"}),
    "scores are read before their product ends": (
        (KERNEL, K_READ, K_READ.replace("<1>", "<2>"), TINY), {"fast late": ""}),
    "keys are released before they are read": (
        (KERNEL, K_READ, "        release(shared + K_EMPTY_AT + 8 * keys.stage);\n        wgmma_wait<1>();\n", TINY),
        {"checked late": "race"}),
    "sums are scaled before their product ends": (
        (KERNEL, V_READ, "        release(v_empty);\n", TINY), {"fast late": ""}),
    "values are released before they are read": (
        (KERNEL, V_READ, "        release(v_empty);\n        wgmma_wait<0>();\n", TINY), {"checked late": "race"}),
    "registers are not fenced": (
        (KERNEL, "        wgmma_fence();\n", "", TINY), {"fast late": "without wgmma_fence"}),
    "queries are released before the last scores": (
        (KERNEL, "      q_phase ^= 1;\n", "      q_phase ^= 1;\n      release(q_empty);\n", TINY),
        {"checked late": "wgmma of shared|more arrivals|race"}),
    "results are not fenced for TMA": (
        (KERNEL, "    fence_proxy_async();\n", "", TINY), {"checked late": "without fence_proxy_async"}),
    "TMA stores before all have written": (
        (KERNEL, "    warpgroup_sync();\n    const int rows_left", "    const int rows_left", TINY),
        {"checked late": "race", "checked early": "race"}),
    "results are written before TMA has read the last ones": (
        (KERNEL, "    if (speaks()) bulk_wait_read<0>();\n    warpgroup_sync();", "    warpgroup_sync();", TINY),
        {"checked late": "race"}),
    "the block ends before its stores": (
        (KERNEL, "    if (speaks()) bulk_wait<0>();\n", "", TINY), {"fast late": "before the thread exits"}),
    "a turn is not passed on": (
        (KERNEL, "        pass_turn();\n", "        if (warpgroup) pass_turn();\n", TINY), {"fast late": "deadlock"}),
    "the diagonal is one further": (
        (KERNEL, "if (8 * j + i >= seen)", "if (8 * j + i > seen)", TINY), {"fast late": ""}),
    "too few tiles of keys": (
        (TILE, "(max(seen, 1) + TILE_N - 1) / TILE_N", "max(seen, TILE_N) / TILE_N", TINY), {"fast late": ""}),
    "the sums of a row forget to shrink": (
        (KERNEL, "sum[half] * scale[half]", "sum[half]", TINY), {"fast late": ""}),
    "weights of two steps change places": (
        (PRODUCTS, "s[8 * step + 2 * i + 1]", "s[8 * (step ^ 1) + 2 * i + 1]", TINY), {"fast late": ""}),
}  # fmt: skip


#: One of each kind runs every time.
QUICK = ("keys are loaded over those that are read", "products start before values have come",
         "scores are read before their product ends", "keys are released before they are read",
         "sums are scaled before their product ends", "queries are released before the last scores",
         "results are not fenced for TMA", "results are written before TMA has read the last ones",
         "a turn is not passed on", "the diagonal is one further")  # fmt: skip


#: The same of sequences that lie one after the other.
VARLEN_BUGS = {
    "values of the next sequence": (
        ("      if constexpr (VARLEN) clear_values(tile.keys - (tile.steps - 1) * TILE_N);\n", ""), {"fast late": ""}),
    "zeros are not fenced": (
        ("    fence_proxy_async();\n    bar_sync(1 + 2", "    bar_sync(1 + 2"),
        {"checked late": "without fence_proxy_async"}),
    "zeros are not waited for": (
        ("    bar_sync(1 + 2 * CONSUMERS, 128 * CONSUMERS);\n", ""), {"checked late": "race"}),
    "rows of the next sequence": (("VARLEN && rows_left < ROWS", "false"), {"checked late": "race"}),
}  # fmt: skip


@pytest.mark.parametrize("bug", VARLEN_BUGS)
def test_bugs_of_sequences_are_caught(patched, bug):
    change, said = VARLEN_BUGS[bug]
    patched(KERNEL, *change)
    run = lambda: check_varlen([(130, 97), (70, 33)], "emulated", seed=1)
    caught(run, said, arch=90, multiprocessors=2)


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=[pytest.mark.slow] * (bug not in QUICK)) for bug in BUGS])
def test_bugs_are_caught(patched, bug):
    (file, text, replacement, tile), said = BUGS[bug]
    patched(file, text, replacement)
    caught(lambda: run(SHAPE, tile, 40), said, r"attention_sm90\.cu|(tile|products)\.cuh", arch=90, multiprocessors=2)
