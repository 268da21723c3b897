"""First values of parameters, written in place: PyTorch's functions and distributions, numbers from `weft.random`.

Each takes the tensor first, writes into its memory and returns it. `generator` (a `weft.random.Generator`) is what the
random ones draw from, by default the one that `weft.random.seed` sets.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from weft import random
from weft.autograd import Tensor
from weft.backends.device import beside

__all__ = """
    calculate_gain constant_ dirac_ eye_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_ trunc_normal_
    uniform_ xavier_normal_ xavier_uniform_ zeros_
""".split()

SQRT2 = math.sqrt(2.0)


class State(threading.local):
    shapes_only = False


state = State()


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Modules made inside have parameters of their shapes that take no memory and no time, for weights from elsewhere.

    They are read-only and hold nothing: each is given its array before the module is of use.
    """
    before, state.shapes_only = state.shapes_only, True
    try:
        yield
    finally:
        state.shapes_only = before


def empty(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray[Any, Any]:
    """Memory for a parameter, to be written by one of the functions below; float32 by default."""
    if any(n < 0 for n in shape):
        raise ValueError(f"init: expected sizes >= 0, got {shape}")
    dtype = np.float32 if dtype is None else dtype
    return np.broadcast_to(np.zeros((), dtype), shape) if state.shapes_only else np.empty(shape, dtype)


def filled(shape: tuple[int, ...], value: float, dtype: Any = None) -> np.ndarray[Any, Any]:
    array = empty(shape, dtype)
    if not state.shapes_only:
        array[...] = value
    return array


def write(tensor: Tensor, value: Any, by: str) -> Tensor:
    if state.shapes_only:
        return tensor
    tensor.data[...] = beside(value, tensor) if isinstance(value, np.ndarray) else value
    tensor.touch(f"init.{by}")
    return tensor


def drawn(tensor: Tensor, kind: str, a: float, b: float, generator: Any) -> Any:
    """Numbers of the tensor's shape; 16-bit types are drawn in float32 and cast once."""
    if state.shapes_only:
        return None
    source = random.default_generator if generator is None else generator
    dtype = np.float64 if tensor.dtype == np.float64 else np.float32
    return (source.uniform_array if kind == "uniform" else source.normal_array)(tensor.shape, a, b, dtype)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """U(a, b).

    >>> weft.nn.init.uniform_(nn.Parameter(weft.zeros((3, 2))), -1.0, 1.0).shape
    (3, 2)
    """
    return write(tensor, drawn(tensor, "uniform", a, b, generator), "uniform_")


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """N(mean, std^2).

    >>> weft.nn.init.normal_(nn.Parameter(weft.zeros((3, 2))), std=0.02).shape
    (3, 2)
    """
    return write(tensor, drawn(tensor, "normal", mean, std, generator), "normal_")


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """N(mean, std^2) cut off outside [a, b], by redrawing what falls there.

    >>> weft.nn.init.trunc_normal_(nn.Parameter(weft.zeros((3, 2)))).shape
    (3, 2)
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: expected a < b, got {a} and {b}")
    from statistics import NormalDist

    source = random.default_generator if generator is None else generator
    flat = np.empty(tensor.size)
    todo = np.arange(tensor.size)
    low, high = (a - mean) / std, (b - mean) / std
    if NormalDist().cdf(high) - NormalDist().cdf(low) < 0.05:  # redrawing would take long: invert the distribution
        p, q = NormalDist().cdf(low), NormalDist().cdf(high)
        if not p < q:
            raise ValueError(f"trunc_normal_: expected [a, b] within about 8 std of mean, got [{a}, {b}]")
        u = source.uniform_array((tensor.size,), 0.0, 1.0, np.float64)
        flat[:] = [NormalDist().inv_cdf(min(max(p + x * (q - p), 1e-300), 1 - 1e-16)) for x in u]
        todo = todo[:0]
    while todo.size:
        flat[todo] = source.normal_array((todo.size,), 0.0, 1.0, np.float64)
        todo = todo[(flat[todo] < low) | (flat[todo] > high)]
    return write(tensor, np.clip(flat * std + mean, a, b).reshape(tensor.shape), "trunc_normal_")


def constant_(tensor: Tensor, val: float) -> Tensor:
    """`val` everywhere.

    >>> weft.nn.init.constant_(nn.Parameter([1.0, 2.0]), 0.5).numpy()
    array([0.5, 0.5], dtype=float32)
    """
    return write(tensor, val, "constant_")


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0.

    >>> weft.nn.init.zeros_(nn.Parameter([3.0, 2.0])).tolist()
    [0.0, 0.0]
    """
    return write(tensor, 0, "zeros_")


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1.

    >>> weft.nn.init.ones_(nn.Parameter([3.0, 2.0])).tolist()
    [1.0, 1.0]
    """
    return write(tensor, 1, "ones_")


def eye_(tensor: Tensor) -> Tensor:
    """The identity of a matrix (n, m).

    >>> weft.nn.init.eye_(nn.Parameter([[3.0, 2.0], [1.0, 4.0]])).numpy()
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    need_dims("eye_", tensor, 2, 2)
    rows, columns = tensor.shape
    return write(tensor, np.eye(rows, columns), "eye_")


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (O, C / groups, K...) that passes its input channels through.

    >>> weft.nn.init.dirac_(nn.Parameter(weft.zeros((1, 1, 3)))).numpy()
    array([[[0., 1., 0.]]], dtype=float32)
    """
    need_dims("dirac_", tensor, 3, 5)
    O, C, *kernel = tensor.shape
    if O % groups:
        raise ValueError(f"dirac_: expected groups that divide {O} outputs, got {groups}")
    value = np.zeros(tensor.shape)
    each = O // groups
    for g in range(groups):
        for d in range(min(each, C)):
            value[(g * each + d, d, *[k // 2 for k in kernel])] = 1
    return write(tensor, value, "dirac_")


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)).  Glorot and Bengio, 2010.

    >>> weft.nn.init.xavier_uniform_(nn.Parameter(weft.zeros((3, 2)))).shape
    (3, 2)
    """
    bound = gain * math.sqrt(6.0 / max(sum(fans(tensor)), 1))
    return write(tensor, drawn(tensor, "uniform", -bound, bound, generator), "xavier_uniform_")


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """N(0, std^2), std = gain sqrt(2 / (fan_in + fan_out)).  Glorot and Bengio, 2010.

    >>> weft.nn.init.xavier_normal_(nn.Parameter(weft.zeros((3, 2)))).shape
    (3, 2)
    """
    std = gain * math.sqrt(2.0 / max(sum(fans(tensor)), 1))
    return write(tensor, drawn(tensor, "normal", 0.0, std, generator), "xavier_normal_")


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """U(-b, b), b = gain sqrt(3 / fan): keeps the variance through layers of this nonlinearity.  He et al., 2015.

    a: slope of the leaky ReLU; mode: "fan_in" keeps it forward, "fan_out" backward.

    >>> weft.nn.init.kaiming_uniform_(nn.Parameter(weft.zeros((3, 2))), nonlinearity="relu").shape
    (3, 2)
    """
    bound = math.sqrt(3.0) * kaiming_std(tensor, a, mode, nonlinearity)
    return write(tensor, drawn(tensor, "uniform", -bound, bound, generator), "kaiming_uniform_")


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """N(0, std^2), std = gain / sqrt(fan).  He et al., 2015; arguments as in `kaiming_uniform_`.

    >>> weft.nn.init.kaiming_normal_(nn.Parameter(weft.zeros((3, 2))), nonlinearity="relu").shape
    (3, 2)
    """
    std = kaiming_std(tensor, a, mode, nonlinearity)
    return write(tensor, drawn(tensor, "normal", 0.0, std, generator), "kaiming_normal_")


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Orthogonal rows or columns of the matrix (n, rest), times gain.  Saxe, McClelland and Ganguli, 2013.

    >>> w = weft.nn.init.orthogonal_(nn.Parameter(weft.zeros((2, 2))))
    >>> abs((w @ w.mT).detach().numpy()).round(3)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    need_dims("orthogonal_", tensor, 2, None)
    if not tensor.size:
        return tensor
    rows = tensor.shape[0]
    flat = drawn(tensor, "normal", 0.0, 1.0, generator).astype(np.float64).reshape(rows, -1)
    columns = flat.shape[1]
    q, r = np.linalg.qr(flat.T if rows < columns else flat)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return write(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape), "orthogonal_")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that a nonlinearity asks for; `param` is the slope of leaky_relu.

    >>> weft.nn.init.calculate_gain("relu")
    1.4142135623730951
    """
    gains = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": SQRT2, "selu": 0.75}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: expected one of leaky_relu, {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (O, I, K...): the inputs of each output, and the outputs of each input."""
    need_dims("init", tensor, 2, None)
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: expected mode fan_in or fan_out, got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def need_dims(name: str, tensor: Tensor, low: int, high: int | None) -> None:
    if tensor.ndim < low or (high is not None and tensor.ndim > high):
        wanted = f"{low}" if high == low else f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: expected a tensor of {wanted} dimensions, got shape {tensor.shape}")
