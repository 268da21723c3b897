"""Losses, metrics, optimizers and the figures of `weft.keras` beside Keras's."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import weft
from keras_beside import close, compare, numbers, ours, theirs
from policy import mostly_slow, needs

pytestmark = needs("keras")

LOSSES = {
    "MeanSquaredError": {}, "MeanAbsoluteError": {}, "MeanAbsolutePercentageError": {}, "LogCosh": {}, "Hinge": {},
    "MeanSquaredLogarithmicError": {}, "SquaredHinge": {}, "CategoricalHinge": {}, "KLDivergence": {}, "Poisson": {},
    "Huber": {"delta": 0.3}, "CosineSimilarity": {}, "Dice": {}, "BinaryCrossentropy": {"label_smoothing": 0.2},
    "CategoricalCrossentropy": {"label_smoothing": 0.2}, "SparseCategoricalCrossentropy": {},
    "BinaryFocalCrossentropy": {"apply_class_balancing": True, "gamma": 1.5},
    "CategoricalFocalCrossentropy": {"alpha": 0.4},
}  # fmt: skip


def labelled(name, rng, n=6, classes=4):
    """Labels and predictions that a loss or metric of this name takes."""
    scores = rng.standard_normal((n, classes)).astype("f")
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    numbers_of = rng.integers(0, classes, n)
    if name.startswith("Sparse"):
        return numbers_of, p
    if name.startswith(("Categorical", "TopK", "KL")):
        return np.eye(classes, dtype="f")[numbers_of], p
    if name.startswith(("Binary", "Hinge", "SquaredHinge", "Dice", "True", "False", "Precision", "Recall", "AUC")):
        return rng.integers(0, 2, (n, classes)).astype("f"), rng.random((n, classes)).astype("f")
    return rng.random((n, classes)).astype("f") + 0.1, rng.random((n, classes)).astype("f") + 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    rng = np.random.default_rng([*name.encode()])
    y, p = labelled(name, rng)
    for reduction in ("sum_over_batch_size", "sum", "none"):
        mine, reference = (getattr(k.losses, name)(reduction=reduction, **LOSSES[name]) for k in (ours, theirs))
        close(mine(y, p), reference(y, p), f"{name}, {reduction}")
        if name not in ("Dice", "CosineSimilarity"):
            weights = rng.random(6).astype("f")
            close(mine(y, p, weights), reference(y, p, weights), f"{name}, {reduction}, weighted")
    assert mine.name == reference.name
    if "Crossentropy" in name:
        scores = rng.standard_normal(p.shape).astype("f") * 3
        options = {**LOSSES[name], "from_logits": True}
        mine, reference = (getattr(k.losses, name)(**options) for k in (ours, theirs))
        close(mine(y, scores), reference(y, scores), f"{name} of scores")
    wanted = inspect.signature(getattr(theirs.losses, name).__init__).parameters
    mine = inspect.signature(getattr(ours.losses, name).__init__).parameters
    assert [(k, v.default) for k, v in wanted.items() if k != "name"] == [
        (k, v.default) for k, v in mine.items() if k != "name"
    ]


def test_labels_that_do_not_count():
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 4, (3, 5)), rng.random((3, 5, 4)).astype("f")
    mine, reference = (k.losses.SparseCategoricalCrossentropy(ignore_class=2) for k in (ours, theirs))
    close(mine(y, p), reference(y, p), "ignore_class")


def test_a_cross_entropy_behind_a_softmax_or_sigmoid_is_that_of_the_scores():
    """Where probabilities are 0 in float32, the loss of the scores is still right, and has a gradient."""
    scores = weft.Tensor(np.array([[200.0, 0.0], [1.0, 2.0]], "f"), requires_grad=True)
    y = np.array([1, 0])
    loss = ours.losses.SparseCategoricalCrossentropy()(y, ours.activations.softmax(scores))
    close(loss, ours.losses.SparseCategoricalCrossentropy(from_logits=True)(y, scores.detach()), "softmax")
    loss.backward()
    assert scores.grad.numpy()[0, 1] == -0.5
    loss = ours.losses.BinaryCrossentropy()(np.array([[0.0, 1.0]] * 2), ours.activations.sigmoid(scores))
    reference = ours.losses.BinaryCrossentropy(from_logits=True)(np.array([[0.0, 1.0]] * 2), scores.detach())
    close(loss, reference, "sigmoid")


METRICS = {
    "MeanSquaredError": {}, "RootMeanSquaredError": {}, "MeanAbsoluteError": {}, "MeanAbsolutePercentageError": {},
    "MeanSquaredLogarithmicError": {}, "LogCoshError": {}, "CosineSimilarity": {}, "Poisson": {}, "KLDivergence": {},
    "BinaryCrossentropy": {}, "CategoricalCrossentropy": {}, "SparseCategoricalCrossentropy": {}, "Hinge": {},
    "SquaredHinge": {}, "CategoricalHinge": {}, "BinaryAccuracy": {"threshold": 0.4}, "CategoricalAccuracy": {},
    "SparseCategoricalAccuracy": {}, "TopKCategoricalAccuracy": {"k": 2}, "SparseTopKCategoricalAccuracy": {"k": 2},
    "TruePositives": {}, "FalsePositives": {"thresholds": [0.2, 0.7]}, "TrueNegatives": {}, "FalseNegatives": {},
    "Precision": {"thresholds": 0.3}, "Recall": {"top_k": 2}, "AUC": {}, "R2Score": {},
}  # fmt: skip


QUICK = {"RootMeanSquaredError", "BinaryAccuracy", "SparseCategoricalAccuracy", "Precision", "AUC", "R2Score"}


@pytest.mark.parametrize("name", mostly_slow(METRICS, QUICK.__contains__))
def test_metrics(name):
    rng = np.random.default_rng([*name.encode()])
    for keras in (ours, theirs):
        keras.utils.clear_session()
    mine, reference = (getattr(k.metrics, name)(**METRICS[name]) for k in (ours, theirs))
    assert mine.name == reference.name and ours.metrics.get(name).name == theirs.metrics.get(name).name
    for weighted in (False, False, True):
        y, p = labelled(name, rng)
        weights = rng.random(6).astype("f") if weighted and name not in ("Recall", "R2Score") else None
        mine.update_state(y, p, weights)
        reference.update_state(y, p, weights)
    close(mine.result(), reference.result(), name)
    close(mine.result(), ours.metrics.get(ours.metrics.serialize(mine)).result() + mine.result(), name, 10)


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
def test_metrics_of_classes(average):
    rng = np.random.default_rng(4)
    y, p = np.eye(3)[rng.integers(0, 3, 20)], rng.random((20, 3))
    for make in (lambda k: k.metrics.F1Score(average), lambda k: k.metrics.FBetaScore(average, 2.0, 0.4)):
        mine, reference = make(ours), make(theirs)
        close(mine(y, p), reference(y, p), str(average))
    a, b = rng.integers(0, 3, (2, 20))
    close(ours.metrics.MeanIoU(3)(a, b), theirs.metrics.MeanIoU(3)(a, b), "MeanIoU")
    for options in ({"curve": "PR"}, {"curve": "PR", "summation_method": "minoring"}, {"summation_method": "majoring"},
                    {"num_thresholds": 7}, {"thresholds": [0.2, 0.9]}):  # fmt: skip
        mine, reference = (k.metrics.AUC(**options) for k in (ours, theirs))
        y, p = rng.integers(0, 2, 40), rng.random(40)
        close(mine(y, p), reference(y, p), str(options))


OPTIMIZERS = [
    ("SGD", {}), ("SGD", {"momentum": 0.9}), ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}), ("Adam", {"amsgrad": True, "epsilon": 1e-3}), ("Adam", {"weight_decay": 0.1, "clipnorm": 0.5}),
    ("AdamW", {}), ("Nadam", {}), ("Nadam", {"epsilon": 1e-2, "clipvalue": 0.3}), ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "epsilon": 1e-2}), ("Adagrad", {}), ("Adagrad", {"epsilon": 0.1}),
    ("Adadelta", {"learning_rate": 1.0}), ("Adamax", {"epsilon": 1e-2}), ("Lion", {"weight_decay": 0.2}),
    ("Lamb", {}), ("Lamb", {"weight_decay": 0.1}), ("Ftrl", {"learning_rate": 0.3}),
    ("Ftrl", {"learning_rate_power": -0.7, "l1_regularization_strength": 0.2, "l2_regularization_strength": 0.3,
              "l2_shrinkage_regularization_strength": 0.1, "beta": 0.2, "initial_accumulator_value": 0.4}),
    ("Adam", {"global_clipnorm": 0.7}), ("SGD", {"momentum": 0.9, "gradient_accumulation_steps": 2}),
]  # fmt: skip


@pytest.mark.parametrize("name, options", OPTIMIZERS, ids=[f"{n} {' '.join(o)[:60]}" for n, o in OPTIMIZERS])
def test_optimizers_move_weights_as_keras_s_do(name, options):
    """Six steps, in the middle of which the learning rate changes."""
    rng = np.random.default_rng(8)
    start = [rng.standard_normal(shape).astype("f") for shape in ((4, 3), (3,))]
    mine, reference = (getattr(k.optimizers, name)(**options) for k in (ours, theirs))
    a = [weft.nn.Parameter(x.copy()) for x in start]
    b = [theirs.Variable(x.copy()) for x in start]
    for step in range(6):
        if step == 3:
            mine.learning_rate = 0.05
            reference.learning_rate = 0.05
        gradients = [rng.standard_normal(x.shape).astype("f") * 10.0 ** -(step % 4) for x in start]
        mine.apply_gradients(zip([weft.asarray(g) for g in gradients], a))
        reference.apply([g.copy() for g in gradients], b)
        for p, v in zip(a, b):
            close(p, numbers(v), f"step {step + 1}")
    skipped = {"name", "use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor"}
    config = {k: v for k, v in reference.get_config().items() if k not in skipped}
    own = mine.get_config()
    assert {k: own.get(k) for k in config} == pytest.approx(config)


SCHEDULES = {
    "ExponentialDecay": [(0.1, 5, 0.5), (0.1, 5, 0.5, True)], "InverseTimeDecay": [(0.1, 5, 0.5), (0.1, 5, 0.5, True)],
    "PiecewiseConstantDecay": [([3, 9], [0.3, 0.2, 0.1])],
    "PolynomialDecay": [(0.1, 8, 0.01, 2.0), (0.1, 4, 0.01, 1.0, True)],
    "CosineDecay": [(0.1, 8, 0.1), (0.0, 8, 0.1, "c", 0.2, 4)],
    "CosineDecayRestarts": [(0.1, 4), (0.1, 3, 1.0, 0.5, 0.1)],
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    for arguments in SCHEDULES[name]:
        mine, reference = (getattr(k.optimizers.schedules, name)(*arguments) for k in (ours, theirs))
        for step in range(15):
            close(np.float32(mine(step)), np.float32(numbers(reference(step))), f"{name}{arguments}, step {step}", 2e-5)


@pytest.mark.parametrize("make", [
    lambda k: k.regularizers.L1(0.1), lambda k: k.regularizers.L2(0.1), lambda k: k.regularizers.L1L2(0.1, 0.2),
    lambda k: k.regularizers.OrthogonalRegularizer(0.5),
    lambda k: k.constraints.MaxNorm(0.7), lambda k: k.constraints.NonNeg(), lambda k: k.constraints.UnitNorm(axis=1),
    lambda k: k.constraints.MinMaxNorm(0.5, 0.9, 0.3, axis=1),
])  # fmt: skip
def test_regularizers_and_constraints(make):
    w = np.random.default_rng(6).standard_normal((4, 3)).astype("f")
    close(make(ours)(weft.asarray(w)), make(theirs)(w), "value")


def functional(keras):
    """Two inputs, a layer that is shared, two outputs."""
    L = keras.layers
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    shared = L.Dense(5, activation="tanh")
    h = L.Add()([shared(a), shared(b)])
    h = L.BatchNormalization()(L.Concatenate()([h, L.Dense(3)(b)]))
    first, second = L.Dense(3, activation="softmax", name="kind")(h), L.Dense(1, name="size")(L.Dropout(0.4)(h))
    return keras.Model([a, b], [first, second])


def convolutional(keras):
    L = keras.layers
    layers = [keras.Input((12, 12, 2)), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(), L.BatchNormalization()]
    layers += [L.SeparableConv2D(5, 3), L.Flatten(), L.Dense(4, kernel_regularizer="l2", activation="softmax")]
    return keras.Sequential(layers)


def test_the_commonest_layers_of_sequences():
    rng = np.random.default_rng(12)
    x = rng.standard_normal((2, 7, 5)).astype("f")
    for make in (
        lambda L: L.LSTM(4, return_sequences=True, return_state=True), lambda L: L.GRU(4),
        lambda L: L.LayerNormalization(), lambda L: L.Dense(4, activation="gelu"),
    ):  # fmt: skip
        compare(make, [x], rng)
    compare(lambda L: L.MultiHeadAttention(2, 3), [x, x], rng)
    compare(lambda L: L.Embedding(9, 5), [rng.integers(0, 9, (4, 6))], rng)


@pytest.mark.parametrize("make", [functional, convolutional])
def test_models_cross_over_as_json_and_weights(make):
    """A configuration written by either is read by the other, and the weights fit in their order."""
    rng = np.random.default_rng(9)
    for keras in (ours, theirs):
        keras.utils.clear_session()
    mine, reference = make(ours), make(theirs)
    assert [w.path for w in mine.weights] == [w.path for w in reference.weights]
    there = theirs.models.model_from_json(mine.to_json())
    here = ours.models.model_from_json(reference.to_json())
    values = [np.abs(rng.standard_normal(w.shape)).astype("f") for w in reference.weights]
    x = [rng.standard_normal((7, *i.shape[1:])).astype("f") for i in reference.inputs]
    outs = []
    for model in (mine, reference, there, here):
        model.set_weights(values)
        outs.append(model.predict(x if len(x) > 1 else x[0], verbose=0))
        assert model.count_params() == mine.count_params()
    for other in outs[1:]:
        for p, q in zip(*(out if isinstance(out, list) else [out] for out in (outs[0], other))):
            close(p, q, "prediction")


def test_figures_of_evaluate_are_keras_s():
    rng = np.random.default_rng(10)
    mine, reference = functional(ours), functional(theirs)
    reference.set_weights(mine.get_weights())
    x = [rng.standard_normal((50, 6)).astype("f") for _ in range(2)]
    y = [rng.integers(0, 3, 50), rng.standard_normal((50, 1)).astype("f")]
    w = rng.random(50).astype("f")
    found = []
    for model in (mine, reference):
        model.compile("sgd", ["sparse_categorical_crossentropy", "mse"], loss_weights=[1.0, 0.3],
                      metrics=[["accuracy"], ["mae"]], weighted_metrics=[["accuracy"], []])  # fmt: skip
        found.append(model.evaluate(x, y, sample_weight=[w, w], verbose=0, return_dict=True))
    assert sorted(found[0]) == sorted(found[1])
    for name, value in found[1].items():
        close(np.float32(found[0][name]), np.float32(value), name, 3e-5)
