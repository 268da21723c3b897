"""Metrics against scikit-learn, and their running versions against the whole."""

from __future__ import annotations

import numpy as np
import pytest

from policy import needs
from weft import metrics

rng = np.random.default_rng(0)


def samples():
    for classes, n in ((2, 50), (5, 300), (10, 7), (3, 1)):
        labels = rng.integers(0, classes, n)
        yield labels, np.where(rng.random(n) < 0.6, labels, rng.integers(0, classes, n)), rng.random((n, classes))


@needs("sklearn")
def test_against_scikit_learn():
    from sklearn import metrics as theirs

    for labels, predictions, scores in samples():
        assert metrics.accuracy(labels, predictions) == pytest.approx(theirs.accuracy_score(labels, predictions))
        seen = max(labels.max(), predictions.max()) + 1
        want = theirs.confusion_matrix(labels, predictions, labels=range(seen))
        assert np.array_equal(metrics.confusion_matrix(labels, predictions), want)
        for average in ("macro", "micro", "weighted"):
            for ours, name in ((metrics.precision, "precision"), (metrics.recall, "recall"), (metrics.f1, "f1")):
                other = getattr(theirs, f"{name}_score")(labels, predictions, average=average, zero_division=0)
                assert ours(labels, predictions, average) == pytest.approx(other)
        each = theirs.f1_score(labels, predictions, average=None, labels=range(seen), zero_division=0)
        assert metrics.f1(labels, predictions, None) == pytest.approx(each)
        for k in range(1, scores.shape[1]):
            if scores.shape[1] > 2:
                other = theirs.top_k_accuracy_score(labels, scores, k=k, labels=range(scores.shape[1]))
                assert metrics.top_k_accuracy(labels, scores, k) == pytest.approx(other)


def test_running_is_the_whole():
    for labels, _, scores in samples():
        whole = scores.argmax(1)
        running = {
            metrics.Accuracy(): metrics.accuracy(labels, whole),
            metrics.Precision(): metrics.precision(labels, whole),
            metrics.Recall("weighted"): metrics.recall(labels, whole, "weighted"),
            metrics.F1("micro"): metrics.f1(labels, whole, "micro"),
            metrics.TopK(2): metrics.top_k_accuracy(labels, scores, 2),
        }
        for metric, want in running.items():
            for epoch in range(2):
                for part in np.array_split(np.arange(len(labels)), 4):
                    metric.update(scores[part], labels[part])
                    again = type(metric)(**({"k": 2} if isinstance(metric, metrics.TopK) else {}))
                    again.load_state_dict(metric.state_dict())
                    assert again.state_dict().keys() == metric.state_dict().keys()
                assert metric.compute() == pytest.approx(want), (metric, epoch)
                metric.reset()


def test_shapes_and_ignored_targets():
    text = metrics.Accuracy(ignore_index=-1)
    scores = rng.random((2, 5, 7))
    targets = scores.argmax(-1)
    targets[0, :2] = -1
    targets[1, 0] = (targets[1, 0] + 1) % 7
    text.update(scores, targets)
    assert text.compute() == 7 / 8
    binary = metrics.Accuracy()
    binary.update(np.array([0.3, -2.0, 1.0]), np.array([1, 0, 0]))
    assert binary.compute() == 2 / 3
    assert np.isnan(metrics.Accuracy().compute())
    matrix = metrics.ConfusionMatrix(classes=4)
    matrix.update(np.eye(4), np.array([0, 1, 2, 2]))
    assert matrix.compute().shape == (4, 4) and matrix.compute()[2].tolist() == [0, 0, 1, 1]


def test_errors():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        metrics.accuracy([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="integer predictions, got float64"):
        metrics.accuracy([0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"classes in \[0, 2\), got 0 to 2"):
        metrics.confusion_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="got -1 to"):
        metrics.confusion_matrix([0, -1], [0, 1])
    with pytest.raises(ValueError, match="average out of"):
        metrics.Precision("mean")
    with pytest.raises(ValueError, match="1 <= k <= 3, got 4"):
        metrics.top_k_accuracy([0], [[0.1, 0.2, 0.3]], 4)
    with pytest.raises(ValueError, match=r"outputs \(N, ..., C\)"):
        metrics.Accuracy().update(np.zeros((2, 3)), np.zeros((3,), int))


@pytest.mark.parametrize("kind", [metrics.Accuracy, metrics.ConfusionMatrix, metrics.Precision])
def test_what_is_no_answer_is_refused_not_counted(kind):
    scores, targets = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32), np.array([1, 0])
    with pytest.raises(ValueError, match=r"expected targets in \[0, 2\) .* got 0 to 5"):
        kind().update(scores, np.array([5, 0]))
    with pytest.raises(ValueError, match="got NaN in 1 of them"):
        kind().update(np.array([[np.nan, 0.9], [0.8, 0.2]], np.float32), targets)
    with pytest.raises(ValueError, match="expected integer targets, got float"):
        kind().update(scores, targets.astype(np.float32))
    kind(ignore_index=-1).update(scores, np.array([-1, 0]))
