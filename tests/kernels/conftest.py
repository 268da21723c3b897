"""Fixtures of the tests of kernels."""

import numpy as np
import pytest

from kernels.checked import patched  # noqa: F401


@pytest.fixture
def rng():
    """Fresh random numbers; a test that fails shows their seed."""
    seed = np.random.SeedSequence().entropy
    print(f"rng: numpy.random.default_rng({seed})")
    return np.random.default_rng(seed)
