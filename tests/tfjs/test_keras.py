"""Models of weft.keras in TensorFlow.js, whose layers are named after the same ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

import weft
from policy import needs
from tfjs_checks import Asked, evaluate
from weft import keras
from weft.keras import layers

rng = np.random.default_rng()


def model(shape, *parts, dtype="float32"):
    return keras.Sequential([layers.Input(shape, dtype=dtype), *parts])


def moved(made):
    """Weights and statistics that a new layer has not, of a scale that leaves float32 its digits through exp."""
    made.set_weights([weights(w.shape) for w in made.weights])
    return made


def weights(shape):
    if len(shape) < 2:
        return rng.uniform(0.2, 1, shape).astype(np.float32)  # a variance among them
    return rng.standard_normal(shape, np.float32) / np.float32(np.prod(shape[:-1])) ** 0.5


CASES = {
    "hello world": lambda: model((28, 28), layers.Flatten(), layers.Dense(128, activation="relu"),
                                 layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")),
    "convolutions": lambda: model((9, 8, 2), layers.Conv2D(4, 3, padding="same", strides=2, activation="silu"),
                                  layers.DepthwiseConv2D(2, depth_multiplier=2), layers.BatchNormalization(),
                                  layers.ReLU(max_value=2.5), layers.Flatten(), layers.Dropout(0.3), layers.Dense(3)),
    "upwards": lambda: model((6,), layers.Dense(24), layers.Reshape((2, 3, 4)), layers.UpSampling2D(2),
                             layers.Conv2DTranspose(3, 3, strides=2, padding="same"), layers.ZeroPadding2D(1),
                             layers.MaxPooling2D((3, 2)), layers.GlobalAveragePooling2D()),
    "sequences": lambda: model((5, 3), layers.Conv1D(4, 2, padding="same", dilation_rate=2), layers.PReLU(),
                               layers.AveragePooling1D(2), layers.LayerNormalization(), layers.GlobalMaxPooling1D(),
                               layers.LeakyReLU(0.2), layers.Activation("log_softmax")),
    "words": lambda: model((4,), layers.Embedding(7, 3), layers.Flatten(), layers.Dense(2), dtype="int32"),
    "nested": lambda: model((4,), keras.Sequential([layers.Rescaling(0.5, offset=1), layers.Dense(3, "tanh")]),
                            layers.ELU(), layers.Softmax()),
}  # fmt: skip


def example(made):
    (symbol,) = made.inputs
    shape = (3, *symbol.shape[1:])
    return rng.integers(0, 7, shape).astype("i4") if "int" in str(symbol.dtype) else rng.standard_normal(shape, "f4")


@needs("node", "npm/tfjs")
@pytest.mark.parametrize("name", CASES)
def test_tensorflow_js_computes_the_same_and_its_weights_come_back(name, tmp_path):
    made = moved(CASES[name]())
    x = example(made)
    (answer,) = evaluate([Asked(weft.tfjs.export(made, None, tmp_path), x)])
    assert "error" not in answer, answer
    want = made.predict(x, verbose=0)
    assert answer["shape"] == list(want.shape)
    np.testing.assert_allclose(np.array(answer["data"]).reshape(want.shape), want, rtol=1e-5, atol=1e-5)
    (tmp_path / "weights.json").write_text(json.dumps(answer["saved"]))
    before = made.get_weights()
    made.set_weights([np.zeros_like(w) for w in before])
    weft.tfjs.load(tmp_path / "weights.json", made)
    for found, wanted in zip(made.get_weights(), before):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", CASES)
def test_weights_go_out_and_come_back(name, tmp_path):
    made = moved(CASES[name]())
    weft.tfjs.export(made, None, tmp_path)
    before = made.get_weights()
    made.set_weights([np.zeros_like(w) for w in before])
    assert weft.tfjs.load(tmp_path, made) is made
    for found, wanted in zip(made.get_weights(), before):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("made, words", [
    (lambda: model((4, 4, 4), layers.Conv2D(4, 2, groups=2, name="grouped")), ["grouped", "groups", "2"]),
    (lambda: model((4, 4, 4), layers.Conv2D(4, 2, data_format="channels_first")), ["data_format"]),
    (lambda: model((4,), layers.Dense(2, activation="hard_sigmoid")), ["activation", "hard_sigmoid"]),
    (lambda: model((4, 4), layers.Conv1D(2, 2, padding="causal")), ["padding", "causal"]),
    (lambda: model((4, 4), layers.GRU(2)), ["GRU", "Dense"]),
    (lambda: model((4,), layers.ELU(0.5)), ["alpha"]),
], ids=["groups", "channels first", "hard sigmoid", "causal", "GRU", "ELU"])  # fmt: skip
def test_what_tensorflow_js_has_not_is_named(made, words, tmp_path):
    with pytest.raises(weft.tfjs.UnsupportedError) as caught:
        weft.tfjs.export(made(), None, tmp_path)
    assert all(word in str(caught.value) for word in words), caught.value


def test_graphs_and_models_without_an_input_are_refused(tmp_path):
    x = layers.Input((4,))
    with pytest.raises(weft.tfjs.UnsupportedError, match="expected a keras.Sequential, got Functional"):
        weft.tfjs.export(keras.Model(x, layers.Dense(2)(x)), None, tmp_path)
    with pytest.raises(ValueError, match="expected a model that is built"):
        weft.tfjs.export(keras.Sequential([layers.Dense(2)]), None, tmp_path)


def test_other_weights_are_named(tmp_path):
    weft.tfjs.export(model((4,), layers.Dense(2, name="a")), None, tmp_path)
    with pytest.raises(ValueError, match="a/kernel"):
        weft.tfjs.load(tmp_path, model((4,), layers.Dense(3, name="a")))
