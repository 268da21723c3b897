"""Models of `weft.keras`: building, training, callbacks, files and what they refuse; without Keras."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import weft
from policy import needs
from weft import keras
from weft.io import CheckpointError
from weft.keras import layers as L
from weft.train import NonFiniteError


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)


def digits_like(n=96, classes=3):
    """Points around `classes` corners of a cube, with their labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, n)
    return np.eye(5)[y] * 2 + rng.standard_normal((n, 5)) * 0.3, y  # float64, as NumPy makes it


def dense(*sizes, **options):
    hidden = [L.Dense(n, activation="relu") for n in sizes[1:-1]]
    return keras.Sequential([keras.Input((sizes[0],)), *hidden, L.Dense(sizes[-1], **options)])


def compiled(optimizer="adam", **options):
    model = dense(5, 8, 3, activation="softmax")
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def test_the_hello_world_has_its_109386_parameters_and_keras_s_table(capsys):
    flatten = L.Flatten(input_shape=(28, 28))
    layers = [flatten, *(L.Dense(n, activation="relu") for n in (128, 64)), L.Dense(10, activation="softmax")]
    model = keras.models.Sequential(layers)
    model.summary()
    text = capsys.readouterr().out
    assert 'Model: "sequential"' in text and "Total params: 109,386 (427.29 KB)" in text
    assert "│ flatten (Flatten)               │ (None, 784)            │             0 │" in text
    assert [w.path for w in model.weights][:2] == ["sequential/dense/kernel", "sequential/dense/bias"]
    assert [w.shape for w in model.weights] == [(784, 128), (128,), (128, 64), (64,), (64, 10), (10,)]


def test_fit_learns_and_its_history_has_keras_s_names():
    x, y = digits_like()
    model = compiled(keras.optimizers.Adam(0.02))
    history = model.fit(x, y, epochs=12, batch_size=16, validation_split=0.25, verbose=0)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == list(range(12))
    assert all(len(values) == 12 for values in history.history.values())
    assert history.history["val_accuracy"][-1] > 0.95
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.95
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert model.metrics_names == ["loss", "accuracy"] and accuracy > 0.95 and loss < 0.3
    predictions = model.predict(x, verbose=0)
    assert predictions.shape == (96, 3) and (predictions.argmax(1) == y).mean() == pytest.approx(accuracy)


def test_a_seed_gives_the_same_run_again():
    x, y = digits_like()
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        runs.append(compiled().fit(x, y, epochs=2, verbose=0).history["loss"])
    assert runs[0] == runs[1]


def test_an_epoch_is_what_its_steps_by_hand_are():
    """`fit` without shuffling against forward, loss, backward and `weft.optim.SGD` on the same batches."""
    x, y = digits_like(32)
    model = compiled(keras.optimizers.SGD(0.1))
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    optimizer = weft.optim.SGD(twin.parameters(), lr=0.1)
    for i in range(0, 32, 8):
        p = twin(weft.asarray(x[i : i + 8].astype("f")))
        loss = -weft.log(p[np.arange(8), y[i : i + 8]]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for a, b in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def test_weights_of_classes_and_samples_scale_the_loss():
    x, y = digits_like(24)
    model = compiled()
    model.fit(x, y, verbose=0)
    plain = keras.losses.sparse_categorical_crossentropy(y, model.predict(x, verbose=0)).numpy()
    weights = np.array([1.0, 0.0, 3.0])[y]
    wanted = pytest.approx((plain * weights).mean(), rel=1e-4)
    assert model.evaluate(x, y, sample_weight=weights, verbose=0)[0] == wanted
    frozen = keras.optimizers.SGD(0.0)
    model.compile(frozen, "sparse_categorical_crossentropy")
    by_class = model.fit(x, y, class_weight={0: 1.0, 1: 0.0, 2: 3.0}, batch_size=24, verbose=0).history["loss"][0]
    assert by_class == wanted
    with pytest.raises(ValueError, match="class_weight or sample_weight, got both"):
        model.fit(x, y, class_weight={0: 1.0}, sample_weight=weights, verbose=0)


def test_regularizers_and_constraints_act_in_training():
    x, y = digits_like()
    layer = L.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), kernel_constraint="non_neg")
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    penalty = 0.1 * (layer.kernel.numpy() ** 2).sum()
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, model.predict(x, verbose=0)).item()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(plain + penalty, rel=1e-5)
    model.fit(x, y, verbose=0)
    assert layer.kernel.numpy().min() >= 0


