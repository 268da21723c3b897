"""Figures per class, per group of samples, and of clusters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from weft.metrics.classification import Array, confusion_matrix, from_matrix


class Figures(Mapping[Hashable, dict[str, float]]):
    """A table of figures, a row per class or group; printed, it is aligned. `overall` are those of all samples.

    >>> table = by_group(weft.metrics.accuracy, ["a", "a", "b"], [0, 1, 1], [0, 1, 0])
    >>> print(table)
    group  count  accuracy
    a          2    1.0000
    b          1    0.0000
    all        3    0.6667
    >>> table["a"]["accuracy"], table.worst("accuracy"), table.gap("accuracy")
    (1.0, 'b', 1.0)
    """

    def __init__(self, rows: Mapping[Hashable, dict[str, float]], overall: dict[str, float], of: str = "group"):
        self.rows, self.overall, self.of = dict(rows), overall, of

    def __getitem__(self, row: Hashable) -> dict[str, float]:
        return self.rows[row]

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Array:
        """One figure of every row, (rows,)."""
        return np.array([row[name] for row in self.rows.values()])

    def worst(self, name: str) -> Hashable:
        """The row where a figure is lowest; rows without the figure (NaN) do not count."""
        return list(self.rows)[int(np.nanargmin(self.column(name)))]

    def gap(self, name: str) -> float:
        """How far the highest and the lowest of a figure lie apart."""
        return float(np.nanmax(self.column(name)) - np.nanmin(self.column(name)))

    def __str__(self) -> str:
        head = [self.of, *self.overall]
        body = [[str(name), *map(shown, row.values())] for name, row in self.rows.items()]
        lines = [head, *body, ["all", *map(shown, self.overall.values())]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [[line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
                for line in lines]  # fmt: skip
        return "\n".join("  ".join(row) for row in rows)

    __repr__ = __str__


def shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def by_group(
    metrics: Callable[..., float] | Mapping[str, Callable[..., float]], groups: Any, labels: Any, predictions: Any
) -> Figures:
    """Figures of each group of samples by itself: who is served worse than the mean says.

    metrics: a function of (labels, predictions), as those of this module, or several by name. groups (N,): names or
    numbers, one per sample. labels, predictions: arrays with N rows -> a table with a row per group, in sorted order.
    ValueError if the lengths differ; what a metric raises for a group names that group.

    >>> by_group({"right": weft.metrics.accuracy}, [7, 7, 3], [0, 1, 1], [0, 0, 1])[7]
    {'count': 2, 'right': 0.5}
    """
    if not isinstance(metrics, Mapping):
        metrics = {getattr(metrics, "__name__", type(metrics).__name__): metrics}
    groups, labels, predictions = np.asarray(groups), np.asarray(labels), np.asarray(predictions)
    if groups.ndim != 1 or not groups.shape == labels.shape[:1] == predictions.shape[:1]:
        raise ValueError("by_group: expected groups (N,), and labels and predictions with N rows, "
                         f"got {groups.shape}, {labels.shape} and {predictions.shape}")  # fmt: skip
    if groups.dtype.kind in "fc" and np.isnan(groups).any():
        raise ValueError(f"by_group: expected a group for each sample, got NaN for {int(np.isnan(groups).sum())}")

    def row(chosen: Array) -> dict[str, float]:
        return {"count": int(chosen.sum())} | {
            name: float(metric(labels[chosen], predictions[chosen])) for name, metric in metrics.items()
        }

    rows: dict[Hashable, dict[str, float]] = {}
    for group in np.unique(groups):
        try:
            rows[group.item()] = row(groups == group)
        except Exception as problem:
            problem.add_note(f"by_group: in group {group.item()!r}")
            raise
    return Figures(rows, row(np.ones(len(groups), bool)))


def per_class(labels: Any, predictions: Any, classes: Sequence[str] | None = None) -> Figures:
    """Precision, recall and F1 of each class, and in the last row their macro means.

    labels, predictions: integers of one shape; classes: their names, 0 first (their numbers if left out). ValueError if
    a class has no name.

    >>> print(per_class([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"]))
    class  count  precision  recall      f1
    cat        2     1.0000  0.5000  0.6667
    dog        2     0.6667  1.0000  0.8000
    all        4     0.8333  0.7500  0.7333
    """
    matrix = confusion_matrix(labels, predictions, None if classes is None else len(classes))
    names: Sequence[Hashable] = range(len(matrix)) if classes is None else classes
    kinds = ("precision", "recall", "f1")
    each = [from_matrix(kind, matrix, None) for kind in kinds]
    rows: dict[Hashable, dict[str, float]] = {
        name: {"count": int(matrix[c].sum())} | {kind: float(values[c]) for kind, values in zip(kinds, each)}
        for c, name in enumerate(names)
    }
    means = {kind: from_matrix(kind, matrix, "macro") for kind in kinds}
    return Figures(rows, {"count": int(matrix.sum())} | means, of="class")


def purity(labels: Any, clusters: Any) -> float:
    """The share of samples that are of their cluster's most frequent class, 0 to 1; NaN without samples.

    labels, clusters: integers or names of one shape. One cluster per sample is always pure: compare it only between
    clusterings of one size.

    >>> purity([0, 0, 1, 1, 1], [5, 5, 5, 8, 8])
    0.8
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape:
        raise ValueError(f"purity: expected labels and clusters of one shape, got {labels.shape} and {clusters.shape}")
    for what, array in (("labels", labels), ("clusters", clusters)):
        if array.dtype.kind not in "iubUS" and array.size:
            raise ValueError(f"purity: expected integers or names as {what}, got {array.dtype}")
    classes, label = np.unique(labels.ravel(), return_inverse=True)
    found, cluster = np.unique(clusters.ravel(), return_inverse=True)
    counts = np.bincount(cluster * len(classes) + label, minlength=len(found) * len(classes))
    return float(counts.reshape(len(found), -1).max(axis=1).sum() / labels.size) if labels.size else float("nan")
