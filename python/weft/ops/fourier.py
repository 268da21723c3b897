"""Fourier transforms over axes and their gradients.

The matrix F of a transform is symmetric, so its adjoint is its conjugate: the same transform backwards, with the scale
of the other direction. What a transform of real numbers leaves out, the conjugate half, its adjoint accounts for by
counting each number of the kept half, but for those that are their own conjugates, twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.autograd import Tensor, op
from weft.backends.array import OnDevice, device_of
from weft.ops.complex import conj
from weft.ops.creation import moved
from weft.ops.elementwise import astype
from weft.ops.shape import normal_axes, pad, roll

#: Whose scale the adjoint of a transform has: 1/n falls on the other direction.
ADJOINT = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def check_norm(name: str, norm: str) -> None:
    if norm not in ADJOINT:
        raise ValueError(f"{name}: expected norm 'backward', 'ortho' or 'forward', got {norm!r}")


def check_on_cpu(name: str, x: Any) -> None:
    if isinstance(x.data if isinstance(x, Tensor) else x, OnDevice):
        raise TypeError(f"{name}: expected a Tensor on cpu, got one on {device_of(x)}; complex numbers live on the CPU")


def resized(name: str, x: Any, lengths: dict[int, int]) -> Any:
    """x cut or filled up with zeros at the end of axes; `lengths` by axis."""
    for axis, n in lengths.items():
        if n < 1:
            raise ValueError(f"{name}: expected a length of at least 1 along axis {axis}, got {n}")
        if x.shape[axis] > n:
            x = x[(slice(None),) * axis + (slice(n),)]
        elif x.shape[axis] < n:
            x = pad(x, [(0, n - m if i == axis else 0) for i, m in enumerate(x.shape)])
    return x


def floating(name: str, x: Any, to_complex: bool) -> Any:
    """x as a transform takes it: 32 or 64 bits, complex if `to_complex` asks so, and else real."""
    check_on_cpu(name, x)
    if x.dtype.kind == "c":
        if not to_complex:
            raise TypeError(f"{name}: expected real numbers, got {x.dtype}")
        return x
    double = x.dtype == np.float64
    if to_complex:
        return astype(x, np.complex128 if double else np.complex64)
    return x if double or x.dtype == np.float32 else astype(x, np.float32)


# -- what records: transforms of the lengths that x has ----------------------------------------------------------------


def whole(name: str, x: Any, axes: tuple[int, ...], norm: str) -> Any:
    """The transform `name`, "fftn" or "ifftn", of an array or of a Tensor."""
    return RECORDED[name](x, axes=axes, norm=norm) if type(x) is Tensor else getattr(np.fft, name)(x, None, axes, norm)


def half(x: Any, axis: int, norm: Any) -> Any:
    """The first half of the transform of real numbers."""
    return rfft_axis(x, axis=axis, norm=norm) if type(x) is Tensor else np.fft.rfft(x, None, axis, norm)


def from_half(x: Any, n: int, axis: int, norm: Any) -> Any:
    """The n real numbers whose transform's first half is x."""
    return irfft_axis(x, n=n, axis=axis, norm=norm) if type(x) is Tensor else np.fft.irfft(x, n, axis, norm)


def weighted(x: Any, axis: int, n: int, weight: float) -> Any:
    """The half x of a transform of n numbers, with what stands for its conjugate too times `weight`."""
    weights = np.full(x.shape[axis], weight, np.finfo(x.dtype).dtype)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return x * weights.reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def recorded(name: str, inverse: str) -> Any:
    def body(x, *, axes, norm):
        return whole(name, x, axes, norm), (lambda g: whole(inverse, g, axes, ADJOINT[norm]),)

    body.__name__ = body.__qualname__ = name
    return op(body)


RECORDED = {"fftn": recorded("fftn", "ifftn"), "ifftn": recorded("ifftn", "fftn")}


@op
def rfft_axis(x, *, axis, norm):
    n = x.shape[axis]
    return half(x, axis, norm), (lambda g: from_half(weighted(g, axis, n, 0.5), n, axis, ADJOINT[norm]),)


@op
def irfft_axis(x, *, n, axis, norm):
    return from_half(x, n, axis, norm), (lambda g: weighted(half(g, axis, ADJOINT[norm]), axis, n, 2.0),)


rfft_axis.body.__name__, irfft_axis.body.__name__ = "rfft", "irfft"

# -- along one axis ----------------------------------------------------------------------------------------------------


