"""Checks of gradients against differences, for ops of Weft and for those that a user writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weft import autograd
from weft.autograd import Tensor, enable_grad, no_grad

__all__ = """
    gradcheck gradgradcheck
""".split()

Function = Callable[..., Any]
DOUBLE = (np.float64, np.complex128)


def draw(rng: np.random.Generator, like: Any) -> Any:
    """Normal numbers, complex ones where `like` is complex."""
    real = rng.standard_normal(like.shape)
    return real + 1j * rng.standard_normal(like.shape) if like.dtype.kind == "c" else real


def inner(u: Any, v: Any) -> float:
    """The inner product of two arrays, of complex ones as of pairs of real numbers."""
    return float((np.conj(u) * v).real.sum())


def gradcheck(
    f: Function, inputs: Sequence[Any], *, eps: float = 1e-6, rtol: float = 1e-6, atol: float = 1e-7, seed: int = 0
) -> None:
    """Hold the gradient of `f` at `inputs` against central differences, in float64 and complex128.

    f: Tensors -> one Tensor or a tuple; inputs: float64 or complex128 arrays, every one differentiated (other arrays
    are passed on). <u, J v> by differences must equal <J^T u, v> by backward for random u and v: exact for all entries
    at once, at the cost of two evaluations. Of complex arrays <u, v> is the real part of the sum of conj(u) v, by which
    a gradient is dL/dx + i dL/dy. AssertionError names the input and both numbers; ValueError for a wrong dtype.

    >>> import numpy, weft
    >>> weft.testing.gradcheck(lambda x: weft.tanh(x), [numpy.array([0.5, -2.0])])
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(x.data if isinstance(x, Tensor) else x) for x in inputs]
    which = [i for i, a in enumerate(arrays) if a.dtype in DOUBLE]
    if not which:
        raise ValueError(f"gradcheck: expected float64 or complex128 inputs, got {[str(a.dtype) for a in arrays]}")

    def outputs(values: Sequence[Any], recorded: bool) -> tuple[list[Tensor], list[Tensor]]:
        tensors = [Tensor(v, recorded and i in which) for i, v in enumerate(values)]
        with enable_grad() if recorded else no_grad():
            out = f(*tensors)
        many = list(out) if isinstance(out, (tuple, list)) else [out]
        return [o for o in many if o.dtype.kind in "fc"], tensors

    outs, tensors = outputs(arrays, True)
    outs = [o for o in outs if o.requires_grad]
    weights = [draw(rng, o) for o in outs]
    grads = (
        autograd.grad(outs, [tensors[i] for i in which], weights, allow_unused=True) if outs else [None] * len(which)
    )
    for i, g in zip(which, grads, strict=True):
        direction = draw(rng, arrays[i])
        analytic = 0.0 if g is None else inner(g.data, direction)
        if g is not None and (g.shape != arrays[i].shape or g.dtype != arrays[i].dtype):
            raise AssertionError(
                f"gradcheck: gradient of input {i} is {g.shape} {g.dtype}, not {arrays[i].shape} {arrays[i].dtype}"
            )
        sides = []
        for step in (eps, -eps):
            moved = list(arrays)
            moved[i] = arrays[i] + step * direction
            sides.append([o.data for o in outputs(moved, True)[0] if o.requires_grad])
        terms = [inner(w, p - m) / (2 * eps) for w, p, m in zip(weights, sides[0], sides[1], strict=True)]
        numeric = float(np.sum(terms)) if terms else 0.0
        # differences lose digits in proportion to the size of what is subtracted
        scale = sum([float(np.abs(w * p).sum()) for w, p in zip(weights, sides[0], strict=True)])
        if not abs(analytic - numeric) <= atol + rtol * max(abs(numeric), abs(analytic)) + 1e-15 * scale / eps * 4:
            name = getattr(f, "__name__", "f")
            raise AssertionError(
                f"gradcheck: {name}, input {i} {arrays[i].shape}: backward {analytic!r}, differences {numeric!r}"
            )


def gradient_function(f: Function, inputs: Sequence[Any], seed: int) -> tuple[Function, list[Any]]:
    """The map from the inputs in double precision and one weight per output to the gradients of what is weighted."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(x.data if isinstance(x, Tensor) else x) for x in inputs]
    which = [i for i, a in enumerate(arrays) if a.dtype in DOUBLE]
    out = f(*[Tensor(a, i in which) for i, a in enumerate(arrays)])
    many = [o for o in (out if isinstance(out, (tuple, list)) else [out]) if o.requires_grad]
    weights = [draw(rng, o) for o in many]

    def gradients(*values: Tensor) -> Any:
        given = list(values[: len(arrays)])
        for i in which:
            if not given[i].requires_grad:
                given[i] = Tensor(given[i].data, True)
        result = f(*given)
        recorded = [o for o in (result if isinstance(result, (tuple, list)) else [result]) if o.requires_grad]
        targets = [given[i] for i in which]
        found = autograd.grad(recorded, targets, list(values[len(arrays) :]), create_graph=True, allow_unused=True)
        return tuple([g for g in found if g is not None])

    gradients.__name__ = f"gradient of {getattr(f, '__name__', 'f')}"
    return gradients, [*arrays, *weights]


def gradgradcheck(
    f: Function,
    inputs: Sequence[Any],
    *,
    order: int = 2,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    seed: int = 0,
) -> None:
    """Hold the gradient of the gradient of `f` (or a higher `order`) against differences, as `gradcheck` does.

    >>> import numpy, weft
    >>> weft.testing.gradgradcheck(lambda x: weft.tanh(x), [numpy.array([0.5, -2.0])], order=3)
    """
    for level in range(order - 1):
        f, inputs = gradient_function(f, inputs, seed + level)
    gradcheck(f, inputs, eps=eps, rtol=rtol, atol=atol, seed=seed)
