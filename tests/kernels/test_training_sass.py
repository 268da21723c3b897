"""What NVRTC makes of optimizer.cu, pool.cu, rope.cu and gated.cu: accesses of 16 bytes, and float64 only where asked.

That no configuration spills, on any architecture, is of test_sass.py.
"""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

import policy
from kernels.array_checks import dtype
from weft.backends import compile, source
from weft.backends.gpu import gated, optimizer, pool, rope

pytestmark = policy.needs("nvrtc", "cuobjdump")

#: kernel -> (how it is compiled, loads and stores of 16 bytes that it must have at least)
KERNELS = {
    "adam": (lambda kind: optimizer.optimizer_kernel("adam", kind, kind), 4, 3),
    "lion": (lambda kind: optimizer.optimizer_kernel("lion", kind, kind), 3, 2),
    "squares": (lambda kind: optimizer.optimizer_kernel("squares", kind, kind), 1, 0),
    "max_pool": (lambda kind: pool.pool_kernel("max_pool", kind), 1, 1),
    "mean_pool_backward": (lambda kind: pool.pool_kernel("mean_pool_backward", kind), 1, 1),
    "rope": (lambda kind: rope.rope_kernel(kind, np.dtype("f")), 4, 2),
    "gated_backward": (lambda kind: gated.gated_kernel("gated_backward", kind, "silu"), 3, 2),
}


def function(one, tmp_path, capability=90):
    """The SASS of one kernel of its file."""
    made = compile.cubin(source.read(one.file), one.defines, capability)
    (tmp_path / "kernel.cubin").write_bytes(made.code)
    command = [policy.tool("cuobjdump"), "-sass", "-fun", one.name, str(tmp_path / "kernel.cubin")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("char", ["f", "E"])
@pytest.mark.parametrize("name", KERNELS)
def test_accesses_of_16_bytes(name, char, tmp_path):
    kernel, loads, stores = KERNELS[name]
    code = function(kernel(dtype(char)), tmp_path)
    assert len(re.findall(r"\bLDG\.E\.128\b", code)) >= loads
    assert len(re.findall(r"\bSTG\.E\.128\b", code)) >= stores
    assert not re.search(r"\b(LDL|STL)\b", code), "values in local memory"
    if name != "squares":  # which adds in float64
        assert not re.search(r"\b(DADD|DMUL|DFMA|DSETP)\b", code)