def test_frozen_layers_keep_their_weights_and_batch_statistics():
    model = keras.Sequential([keras.Input((5,)), L.Dense(4), L.BatchNormalization(), L.Dense(3, activation="softmax")])
    for layer in model.layers[:2]:
        layer.trainable = False
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 6
    before = model.get_weights()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*digits_like(), verbose=0)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights())]
    assert same == [True] * 6 + [False] * 2


def test_subclassed_models_and_layers():
    class Scaled(keras.layers.Layer):
        def __init__(self, power=1, **kwargs):
            super().__init__(**kwargs)
            self.power = power

        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

        def call(self, inputs):
            return inputs * self.scale**self.power

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Scaled(2), L.Dense(4, activation="relu")]
            self.drop, self.out = L.Dropout(0.5), L.Dense(3, activation="softmax")

        def call(self, inputs, training=False):
            for block in self.blocks:
                inputs = block(inputs)
            return self.out(self.drop(inputs, training=training))

    x, y = digits_like()
    model = Net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, verbose=0)
    assert [w.path for w in model.weights][:2] == ["net/scaled/scale", "net/dense/kernel"]
    assert len(model.weights) == 5 and model.count_params() == 5 + 24 + 15
    assert np.array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))  # no dropout
    assert Scaled.from_config(Scaled(power=3).get_config()).power == 3
    assert Scaled().compute_output_shape((None, 7)) == (None, 7)


def test_functional_models_share_layers_nest_and_show_what_is_inside():
    inner = keras.Sequential([keras.Input((5,)), L.Dense(4, name="first"), L.Dense(2)], name="inner")
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    out = L.Dense(1)(L.Concatenate()([inner(a), inner(b)])) * 2 + 1
    model = keras.Model(inputs={"a": a, "b": b}, outputs=out)
    assert model.count_params() == inner.count_params() + 5
    x = np.ones((3, 5), "f")
    assert model({"a": x, "b": x}).shape == (3, 1) and model.output_shape == (None, 1)
    middle = keras.Model(inner.inputs, inner.get_layer("first").output)
    assert middle(x).shape == (3, 4)
    with pytest.raises(ValueError, match="expected one of first, dense"):
        inner.get_layer("second")
    with pytest.raises(ValueError, match="expected all inputs that the outputs depend on"):
        keras.Model(a, out)


def test_files_give_the_model_back_and_training_goes_on(tmp_path):
    x, y = digits_like()
    model = compiled(keras.optimizers.Adam(0.01))
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    model.save(tmp_path / "m.safetensors")
    again = keras.models.load_model(tmp_path / "m.safetensors")
    assert np.array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    for one in (model, again):
        one.fit(x, y, verbose=0, shuffle=False)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights()))
    model.save_weights(tmp_path / "w.safetensors")
    other = dense(5, 8, 3, activation="softmax")
    other.load_weights(tmp_path / "w.safetensors")  # other names of the model, the same places in it
    assert np.array_equal(other.get_weights()[0], model.get_weights()[0])
    wrong = dense(5, 9, 3)
    before = wrong.get_weights()
    with pytest.raises(ValueError, match=r"kernel: expected \(5, 9\), got \(5, 8\)"):
        wrong.load_weights(tmp_path / "w.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(before, wrong.get_weights()))


def test_files_of_keras_and_damaged_ones_are_refused_with_the_way_out(tmp_path):
    model = compiled()
    for name in ("m.keras", "m.h5", "m.weights.h5"):
        with pytest.raises(ValueError, match="set_weights"):
            model.save(tmp_path / name)
        with pytest.raises(ValueError, match="set_weights"):
            keras.models.load_model(tmp_path / name)
    path = tmp_path / "m.safetensors"
    model.save(path)
    text = path.read_bytes()
    path.write_bytes(text[:-7])
    with pytest.raises(CheckpointError):
        keras.models.load_model(path)
    with pytest.raises(FileExistsError):
        model.save(path, overwrite=False)
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["class_name"] = "os.system"
    with pytest.raises(ValueError, match="expected a class out of"):
        keras.models.model_from_json(json.dumps(config))


def test_stopping_early_with_the_best_weights():
    x, y = digits_like()
    model = compiled(keras.optimizers.SGD(0.05))
    kept = {}
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.update({epoch: model.get_weights()}))

    def schedule(epoch):  # what was learned is lost again
        return 0.05 if epoch < 2 else 30.0

    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
    rate = keras.callbacks.LearningRateScheduler(schedule)
    history = model.fit(x, y, epochs=20, verbose=0, callbacks=[rate, note, stop]).history
    best = int(np.argmin(history["loss"]))
    assert len(history["loss"]) == best + 3 and stop.stopped_epoch == best + 2
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[best]))
    assert history["learning_rate"][:3] == [0.05, 0.05, 30.0]


