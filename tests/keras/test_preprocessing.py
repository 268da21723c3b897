"""Layers of `weft.keras` that prepare images, texts and numbers; figures named as Keras's are what Keras 3.15 gave."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import weft
from policy import needs
from weft import keras
from weft.keras import layers as L
from weft.keras.fingerprints import farmhash

TEXTS = ["The cat, and the dog!", "a DOG", "É é\u00a0cat  x"]


def images(*shape):
    return np.random.default_rng(5).random(shape).astype("f")


# ---- images


def test_a_quarter_turn_a_shift_and_a_zoom_of_whole_pixels():
    x = images(2, 6, 6, 3)
    turned = L.RandomRotation((0.25, 0.25), fill_mode="nearest")(x, training=True).numpy()
    np.testing.assert_allclose(turned, np.rot90(x, axes=(1, 2)), atol=2e-6)
    down = L.RandomTranslation((1 / 3, 1 / 3), 0.0, fill_mode="constant", fill_value=7.0)(x, training=True).numpy()
    np.testing.assert_allclose(down[:, 2:], x[:, :4], atol=2e-6)
    assert (np.abs(down[:, :2] - 7) < 2e-6).all()
    for mode, pad in {"reflect": "symmetric", "wrap": "wrap", "nearest": "edge"}.items():
        right = L.RandomTranslation(0.0, (0.5, 0.5), fill_mode=mode)(x, training=True).numpy()
        expected = np.pad(x, ((0, 0), (0, 0), (3, 0), (0, 0)), mode=pad)[:, :, :6]
        np.testing.assert_allclose(right, expected, atol=2e-6, err_msg=mode)
    y = images(7, 7, 1)  # twice as near: every second row and column of the result is one of the image
    near = L.RandomZoom((-0.5, -0.5))(y, training=True).numpy()
    np.testing.assert_allclose(near[1::2, 1::2], y[2:5, 2:5], atol=2e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_images_in_16_bits_are_taken_at_the_same_places(dtype):
    x = images(1, 3, 500, 1)
    layers = (L.RandomRotation((0.5, 0.5), dtype=d) for d in (dtype, "float32"))
    narrow, wide = (layer(x, training=True) for layer in layers)
    assert narrow.dtype.name == dtype
    np.testing.assert_allclose(narrow.numpy().astype("f"), wide.numpy(), atol=2**-8)


@pytest.mark.parametrize("layer", [
    L.RandomRotation(0.2), L.RandomZoom(0.3), L.RandomZoom(0.3, 0.2), L.RandomTranslation(0.3, 0.2),
    L.RandomShear(0.3, 0.2), L.RandomFlip(), L.RandomBrightness(0.3, (0, 1)), L.RandomContrast(0.3, (0, 1)),
], ids=lambda layer: layer.name)  # fmt: skip
def test_each_image_has_its_own_accident_in_training_alone_and_a_seed_repeats_it(layer):
    keras.utils.set_random_seed(3)
    x = np.repeat(images(1, 8, 6, 2), 8, axis=0)
    assert np.array_equal(layer(x).numpy(), x)
    out = layer(x, training=True).numpy()
    assert out.shape == x.shape and out.dtype == np.float32
    assert len({image.tobytes() for image in out}) > 1
    a, b = (type(layer).from_config({**layer.get_config(), "seed": 4})(x, training=True).numpy() for _ in range(2))
    assert np.array_equal(a, b)


def test_crops():
    x = images(2, 8, 9, 1)
    keras.utils.set_random_seed(0)
    layer = L.RandomCrop(4, 5)
    windows = {x[:, i : i + 4, j : j + 5].tobytes(): (i, j) for i in range(5) for j in range(5)}
    places = {windows[layer(x, training=True).numpy().tobytes()] for _ in range(200)}
    assert places == set(windows.values())  # each is reached, and all images of a batch are cut alike
    assert np.array_equal(L.RandomCrop(8, 4)(x).numpy(), x[:, :, 2:6])
    assert L.RandomCrop(16, 18)(x, training=True).shape == (2, 16, 18, 1)
    assert keras.Sequential([keras.Input((8, 9, 1)), layer]).predict(x, verbose=0).shape == (2, 4, 5, 1)


def test_contrast_has_keras_s_range_of_a_pair():
    x = images(2, 4, 4, 1)
    out = L.RandomContrast((0.1, 0.4), (-9, 9))(np.repeat(x[:1], 64, axis=0), training=True).numpy()
    factor = out.std(axis=(1, 2, 3)) / x[0].std()
    assert 0.899 < factor.min() < 0.95 and 1.35 < factor.max() < 1.401


# ---- texts


def test_text_vectorization_learns_keras_s_vocabulary():
    layer = L.TextVectorization()
    layer.adapt(TEXTS)
    known = ["", "[UNK]", "the", "dog", "é\u00a0cat", "É", "x", "cat", "and", "a"]
    assert layer.get_vocabulary() == known
    assert layer(np.array([["dog zebra"], ["x, THE cat"]])).tolist() == [[3, 1, 0], [6, 2, 7]]
    assert layer("a dog").tolist() == [9, 3] and layer.vocabulary_size() == 10
    short = L.TextVectorization(output_sequence_length=2, max_tokens=4)
    short.adapt(iter([TEXTS[:1], TEXTS[1:]]))
    assert short.get_vocabulary() == ["", "[UNK]", "the", "dog"] and short(TEXTS).tolist() == [[2, 1], [1, 3], [1, 1]]


def test_text_vectorization_as_vectors():
    layer = L.TextVectorization(output_mode="tf_idf", ngrams=2)
    layer.adapt(["a b c", "a b", "Z!"])
    assert layer.get_vocabulary() == ["[UNK]", "b", "a b", "a", "z", "c", "b c"]
    expected = [2.414157, 0.6931472, 0.6931472, 0.6931472, 0.91629076, 0, 0]  # Keras's
    np.testing.assert_allclose(layer(["a b z q", ""]).numpy(), [expected, [0] * 7], rtol=1e-6)
    wide = L.TextVectorization(output_mode="count", vocabulary=["a", "b"], max_tokens=5, pad_to_max_tokens=True)
    assert wide(["a q a", "b"]).tolist() == [[1, 2, 0, 0, 0], [0, 0, 1, 0, 0]]
    hot = L.TextVectorization(output_mode="multi_hot", vocabulary=["a", "b"], split="character", standardize="lower")
    assert hot(["Aa", "b?"]).tolist() == [[0, 1, 0], [1, 0, 1]]
    own = L.TextVectorization(
        vocabulary=["x-y", "z"], standardize=np.char.strip, split=lambda texts: [t.split("/") for t in texts.tolist()]
    )
    assert own([" x-y/z", "z/q/z "]).tolist() == [[2, 3, 0], [3, 1, 3]]


def test_a_vocabulary_moves_with_its_layer(tmp_path):
    layer = L.TextVectorization(output_mode="tf_idf", max_tokens=6, pad_to_max_tokens=True)
    layer.adapt(["a b c", "a b"])
    twin = L.deserialize(L.serialize(layer))
    assert twin.get_vocabulary() == layer.get_vocabulary()
    assert np.array_equal(twin(["a q"]).numpy(), layer(["a q"]).numpy())
    with pytest.raises(ValueError, match="no vocabulary before adapt"):
        twin.adapt(["d"])
    (tmp_path / "words.txt").write_text("b\na\n")
    assert L.StringLookup(vocabulary=str(tmp_path / "words.txt"))(["a", "b"]).tolist() == [2, 1]
    with pytest.raises(ValueError, match="vocabulary in the configuration"):
        L.deserialize({**L.serialize(layer), "config": {"vocabulary": str(tmp_path / "words.txt")}})


def test_a_model_that_takes_texts_is_trained_saved_and_refuses_numbers(tmp_path):
    keras.utils.set_random_seed(1)
    x = np.array(["a good film", "bad film", "good good", "awful bad bad"] * 4, object)
    y = np.array([1, 0, 1, 0] * 4)
    words = L.TextVectorization(output_sequence_length=4)
    words.adapt(x)
    model = keras.Sequential([
        keras.Input((1,), dtype="string"), words, L.Embedding(words.vocabulary_size(), 4, mask_zero=True),
        L.GlobalAveragePooling1D(), L.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    figures = model.fit(x, y, epochs=5, batch_size=4, validation_split=0.25, verbose=0).history
    assert figures["accuracy"][-1] == figures["val_accuracy"][-1] == 1.0  # so texts and labels are shuffled as one
    found = model.predict(np.array(["good", "bad"]), verbose=0)
    assert found[0] > 0.5 > found[1]
    model.save(tmp_path / "m.safetensors")
    assert np.array_equal(
        keras.models.load_model(tmp_path / "m.safetensors").predict(np.array(["good", "bad"]), verbose=0), found
    )
    inputs = {"city": keras.Input((1,), dtype="string"), "size": keras.Input((2,))}
    places = L.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")(inputs["city"])
    both = keras.Model(inputs, L.Concatenate()([places, inputs["size"]]))
    out = both.predict({"city": np.array(["y", "q"]), "size": np.ones((2, 2))}, verbose=0)
    assert out.tolist() == [[0, 0, 1, 1, 1], [1, 0, 0, 1, 1]]
    with pytest.raises(TypeError, match=r"expected texts, got float32 of shape \(2, 1\)"):
        model.predict(np.ones((2, 1)), verbose=0)
    with pytest.raises(TypeError, match="dense.*: expected numbers, got texts of shape"):
        L.Dense(2)(np.array([["a"]]))


def test_lookups_have_keras_s_places():
    for mode, expected in {
        "int": [1, 0, 2], "one_hot": [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]], "multi_hot": [1, 1, 1, 0],
        "count": [1, 1, 1, 0], "tf_idf": [1.0148408, 0.84729785, 1.0986123, 0.0],
    }.items():  # fmt: skip
        layer = L.StringLookup(output_mode=mode)
        layer.adapt(["b", "a", "a", "c"])
        assert layer.get_vocabulary() == ["[UNK]", "a", "c", "b"]
        found = layer(["a", "z", "c"])
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
        assert found.dtype == ("float32" if mode == "tf_idf" else "int64")
    numbers = L.IntegerLookup(vocabulary=[5, 7], num_oov_indices=3, mask_token=0)
    assert numbers([5, 7, 0, 8, -3]).tolist() == [4, 5, 0, 3, 1]
    masked = L.IntegerLookup(vocabulary=[5, 7], output_mode="count", mask_token=0, max_tokens=5, pad_to_max_tokens=True)
    assert masked([[5, 7, 7], [0, 8, 0]]).tolist() == [[0, 1, 2, 0, 0], [1, 0, 0, 0, 0]]
    back = L.StringLookup(vocabulary=["a", "b"], invert=True, mask_token="M")
    assert back(np.array([[0, 1], [2, 9]])).tolist() == [["M", "[UNK]"], ["a", "[UNK]"]]
    tokens = keras.Input((2,), dtype="int64")
    named = keras.Model(tokens, L.StringLookup(vocabulary=["a", "b"], invert=True)(tokens))
    assert named.predict(np.array([[2, 0], [1, 1]]), verbose=0).tolist() == [["b", "[UNK]"], ["a", "a"]]
    assert L.IntegerLookup(vocabulary=[5, 7], invert=True)([0, 2, 1]).tolist() == [-1, 7, 5]
    assert L.StringLookup(vocabulary=["a"], num_oov_indices=4)(["q", "w", "e", "r"]).tolist() == [
        farmhash(t) % 4 for t in (b"q", b"w", b"e", b"r")]  # fmt: skip


def test_hashes_are_keras_s():
    lengths = (1, 5, 9, 20, 50, 70, 150)
    assert [hex(farmhash(bytes(range(n)))) for n in lengths] == [
        "0xbe6056edf5e94b54", "0xb4bfa9e87732c149", "0x81371e150e4ad84f", "0x8dd7e7f1bf16a0e9", "0xab2b921ff69cc9f4",
        "0xe01b109ec7dde8af", "0xc44a300e5947c6d0",
    ]  # fmt: skip
    letters = [["A"], ["B"], ["C"]]
    assert L.Hashing(5)(letters).tolist() == [[4], [3], [2]]
    assert L.Hashing(5, mask_value="")([["A"], [""], ["C"]]).tolist() == [[1], [0], [4]]
    assert L.Hashing(5)([3.7, -2, 1]).tolist() == [1, 0, 4]
    assert L.Hashing(7, output_mode="count")([[1, 2], [1, 1]]).tolist() == [[0, 0, 0, 0, 0, 2, 0]] * 2
    assert L.Hashing(3, salt=133)([[0], [1], [2], [3], [4]]).shape == (5, 1)


def test_ranges_and_counts():
    layer = L.Discretization(num_bins=4)
    x = np.random.default_rng(0).normal(size=(1000, 2)).astype("f")
    layer.adapt(x)
    np.testing.assert_allclose(layer.bin_boundaries, [-0.7007959, -0.03446555, 0.6587347], rtol=1e-6)  # Keras's
    assert np.array_equal(layer(x).numpy(), np.digitize(x, layer.bin_boundaries))
    twin = L.deserialize(L.serialize(layer))
    assert np.array_equal(twin(x).numpy(), layer(x).numpy())
    assert L.Discretization([0.0, 1.0], output_mode="count")([[-1.0, 0.5, 0.0]]).tolist() == [[1.0, 2.0, 0.0]]
    weights = np.array([[0.5, 0.5], [2.0, 3.0]])
    counted = L.CategoryEncoding(4, output_mode="count")(np.array([[1, 2], [0, 1]]), count_weights=weights)
    assert counted.tolist() == [[0, 0.5, 0.5, 0], [2, 3, 0, 0]]


@pytest.mark.parametrize("act, error, text", [
    (lambda: L.RandomZoom(-1.0), ValueError, r"height_factor, or a pair of them, within \(-1, 1\], got -1"),
    (lambda: L.RandomRotation(0.1, fill_mode="edge"), ValueError, "expected fill_mode out of reflect"),
    (lambda: L.RandomContrast(-0.1), ValueError, r"within \[0, 1\]"),
    (lambda: L.RandomCrop(2, 2)(np.ones((3, 4), "f")), ValueError, r"expected images .*got \(3, 4\)"),
    (lambda: L.TextVectorization()(["a"]), ValueError, r"expected a vocabulary, got none; call adapt\(data\)"),
    (lambda: L.TextVectorization(vocabulary=["a"])([1, 2]), TypeError, r"expected texts, got int64 of shape \(2,\)"),
    (lambda: L.TextVectorization(split="word"), ValueError, "expected split whitespace"),
    (lambda: L.StringLookup(vocabulary=["a", "a"]), ValueError, r"each token once.*got again \['a'\]"),
    (lambda: L.StringLookup(vocabulary=["a"], num_oov_indices=0)(["q"]), ValueError, r"tokens of the vocabulary.*'q'"),
    (lambda: L.StringLookup(vocabulary=["a", "b"], max_tokens=2), ValueError, "at most max_tokens=2 places, got 3"),
    (lambda: L.IntegerLookup(vocabulary=[5])(["5"]), TypeError, r"expected whole numbers, got texts of shape \(1,\)"),
    (lambda: L.StringLookup(vocabulary=["a"], output_mode="tf_idf"), ValueError, "expected idf_weights"),
    (lambda: L.CategoryEncoding(3)(np.array([[0, 3]])), IndexError, r"in \[0, 3\), got 0 to 3"),
    (lambda: L.Discretization(num_bins=3)([[1.0]]), ValueError, "expected boundaries, got none"),
    (lambda: L.Discretization([1.0, 0.0]), ValueError, r"bin_boundaries in rising order, got \[1.0, 0.0\]"),
    (lambda: L.Discretization(num_bins=3).adapt(np.zeros((0, 2))), ValueError, "take boundaries from, got none"),
    (lambda: L.Hashing(3)([[None]]), TypeError, "expected texts or numbers, got NoneType"),
])  # fmt: skip
def test_mistakes_are_refused_with_what_was_expected(act, error, text):
    with pytest.raises(error, match=text):
        act()


@pytest.mark.slow
@needs("emulator")
def test_what_comes_from_numpy_goes_to_where_the_weights_are():
    weft.set_default_device("emulated")
    try:
        x = images(2, 5, 5, 1)
        assert L.Dense(2)(x).device == L.StringLookup(vocabulary=["a"])(["a"]).device == "emulated"
        for layer in (L.RandomRotation(0.2), L.RandomCrop(3, 3), L.RandomContrast(0.2), L.Discretization([0.5])):
            assert layer(x, **({"training": True} if "training" in layer.takes() else {})).device == "emulated"
        model = keras.Sequential([L.Dense(3, activation="softmax")])  # built at the first batch
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit([(x[:, 0, :, 0], np.array([0, 1]))], verbose=0)
        assert model.weights[0].device == "emulated" and model(x[:, 0, :, 0]).device == "emulated"
    finally:
        weft.set_default_device(None)


def test_a_long_text_among_short_ones_takes_no_room_of_its_own():
    texts = ["a b"] * 2000 + ["c " * 30_000 + "d" * 30_000]  # as NumPy's texts these would be 480 MB
    layer = L.TextVectorization(output_sequence_length=2)
    tracemalloc.start()
    layer.adapt(texts)
    out = layer(np.array(texts, object))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.shape == (2001, 2) and peak < 50e6
