"""NumPy's functions on Tensors (`__array_function__`): `numpy.concatenate([x, y])` is recorded, as Weft's concat is.

A function that Weft has runs as Weft's. Any other is left to NumPy where no gradient can get lost, and refused where
one would. Each entry of TABLE has the argument names of NumPy's function; those it lacks Weft cannot do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

import weft
from weft import ops
from weft.autograd import Tensor, no_grad
from weft.interop.ufuncs import on_values, operand, tensors

#: Functions that Weft has under NumPy's name, with the arguments of the array API standard: NumPy's module -> Weft's.
SAME = {
    "numpy": ("ops", "astype broadcast_arrays count_nonzero cumulative_prod cumulative_sum diff isin "
              "matrix_transpose meshgrid nonzero searchsorted unique_all unique_counts unique_inverse unique_values "
              "unstack vecdot"),
    "numpy.linalg": ("linalg", "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power "
                     "matrix_rank matrix_transpose pinv qr slogdet solve svdvals trace vecdot vector_norm"),
    "numpy.fft": ("fft", "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift"),
}  # fmt: skip
#: What tells of arrays but computes nothing that has a gradient.
ABOUT = frozenset(
    "allclose array2string array_equal array_equiv array_repr array_str can_cast common_type iscomplexobj isclose "
    "isrealobj may_share_memory min_scalar_type ndim result_type save savetxt savez savez_compressed shape "
    "shares_memory size".split()
)
TABLE: dict[Any, Callable[..., Any]] = {}


def implements(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(own: Callable[..., Any]) -> Callable[..., Any]:
        own.__name__ = own.__name__ if own.__name__ != "<lambda>" else functions[0].__name__
        TABLE.update(dict.fromkeys(functions, own))
        return own

    return register


def call(function: Any, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One of NumPy's functions on arguments among which are Tensors."""
    if not all(issubclass(kind, (Tensor, np.ndarray)) for kind in types):
        return NotImplemented
    name = f"{function.__module__}.{function.__name__}"
    own = TABLE.get(function) or of_same_name(function)
    if own is None:
        with no_grad() if function.__name__ in ABOUT and function.__module__ == "numpy" else nullcontext():
            return on_values(name, function, args, kwargs)
    try:
        return own(*args, **kwargs)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        if any(t.requires_grad or t.device != "cpu" for t in tensors((args, kwargs))):
            words = str(error).partition("() ")[2] or str(error)
            raise TypeError(f"{name}: expected arguments that Weft's {own.__name__} has, but it {words}") from None
        return on_values(name, function, args, kwargs)


def of_same_name(function: Any) -> Any:
    module, names = SAME.get(function.__module__, ("", ""))
    if function.__name__ not in names.split():
        return None
    return getattr(getattr(weft, module), function.__name__, None)


# ---- reductions: (numpy's function, Weft's), with axis and keepdims

for theirs, ours in (
    (np.mean, ops.mean), (np.max, ops.max), (np.amax, ops.max),
    (np.min, ops.min), (np.amin, ops.min), (np.all, ops.all), (np.any, ops.any), (np.argmax, ops.argmax),
    (np.argmin, ops.argmin),
):  # fmt: skip
    implements(theirs)(lambda a, axis=None, *, keepdims=False, ours=ours: ours(a, axis=axis, keepdims=keepdims))