def test_callbacks_that_write(tmp_path):
    x, y = digits_like()
    model = compiled()
    calls = []
    model.fit(x, y, epochs=3, validation_data=(x, y), verbose=0, callbacks=[
        keras.callbacks.ModelCheckpoint(tmp_path / "e{epoch:02d}-{val_loss:.2f}.safetensors", save_weights_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True, monitor="val_accuracy"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"), keras.callbacks.TensorBoard(tmp_path / "tb"),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: calls.append(batch)),
    ])  # fmt: skip
    assert calls == [0, 1, 2] * 3
    assert len(list(tmp_path.glob("e0*.safetensors"))) == 3 and (tmp_path / "best.safetensors").exists()
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"] and float(rows[2]["val_loss"]) > 0
    assert list(rows[0]) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert len(list((tmp_path / "tb").rglob("events.out.*"))) == 2


def test_the_rate_falls_on_a_plateau():
    model = compiled(keras.optimizers.SGD(0.0))
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2, min_lr=0.0)
    model.optimizer.learning_rate = 1e-9
    model.fit(*digits_like(), epochs=6, verbose=0, callbacks=[plateau], batch_size=96)
    assert model.optimizer.learning_rate == pytest.approx(1e-9 / 4)
    with pytest.raises(KeyError, match="without validation data"):
        model.fit(*digits_like(), verbose=0, callbacks=[keras.callbacks.EarlyStopping()])


def test_a_loss_that_is_not_finite_stops_before_the_step():
    x, y = digits_like()
    x[3, 2] = np.inf
    model = compiled()
    before = model.get_weights()
    with pytest.raises(NonFiniteError, match="step 1: the loss is nan"), np.errstate(invalid="ignore"):
        model.fit(x, y, batch_size=96, verbose=0)
    with np.errstate(invalid="ignore"):
        model.fit(x, y, batch_size=96, epochs=3, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert model.stop_training and all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_data_in_other_forms():
    x, y = digits_like(40)
    model = compiled()

    class Halves(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return x[20 * i : 20 * i + 20], y[20 * i : 20 * i + 20]

    loader = weft.data.DataLoader(weft.data.ArrayDataset(x.astype("f"), y), 10)
    counts = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: counts.append(batch))
    for source, options in ((Halves(), {}), (loader, {}), ([(x, y), (x, y, np.ones(40))], {})):
        model.fit(source, verbose=0, callbacks=[count], **options)
    assert counts == [0, 1, 0, 1, 2, 3, 0, 1]
    counts.clear()
    model.fit(x, y, batch_size=8, steps_per_epoch=3, epochs=4, verbose=0, callbacks=[count])
    assert counts == [0, 1, 2] * 4
    assert model.train_on_batch(x, y, return_dict=True).keys() == {"loss", "accuracy"}
    assert model.predict_on_batch(x).shape == (40, 3) and len(model.test_on_batch(x, y)) == 2


@pytest.mark.parametrize("act, error, text", [
    (lambda: L.Dense(3, activation="rellu"), ValueError, r"expected one of celu, elu.*got 'rellu' \(nearest: relu\)"),
    (lambda: compiled(optimizer="adamm"), ValueError, "optimizer: expected one of adadelta"),
    (lambda: dense(5, 3).compile("adam", "mean_sqared"), ValueError, "nearest: mean_squared_error"),
    (lambda: L.Conv4D, AttributeError, "Conv2D"),
    (lambda: L.Dense(3, dtype="float31"), TypeError, "dtype: expected one of numbers.*got 'float31'"),
    (lambda: L.Dense(3, units_=4), TypeError, "got also units_"),
    (lambda: dense(5, 3).fit(np.ones((4, 5)), np.ones(4)), ValueError, "expected a compiled model"),
    (lambda: compiled().fit(np.ones((4, 5)), np.ones(3)), ValueError, r"got \(4, 5\), \(3,\)"),
    (lambda: compiled().fit(np.ones((4, 5)), np.eye(3)[[0, 1, 2, 0]]), ValueError, "one-hot labels want categorical"),
    (lambda: compiled().fit(np.ones((4, 5)), np.full(4, 3), verbose=0), (ValueError, IndexError), "3"),
    (lambda: compiled().fit(np.ones((4, 6)), np.ones(4), verbose=0), ValueError, r"\(N, 5\), got \(4, 6\)"),
    (lambda: keras.Sequential([L.Dense(3, name="a"), L.Dense(3, name="a")]), ValueError, "different names"),
    (lambda: keras.Sequential([keras.Input((4, 4, 3)), L.Dense(2), L.Conv2D(2, 3)])(np.ones((1, 3, 4, 4))), ValueError,
     r"images are \(N, H, W, C\) here"),
    (lambda: keras.Sequential([keras.Input((8, 8)), L.Conv2D(2, 3)]), ValueError, r"'conv2d': .*x\[..., None\]"),
    (lambda: L.Dense(3)(keras.Input((None,))), ValueError, "known number of features"),
    (lambda: L.LSTM(3)(np.ones((4, 5), "f")), ValueError, r"LSTM 'lstm': expected input \(N, T, features\)"),
    (lambda: L.Add()([np.ones((2, 3), "f"), np.ones((2, 4), "f")]), ValueError, r"\[\(2, 3\), \(2, 4\)\]"),
    (lambda: L.Embedding(5, 2)(np.array([[5]])), IndexError, "5"),
    (lambda: keras.optimizers.Adam(use_ema=True), ValueError, "no use_ema"),
    (lambda: dense(5, 3).set_weights([np.ones((3, 5))]), ValueError, r"2 weights, got 1: .*: expected shape \(5, 3\)"),
    (lambda: keras.callbacks.ModelCheckpoint("m.keras"), ValueError, "expected a .safetensors file"),
    (lambda: keras.losses.MeanSquaredError()(np.ones((4, 1)), np.ones((4, 2))), ValueError, r"\(4, 2\), got \(4, 1\)"),
    (lambda: keras.losses.SparseCategoricalCrossentropy()([0, -100], np.ones((2, 3), "f")), IndexError, "got -100"),
    (lambda: keras.losses.CategoricalGeneralizedCrossEntropy()([[0]], np.ones((2, 3), "f")), ValueError,
     r"labels \(2,\) for predictions \(2, 3\), got \(1,\)"),
    (lambda: keras.losses.MeanSquaredError()(np.ones(4), np.ones((4, 2))), ValueError, r"\(4, 2\), got \(4,\)"),
])  # fmt: skip
def test_mistakes_are_refused_with_what_was_expected(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_labels_in_a_row_meet_predictions_in_a_column():
    """(N,) and (N, 1) are the same numbers; nothing is broadcast to (N, N)."""
    y, p = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [3.0], [1.0]])
    assert keras.losses.MeanSquaredError()(y, p).item() == pytest.approx(10 / 3)
    assert keras.metrics.BinaryAccuracy()(y, p) == pytest.approx(1 / 3)


