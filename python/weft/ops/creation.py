"""Tensors from nothing: filled, counted, or made from other arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import DEFAULTS, NO_NUMBERS, Tensor
from weft.backends.array import OnDevice, device_of, on_devices
from weft.backends.device import check_device, place
from weft.ops.dtypes import FLOAT32, INT64, as_dtype, check_holds
from weft.ops.elementwise import astype
from weft.ops.shape import broadcast_to, reshape, stack


def asarray(obj: Any, /, *, dtype: Any = None, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor of an array, a number or nested lists of numbers; Python's floats become float32.

    device: where it shall live. By default Tensors and CuPy's arrays stay where they are, and NumPy's arrays, numbers
    and lists go to the default device. Memory is shared unless `copy`, or another device or dtype, asks for a copy; a
    copy of a Tensor is recorded.  TypeError for what is no number; ValueError where copy=False forbids what is needed.

    >>> import weft
    >>> weft.asarray([1.5, 2.0]).dtype
    dtype('float32')
    """
    dtype = as_dtype("asarray", dtype)
    if isinstance(obj, (list, tuple)) and holds_tensor(obj):
        if copy is False:
            raise ValueError("asarray: expected copy allowed to join a list of Tensors, got copy=False")
        obj, copy = joined(obj), None
    if isinstance(obj, Tensor):
        return converted(obj, dtype, obj.device if device is None else check_device(device), copy)
    if not isinstance(obj, (np.ndarray, OnDevice)) and not hasattr(obj, "__array__") and not is_buffer(obj):
        if copy is False:
            raise ValueError(f"asarray: expected copy allowed to make an array of {type(obj).__name__}, got copy=False")
        copy = None
        obj = obj if dtype is None or type(obj).__module__.partition(".")[0] == "cupy" else np.asarray(obj, dtype)
    if isinstance(obj, np.ndarray) and not obj.dtype.isnative:  # of a file from another machine
        obj = obj.astype(obj.dtype.newbyteorder("="))
    if isinstance(obj, np.ndarray) and obj.dtype.kind in NO_NUMBERS:
        raise TypeError(f"asarray: expected numbers, got an array of {obj.dtype}")
    out = Tensor(obj)
    stays = device is None and out.device != "cpu"  # CuPy's
    return converted(out, dtype, out.device if stays else check_device(device), copy)


def is_buffer(obj: Any) -> bool:
    """Whether an object exports its memory by Python's buffer protocol."""
    try:
        memoryview(obj)
    except TypeError:
        return False
    return True


def holds_tensor(items: Any) -> bool:
    """Whether a Tensor is anywhere in nested lists."""
    return any([isinstance(i, Tensor) or (isinstance(i, (list, tuple)) and holds_tensor(i)) for i in items])


def joined(items: Any) -> Tensor:
    """Nested lists of Tensors, and of numbers beside them, as one Tensor; recorded."""
    parts = [joined(i) if isinstance(i, (list, tuple)) and holds_tensor(i) else i for i in items]
    device = next(i.device for i in parts if isinstance(i, Tensor))
    return stack([i if isinstance(i, Tensor) else asarray(i, device=device) for i in parts])  # type: ignore[no-any-return]


def converted(x: Tensor, dtype: Any, device: str, copy: bool | None) -> Tensor:
    """x on `device` in `dtype`: itself where nothing changes and no copy is asked for."""
    changes = x.device != device or (dtype is not None and x.dtype != dtype)
    if changes and copy is False:
        wanted = f"from {x.device} to {device}" if x.device != device else f"to change {x.dtype} into {dtype}"
        raise ValueError(f"asarray: expected copy allowed {wanted}, got copy=False")
    if not changes and not copy:
        return x
    there = x.to_device(device)
    return astype(there, dtype or x.dtype) if there is x or dtype not in (None, x.dtype) else there


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor over the memory of another library's array (PyTorch's, CuPy's, ...), on the CPU or a GPU.

    device, copy: as in `asarray`, but that the memory stays where it is unless `device` says otherwise.  BufferError
    for what the other library does not export.

    >>> import numpy, weft
    >>> weft.from_dlpack(numpy.ones(3)).shape
    (3,)
    """
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        raise TypeError(f"from_dlpack: expected an array with __dlpack__ and __dlpack_device__, got {type(x).__name__}")
    from weft.backends.dlpack import adopt

    where = None if device is None else check_device(device)
    taken = adopt(x, to_host=where == "cpu", copy=copy)
    if copy is False and where is not None and device_of(taken) != where:
        raise BufferError(f"from_dlpack: expected copy allowed from {device_of(taken)} to {where}, got copy=False")
    return asarray(Tensor(taken), device=where, copy=copy)


def created(name: str, device: str | None, *args: Any) -> Tensor:
    """What `name` of NumPy's or of the devices' array functions makes of `args`."""
    where = check_device(device)
    return Tensor(getattr(np, name)(*args) if where == "cpu" else getattr(on_devices(), name)(*args, device=where))


def moved(values: Any, device: str | None) -> Tensor:
    """Values made on the host, on `device`."""
    return Tensor(place(values, check_device(device)))


def of_numbers(values: Any, dtype: Any) -> Any:
    """NumPy's `values` of Python's numbers, in their default dtype unless one is given."""
    return values.astype(dtype or DEFAULTS.get(values.dtype.char, values.dtype), copy=False)


def filled(name: str, shape: Any, value: Any, dtype: Any, device: str | None) -> Tensor:
    """`value`, a number or an array of one, everywhere in `shape`."""
    if hasattr(value, "dtype"):
        dtype, value = dtype or value.dtype, value.item()
    dtype = as_dtype(name, dtype) or of_numbers(np.asarray(value), None).dtype
    check_holds(name, dtype, value)
    return created("full", device, shape, value, dtype)


def zeros(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of `shape`, float32 by default.

    >>> weft.zeros((2, 3)).numpy()
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    return created("zeros", device, shape, as_dtype("zeros", dtype, FLOAT32))


def ones(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of `shape`, float32 by default.

    >>> weft.ones((2, 3)).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """
    return created("ones", device, shape, as_dtype("ones", dtype, FLOAT32))


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """`fill_value` everywhere in `shape`; a Python float gives float32.

    TypeError where `dtype` would cut it.

    >>> weft.full((2, 2), 0.5).numpy()
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    """
    return filled("full", shape, fill_value, dtype, device)


