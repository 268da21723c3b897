"""A table of layers: for each name the configurations that are compared with PyTorch's layer of that name.

    Row("Conv1d", lambda d: d.args(...), shapes=...)

A row's `draw` is called with a `Draw` for each seed and returns the constructor's arguments and the inputs.
"""

from __future__ import annotations

import numpy as np


class Draw:
    """Random choices for one configuration; `seed` counts them, so that a row can walk through what matters."""

    def __init__(self, name, seed):
        self.seed, self.rng = seed, np.random.default_rng([seed, *name.encode()])

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def turn(self, *choices):
        """One choice after the other, from seed to seed."""
        return choices[self.seed % len(choices)]

    def integer(self, low, high):
        return int(self.rng.integers(low, high))

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def tied(self, *shape):
        """Few different values, so that many are equal."""
        return self.rng.integers(-2, 3, shape).astype(np.float32)

    def positive(self, *shape):
        return self.rng.uniform(0.1, 2.0, shape).astype(np.float32)

    def signs(self, *shape):
        return self.rng.choice([-1, 1], shape)


def args(*positional, **named):
    return positional, named
