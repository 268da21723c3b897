"""Activations, with PyTorch's names and arguments.

`inplace` is taken so that code written for PyTorch runs; the input is left as it was all the same.
"""

from __future__ import annotations

from typing import Any

from weft import ops

__all__ = [
    "celu",
    "elu",
    "geglu",
    "gelu",
    "glu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "reglu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swiglu",
    "tanh",
]


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0).

    >>> F.relu(weft.asarray([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return ops.relu(input)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6).

    >>> F.relu6(weft.asarray([-1.0, 9.0])).numpy()
    array([0., 6.], dtype=float32)
    """
    return ops.relu6(input)


def selu(input: Any, inplace: bool = False) -> Any:
    """A scaled ELU that keeps mean 0 and variance 1.

    >>> F.selu(weft.asarray([-1.0, 2.0])).numpy()
    array([-1.1113307,  2.101402 ], dtype=float32)
    """
    return ops.selu(input)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x), also called swish.

    >>> F.silu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.26894143,  1.761594  ], dtype=float32)
    """
    return ops.silu(input)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x)).

    >>> F.mish(weft.asarray([0.0, 1.0])).numpy()
    array([0.       , 0.8650984], dtype=float32)
    """
    return ops.mish(input)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x min(max(x + 3, 0), 6) / 6.

    >>> F.hardswish(weft.asarray([-4.0, 3.0])).numpy()
    array([-0.,  3.], dtype=float32)
    """
    return ops.hardswish(input)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6.

    >>> F.hardsigmoid(weft.asarray([-4.0, 0.0])).numpy()
    array([0. , 0.5], dtype=float32)
    """
    return ops.hardsigmoid(input)


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)).

    >>> F.sigmoid(weft.asarray([0.0])).numpy()
    array([0.5], dtype=float32)
    """
    return ops.sigmoid(input)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), exact where the sigmoid underflows.

    >>> F.logsigmoid(weft.asarray([0.0])).numpy()
    array([-0.6931472], dtype=float32)
    """
    return ops.logsigmoid(input)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent.

    >>> F.tanh(weft.asarray([0.0, 1.0])).numpy()
    array([0.       , 0.7615942], dtype=float32)
    """
    return ops.tanh(input)


def softsign(input: Any) -> Any:
    """x / (1 + |x|).

    >>> F.softsign(weft.asarray([-1.0, 3.0])).numpy()
    array([-0.5 ,  0.75], dtype=float32)
    """
    return ops.softsign(input)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Phi(x) with the normal distribution function; approximate: "none" or "tanh".

    >>> F.gelu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.15865529,  1.9544998 ], dtype=float32)
    """
    return ops.gelu(input, approximate=approximate)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where positive, negative_slope x elsewhere.

    >>> F.leaky_relu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.01,  2.  ], dtype=float32)
    """
    return ops.leaky_relu(input, negative_slope=negative_slope)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where positive, alpha (exp(x) - 1) elsewhere.

    >>> F.elu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.63212055,  2.        ], dtype=float32)
    """
    return ops.elu(input, alpha=alpha)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where positive, alpha (exp(x / alpha) - 1) elsewhere.

    >>> F.celu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.63212055,  2.        ], dtype=float32)
    """
    return ops.celu(input, alpha=alpha)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x, held between min_val and max_val.

    >>> F.hardtanh(weft.asarray([-2.0, 0.5])).numpy()
    array([-1. ,  0.5], dtype=float32)
    """
    return ops.hardtanh(input, min_val=min_val, max_val=max_val)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold.

    >>> F.softplus(weft.asarray([0.0])).numpy()
    array([0.6931472], dtype=float32)
    """
    return ops.softplus(input, beta=beta, threshold=threshold)


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b) for the halves a and b of dimension `dim`.

    >>> F.glu(weft.asarray([[3.0, 0.0]])).numpy()
    array([[1.5]], dtype=float32)
    """
    return ops.glu(input, axis=dim)


def swiglu(input: Any, gate: Any = None, dim: int = -1) -> Any:
    """input silu(gate); without `gate`, of the halves of dimension `dim`.

    >>> F.swiglu(weft.ones((2, 6))).shape
    (2, 3)
    """
    return ops.swiglu(input, gate, axis=dim)


def geglu(input: Any, gate: Any = None, dim: int = -1, approximate: str = "none") -> Any:
    """input gelu(gate); without `gate`, of the halves of dimension `dim`.

    >>> F.geglu(weft.ones((2, 6))).shape
    (2, 3)
    """
    return ops.geglu(input, gate, axis=dim, approximate=approximate)


def reglu(input: Any, gate: Any = None, dim: int = -1) -> Any:
    """input relu(gate); without `gate`, of the halves of dimension `dim`.

    >>> F.reglu(weft.ones((2, 6))).shape
    (2, 3)
    """
    return ops.reglu(input, gate, axis=dim)


def prelu(input: Any, weight: Any) -> Any:
    """x where positive, weight x elsewhere; weight (1,) or one slope for each channel (dimension 1).  Same shape.

    ValueError where weight has another number of slopes.

    >>> F.prelu(weft.asarray([-1.0, 2.0]), weft.asarray([0.25])).numpy()
    array([-0.25,  2.  ], dtype=float32)
    """
    if weight.ndim > 1 or (weight.size != 1 and (input.ndim < 2 or weight.size != input.shape[1])):
        channels = input.shape[1] if input.ndim > 1 else 1
        raise ValueError(f"prelu: expected weight (1,) or ({channels},) for input {input.shape}, got {weight.shape}")
    if weight.size > 1:
        weight = ops.reshape(weight, (weight.size,) + (1,) * (input.ndim - 2))
    return ops.where(input > 0, input, input * weight)


def softmax(input: Any, dim: int | None = None) -> Any:
    """exp(x) / sum(exp(x)) along `dim`: positive, sums to 1.  Same shape.

    >>> F.softmax(weft.asarray([[1.0, 1.0]]), dim=1).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    return ops.softmax(input, axis=chosen("softmax", dim, input))


def log_softmax(input: Any, dim: int | None = None) -> Any:
    """x - log(sum(exp(x))) along `dim`.  Same shape.

    >>> F.log_softmax(weft.asarray([[1.0, 1.0]]), dim=1).numpy()
    array([[-0.6931472, -0.6931472]], dtype=float32)
    """
    return ops.log_softmax(input, axis=chosen("log_softmax", dim, input))


def chosen(name: str, dim: int | None, input: Any) -> int:
    if dim is None:
        raise ValueError(f"{name}: expected dim, the dimension that sums to 1 (of input {input.shape}), got none")
    return dim
