"""Products of matrices and vectors."""

from __future__ import annotations

import math
from typing import Any

from weft.autograd import Tensor, agree, op
from weft.backends import array
from weft.backends import reference as K
from weft.backends.array import namespace, ndarray
from weft.ops.complex import adjoint, adjoint_matrix, conj, is_complex
from weft.ops.shape import normal_axes


def swapped(x: Any) -> Any:
    return namespace(x).swapaxes(x, -1, -2)


@op
def matmul_arrays(a, b):
    return K.matmul(a, b), (lambda g: K.matmul(g, adjoint_matrix(b)), lambda g: K.matmul(adjoint_matrix(a), g))


matmul_arrays.body.__name__ = "matmul"
K.matmul.on(Tensor, ".*")(matmul_arrays)


def matmul(a: Any, b: Any, /) -> Tensor:
    """The matrix product a @ b; leading axes broadcast, a vector counts as one row or column.

    a (..., M, K), b (..., K, N) -> (..., M, N).  ValueError with both shapes where K differs.

    >>> import weft
    >>> (weft.ones((2, 3)) @ weft.ones((3, 4))).shape
    (2, 4)
    """
    if not isinstance(a, Tensor):
        a = Tensor(a)
    if not isinstance(b, Tensor):
        b = Tensor(b)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: expected (..., M, K) and (..., K, N), got {a.shape} and {b.shape}")
    if not agree(a, b):
        from weft.ops.elementwise import astype, promoted

        dtype = promoted(a.dtype, b.dtype)
        a, b = (x if x.dtype == dtype else astype(x, dtype=dtype) for x in (a, b))
    if a.ndim > 1 and b.ndim > 1:
        return matmul_arrays(a, b)
    column, row = b.ndim == 1, a.ndim == 1
    out = matmul_arrays(a[None, :] if row else a, b[:, None] if column else b)
    out = out[..., 0] if column else out
    return out[..., 0, :] if row and not column else out[..., 0] if row else out


@op
def linear_arrays(x, weight, bias, *, transposed=False):
    inputs, outputs = weight.shape if transposed else weight.shape[::-1]  # numbers: closures hold the arrays they name
    if x.ndim > 2 and type(x) is ndarray:  # one copy for both products that want rows
        x = array.in_c_order(x)

    def weight_gradient(g):
        xp = namespace(g)
        rows, columns = xp.reshape(g, (-1, outputs)), xp.reshape(adjoint(x), (-1, inputs))
        return K.matmul(swapped(columns), rows) if transposed else K.matmul(swapped(rows), columns)

    def bias_gradient(g):
        xp = namespace(g)
        return xp.sum(xp.reshape(g, (-1, outputs)), axis=0)

    def input_gradient(g):
        return K.matmul(g, adjoint_matrix(weight) if transposed else adjoint(weight))

    out = K.linear(x, swapped(weight) if transposed else weight, bias)
    return out, (input_gradient, weight_gradient, bias_gradient)


linear_arrays.body.__name__ = "linear"


def linear(x: Any, weight: Any, bias: Any = None, /, *, transposed: bool = False) -> Tensor:
    """x @ weight^T + bias.

    x (..., I), weight (O, I), bias (O,) or None -> (..., O).  ValueError with the shapes where they do not fit.
    transposed: weight is (I, O), and so is its gradient.

    >>> weft.linear(weft.ones((2, 3)), weft.ones((4, 3)), weft.ones((4,))).numpy()
    array([[4., 4., 4., 4.],
           [4., 4., 4., 4.]], dtype=float32)
    """
    inputs, outputs = (0, 1) if transposed else (-1, 0)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[inputs]:
        raise ValueError(f"linear: expected x (..., {weight.shape[inputs]}) for weight {weight.shape}, got {x.shape}")
    if bias is not None and bias.shape != (weight.shape[outputs],):
        wanted = (weight.shape[outputs],)
        raise ValueError(f"linear: expected bias {wanted} for weight {weight.shape}, got {bias.shape}")
    if not agree(x, weight):
        raise TypeError(f"linear: expected x and weight of one dtype, got {x.dtype} and {weight.dtype}")
    return linear_arrays(x, weight, bias, transposed=True) if transposed else linear_arrays(x, weight, bias)


def vecdot(a: Any, b: Any, /, *, axis: int = -1) -> Tensor:
    """The sum of conj(a) * b along `axis`, a negative number that counts from the last axis of each.

    Leading axes broadcast; the lengths along `axis` must be equal.  ValueError with both shapes where they are not.

    >>> import weft
    >>> weft.vecdot(weft.asarray([1.0, 2.0]), weft.asarray([3.0, 4.0])).item()
    11.0
    """
    if not -min(a.ndim, b.ndim) <= axis < 0 and not (a.ndim == b.ndim and 0 <= axis < a.ndim):
        raise ValueError(f"vecdot: expected a negative axis of both {a.shape} and {b.shape}, got {axis}")
    if a.shape[axis] != b.shape[axis]:
        raise ValueError(f"vecdot: expected equal lengths along axis {axis}, got {a.shape} and {b.shape}")
    product = (conj(a) if is_complex(a) else a) * b
    total = product.sum(axis=axis)
    return total if total.dtype == product.dtype else total.astype(product.dtype)


def tensordot(a: Any, b: Any, /, *, axes: int | tuple[Any, Any] = 2) -> Tensor:
    """The sum of products over the last `axes` of a and the first of b, or over two sequences of axes, pair by pair.

    ValueError with both shapes where the lengths of a pair differ.

    >>> import weft
    >>> weft.tensordot(weft.ones((2, 3)), weft.ones((4, 3)), axes=((1,), (1,))).shape
    (2, 4)
    """
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: expected at most {min(a.ndim, b.ndim)} axes, got {axes}")
        left, right = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        left, right = (list(normal_axes("tensordot", of, x.ndim)) for of, x in zip(axes, (a, b), strict=True))
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise ValueError(f"tensordot: expected equal lengths over axes {left} and {right}, got {a.shape} and {b.shape}")
    free_a = [i for i in range(a.ndim) if i not in left]
    free_b = [i for i in range(b.ndim) if i not in right]
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    size = math.prod([a.shape[i] for i in left])
    xp = namespace(a, b)
    flat_a = xp.reshape(xp.permute_dims(a, tuple(free_a + left)), (math.prod(rows), size))
    flat_b = xp.reshape(xp.permute_dims(b, tuple(right + free_b)), (size, math.prod(columns)))
    return xp.reshape(xp.matmul(flat_a, flat_b), (*rows, *columns))
