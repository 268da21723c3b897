"""The array class of `cuda:N` without a GPU: views move no values, so they work over any address."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

cupy = pytest.importorskip("cupy", reason="CuPy is not installed (pip install 'weft[cuda13]')")  # only a GPU needs it

import weft
from weft.backends import writes
from weft.backends.array import device_of, namespace
from weft.backends.gpu import entries
from weft.backends.gpu import namespace as gpu_namespace
from weft.backends.gpu.cuda_array import CudaArray, adopt, views
from weft.backends.registry import PRIMITIVES


def over(host, kind=CudaArray):
    """An array that believes the memory of `host` to be a GPU's."""
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
    return kind(host.shape, host.dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))


VIEWS = {
    "transposed": lambda x: x.T,
    "last axes": lambda x: x.mT,
    "exchanged": lambda x: x.swapaxes(0, 1),
    "permuted": lambda x: x.transpose(1, 0),
    "slice": lambda x: x[1:3],
    "backwards": lambda x: x[::-1, ::2],
    "new axis": lambda x: x[None, ..., 2],
    "squeezed": lambda x: x[:, None].squeeze(1),
    "number": lambda x: x[2, 3],
    "reshaped": lambda x: x.reshape(2, 12),
    "in one line": lambda x: x.reshape(-1),
    "other bits": lambda x: x.view(np.int32),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_of_the_class_and_know_their_memory(name):
    host = np.random.default_rng().standard_normal((4, 6)).astype(np.float32)
    x = over(host)
    got, expected = VIEWS[name](x), VIEWS[name](host)
    assert type(got) is CudaArray and got.shape == np.shape(expected) and got.base is x
    if np.ndim(expected):
        steps = [(n, s) for n, s in zip(expected.shape, expected.strides) if n > 1]
        assert [(n, s) for n, s in zip(got.shape, got.strides) if n > 1] == steps
        assert got.pointer == expected.ctypes.data
    assert writes.owner(got) is x


def test_what_the_front_end_asks_of_an_array():
    host = np.zeros((4, 6), ml_dtypes.bfloat16)
    x = over(host)
    assert (x.device_name, x.pointer, device_of(x)) == ("cuda:0", host.ctypes.data, "cuda:0")
    assert namespace(x) is gpu_namespace and weft.Tensor(x).device == "cuda:0" and weft.Tensor(x).data is x
    assert writes.writable(x[1:]) and not writes.writable(x.broadcast_to((2, 4, 6)))
    low, high = writes.bounds(x[1:3, ::-1])
    assert (low - x.pointer, high - x.pointer) == (12, 36)
    assert views(x, (24,)) and not views(x.T, (24,)) and views(x.T, (3, 2, 4))


def test_arrays_of_cupy_are_taken_as_they_are():
    host = np.zeros(3, np.float32)
    plain = over(host, cupy.ndarray)
    x = weft.asarray(plain)
    assert type(x.data) is CudaArray and x.data.pointer == host.ctypes.data and x.device == "cuda:0"
    assert adopt(x.data) is x.data


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x, n: x + n, "add: expected both on one device, got cuda:0 and cpu"),
        (lambda x, n: n * x, "multiply: expected both on one device, got cuda:0 and cpu"),
        (lambda x, n: np.asarray(x), "expected no implicit copy from cuda:0 to NumPy"),
        (lambda x, n: np.exp(x), "numpy.exp: expected NumPy arrays, got one on cuda:0"),
        (lambda x, n: np.linalg.norm(x), "norm: expected NumPy arrays, got one on cuda:0"),
        (lambda x, n: weft.Tensor(x) + weft.Tensor(n), "add: expected both on one device, got cuda:0 and cpu"),
    ],
)
def test_nothing_mixes(call, words):
    with pytest.raises(TypeError, match=words):
        call(over(np.zeros(3, np.float32)), np.zeros(3, np.float32))


def test_entries_are_registered_for_it():
    x = over(np.zeros((2, 3), np.float32))
    PRIMITIVES["matmul"].select((x, x.T))  # imports them
    for primitive, dtypes, function in entries:
        assert (CudaArray, dtypes, function) in [(k, p.pattern, e) for k, p, e in primitive.entries]
    assert PRIMITIVES["gelu"].select((x,)) is not PRIMITIVES["gelu"].reference
