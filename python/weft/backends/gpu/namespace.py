"""The array namespace over device arrays: the names of `backends.array`, computed by our kernels.

Elementwise functions and reductions are maps.py and reduce.py; what only moves axes gives views; what makes arrays
takes `device=`. The cold tail (array.COLD) runs in the array library.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from weft.backends.array import OnDevice
from weft.backends.gpu import reduce as reductions
from weft.backends.gpu.array import contiguous
from weft.backends.gpu.array import empty as memory
from weft.backends.gpu.embedding import scatter_add  # noqa: F401
from weft.backends.gpu.expressions import EXPRESSIONS, FLOAT32, promoted
from weft.backends.gpu.index import check, take, take_along_axis  # noqa: F401
from weft.backends.gpu.indexing import add_at  # noqa: F401
from weft.backends.gpu.maps import apply, empty_in_format
from weft.backends.gpu.reduce import reduce

this = sys.modules[__name__]

# -- elementwise ------------------------------------------------------------------------------------------------------


def elementwise(name: str, arity: int) -> Callable[..., Any]:
    if arity == 1:

        def unary(x: Any, *, out: Any = None) -> Any:
            return apply(name, x, out=out)

        return unary

    def binary(a: Any, b: Any, *, out: Any = None) -> Any:
        return apply(name, a, b, out=out)

    return binary


def define(name: str) -> None:
    function = elementwise(name, EXPRESSIONS[name].arity)
    function.__name__ = function.__qualname__ = name
    setattr(this, name, function)


for each in EXPRESSIONS:
    if EXPRESSIONS[each].arity < 3:
        define(each)


def pow(a: Any, b: Any, *, out: Any = None) -> Any:
    """a to the power b; a square is one product, where the general power would be bound by arithmetic.

    ValueError for integers to a negative power, which is no integer.
    """
    if type(b) in (int, float) and b == 2:
        return apply("square", a, out=out)
    if builtins.all([type(x) in (bool, int) or getattr(x, "dtype", FLOAT32).kind in "biu" for x in (a, b)]):
        message = "pow: expected integers to the power of integers from 0"
        if isinstance(b, OnDevice):
            check("exponent", b, message, b.shape, 0, 0)
        elif b < 0:
            raise ValueError(f"{message}, got {b}")
    return apply("pow", a, b, out=out)


def where(condition: Any, a: Any, b: Any) -> Any:
    return apply("where", condition, a, b)


def nextafter(a: Any, b: Any) -> Any:
    if builtins.any([getattr(x, "dtype", FLOAT32).itemsize == 2 for x in (a, b)]):
        raise TypeError("nextafter: expected float32 or float64, got 16 bits, which are computed in float32 on devices")
    return apply("nextafter", a, b)


def conj(x: Any) -> Any:
    return astype(x, x.dtype)  # what lives on devices is real


def real(x: Any) -> Any:
    return astype(x, x.dtype)


def imag(x: Any) -> Any:
    return zeros_like(x)


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    if low is None or high is None:
        return x if low is high else apply("minimum", x, high) if low is None else apply("maximum", x, low)
    return apply("clip", x, low, high)


def astype(x: Any, dtype: Any, *, copy: bool = True) -> Any:
    dtype = np.dtype(dtype)
    return x if not copy and x.dtype == dtype else apply("copy", x, dtype=dtype)


def accumulate(total: Any, x: Any) -> None:
    """total += x, in place."""
    apply("add", total, x, out=total)


def assign(out: Any, x: Any) -> None:
    """out[...] = x, an array that broadcasts to it or a number, cast to out's dtype."""
    if isinstance(x, OnDevice) and x.ndim > out.ndim:
        x = x.reshape(x.shape[x.ndim - out.ndim :])  # axes of length 1 in front, as NumPy allows
    apply("copy", x, out=out)


# -- reductions -------------------------------------------------------------------------------------------------------


