"""Arrays in device memory: the operators that both GPU devices share, and the arrays of the emulated one.

What computes is `namespace.py`; an array only knows where its values lie. `EmulatedArray` is as strict as CuPy's array:
it mixes with nothing but scalars and arrays of its own device, results of no axes stay arrays, and its values reach
NumPy by `get()` alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from weft.backends import capturing, gpu
from weft.backends.array import OnDevice

SCALARS = (bool, int, float)

#: What may run in the array library itself (CuPy; NumPy on the emulated device), for want of a kernel: the cold tail.
COLD = frozenset({"argsort", "cumprod", "nonzero", "searchsorted", "sort", "unique"}) | frozenset(
    f"linalg.{name}" for name in ("cholesky", "det", "eigh", "eigvalsh", "inv", "qr", "slogdet", "solve", "svd")
)


def namespace() -> Any:
    """Array functions over device arrays; loaded with the first of them."""
    return sys.modules.get("weft.backends.gpu.namespace") or importlib.import_module("weft.backends.gpu.namespace")


def binary(name: str, reflected: bool = False) -> Any:
    def operator(self: Any, other: Any) -> Any:
        if isinstance(other, np.generic):
            other = other.item()
        if type(other) not in SCALARS and not isinstance(other, DeviceArray):
            if isinstance(other, np.ndarray):
                raise TypeError(f"{name}: expected both on one device, got {self.device_name} and cpu (numpy.ndarray)")
            return NotImplemented
        function = getattr(namespace(), name)
        return function(other, self) if reflected else function(self, other)

    return operator


def in_place(name: str) -> Any:
    compute = binary(name)

    def operator(self: Any, other: Any) -> Any:
        if name == "add" and isinstance(other, DeviceArray):
            namespace().accumulate(self, other)
        else:
            namespace().assign(self, compute(self, other))
        return self

    return operator


def unary(name: str) -> Any:
    return lambda self: getattr(namespace(), name)(self)


def reduction(name: str) -> Any:
    def reduce(self: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return getattr(namespace(), name)(self, axis=axis, keepdims=keepdims)

    return reduce


class DeviceArray(OnDevice):
    """The part of an array that computes. A device's array class adds the part that lies in memory.

    That part has the attributes and the views of a NumPy array (shape, strides, dtype, reshape, transpose, ...), and

    device_name: "emulated" or "cuda:N".   pointer: the address of the first value, an int.
    get(): the values as a NumPy array.    basic(index): the view that slices, integers, None and Ellipsis name.
    """

    __slots__ = ()
    __array_priority__ = 900  # below Tensor
    __hash__ = None  # type: ignore[assignment]

    device_name: str
    shape: tuple[int, ...]
    ndim: int
    dtype: np.dtype[Any]
    size: int

    @staticmethod
    def load_entries() -> None:
        gpu.load()

    def basic(self, index: Any) -> Any:
        raise NotImplementedError

    def get(self) -> np.ndarray[Any, Any]:
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Any:
        if is_basic(index):
            return self.basic(index)
        from weft.backends.gpu.indexing import get

        return get(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if is_basic(index):
            namespace().assign(self.basic(index), value)
            return
        from weft.backends.gpu.indexing import put

        put(self, index, value)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len: expected at least one axis, got a 0-d array")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self.basic(i) for i in range(len(self)))

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        return self if not copy and self.dtype == dtype else namespace().astype(self, np.dtype(dtype), copy=True)

    def copy(self) -> Any:
        return namespace().astype(self, self.dtype, copy=True)

    def fill(self, value: Any) -> None:
        namespace().assign(self, value)

    # -- values on the host: each of these waits for the device

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError(f"item: expected an array of one value, got shape {self.shape}")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        return self.get().__index__()

    def __repr__(self) -> str:
        return f"{np.array2string(self.get(), separator=', ')} on {self.device_name}"

    # -- NumPy's functions do not compute here, but for the cold ones

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(
            f"array: expected no implicit copy from {self.device_name} to NumPy, got one of shape {self.shape}; "
            "call .get() for it"
        )

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        operator = OPERATORS.get(function.__name__)
        others = [x for x in inputs if not isinstance(x, DeviceArray)]
        if method == "__call__" and not options and operator and all(isinstance(x, np.generic) for x in others):
            return getattr(namespace(), operator)(*[x.item() if isinstance(x, np.generic) else x for x in inputs])
        if any(isinstance(x, np.ndarray) for x in others):
            raise TypeError(
                f"{function.__name__}: expected both on one device, got {self.device_name} and cpu (numpy.ndarray)"
            )
        raise TypeError(f"numpy.{function.__name__}: expected NumPy arrays, got one on {self.device_name}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = f"{function.__module__}.{function.__name__}"
        if name.removeprefix("numpy.") not in COLD:
            raise TypeError(f"{name}: expected NumPy arrays, got one on {self.device_name}")
        return self.cold(function, args, kwargs)

    def cold(self, function: Any, args: Any, kwargs: Any) -> Any:
        raise NotImplementedError


OPERATORS = {  # NumPy's ufuncs that its scalars call, so that `np.float32(2) * x` works as on the CPU
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "power": "pow",
    "less": "less",
    "less_equal": "less_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "equal": "equal",
    "not_equal": "not_equal",
    "maximum": "maximum",
    "minimum": "minimum",
}
ARITHMETIC = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
for sign, name in ARITHMETIC.items():
    setattr(DeviceArray, f"__{sign}__", binary(name))
    setattr(DeviceArray, f"__r{sign}__", binary(name, reflected=True))
    setattr(DeviceArray, f"__i{sign}__", in_place(name))
for sign, name in COMPARISONS.items():
    setattr(DeviceArray, f"__{sign}__", binary(name))
for sign, name in {"neg": "negative", "abs": "abs", "invert": "bitwise_invert"}.items():
    setattr(DeviceArray, f"__{sign}__", unary(name))
for name in ("sum", "mean", "prod", "max", "min", "all", "any", "argmax", "argmin"):
    setattr(DeviceArray, name, reduction(name))


def is_basic(index: Any) -> bool:
    """Whether an index names a view: integers, slices, None and Ellipsis."""
    for part in index if type(index) is tuple else (index,):
        kind = type(part)
        if kind is int or kind is slice or part is None or part is Ellipsis:
            continue
        if kind is bool or not isinstance(part, np.integer):
            return False
    return True


# -- the emulated device ----------------------------------------------------------------------------------------------


class Flags:
    """The part of NumPy's flags that CuPy has too."""

    __slots__ = ("c_contiguous", "f_contiguous", "owndata")

    def __init__(self, c_contiguous: bool, f_contiguous: bool, owndata: bool):
        self.c_contiguous, self.f_contiguous, self.owndata = c_contiguous, f_contiguous, owndata


