"""Fixtures of the tests of kernels."""

import numpy as np
import pytest

from kernels.array_checks import on, require
from kernels.checked import patched  # noqa: F401
from weft.backends import emulator
from weft.backends.launch import capability


@pytest.fixture
def rng():
    """Fresh random numbers; a test that fails shows their seed."""
    seed = np.random.SeedSequence().entropy
    print(f"rng: numpy.random.default_rng({seed})")
    return np.random.default_rng(seed)


@pytest.fixture
def hopper(device):
    """The emulated device as an H100; of GPUs, only that one."""
    require(device)
    if device == "emulated":
        with emulator.settings(arch=90, multiprocessors=3):
            yield
        return
    if not 90 <= capability(on(device, np.zeros(1))) < 100:
        pytest.skip("not a Hopper GPU")
    yield