def test_a_loss_of_the_users_own_is_called_where_a_shorter_way_to_the_mean_is_known():
    y, p = np.array([1, 0]), weft.asarray([[0.5, 0.5], [0.25, 0.75]])

    class Doubled(keras.losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    plain = keras.losses.SparseCategoricalCrossentropy()
    assert plain(y, p).item() == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert Doubled()(y, p).item() == pytest.approx(2 * plain(y, p).item())
    assert plain(y, p, np.array([1.0, 0.0])).item() == pytest.approx(np.log(2) / 2)


def test_indices_and_functions_on_symbols_are_saved():
    x = keras.Input((4, 3))
    parts = keras.ops.split(x[:, 1:3], 3, axis=-1)
    model = keras.Model(x, keras.ops.logsumexp(parts[0], axis=1)[..., 0] + parts[2][:, 0, 0])
    data = np.random.default_rng(0).random((5, 4, 3)).astype("f")
    expected = np.log(np.exp(data[:, 1:3, 0]).sum(1)) + data[:, 1, 2]
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-5)
    twin = keras.models.model_from_json(model.to_json())
    np.testing.assert_allclose(twin.predict(data, verbose=0), expected, rtol=1e-5)


def test_random_layers_act_in_training_alone():
    x = np.random.default_rng(1).random((4, 6, 6, 2)).astype("f") * 255
    for layer in (L.RandomFlip(), L.RandomBrightness(0.3), L.RandomContrast(0.3), L.Dropout(0.5), L.GaussianNoise(1.0),
                  L.SpatialDropout2D(0.5), L.GaussianDropout(0.3), L.AlphaDropout(0.3)):  # fmt: skip
        assert np.array_equal(layer(x).numpy(), x), layer
        assert not np.array_equal(layer(x, training=True).numpy(), x), layer
    dropped = L.SpatialDropout2D(0.5)(x, training=True).numpy()
    assert ((dropped == 0).all((1, 2)) | (dropped != 0).all((1, 2))).all()


