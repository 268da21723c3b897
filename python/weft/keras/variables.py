"""Weights of Keras's layers: a Parameter or Buffer of `weft.nn` that knows its name, regularizer and constraint."""

from __future__ import annotations

from typing import Any

from weft.backends.device import default_device
from weft.nn.parameter import Buffer, Parameter


class Variable:
    """What trained weights and kept statistics share; `layer.add_weight` makes them.

    >>> from weft import keras
    >>> layer = keras.layers.Dense(2, name="scores")
    >>> layer.build((None, 3))
    >>> [w.path for w in layer.weights]
    ['scores/kernel', 'scores/bias']
    """

    name: str
    path: str
    regularizer: Any = None
    constraint: Any = None
    trainable: bool

    @property
    def value(self) -> Any:
        return self

    def named(self, name: str, path: str) -> Any:
        self.name, self.path = name, path
        return self


class Weight(Variable, Parameter):
    """A weight that a step moves."""

    trainable = True


class Statistic(Variable, Buffer):
    """A weight that no step moves, such as the mean of a BatchNormalization."""

    trainable = False


def device_of(layer: Any) -> str:
    """Where a layer's weights are, and so its inputs belong; without any, the default device."""
    first = next(iter(layer.parameters()), None)
    return default_device() if first is None else str(first.device)
