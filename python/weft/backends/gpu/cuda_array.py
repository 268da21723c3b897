"""The arrays of `cuda:N`: CuPy's memory and views, Weft's operators. CuPy is imported with this module."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from weft.backends import capturing, cupy_device, gpu
from weft.backends.gpu.array import DeviceArray, check_flags, check_real, contiguous


class CudaArray(DeviceArray, cupy.ndarray):  # type: ignore[misc]
    """A CuPy array whose operators, casts and copies are Weft's kernels."""

    device_name = property(lambda self: f"cuda:{self.data.device_id}")  # type: ignore[assignment]
    pointer = property(lambda self: self.data.ptr)

    def broadcast_to(self, shape: tuple[int, ...]) -> Any:
        return adopt(cupy.broadcast_to(self.view(cupy.ndarray), shape))

    def basic(self, index: Any) -> Any:
        return cupy.ndarray.__getitem__(self, index)

    def get(self) -> np.ndarray[Any, Any]:  # type: ignore[override]
        capturing.leaving(self.shape)
        values = cupy.ndarray.get(self if self.flags.c_contiguous else contiguous(self))
        check_flags(self)
        return values  # type: ignore[no-any-return]

    def reshape(self, *shape: Any) -> Any:
        new = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return cupy.ndarray.reshape(self if views(self, new) else contiguous(self), new)

    def ravel(self) -> Any:
        return self.reshape(-1)

    def cold(self, function: Any, args: Any, kwargs: Any) -> Any:
        capturing.refuse(f"{function.__name__}, which has no kernel", "do it before or after the step")
        if any(isinstance(x, np.ndarray) for x in args):
            raise TypeError(f"{function.__name__}: expected all on one device, got {self.device_name} and cpu")
        plain = [x.view(cupy.ndarray) if isinstance(x, CudaArray) else x for x in args]
        with self.data.device:
            if function.__module__ == "numpy.linalg":
                import cupyx

                with cupyx.errstate(linalg="raise"):  # by default CuPy gives NaN where NumPy raises
                    out = getattr(cupy.linalg, function.__name__)(*plain, **kwargs)
            else:
                out = getattr(cupy, function.__name__)(*plain, **kwargs)
        return tuple(map(adopt, out)) if isinstance(out, tuple) else adopt(out)


def views(x: Any, shape: Any) -> bool:
    """Whether NumPy, and so CuPy, would reshape such memory without a copy; looks at strides alone."""
    stand_in = np.lib.stride_tricks.as_strided(np.empty((), x.dtype), x.shape, x.strides)
    try:
        stand_in.reshape(shape, copy=False)
    except ValueError:
        return bool(x.flags.c_contiguous)  # then the shape is wrong, and CuPy says so
    return True


def adopt(array: Any) -> Any:
    """Any CuPy array as a CudaArray that shares its memory."""
    return array if type(array) is CudaArray else array.view(CudaArray)


def from_dlpack(x: Any) -> Any:
    return adopt(cupy.from_dlpack(x))


def number(device: str) -> int:
    return int(device.removeprefix("cuda:"))


def current() -> str:
    return f"cuda:{cupy.cuda.runtime.getDevice()}"


def empty(shape: Any, dtype: Any, device: str) -> Any:
    with cupy.cuda.Device(number(device)):
        return CudaArray(shape, dtype)


def from_host(values: np.ndarray[Any, Any], device: str) -> Any:
    """A copy on the GPU, queued on the current stream by way of pinned memory."""
    check_real(values.dtype, device)
    capturing.arriving(values.shape, values.dtype)
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint8)  # whatever dtypes CuPy knows
    with cupy.cuda.Device(number(device)):
        out = adopt(cupy.empty(bits.shape, np.uint8))
        cupy_device.upload(out, bits)
        return out.view(values.dtype).reshape(values.shape)


def to_gpu(array: Any, device: str) -> Any:
    """A copy on another GPU."""
    capturing.refuse("a copy to another GPU", "make it before the step")
    out, array = empty(array.shape, array.dtype, device), contiguous(array)
    with out.data.device:
        out.data.copy_from_device_async(array.data, array.nbytes)
    return out


gpu.use(CudaArray)
