"""Figures of predicted probabilities: how likely they made the truth, and whether they mean what they say."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from weft.metrics.classification import Array, class_labels
from weft.metrics.ranking import numbers, zeros_and_ones


class CalibrationCurve(NamedTuple):
    """Bins that hold a sample, by predicted probability.

    >>> calibration_curve([0, 1], [0.2, 0.7]).counts.tolist()
    [1, 1]
    """

    predicted: Array  # mean probability of each bin's samples
    observed: Array  # how often it came true
    counts: Array  # samples


def log_loss(labels: Any, probabilities: Any) -> float:
    """Minus the mean natural logarithm of the probability that was given to the truth; infinite where that is 0.

    labels (N,) 0 or 1 with the probabilities of 1 (N,), or labels (N,) in [0, C) with probabilities (N, C) whose rows
    sum to 1; NaN without samples. ValueError for shapes or labels that do not fit and for what is no probability.

    >>> round(log_loss([1, 0], [0.9, 0.2]), 4)
    0.1643
    """
    labels, probabilities = check_probabilities("log_loss", labels, probabilities)
    if not len(labels):
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def brier_score(labels: Any, probabilities: Any) -> float:
    """The mean squared distance of probabilities from the truth (0 or 1): 0 is perfect, 1 always surely wrong.

    Arguments as `log_loss`; with (N, C) the squares are summed over the classes, so the worst is 2. Brier, 1950.

    >>> round(brier_score([1, 0], [0.9, 0.2]), 4)
    0.025
    """
    binary = np.ndim(probabilities) == 1
    labels, probabilities = check_probabilities("brier_score", labels, probabilities)
    if not len(labels):
        return float("nan")
    squares = ((probabilities - (labels[:, None] == np.arange(probabilities.shape[1]))) ** 2).sum(axis=1)
    return float(squares.mean() / (2 if binary else 1))


def calibration_curve(labels: Any, probabilities: Any, bins: int = 10, strategy: str = "uniform") -> CalibrationCurve:
    """How often what was predicted with about a probability came true: a diagonal where probabilities are honest.

    Arguments as `log_loss`: of probabilities (N,) the curve is of class 1, of (N, C) of the likeliest class of each
    sample and of whether it is right. strategy: bins of one width ("uniform", each with its upper edge) or with one
    number of samples ("quantile"). Bins without samples are left out.

    >>> curve = calibration_curve([0, 1, 1, 1], [0.1, 0.8, 0.9, 0.9], bins=2)
    >>> [round(p, 4) for p in curve.predicted.tolist()], curve.observed.tolist(), curve.counts.tolist()
    ([0.1, 0.8667], [0.0, 1.0], [1, 3])
    """
    if bins < 1 or strategy not in ("uniform", "quantile"):
        raise ValueError("calibration_curve: expected bins >= 1 and strategy uniform or quantile, "
                         f"got {bins} and {strategy!r}")  # fmt: skip
    binary = np.ndim(probabilities) == 1
    labels, probabilities = check_probabilities("calibration_curve", labels, probabilities)
    chosen = np.ones_like(labels) if binary else probabilities.argmax(axis=1)
    p, right = probabilities[np.arange(len(labels)), chosen], labels == chosen  # (N,)
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "quantile" and len(p):
        edges = np.quantile(p, edges)
    place = np.searchsorted(edges[1:-1], p)
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    means = [np.bincount(place, weights=x, minlength=bins)[used] / counts[used] for x in (p, right)]
    return CalibrationCurve(means[0], means[1], counts[used])


def calibration_error(labels: Any, probabilities: Any, bins: int = 10, strategy: str = "uniform") -> float:
    """The expected calibration error: the mean distance of the calibration curve from the diagonal, 0 to 1.

    Arguments as `calibration_curve`; NaN without samples. Naeini, Cooper, Hauskrecht, 2015; Guo et al., 2017.

    >>> round(calibration_error([0, 1, 1, 1], [0.1, 0.8, 0.9, 0.9], bins=2), 4)
    0.125
    """
    curve = calibration_curve(labels, probabilities, bins, strategy)
    total = curve.counts.sum()
    return float((np.abs(curve.predicted - curve.observed) * curve.counts).sum() / total) if total else float("nan")


def check_probabilities(name: str, labels: Any, probabilities: Any) -> tuple[Array, Array]:
    """Labels as int64 (N,) and probabilities as float64 (N, C)."""
    given = np.asarray(probabilities)
    p, labels = numbers(name, "probabilities", given), np.asarray(labels)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"{name}: expected probabilities from 0 to 1, got {p.min():.6g} to {p.max():.6g}")
    if p.ndim == 1:
        if labels.shape != p.shape:
            raise ValueError(f"{name}: expected labels and probabilities (N,), got {labels.shape} and {p.shape}")
        return zeros_and_ones(name, labels).astype(np.int64), np.stack([1 - p, p], axis=1)
    labels = class_labels(name, labels, p)
    # What C roundings of numbers of that precision can add up to.
    slack = p.shape[1] * float(np.finfo(given.dtype).eps if given.dtype.kind == "f" else 2.0**-7) + 1e-12
    off = np.abs(p.sum(axis=1) - 1)
    if off.max(initial=0) > slack:
        row = int(off.argmax())
        raise ValueError(f"{name}: expected rows of probabilities that sum to 1, got {p[row].sum():.6g} in row {row}; "
                         "softmax turns scores into probabilities")  # fmt: skip
    return labels, p
