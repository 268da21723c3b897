"""Layers, losses, metrics and optimizers of `weft.keras` beside Keras's own, on its NumPy backend."""

from __future__ import annotations

import os

import numpy as np

import weft
from weft import keras as ours

os.environ["KERAS_BACKEND"] = "numpy"

TOLERANCE = 1e-5  # of the largest element, in float32


class Late:
    """Keras, imported when a test first asks for it: that takes four seconds, which collecting the tests need not."""

    def __getattr__(self, name):
        import keras

        return getattr(keras, name)


theirs = Late()


def numbers(x):
    """The values of either library's tensor, or of an array, as NumPy's."""
    return x.numpy() if isinstance(x, weft.Tensor) else np.asarray(x)


def flat(x):
    return [leaf for item in x for leaf in flat(item)] if isinstance(x, (list, tuple)) else [x]


def close(a, b, what, tolerance=TOLERANCE):
    """Fail where an element differs by more than `tolerance` of the largest one."""
    a, b = numbers(a), numbers(b)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, Keras's {b.shape}"
    if b.size:
        scale = max(float(np.abs(b).max()), 1e-3)
        error = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        assert error <= tolerance * scale, f"{what}: differs by {error:.2e}, the largest element is {scale:.2e}"


def drawn(weights, rng):
    """Random values for weights; variances stay positive."""
    return [
        np.abs(rng.standard_normal(w.shape)).astype("f") + 0.5 if "variance" in w.path
        else (rng.standard_normal(w.shape) * 0.5).astype("f") for w in weights
    ]  # fmt: skip


def compare(make, args, rng, training=None, tolerance=TOLERANCE, **call):
    """A layer made in both libraries gives the same outputs for the same weights, set in Keras's order."""
    ours.utils.clear_session()
    theirs.utils.clear_session()
    mine, reference = make(ours.layers), make(theirs.layers)
    call = call | ({} if training is None else {"training": training})
    shapes = [numbers(x).shape for x in flat([layer(*args, **call) for layer in (mine, reference)])]
    assert shapes[: len(shapes) // 2] == shapes[len(shapes) // 2 :]
    assert [w.path for w in mine.weights] == [w.path for w in reference.weights]
    values = drawn(reference.weights, rng)
    mine.set_weights(values)
    reference.set_weights(values)
    a, b = (flat(layer(*args, **call)) for layer in (mine, reference))
    for i, (x, y) in enumerate(zip(a, b)):
        close(x, y, f"output {i}", tolerance)
    for w, v, r in zip(mine.weights, mine.get_weights(), reference.get_weights()):
        close(v, r, w.path, tolerance)  # running statistics move alike
    return mine, reference
