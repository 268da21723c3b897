"""Figures of predicted numbers: functions over arrays, and running versions that see one batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.metrics.classification import Array
from weft.metrics.ranking import numbers
from weft.metrics.running import Metric, raw


def mae(targets: Any, predictions: Any) -> float:
    """The mean absolute error, in the targets' unit; NaN without samples.

    targets, predictions: numbers of one shape. ValueError if the shapes differ, or for a NaN.

    >>> mae([1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    1.0
    """
    return mean(np.abs(error("mae", targets, predictions)))


def mse(targets: Any, predictions: Any) -> float:
    """The mean squared error, in the square of the targets' unit; as `mae`.

    >>> round(mse([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), 4)
    1.6667
    """
    return mean(error("mse", targets, predictions) ** 2)


def rmse(targets: Any, predictions: Any) -> float:
    """The square root of the mean squared error, in the targets' unit; as `mae`.

    >>> round(rmse([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), 4)
    1.291
    """
    return float(np.sqrt(mean(error("rmse", targets, predictions) ** 2)))


def mape(targets: Any, predictions: Any) -> float:
    """The mean absolute error as a share of the target: 0.1 is 10 %; as `mae`, and ValueError where a target is 0.

    >>> round(mape([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), 4)
    0.3333
    """
    wrong, size = np.abs(error("mape", targets, predictions)), np.abs(numbers("mape", "targets", targets))
    if (size == 0).any():
        raise ValueError(f"mape: expected targets other than 0, got 0 in {int((size == 0).sum())} of them")
    return mean(wrong / size)


def r2(targets: Any, predictions: Any, average: str | None = "macro") -> Any:
    """The coefficient of determination: 1 is perfect, 0 as good as the targets' mean, below 0 worse.

    targets, predictions (N,), or (N, D): D outputs, whose mean is returned, or an array (D,) with average=None. NaN for
    an output whose targets are all one number, which has nothing to determine. Errors as `mae`.

    >>> round(r2([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), 4)
    -0.0714
    """
    if average not in ("macro", None):
        raise ValueError(f"r2: expected average macro or None, got {average!r}")
    wrong, targets = error("r2", targets, predictions), numbers("r2", "targets", targets)
    if targets.ndim not in (1, 2):
        raise ValueError(f"r2: expected targets (N,) or (N, D), got {targets.shape}")
    if not len(targets):
        return float("nan")
    total = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    varies = targets.max(axis=0) > targets.min(axis=0)
    each = np.where(varies, 1 - (wrong**2).sum(axis=0) / np.where(varies, total, 1), np.nan)
    return each if average is None and targets.ndim == 2 else float(each.mean())


def error(name: str, targets: Any, predictions: Any) -> Array:
    """Predictions minus targets, float64."""
    targets, predictions = numbers(name, "targets", targets), numbers(name, "predictions", predictions)
    if targets.shape != predictions.shape or targets.ndim == 0:
        raise ValueError(f"{name}: expected targets and predictions of one shape, "
                         f"got {targets.shape} and {predictions.shape}")  # fmt: skip
    return predictions - targets


def mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


class MAE(Metric):
    """The mean absolute error, in the targets' unit; outputs and targets of one shape.

    >>> metric = MAE()
    >>> metric.update(weft.asarray([1.0, 3.0]), weft.asarray([1.0, 2.0]))
    >>> metric.compute()
    0.5
    """

    sums = ("total", "seen")

    def reset(self) -> None:
        self.total, self.seen = 0.0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        wrong = error(type(self).__name__, raw(targets), raw(outputs))
        self.total += float(self.size(wrong).sum())
        self.seen += wrong.size

    def compute(self) -> float:
        return self.total / self.seen if self.seen else float("nan")

    @staticmethod
    def size(wrong: Array) -> Array:
        return np.abs(wrong)


class MSE(MAE):
    """The mean squared error, in the square of the targets' unit; outputs and targets of one shape.

    >>> metric = MSE()
    >>> metric.update(weft.asarray([1.0, 3.0]), weft.asarray([1.0, 1.0]))
    >>> metric.compute()
    2.0
    """

    @staticmethod
    def size(wrong: Array) -> Array:
        return wrong**2


class RMSE(MSE):
    """The square root of the mean squared error, in the targets' unit; outputs and targets of one shape.

    >>> metric = RMSE()
    >>> metric.update(weft.asarray([1.0, 5.0]), weft.asarray([4.0, 8.0]))
    >>> metric.compute()
    3.0
    """

    def compute(self) -> float:
        return float(np.sqrt(super().compute()))


class R2(Metric):
    """The coefficient of determination of all entries as one output: 1 is perfect, 0 as good as the targets' mean.

    >>> metric = R2()
    >>> metric.update(weft.asarray([1.0, 3.0, 2.0]), weft.asarray([1.0, 2.0, 4.0]))
    >>> round(metric.compute(), 4)
    -0.0714
    """

    sums = ("wrong", "spread", "centre", "seen")

    def reset(self) -> None:
        self.wrong, self.spread, self.centre, self.seen = 0.0, 0.0, 0.0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        wrong, targets = error("R2", raw(targets), raw(outputs)), numbers("R2", "targets", raw(targets))
        if not targets.size:
            return
        # Two means and the squares about them, joined (Chan, Golub, LeVeque, 1983): sums of squares would cancel.
        centre, seen = float(targets.mean()), self.seen + targets.size
        apart = centre - self.centre
        self.spread += float(((targets - centre) ** 2).sum()) + apart**2 * self.seen * targets.size / seen
        self.centre += apart * targets.size / seen
        self.wrong += float((wrong**2).sum())
        self.seen = seen

    def compute(self) -> float:
        return 1 - self.wrong / self.spread if self.spread else float("nan")
