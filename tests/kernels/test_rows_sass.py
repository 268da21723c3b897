"""What NVRTC makes of the kernels on rows: accesses of 16 bytes, one read where registers hold a row, no float64.

That no specialisation spills, on any architecture, is of test_sass.py.
"""

from __future__ import annotations

import re

import pytest

import policy
from kernels.array_checks import dtype
from kernels.sass_checks import DOUBLE, compiled, sass
from weft.backends.gpu import batch_norm, loss, norm, rows

pytestmark = policy.needs("nvrtc", "nvdisasm")


def assembly(file, kernel, defines):
    return sass(compiled(file, defines), kernel)


def count(pattern, code):
    return len(re.findall(rf"\b{pattern}\b", code))


@pytest.mark.parametrize("char", [pytest.param("f", marks=pytest.mark.slow), "E"])
def test_softmax_reads_and_writes_a_row_once(char):
    """As many reads of 16 bytes as a thread keeps, as many writes, and no others."""
    for name, operands in (("softmax", 1), ("softmax_backward", 2)):
        team = rows.team(1024, dtype(char).itemsize, operands)
        code = assembly("softmax.cu", name, team.defines(char))
        assert count(r"LDG\.E\.128", code) == count(r"LDG\S*", code) == team.keep * operands
        assert count(r"STG\.E\.128", code) == count(r"STG\S*", code) == team.keep
        assert not DOUBLE.search(code)


@pytest.mark.parametrize("char", [pytest.param("f", marks=pytest.mark.slow), "E"])
def test_norms_read_and_write_a_row_once(char):
    for name, backward in (("layer_norm", False), ("rms_norm", False), ("layer_norm_backward", True)):
        team = norm.team_of(768, dtype(char).itemsize, backward)
        defines = {**team.defines(char), "PARAMETER": "bf16" if char == "E" else "float"}
        code = assembly("norm.cu", name, defines)
        versions, rest = divmod(count(r"STG\.E\.128", code), team.keep)  # of the code, with and without a weight
        assert versions and not rest
        assert count(r"LDG\.E\.128", code) >= team.keep * (2 if backward else 1)
        assert not DOUBLE.search(code)


@pytest.mark.parametrize("classes", [50304, 50257])
@pytest.mark.parametrize("char", [pytest.param("f", marks=pytest.mark.slow), "E"])
def test_cross_entropy_reads_16_bytes_whatever_the_classes(char, classes):
    """Rows that are no whole vectors have odd ends; what lies between is read and written in whole vectors."""
    defines = loss.defines(loss.team_of(classes, dtype(char).itemsize), char, "l")
    for name in ("cross_entropy", "cross_entropy_in_place", "cross_entropy_backward"):
        code = assembly("cross_entropy.cu", name, defines)
        assert count(r"LDG\.E\.128", code)
        assert count(r"STG\.E\.128", code) or name == "cross_entropy"
        assert not DOUBLE.search(code)


@pytest.mark.parametrize("char", [pytest.param("f", marks=pytest.mark.slow), "E"])
def test_batch_norm_reads_and_writes_16_bytes(char):
    defines = batch_norm.walk_over(1 << 14, 64, dtype(char).itemsize).defines(char, "f")
    names = ("batch_norm_partials", "batch_norm_apply", "batch_norm_backward_partials", "batch_norm_backward_apply")
    for name in names:
        code = assembly("batch_norm.cu", name, defines)
        assert count(r"LDG\.E\.128", code) and not re.search(r"\bLDG\.E\.U16\b", code)
        assert count(r"STG\.E\.128", code) or "partials" in name
        assert not DOUBLE.search(code)


def test_the_gate_sees_single_elements(tmp_path):
    """Rows of an odd length, read one element at a time where threads own columns, do not pass for vectors."""
    team = norm.team_of(767, 2)
    code = assembly("norm.cu", "layer_norm", {**team.defines("E"), "PARAMETER": "float"})
    assert not count(r"LDG\.E\.128", code) and re.search(r"\bLDG\.E\.U16\b", code)
