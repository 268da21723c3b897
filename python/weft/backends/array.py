"""The array namespace: array-API names over NumPy arrays, or `weft` itself for Tensors.

Op bodies and references are written against `namespace(x)`. Over NumPy it differs from `numpy` in three things: types
of 16 bits are reduced and multiplied in float32 and cast once, large float32 arrays go to the native kernels where
there are any, and `erf`, `sigmoid`, `pad` and `scatter_add` exist.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import (  # noqa: F401
    abs,
    acos,
    acosh,
    all,
    any,
    arange,
    argmax,
    argmin,
    argsort,
    asin,
    asinh,
    astype,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    broadcast_to,
    ceil,
    concat,
    conj,
    copysign,
    cos,
    cosh,
    diagonal,
    empty,
    equal,
    exp,
    expand_dims,
    eye,
    flip,
    floor,
    full,
    full_like,
    greater,
    greater_equal,
    hypot,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    matrix_transpose,
    max,
    maximum,
    min,
    minimum,
    moveaxis,
    ndarray,
    negative,
    nextafter,
    not_equal,
    ones,
    ones_like,
    permute_dims,
    reciprocal,
    remainder,
    repeat,
    reshape,
    roll,
    round,
    signbit,
    sin,
    sinh,
    sort,
    sqrt,
    square,
    squeeze,
    stack,
    swapaxes,
    take_along_axis,
    tile,
    tril,
    triu,
    trunc,
    where,
    zeros,
    zeros_like,
)
from numpy import add as np_add
from numpy import divide as np_divide
from numpy import multiply as np_multiply
from numpy import subtract as np_subtract

add, subtract, multiply, divide = np_add, np_subtract, np_multiply, np_divide
this = sys.modules[__name__]


class OnDevice:
    """Base of the arrays of other devices than the CPU: see `gpu.array`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Any: ...


ARRAYS = (ndarray, OnDevice)


def namespace(*arrays: Any) -> ModuleType:
    """`weft` if one of `arrays` is a Tensor (a body is being replayed), that of its device, or this module."""
    found = this
    for x in arrays:
        kind = type(x)
        if kind is not ndarray:
            if kind.__module__ == "weft.autograd":
                return sys.modules["weft.ops"]
            if found is this and isinstance(x, OnDevice):
                found = on_devices()
    return found


def on_devices() -> ModuleType:
    """The namespace of arrays on devices."""
    name = "weft.backends.gpu.namespace"
    return sys.modules.get(name) or importlib.import_module(name)


def device_of(x: Any) -> str:
    """Where an array or a Tensor lives: "cpu", "emulated" or "cuda:N"."""
    kind = type(x)
    if kind is ndarray:
        return "cpu"
    if isinstance(x, OnDevice):
        return str(x.device_name)
    return device_of(x.data) if hasattr(x, "requires_grad") else "cpu"


def is_16_bit(dtype: Any) -> bool:
    return bool(dtype.itemsize == 2 and dtype.kind not in "iu")