@implements(np.sum)
def sum(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return ops.sum(a, axis=axis, dtype=dtype, keepdims=keepdims)


@implements(np.prod)
def prod(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return ops.prod(a, axis=axis, dtype=dtype, keepdims=keepdims)


@implements(np.var)
def var(a: Any, axis: Any = None, *, ddof: float = 0, correction: float | None = None, keepdims: bool = False) -> Any:
    correction = ddof if correction is None else correction
    return ops.var(a, axis=axis, correction=correction, keepdims=keepdims)


@implements(np.std)
def std(a: Any, axis: Any = None, *, ddof: float = 0, correction: float | None = None, keepdims: bool = False) -> Any:
    correction = ddof if correction is None else correction
    return ops.std(a, axis=axis, correction=correction, keepdims=keepdims)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.max(a, axis=axis, keepdims=keepdims) - ops.min(a, axis=axis, keepdims=keepdims)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    if weights is None:
        return ops.mean(a, axis=axis, keepdims=keepdims)
    weights = weft.asarray(weights)
    if weights.shape != a.shape:  # those of the averaged axes alone
        if axis is None:
            raise TypeError(f"average: expected axis= or weights of shape {a.shape}, got weights of {weights.shape}")
        axes = [i % a.ndim for i in ((axis,) if isinstance(axis, int) else axis)]
        lengths = tuple([a.shape[i] for i in axes])
        if weights.shape != lengths:
            raise ValueError(f"average: expected weights of shape {a.shape} or {lengths}, got {weights.shape}")
        weights = ops.permute_dims(weights, tuple(sorted(range(len(axes)), key=axes.__getitem__)))
        weights = ops.reshape(weights, tuple([n if i in axes else 1 for i, n in enumerate(a.shape)]))
    total = ops.sum(a * weights, axis=axis, keepdims=keepdims)
    return total / ops.sum(ops.broadcast_to(weights, a.shape), axis=axis, keepdims=keepdims)


@implements(np.cumsum)
def cumsum(a: Any, axis: int | None = None) -> Any:
    return ops.cumulative_sum(ops.reshape(a, (-1,)) if axis is None else a, axis=0 if axis is None else axis)


# ---- shapes


@implements(np.shape)
def shape(a: Any) -> Any:
    return a.shape


@implements(np.ndim)
def ndim(a: Any) -> Any:
    return a.ndim


@implements(np.size)
def size(a: Any, axis: int | None = None) -> Any:
    return a.size if axis is None else a.shape[axis]


@implements(np.reshape)
def reshape(a: Any, shape: Any) -> Any:
    return ops.reshape(a, shape)


@implements(np.ravel)
def ravel(a: Any) -> Any:
    return ops.reshape(a, (-1,))


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    return ops.permute_dims(a, tuple(range(a.ndim))[::-1] if axes is None else tuple(axes))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    return ops.squeeze(a, tuple([i for i, n in enumerate(a.shape) if n == 1]) if axis is None else axis)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    return ops.expand_dims(a, axis=axis if isinstance(axis, int) else tuple(axis))


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return ops.swapaxes(a, axis1, axis2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    return ops.moveaxis(a, source, destination)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Any:
    return ops.broadcast_to(array, (shape,) if isinstance(shape, int) else tuple(shape))


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    return ops.flip(m, axis=axis)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    return ops.flip(m, axis=0)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    return ops.flip(m, axis=1)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    return ops.roll(a, shift, axis=axis)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:  # noqa: N803  (NumPy's name)
    return ops.tile(A, (reps,) if isinstance(reps, int) else tuple(reps))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    return ops.repeat(a, repeats, axis=axis)


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Any:
    if mode != "constant" or not isinstance(constant_values, (int, float)):
        raise TypeError(f"the argument mode={mode!r} with {constant_values!r} is not 'constant' with one number")
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2)).tolist()
    return ops.pad(array, widths, value=constant_values)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return ops.tril(m, k=k)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return ops.triu(m, k=k)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return weft.linalg.diagonal(ops.moveaxis(a, (axis1, axis2), (-2, -1)), offset=offset)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return ops.sum(diagonal(a, offset, axis1, axis2), axis=-1)


# ---- several into one, and one into several


def several(arrays: Any) -> list[Any]:
    return [operand(x) for x in arrays]


@implements(np.concatenate, np.concat)
def concatenate(arrays: Any, /, axis: int | None = 0) -> Any:
    return ops.concat(several(arrays), axis=axis)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0) -> Any:
    return ops.stack(several(arrays), axis=axis)


def at_least(x: Any, n: int) -> Any:
    """x with axes of length 1 where NumPy's atleast_1d, 2d and 3d put them."""
    x = tensor(operand(x))
    if x.ndim >= n:
        return x
    lengths = {0: (1,) * n, 1: (1, -1, 1)[:n] if n == 3 else (1, -1), 2: (*x.shape, 1)}
    return ops.reshape(x, lengths[x.ndim])


for widened, n in ((np.atleast_1d, 1), (np.atleast_2d, 2), (np.atleast_3d, 3)):
    implements(widened)(
        lambda *arys, n=n: at_least(arys[0], n) if len(arys) == 1 else tuple([at_least(x, n) for x in arys])
    )


@implements(np.vstack)
def vstack(tup: Any) -> Any:
    return ops.concat([at_least(x, 2) for x in tup], axis=0)