def empty(shape: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Memory of `shape` with no particular values, float32 by default.

    >>> weft.empty((2, 3)).shape
    (2, 3)
    """
    return created("empty", device, shape, as_dtype("empty", dtype, FLOAT32))


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Numbers from `start` (0 if only one is given) by `step`, `stop` left out; float32 if any is a float.

    TypeError where an integer `dtype` would cut floats, OverflowError where it does not reach that far.

    >>> weft.arange(1, 7, 2).numpy()
    array([1, 3, 5])
    """
    dtype = as_dtype("arange", dtype)
    if stop is None:
        start, stop = 0, start
    if not step:
        raise ValueError(f"arange: expected a step other than 0, got {step}")
    if all([isinstance(n, (int, np.integer)) for n in (start, stop, step)]):
        return moved(counted(int(start), int(stop), int(step), dtype or INT64), device)
    values = np.arange(start, stop, step)
    if dtype is not None:
        check_holds("arange", dtype, values)
    return moved(of_numbers(values, dtype), device)


def counted(start: int, stop: int, step: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The integers of a range, exact in all 64 bits."""
    numbers = range(start, stop, step)
    if numbers and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if min(numbers[0], numbers[-1]) < info.min or max(numbers[0], numbers[-1]) > info.max:
            raise OverflowError(f"arange: expected numbers that fit {dtype}, got {numbers[0]} to {numbers[-1]}")
    if dtype.kind not in "iu" or max(abs(start), abs(stop), abs(step)) < 2**63:
        return np.arange(start, stop, step).astype(dtype, copy=False)
    bits = np.arange(len(numbers), dtype=np.uint64)  # modulo 2^64, where negative numbers wrap around and back
    return (bits * np.uint64(step % 2**64) + np.uint64(start % 2**64)).astype(dtype)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: str | None = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`; float32 by default, complex64 if one is complex.

    >>> weft.linspace(0, 1, 5).numpy()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    return moved(of_numbers(np.linspace(start, stop, num, endpoint=endpoint), as_dtype("linspace", dtype)), device)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Ones on diagonal k, zeros elsewhere, float32 by default.

    >>> weft.eye(2, 3, k=1).numpy()
    array([[0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    return moved(np.eye(n_rows, n_cols, k, as_dtype("eye", dtype, FLOAT32)), device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of x's shape and dtype, on its device unless another is given.

    >>> weft.zeros_like(weft.asarray([1, 2])).numpy()
    array([0, 0])
    """
    return created("zeros", device or device_of(x), x.shape, as_dtype("zeros_like", dtype, x.dtype))


def ones_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of x's shape and dtype, on its device unless another is given.

    >>> weft.ones_like(weft.asarray([1, 2])).numpy()
    array([1, 1])
    """
    return created("ones", device or device_of(x), x.shape, as_dtype("ones_like", dtype, x.dtype))


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """`fill_value` everywhere, in x's shape and dtype, on its device unless another is given.

    TypeError where that dtype would cut it.

    >>> weft.full_like(weft.ones((2,)), 7).numpy()
    array([7., 7.], dtype=float32)
    """
    return filled("full_like", x.shape, fill_value, dtype or x.dtype, device or device_of(x))


def empty_like(x: Any, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Memory of x's shape and dtype with no particular values, on its device unless another is given.

    >>> weft.empty_like(weft.ones((2, 3))).shape
    (2, 3)
    """
    return created("empty", device or device_of(x), x.shape, as_dtype("empty_like", dtype, x.dtype))


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate matrices from coordinate vectors, each in memory of its own.

    indexing: "xy" lays the first vector along the second axis, "ij" along the first.  ValueError for another.

    >>> import weft
    >>> x, y = weft.meshgrid(weft.arange(3), weft.arange(2))
    >>> x.numpy(), y.numpy()
    (array([[0, 1, 2],
           [0, 1, 2]]), array([[0, 0, 0],
           [1, 1, 1]]))
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: expected indexing 'xy' or 'ij', got {indexing!r}")
    vectors = [asarray(x) for x in arrays]
    if any([x.ndim > 1 for x in vectors]):
        raise ValueError(f"meshgrid: expected vectors, got shapes {[x.shape for x in vectors]}")
    order = list(range(len(vectors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = [1, 0]  # order[i]: the axis along which vector i lies
    shape = [0] * len(order)
    for x, axis in zip(vectors, order):
        shape[axis] = x.size
    lines = [tuple([x.size if i == axis else 1 for i in range(len(order))]) for x, axis in zip(vectors, order)]
    spread = [broadcast_to(reshape(x, line), tuple(shape)) for x, line in zip(vectors, lines)]
    return tuple([astype(x, x.dtype) for x in spread])
