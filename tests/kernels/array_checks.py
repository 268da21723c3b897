"""What tests of map.cu, reduce.cu, index.cu and philox.cu share: dtypes, special values, kernels compiled ahead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

import policy
from weft.backends import compile, source
from weft.backends.device import check_device, place
from weft.backends.launch import capability

BF16 = np.dtype(ml_dtypes.bfloat16)
REAL = [np.dtype("f"), BF16, np.dtype("e"), np.dtype("d")]
INTEGERS = [np.dtype(c) for c in "bBhHiIlL"]
BOOL = np.dtype(bool)
#: The largest relative error of one rounding.
ROUNDING = {"f": 2.0**-24, "e": 2.0**-11, "E": 2.0**-8, "d": 2.0**-53}


def dtype(char):
    return BF16 if char == "E" else np.dtype(char)


def require(device):
    """Skip where `device` is not."""
    policy.require("emulator" if device == "emulated" else "gpu")


@pytest.fixture(scope="module", autouse=True)
def runs(device):
    """Tests of modules that import this need the device."""
    require(device)


def on(device, values):
    """Values on `device`, as --device has it."""
    return place(np.asarray(values), check_device(device))


def specials(kind):
    """Every value that functions treat apart."""
    kind = np.dtype(kind)
    if kind.kind == "b":
        return np.array([False, True])
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return np.array([0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1], kind)
    return np.array([0.0, -0.0, 1, -1, 0.5, -2, 3, np.inf, -np.inf, np.nan], np.float64).astype(kind)


def draw(rng, shape, kind, low=-4.0, high=4.0):
    kind = np.dtype(kind)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, shape, kind, endpoint=True)
    return rng.uniform(low, high, shape).astype(kind)


def operands(rng, kind, arity, low=-4.0, high=4.0):
    """Operands with all pairs of special values, then random ones."""
    grid = np.meshgrid(*[specials(kind)] * arity, indexing="ij")
    return [np.concatenate([g.reshape(-1), draw(rng, 203, kind, low, high)]) for g in grid]


def same(got, expected):
    """Equal in shape, dtype and every value, NaN included."""
    got = got.get()
    assert got.shape == expected.shape and got.dtype == expected.dtype, (got.shape, got.dtype, expected.dtype)
    if got.dtype == BF16:  # whose NaN NumPy does not know
        got, expected = got.astype("f"), expected.astype("f")
    np.testing.assert_array_equal(got, expected)


def close(got, expected, kind, *, units=16, absolute=0.0):
    """Within `units` roundings of the type that `kind` is computed in, and one of `kind`, of float64 values."""
    char = np.dtype(kind).char
    assert got.dtype == kind and got.shape == expected.shape, (got.dtype, got.shape, kind, expected.shape)
    computed = ROUNDING["f" if char in "eE" else char]
    relative = units * computed + 1.01 * ROUNDING[char]
    with np.errstate(all="ignore"):
        cast = expected.astype(kind).astype(np.float64)  # where the type ends
        expected = np.where(np.isinf(cast) | (np.abs(expected) < np.finfo(np.float32).tiny), cast, expected)
    smallest = {"e": 2.0**-24, "E": 2.0**-133, "f": 2.0**-149, "d": 0.0}[char]
    values = got.get().astype(np.float64)
    np.testing.assert_allclose(values, expected, rtol=relative, atol=absolute * computed + smallest)


def build(kernels, device):
    """Compile kernels on all cores, before tests ask for one after the other."""
    unique = {(k.file, *k.defines.items()): k for k in kernels}
    arch = capability(on(device, np.zeros(1)))

    def one(kernel):
        if device == "emulated":
            compile.emulated(source.read(kernel.file, emulated=True), kernel.defines, arch=arch, checked=False)
        else:
            compile.cubin(source.read(kernel.file), kernel.defines, arch)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, unique.values()))