@implements(np.hstack)
def hstack(tup: Any) -> Any:
    parts = [at_least(x, 1) for x in tup]
    return ops.concat(parts, axis=0 if parts[0].ndim == 1 else 1)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return ops.concat([at_least(x, 3) for x in tup], axis=2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    return ops.concat([x if x.ndim > 1 else ops.reshape(x, (-1, 1)) for x in several(tup)], axis=1)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    n = ary.shape[axis]
    if isinstance(indices_or_sections, int):
        short, longer = divmod(n, indices_or_sections)
        sizes = [short + 1] * longer + [short] * (indices_or_sections - longer)
        return list(ops.split(ary, sizes, axis=axis))
    ends = [0, *indices_or_sections, n]  # of slices, which may count from the end, be empty or overlap
    lead = (slice(None),) * (axis % ary.ndim)
    return [ary[(*lead, slice(a, b))] for a, b in zip(ends, ends[1:])]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    if isinstance(indices_or_sections, int) and ary.shape[axis] % indices_or_sections:
        raise ValueError(f"split: expected a divisor of {ary.shape[axis]}, got {indices_or_sections}")
    return array_split(ary, indices_or_sections, axis)


# ---- positions


@implements(np.take)
def take(a: Any, indices: Any, axis: int | None = None) -> Any:
    return ops.take(ops.reshape(a, (-1,)) if axis is None else a, indices, axis=0 if axis is None else axis)


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int = -1) -> Any:
    return ops.take_along_axis(arr, indices, axis=axis)


@implements(np.sort)
def sort(a: Any, axis: int | None = -1, *, stable: bool | None = None) -> Any:
    return ops.sort(ops.reshape(a, (-1,)) if axis is None else a, axis=-1 if axis is None else axis)


@implements(np.argsort)
def argsort(a: Any, axis: int | None = -1, *, stable: bool | None = None) -> Any:
    return ops.argsort(ops.reshape(a, (-1,)) if axis is None else a, axis=-1 if axis is None else axis)


@implements(np.where)
def where(condition: Any, x: Any, y: Any, /) -> Any:
    return ops.where(*map(operand, (condition, x, y)))


# ---- values


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return ops.clip(a, a_min if min is None else min, a_max if max is None else max)


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0) -> Any:
    if decimals and a.dtype.kind in "biu":  # floats would not hold them
        raise TypeError(f"the argument decimals={decimals} is for floating-point numbers, not {a.dtype}")
    return ops.round(a) if not decimals else ops.round(a * 10.0**decimals) / 10.0**decimals


@implements(np.nan_to_num)
def nan_to_num(x: Any, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    if x.dtype.kind in "biu":  # which have neither
        return +x
    ends = ops.finfo(x.dtype)
    high, low = ends.max if posinf is None else posinf, ends.min if neginf is None else neginf
    x = ops.where(ops.isnan(x), ops.full_like(x, nan), x)
    return ops.where(ops.isinf(x), ops.where(x > 0, ops.full_like(x, high), ops.full_like(x, low)), x)


@implements(np.copy)
def copy(a: Any) -> Any:
    return +a


for like, ours in ((np.zeros_like, ops.zeros_like), (np.ones_like, ops.ones_like), (np.empty_like, ops.empty_like)):
    implements(like)(lambda a, dtype=None, *, device=None, ours=ours: ours(a, dtype=dtype, device=device))


@implements(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Any:
    return ops.full_like(a, fill_value, dtype=dtype, device=device)


# ---- products


@implements(np.dot)
def dot(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    if not getattr(a, "ndim", 0) or not getattr(b, "ndim", 0):
        return a * b
    return ops.matmul(a, b) if b.ndim <= 2 else ops.tensordot(tensor(a), tensor(b), axes=([-1], [-2]))


def tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    a, b = operand(a), operand(b)
    if not getattr(a, "ndim", 0) or not getattr(b, "ndim", 0):
        return a * b
    return ops.tensordot(tensor(a), tensor(b), axes=([-1], [-1]))


@implements(np.outer, np.linalg.outer)
def outer(a: Any, b: Any) -> Any:
    return ops.reshape(tensor(a), (-1, 1)) * ops.reshape(tensor(b), (1, -1))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    return ops.sum(ops.conj(ops.reshape(tensor(a), (-1,))) * ops.reshape(tensor(b), (-1,)))


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    if not isinstance(axes, int):
        axes = tuple([[side] if isinstance(side, int) else list(side) for side in axes])
    return ops.tensordot(tensor(a), tensor(b), axes=axes)


@implements(np.einsum)
def einsum(subscripts: str, *operands: Any) -> Any:
    return ops.einsum(subscripts, *operands)


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is not None and not (ord == 2 and (x.ndim == 1 or isinstance(axis, int))):
        raise TypeError(f"the argument ord={ord!r} is neither None nor the 2 of vectors")
    return weft.linalg.vector_norm(x, axis=axis, keepdims=keepdims)
