"""What NVRTC makes of optimizer.cu, pool.cu, rope.cu and gated.cu: accesses of 16 bytes, and float64 only where asked.

That no configuration spills, on any architecture, is of test_sass.py.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import policy
from kernels.array_checks import dtype
from kernels.sass_checks import DOUBLE, LOCAL, asked, compiled, disassemble, sass
from weft.backends.gpu import gated, optimizer, pool, rope

pytestmark = policy.needs("nvrtc", "nvdisasm")

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


@pytest.fixture(scope="module", autouse=True)
def at_once(request):
    kernels = [KERNELS[name][0](dtype(char)) for name, char in asked(request, "name", "char")]
    disassemble([compiled(one.file, one.defines) for one in kernels])


@pytest.mark.parametrize("char", ["f", "E"])
@pytest.mark.parametrize("name", KERNELS)
def test_accesses_of_16_bytes(name, char):
    kernel, loads, stores = KERNELS[name]
    one = kernel(dtype(char))
    code = sass(compiled(one.file, one.defines), one.name)
    assert len(re.findall(r"\bLDG\.E\.128\b", code)) >= loads
    assert len(re.findall(r"\bSTG\.E\.128\b", code)) >= stores
    assert not LOCAL.search(code), "values in local memory"
    if name != "squares":  # which adds in float64
        assert not DOUBLE.search(code)
