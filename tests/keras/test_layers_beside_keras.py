"""Layers of `weft.keras` give what Keras's of the same name, arguments and weights give."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from keras_beside import close, compare, flat, numbers, ours, theirs
from policy import needs

pytestmark = [pytest.mark.slow, needs("keras")]  # the commonest layers are in test_training_beside_keras, too
SEQUENCE, IMAGE, VOLUME = (2, 7, 5), (2, 9, 8, 3), (1, 5, 6, 5, 2)
# name -> (arguments, shape of the input)
ROWS = {
    "dense": (lambda L: L.Dense(4, activation="relu"), (3, 5)),
    "dense of sequences": (lambda L: L.Dense(4, use_bias=False, activation="tanh"), SEQUENCE),
    "einsum dense": (lambda L: L.EinsumDense("abc,cd->abd", (7, 6), bias_axes="d"), SEQUENCE),
    "einsum dense of leading axes": (lambda L: L.EinsumDense("...x,xy->...y", 4, bias_axes="y"), SEQUENCE),
    "conv1d": (lambda L: L.Conv1D(4, 3, strides=2, padding="same", activation="relu"), SEQUENCE),
    "conv1d causal": (lambda L: L.Conv1D(4, 3, padding="causal", dilation_rate=2), SEQUENCE),
    "conv2d": (lambda L: L.Conv2D(4, 3), IMAGE),
    "conv2d same": (lambda L: L.Conv2D(6, (3, 2), strides=(2, 3), padding="same", activation="tanh"), IMAGE),
    "conv2d grouped": (lambda L: L.Conv2D(6, 3, groups=3, use_bias=False), IMAGE),
    "conv2d dilated": (lambda L: L.Conv2D(2, 3, dilation_rate=2, padding="same", activation="softmax"), IMAGE),
    "conv3d": (lambda L: L.Conv3D(3, 2, strides=2, padding="same"), VOLUME),
    "conv1d transpose": (lambda L: L.Conv1DTranspose(4, 3, strides=2, padding="same"), SEQUENCE),
    "conv2d transpose": (lambda L: L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"), IMAGE),
    "conv2d transpose valid": (lambda L: L.Conv2DTranspose(4, (3, 2), strides=(2, 3)), IMAGE),
    "conv2d transpose even": (lambda L: L.Conv2DTranspose(4, 4, strides=2, padding="same"), IMAGE),
    "conv3d transpose": (lambda L: L.Conv3DTranspose(3, (2, 3, 1), strides=(2, 1, 3), padding="same"), VOLUME),
    "conv3d transpose valid": (lambda L: L.Conv3DTranspose(3, 2, strides=2, use_bias=False), VOLUME),
    "depthwise conv1d": (lambda L: L.DepthwiseConv1D(3, depth_multiplier=2), SEQUENCE),
    "depthwise conv2d": (lambda L: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), IMAGE),
    "separable conv1d": (lambda L: L.SeparableConv1D(4, 3, depth_multiplier=2), SEQUENCE),
    "separable conv2d": (lambda L: L.SeparableConv2D(4, 3, padding="same", activation="relu"), IMAGE),
    "max pooling 1d": (lambda L: L.MaxPooling1D(3, strides=2, padding="same"), SEQUENCE),
    "max pooling 2d": (lambda L: L.MaxPooling2D(), IMAGE),
    "max pooling 2d same": (lambda L: L.MaxPooling2D((3, 2), strides=2, padding="same"), IMAGE),
    "max pooling 3d": (lambda L: L.MaxPooling3D(2, strides=2, padding="same"), VOLUME),
    "average pooling 1d": (lambda L: L.AveragePooling1D(3, padding="same"), SEQUENCE),
    "average pooling 2d": (lambda L: L.AveragePooling2D((3, 2), strides=2, padding="same"), IMAGE),
    "average pooling 3d": (lambda L: L.AveragePooling3D(2, strides=2, padding="same"), VOLUME),
    "global average 1d": (lambda L: L.GlobalAveragePooling1D(keepdims=True), SEQUENCE),
    "global average 2d": (lambda L: L.GlobalAveragePooling2D(), IMAGE),
    "global average 3d": (lambda L: L.GlobalAveragePooling3D(), VOLUME),
    "global max 1d": (lambda L: L.GlobalMaxPooling1D(), SEQUENCE),
    "global max 2d": (lambda L: L.GlobalMaxPooling2D(keepdims=True), IMAGE),
    "global max 3d": (lambda L: L.GlobalMaxPooling3D(), VOLUME),
    "adaptive average 1d": (lambda L: L.AdaptiveAveragePooling1D(3), SEQUENCE),
    "adaptive average 2d": (lambda L: L.AdaptiveAveragePooling2D((4, 3)), IMAGE),
    "adaptive average 3d": (lambda L: L.AdaptiveAveragePooling3D((2, 4, 3)), VOLUME),
    "adaptive max 1d": (lambda L: L.AdaptiveMaxPooling1D(3), SEQUENCE),
    "adaptive max 2d": (lambda L: L.AdaptiveMaxPooling2D(4), IMAGE),
    "adaptive max 3d": (lambda L: L.AdaptiveMaxPooling3D((2, 4, 3)), VOLUME),
    "up 1d": (lambda L: L.UpSampling1D(3), SEQUENCE),
    "up 2d": (lambda L: L.UpSampling2D((2, 3)), IMAGE),
    "up 2d bilinear": (lambda L: L.UpSampling2D(2, interpolation="bilinear"), IMAGE),
    "up 3d": (lambda L: L.UpSampling3D((1, 2, 3)), VOLUME),
    "batch norm": (lambda L: L.BatchNormalization(), IMAGE),
    "batch norm of rows": (lambda L: L.BatchNormalization(momentum=0.7, epsilon=0.01, scale=False), (6, 4)),
    "batch norm of axis 1": (lambda L: L.BatchNormalization(axis=1, center=False), SEQUENCE),
    "layer norm": (lambda L: L.LayerNormalization(), SEQUENCE),
    "layer norm of axes": (lambda L: L.LayerNormalization(axis=[1, 2]), SEQUENCE),
    "layer norm of axis 1": (lambda L: L.LayerNormalization(axis=1, epsilon=0.1, scale=False), IMAGE),
    "group norm": (lambda L: L.GroupNormalization(2), (2, 5, 5, 4)),
    "instance norm": (lambda L: L.GroupNormalization(-1), IMAGE),
    "rms norm": (lambda L: L.RMSNormalization(), SEQUENCE),
    "unit norm": (lambda L: L.UnitNormalization(axis=1), SEQUENCE),
    "normalization": (lambda L: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0]), IMAGE),
    "flatten": (lambda L: L.Flatten(), IMAGE),
    "flatten first": (lambda L: L.Flatten(data_format="channels_first"), IMAGE),
    "reshape": (lambda L: L.Reshape((7, -1, 1)), SEQUENCE),
    "permute": (lambda L: L.Permute((3, 1, 2)), IMAGE),
    "repeat": (lambda L: L.RepeatVector(3), (2, 5)),
    "zero padding 1d": (lambda L: L.ZeroPadding1D((1, 2)), SEQUENCE),
    "zero padding 2d": (lambda L: L.ZeroPadding2D(((1, 0), (2, 3))), IMAGE),
    "zero padding 3d": (lambda L: L.ZeroPadding3D((1, 0, 2)), VOLUME),
    "cropping 1d": (lambda L: L.Cropping1D((1, 2)), SEQUENCE),
    "cropping 2d": (lambda L: L.Cropping2D(((1, 0), (2, 3))), IMAGE),
    "cropping 3d": (lambda L: L.Cropping3D(1), VOLUME),
    "relu": (lambda L: L.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2), SEQUENCE),
    "leaky relu": (lambda L: L.LeakyReLU(), SEQUENCE),
    "elu": (lambda L: L.ELU(0.7), SEQUENCE),
    "prelu": (lambda L: L.PReLU(shared_axes=[1]), IMAGE),
    "softmax": (lambda L: L.Softmax(axis=1), SEQUENCE),
    "softmax of axes": (lambda L: L.Softmax(axis=(1, 2)), SEQUENCE),
    "dropout at rest": (lambda L: L.Dropout(0.5), SEQUENCE),
    "rescaling": (lambda L: L.Rescaling(1 / 127.5, offset=-1.0), IMAGE),
    "center crop": (lambda L: L.CenterCrop(4, 5), IMAGE),
    "resizing": (lambda L: L.Resizing(5, 13), IMAGE),
    "resizing nearest": (lambda L: L.Resizing(5, 13, interpolation="nearest"), IMAGE),
    "time distributed": (lambda L: L.TimeDistributed(L.Dense(4)), SEQUENCE),
    "simple rnn": (lambda L: L.SimpleRNN(4, return_sequences=True), SEQUENCE),
    "simple rnn relu": (lambda L: L.SimpleRNN(4, activation="relu", use_bias=False), SEQUENCE),
    "lstm": (lambda L: L.LSTM(4), SEQUENCE),
    "lstm states": (lambda L: L.LSTM(4, return_sequences=True, return_state=True), SEQUENCE),
    "lstm backwards": (lambda L: L.LSTM(4, return_sequences=True, go_backwards=True), SEQUENCE),
    "lstm of other gates": (lambda L: L.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid"), SEQUENCE),
    "gru": (lambda L: L.GRU(4, return_sequences=True), SEQUENCE),
    "gru states": (lambda L: L.GRU(4, return_state=True, use_bias=False), SEQUENCE),
    "gru reset before": (lambda L: L.GRU(4, reset_after=False, return_sequences=True), SEQUENCE),
    "rnn of cells": (lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True), SEQUENCE),
    "conv lstm 1d": (lambda L: L.ConvLSTM1D(4, 3, strides=2, return_sequences=True, return_state=True), (2, 3, 9, 2)),
    "conv lstm 2d": (lambda L: L.ConvLSTM2D(4, (3, 2), padding="same", return_sequences=True), (2, 3, 5, 6, 2)),
    "conv lstm 2d valid": (lambda L: L.ConvLSTM2D(3, 2, go_backwards=True, activation="relu"), (2, 4, 5, 6, 2)),
    "conv lstm 3d": (lambda L: L.ConvLSTM3D(2, 2, padding="same", return_state=True), (1, 2, 3, 4, 3, 2)),
    "bidirectional conv lstm": (lambda L: L.Bidirectional(L.ConvLSTM2D(2, 3, padding="same")), (2, 3, 5, 4, 2)),
    "time distributed conv": (lambda L: L.TimeDistributed(L.Conv2D(3, 2, padding="same")), (2, 3, 5, 6, 2)),
    "bidirectional": (lambda L: L.Bidirectional(L.LSTM(4, return_sequences=True)), SEQUENCE),
    "bidirectional sum": (lambda L: L.Bidirectional(L.GRU(4), merge_mode="sum"), SEQUENCE),
    "bidirectional lists": (lambda L: L.Bidirectional(L.SimpleRNN(4, return_state=True), merge_mode=None), SEQUENCE),
}  # fmt: skip
ACTIVATIONS = """
    linear relu leaky_relu sigmoid softmax gelu elu celu softplus exponential tanh_shrink hard_shrink soft_shrink
    squareplus log_softmax tanh selu silu mish relu6 softsign hard_sigmoid hard_silu hard_tanh log_sigmoid swish
