"""What NVRTC makes of map.cu and reduce.cu: accesses of 16 bytes, and no float64 where none was asked for.

That no specialisation spills, on any architecture, is of test_sass.py.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import policy
from kernels.array_checks import dtype
from kernels.test_map import cases
from weft.backends import compile, source
from weft.backends.gpu import maps
from weft.backends.gpu import reduce as reductions
from weft.backends.gpu.array_configurations import Lying
from weft.backends.gpu.expressions import EXPRESSIONS

pytestmark = policy.needs("nvrtc", "cuobjdump")


def map_kernel(name, char):
    x = Lying((64,), dtype(char))
    return maps.make_plan(name, [x] * EXPRESSIONS[name].arity, None, None, None, (0, 0, 0)).kernel


def reduction_kernel(name, char):
    return reductions.make_plan(name, Lying((64, 64), dtype(char)), 1, False).kernel


def compiled(one, capability):
    return compile.cubin(source.read(one.file), one.defines, capability)


def assembly(made, tmp_path):
    (tmp_path / "kernel.cubin").write_bytes(made.code)
    command = [policy.tool("cuobjdump"), "-sass", str(tmp_path / "kernel.cubin")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("name", "char"), [("add", "f"), ("exp", "f"), ("multiply", "E"), ("gelu", "E"), ("add", "d")])
def test_maps_read_and_write_16_bytes(name, char, tmp_path):
    code = assembly(compiled(map_kernel(name, char), 90), tmp_path)
    assert len(re.findall(r"\bLDG\.E\.128\b", code)) == EXPRESSIONS[name].arity
    assert len(re.findall(r"\bSTG\.E\.128\b", code)) == 1


@pytest.mark.parametrize(("name", "char"), [("sum", "f"), ("sum", "E"), ("max", "E")])
def test_reductions_read_16_bytes(name, char, tmp_path):
    assert re.search(r"\bLDG\.E\.128\b", assembly(compiled(reduction_kernel(name, char), 90), tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        ("exp", "pow", "gelu_tanh", "silu_backward", "remainder", "round", "atan2", "log1p"),
        # sin, cos and tan reduce huge angles in fixed point, with a step in double
        pytest.param([n for n, _ in cases("f") if n not in ("sin", "cos", "tan")], marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_no_float64_where_none_was_asked_for(names, tmp_path):
    """An overload that is missing would silently compute in double."""
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda name: compiled(map_kernel(name, "f"), 90), names))
    for name, one in zip(names, made, strict=True):
        assert not re.search(r"\b(DADD|DMUL|DFMA|DSETP|F2F\.F64\S*|MUFU\.\S*64H)\b", assembly(one, tmp_path)), name
