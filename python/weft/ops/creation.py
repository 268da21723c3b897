"""Tensors from nothing: filled, counted, or made from other arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.array import OnDevice, device_of, namespace, on_devices
from weft.backends.device import check_device, check_together, place

FLOAT32 = np.float32


def asarray(x: Any, /, *, dtype: Any = None, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor of x: an array, a number or nested lists of numbers; Python floats become float32.

    device: where it shall live. By default Tensors and CuPy's arrays stay where they are, and NumPy's arrays, numbers
    and lists go to the default device. Memory is shared unless `copy`, or another device or dtype, asks for a copy.
    TypeError for what is no number; ValueError where copy=False forbids what is needed.

    >>> import weft
    >>> weft.asarray([1.5, 2.0]).dtype
    dtype('float32')
    """
    stays = device is None and isinstance(x, (Tensor, OnDevice))
    where = device_of(x) if stays else check_device(device)
    if isinstance(x, Tensor) and dtype is None and not copy and device_of(x) == where:
        return x
    if isinstance(x, (list, tuple)) and any(isinstance(i, Tensor) for i in x):
        parts = [i.data if isinstance(i, Tensor) else np.asarray(i) for i in x]
        check_together("asarray", parts)
        x = namespace(*parts).stack(parts, axis=0)
        where = device_of(x) if device is None else where
    if isinstance(x, np.ndarray) and not x.dtype.isnative:  # of a file from another machine
        x = x.astype(x.dtype.newbyteorder("="))
    out = Tensor(x.data if isinstance(x, Tensor) else x)
    if device is None and out.device != "cpu":  # CuPy's
        where = out.device
    if copy is False and out.device != where and isinstance(x, (Tensor, OnDevice, np.ndarray)):
        raise ValueError(f"asarray: expected copy allowed from {out.device} to {where}, got copy=False")
    if out.device != where:
        out, copy = Tensor(place(out.data, where)), None
    data = out.data
    if dtype is not None and data.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError(
                f"asarray: expected copy allowed to change {data.dtype} into {np.dtype(dtype)}, got copy=False"
            )
        return Tensor(data.astype(dtype))
    return Tensor(data.copy()) if copy else out


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor over the memory of another library's array (PyTorch's, CuPy's, ...), on the CPU or a GPU.

    device, copy: as in `asarray`, but that the memory stays where it is unless `device` says otherwise.  BufferError
    for what the other library does not export.

    >>> import numpy, weft
    >>> weft.from_dlpack(numpy.ones(3)).shape
    (3,)
    """
    if x.__dlpack_device__()[0] in (2, 13):  # kDLCUDA, kDLCUDAManaged
        from weft.backends.gpu.cuda_array import from_dlpack

        data = from_dlpack(x)
    else:
        data = np.from_dlpack(x)
    return asarray(Tensor(data), device=device, copy=copy)


def created(name: str, device: str | None, *args: Any) -> Tensor:
    """What `name` of NumPy's or of the devices' array functions makes of `args`."""
    where = check_device(device)
    return Tensor(getattr(np, name)(*args) if where == "cpu" else getattr(on_devices(), name)(*args, device=where))


def moved(values: Any, device: str | None) -> Tensor:
    """Values made on the host, on `device`."""
    return Tensor(place(values, check_device(device)))


def of_number(value: Any, dtype: Any) -> Any:
    """The dtype of an array full of `value`, unless one is given: a Python float's is float32."""
    return dtype or (FLOAT32 if isinstance(value, float) else np.asarray(value).dtype)


def zeros(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of `shape`, float32 by default."""
    return created("zeros", device, shape, dtype or FLOAT32)


def ones(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of `shape`, float32 by default."""
    return created("ones", device, shape, dtype or FLOAT32)


def full(shape: Any, value: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """`value` everywhere in `shape`; a Python float gives float32."""
    return created("full", device, shape, value, of_number(value, dtype))


def empty(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Memory of `shape` with no particular values, float32 by default."""
    return created("empty", device, shape, dtype or FLOAT32)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Numbers from `start` (0 if only one is given) by `step`, `stop` left out; float32 if any is a float."""
    values = np.arange(start, stop, step) if stop is not None else np.arange(0, start, step)
    return moved(values.astype(dtype or (FLOAT32 if values.dtype == np.float64 else values.dtype)), device)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: str | None = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, float32 by default."""
    return moved(np.linspace(start, stop, num, endpoint=endpoint).astype(dtype or FLOAT32), device)


def eye(
    rows: int, columns: int | None = None, /, *, k: int = 0, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Ones on diagonal k, zeros elsewhere, float32 by default."""
    return moved(np.eye(rows, columns, k, dtype or FLOAT32), device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of x's shape and dtype, on its device unless another is given."""
    return created("zeros", device or device_of(x), x.shape, dtype or x.dtype)


def ones_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of x's shape and dtype, on its device unless another is given."""
    return created("ones", device or device_of(x), x.shape, dtype or x.dtype)


def full_like(x: Any, /, value: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """`value` everywhere, in x's shape and dtype, on its device unless another is given."""
    return created("full", device or device_of(x), x.shape, value, dtype or x.dtype)


def empty_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Memory of x's shape and dtype with no particular values, on its device unless another is given."""
    return created("empty", device or device_of(x), x.shape, dtype or x.dtype)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate matrices from coordinate vectors, on the device of the first."""
    device = device_of(arrays[0]) if arrays and isinstance(arrays[0], Tensor) else None
    vectors = [x.numpy() if isinstance(x, Tensor) else np.asarray(x) for x in arrays]
    return tuple([moved(a.copy(), device) for a in np.meshgrid(*vectors, indexing=indexing)])  # type: ignore[call-overload]
