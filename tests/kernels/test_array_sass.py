"""What NVRTC makes of map.cu and reduce.cu: accesses of 16 bytes, and no float64 where none was asked for.

That no specialisation spills, on any architecture, is of test_sass.py.
"""

from __future__ import annotations

import re

import pytest

import policy
from kernels.array_checks import dtype
from kernels.sass_checks import DOUBLE, compiled, disassemble, sass
from kernels.test_map import cases
from weft.backends.gpu import maps
from weft.backends.gpu import reduce as reductions
from weft.backends.gpu.array_configurations import Lying
from weft.backends.gpu.expressions import EXPRESSIONS

pytestmark = policy.needs("nvrtc", "nvdisasm")


def map_kernel(name, char):
    x = Lying((64,), dtype(char))
    return maps.make_plan(name, [x] * EXPRESSIONS[name].arity, None, None, None, (0, 0, 0)).kernel


def reduction_kernel(name, char):
    return reductions.make_plan(name, Lying((64, 64), dtype(char)), 1, False).kernel


def cubin(one):
    return compiled(one.file, one.defines)


MAPS = [("add", "f"), ("exp", "f"), ("multiply", "E"), ("gelu", "E"), ("add", "d")]
REDUCTIONS = [("sum", "f"), ("sum", "E"), ("max", "E")]


@pytest.fixture(scope="module", autouse=True)
def at_once():
    disassemble([cubin(map_kernel(*case)) for case in MAPS] + [cubin(reduction_kernel(*case)) for case in REDUCTIONS])


@pytest.mark.parametrize(("name", "char"), MAPS)
def test_maps_read_and_write_16_bytes(name, char):
    code = sass(cubin(map_kernel(name, char)))
    assert len(re.findall(r"\bLDG\.E\.128\b", code)) == EXPRESSIONS[name].arity
    assert len(re.findall(r"\bSTG\.E\.128\b", code)) == 1


@pytest.mark.parametrize(("name", "char"), REDUCTIONS)
def test_reductions_read_16_bytes(name, char):
    assert re.search(r"\bLDG\.E\.128\b", sass(cubin(reduction_kernel(name, char))))


@pytest.mark.parametrize(
    "names",
    [
        ("exp", "pow", "gelu_tanh", "silu_backward", "remainder", "round", "atan2", "log1p"),
        # sin, cos and tan reduce huge angles in fixed point, with a step in double
        pytest.param([n for n, _ in cases("f") if n not in ("sin", "cos", "tan")], marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_no_float64_where_none_was_asked_for(names):
    """An overload that is missing would silently compute in double."""
    disassemble([cubin(map_kernel(name, "f")) for name in names])
    assert not [name for name in names if DOUBLE.search(sass(cubin(map_kernel(name, "f"))))]