def view(name: str) -> Any:
    """A method of NumPy's that moves no values."""

    def method(self: EmulatedArray, *args: Any, **options: Any) -> EmulatedArray:
        return self.viewed(getattr(self.memory, name)(*args, **options))

    return method


class EmulatedArray(DeviceArray):
    """An array in the memory of the emulated device, which is memory of this process with guards around it.

    memory: the values as a NumPy array. Only transfers and the cold functions look through it.
    """

    __slots__ = ("__weakref__", "base", "memory")
    device_name = "emulated"

    def __init__(self, memory: np.ndarray[Any, Any], base: EmulatedArray | None = None):
        self.memory = memory
        self.base = base

    shape = property(lambda self: self.memory.shape)  # type: ignore[assignment]
    strides = property(lambda self: self.memory.strides)
    dtype = property(lambda self: self.memory.dtype)  # type: ignore[assignment]
    ndim = property(lambda self: self.memory.ndim)  # type: ignore[assignment]
    size = property(lambda self: self.memory.size)  # type: ignore[assignment]
    itemsize = property(lambda self: self.memory.itemsize)
    nbytes = property(lambda self: self.memory.nbytes)
    pointer = property(lambda self: self.memory.__array_interface__["data"][0])

    @property
    def flags(self) -> Flags:
        flags = self.memory.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self.base is None)

    def viewed(self, memory: np.ndarray[Any, Any]) -> EmulatedArray:
        return EmulatedArray(memory, self if self.base is None else self.base)

    def broadcast_to(self, shape: tuple[int, ...]) -> EmulatedArray:
        return self.viewed(np.broadcast_to(self.memory, shape))

    def basic(self, index: Any) -> EmulatedArray:
        if type(index) is not tuple:
            index = (index,)
        if not any(part is Ellipsis for part in index):
            index = (*index, Ellipsis)  # so that what has no axes stays an array
        return self.viewed(self.memory[index])

    swapaxes = view("swapaxes")
    transpose = view("transpose")
    squeeze = view("squeeze")
    diagonal = view("diagonal")

    @property
    def T(self) -> EmulatedArray:
        return self.viewed(self.memory.T)

    @property
    def mT(self) -> EmulatedArray:
        return self.viewed(self.memory.mT)

    def view(self, dtype: Any) -> EmulatedArray:
        """The same bytes as values of another dtype."""
        return self.viewed(self.memory.view(dtype))

    def reshape(self, *shape: Any) -> EmulatedArray:
        """The same values in C order under another shape: a view where there is one, else a copy."""
        new = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        try:
            return self.viewed(self.memory.reshape(new, copy=False))
        except ValueError:
            if self.memory.flags.c_contiguous:  # not for want of a view
                raise
            return contiguous(self).reshape(new)  # type: ignore[no-any-return]

    def ravel(self) -> EmulatedArray:
        return self.reshape(-1)

    def get(self) -> np.ndarray[Any, Any]:
        capturing.leaving(self.shape)
        check_flags(self)
        return self.memory.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> EmulatedArray:
        return self.copy()  # type: ignore[no-any-return]

    def set(self, values: np.ndarray[Any, Any]) -> None:
        """Copy host values of the same shape and dtype into this array."""
        capturing.arriving(values.shape, values.dtype)
        if values.shape != self.shape or values.dtype != self.dtype:
            raise ValueError(f"set: expected {self.dtype} {self.shape}, got {values.dtype} {values.shape}")
        self.memory[...] = values

    def cold(self, function: Any, args: Any, kwargs: Any) -> Any:
        capturing.refuse(f"{function.__name__}, which has no kernel", "do it before or after the step")
        if any(isinstance(x, np.ndarray) for x in args):
            raise TypeError(f"{function.__name__}: expected all on one device, got {self.device_name} and cpu")
        out = function(*[x.memory if isinstance(x, EmulatedArray) else x for x in args], **kwargs)
        return tuple(map(from_host, out)) if isinstance(out, tuple) else from_host(out)


