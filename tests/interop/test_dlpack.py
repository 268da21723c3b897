"""DLPack both ways with PyTorch, JAX and NumPy: one memory, writes seen on both sides, and what may not be done."""

import sys

import ml_dtypes
import numpy as np
import pytest

import weft
from policy import needs
from weft.backends import dlpack

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def draw(shape, dtype="float32", seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 9).astype(np.dtype(dtype))


def address(x):
    return x.data.__array_interface__["data"][0]


class Producer:
    """An array of another library: says where it is, and what it was asked."""

    def __init__(self, host, device=(1, 0), old=False):
        self.host, self.device, self.old, self.asked = host, device, old, None

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        self.asked = options
        if self.old and options.keys() - {"stream"}:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        return self.host.__dlpack__(**options)


@needs("torch")
@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_and_weft_share_memory(dtype):
    import torch

    x = weft.Tensor(draw((3, 5), dtype))
    theirs = torch.from_dlpack(x)
    assert theirs.data_ptr() == address(x) and str(theirs.dtype).removeprefix("torch.") == dtype
    theirs[1, 2] = 1
    assert x[1, 2].item() == 1
    back = weft.from_dlpack(theirs)
    assert back.dtype == x.dtype and address(back) == address(x)
    back[0, 4] = x.data.dtype.type(0)
    assert theirs[0, 4].item() == 0 and x[0, 4].item() == 0


@needs("torch")
def test_views_keep_their_strides():
    import torch

    x = weft.Tensor(draw((4, 6), "bfloat16"))
    view = x.T[1::2]
    theirs = torch.from_dlpack(view)
    assert theirs.shape == (3, 4) and theirs.stride() == (2, 6) and theirs.data_ptr() == address(view)
    back = weft.from_dlpack(theirs)
    assert back.shape == (3, 4) and back.data.strides == view.data.strides
    np.testing.assert_array_equal(back.numpy(), view.numpy())
    assert weft.from_dlpack(torch.tensor(2.5, dtype=torch.bfloat16)).item() == 2.5


@needs("jax")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_jax_and_weft_share_memory(dtype):
    import jax

    theirs = jax.numpy.asarray(draw((16, 8), dtype))
    x = weft.from_dlpack(theirs)
    assert address(x) == theirs.unsafe_buffer_pointer() and x.dtype == theirs.dtype
    np.testing.assert_array_equal(x.numpy(), np.asarray(theirs))
    with pytest.raises(RuntimeError, match="read-only"):  # JAX's arrays never change
        x[0, 0] = 1
    memory = weft.zeros((128 * 64,), dtype=np.dtype(dtype))
    start = -address(memory) % 64 // memory.dtype.itemsize  # JAX shares what lies at multiples of 64 bytes alone
    own = memory[start : start + 1024]
    shared = jax.dlpack.from_dlpack(own, copy=False)
    assert shared.unsafe_buffer_pointer() == address(own)
    own[7] = 3
    assert shared[7] == 3


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bfloat16"])
def test_numpy_and_weft_share_memory(dtype):
    host = draw((2, 3), dtype)
    x = weft.from_dlpack(host)
    theirs = np.from_dlpack(x)
    assert address(x) == host.ctypes.data == theirs.ctypes.data
    host[1, 1] = 1
    theirs[0, 0] = 0
    assert x[1, 1].item() == 1 and host[0, 0] == 0


def test_copies_are_copies():
    host = draw(4)
    copied = weft.from_dlpack(host, copy=True)
    host[0] = 5
    assert address(copied) != host.ctypes.data and copied[0].item() != 5
    x = weft.Tensor(draw(4))
    theirs = np.from_dlpack(x, copy=True)
    theirs[0] = 7
    assert x[0].item() != 7
    assert weft.from_dlpack(host, device="emulated").device == "emulated"
    with pytest.raises(BufferError, match="from cpu to emulated, got copy=False"):
        weft.from_dlpack(host, device="emulated", copy=False)


def test_read_only_stays_read_only():
    host = draw(4)
    host.flags.writeable = False
    x = weft.from_dlpack(host)
    with pytest.raises(RuntimeError, match="read-only"):
        x[0] = 1
    assert not np.from_dlpack(x).flags.writeable
    with pytest.raises(BufferError, match=r"[Rr]ead"):  # a capsule from before 1.0 cannot say so
        x.__dlpack__()
    assert "dltensor_versioned" in repr(x.__dlpack__(max_version=(1, 0)))
    assert '"dltensor"' in repr(weft.Tensor(draw(4)).__dlpack__(max_version=(0, 8)))


def test_producers_of_a_time_before_versions():
    old = Producer(draw(5), old=True)
    x = weft.from_dlpack(old)
    assert address(x) == old.host.ctypes.data
    assert weft.from_dlpack(Producer(draw(5), old=True), copy=True).shape == (5,)


