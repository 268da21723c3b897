"""Which arrays of a module are which weights of its TensorFlow.js layer, how their axes lie there, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft import nn
from weft.nn.module import Module, join, mismatches
from weft.tfjs import keras
from weft.tfjs.files import read
from weft.tfjs.layers import UnsupportedError

Array = np.ndarray[Any, Any]


class Weight(NamedTuple):
    """One weight of a layer: its name there, the module's attribute, and how the one becomes the other.

    The module's array, reshaped to `split`, has the layer's axes in the order `axes`; None is an array as it is.
    """

    name: str
    attribute: str
    axes: tuple[int, ...] | None = None
    split: tuple[int, ...] | None = None

    def to_layer(self, array: Array) -> Array:
        array = array if self.split is None else array.reshape(self.split)
        return array if self.axes is None else array.transpose(self.axes)

    def to_module(self, array: Array, shape: tuple[int, ...]) -> Array:
        array = array if self.axes is None else array.transpose(np.argsort(self.axes))
        return array.reshape(shape)


def biased(module: Any, *weights: Weight) -> list[Weight]:
    return [*weights, Weight("bias", "bias")] if module.bias is not None else list(weights)


def convolution(module: Any) -> list[Weight]:
    """(O, I, *K) -> (*K, I, O); one filter for each channel: (C M, 1, KH, KW) -> (KH, KW, C, M)."""
    n = len(module.kernel_size)
    spatial = tuple(range(2, 2 + n))
    if module.groups == 1:
        return biased(module, Weight("kernel", "weight", (*spatial, 1, 0)))
    channels = module.in_channels
    split = (channels, module.out_channels // channels, *module.kernel_size)
    return biased(module, Weight("depthwise_kernel", "weight", (*spatial, 0, 1), split))


def convolution_upwards(module: Any) -> list[Weight]:
    """(I, O, KH, KW) -> (KH, KW, O, I)."""
    return biased(module, Weight("kernel", "weight", (2, 3, 1, 0)))


def norm(module: Any) -> list[Weight]:
    given = [("gamma", "weight"), ("beta", "bias")]
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        given += [("moving_mean", "running_mean"), ("moving_variance", "running_var")]
    return [Weight(name, attribute) for name, attribute in given if getattr(module, attribute) is not None]


WEIGHTS: dict[type, Callable[[Any], list[Weight]]] = {
    nn.Linear: lambda m: biased(m, Weight("kernel", "weight", (1, 0))),
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.ConvTranspose2d: convolution_upwards,
    nn.BatchNorm1d: norm,
    nn.BatchNorm2d: norm,
    nn.LayerNorm: norm,
    nn.Embedding: lambda m: [Weight("embeddings", "weight")],
}


def weights_of(module: Module) -> list[Weight]:
    made = WEIGHTS.get(type(module))
    return [] if made is None else made(module)


def layer_name(path: str, module: Module) -> str:
    """What a module's layer is called: its kind and its path, as "conv2d_features.0"."""
    kind = type(module).__name__.lower()
    return f"{kind}_{path}" if path else kind


def leaves(module: Module, path: str = "") -> Iterator[tuple[str, Module]]:
    """(path, module) of what runs, one after another, in a module of nested `Sequential`s."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for name, child in module.named_children():
            yield from leaves(child, join(path, name))
    else:
        yield path, module


def load(path: Path | str, module: Module) -> Module:
    """Give `module` the weights of a TensorFlow.js layers model that was exported from one like it; returns `module`.

    path: model.json, the folder it is in, or the JSON of weights that the page of `weft serve` saves. Names and shapes
    must be those of the export, all of them.  ValueError names every weight that is missing, unexpected or of another
    shape, `tfjs.FileError` (a ValueError) a damaged file; the module then is as it was.

    >>> weft.tfjs.load("downloads/model.json", model)                                       # doctest: +SKIP
    """
    fill(module, read(path), path)
    return module


def fill(module: Any, given: Mapping[str, Array], source: Any) -> None:
    """`load` from arrays by name; `source` is what errors call it."""
    if keras.is_keras(module):
        layers = {name: weight for layer in keras.flat(module) for name, weight in keras.named_weights(layer)}
        check({name: weight.shape for name, weight in layers.items()}, given, source)
        by_identity = {id(weight): given[name] for name, weight in layers.items()}
        module.set_weights([by_identity[id(weight)] for weight in module.weights])
        return
    wanted, places = {}, {}
    for where, leaf in leaves(module):
        for weight in weights_of(leaf):
            name = f"{layer_name(where, leaf)}/{weight.name}"
            target = getattr(leaf, weight.attribute)
            wanted[name] = weight.to_layer(np.empty(target.shape, bool)).shape
            places[name] = (join(where, weight.attribute), weight, target.shape)
    check(wanted, given, source)
    state = dict(module.state_dict())
    for name, (own, weight, shape) in places.items():
        state[own] = weight.to_module(given[name], shape).astype(state[own].dtype)
    module.load_state_dict(state)


def check(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, Array], source: Any) -> None:
    lines = mismatches(wanted, {name: array.shape for name, array in given.items()})
    lines += [
        f"{name}: {array.dtype} in place of float32" for name, array in given.items() if array.dtype != np.float32
    ]
    if lines:
        raise ValueError(f"tfjs.load: expected the weights of this module in {source}, got\n  " + "\n  ".join(lines))


def arrays(path: str, module: Module) -> list[tuple[str, Array]]:
    """(name, float32 array) of the layer's weights, in its axes.

    ValueError for float64, which a browser has not; UnsupportedError for a weight that is worked out of others.
    """
    made, state = [], module.state_dict()
    for weight in weights_of(module):
        if weight.attribute not in state:
            raise UnsupportedError(f"tfjs.export: {path or 'the module'}: expected a parameter {weight.attribute}, got "
                                   f"{', '.join(state)}; take weight_norm or spectral_norm away first")  # fmt: skip
        array = state[weight.attribute]
        if array.dtype.itemsize > 4:
            raise ValueError(f"tfjs.export: {join(path, weight.attribute)}: expected float32 or less, "
                             f"got {array.dtype}; module.to(dtype=weft.float32) converts it")  # fmt: skip
        name = f"{layer_name(path, module)}/{weight.name}"
        made.append((name, np.ascontiguousarray(weight.to_layer(array), np.float32)))
    return made
