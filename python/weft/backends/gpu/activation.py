"""ReLU, GELU, SiLU and their gradients: one map each."""

from __future__ import annotations

from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import entry
from weft.backends.gpu.maps import apply

ONE, TWO = "[fdeE]", "ff|dd|ee|EE"


@entry(K.relu, "[fdeEbBhHiIlLqQ]")
def relu(x: Any) -> Any:
    return apply("relu", x)


@entry(K.relu_backward, TWO)
def relu_backward(g: Any, y: Any, *, spare: bool = False) -> Any:
    return apply("relu_backward", g, y, out=g if spare else None)


@entry(K.gelu, ONE)
def gelu(x: Any, *, approximate: str) -> Any:
    return apply("gelu_tanh" if approximate == "tanh" else "gelu", x)


@entry(K.gelu_backward, TWO)
def gelu_backward(g: Any, x: Any, *, approximate: str, spare: bool = False) -> Any:
    name = "gelu_tanh_backward" if approximate == "tanh" else "gelu_backward"
    return apply(name, g, x, out=g if spare else None)


@entry(K.silu, ONE)
def silu(x: Any) -> Any:
    return apply("silu", x)


@entry(K.silu_backward, TWO)
def silu_backward(g: Any, x: Any, *, spare: bool = False) -> Any:
    return apply("silu_backward", g, x, out=g if spare else None)
