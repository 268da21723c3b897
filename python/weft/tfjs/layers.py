"""The layers that TensorFlow.js has: for each of Weft's modules what its configuration is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from weft import nn
from weft.nn.functional.shape import tuple_of

Layer = dict[str, Any]
SEQUENCES = (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.BatchNorm1d)


class UnsupportedError(ValueError):
    """A module that TensorFlow.js has no layer for, or not with these arguments."""


class State:
    """What flows from layer to layer: its shape as in Weft, without the batch, and whether its channels are last there.

    path and name are those of the module whose layers are being written.
    """

    path = name = ""

    def __init__(self, shape: tuple[int, ...], channels: bool, dtype: str = "float32"):
        self.shape, self.channels, self.dtype = shape, channels, dtype

    @classmethod
    def of(cls, example: Any, steps: Sequence[Any]) -> State:
        """The input: images have channels, and sequences where one of the modules takes (N, C, L)."""
        shape = example.shape[1:]
        channels = len(shape) > 2 or len(shape) == 2 and any(isinstance(step, SEQUENCES) for step in steps)
        return cls(shape, channels, "int32" if np.issubdtype(example.dtype, np.integer) else "float32")

    def there(self) -> list[int]:
        """The shape in TensorFlow.js."""
        return [*self.shape[1:], self.shape[0]] if self.channels else list(self.shape)

    def input_layer(self) -> Layer:
        config = {"batch_input_shape": [None, *self.there()], "dtype": self.dtype, "sparse": False, "name": "input"}
        return {"class_name": "InputLayer", "config": config}

    def layer(self, kind: str, suffix: str = "", **config: Any) -> Layer:
        return {"class_name": kind, "config": {"name": self.name + suffix, "trainable": True, **config}}

    def refuse(self, wanted: str, got: Any) -> NoReturn:
        raise UnsupportedError(f"tfjs.export: {self.path or 'the module'}: expected {wanted}, got {got}")

    def image(self, kind: str, n: int = 2) -> tuple[int, ...]:
        """The sizes behind the channels, of which there must be n."""
        if len(self.shape) != n + 1 or not self.channels:
            self.refuse(f"(N, C, {'H, W' if n == 2 else 'L'}) for {kind}", f"(N, {', '.join(map(str, self.shape))})")
        return self.shape[1:]


# ---- windows

Pads = Sequence[tuple[int, int]]


def same_pads(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Pads:
    """What TensorFlow's padding "same" adds: as little as makes ceil(size / stride), the odd one at the end."""
    pads = []
    for n, k, s, d in zip(sizes, kernel, stride, dilation):
        total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def windows(sizes: Sequence[int], pads: Pads, kernel: Sequence[int], stride: Sequence[int],
            dilation: Sequence[int]) -> tuple[int, ...]:  # fmt: skip
    """How many windows fit along each axis."""
    return tuple((n + a + b - d * (k - 1) - 1) // s + 1
                 for n, (a, b), k, s, d in zip(sizes, pads, kernel, stride, dilation))  # fmt: skip


def padding_of(state: State, pads: Pads, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
               zeros: bool = True) -> tuple[list[Layer], str]:  # fmt: skip
    """The padding's name and, where it has none, a layer of zeros before; `zeros`: whether the padding is zeros."""
    sizes = state.shape[1:]
    if not any(map(any, pads)):
        return [], "valid"
    if [*map(tuple, pads)] == same_pads(sizes, kernel, stride, dilation):
        return [], "same"
    if len(sizes) != 2 or not zeros:
        state.refuse(f"no padding, or TensorFlow's 'same', {same_pads(sizes, kernel, stride, dilation)}", list(pads))
    return [state.layer("ZeroPadding2D", "_pad", padding=[list(p) for p in pads], data_format="channels_last")], "valid"