def reduction(name: str) -> Callable[..., Any]:
    """A NumPy reduction that accumulates 16-bit floats in float32."""
    function = getattr(np, name)

    def reduce(x: Any, *, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        if x.dtype.itemsize == 2 and is_16_bit(x.dtype):
            return function(x.astype(np.float32), axis=axis, keepdims=keepdims, **options).astype(x.dtype)
        return function(x, axis=axis, keepdims=keepdims, **options)

    reduce.__name__ = name
    return reduce


sum, mean, prod = reduction("sum"), reduction("mean"), reduction("prod")


def in_c_order(x: Any) -> Any:
    """x, or a copy of it in C order if it lies otherwise."""
    return np.ascontiguousarray(x) if x.ndim else x


def accumulate(total: Any, x: Any) -> None:
    """total += x, in place."""
    np.add(total, x, out=total)


def assign(out: Any, x: Any) -> None:
    """out[...] = x, an array that broadcasts to it or a number, cast to out's dtype."""
    np.copyto(out, x, casting="unsafe")


def contiguous(x: Any) -> Any:
    """x itself if it lies in C order, else a copy that does."""
    return np.ascontiguousarray(x) if x.ndim else np.asarray(x)


def cumulative_sum(x: Any, *, axis: int = -1) -> Any:
    if is_16_bit(x.dtype):
        return np.cumulative_sum(x.astype(np.float32), axis=axis).astype(x.dtype)
    return np.cumulative_sum(x, axis=axis)


def cumulative_prod(x: Any, *, axis: int = -1) -> Any:
    if is_16_bit(x.dtype):
        return np.cumulative_prod(x.astype(np.float32), axis=axis).astype(x.dtype)
    return np.cumulative_prod(x, axis=axis)


def matmul(a: Any, b: Any) -> Any:
    from weft.backends import reference as K

    return K.matmul(a, b)


def floor_divide(a: Any, b: Any) -> Any:
    """The floor of a / b; as the standard says, an infinite a stays infinite and an infinite b leaves a zero."""
    y = np.floor_divide(a, b)
    if y.dtype.kind in "biu":
        return y
    beyond = np.isinf(a) | np.isinf(b)
    return np.where(beyond, np.divide(a, b), y) if beyond.any() else y


def pow(a: Any, b: Any) -> Any:
    """a to the power b; NumPy's square root for a half has another sign of zero, and NaN for -inf."""
    half = b == 0.5 if type(b) is float else getattr(b, "ndim", 1) == 0 and b == 0.5
    if half and hasattr(a, "dtype") and a.dtype.kind != "c":
        return np.sqrt(np.where(np.isinf(a) | (a == 0), np.abs(a), a))
    return np.pow(a, b)


def sign(x: Any) -> Any:
    y = np.sign(x)
    if y.dtype.kind == "c":
        undefined = np.isnan(x)
        return np.where(undefined, complex(np.nan, np.nan), y).astype(y.dtype) if undefined.any() else y
    return y


def of_parts(real: Any, imag: Any, dtype: Any) -> Any:
    """The complex array of two real ones."""
    out = np.empty(np.shape(real), dtype)
    out.real, out.imag = real, imag
    return out


def expm1(x: Any) -> Any:
    y = np.expm1(x)
    if y.dtype.kind != "c":
        return y
    y = y + 0.0  # the standard has 0 + 0j of -0 + 0j too
    odd = ~np.isfinite(x)  # exp has the values that infinities and NaN should have
    return np.where(odd, of_parts(np.exp(x).real - 1, np.exp(x).imag, y.dtype), y) if odd.any() else y


def tanh(x: Any) -> Any:
    """tanh; at an infinite real part the standard has the zero of the imaginary part with the sign of that of x."""
    y = np.tanh(x)
    if y.dtype.kind != "c":
        return y
    far = np.isinf(x.real) & np.isfinite(x.imag)  # C99's zero has the sign of sin(2 imag)
    return np.where(far, of_parts(np.sign(x.real), np.copysign(0.0, x.imag), y.dtype), y) if far.any() else y


def tan(x: Any) -> Any:
    """tan; of complex numbers -1j * tanh(1j * x), as the standard asks, with all signs."""
    if x.dtype.kind != "c":
        return np.tan(x)
    y = tanh(of_parts(-x.imag, x.real, x.dtype))
    return of_parts(y.imag, -y.real, x.dtype)


def log1p(x: Any) -> Any:
    """log(1 + x), to the last digits where a complex x is small, whose size 1 + x would lose."""
    if x.dtype.kind != "c":
        return np.log1p(x)
    near = np.abs(x) < 0.5
    a, b = (np.where(near, part, 0) for part in (x.real, x.imag))
    size = np.where(near, np.log1p(a * (2 + a) + b * b) / 2, np.log(np.hypot(x.real + 1, x.imag)))
    return of_parts(size, np.arctan2(x.imag, x.real + 1), x.dtype)


def real(x: Any) -> Any:
    return x.real.copy()


def imag(x: Any) -> Any:
    return x.imag.copy()


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    return np.clip(x, low, high)


def take(x: Any, indices: Any, *, axis: int) -> Any:
    return np.take(x, indices, axis=axis)


def pad(x: Any, widths: Any, *, value: float = 0.0) -> Any:
    """x with `widths[i] = (before, after)` entries of `value` around axis i."""
    return np.pad(x, widths, constant_values=value)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), to the last bits on both sides of 0; only exp(-|x|) is computed, which cannot overflow."""
    if x.dtype.itemsize <= 2:
        return sigmoid(x.astype(np.float32)).astype(x.dtype)
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)


def scatter_add(g: Any, indices: Any, *, rows: int) -> Any:
    from weft.backends import reference as K

    return K.scatter_add(g, indices, rows=rows)


def erf(x: Any) -> Any:
    """The error function to the last bits of float64: its series near 0, a continued fraction's tail further out.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6 and 7.1.14.
    """
    z = np.abs(np.asarray(x, np.float64))
    small = np.minimum(z, 3.0)
    square_, term = small * small, small
    series = term
    for n in range(1, 60):  # 2/sqrt(pi) exp(-z^2) sum of 2^n z^(2n+1) / (2n+1)!!
        term = term * square_ * (2.0 / (2 * n + 1))
        series = series + term
    near = 2 / np.sqrt(np.pi) * np.exp(-square_) * series
    big = np.clip(z, 2.0, 6.0)
    fraction = big
    for n in range(60, 0, -1):
        fraction = big + (n / 2) / fraction
    far = 1 - np.exp(-big * big) / (np.sqrt(np.pi) * fraction)
    value = np.where(z < 2.5, near, np.where(z >= 6, 1.0, far))
    return np.asarray(np.where(np.isnan(z), z, np.copysign(value, x))).astype(x.dtype)
