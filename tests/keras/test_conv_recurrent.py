"""ConvLSTM2D of `weft.keras`: masks, states, dropout and its configuration."""

from __future__ import annotations

import numpy as np
import pytest

from weft import keras
from weft.keras import layers as L


def test_masked_steps_are_left_out_and_states_go_on():
    x = np.random.default_rng(0).random((2, 5, 4, 4, 3)).astype("f")
    layer = L.ConvLSTM2D(3, 2, padding="same", return_state=True)
    mask = np.array([[True, True, True, False, False], [True, False, True, True, False]])
    out, h, c = layer(x, mask=keras.ops.convert_to_tensor(mask))
    for i in range(2):
        expected = layer(x[i : i + 1][:, mask[i]])
        for found, wanted in zip((out, h, c), expected):
            np.testing.assert_allclose(found[i].numpy(), wanted[0].numpy(), rtol=1e-5, atol=1e-6)
    _, *states = layer(x[:, :2])
    np.testing.assert_allclose(layer(x[:, 2:], initial_state=states)[0].numpy(), layer(x)[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("which", ["dropout", "recurrent_dropout"])
def test_dropout_acts_in_training_alone(which):
    x = np.ones((2, 3, 4, 4, 2), "f")
    layer = L.ConvLSTM2D(3, 2, **{which: 0.5})
    assert np.array_equal(layer(x).numpy(), layer(x).numpy())
    assert not np.array_equal(layer(x, training=True).numpy(), layer(x, training=True).numpy())


def test_it_is_made_anew_from_its_configuration_and_refuses_other_shapes():
    layer = L.ConvLSTM2D(3, (3, 2), data_format="channels_first", unit_forget_bias=False, bias_initializer="ones")
    twin = L.deserialize(L.serialize(layer))
    x = np.ones((1, 2, 3, 5, 6), "f")
    assert twin(x).shape == (1, 3, 3, 5) and (twin.get_weights()[2] == 1).all()
    assert L.ConvLSTM2D(3, 2)(x).shape and L.ConvLSTM2D(3, 2).cell.filters == 3
    with pytest.raises(ValueError, match=r"expected input \(N, T, H, W, C\), got \(None, 2, 3, 5\)"):
        L.ConvLSTM2D(3, 2)(np.ones((1, 2, 3, 5), "f"))
    images = L.ConvLSTM2D(3, 2, name="weather")
    images(np.ones((1, 2, 5, 6, 3), "f"))
    with pytest.raises(
        ValueError, match=r"ConvLSTM2D 'weather': expected input \(N, T, H, W, 3\), got \(1, 2, 5, 6, 4\)"
    ):
        images(np.ones((1, 2, 5, 6, 4), "f"))
    with pytest.raises(ValueError, match=r"'weather': expected states \(1, 3, 6, 6\), .*got \[\(1, 3, 4, 5\)"):
        images(np.ones((1, 2, 7, 7, 3), "f"))
