"""What the compiler makes of the GEMM kernels' main loops: the instructions they stand on, and few others."""

from __future__ import annotations

import itertools

import pytest

import policy
from kernels.sass_checks import asked, compiled, disassemble, main_loop
from weft.backends.gpu import gemm_configurations, gemm_mma, gemm_simt

pytestmark = policy.needs("nvrtc", "nvdisasm")


def product(dtype, layout, capability, **options):
    return gemm_configurations.product(dtype, layout, capability, **options)


LAYOUTS = ("NN", "NT", "TN", "TT")
TILES = {tile.name: tile for tile in gemm_mma.ROWS[:3]}
TURNS = policy.mostly_slow(
    itertools.product(TILES, LAYOUTS), lambda row: (list(TILES).index(row[0]) + LAYOUTS.index(row[1])) % 2 == 0
)


def on_tensor_cores(tile, layout):
    return "gemm_mma.cu", gemm_mma.MMA.defines(product("bfloat16", layout, 80), TILES[tile]), 80


def by_multiply_adds(layout):
    return "gemm_simt.cu", gemm_simt.SIMT.defines(product("float32", layout, 80), gemm_simt.CONFIGURATIONS[0]), 80


@pytest.fixture(scope="module", autouse=True)
def at_once(request):
    which = [on_tensor_cores(*row) for (row,) in asked(request, "row")]
    which += [by_multiply_adds(layout) for (layout,) in asked(request, "layout")]
    disassemble([compiled(*one) for one in which])


@pytest.mark.parametrize("row", TURNS, ids="-".join)
def test_tensor_cores_are_fed_by_ldmatrix_and_cp_async(row):
    tile = TILES[row[0]]
    loop, code = main_loop(*on_tensor_cores(*row))
    warp_m, warp_n = tile.tile_m // tile.warps_m, tile.tile_n // tile.warps_n
    steps = tile.tile_k // 16
    assert loop["HMMA"] == warp_m // 16 * warp_n // 8 * steps
    assert loop["LDSM"] == (warp_m + warp_n) // 16 * steps
    assert loop["LDGSTS"] == (tile.tile_m + tile.tile_n) * tile.tile_k * 2 // 16 // tile.threads
    assert loop["BAR"] == 1 and not loop["LDL"] and not loop["STL"]
    assert sum(loop.values()) <= 3 * loop["HMMA"], loop
    assert any(name.startswith("LDGSTS.E.BYPASS") and name.endswith("128") for name in code), "copies of 16 bytes"
    assert any(name.startswith("STG.E.128") for name in code), "stores of 16 bytes"


def test_turing_multiplies_without_cp_async():
    defines = gemm_mma.MMA.defines(product("float16", "NT", 75), gemm_mma.ROWS[2])
    loop, code = main_loop("gemm_mma.cu", defines, 75)
    assert loop["HMMA"] == 128 and loop["LDSM"] == 16 and loop["STS"] == 8
    assert not any(name.startswith("LDGSTS") for name in code)
    assert any(name.startswith("LDG.E.128") for name in code)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_spends_its_issue_slots_on_multiply_adds(layout):
    loop, code = main_loop(*by_multiply_adds(layout))
    assert loop["FFMA"] == 8 * 8 * 8 and loop["LDS"] == 8 * 4, loop
    assert loop["FFMA"] >= 0.85 * sum(loop.values()), loop
    assert any(name.startswith("LDG.E.128") for name in code) and any(name.startswith("STG.E.128") for name in code)
