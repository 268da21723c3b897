"""Figures of scores, numbers and groups against scikit-learn, on inputs with ties and missing classes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from policy import needs
from weft import metrics

rng = np.random.default_rng()


def binary(n=None, decimals=None):
    """Labels with both classes, and scores of which many are equal where `decimals` is small."""
    n = n or int(rng.integers(2, 200))
    labels = rng.permutation(np.r_[0, 1, rng.integers(0, 2, n - 2)])
    return labels, np.round(rng.random(n) + 0.3 * labels, 2 if decimals is None else decimals)


def several(missing=False):
    """Labels of 5 classes, of which one is missing if asked, and probabilities (N, 5) with ties."""
    labels = np.r_[np.arange(4), rng.integers(0, 4, 60)] if missing else np.r_[np.arange(5), rng.integers(0, 5, 60)]
    scores = np.round(rng.random((len(labels), 5)) + 0.4 * (labels[:, None] == np.arange(5)), 1) + 0.01
    return labels, scores / scores.sum(axis=1, keepdims=True)


@needs("sklearn")
@pytest.mark.parametrize("decimals", [0, 1, 3])
def test_curves_and_areas(decimals):
    from sklearn import metrics as theirs

    for _ in range(20):
        labels, scores = binary(decimals=decimals)
        other = theirs.roc_curve(labels, scores, drop_intermediate=False)
        for mine, want in zip(metrics.roc_curve(labels, scores), other, strict=True):
            assert mine == pytest.approx(want)
        for mine, want in zip(
            metrics.precision_recall_curve(labels, scores), theirs.precision_recall_curve(labels, scores), strict=True
        ):
            assert mine == pytest.approx(want)
        assert metrics.roc_auc(labels, scores) == pytest.approx(theirs.roc_auc_score(labels, scores))
        want = theirs.average_precision_score(labels, scores)
        assert metrics.average_precision(labels, scores) == pytest.approx(want)


@needs("sklearn")
def test_areas_of_several_classes():
    from sklearn import metrics as theirs

    for average in ("macro", "weighted", "micro", None):
        labels, scores = several()
        truth = labels[:, None] == np.arange(5)
        mine = metrics.roc_auc(labels, scores, average)
        assert mine == pytest.approx(theirs.roc_auc_score(truth, scores, average=average))
        assert metrics.roc_auc(truth.astype(int), scores, average) == pytest.approx(mine)
        mine = metrics.average_precision(labels, scores, average)
        assert mine == pytest.approx(theirs.average_precision_score(truth, scores, average=average))
    for average in ("macro", "weighted"):
        labels, scores = several()
        want = theirs.roc_auc_score(labels, scores, multi_class="ovo", average=average)
        assert metrics.roc_auc(labels, scores, average, pairs=True) == pytest.approx(want)


@needs("sklearn")
def test_a_missing_class_is_left_out():
    from sklearn import metrics as theirs

    labels, scores = several(missing=True)
    truth = labels[:, None] == np.arange(4)
    for mine, other in ((metrics.roc_auc, theirs.roc_auc_score),
                        (metrics.average_precision, theirs.average_precision_score)):  # fmt: skip
        each = mine(labels, scores, None)
        assert np.isnan(each[4]) and each[:4] == pytest.approx(other(truth, scores[:, :4], average=None))
        assert mine(labels, scores) == pytest.approx(each[:4].mean())
        assert mine(labels, scores, "weighted") == pytest.approx(other(truth, scores[:, :4], average="weighted"))
    by_pair = [np.mean([metrics.roc_auc(np.where(a, 1, 0)[a | b], scores[a | b, i]), metrics.roc_auc(
        np.where(b, 1, 0)[a | b], scores[a | b, j])]) for i in range(4) for j in range(i + 1, 4)
        for a, b in [(labels == i, labels == j)]]  # fmt: skip
    assert metrics.roc_auc(labels, scores, pairs=True) == pytest.approx(np.mean(by_pair))


@needs("sklearn")
def test_binary_averages_and_balance():
    from sklearn import metrics as theirs

    for _ in range(10):
        labels, scores = binary()
        guess = (scores > 0.7).astype(int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in ("precision", "recall", "f1"):
                want = getattr(theirs, f"{name}_score")(labels, guess, average="binary", zero_division=0)
                assert getattr(metrics, name)(labels, guess, "binary") == pytest.approx(want)
            labels, scores = several(missing=True)
            guess = rng.integers(0, 5, len(labels))
            want = theirs.balanced_accuracy_score(labels, guess)
            assert metrics.balanced_accuracy(labels, guess) == pytest.approx(want)
    assert metrics.recall([0, 0], [0, 0], "binary", zero_division=0.5) == 0.5


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_a_threshold_is_the_best_of_all(beta):
    labels, scores = binary(60, 1)

    def f_beta(threshold):
        guess = (scores >= threshold).astype(int)
        p, r = metrics.precision(labels, guess, "binary"), metrics.recall(labels, guess, "binary")
        return (1 + beta**2) * p * r / (beta**2 * p + r) if p + r else 0.0

    def cost(threshold):
        alarms, misses = (scores >= threshold) & (labels == 0), (scores < threshold) & (labels == 1)
        return 3 * alarms.sum() + beta * misses.sum()

    candidates = [*np.unique(scores), np.inf]
    assert f_beta(metrics.best_threshold(labels, scores, beta=beta)) == pytest.approx(max(map(f_beta, candidates)))
    assert cost(metrics.best_threshold(labels, scores, costs=(3, beta))) == min(map(cost, candidates))
    assert metrics.best_threshold([0, 1], [0.9, 0.1], costs=(9, 1)) == np.inf


@needs("sklearn")
def test_probabilities():
    from sklearn import metrics as theirs
    from sklearn.calibration import calibration_curve

    for _ in range(10):
        labels, scores = binary()
        scores = np.clip(scores / 1.3, 0.01, 0.99)
        assert metrics.log_loss(labels, scores) == pytest.approx(theirs.log_loss(labels, scores))
        assert metrics.brier_score(labels, scores) == pytest.approx(theirs.brier_score_loss(labels, scores))
        for strategy in ("uniform", "quantile"):
            curve = metrics.calibration_curve(labels, scores, 7, strategy)
            observed, predicted = calibration_curve(labels, scores, n_bins=7, strategy=strategy)
            assert curve.predicted == pytest.approx(predicted) and curve.observed == pytest.approx(observed)
            assert curve.counts.sum() == len(labels)
        labels, scores = several(missing=True)
        want = theirs.log_loss(labels, scores, labels=range(5))
        assert metrics.log_loss(labels, scores) == pytest.approx(want)
        truth = labels[:, None] == np.arange(5)
        assert metrics.brier_score(labels, scores) == pytest.approx(((scores - truth) ** 2).sum(axis=1).mean())
        # The expected calibration error, bin by bin.
        confidence, right, total = scores.max(axis=1), scores.argmax(axis=1) == labels, 0.0
        for low in np.arange(10) / 10:
            inside = (confidence > low + 1e-12) & (confidence <= low + 0.1 + 1e-12)
            if inside.any():
                total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
        assert metrics.calibration_error(labels, scores) == pytest.approx(total)
    assert metrics.log_loss([1], [0.0]) == np.inf
    assert metrics.log_loss([0, 1], np.array([[0.7, 0.3], [0.2, 0.8]], np.float32)) == pytest.approx(0.28990925)


@needs("sklearn")
def test_regression():
    from sklearn import metrics as theirs

    for shape in ((50,), (40, 3), (2,)):
        targets, guess = rng.normal(3, 1, shape), rng.normal(3, 1, shape)
        assert metrics.mae(targets, guess) == pytest.approx(theirs.mean_absolute_error(targets, guess))
        assert metrics.mse(targets, guess) == pytest.approx(theirs.mean_squared_error(targets, guess))
        assert metrics.rmse(targets, guess) == pytest.approx(np.sqrt(theirs.mean_squared_error(targets, guess)))
        assert metrics.mape(targets, guess) == pytest.approx(theirs.mean_absolute_percentage_error(targets, guess))
        assert metrics.r2(targets, guess) == pytest.approx(theirs.r2_score(targets, guess))
        want = theirs.r2_score(targets, guess, multioutput="raw_values")
        assert metrics.r2(targets, guess, None) == pytest.approx(want if len(shape) > 1 else want[0])
    assert np.isnan(metrics.r2([2, 2], [2, 2])) and np.isnan(metrics.mae([], []))


def test_running_regression_is_the_whole():
    targets = rng.normal(1e4, 1, (90, 2))  # far from 0, where a sum of squares would cancel
    guess = targets + rng.normal(0, 0.5, targets.shape)
    for metric, want in ((metrics.MAE(), metrics.mae), (metrics.MSE(), metrics.mse), (metrics.RMSE(), metrics.rmse),
                         (metrics.R2(), lambda a, b: metrics.r2(a.ravel(), b.ravel()))):  # fmt: skip
        for part in np.array_split(np.arange(90), 7):
            metric.update(guess[part], targets[part])
            again = type(metric)()
            again.load_state_dict(metric.state_dict())
            assert again.compute() == metric.compute()
        assert metric.compute() == pytest.approx(want(targets, guess))
        assert np.isnan(metric.fresh().compute())


def test_the_trainer_knows_them_by_name():
    from weft import nn, optim
    from weft.data import ArrayDataset, DataLoader
    from weft.train import Trainer

    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True)
    model = nn.Linear(3, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), metrics=["mae", "rmse", "r2"],
                      progress=False)  # fmt: skip
    found = trainer.evaluate(DataLoader(ArrayDataset(x, y), 25))
    guess = (x @ model.weight.numpy().T + model.bias.numpy()).astype(np.float64)
    for name in ("mae", "rmse", "r2"):
        assert found[name] == pytest.approx(float(getattr(metrics, name)(y, guess)), rel=1e-5)


def test_groups():
    labels, guess = rng.integers(0, 3, 90), rng.integers(0, 3, 90)
    groups = np.array(["a", "b", "c"])[rng.integers(0, 3, 90)]
    table = metrics.by_group({"accuracy": metrics.accuracy, "f1": metrics.f1}, groups, labels, guess)
    for group, row in table.items():
        chosen = groups == group
        assert row == {"count": chosen.sum(), "accuracy": metrics.accuracy(labels[chosen], guess[chosen]),
                       "f1": metrics.f1(labels[chosen], guess[chosen])}  # fmt: skip
    assert table.overall["accuracy"] == metrics.accuracy(labels, guess) and len(table) == 3
    values = table.column("accuracy")
    assert table[table.worst("accuracy")]["accuracy"] == values.min()
    assert table.gap("accuracy") == values.max() - values.min()
    assert str(table).splitlines()[-1].startswith("all") and len({len(line) for line in str(table).splitlines()}) == 1
    each = metrics.per_class(labels, guess)
    assert each.column("recall") == pytest.approx(metrics.recall(labels, guess, None))
    with pytest.raises(ValueError, match="both classes") as caught:
        metrics.by_group(metrics.roc_auc, [0, 0, 1], [0, 1, 1], [0.1, 0.2, 0.3])
    assert caught.value.__notes__ == ["by_group: in group 1"]


@needs("sklearn")
def test_purity():
    from sklearn.metrics.cluster import contingency_matrix

    for _ in range(5):
        labels, clusters = rng.integers(0, 4, 70), rng.integers(10, 16, 70)
        want = contingency_matrix(labels, clusters).max(axis=0).sum() / 70
        assert metrics.purity(labels, clusters) == pytest.approx(want)
    assert metrics.purity(["a", "b"], ["x", "x"]) == 0.5


def test_infinite_scores_are_ties_too():
    for bad in (np.inf, -np.inf):
        for labels in ([0, 1], [1, 0]):
            assert metrics.roc_auc(labels, [bad, bad]) == metrics.average_precision(labels, [bad, bad]) == 0.5
    assert metrics.roc_curve([0, 1, 1], [-np.inf, -np.inf, 2.0]).thresholds.tolist() == [np.inf, 2.0, -np.inf]


PAIR = ([0, 1], [0.1, 0.9])
REFUSED = [
    (metrics.roc_curve, ([1, 1], [0.1, 0.2]), "both classes among the labels, got 2 times 1 and no 0"),
    (metrics.roc_curve, ([0, 0], [0.1, 0.2]), "got 2 times 0 and no 1"),
    (metrics.roc_auc, ([1, 1], [0.1, 0.2]), "no 0"),
    (metrics.roc_auc, ([0, 1], [0.1, np.nan]), "expected numbers as scores, got NaN in 1"),
    (metrics.roc_auc, ([0, 2], [0.1, 0.2]), r"expected labels 0 or 1, got int64 \[0, 2\]"),
    (metrics.roc_auc, ([0, 1, 1], [0.1, 0.2]), r"got \(3,\) and \(2,\)"),
    (metrics.roc_auc, (*PAIR, "mean"), "average out of"),
    (metrics.roc_auc, ([0, 5], [[0.1, 0.9], [0.5, 0.5]]), r"integer labels in \[0, 2\), got int64 0 to 5"),
    (metrics.roc_auc, ([0, 0], [[0.1, 0.9], [0.5, 0.5]]), "at least two classes among the labels, got 1"),
    (metrics.roc_auc, ([0, 1], [[0.1, 0.9], [0.5, 0.5]], None, True), "macro or weighted with pairs"),
    (metrics.roc_auc, ([0, 1], ["a", "b"]), "expected numbers as scores"),
    (metrics.roc_auc, (np.zeros(0, int), np.zeros((0, 3))), r"at least one sample, got labels \(0,\)"),
    (metrics.roc_auc, (np.ones((2, 3), int), np.zeros((2, 3)), "micro"), "got 6 times 1 and no 0"),
    (metrics.average_precision, (np.zeros((2, 3), int), np.zeros((2, 3)), "micro"), "got 6 times 0 and no 1"),
    (metrics.average_precision, ([[0, 1]], [[0.1, 0.9], [0.5, 0.5]]), r"\(N, C\), got \(1, 2\) and \(2, 2\)"),
    (metrics.precision_recall_curve, ([], []), "no 1"),
    (metrics.log_loss, ([0, 1], [0.1, 1.2]), "probabilities from 0 to 1, got 0.1 to 1.2"),
    (metrics.log_loss, ([0, 1], [[0.1, 0.8], [0.5, 0.5]]), "sum to 1, got 0.9 in row 0; softmax"),
    (metrics.brier_score, ([0.0, 1.0], [0.1, 0.2]), "labels 0 or 1, got float64"),
    (metrics.calibration_error, (*PAIR, 0), "bins >= 1"),
    (metrics.mape, ([0.0, 1.0], [1.0, 1.0]), "targets other than 0, got 0 in 1"),
    (metrics.mae, ([1.0, 2.0], [[1.0, 2.0]]), r"one shape, got \(2,\) and \(1, 2\)"),
    (metrics.rmse, ([1.0, np.nan], [1.0, 2.0]), "expected numbers as targets, got NaN in 1"),
    (metrics.r2, ([1.0 + 1j], [1.0]), "expected numbers as targets"),
    (metrics.purity, ([0, 1], [0.5, 1.0]), "integers or names as clusters"),
    (metrics.f1, ([0, 2], [0, 1], "binary"), "classes 0 and 1 with average='binary', got 3 classes"),
    (metrics.by_group, (metrics.accuracy, [0], [0, 1], [0, 1]), r"got \(1,\), \(2,\) and \(2,\)"),
    (metrics.by_group, (metrics.accuracy, [np.nan, 1.0], [0, 1], [0, 1]), "a group for each sample, got NaN for 1"),
]


@pytest.mark.parametrize("call, given, message", REFUSED, ids=range(len(REFUSED)))
def test_errors(call, given, message):
    with pytest.raises(ValueError, match=message):
        call(*given)