def test_utilities():
    assert keras.utils.to_categorical(np.array([[1], [0]])).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    with pytest.raises(ValueError, match="expected classes 0 to 1, got 0 to 2"):
        keras.utils.to_categorical([0, 2], 2)
    rows = [[1, 2, 3], [4]]
    assert keras.utils.pad_sequences(rows, 2).tolist() == [[2, 3], [0, 4]]
    assert keras.utils.pad_sequences(rows, 4, padding="post", truncating="post", value=9).tolist() == [
        [1, 2, 3, 9], [4, 9, 9, 9]]  # fmt: skip


def test_a_model_is_a_module_of_weft():
    model = dense(5, 8, 3)
    assert isinstance(model, weft.nn.Module)
    assert list(model.state_dict()) == ["dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"]
    optimizer = weft.optim.SGD(model.parameters(), lr=0.1)
    model(weft.ones((2, 5))).sum().backward()
    before = model.get_weights()[0]
    optimizer.step()
    assert not np.array_equal(before, model.get_weights()[0])


def test_inputs_labels_and_outputs_by_name():
    rng = np.random.default_rng(0)
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((2,), name="b")}
    model = keras.Model(inputs, {"p": L.Dense(1)(inputs["a"]), "q": L.Dense(2)(inputs["b"])})
    model.compile("adam", {"p": "mse", "q": "mae"}, metrics={"p": ["mae"]}, loss_weights={"q": 0.5})
    x, y = {"a": rng.random((20, 3)), "b": rng.random((20, 2))}, {"p": rng.random((20, 1)), "q": rng.random((20, 2))}
    history = model.fit(x, y, verbose=0).history
    assert list(history) == ["loss", "p_loss", "p_mae", "q_loss"]
    assert history["loss"][0] == pytest.approx(history["p_loss"][0] + 0.5 * history["q_loss"][0], rel=1e-5)
    assert {name: out.shape for name, out in model.predict(x, verbose=0).items()} == {"p": (20, 1), "q": (20, 2)}
    with pytest.raises(ValueError, match="expected labels named p, q, got p"):
        model.fit(x, {"p": y["p"]}, verbose=0)
    with pytest.raises(ValueError, match="expected losses for outputs p, q, got r"):
        model.compile("adam", {"r": "mse"})
        model.fit(x, y, verbose=0)


def test_states_go_from_an_encoder_to_a_decoder(tmp_path):
    source, target = keras.Input((5, 3)), keras.Input((6, 3))
    _, h, c = L.LSTM(4, return_state=True)(source)
    model = keras.Model([source, target], L.LSTM(4, return_sequences=True)(target, initial_state=[h, c]))
    x = [np.random.default_rng(0).random((2, n, 3)).astype("f") for n in (5, 6)]
    out = model.predict(x, verbose=0)
    assert out.shape == (2, 6, 4) and model.output_shape == (None, 6, 4)
    assert not np.array_equal(out, model.predict([x[0] * 2, x[1]], verbose=0))
    model.save(tmp_path / "m.safetensors")
    assert np.array_equal(out, keras.models.load_model(tmp_path / "m.safetensors").predict(x, verbose=0))


@needs("onnx", "onnxruntime")
def test_a_model_leaves_as_onnx(tmp_path):
    import onnxruntime

    layers = [L.Conv2D(4, 3, activation="relu"), L.BatchNormalization(), L.MaxPooling2D(), L.Flatten(), L.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    x = np.random.default_rng(0).random((2, 8, 8, 1)).astype("f")
    weft.onnx.export(model, weft.asarray(x), tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (out,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(out, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@needs("emulator")
def test_training_on_the_emulated_device_is_that_on_the_cpu():
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 6, 6, 2)).astype("f"), rng.integers(0, 3, 8)
    head = L.Dense(3, activation="softmax", kernel_regularizer="l2", kernel_constraint="max_norm")
    layers = [L.Conv2D(3, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling2D(), L.Flatten()]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers, head])
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.to(device="emulated")
    found = []
    for one in (model, twin):
        one.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        found.append(one.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history)
    assert twin.weights[0].device == "emulated" and found[0]["accuracy"] == found[1]["accuracy"]
    np.testing.assert_allclose(found[0]["loss"], found[1]["loss"], rtol=1e-5)
    for a, b in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