""".split()


@pytest.mark.parametrize("name", ROWS)
def test_values_and_weights_of_a_layer(name):
    make, shape = ROWS[name]
    rng = np.random.default_rng([*name.encode()])
    mine, reference = compare(make, [rng.standard_normal(shape).astype("f")], rng)
    symbol = ours.Input(shape[1:])
    expected = theirs.Input(shape[1:])
    assert [x.shape for x in flat(mine(symbol))] == [tuple(x.shape) for x in flat(reference(expected))]


@pytest.mark.parametrize("name", [name for name in ROWS if "batch norm" in name])
def test_normalisation_in_training_and_its_statistics(name):
    make, shape = ROWS[name]
    rng = np.random.default_rng(7)
    compare(make, [rng.standard_normal(shape).astype("f") * 2 + 1], rng, training=True)


@pytest.mark.parametrize("kind", "Add Subtract Multiply Average Maximum Minimum Concatenate".split())
def test_layers_of_two_inputs(kind):
    rng = np.random.default_rng(3)
    compare(lambda L: getattr(L, kind)(), [[rng.standard_normal((3, 4)).astype("f") for _ in range(2)]], rng)


def test_dot_and_attention():
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal((2, n, 4)).astype("f") for n in (5, 3))
    compare(lambda L: L.Dot(axes=(2, 2), normalize=True), [[a, b]], rng)
    compare(lambda L: L.Attention(use_scale=True), [[a, b]], rng)
    compare(lambda L: L.Attention(score_mode="concat"), [[a, b, b]], rng)
    compare(lambda L: L.AdditiveAttention(), [[a, b]], rng)
    compare(lambda L: L.MultiHeadAttention(2, 3), [a, b], rng)
    compare(lambda L: L.MultiHeadAttention(2, 3, value_dim=5, output_shape=6), [a, b], rng)
    compare(lambda L: L.MultiHeadAttention(2, 3, use_bias=False), [a, a], rng, use_causal_mask=True)
    compare(lambda L: L.MultiHeadAttention(2, 3), [a, b], rng, return_attention_scores=True)
    mask = np.tril(np.ones((2, 5, 3), bool))
    compare(lambda L: L.MultiHeadAttention(2, 3), [a, b], rng, attention_mask=mask)


def test_embeddings_and_encodings():
    rng = np.random.default_rng(5)
    indices = rng.integers(0, 9, (4, 6))
    compare(lambda L: L.Embedding(9, 5), [indices], rng)
    for mode in ("multi_hot", "count"):
        compare(lambda L, mode=mode: L.CategoryEncoding(9, output_mode=mode), [indices], rng)
    compare(lambda L: L.CategoryEncoding(9, output_mode="one_hot"), [indices[:, 0]], rng)


@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_masks_travel_from_an_embedding_to_what_uses_them(kind, side):
    rng = np.random.default_rng(11)
    x = rng.integers(1, 9, (4, 6))
    for row, n in enumerate((0, 2, 5, 3)):
        x[row, {"right": slice(6 - n, 6), "left": slice(0, n), "holes": slice(1, None, 2)}[side]] = 0

    def make(keras):
        inputs = keras.Input((6,), dtype="int32")
        h = keras.layers.Embedding(9, 5, mask_zero=True)(inputs)
        h = keras.layers.Bidirectional(getattr(keras.layers, kind)(4, return_sequences=True))(h)
        h = getattr(keras.layers, kind)(3, return_sequences=True)(h)
        last = getattr(keras.layers, kind)(3)(h)
        return keras.Model(inputs, [h, last, keras.layers.GlobalAveragePooling1D()(h)])

    mine, reference = make(ours), make(theirs)
    values = [rng.standard_normal(w.shape).astype("f") * 0.5 for w in reference.weights]
    mine.set_weights(values)
    reference.set_weights(values)
    for a, b in zip(mine(x), reference(x)):
        close(a, b, kind)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = np.random.default_rng(2).standard_normal((3, 6)).astype("f") * 3
    close(ours.activations.get(name)(ours.ops.array(x)), theirs.activations.get(name)(x), name)


def test_names_arguments_and_defaults_are_keras_s():
    """Layers have Keras's parameters; what is left out is refused where it is given, by name."""
    refused = {
        "renorm", "renorm_clipping", "renorm_momentum", "synchronized", "lora_rank", "lora_alpha", "use_gate",
        "quantization_config", "gptq_unpacked_column_size", "sliding_window", "flash_attention", "use_cudnn", "sparse",
        "pad_to_aspect_ratio", "fill_mode", "fill_value",
    }  # fmt: skip
    for name, layer in ours.layers.CLASSES.items():
        mine = inspect.signature(layer.__init__).parameters
        wanted = inspect.signature(getattr(theirs.layers, name).__init__).parameters
        assert set(wanted) - set(mine) <= refused, name
        for argument, parameter in wanted.items():
            if argument in mine and parameter.default is not parameter.empty and argument != "num_tokens":
                a, b = mine[argument].default, parameter.default
                b = b[0] if isinstance(b, tuple) and isinstance(a, int) and len(set(b)) == 1 else b
                assert a == b, f"{name}({argument})"


@pytest.mark.parametrize("name", ["GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform",
                                  "LecunNormal", "RandomNormal", "RandomUniform", "TruncatedNormal"])  # fmt: skip
def test_initializers_have_keras_s_spread(name):
    shape = (3, 3, 40, 50)
    mine, reference = (numbers(getattr(k.initializers, name)(seed=1)(shape)) for k in (ours, theirs))
    assert abs(mine.std() / reference.std() - 1) < 0.02 and abs(mine.mean()) < 0.02 * mine.std()
    assert abs(np.abs(mine).max() / np.abs(reference).max() - 1) < (0.2 if name == "RandomNormal" else 0.01)
