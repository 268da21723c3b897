"""Activations as modules, with PyTorch's names and arguments. Each gives its input's shape unless it says otherwise.

`inplace` is taken so that code written for PyTorch runs; the input is left as it was all the same.
"""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn.init import filled
from weft.nn.module import Module
from weft.nn.parameter import Parameter


class Activation(Module):
    """A function of each element: subclasses say which, and which of their arguments it takes."""

    def __init__(self, inplace: bool = False):
        pass

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in vars(self).items() if k != "training" and not k.startswith("_"))


class ReLU(Activation):
    """max(x, 0).

    >>> nn.ReLU()(weft.asarray([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class ReLU6(Activation):
    """min(max(x, 0), 6).

    >>> nn.ReLU6()(weft.asarray([-1.0, 9.0])).numpy()
    array([0., 6.], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.relu6(x)


class LeakyReLU(Activation):
    """x where positive, negative_slope x elsewhere.

    >>> nn.LeakyReLU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.01,  2.  ], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x, self.negative_slope)


class PReLU(Module):
    """x where positive, weight x elsewhere; weight (num_parameters,): one, or one for each channel (dimension 1).

    >>> nn.PReLU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.25,  2.  ], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None):
        self.num_parameters = num_parameters
        self.weight = Parameter(filled((num_parameters,), init, dtype))

    def forward(self, x: Any) -> Any:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Activation):
    """x where positive, alpha (exp(x) - 1) elsewhere.  Clevert et al., 2015.

    >>> nn.ELU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.63212055,  2.        ], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.elu(x, self.alpha)


class SELU(Activation):
    """A scaled ELU that keeps mean 0 and variance 1.  Klambauer et al., 2017.

    >>> nn.SELU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-1.1113307,  2.101402 ], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.selu(x)


class CELU(Activation):
    """x where positive, alpha (exp(x / alpha) - 1) elsewhere.  Barron, 2017.

    >>> nn.CELU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.63212055,  2.        ], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.celu(x, self.alpha)


class GELU(Activation):
    """x Phi(x) with the normal distribution function; approximate: "none" or "tanh".  Hendrycks and Gimpel, 2016.

    >>> nn.GELU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.15865529,  1.9544998 ], dtype=float32)
    """

    def __init__(self, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: expected approximate 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return F.gelu(x, approximate=self.approximate)


class SiLU(Activation):
    """x sigmoid(x), also called swish.

    >>> nn.SiLU()(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.26894143,  1.761594  ], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.silu(x)


class Mish(Activation):
    """x tanh(softplus(x)).  Misra, 2019.

    >>> nn.Mish()(weft.asarray([0.0, 1.0])).numpy()
    array([0.       , 0.8650984], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.mish(x)


class Hardswish(Activation):
    """x min(max(x + 3, 0), 6) / 6.  Howard et al., 2019.

    >>> nn.Hardswish()(weft.asarray([-4.0, 3.0])).numpy()
    array([-0.,  3.], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.hardswish(x)


class Hardtanh(Activation):
    """x, held between min_val and max_val.

    >>> nn.Hardtanh()(weft.asarray([-2.0, 0.5])).numpy()
    array([-1. ,  0.5], dtype=float32)
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Any:
        return F.hardtanh(x, self.min_val, self.max_val)


class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6.

    >>> nn.Hardsigmoid()(weft.asarray([-4.0, 0.0])).numpy()
    array([0. , 0.5], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.hardsigmoid(x)


class Sigmoid(Activation):
    """1 / (1 + exp(-x)).

    >>> nn.Sigmoid()(weft.asarray([0.0])).numpy()
    array([0.5], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class LogSigmoid(Activation):
    """log(sigmoid(x)), exact where the sigmoid underflows.

    >>> nn.LogSigmoid()(weft.asarray([0.0])).numpy()
    array([-0.6931472], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.logsigmoid(x)


class Tanh(Activation):
    """The hyperbolic tangent.

    >>> nn.Tanh()(weft.asarray([0.0, 1.0])).numpy()
    array([0.       , 0.7615942], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Softplus(Activation):
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold.

    >>> nn.Softplus()(weft.asarray([0.0])).numpy()
    array([0.6931472], dtype=float32)
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        return F.softplus(x, self.beta, self.threshold)


class Softsign(Activation):
    """x / (1 + |x|).

    >>> nn.Softsign()(weft.asarray([-1.0, 3.0])).numpy()
    array([-0.5 ,  0.75], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.softsign(x)


class GLU(Activation):
    """a sigmoid(b) for the halves a and b of dimension `dim`, which halves.  Dauphin et al., 2016.

    >>> nn.GLU()(weft.ones((2, 6))).shape
    (2, 3)
    """

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.glu(x, self.dim)


class SwiGLU(Activation):
    """a silu(b) for the halves a and b of dimension `dim`, which halves.  Shazeer, 2020.

    >>> nn.SwiGLU()(weft.ones((2, 6))).shape
    (2, 3)
    """

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.swiglu(x, dim=self.dim)


class GEGLU(Activation):
    """a gelu(b) for the halves a and b of dimension `dim`, which halves; approximate: as in GELU.  Shazeer, 2020.

    >>> nn.GEGLU()(weft.ones((2, 6))).shape
    (2, 3)
    """

    def __init__(self, dim: int = -1, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GEGLU: expected approximate 'none' or 'tanh', got {approximate!r}")
        self.dim, self.approximate = dim, approximate

    def forward(self, x: Any) -> Any:
        return F.geglu(x, dim=self.dim, approximate=self.approximate)


class ReGLU(Activation):
    """a relu(b) for the halves a and b of dimension `dim`, which halves.  Shazeer, 2020.

    >>> nn.ReGLU()(weft.ones((2, 6))).shape
    (2, 3)
    """

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.reglu(x, dim=self.dim)


class Softmax(Activation):
    """exp(x) / sum(exp(x)) along `dim`, which must be given.

    >>> nn.Softmax(dim=1)(weft.asarray([[1.0, 1.0]])).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, dim: int | None = None):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.dim)


class LogSoftmax(Activation):
    """x - log(sum(exp(x))) along `dim`, which must be given.

    >>> nn.LogSoftmax(dim=1)(weft.asarray([[1.0, 1.0]])).numpy()
    array([[-0.6931472, -0.6931472]], dtype=float32)
    """

    def __init__(self, dim: int | None = None):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.log_softmax(x, self.dim)
