"""Complex numbers: their parts, and what gradients do with them.

The gradient of a real loss L with respect to z = x + iy is dL/dx + i dL/dy, the direction in which L grows fastest. It
is twice the derivative by the conjugate of z, and what PyTorch has too (JAX has its conjugate). So an op with a complex
slope f'(z) multiplies the gradient that arrives by the conjugate of f'(z); of the gradient of a real input of a complex
op the engine takes the real part.
"""

from __future__ import annotations

from typing import Any

from weft.autograd import op
from weft.backends.array import namespace


def is_complex(x: Any) -> bool:
    """Whether x, an array or a number, is complex."""
    dtype = getattr(x, "dtype", None)
    return type(x) is complex if dtype is None else bool(dtype.kind == "c")


def adjoint(x: Any) -> Any:
    """The conjugate of x where it is complex, else x itself: what a vjp multiplies by."""
    if not is_complex(x):
        return x
    return x.conjugate() if type(x) is complex else namespace(x).conj(x)


def adjoint_matrix(x: Any) -> Any:
    """The conjugate transpose of each matrix.  (..., M, N) -> (..., N, M)"""
    return adjoint(namespace(x).swapaxes(x, -1, -2))


def check_ordered(name: str, *arrays: Any) -> None:
    """TypeError for complex numbers, which have no order."""
    for x in arrays:
        if x is not None and is_complex(x):
            raise TypeError(f"{name}: expected real numbers, got {getattr(x, 'dtype', 'a complex number')}")


@op
def conj(x, /):
    """The complex conjugate; real numbers stay as they are.

    >>> import weft
    >>> weft.conj(weft.asarray([1 + 2j])).numpy()
    array([1.-2.j], dtype=complex64)
    """
    return namespace(x).conj(x), (adjoint,)


@op
def real(x, /):
    """The real part, in memory of its own.  complex64 -> float32, complex128 -> float64

    >>> weft.real(weft.asarray([1 + 2j])).numpy()
    array([1.], dtype=float32)
    """
    xp = namespace(x)
    return (xp.real(x) if is_complex(x) else xp.astype(x, x.dtype)), (lambda g: g,)


@op
def imag(x, /):
    """The imaginary part, in memory of its own; of real numbers zeros.  complex64 -> float32, complex128 -> float64

    >>> weft.imag(weft.asarray([1 + 2j])).numpy()
    array([2.], dtype=float32)
    """
    if not is_complex(x):
        zeros = namespace(x).zeros_like
        return zeros(x), (lambda g: zeros(g),)
    return namespace(x).imag(x), (lambda g: g * 1j,)
