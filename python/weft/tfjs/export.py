"""Modules to layers models: one layer after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import weft
from weft.autograd import Tensor
from weft.nn.module import Module
from weft.tfjs import files, keras
from weft.tfjs.layers import LAYERS, Layer, State, UnsupportedError, shown
from weft.tfjs.weights import Array, arrays, layer_name, leaves

TFJS = "4.22.0"  # the version whose layers these are


def export(module: Module, example: Any, folder: Path | str) -> Path:
    """Write `module` as a TensorFlow.js layers model into `folder`; returns the path of its model.json.

    module: a layer, or `Sequential`s of layers that TensorFlow.js has (docs/browser.md lists them). example: an input
    with its batch axis, whose sizes, the batch's aside, become the model's. TensorFlow.js keeps channels last: an input
    (N, C, H, W) is (N, H, W, C) there, (N, C, L) is (N, L, C), and so are outputs with such axes; what `Flatten` makes
    is in Weft's order, by a Permute before it. A built `weft.keras.Sequential` has channels last already and knows its
    input: example may be None.  UnsupportedError (a ValueError) names the path of a module that is no
    such layer, and what there is.

    >>> weft.tfjs.export(weft.nn.Linear(3, 2), weft.ones((1, 3)), "page/model")             # doctest: +SKIP
    PosixPath('page/model/model.json')
    """
    if keras.is_keras(module):
        return write(folder, *keras.export(module))
    example = np.asarray(example.numpy() if isinstance(example, Tensor) else example)
    if example.ndim < 2:
        raise ValueError(f"tfjs.export: expected an example with a batch axis, (N, ...), got shape {example.shape}")
    steps = list(leaves(module))
    state = State.of(example, [leaf for _, leaf in steps])
    layers, weights = [state.input_layer()], []
    seen: dict[int, str] = {}
    for path, leaf in steps:
        if type(leaf) not in LAYERS:
            raise UnsupportedError(
                f"tfjs.export: {path or 'the module'}: expected {shown()}, got {type(leaf).__name__}"
            )
        if id(leaf) in seen and next(leaf.parameters(), None) is not None:
            raise UnsupportedError(f"tfjs.export: {path}: expected each layer with parameters once, "
                                   f"got {seen[id(leaf)]} again")  # fmt: skip
        seen[id(leaf)] = path
        state.path, state.name = path, layer_name(path, leaf)
        layers += LAYERS[type(leaf)](leaf, state)
        weights += arrays(path, leaf)
    return write(folder, layers, weights)


def write(folder: Path | str, layers: list[Layer], weights: list[tuple[str, Array]]) -> Path:
    topology = {"class_name": "Sequential", "config": {"name": "weft", "layers": layers},
                "keras_version": f"tfjs-layers {TFJS}", "backend": "tensor_flow.js"}  # fmt: skip
    return files.write(Path(folder), topology, weights, {"generatedBy": f"Weft {weft.__version__}"})
