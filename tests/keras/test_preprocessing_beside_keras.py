"""Random layers of `weft.keras` move images as Keras's do: for a range of one factor the outputs are equal."""

from __future__ import annotations

import numpy as np
import pytest

from keras_beside import close, ours, theirs
from policy import needs

pytestmark = [pytest.mark.slow, needs("keras")]
FILLS = ("reflect", "wrap", "nearest", "constant")
ROWS = {
    "rotation": ("RandomRotation", [(0.13, 0.13)]),
    "rotation backwards": ("RandomRotation", [(-0.3, -0.3)]),
    "zoom out": ("RandomZoom", [(0.23, 0.23)]),
    "zoom in and out": ("RandomZoom", [(0.2, 0.2), (-0.37, -0.37)]),
    "translation": ("RandomTranslation", [(0.21, 0.21), (-0.37, -0.37)]),
    "far translation": ("RandomTranslation", [(-1.0, -1.0), (0.9, 0.9)]),
}


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill_mode", FILLS)
@pytest.mark.parametrize("name", ROWS)
def test_the_geometry_of_a_factor(name, fill_mode, interpolation):
    kind, factors = ROWS[name]
    x = np.random.default_rng([*name.encode()]).random((2, 9, 12, 2)).astype("f")
    options = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.3}
    found = [getattr(k.layers, kind)(*factors, **options)(x, training=True) for k in (ours, theirs)]
    close(*found, name)
    found = [getattr(k.layers, kind)(*factors, data_format="channels_first", **options)(x[0].transpose(2, 0, 1),
             training=True) for k in (ours, theirs)]  # fmt: skip
    close(*found, name)


@pytest.mark.parametrize("fill_mode", FILLS)
def test_shears_of_both_ways(fill_mode):
    x = np.repeat(np.random.default_rng(1).random((1, 9, 12, 2)).astype("f"), 16, axis=0)
    mine, reference = (
        np.asarray(k.layers.RandomShear((0.23, 0.23), (0.3, 0.3), fill_mode=fill_mode, seed=1)(x, training=True))
        if k is theirs else k.layers.RandomShear((0.23, 0.23), (0.3, 0.3), fill_mode=fill_mode, seed=1)(
            x, training=True).numpy() for k in (ours, theirs)
    )  # fmt: skip
    for one in mine:
        assert min(np.abs(one - other).max() for other in reference) < 1e-5
    assert not np.allclose(mine, mine[:1])


@pytest.mark.parametrize("factor", [(0.2, 0.2), (-0.3, -0.3)])
def test_brightness_of_a_factor(factor):
    x = np.random.default_rng(1).random((2, 5, 6, 3)).astype("f")
    close(*(k.layers.RandomBrightness(factor, (0, 1))(x, training=True) for k in (ours, theirs)), "brightness")
