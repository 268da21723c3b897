"""What gemm_sm90 becomes on sm_90a: no spills, the instructions of Hopper, and a main loop with nothing else in it."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

import policy
from kernels.sass_checks import asked, disassemble, in_registers
from kernels.sass_checks import compiled as of_file
from weft.backends import compile, source
from weft.backends.gpu import gemm_sm90
from weft.backends.gpu.gemm_configurations import product

TILES = {tile.name: tile for tile in gemm_sm90.TILES}
LARGE, WIDE, TURNS, SMALL = "128x256x64s3c2x1", "256x128x64s4c1x2", "128x128x64s5p", "64x64x64s8"
pytestmark = policy.needs("nvrtc", "nvdisasm")


def made(tile, dtype, layout):
    return of_file("gemm_sm90.cu", gemm_sm90.SM90.defines(product(dtype, layout, 90), TILES[tile]))


@pytest.fixture(scope="module", autouse=True)
def at_once(request):
    disassemble([made(*case) for case in asked(request, "tile", "dtype", "layout")])


def compiled(*case):
    """The SASS of a tile."""
    return in_registers(made(*case), "gemm_sm90")


CASES = [(LARGE, "bfloat16", "NT"), (WIDE, "float16", "NN"), (TURNS, "bfloat16", "TT"), (SMALL, "float32", "NT")]


@pytest.mark.parametrize("tile, dtype, layout", CASES)
def test_instructions(tile, dtype, layout):
    sass = compiled(tile, dtype, layout)
    shape = f"HGMMA.64x{TILES[tile].tile_n}x{8 if dtype == 'float32' else 16}.F32"
    assert shape in sass
    assert "UTMALDG.2D" in sass and "UTMASTG.2D" in sass and "SYNCS" in sass
    assert ("UTMALDG.2D.MULTICAST" in sass) == (TILES[tile].cluster > 1)
    assert ("USETMAXREG" in sass) == (TILES[tile].warpgroups > 1)
    assert ("STSM" in sass) == (dtype != "float32")
    assert ("tnspA" in sass, "tnspB" in sass) == (layout[0] == "T", layout[1] == "N")


@pytest.mark.parametrize("tile, dtype, layout", CASES)
def test_main_loop(tile, dtype, layout):
    """Between products: descriptors in uniform registers, a wait that leaves one stage under way, an arrival."""
    lines = [re.sub(r"/\*.*?\*/", "", line).strip() for line in compiled(tile, dtype, layout).splitlines()]
    code = [line for line in lines if line and not line.startswith(".")]
    first = next(i for i, line in enumerate(code) if "HGMMA" in line)
    last = max(i for i, line in enumerate(code) if "HGMMA" in line)
    loop = code[first : last + 1]
    forbidden = re.compile(r"\b(MEMBAR|BAR|LDS|STS|LDG|STG|LD|ST|BRA\.U|F(ADD|MUL|FMA)|SHFL|VOTE)\b")
    assert not [line for line in loop if forbidden.search(line)]
    waits = [line for line in loop if "DEPBAR" in line]
    assert waits and all("gsb0, 0x1" in line for line in waits)
    steps = 4 * TILES[tile].tile_m // TILES[tile].consumers // 64
    products = [line for line in loop if "HGMMA" in line]
    assert len(products) % steps == 0 and sum("gsb0" in line for line in products) == len(products) // steps
    assert sum("RZ, !UPT" in line for line in products) == steps // 4, "only the first products of a tile clear sums"


@policy.needs("emulator")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_shared_memory_has_no_bank_conflicts(dtype, tmp_path):
    defines = gemm_sm90.SM90.defines(product(dtype, "NT", 90), TILES[LARGE])
    command = [compile.host_compiler()[0], "-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas"]
    command += ["-fno-strict-aliasing", "-DWEFT_ARCH=900", *compile.flags(source.definitions(defines))]
    command += [f"-I{source.folder(name)}" for name in ("kernels", "csrc/emulator")]
    made = str(tmp_path / "banks.so")
    subprocess.run([*command, str(Path(__file__).with_name("bank_conflicts_sm90.cpp")), "-o", made], check=True)
    library = ctypes.CDLL(made, mode=2 | 1)  # lazily: of the emulated device, only what is called is there
    assert library.sums_on_their_way_out() == 1


def test_ptxas_tells_of_a_missing_wait():
    """The one bug that the emulated device finds by values alone has its message in the compiler's log."""
    whole = source.read("gemm_sm90.cu")
    wait = "    wgmma_wait<0>();\n    release(previous);"
    assert wait in dict(whole.includes)["gemm_sm90/mainloop.cuh"]
    includes = tuple((name, text.replace(wait, "    release(previous);")) for name, text in whole.includes)
    without = whole._replace(includes=includes)
    defines = gemm_sm90.SM90.defines(product("bfloat16", "NT", 90), TILES[SMALL])
    assert "C7514" in compile.cubin(without, source.definitions(defines), 90).log
