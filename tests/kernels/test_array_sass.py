"""What NVRTC makes of map.cu, reduce.cu, scan.cu, index.cu and philox.cu: no spills, accesses of 16 bytes, no float64
where none was asked for. With --full, all dtypes for sm_90a and three for the other architectures."""

from __future__ import annotations

import itertools
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import policy
from kernels.array_checks import dtype
from kernels.test_map import cases
from weft.backends import compile, source
from weft.backends.gpu import maps
from weft.backends.gpu import reduce as reductions
from weft.backends.gpu.expressions import EXPRESSIONS
from weft.backends.gpu.reduce import OPERATIONS
from weft.backends.launch import kernel

pytestmark = policy.needs("nvrtc", "emulator")

CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)


class Shaped:
    """What a plan looks at of an array."""

    def __new__(cls, shape, kind):
        from weft.backends.gpu.array import EmulatedArray

        return EmulatedArray(np.empty(shape, kind))


def map_kernel(name, char):
    x = Shaped((64,), dtype(char))
    return maps.make_plan(name, [x] * EXPRESSIONS[name].arity, None, None, None, (0, 0, 0)).kernel


def cast_kernel(char, to):
    return maps.make_plan("copy", [Shaped((64,), dtype(char))], None, dtype(to), None, (0, 0, 0)).kernel


def reduction_kernel(name, char):
    return reductions.make_plan(name, Shaped((64, 64), dtype(char)), 1, False).kernel


def others():
    for char in "feEd":
        stored, summed = maps.STORAGE[char], "double" if char == "d" else "float"
        types = {"IN": stored, "OUT": stored, "ACCUMULATE": summed}
        yield kernel("scan.cu", "scan_rows", **types)
        yield kernel("philox.cu", "random_bits", OUT=stored)
        words = {"WORD": "uint4", "INDEX": "int64_t", "TYPE": stored, "ACCUMULATE": summed}
        yield kernel("index.cu", "take", **words)


def compiled(one, capability):
    made = compile.cubin(source.read(one.file), one.defines, capability)
    for name, uses in made.resources.items():
        assert uses.stack == uses.spill_stores == uses.spill_loads == 0, (one, capability, name, uses)
        assert uses.registers <= 64, (one, capability, name, uses)  # four blocks of 256 threads on a multiprocessor
    return made


def assembly(made, tmp_path):
    (tmp_path / "kernel.cubin").write_bytes(made.code)
    command = [policy.tool("cuobjdump"), "-sass", str(tmp_path / "kernel.cubin")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


SAMPLE = [
    ("add", "f"), ("exp", "E"), ("gelu_backward", "e"), ("pow", "d"), ("floor_divide", "i"), ("add", "b"),
    ("less", "f"), ("sin", "f"), ("remainder", "E"),
]  # fmt: skip


@pytest.mark.parametrize("capability", (75, 90, 120))
def test_a_sample_compiles_without_spills(capability):
    kernels = [map_kernel(*case) for case in SAMPLE]
    kernels += [reduction_kernel("sum", "E"), reduction_kernel("argmax", "f"), *others()]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda one: compiled(one, capability), kernels if capability == 90 else kernels[::3]))


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_specialisation_compiles_without_spills(capability):
    chars = "fEedbBhHiIlL?" if capability == 90 else "fEl"
    kernels = [map_kernel(*case) for case in cases(chars)]
    kernels += [cast_kernel(a, b) for a, b in itertools.product(chars, chars)]
    kernels += [
        reduction_kernel(name, char)
        for name, char in itertools.product(OPERATIONS, chars)
        if name != "sum_of_squares" or char in "feEd"
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda one: compiled(one, capability), [*kernels, *others()]))


@policy.needs("cuobjdump")
@pytest.mark.parametrize(("name", "char"), [("add", "f"), ("exp", "f"), ("multiply", "E"), ("gelu", "E"), ("add", "d")])
def test_maps_read_and_write_16_bytes(name, char, tmp_path):
    code = assembly(compiled(map_kernel(name, char), 90), tmp_path)
    assert len(re.findall(r"\bLDG\.E\.128\b", code)) == EXPRESSIONS[name].arity
    assert len(re.findall(r"\bSTG\.E\.128\b", code)) == 1


@policy.needs("cuobjdump")
@pytest.mark.parametrize(("name", "char"), [("sum", "f"), ("sum", "E"), ("max", "E")])
def test_reductions_read_16_bytes(name, char, tmp_path):
    assert re.search(r"\bLDG\.E\.128\b", assembly(compiled(reduction_kernel(name, char), 90), tmp_path))


@policy.needs("cuobjdump")
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
