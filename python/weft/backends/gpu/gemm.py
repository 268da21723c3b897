"""The matrix product of both GPU devices: out = activation(alpha a b + beta out + bias) + residual.

`gemm` reads how its arrays lie, describes the product (`gemm_product.Product`), asks `gemm_choice` for a kernel and
launches it. What was worked out is kept by shapes, strides, types and alignments, so that the second call of a kind
only looks it up. Kernel families register themselves in `FAMILIES`: see `Family`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from weft.backends.gpu import gemm_choice, gemm_mma, gemm_simt, gemm_sm90, gemm_vendor  # noqa: F401  (families)
from weft.backends.gpu.array import contiguous, empty_like
from weft.backends.gpu.gemm_product import ACTIVATIONS, C_TYPES, Matrix, Product, name_of, widest_access
from weft.backends.launch import capability

#: run(a, b, out, bias, aux, residual): launches what a plan holds on arrays of the kind it was made for.
Run = Callable[[Any, Any, Any, Any, Any, Any], None]


class Family(Protocol):
    """A kernel with its tile configurations; `register` makes it known to the choice."""

    name: str
    portable: bool  #: whether WEFT_KERNELS=portable allows it
    reads_shared: bool  #: whether warps read shared memory, which the model then counts

    @property
    def configurations(self) -> Sequence[gemm_choice.Configuration]:
        """Its tiles, the first ones for the largest products."""

    def refusal(self, product: Product, configuration: gemm_choice.Configuration) -> str:
        """Why the configuration cannot compute the product, or "" if it can."""

    def rate(self, product: Product, device: gemm_choice.Device) -> float:
        """Multiply-adds per cycle and multiprocessor that it reaches at best."""

    def resident(self, product: Product, configuration: gemm_choice.Configuration) -> int:
        """Blocks that a multiprocessor holds at a time."""

    def prepare(self, product: Product, configuration: gemm_choice.Configuration, splits: int) -> Run:
        """What launches the product; with splits > 1 the sums of part s of K go to out + s * batch * m * n."""


FAMILIES = gemm_choice.FAMILIES
PLANS: dict[Any, Run] = {}
MOST_PLANS = 4096


def gemm(
    a: Any,
    b: Any,
    *,
    out: Any = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Any = None,
    activation: str | None = None,
    aux: Any = None,
    residual: Any = None,
    out_dtype: Any = None,
    kernel: str | None = None,
) -> Any:
    """activation(alpha a b + beta out + bias) + residual, on device arrays of any strides.

    a (..., M, K), b (..., K, N), both of one dtype -> out (..., M, N); leading axes broadcast. bias: (N,), or (M, 1).
    activation: relu, gelu, gelu_tanh or silu; its argument goes to aux (..., M, N) if given. residual: (..., M, N).
    out_dtype: float32 for 16-bit inputs, else a's. kernel: "family", "family/tile" or "family/tile/parts of K", as
    `gemm_choice.describe` names it; None chooses. Sums are of float32 (of float64, of integers for theirs).
    Raises TypeError and ValueError that name what did not fit.
    """
    if out is None:
        out = empty_like(a, product_shape(a, b), a.dtype if out_dtype is None else out_dtype)
        if beta:
            raise ValueError(f"gemm: expected out with beta {beta}, got none")
    key = (
        a.shape, a.strides, a.dtype.char, a.pointer % 16, b.shape, b.strides, b.dtype.char, b.pointer % 16,
        out.shape, out.strides, out.dtype.char, out.pointer % 16, *identity(bias), *identity(aux), *identity(residual),
        activation, alpha, beta, kernel, out_dtype, gemm_choice.settings(), capability(a),
    )  # fmt: skip
    run = PLANS.get(key)
    if run is None:
        if len(PLANS) >= MOST_PLANS:
            PLANS.clear()
        run = PLANS[key] = plan(a, b, out, alpha, beta, bias, activation, aux, residual, out_dtype, kernel)
    run(a, b, out, bias, aux, residual)
    return out


def explain(a: Any, b: Any, bias: Any = None) -> str:
    """The kernel that gemm(a, b, bias=bias) launches, as "family/tile" or "family/tile/parts of K"."""
    out = empty_like(a, product_shape(a, b), a.dtype)
    check(a, b, out, 1.0, 0.0, bias, None, None, None, None)
    if not out.size:
        return "nothing to compute"
    a, b = (x if rows_together(x) or rows_together(swapped(x)) else contiguous(x) for x in (a, b))
    product = describe(a, b, out, 1.0, 0.0, bias, None, None, None)
    while product is None:
        a, b, out = (x if x.ndim < out.ndim else x[0] for x in (a, b, out))
        product = describe(a, b, out, 1.0, 0.0, bias, None, None, None)
    return gemm_choice.describe(product)


def identity(x: Any) -> tuple[Any, ...]:
    return (None,) if x is None else (x.shape, x.strides, x.dtype.char, x.pointer % 16)


def product_shape(a: Any, b: Any) -> tuple[int, ...]:
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"gemm: expected (..., M, K) and (..., K, N), got {a.shape} and {b.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"gemm: expected leading axes that broadcast, got {a.shape} and {b.shape}") from None
    return (*batch, a.shape[-2], b.shape[-1])


def check(a: Any, b: Any, out: Any, alpha: float, beta: float, bias: Any, activation: Any, aux: Any, residual: Any,
          out_dtype: Any) -> None:  # fmt: skip
    shape = product_shape(a, b)
    name = name_of(a.dtype)
    if name not in C_TYPES or b.dtype != a.dtype:
        raise TypeError(f"gemm: expected a and b of one dtype of {', '.join(C_TYPES)}, got {a.dtype} and {b.dtype}")
    wanted = a.dtype if out_dtype is None else np.dtype(out_dtype)
    narrow = name in ("float16", "bfloat16")
    if wanted != a.dtype and not (narrow and wanted == np.float32):
        raise TypeError(f"gemm: expected out_dtype {a.dtype}{' or float32' if narrow else ''}, got {wanted}")
    for what, x in (("out", out), ("aux", aux), ("residual", residual)):
        if x is not None and x.shape != shape:
            raise ValueError(f"gemm: expected {what} of shape {shape}, got {x.shape}")
        expected = out.dtype if what != "out" or out_dtype is None else wanted
        if x is not None and x.dtype != expected:
            raise TypeError(f"gemm: expected {what} of {expected}, got {x.dtype}")
    if out.dtype not in (a.dtype, wanted) and not (narrow and out.dtype == np.float32):
        raise TypeError(f"gemm: expected out of {wanted}, got {out.dtype}")
    if bias is not None and (bias.shape not in (shape[-1:], (shape[-2], 1)) or name_of(bias.dtype) not in C_TYPES):
        raise ValueError(f"gemm: expected bias {shape[-1:]} or {(shape[-2], 1)}, got {bias.shape} of {bias.dtype}")
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"gemm: expected activation of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if a.dtype.kind in "iub" and (alpha != 1 or beta not in (0, 1) or activation not in (None, "none")):
        raise ValueError(
            f"gemm: expected alpha 1, beta 0 or 1 and no activation for {a.dtype}, got {alpha}, {beta}, {activation}"
        )
    if max(a.shape[-2:] + b.shape[-2:], default=0) >= 2**31:
        raise ValueError(f"gemm: expected M, N and K below 2**31, got {a.shape} and {b.shape}")


def plan(a: Any, b: Any, out: Any, alpha: float, beta: float, bias: Any, activation: Any, aux: Any, residual: Any,
         out_dtype: Any, kernel: str | None) -> Run:  # fmt: skip
    """Look at the arrays once and return what computes any others that lie like them."""
    check(a, b, out, alpha, beta, bias, activation, aux, residual, out_dtype)
    options: dict[str, Any] = {
        "alpha": alpha, "beta": beta, "activation": activation, "out_dtype": out_dtype, "kernel": kernel,
    }  # fmt: skip
    if not out.size:
        return lambda *_: None
    if not rows_together(out):
        if not rows_together(swapped(out)):
            raise ValueError(f"gemm: expected out with the elements of its rows or columns together, got {out.strides}")

        def flipped(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
            gemm(
                swapped(b), swapped(a), out=swapped(out), bias=None if bias is None else turned(bias),
                aux=None if aux is None else swapped(aux), residual=None if residual is None else swapped(residual),
                **options,
            )  # fmt: skip

        return flipped
    if aux is not None and not rows_together(aux):
        raise ValueError(f"gemm: expected aux with the elements of its rows together, got strides {aux.strides}")
    copied = [not (rows_together(x) or rows_together(swapped(x))) for x in (a, b)]
    copied += [x is not None and not dense(x) for x in (bias, residual)]
    if any(copied):

        def run(*arrays: Any) -> None:
            a, b, out, bias, aux, residual = arrays
            a, b, bias, residual = (contiguous(x) if c else x for x, c in zip((a, b, bias, residual), copied))
            gemm(a, b, out=out, bias=bias, aux=aux, residual=residual, **options)

        return run
    product = describe(a, b, out, alpha, beta, bias, activation, aux, residual)
    if product is None:  # more batch axes than strides can tell
        return lambda a, b, out, bias, aux, residual: one_by_one(a, b, out, bias, aux, residual, options)
    return gemm_choice.prepare(product, kernel)


def one_by_one(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any, options: dict[str, Any]) -> None:
    """The products of the first batch axis in turn."""
    for i in range(out.shape[0]):
        a_i, b_i = (x if x.ndim < out.ndim else x[i if x.shape[0] > 1 else 0] for x in (a, b))
        aux_i, residual_i = (None if x is None else x[i] for x in (aux, residual))
        gemm(a_i, b_i, out=out[i], bias=bias, aux=aux_i, residual=residual_i, **options)


def swapped(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def turned(bias: Any) -> Any:
    """The bias of the transposed product."""
    return bias[:, None] if bias.ndim == 1 else bias[:, 0]


def in_elements(x: Any) -> tuple[int, ...]:
    return tuple(stride // x.itemsize for stride in x.strides)


def rows_together(x: Any) -> bool:
    """Whether x is row-major for a kernel: elements of a row together, every stride a multiple of the element."""
    return (x.shape[-1] <= 1 or x.strides[-1] == x.itemsize) and not any(s % x.itemsize for s in x.strides)


def dense(x: Any) -> bool:
    if x.ndim == 2 and x.shape[-1] == 1:  # a bias by rows
        return x.shape[0] <= 1 or x.strides[0] == x.itemsize
    return rows_together(x)


def describe(a: Any, b: Any, out: Any, alpha: float, beta: float, bias: Any, activation: Any, aux: Any, residual: Any
             ) -> Product | None:  # fmt: skip
    """The product of arrays that need no copy; None where two strides cannot tell the batch."""
    (m, n), k = out.shape[-2:], a.shape[-1]
    by_rows = bias is not None and bias.shape != (n,)
    arrays = (a, b, out, aux, residual)
    flipped = [not rows_together(x) for x in (a, b)]
    rows = [0 if x is None else row_stride(x, i < 2 and flipped[i]) for i, x in enumerate(arrays)]
    axes = collapsed(out.shape[:-2], [batch_strides(x, out.ndim - 2) for x in arrays])
    if axes and not by_rows and not flipped[0] and axes[-1][1][1] == 0:  # b is one matrix: its batch is only more rows
        size, strides = axes[-1]
        others = [i for i in (0, 2, 3, 4) if arrays[i] is not None]
        if m * size < 2**31 and (m == 1 or all(strides[i] == m * rows[i] for i in others)):
            rows = [strides[i] if m == 1 and i in others else rows[i] for i in range(5)]
            m, axes = m * size, axes[:-1]
    if len(axes) > 2:
        return None
    axes = [(1, [0] * 5)] * (2 - len(axes)) + axes
    (outer, by_outer), (inner, by_inner) = axes

    def matrix(i: int, length: int) -> Matrix:
        x = arrays[i]
        strides = (rows[i], by_outer[i], by_inner[i])
        pitched = widest_access(x.itemsize, x.pointer, *strides) == 16
        return Matrix(i < 2 and flipped[i], *strides, widest_access(x.itemsize, x.pointer, length, *strides), pitched)

    extras = [None if x is None else matrix(i, 0) for i, x in enumerate(arrays) if i > 1]
    aligned = all(x is None or x.bytes == 16 for x in extras) and (bias is None or by_rows or bias.pointer % 16 == 0)
    return Product(
        m=m, n=n, k=k, outer=outer, inner=inner, dtype=name_of(a.dtype), out_dtype=name_of(out.dtype),
        a=matrix(0, m if flipped[0] else k), b=matrix(1, k if flipped[1] else n), out=extras[0] or Matrix(),
        capability=capability(a), device=a.device_name.split(":")[0], multiprocessors=multiprocessors(a),
        tf32=gemm_choice.tf32_allowed() and name_of(a.dtype) == "float32",
        bias="none" if bias is None else "row" if by_rows else "column",
        bias_dtype="" if bias is None else name_of(bias.dtype), activation=activation or "none",
        aux=extras[1], residual=extras[2], alpha=float(alpha), beta=float(beta), aligned=aligned,
    )  # fmt: skip


def multiprocessors(x: Any) -> int:
    """Of a GPU; the emulated device is chosen for as if it were a typical one of its generation."""
    if x.device_name == "emulated":
        return 0
    from weft.backends import driver

    return driver.multiprocessors(int(x.device_name.removeprefix("cuda:")))


def row_stride(x: Any, flipped: bool) -> int:
    """Elements between rows of the storage; a single row may be said to repeat at any multiple of 16 bytes."""
    axis = -1 if flipped else -2
    if x.shape[axis] == 1:
        length = x.shape[-2 if flipped else -1]
        return -(-length * x.itemsize // 16) * 16 // x.itemsize
    return int(x.strides[axis]) // int(x.itemsize)


def batch_strides(x: Any, axes: int) -> list[int]:
    if x is None:
        return [0] * axes
    strides = [0 if size == 1 else stride for size, stride in zip(x.shape[:-2], in_elements(x)[:-2])]
    return [0] * (axes - len(strides)) + strides


def collapsed(shape: tuple[int, ...], strides: list[list[int]]) -> list[tuple[int, list[int]]]:
    """The batch axes as (size, strides of each array), without those of size 1, neighbours joined where they allow."""
    axes: list[tuple[int, list[int]]] = []
    for size, steps in zip(shape, zip(*strides)):
        if size == 1:
            continue
        if axes and all(before == step * size for before, step in zip(axes[-1][1], steps)):
            axes[-1] = (axes[-1][0] * size, list(steps))
        else:
            axes.append((size, list(steps)))
    return axes