def reduction(name: str) -> Callable[..., Any]:
    def over(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return reduce(name, x, axis, keepdims)

    over.__name__ = over.__qualname__ = name
    return over


sum, mean, prod = reduction("sum"), reduction("mean"), reduction("prod")
max, min = reduction("max"), reduction("min")
any, all = reduction("any"), reduction("all")
argmax, argmin = reduction("argmax"), reduction("argmin")


def cumulative_sum(x: Any, *, axis: int = -1) -> Any:
    return reductions.cumulative_sum(x, axis)


def matmul(a: Any, b: Any) -> Any:
    from weft.backends import reference as K

    return K.matmul(a, b)


# -- arrays from nothing ----------------------------------------------------------------------------------------------


def empty(shape: Any, dtype: Any = np.float64, *, device: str) -> Any:
    return memory(shape, np.dtype(dtype), device)


def full(shape: Any, value: Any, dtype: Any = None, *, device: str) -> Any:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return apply("copy", value, shape=shape, dtype=dtype or np.asarray(value).dtype, device=device)


def zeros(shape: Any, dtype: Any = np.float64, *, device: str) -> Any:
    return full(shape, 0, dtype, device=device)


def ones(shape: Any, dtype: Any = np.float64, *, device: str) -> Any:
    return full(shape, 1, dtype, device=device)


def full_like(x: Any, value: Any, dtype: Any = None) -> Any:
    """`value` everywhere, in x's shape, dtype and memory format."""
    out = empty_in_format(x, np.dtype(dtype or x.dtype))
    return apply("copy", value, out=out)


def zeros_like(x: Any, dtype: Any = None) -> Any:
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Any:
    return full_like(x, 1, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: str) -> Any:
    """Numbers from `start` (0 if only one is given) by `step`, `stop` left out."""
    if stop is None:
        start, stop = 0, start
    dtype = np.dtype(dtype or np.result_type(*[np.asarray(v).dtype for v in (start, stop, step)]))
    n = builtins.max(0, math.ceil((stop - start) / step))
    return apply("arange", start, step, shape=(n,), dtype=dtype, device=device)


def eye(rows: int, columns: int | None = None, k: int = 0, dtype: Any = np.float64, *, device: str) -> Any:
    columns = rows if columns is None else columns
    parameters = (builtins.max(columns, 1), 0, k)
    return apply("eye", shape=(rows, columns), dtype=np.dtype(dtype), device=device, parameters=parameters)


def triangle(name: str) -> Callable[..., Any]:
    def cut(x: Any, k: int = 0) -> Any:
        if x.ndim < 2:
            raise ValueError(f"{name}: expected at least two axes, got shape {x.shape}")
        rows, columns = [builtins.max(n, 1) for n in x.shape[-2:]]
        return apply(name, x, parameters=(columns, rows, k))

    cut.__name__ = cut.__qualname__ = name
    return cut


tril, triu = triangle("tril"), triangle("triu")

# -- views ------------------------------------------------------------------------------------------------------------


def normal_axis(axis: int, rank: int) -> int:
    return np.lib.array_utils.normalize_axis_index(axis, rank)


def reshape(x: Any, shape: Any) -> Any:
    return x.reshape(shape)


def permute_dims(x: Any, axes: Any) -> Any:
    return x.transpose(*axes) if len(axes) else x.reshape(())


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    return x.swapaxes(axis1, axis2)


def matrix_transpose(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    from_ = np.lib.array_utils.normalize_axis_tuple(source, x.ndim)
    to = np.lib.array_utils.normalize_axis_tuple(destination, x.ndim)
    order = [i for i in range(x.ndim) if i not in from_]
    for place, axis in sorted(zip(to, from_)):
        order.insert(place, axis)
    return permute_dims(x, order)


def expand_dims(x: Any, axis: Any) -> Any:
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = np.lib.array_utils.normalize_axis_tuple(axes, x.ndim + len(axes))
    return x.basic(tuple([None if i in axes else slice(None) for i in range(x.ndim + len(axes))]))


def squeeze(x: Any, axis: Any = None) -> Any:
    return x.squeeze(axis)


def broadcast_to(x: Any, shape: Any) -> Any:
    return x.broadcast_to((shape,) if isinstance(shape, int) else tuple(shape))


def flip(x: Any, axis: Any = None) -> Any:
    axes = range(x.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    return x.basic(tuple([slice(None, None, -1 if i in axes else 1) for i in range(x.ndim)]))


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return x.diagonal(offset, axis1, axis2)


# -- copies into a new order ------------------------------------------------------------------------------------------

in_c_order = contiguous


def concat(arrays: Any, axis: int | None = 0) -> Any:
    arrays = list(arrays)
    if not arrays:
        raise ValueError("concat: expected at least one array, got none")
    if axis is None:
        arrays, axis = [x.reshape(-1) for x in arrays], 0
    axis = normal_axis(axis, arrays[0].ndim)
    dtype = arrays[0].dtype
    for x in arrays[1:]:
        dtype = promoted(dtype, x.dtype)
        if x.ndim != arrays[0].ndim or [*x.shape[:axis], *x.shape[axis + 1 :]] != [
            *arrays[0].shape[:axis], *arrays[0].shape[axis + 1 :]
        ]:  # fmt: skip
            raise ValueError(f"concat: expected shapes equal but for axis {axis}, got {arrays[0].shape} and {x.shape}")
    shape = list(arrays[0].shape)
    shape[axis] = builtins.sum([x.shape[axis] for x in arrays])
    out, start = memory(tuple(shape), dtype, arrays[0].device_name), 0
    lead = (slice(None),) * axis
    for x in arrays:
        assign(out.basic((*lead, slice(start, start + x.shape[axis]))), x)
        start += x.shape[axis]
    return out


def stack(arrays: Any, axis: int = 0) -> Any:
    arrays = list(arrays)
    if not arrays or builtins.any([x.shape != arrays[0].shape for x in arrays]):
        raise ValueError(f"stack: expected arrays of one shape, got {[x.shape for x in arrays]}")
    axis = normal_axis(axis, arrays[0].ndim + 1)
    return concat([expand_dims(x, axis) for x in arrays], axis=axis)


def pad(x: Any, widths: Any, *, value: float = 0.0) -> Any:
    """x with `widths[i] = (before, after)` entries of `value` around axis i."""
    shape = tuple([n + b + a for n, (b, a) in zip(x.shape, widths)])
    out = full(shape, value, x.dtype, device=x.device_name)
    assign(out.basic(tuple([slice(b, b + n) for n, (b, _) in zip(x.shape, widths)])), x)
    return out


def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each value along `axis` repeated `repeats` times (an int)."""
    if not isinstance(repeats, int):
        raise TypeError(f"repeat: expected repeats as an int, got {type(repeats).__name__}")
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = normal_axis(axis, x.ndim)
    spread = broadcast_to(expand_dims(x, axis + 1), (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :]))
    return contiguous(spread).reshape((*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))


def tile(x: Any, repetitions: Any) -> Any:
    counts = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    counts = (1,) * (len(shape) - len(counts)) + counts
    pairs = tuple([n for pair in zip(counts, shape) for n in pair])
    spread = broadcast_to(x.reshape(tuple([n for size in shape for n in (1, size)])), pairs)
    return contiguous(spread).reshape(tuple([c * n for c, n in zip(counts, shape)]))


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return roll(x.reshape(-1), shift, 0).reshape(x.shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    for by, where_ in zip(shifts.ravel().tolist(), axes.ravel().tolist()):
        lead, n = (slice(None),) * normal_axis(where_, x.ndim), x.shape[where_]
        cut = n - by % n if n else 0
        x = concat([x.basic((*lead, slice(cut, None))), x.basic((*lead, slice(None, cut)))], axis=len(lead))
    return x


# -- the cold tail ----------------------------------------------------------------------------------------------------


def sort(x: Any, axis: int = -1) -> Any:
    if x.dtype.char == "E":  # CuPy sorts no bfloat16; float32 holds every value of it
        return astype(np.sort(astype(x, np.float32), axis=axis), x.dtype)
    return np.sort(x, axis=axis)


def argsort(x: Any, axis: int = -1, *, stable: bool = True) -> Any:
    x = astype(x, np.float32) if x.dtype.char == "E" else x
    return np.argsort(x, axis=axis, kind="stable" if stable else None)


def cumulative_prod(x: Any, *, axis: int = -1) -> Any:
    """Running products along `axis`; bool and integers in 64 bits, 16-bit types in float32, rounded once."""
    dtype, accumulate = reductions.result_types("prod", x.dtype)
    inside = np.dtype(np.float32) if accumulate == "float" else dtype
    return astype(np.cumprod(astype(x, inside), axis=axis), dtype)
