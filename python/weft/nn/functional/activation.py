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
    """max(x, 0)."""
    return ops.relu(input)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return ops.relu6(input)


def selu(input: Any, inplace: bool = False) -> Any:
    """A scaled ELU that keeps mean 0 and variance 1."""
    return ops.selu(input)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x), also called swish."""
    return ops.silu(input)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x))."""
    return ops.mish(input)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x min(max(x + 3, 0), 6) / 6."""
    return ops.hardswish(input)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6."""
    return ops.hardsigmoid(input)


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(input)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), exact where the sigmoid underflows."""
    return ops.logsigmoid(input)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return ops.softsign(input)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Phi(x) with the normal distribution function; approximate: "none" or "tanh"."""
    return ops.gelu(input, approximate=approximate)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where positive, negative_slope x elsewhere."""
    return ops.leaky_relu(input, negative_slope=negative_slope)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where positive, alpha (exp(x) - 1) elsewhere."""
    return ops.elu(input, alpha=alpha)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where positive, alpha (exp(x / alpha) - 1) elsewhere."""
    return ops.celu(input, alpha=alpha)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x, held between min_val and max_val."""
    return ops.hardtanh(input, min_val=min_val, max_val=max_val)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold."""
    return ops.softplus(input, beta=beta, threshold=threshold)


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b) for the halves a and b of dimension `dim`."""
    return ops.glu(input, axis=dim)


def swiglu(input: Any, gate: Any = None, dim: int = -1) -> Any:
    """input silu(gate); without `gate`, of the halves of dimension `dim`."""
    return ops.swiglu(input, gate, axis=dim)


def geglu(input: Any, gate: Any = None, dim: int = -1, approximate: str = "none") -> Any:
    """input gelu(gate); without `gate`, of the halves of dimension `dim`."""
    return ops.geglu(input, gate, axis=dim, approximate=approximate)


def reglu(input: Any, gate: Any = None, dim: int = -1) -> Any:
    """input relu(gate); without `gate`, of the halves of dimension `dim`."""
    return ops.reglu(input, gate, axis=dim)


def prelu(input: Any, weight: Any) -> Any:
    """x where positive, weight x elsewhere; weight (1,) or one slope for each channel (dimension 1).  Same shape.

    ValueError where weight has another number of slopes.
    """
    if weight.ndim > 1 or (weight.size != 1 and (input.ndim < 2 or weight.size != input.shape[1])):
        channels = input.shape[1] if input.ndim > 1 else 1
        raise ValueError(f"prelu: expected weight (1,) or ({channels},) for input {input.shape}, got {weight.shape}")
    if weight.size > 1:
        weight = ops.reshape(weight, (weight.size,) + (1,) * (input.ndim - 2))
    return ops.where(input > 0, input, input * weight)


def softmax(input: Any, dim: int | None = None) -> Any:
    """exp(x) / sum(exp(x)) along `dim`: positive, sums to 1.  Same shape."""
    return ops.softmax(input, axis=chosen("softmax", dim, input))


def log_softmax(input: Any, dim: int | None = None) -> Any:
    """x - log(sum(exp(x))) along `dim`.  Same shape."""
    return ops.log_softmax(input, axis=chosen("log_softmax", dim, input))


def chosen(name: str, dim: int | None, input: Any) -> int:
    if dim is None:
        raise ValueError(f"{name}: expected dim, the dimension that sums to 1 (of input {input.shape}), got none")
    return dim
