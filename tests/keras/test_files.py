"""Data sets of `keras.utils` out of folders and series, and images as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from policy import needs
from weft import keras

utils = keras.utils


def test_windows_of_a_series():
    data, targets = np.arange(20).reshape(10, 2), np.arange(10) * 5
    windows = utils.timeseries_dataset_from_array(data, targets, 3, sequence_stride=2, sampling_rate=2, batch_size=2)
    assert len(windows) == 2 and [len(x) for x, _ in windows] == [2, 1]
    x, y = windows[1]
    assert x[:, :, 0].tolist() == [[8, 12, 16]] and y.tolist() == [20]
    part = utils.timeseries_dataset_from_array(data, None, 4, start_index=2, end_index=8, shuffle=True, seed=1)
    assert sorted(part[0][:, 0, 0].tolist()) == [4, 6, 8]
    with pytest.raises(ValueError, match="expected batch_size and samples >= 1, got None, 8"):
        utils.timeseries_dataset_from_array(np.arange(10), None, 3, batch_size=None)
    with pytest.raises(ValueError, match="at least one window of 11 steps, 1 apart, in 10"):
        utils.timeseries_dataset_from_array(data, None, 11)
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    assert np.isfinite(model.fit(windows, verbose=0).history["loss"][0])


def test_texts_of_a_folder(tmp_path):
    for kind in ("neg", "pos"):
        (tmp_path / kind).mkdir()
        for i in range(5):
            (tmp_path / kind / f"{i}.txt").write_text(f"{kind} {i}")
    (tmp_path / "pos" / "note.md").write_text("no text of the set")
    whole = utils.text_dataset_from_directory(tmp_path, shuffle=False, batch_size=4)
    assert whole.class_names == ["neg", "pos"] and len(whole) == 3
    assert [(x.tolist(), y.tolist()) for x, y in whole][1] == (["neg 4", "pos 0", "pos 1", "pos 2"], [0, 1, 1, 1])
    parts = [
        utils.text_dataset_from_directory(tmp_path, seed=3, validation_split=0.3, subset=subset, batch_size=100)
        for subset in ("training", "validation")
    ]
    seen = [sorted(zip(*part[0])) for part in parts]
    assert [len(rows) for rows in seen] == [7, 3] and len(set(seen[0]) | set(seen[1])) == 10
    order = np.arange(10)
    np.random.RandomState(3).shuffle(order)  # Keras's way
    assert {x for x, _ in seen[1]} == {f"{'neg' if i < 5 else 'pos'} {i % 5}" for i in order[7:]}
    assert utils.text_dataset_from_directory(tmp_path, label_mode="binary")[0][1].shape == (10, 1)
    assert utils.text_dataset_from_directory(tmp_path, label_mode=None)[0].shape == (10,)
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        utils.text_dataset_from_directory(tmp_path / "none")
    with pytest.raises(ValueError, match="and a seed beside it"):
        utils.text_dataset_from_directory(tmp_path, validation_split=0.3, subset="training")


@needs("PIL")
def test_images_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    pictures = {}
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for i in range(3):
            pictures[kind, i] = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            utils.save_img(tmp_path / kind / f"{i}.png", pictures[kind, i], scale=False)
    read = utils.img_to_array(utils.load_img(tmp_path / "a" / "1.png"))
    assert np.array_equal(read, pictures["a", 1]) and read.dtype == np.float32
    assert utils.load_img(tmp_path / "a" / "1.png", "grayscale", (3, 4)).size == (4, 3)
    photos = utils.image_dataset_from_directory(tmp_path, image_size=(6, 8), batch_size=4, shuffle=False,
                                                label_mode="categorical")  # fmt: skip
    x, y = photos[0]
    assert np.array_equal(x[3], pictures["b", 0]) and y.tolist() == [[1, 0]] * 3 + [[0, 1]]
    grey = utils.array_to_img(np.linspace(0, 1, 20).reshape(4, 5, 1))
    assert grey.mode == "L" and utils.img_to_array(grey).max() == 255
    layers = [keras.Input((6, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "categorical_crossentropy")
    assert np.isfinite(model.fit(photos, verbose=0).history["loss"][0])


def test_batches_in_parts():
    for batch in ((1,), (1, 2), (1, 2, 3)):
        assert utils.unpack_x_y_sample_weight(utils.pack_x_y_sample_weight(*batch))[: len(batch)] == batch
    with pytest.raises(ValueError, match="got 4"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))
