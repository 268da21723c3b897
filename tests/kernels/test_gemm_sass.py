"""What the compiler makes of the GEMM kernels' main loops: the instructions they stand on, and few others."""

from __future__ import annotations

import collections
import re
import subprocess

import pytest

import policy
from weft.backends import compile, source
from weft.backends.gpu import gemm_configurations, gemm_mma, gemm_simt

pytestmark = policy.needs("nvrtc", "cuobjdump")


def main_loop(file, defines, capability, tmp_path):
    """How often each instruction stands in the loop that multiplies, and the whole code's."""
    made = compile.cubin(source.read(file), source.definitions(defines), capability)
    (tmp_path / "kernel.cubin").write_bytes(made.code)
    text = subprocess.run(
        [policy.tool("cuobjdump"), "-sass", str(tmp_path / "kernel.cubin")], capture_output=True, text=True, check=True
    ).stdout
    code = [(int(at, 16), words) for at, words in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+);", text)]
    names = [re.sub(r"^@!?U?P\w+\s+", "", words).split()[0] for _, words in code]
    places = {at: i for i, (at, _) in enumerate(code)}
    loops = []
    for i, (at, words) in enumerate(code):
        jump = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", words)
        if jump and int(jump[1], 16) < at and int(jump[1], 16) in places:
            loops.append(collections.Counter(name.split(".")[0] for name in names[places[int(jump[1], 16)] : i + 1]))
    multiplications = [sum(loop[name] for name in ("HMMA", "FFMA", "DFMA")) for loop in loops]
    return loops[multiplications.index(max(multiplications))], collections.Counter(names)


def product(dtype, layout, capability, **options):
    return gemm_configurations.product(dtype, layout, capability, **options)


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("tile", gemm_mma.ROWS[:3], ids=lambda t: t.name)
def test_tensor_cores_are_fed_by_ldmatrix_and_cp_async(tile, layout, tmp_path):
    one = product("bfloat16", layout, 80)
    loop, code = main_loop("gemm_mma.cu", gemm_mma.MMA.defines(one, tile), 80, tmp_path)
    warp_m, warp_n = tile.tile_m // tile.warps_m, tile.tile_n // tile.warps_n
    steps = tile.tile_k // 16
    assert loop["HMMA"] == warp_m // 16 * warp_n // 8 * steps
    assert loop["LDSM"] == (warp_m + warp_n) // 16 * steps
    assert loop["LDGSTS"] == (tile.tile_m + tile.tile_n) * tile.tile_k * 2 // 16 // tile.threads
    assert loop["BAR"] == 1 and not loop["LDL"] and not loop["STL"]
    assert sum(loop.values()) <= 3 * loop["HMMA"], loop
    assert any(name.startswith("LDGSTS.E.BYPASS") and name.endswith("128") for name in code), "copies of 16 bytes"
    assert any(name.startswith("STG.E.128") for name in code), "stores of 16 bytes"


def test_turing_multiplies_without_cp_async(tmp_path):
    defines = gemm_mma.MMA.defines(product("float16", "NT", 75), gemm_mma.ROWS[2])
    loop, code = main_loop("gemm_mma.cu", defines, 75, tmp_path)
    assert loop["HMMA"] == 128 and loop["LDSM"] == 16 and loop["STS"] == 8
    assert not any(name.startswith("LDGSTS") for name in code)
    assert any(name.startswith("LDG.E.128") for name in code)


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
def test_float32_spends_its_issue_slots_on_multiply_adds(layout, tmp_path):
    defines = gemm_simt.SIMT.defines(product("float32", layout, 80), gemm_simt.CONFIGURATIONS[0])
    loop, code = main_loop("gemm_simt.cu", defines, 80, tmp_path)
    assert loop["FFMA"] == 8 * 8 * 8 and loop["LDS"] == 8 * 4, loop
    assert loop["FFMA"] >= 0.85 * sum(loop.values()), loop
    assert any(name.startswith("LDG.E.128") for name in code) and any(name.startswith("STG.E.128") for name in code)
