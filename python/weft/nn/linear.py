"""Dense layers."""

from __future__ import annotations

import math
from typing import Any

from weft.nn import functional as F
from weft.nn import init
from weft.nn.module import Module
from weft.nn.parameter import Parameter


class Linear(Module):
    """x @ weight.T + bias.  (..., in_features) -> (..., out_features)

    weight (out_features, in_features), bias (out_features,), both drawn from U(-k, k), k = 1 / sqrt(in_features).

    >>> import weft
    >>> Linear(4, 2)(weft.ones((3, 4))).shape
    (3, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None):
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init.empty((out_features, in_features), dtype))
        self.bias = Parameter(init.empty((out_features,), dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        uniform_by_fan_in(self.weight, self.bias)

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.weight, self.bias)

    def hint(self, x: Any) -> str | None:
        if x.ndim > 2 and math.prod(x.shape[1:]) == self.in_features:
            return "the batch is not flat: put nn.Flatten() before this layer"
        if x.ndim > 0 and x.shape[-1] != self.in_features:
            fit = f"Linear({x.shape[-1]}, {self.out_features})"
            if x.ndim > 2:
                return f"forgot nn.Flatten(), which would give {math.prod(x.shape[1:])} features, or meant {fit}?"
            return f"to take this input the layer must be {fit}"
        return None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1 @ weight[o] @ x2 + bias[o] for each output o.  (..., in1), (..., in2) -> (..., out)

    weight (out, in1, in2), bias (out,), both drawn from U(-k, k), k = 1 / sqrt(in1).

    >>> nn.Bilinear(2, 3, 4)(weft.ones((5, 2)), weft.ones((5, 3))).shape
    (5, 4)
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *, dtype: Any = None
    ):
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = Parameter(init.empty((out_features, in1_features, in2_features), dtype))
        self.bias = Parameter(init.empty((out_features,), dtype)) if bias else None
        bound = 1 / math.sqrt(in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


def uniform_by_fan_in(weight: Parameter, bias: Parameter | None) -> None:
    """PyTorch's start of dense and convolutional layers: U(-k, k) with k = 1 / sqrt(fan_in) for both."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init.fans(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)
