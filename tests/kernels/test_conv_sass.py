"""What the compiler makes of the convolution kernels' main loops: those of GEMM, and little for where windows lie."""

from __future__ import annotations

import pytest

import policy
from kernels.sass_checks import asked, compiled, disassemble, main_loop
from weft.backends.gpu import conv_configurations, conv_mma, conv_simt
from weft.backends.gpu.conv_problem import PASSES

pytestmark = policy.needs("nvrtc", "nvdisasm")


def on_tensor_cores(tile, direction):
    one = conv_configurations.convolution(direction, "bfloat16", 80)
    return "conv_mma.cu", conv_mma.MMA.defines(one, tile), 80


def by_multiply_adds(direction):
    one = conv_configurations.convolution(direction, "float32", 80)
    return "conv_simt.cu", conv_simt.SIMT.defines(one, conv_simt.CONFIGURATIONS[0]), 80


@pytest.fixture(scope="module", autouse=True)
def at_once(request):
    which = [on_tensor_cores(*case) for case in asked(request, "tile", "direction")]
    which += [by_multiply_adds(direction) for (direction,) in asked(request, "direction")]
    disassemble([compiled(*one) for one in which])


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("tile", conv_mma.ROWS[:2], ids=lambda t: t.name)
def test_tensor_cores_are_fed_as_in_gemm(tile, direction):
    loop, code = main_loop(*on_tensor_cores(tile, direction))
    warp_m, warp_n = tile.tile_m // tile.warps_m, tile.tile_n // tile.warps_n
    steps = tile.tile_k // 16
    assert loop["HMMA"] == warp_m // 16 * warp_n // 8 * steps
    assert loop["LDSM"] == (warp_m + warp_n) // 16 * steps
    assert loop["LDGSTS"] == (tile.tile_m + tile.tile_n) * tile.tile_k * 2 // 16 // tile.threads
    assert loop["BAR"] == 1 and not loop["LDL"] and not loop["STL"]
    assert not loop["STG"] and not loop["LDG"], "windows go from the image to shared memory, and nowhere else"
    assert any(name.startswith("LDGSTS.E.BYPASS") and name.endswith("128") for name in code), "copies of 16 bytes"
    assert any(name.startswith("STG.E.128") for name in code), "stores of 16 bytes"
    assert sum(loop.values()) <= 6 * loop["HMMA"], loop


@pytest.mark.parametrize("direction", PASSES)
def test_float32_spends_its_issue_slots_on_multiply_adds(direction):
    tile = conv_simt.CONFIGURATIONS[0]
    loop, code = main_loop(*by_multiply_adds(direction))
    assert loop["FFMA"] == tile.sums * tile.tile_k and loop["LDS"] == tile.tile_k * 4, loop
    assert loop["FFMA"] >= 0.7 * sum(loop.values()), loop
    assert any(name.startswith("LDG.E.128") for name in code) and any(name.startswith("STG.E.128") for name in code)
