"""What gemm_sm90 becomes on sm_90a: no spills, the instructions of Hopper, and a main loop with nothing else in it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

from weft.backends import compile, source
from weft.backends.gpu import gemm_sm90
from weft.backends.gpu.configurations import configurations
from weft.backends.gpu.gemm_configurations import product

TILES = {tile.name: tile for tile in gemm_sm90.TILES}
LARGE, WIDE, TURNS, SMALL = "128x256x64s3c2x1", "256x128x64s4c1x2", "128x128x64s5p", "64x64x64s8"
SERIALIZED = re.compile(r"C75\d\d|serializ|setmaxnreg ignored", re.IGNORECASE)


def disassembler():
    """nvdisasm, from its wheel or the system's CUDA."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for path in Path(root).glob("*/bin/nvdisasm"):
            return str(path)
    return shutil.which("nvdisasm")


@lru_cache(maxsize=8)
def compiled(tile, dtype, layout):
    """(resources, log, SASS) of a tile."""
    tool = disassembler()
    if tool is None:
        pytest.skip("nvdisasm is not installed (pip install nvidia-cuda-nvdisasm)")
    defines = gemm_sm90.SM90.defines(product(dtype, layout, 90), TILES[tile])
    made = compile.cubin(source.read("gemm_sm90.cu"), {k: str(v) for k, v in defines.items()}, 90)
    return made.resources["gemm_sm90"], made.log, disassembled(tool, made.code)


def disassembled(tool, code):
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        return subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout


CASES = [(LARGE, "bfloat16", "NT"), (WIDE, "float16", "NN"), (TURNS, "bfloat16", "TT"), (SMALL, "float32", "NT")]


@pytest.mark.parametrize("tile, dtype, layout", CASES)
def test_instructions(tile, dtype, layout):
    resources, log, sass = compiled(tile, dtype, layout)
    assert (resources.spill_stores, resources.spill_loads, resources.stack) == (0, 0, 0)
    assert not SERIALIZED.search(log), log
    assert not re.search(r"\b(LDL|STL)\b", sass)
    shape = f"HGMMA.64x{TILES[tile].tile_n}x{8 if dtype == 'float32' else 16}.F32"
    assert shape in sass
    assert "UTMALDG.2D" in sass and "UTMASTG.2D" in sass and "SYNCS" in sass
    assert ("UTMALDG.2D.MULTICAST" in sass) == (TILES[tile].cluster > 1)
    assert ("USETMAXREG" in sass) == (TILES[tile].warpgroups > 1)
    assert ("STSM.16.MT88.4" in sass or "STSM" in sass) == (dtype != "float32")
    assert ("tnspA" in sass, "tnspB" in sass) == (layout[0] == "T", layout[1] == "N")


@pytest.mark.parametrize("tile, dtype, layout", CASES)
def test_main_loop(tile, dtype, layout):
    """Between products: descriptors in uniform registers, a wait that leaves one stage under way, an arrival."""
    lines = [re.sub(r"/\*.*?\*/", "", line).strip() for line in compiled(tile, dtype, layout)[2].splitlines()]
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


@pytest.mark.slow
def test_every_configuration_compiles():
    for configuration in configurations("gemm_sm90"):
        defines = {key: str(value) for key, value in configuration.defines.items()}
        made = compile.cubin(source.read(configuration.file), defines, 90)
        used = made.resources[configuration.kernel]
        assert (used.spill_stores, used.stack) == (0, 0) and used.registers <= configuration.registers, configuration
        assert not SERIALIZED.search(made.log), configuration