def convolution(m: Any, state: State) -> list[Layer]:
    n = len(m.kernel_size)
    sizes = state.image(type(m).__name__, n)
    if m.padding_mode != "zeros":
        state.refuse("padding_mode 'zeros'", repr(m.padding_mode))
    if any(s > 1 for s in m.stride) and any(d > 1 for d in m.dilation):
        state.refuse("a stride or a dilation of 1", f"stride {m.stride} and dilation {m.dilation}")
    before, padding = padding_of(state, m._pads, m.kernel_size, m.stride, m.dilation)
    common: dict[str, Any] = {
        "kernel_size": list(m.kernel_size), "strides": list(m.stride), "padding": padding, "activation": "linear",
        "data_format": "channels_last", "dilation_rate": list(m.dilation), "use_bias": m.bias is not None,
    }  # fmt: skip
    state.shape = (m.out_channels, *windows(sizes, m._pads, m.kernel_size, m.stride, m.dilation))
    if m.groups == 1:
        return [*before, state.layer(f"Conv{n}D", filters=m.out_channels, **common)]
    if m.groups != m.in_channels or n != 2 or m.stride[0] != m.stride[1]:
        state.refuse("groups=1, or as many as channels with a square stride, in two dimensions",
                     f"groups={m.groups}, stride {m.stride}")  # fmt: skip
    return [*before, state.layer("DepthwiseConv2D", depth_multiplier=m.out_channels // m.in_channels, **common)]


def transposed(m: Any, state: State) -> list[Layer]:
    """TensorFlow's 'valid' and, for a padding, what it would have left out cut off."""
    sizes = state.image("ConvTranspose2d")
    pads, extra = (tuple_of(x, 2, "ConvTranspose2d") for x in (m.padding, m.output_padding))
    if m.groups != 1 or set(m.dilation) != {1} or any(extra) or any(k < s for k, s in zip(m.kernel_size, m.stride)):
        state.refuse("groups, dilation 1, output_padding 0 and a kernel that covers its stride",
                     f"{m.groups}, {m.dilation}, {extra}, {m.kernel_size} and {m.stride}")  # fmt: skip
    state.shape = (
        m.out_channels,
        *((n - 1) * s + k - 2 * p for n, s, k, p in zip(sizes, m.stride, m.kernel_size, pads)),
    )
    layers = [state.layer(
        "Conv2DTranspose", filters=m.out_channels, kernel_size=list(m.kernel_size), strides=list(m.stride),
        padding="valid", data_format="channels_last", activation="linear", use_bias=m.bias is not None,
    )]  # fmt: skip
    if any(pads):
        layers.append(state.layer("Cropping2D", "_crop", cropping=[[p, p] for p in pads], data_format="channels_last"))
    return layers


def pooling(kind: str, n: int) -> Callable[[Any, State], list[Layer]]:
    def made(m: Any, state: State) -> list[Layer]:
        sizes = state.image(type(m).__name__, n)
        kernel, stride, padding = (tuple_of(x, n, "pooling") for x in (m.kernel_size, m.stride, m.padding))
        ones, pads = (1,) * n, [(p, p) for p in padding]
        out = windows(sizes, pads, kernel, stride, ones)
        if tuple_of(getattr(m, "dilation", 1), n, "pooling") != ones or getattr(m, "return_indices", False):
            state.refuse("a pooling without dilation and indices", m)
        if getattr(m, "divisor_override", None) is not None:
            state.refuse("a mean over the window's size", f"divisor_override={m.divisor_override}")
        if m.ceil_mode and any((s + 2 * p - k) % t for s, p, k, t in zip(sizes, padding, kernel, stride)):
            state.refuse(f"windows that end within {sizes}", "ceil_mode=True")
        # TensorFlow counts no padding in a mean, so one that counts is a layer of zeros.
        counts = any(padding) and getattr(m, "count_include_pad", False)
        if counts and n == 2:
            before, name = [state.layer("ZeroPadding2D", "_pad", padding=[list(p) for p in pads],
                                        data_format="channels_last")], "valid"  # fmt: skip
        else:
            before, name = padding_of(state, pads, kernel, stride, ones, zeros=False)
            if counts:
                state.refuse("count_include_pad=False or no padding", m)
        state.shape = (state.shape[0], *out)
        return [*before, state.layer(f"{kind}Pooling{n}D", pool_size=list(kernel), strides=list(stride), padding=name,
                                     data_format="channels_last")]  # fmt: skip

    return made


def adaptive(kind: str) -> Callable[[Any, State], list[Layer]]:
    def made(m: Any, state: State) -> list[Layer]:
        sizes = state.image(type(m).__name__)
        asked = m.output_size if isinstance(m.output_size, (tuple, list)) else (m.output_size,) * 2
        out = tuple(n if k is None else k for n, k in zip(sizes, asked))
        if any(n % k for n, k in zip(sizes, out)) or getattr(m, "return_indices", False):
            state.refuse(f"an output size that divides {sizes}, and no indices", m)
        window = [n // k for n, k in zip(sizes, out)]
        state.shape = (state.shape[0], *out)
        return [state.layer(f"{kind}Pooling2D", pool_size=window, strides=window, padding="valid",
                            data_format="channels_last")]  # fmt: skip

    return made


def zero_pad(m: Any, state: State) -> list[Layer]:
    height, width = state.image("ZeroPad2d")
    left, right, top, bottom = m.padding
    if min(m.padding) < 0:
        state.refuse("a padding of at least 0", m.padding)
    state.shape = (state.shape[0], height + top + bottom, width + left + right)
    return [state.layer("ZeroPadding2D", padding=[[top, bottom], [left, right]], data_format="channels_last")]


def upsample(m: Any, state: State) -> list[Layer]:
    sizes = state.image("Upsample")
    factor = m.scale_factor if isinstance(m.scale_factor, (tuple, list)) else (m.scale_factor,) * 2
    if m.mode != "nearest" or m.size is not None or any(f is None or f != int(f) or f < 1 for f in factor):
        state.refuse("mode 'nearest' with a whole scale_factor", m)
    whole = [int(f) for f in factor]
    state.shape = (state.shape[0], *(n * f for n, f in zip(sizes, whole)))
    return [state.layer("UpSampling2D", size=whole, data_format="channels_last", interpolation="nearest")]


# ---- shapes, products, norms


def flatten(m: Any, state: State) -> list[Layer]:
    rank = len(state.shape)
    if m.start_dim not in (1, -rank) or m.end_dim not in (-1, rank):
        state.refuse("start_dim=1 and end_dim=-1", f"{m.start_dim} and {m.end_dim}")
    layers = []
    if state.channels and state.shape[0] > 1 and math.prod(state.shape[1:]) > 1:
        layers.append(state.layer("Permute", "_order", dims=[rank, *range(1, rank)]))  # Weft's order: channels first
    if rank > 1:
        layers.append(state.layer("Flatten"))
    state.shape, state.channels = (math.prod(state.shape),), False
    return layers


def unflatten(m: Any, state: State) -> list[Layer]:
    if len(state.shape) != 1 or m.dim not in (1, -1):
        state.refuse("dim=1 of a flat input", f"dim={m.dim} of {state.shape}")
    known = math.prod(n for n in m.unflattened_size if n != -1)
    state.shape = tuple(state.shape[0] // known if n == -1 else n for n in m.unflattened_size)
    layers = [state.layer("Reshape", target_shape=list(state.shape))]
    rank = len(state.shape)
    state.channels = rank > 2
    if state.channels:
        layers.append(state.layer("Permute", "_order", dims=[*range(2, rank + 1), 1]))
    return layers


def linear(m: Any, state: State) -> list[Layer]:
    if state.channels:
        state.refuse(
            "a flat input for Linear", f"(N, {', '.join(map(str, state.shape))}) with channels; add nn.Flatten()"
        )
    if state.shape[-1] != m.in_features:
        state.refuse(f"{m.in_features} features", state.shape)
    state.shape = (*state.shape[:-1], m.out_features)
    return [state.layer("Dense", units=m.out_features, activation="linear", use_bias=m.bias is not None)]


def batch_norm(m: Any, state: State) -> list[Layer]:
    if m.running_mean is None:
        state.refuse("running statistics", "track_running_stats=False")
    if len(state.shape) > 1 and not state.channels:
        state.refuse("(N, C) or channels", state.shape)
    momentum = 0.99 if m.momentum is None else 1 - m.momentum
    return [state.layer("BatchNormalization", axis=-1, momentum=momentum, epsilon=m.eps, center=m.bias is not None,
                        scale=m.weight is not None)]  # fmt: skip


def layer_norm(m: Any, state: State) -> list[Layer]:
    if state.channels or len(m.normalized_shape) != 1:
        state.refuse("the last axis alone, without channels", f"{m.normalized_shape} of {state.shape}")
    return [state.layer("LayerNormalization", axis=-1, epsilon=m.eps, center=m.bias is not None,
                        scale=m.weight is not None)]  # fmt: skip


def embedding(m: Any, state: State) -> list[Layer]:
    if getattr(m, "max_norm", None) is not None or state.dtype != "int32":
        state.refuse("indices, and no max_norm", f"an input of {state.dtype}, max_norm={m.max_norm}")
    state.shape, state.dtype = (*state.shape, m.embedding_dim), "float32"
    return [state.layer("Embedding", input_dim=m.num_embeddings, output_dim=m.embedding_dim, mask_zero=False)]


# ---- functions of each element


def activation(name: str) -> Callable[[Any, State], list[Layer]]:
    return lambda m, state: [state.layer("Activation", activation=name)]


def softmax(kind: str) -> Callable[[Any, State], list[Layer]]:
    def made(m: Any, state: State) -> list[Layer]:
        last = {len(state.shape), -1} if not state.channels else {1, -len(state.shape)}
        if m.dim not in last:
            state.refuse(f"dim one of {sorted(last)}, the last axis there", m.dim)
        return [state.layer("Activation", activation=kind)]

    return made


def only(kind: str, wanted: str, holds: Callable[[Any], bool]) -> Callable[[Any, State], list[Layer]]:
    def made(m: Any, state: State) -> list[Layer]:
        if not holds(m):
            state.refuse(wanted, m)
        return [state.layer("Activation", activation=kind)]

    return made


def dropout(kind: str) -> Callable[[Any, State], list[Layer]]:
    return lambda m, state: [state.layer(kind, rate=m.p)]


LAYERS: dict[type, Callable[[Any, State], list[Layer]]] = {
    nn.Linear: linear,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.ConvTranspose2d: transposed,
    nn.MaxPool1d: pooling("Max", 1),
    nn.MaxPool2d: pooling("Max", 2),
    nn.AvgPool1d: pooling("Average", 1),
    nn.AvgPool2d: pooling("Average", 2),
    nn.AdaptiveAvgPool2d: adaptive("Average"),
    nn.AdaptiveMaxPool2d: adaptive("Max"),
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.LayerNorm: layer_norm,
    nn.Embedding: embedding,
    nn.Flatten: flatten,
    nn.Unflatten: unflatten,
    nn.ZeroPad2d: zero_pad,
    nn.Upsample: upsample,
    nn.Identity: lambda m, state: [],
    nn.Dropout: dropout("Dropout"),
    nn.AlphaDropout: dropout("AlphaDropout"),
    nn.ReLU: activation("relu"),
    nn.ReLU6: activation("relu6"),
    nn.LeakyReLU: lambda m, state: [state.layer("LeakyReLU", alpha=m.negative_slope)],
    nn.ELU: only("elu", "alpha=1", lambda m: m.alpha == 1),
    nn.CELU: only("elu", "alpha=1", lambda m: m.alpha == 1),
    nn.SELU: activation("selu"),
    nn.GELU: only("gelu", "approximate='none'", lambda m: m.approximate == "none"),
    nn.SiLU: activation("swish"),
    nn.Mish: activation("mish"),
    nn.Sigmoid: activation("sigmoid"),
    nn.Tanh: activation("tanh"),
    nn.Softplus: only("softplus", "beta=1", lambda m: m.beta == 1),
    nn.Softsign: activation("softsign"),
    nn.Softmax: softmax("softmax"),
    nn.LogSoftmax: softmax("logSoftmax"),
}


def shown() -> str:
    """What can be exported, in a sentence."""
    return "nn.Sequential of " + ", ".join(sorted(kind.__name__ for kind in LAYERS))
