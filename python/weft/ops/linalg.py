"""Products of matrices and vectors."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, agree, op
from weft.backends import array
from weft.backends import reference as K
from weft.backends.array import namespace, ndarray


def swapped(x: Any) -> Any:
    return namespace(x).swapaxes(x, -1, -2)


@op
def matmul_arrays(a, b):
    return K.matmul(a, b), (lambda g: K.matmul(g, swapped(b)), lambda g: K.matmul(swapped(a), g))


matmul_arrays.body.__name__ = "matmul"
K.matmul.on(Tensor, ".*")(matmul_arrays)


def matmul(a: Any, b: Any, /) -> Any:
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
def linear_arrays(x, weight, bias):
    outputs, inputs = weight.shape  # plain numbers, so that each closure holds only the array it names
    if x.ndim > 2 and type(x) is ndarray:  # one copy for both products that want rows
        x = array.in_c_order(x)

    def weight_gradient(g):
        xp = namespace(g)
        return K.matmul(swapped(xp.reshape(g, (-1, outputs))), xp.reshape(x, (-1, inputs)))

    def bias_gradient(g):
        xp = namespace(g)
        return xp.sum(xp.reshape(g, (-1, outputs)), axis=0)

    return K.linear(x, weight, bias), (lambda g: K.matmul(g, weight), weight_gradient, bias_gradient)


linear_arrays.body.__name__ = "linear"


def linear(x: Any, weight: Any, bias: Any = None, /) -> Any:
    """x @ weight^T + bias.

    x (..., I), weight (O, I), bias (O,) or None -> (..., O).  ValueError with the shapes where they do not fit.
    """
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: expected x (..., {weight.shape[-1]}) for weight {weight.shape}, got {x.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: expected bias {weight.shape[:1]} for weight {weight.shape}, got {bias.shape}")
    if not agree(x, weight):
        raise TypeError(f"linear: expected x and weight of one dtype, got {x.dtype} and {weight.dtype}")
    return linear_arrays(x, weight, bias)


def vecdot(a: Any, b: Any, /, *, axis: int = -1) -> Any:
    """The sum of a * b along `axis`."""
    return (a * b).sum(axis=axis)


def tensordot(a: Any, b: Any, /, *, axes: int | tuple[Any, Any] = 2) -> Any:
    """The sum of products over the last `axes` of a and the first of b, or over two lists of axes."""
    if isinstance(axes, int):
        left, right = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        left, right = ([i % n for i in side] for side, n in zip(axes, (a.ndim, b.ndim), strict=True))
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise ValueError(f"tensordot: expected equal lengths over axes {left} and {right}, got {a.shape} and {b.shape}")
    free_a = [i for i in range(a.ndim) if i not in left]
    free_b = [i for i in range(b.ndim) if i not in right]
    xp = namespace(a, b)
    size = 1
    for i in left:
        size *= a.shape[i]
    flat_a = xp.reshape(xp.permute_dims(a, tuple(free_a + left)), (-1, size))
    flat_b = xp.reshape(xp.permute_dims(b, tuple(right + free_b)), (size, -1))
    return xp.reshape(xp.matmul(flat_a, flat_b), tuple([a.shape[i] for i in free_a] + [b.shape[i] for i in free_b]))