def one_axis(name: str, x: Any, n: int | None, axis: int, norm: str, to_complex: bool) -> tuple[Any, int]:
    """x ready for a transform of n of its numbers along `axis`, which is counted from 0."""
    check_norm(name, norm)
    x = floating(name, x, to_complex)
    (axis,) = normal_axes(name, axis, x.ndim)
    return resized(name, x, {axis: x.shape[axis] if n is None else n}), axis


def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The discrete Fourier transform along `axis`: the sums over j of x_j exp(-2 pi i j k / n) for k = 0 ... n - 1.

    n: x is cut or filled up with zeros to this length first. norm: which direction divides by n: "backward" the
    inverse, "forward" this one, "ortho" both by sqrt(n). Real numbers become complex. Complex numbers live on the CPU:
    TypeError for Tensors elsewhere; ValueError for another norm, n < 1; IndexError for an axis that is not there.

    >>> import weft
    >>> weft.fft.fft(weft.asarray([1.0, 0.0, 0.0, 0.0])).numpy()
    array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    x, axis = one_axis("fft", x, n, axis, norm, True)
    return RECORDED["fftn"](x, axes=(axis,), norm=norm)


def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The inverse of `fft` along `axis`, with its arguments: sums of x_k exp(2 pi i j k / n), divided by n.

    >>> weft.fft.ifft(weft.fft.fft(weft.asarray([1.0, 2.0]))).numpy()
    array([1.+0.j, 2.+0.j], dtype=complex64)
    """
    x, axis = one_axis("ifft", x, n, axis, norm, True)
    return RECORDED["ifftn"](x, axes=(axis,), norm=norm)


def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The first n // 2 + 1 numbers of `fft` of real x along `axis`; the others are their conjugates.

    TypeError for complex x.

    >>> import weft
    >>> weft.fft.rfft(weft.asarray([1.0, 2.0, 3.0])).shape
    (2,)
    """
    x, axis = one_axis("rfft", x, n, axis, norm, False)
    return rfft_axis(x, axis=axis, norm=norm)


def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The inverse of `rfft`: n real numbers along `axis` from the first n // 2 + 1 numbers of their transform.

    n: by default 2 (m - 1) for m numbers along `axis`; for an odd length it must be given.

    >>> import weft
    >>> weft.fft.irfft(weft.fft.rfft(weft.asarray([1.0, 2.0, 3.0])), n=3).numpy()
    array([1., 2., 3.], dtype=float32)
    """
    check_norm("irfft", norm)
    x = floating("irfft", x, True)
    (axis,) = normal_axes("irfft", axis, x.ndim)
    n = 2 * (x.shape[axis] - 1) if n is None else n
    if n < 1:
        raise ValueError(f"irfft: expected a length of at least 1 along axis {axis}, got {n}")
    return irfft_axis(resized("irfft", x, {axis: n // 2 + 1}), n=n, axis=axis, norm=norm)


def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The real transform of n numbers along `axis`, of which x is the first half and the others are conjugates.

    n: by default 2 (m - 1) for m numbers along `axis`.

    >>> weft.fft.hfft(weft.asarray([1.0, 0.0])).numpy()
    array([1., 1.], dtype=float32)
    """
    check_norm("hfft", norm)
    return irfft(conj(floating("hfft", x, True)), n=n, axis=axis, norm=ADJOINT[norm])


def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The inverse of `hfft`: the first n // 2 + 1 numbers from n real ones.  TypeError for complex x.

    >>> weft.fft.ihfft(weft.asarray([1.0, 1.0])).numpy()
    array([1.-0.j, 0.-0.j], dtype=complex64)
    """
    check_norm("ihfft", norm)
    return conj(rfft(x, n=n, axis=axis, norm=ADJOINT[norm]))


# -- along several axes ------------------------------------------------------------------------------------------------


def several_axes(name: str, x: Any, s: Any, axes: Any) -> tuple[list[int], list[int]]:
    """The lengths and the axes, counted from 0, of a transform; -1 in s is the length that x has."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    found = list(normal_axes(name, axes, x.ndim))
    lengths = [x.shape[axis] for axis in found] if s is None else list(s)
    if len(lengths) != len(found) or not found:
        raise ValueError(f"{name}: expected axes and a length for each, got axes {tuple(axes)} and s {s}")
    return [x.shape[axis] if n == -1 else n for n, axis in zip(lengths, found)], found


def transform(name: str, x: Any, s: Any, axes: Any, norm: str) -> Any:
    check_norm(name, norm)
    x = floating(name, x, True)
    lengths, found = several_axes(name, x, s, axes)
    return RECORDED[name](resized(name, x, dict(zip(found, lengths))), axes=tuple(found), norm=norm)


def fftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Any:
    """`fft` along each of `axes`, all by default.

    s: the length along each of them, to which x is cut or filled up with zeros (-1: as it is); without `axes` those of
    the last axes.  ValueError for axes that repeat, or other than one length for each.

    >>> import weft
    >>> weft.fft.fftn(weft.ones((2, 3)), s=(4, 4)).shape
    (4, 4)
    """
    return transform("fftn", x, s, axes, norm)


def ifftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Any:
    """The inverse of `fftn`, with its arguments.

    >>> weft.fft.ifftn(weft.ones((2, 2))).numpy()
    array([[1.+0.j, 0.+0.j],
           [0.+0.j, 0.+0.j]], dtype=complex64)
    """
    return transform("ifftn", x, s, axes, norm)


def rfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Any:
    """`rfft` along the last of `axes`, then `fft` along the others, as `fftn` takes them.  TypeError for complex x.

    >>> weft.fft.rfftn(weft.ones((2, 2))).numpy()
    array([[4.+0.j, 0.+0.j],
           [0.+0.j, 0.+0.j]], dtype=complex64)
    """
    check_norm("rfftn", norm)
    x = floating("rfftn", x, False)
    lengths, found = several_axes("rfftn", x, s, axes)
    x = rfft_axis(resized("rfftn", x, dict(zip(found, lengths))), axis=found[-1], norm=norm)
    return RECORDED["fftn"](x, axes=tuple(found[:-1]), norm=norm) if found[1:] else x


def irfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Any:
    """The inverse of `rfftn`; s has the lengths of the result, by default 2 (m - 1) along the last axis.

    >>> weft.fft.irfftn(weft.fft.rfftn(weft.ones((2, 2)))).numpy()
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    check_norm("irfftn", norm)
    x = floating("irfftn", x, True)
    lengths, found = several_axes("irfftn", x, s, axes)
    if s is None or s[-1] == -1:
        lengths[-1] = 2 * (x.shape[found[-1]] - 1)
    if found[1:]:
        x = resized("irfftn", x, dict(zip(found[:-1], lengths)))
        x = RECORDED["ifftn"](x, axes=tuple(found[:-1]), norm=norm)
    return irfft(x, n=lengths[-1], axis=found[-1], norm=norm)


# -- frequencies -------------------------------------------------------------------------------------------------------


def frequencies(name: str, n: int, d: float, dtype: Any, device: str | None) -> Tensor:
    dtype = np.dtype(np.float32 if dtype is None else dtype)
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"{name}: expected a length of at least 1, got {n!r}")
    if dtype.kind in "biuc":
        raise TypeError(f"{name}: expected a real floating dtype, got {dtype}")
    return moved(getattr(np.fft, name)(n, d).astype(dtype), device)


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The frequency that each number of a transform of length n belongs to, in cycles per unit of d.

    d: the distance of two samples. First the frequencies from 0 up, then the negative ones.  (n,), float32 by default

    >>> import weft
    >>> weft.fft.fftfreq(4).numpy()
    array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
    """
    return frequencies("fftfreq", n, d, dtype, device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The frequencies from 0 up that the numbers of `rfft` of length n belong to, as `fftfreq`.  (n // 2 + 1,)

    >>> weft.fft.rfftfreq(4).numpy()
    array([0.  , 0.25, 0.5 ], dtype=float32)
    """
    return frequencies("rfftfreq", n, d, dtype, device)


def shifted(name: str, x: Any, axes: Any, direction: int) -> Any:
    found = normal_axes(name, range(x.ndim) if axes is None else axes, x.ndim)
    by = [direction * (x.shape[axis] // 2) for axis in found]
    return roll(x, tuple(by), axis=found) if found else x


def fftshift(x: Any, /, *, axes: Any = None) -> Any:
    """x with frequency 0 in the middle of `axes` (an int, several, or None for all), as `fftfreq` orders them.

    >>> import weft
    >>> weft.fft.fftshift(weft.fft.fftfreq(4)).numpy()
    array([-0.5 , -0.25,  0.  ,  0.25], dtype=float32)
    """
    return shifted("fftshift", x, axes, 1)


def ifftshift(x: Any, /, *, axes: Any = None) -> Any:
    """The inverse of `fftshift`: frequency 0 back in front.

    >>> weft.fft.ifftshift(weft.arange(4)).numpy()
    array([2, 3, 0, 1])
    """
    return shifted("ifftshift", x, axes, -1)
