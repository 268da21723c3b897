"""Metrics and losses of `weft.keras` that few programs use give what Keras's give."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from keras_beside import close, ours, theirs
from policy import needs

pytestmark = [pytest.mark.slow, needs("keras")]


def twice(name, *args, **options):
    mine, reference = (getattr(k.metrics, name)(*args, **options) for k in (ours, theirs))
    assert mine.name.removesuffix("_1") == reference.name.removesuffix("_1")
    wanted, own = (
        {k: p.default for k, p in inspect.signature(type(m).__init__).parameters.items()} for m in (reference, mine)
    )
    assert "Correlation" in name or list(wanted) == list(own)
    return mine, reference


@pytest.mark.parametrize("name, value", [
    ("SensitivityAtSpecificity", 0.6), ("SpecificityAtSensitivity", 0.7), ("PrecisionAtRecall", 0.8),
    ("RecallAtPrecision", 0.55), ("PrecisionAtRecall", 1.0),
])  # fmt: skip
@pytest.mark.parametrize("count", [1, 7, 200])
def test_the_best_of_one_figure_where_another_is_so_large(name, value, count):
    rng = np.random.default_rng(0)
    ours.utils.clear_session()
    theirs.utils.clear_session()
    mine, reference = twice(name, value, num_thresholds=count)
    for _ in range(2):
        y, p = rng.integers(0, 2, 50).astype("f"), rng.random(50).astype("f")
        p[:3] = [0, 1, 0.5]
        mine.update_state(y, p)
        reference.update_state(y, p)
    close(mine.result(), float(reference.result()), name)


def test_overlaps():
    rng = np.random.default_rng(1)
    a, b, w = rng.integers(0, 4, 30), rng.integers(0, 3, 30), rng.integers(0, 3, 30)  # Keras cuts fractions off
    scores, hot = rng.random((30, 4)).astype("f"), np.eye(4, dtype="f")[a]
    for name, args, options, data in [
        ("IoU", (5, [0, 2, 4]), {}, (a, b)), ("IoU", (5, [0, 2]), {"ignore_class": 1}, (a, b)),
        ("BinaryIoU", ([1], 0.4), {}, (a % 2, scores[:, 0])), ("BinaryIoU", (), {}, (a % 2, scores[:, 0])),
        ("OneHotIoU", (4, [0, 1]), {}, (hot, scores)), ("OneHotMeanIoU", (4,), {}, (hot, scores)),
        ("OneHotIoU", (4, [3]), {"sparse_y_pred": True}, (hot, b)),
    ]:  # fmt: skip
        mine, reference = twice(name, *args, **options)
        close(mine(*data), float(reference(*data)), name)
        close(mine(*data, w), float(reference(*data, w)), name)
    with pytest.raises(ValueError, match=r"target_class_ids in \[0, 3\), got \[3\]"):
        ours.metrics.IoU(3, [3])


def test_correlations():
    rng = np.random.default_rng(2)
    y, p = rng.random((5, 7)).astype("f"), rng.random((5, 7)).astype("f")
    for name in ("PearsonCorrelation", "ConcordanceCorrelation"):
        for axis in (0, -1, (0, 1)):
            mine, reference = twice(name, axis=axis)
            close(mine(y, p), float(reference(y, p)), name)


def test_rarer_losses():
    rng = np.random.default_rng(3)
    y, p = rng.integers(0, 2, (5, 4)).astype("f"), rng.random((5, 4)).astype("f")
    classes, scores = np.array([[1, 2, 2, 0], [3, 0, 0, 0]]), rng.standard_normal((2, 9, 4)).astype("f")
    for name, options, data in [
        ("Tversky", {"alpha": 0.3, "beta": 0.7}, (y, p)), ("Tversky", {"axis": (1,)}, (y, p)),
        ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, (classes[:, 0], p[:2])),
        ("CTC", {}, (classes, scores)), ("CTC", {"reduction": "none"}, (classes, scores)),
    ]:  # fmt: skip
        mine, reference = (getattr(k.losses, name)(**options) for k in (ours, theirs))
        close(mine(*data), reference(*data), name)
        assert mine.name == reference.name
