"""Keras's front, over `weft.nn`, `weft.optim` and `weft.train`: a program for Keras 3 runs with its imports changed.

    from weft import keras                     # in place of `import keras` or `from tensorflow import keras`
    from weft.keras import layers              # and so on

>>> from weft import keras
>>> model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)])
>>> model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
>>> model.count_params()
7850

docs/keras.md says what is there, what is not, and how weights move from and to Keras.
"""

import importlib as _importlib
from typing import Any as _Any

from weft.keras import (
    activations,
    backend,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    saving,
    utils,
)
from weft.keras import operations as ops
from weft.keras.layer import Layer
from weft.keras.layers.core import Input
from weft.keras.losses import Loss
from weft.keras.metric import Metric
from weft.keras.models import Functional, Model, Sequential
from weft.keras.optimizers import Optimizer
from weft.keras.symbols import KerasTensor


def __getattr__(name: str) -> _Any:
    if name == "datasets":
        return _importlib.import_module("weft.keras.datasets")
    if name == "applications":
        raise AttributeError("weft.keras has no applications; weft.models has ResNet and ViT, with pretrained weights")
    raise AttributeError(f"module 'weft.keras' has no attribute {name!r}")
