"""No two accesses that gemm_mma.cu makes to shared memory at once lie in one bank, in any tile, type and layout."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from pathlib import Path

import pytest

import policy
from weft.backends import compile, source
from weft.backends.gpu import gemm_configurations, gemm_mma

pytestmark = policy.needs("emulator")
WAYS = ("reads_of_a", "reads_of_b", "copies_of_a", "copies_of_b", "sums_on_their_way_out")


TILES = {tile.name: tile for tile in gemm_mma.ROWS}


def alternating(row):
    """Rows along k or across it: of the next tile, and of the other type, the other way."""
    tile, dtype, layout = row
    return (list(TILES).index(tile) + (dtype == "float32")) % 2 == (layout == "TN")


ROWS = policy.mostly_slow(itertools.product(TILES, ["bfloat16", "float32"], ["NT", "TN"]), alternating)


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_shared_memory_has_no_bank_conflicts(row, tmp_path):
    name, dtype, layout = row
    tile = TILES[name]
    defines = gemm_mma.MMA.defines(gemm_configurations.product(dtype, layout, 80), tile)
    made = tmp_path / f"{layout}.so"
    command = [compile.host_compiler()[0], "-std=c++17", "-O1", "-shared", "-fPIC", "-Wl,-Bsymbolic"]
    command += ["-Wno-unknown-pragmas", "-fno-strict-aliasing", "-DWEFT_ARCH=800"]
    command += compile.flags(source.definitions(defines))
    command += [f"-I{source.folder(name)}" for name in ("kernels", "csrc/emulator")]
    subprocess.run([*command, str(Path(__file__).with_name("bank_conflicts.cpp")), "-o", str(made)], check=True)
    library = ctypes.CDLL(str(made), mode=2 | 1)  # lazily: of the emulated device, only what is called is there
    expected = dict.fromkeys(WAYS, 1)
    if dtype == "float32" and layout == "TN" and tile.tile_m == 16:
        expected["copies_of_a"] = 2  # rows of 64 bytes: a pitch good for reads is not for writes, which are fewer
    assert {way: getattr(library, way)() for way in WAYS} == expected