gpu.use(EmulatedArray)


def check_flags(array: Any) -> None:
    """Raise what kernels on the array's device have noted in its flag word."""
    from weft.backends.gpu import flags

    flags.check(array.device_name)


def from_host(values: Any) -> EmulatedArray:
    """A copy of a NumPy array in the memory of the emulated device."""
    values = np.asarray(values)
    capturing.arriving(values.shape, values.dtype)
    out = empty(values.shape, values.dtype, "emulated")
    out.memory[...] = values
    return out  # type: ignore[no-any-return]


# -- making arrays ----------------------------------------------------------------------------------------------------


def check_real(dtype: Any, device: str) -> None:
    if dtype.kind == "c":
        raise TypeError(f"device: expected real numbers on {device}, got {dtype}; complex numbers live on the CPU")


def empty(shape: Any, dtype: Any, device: str) -> Any:
    """Memory of `shape` on a device ("emulated" or "cuda:N"), in C order, with no particular values."""
    check_real(np.dtype(dtype), device)
    if device == "emulated":
        from weft.backends.emulator import memory

        out = EmulatedArray(memory(shape, dtype))
        if capturing.state.recorder is not None:
            capturing.state.recorder.pin(out)
        return out
    from weft.backends.gpu import cuda_array

    return cuda_array.empty(shape, dtype, device)


def empty_like(x: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Memory on the device of x, of x's shape and dtype unless others are given, in C order."""
    return empty(x.shape if shape is None else shape, x.dtype if dtype is None else dtype, x.device_name)


def contiguous(x: Any) -> Any:
    """x itself if it lies in C order, else a copy that does."""
    if x.flags.c_contiguous:
        return x
    out = empty_like(x)
    namespace().assign(out, x)
    return out
