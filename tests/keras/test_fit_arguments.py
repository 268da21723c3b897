"""What arguments of `fit` and callbacks mean together, as in Keras: epochs without validation, weights, directions."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from weft import keras
from weft.keras.batches import split

CALLBACKS = keras.callbacks


@pytest.fixture
def data():
    rng = np.random.default_rng(7)
    return rng.standard_normal((40, 5)).astype("f"), rng.integers(0, 2, (40, 1)).astype("f")


def compiled(metrics=("accuracy",), rate=0.05, loss="binary_crossentropy"):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(rate), loss, metrics=list(metrics))
    return model


@pytest.mark.parametrize("when", [2, [2, 4]], ids=["every second", "listed"])
def test_callbacks_wait_for_the_epochs_that_are_validated(data, tmp_path, when):
    model = compiled()
    kept = tmp_path / "{epoch}-{val_loss:.2f}.safetensors"
    history = model.fit(*data, epochs=4, validation_split=0.25, validation_freq=when, verbose=0, callbacks=[
        CALLBACKS.EarlyStopping(patience=3, restore_best_weights=True), CALLBACKS.CSVLogger(tmp_path / "log.csv"),
        CALLBACKS.ModelCheckpoint(kept, save_best_only=True, verbose=1), CALLBACKS.ReduceLROnPlateau(),
    ]).history  # fmt: skip
    assert [len(history[name]) for name in ("loss", "val_loss", "learning_rate")] == [4, 2, 4]
    assert {path.name[0] for path in tmp_path.glob("*.safetensors")} <= {"2", "4"}
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["val_loss"] for row in rows[::2]] == ["NA", "NA"]
    assert [float(row["val_loss"]) for row in rows[1::2]] == history["val_loss"]


def test_a_wrong_monitor_is_an_error_in_the_first_epoch_with_validation(data):
    with pytest.raises(KeyError, match="got 'val_acc'"):
        compiled().fit(*data, epochs=4, validation_split=0.25, validation_freq=2, verbose=0,
                       callbacks=[CALLBACKS.EarlyStopping("val_acc")])  # fmt: skip
    with pytest.raises(KeyError, match="got 'val_loss'"):
        compiled().fit(*data, validation_split=0.25, verbose=0, callbacks=[
            CALLBACKS.ModelCheckpoint("never.safetensors", save_best_only=True, save_freq=1)])  # fmt: skip
    with pytest.raises(ValueError, match="validation_freq >= 1"):
        compiled().fit(*data, validation_split=0.25, validation_freq=0, verbose=0)


def test_an_epoch_that_a_callback_ends_is_validated(data):
    model = compiled()
    stop = CALLBACKS.LambdaCallback(on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True))
    history = model.fit(*data, epochs=4, validation_data=data, verbose=0, callbacks=[stop, CALLBACKS.EarlyStopping()])
    assert len(history.history["val_loss"]) == 1


def test_the_rate_in_the_history_is_the_one_that_the_epoch_had(data):
    plateau = CALLBACKS.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    history = compiled(rate=0.5).fit(*data, epochs=4, verbose=0, callbacks=[plateau]).history
    assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]


def up(metric, monitor):
    callback = CALLBACKS.EarlyStopping(monitor)
    model = compiled([metric])
    x = np.ones((4, 5), "f")
    model.fit(x, np.array([[0.0], [1.0], [0.0], [1.0]], "f"), verbose=0)
    callback.set_model(model)
    return callback.up


def test_metrics_know_whether_more_is_better():
    metrics = keras.metrics
    assert up("accuracy", "val_loss") is False
    for metric in (
        "accuracy", "auc", "precision", "recall", "cosine_similarity", "r2_score", metrics.BinaryAccuracy(),
        metrics.MeanIoU(2), metrics.F1Score(threshold=0.5), metrics.Precision(name="hits"),
    ):  # fmt: skip
        name = metric if isinstance(metric, str) else metric.name
        assert up(metric, f"val_{name}") is True, name
    for metric in ("mse", "mae", "root_mean_squared_error", metrics.BinaryCrossentropy(name="accumulated")):
        name = metric if isinstance(metric, str) else metric.name
        assert up(metric, f"val_{name}") is False, name


def test_a_metric_of_ones_own_wants_a_direction(data):
    def score(y_true, y_pred):
        return y_pred[..., 0]

    with pytest.raises(ValueError, match="expected mode 'min' or 'max' with monitor='score'"):
        compiled([score]).fit(*data, verbose=0, callbacks=[CALLBACKS.EarlyStopping("score")])
    compiled([score]).fit(*data, verbose=0, callbacks=[CALLBACKS.EarlyStopping("score", mode="max")])


def test_batches_with_weights_do_not_lose_the_class_weights(data):
    x, y = data
    batches = [(x, y, np.ones(40, "f"))]
    with pytest.raises(ValueError, match="expected class_weight or weights in the batches, got both"):
        compiled().fit(batches, class_weight={0: 5.0}, verbose=0)


@pytest.mark.parametrize("n, share", [(30, 0.9), (100, 0.3), (37, 0.3), (10, 0.4)])
def test_validation_takes_the_last_samples_that_keras_takes(n, share):
    (x, _, _), (held, _, _) = split(np.arange(n), None, None, share)
    assert len(x) == math.floor(n * (1.0 - share))
    assert np.array_equal(np.concatenate([x, held]), np.arange(n))


def test_a_batch_alone_has_figures_of_its_own(data):
    x, y = data
    model = compiled(rate=0.0)
    first, second = (model.test_on_batch(x[part], y[part]) for part in (slice(0, 8), slice(8, 40)))
    assert model.evaluate(x[:8], y[:8], verbose=0) == pytest.approx(first)
    assert model.train_on_batch(x[8:], y[8:]) == pytest.approx(second)