def test_what_a_producer_is_asked():
    new = Producer(draw(5))
    weft.from_dlpack(new, copy=False)
    assert new.asked["max_version"][0] == 1 and new.asked["copy"] is False


def test_dtypes_that_numpy_lacks_keep_their_names():
    for name in dlpack.CODES:
        dtype = np.dtype(getattr(ml_dtypes, name))
        x = weft.Tensor(np.ones((2, 3), np.float32).astype(dtype))
        capsule = x.__dlpack__(max_version=(1, 1))
        tensor = dlpack.tensor_of(capsule)
        assert (tensor.code, tensor.bits, tensor.lanes, tensor.ndim) == (dlpack.CODES[name], 8 * dtype.itemsize, 1, 2)
        assert weft.from_dlpack(x).dtype == dtype and address(weft.from_dlpack(x)) == address(x)


@needs("torch")
def test_float8_is_pytorchs_float8():
    import torch

    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"):
        x = weft.Tensor(np.asarray([1, 2, 4], np.float32).astype(getattr(ml_dtypes, name)))
        theirs = torch.from_dlpack(x)
        assert theirs.dtype == getattr(torch, name) and theirs.data_ptr() == address(x)
        assert theirs.float().tolist() == [1, 2, 4]


def test_the_gradient_is_not_dropped():
    x = weft.Tensor(draw(3), requires_grad=True)
    for array in (x, x * 2):
        with pytest.raises(BufferError, match="detach"):
            np.from_dlpack(array)
    assert np.from_dlpack(x.detach()).shape == (3,)


def test_the_emulated_device_gives_copies_to_the_host_alone():
    x = weft.asarray(draw(3), device="emulated")
    with pytest.raises(BufferError, match="got one on emulated"):
        x.__dlpack_device__()
    with pytest.raises(BufferError, match="got one on emulated"):
        x.__dlpack__()
    with pytest.raises(BufferError, match="copy=False"):
        x.__dlpack__(dl_device=(1, 0), copy=False)
    capsule = x.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    host = np.from_dlpack(Capsule(capsule))
    np.testing.assert_array_equal(host, x.numpy())


class Capsule:
    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        return self.capsule


def test_other_devices_are_refused_by_number():
    with pytest.raises(BufferError, match=r"DLPack's device \(8, 3\)"):
        weft.from_dlpack(Producer(draw(3), device=(8, 3)))
    with pytest.raises(BufferError):
        weft.Tensor(draw(3)).__dlpack__(dl_device=(2, 0))
    with pytest.raises(TypeError, match="got list"):
        weft.from_dlpack([1.0])


def test_memory_lives_as_long_as_one_of_both():
    x = weft.Tensor(draw(1000))
    before = sys.getrefcount(x.data)
    for _ in range(5):
        weft.from_dlpack(np.from_dlpack(x))
        x.__dlpack__(max_version=(1, 0))  # one that nobody takes
        x.astype(weft.bfloat16).__dlpack__()
    after = sys.getrefcount(x.data)
    assert after == before
    theirs = np.from_dlpack(x)
    expected = theirs.copy()
    del x
    np.testing.assert_array_equal(theirs, expected)
    back = weft.from_dlpack(theirs)
    del theirs
    np.testing.assert_array_equal(back.numpy(), expected)


@needs("gpu", "cupy")
def test_cupy_and_weft_share_memory_and_streams():
    import cupy

    x = weft.asarray(draw((3, 4)), device="cuda")
    theirs = cupy.from_dlpack(x)
    assert theirs.data.ptr == x.data.pointer == x.__cuda_array_interface__["data"][0]
    theirs[0, 0] = 5
    assert x[0, 0].item() == 5 and weft.from_dlpack(theirs).data.pointer == x.data.pointer
    half = weft.asarray(draw(8, "bfloat16"), device="cuda")
    assert weft.from_dlpack(half).dtype == half.dtype and weft.from_dlpack(half).data.pointer == half.data.pointer
    with weft.cuda.Stream():
        late = weft.ones((1 << 24,), device="cuda") * 3
        other = cupy.cuda.Stream(non_blocking=True)
        with other:
            assert float(cupy.from_dlpack(late).max()) == 3  # waits for the stream that computes it


@needs("gpu", "cupy", "torch")
def test_pytorch_and_weft_share_a_gpu():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no CUDA here")
    x = weft.asarray(draw((3, 4), "bfloat16"), device="cuda")
    theirs = torch.from_dlpack(x)
    assert theirs.is_cuda and theirs.data_ptr() == x.data.pointer and theirs.dtype == torch.bfloat16
    theirs[0, 0] = 2
    assert x[0, 0].item() == 2 and weft.from_dlpack(theirs).data.pointer == x.data.pointer
