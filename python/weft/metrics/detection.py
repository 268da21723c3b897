"""Figures of detection and segmentation: the overlap of boxes and of masks, and mean average precision.

A box is (x1, y1, x2, y2) in pixels or any other unit, x1 <= x2 and y1 <= y2; x runs along the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.metrics.classification import confusion_matrix
from weft.metrics.ranking import numbers

Array = np.ndarray[Any, Any]
Truth = tuple[Any, Any]  # boxes (n, 4), labels (n,)
Found = tuple[Any, Any, Any]  # boxes (m, 4), scores (m,), labels (m,)


def box_iou(boxes1: Any, boxes2: Any) -> Array:
    """The intersection over the union of each box with each: (N, 4), (M, 4) -> float64 (N, M), 0 to 1.

    Two boxes without area have 0. ValueError if a box ends before it begins, or is not finite.

    >>> box_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2]]).round(3).tolist()
    [[1.0, 0.333]]
    """
    first, second = (
        check_boxes("box_iou", boxes1)[:, None],
        check_boxes("box_iou", boxes2)[None],
    )  # (N, 1, 4), (1, M, 4)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = area(first) + area(second) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def mean_average_precision(
    truths: Sequence[Truth], found: Sequence[Found], iou: float = 0.5, average: str | None = "macro"
) -> Any:
    """The mean over classes of the area under the precision-recall curve of what a detector found, 0 to 1.

    truths: for each image its boxes (n, 4) and labels (n,). found: for each image boxes (m, 4), scores (m,) and labels
    (m,). From the highest score to the lowest, over all images, a found box is right if it overlaps one of its class in
    its image by `iou` or more that none before it took; of several it takes the one that it overlaps most. Precision at
    a recall is the best at that recall or above it (Pascal VOC since 2010, arXiv:1405.0312 calls the mean at 0.5 AP50).

    average: "macro", or None for an array (C,) with NaN where a class has no truth; such a class does not count.
    NaN without any truth.

    >>> truth = [([[0, 0, 10, 10]], [0])]
    >>> mean_average_precision(truth, [([[0, 0, 10, 9], [20, 20, 30, 30]], [0.9, 0.8], [0, 0])])
    1.0
    """
    if average not in ("macro", None):
        raise ValueError(f"mean_average_precision: expected average 'macro' or None, got {average!r}")
    if not 0 < iou <= 1:
        raise ValueError(f"mean_average_precision: expected 0 < iou <= 1, got {iou}")
    if len(truths) != len(found):
        raise ValueError("mean_average_precision: expected truths and found of as many images, "
                         f"got {len(truths)} and {len(found)}")  # fmt: skip
    wanted = [check_image("truths", i, *image) for i, image in enumerate(truths)]
    given = [check_image("found", i, *image) for i, image in enumerate(found)]
    labels = np.concatenate([np.empty(0, np.int64)] + [image[-1] for image in wanted + given])
    each = np.full(int(labels.max(initial=-1)) + 1, np.nan)
    for c in range(len(each)):
        boxes = [image[0][image[-1] == c] for image in wanted]
        if any(len(of_image) for of_image in boxes):
            each[c] = average_precision(boxes, [[part[image[-1] == c] for part in image[:2]] for image in given], iou)
    if average is None:
        return each
    return float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")


def average_precision(truths: list[Array], found: list[list[Array]], iou: float) -> float:
    """The area of one class: truths[i] (n, 4), found[i] = boxes (m, 4) and scores (m,) of image i."""
    scores, right = [np.empty(0)], []
    for boxes, (guesses, confidence) in zip(truths, found):
        if not len(guesses):
            continue
        order = np.argsort(-confidence, kind="stable")
        overlap = box_iou(guesses[order], boxes)  # (m, n)
        for row in overlap:
            best = int(row.argmax()) if len(row) else -1
            hit = best >= 0 and row[best] >= iou
            if hit:
                overlap[:, best] = -1  # taken
            right.append(hit)
        scores.append(confidence[order])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.asarray(right, bool)[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / sum(map(len, truths))
    best_above = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best_above))


def mean_iou(labels: Any, predictions: Any, average: str | None = "macro", classes: int | None = None) -> Any:
    """The mean over classes of the intersection over the union of where a class is and where it is predicted, 0 to 1.

    labels, predictions: integers of one shape, such as (N, H, W), over all images at once; the background is a class
    like the others. average: "macro", or None for an array (C,) with NaN for a class that is nowhere; such a class does
    not count. classes: C, one more than the largest if left out.

    >>> mean_iou([[0, 0, 1, 1]], [[0, 1, 1, 1]], average=None).round(3).tolist()
    [0.5, 0.667]
    """
    if average not in ("macro", None):
        raise ValueError(f"mean_iou: expected average 'macro' or None, got {average!r}")
    matrix = confusion_matrix(labels, predictions, classes)
    shared = np.diag(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - shared
    each = np.divide(shared, union, out=np.full(len(union), np.nan), where=union > 0)
    if average is None:
        return each
    return float(np.nanmean(each)) if (union > 0).any() else float("nan")


def area(boxes: Array) -> Array:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def check_boxes(name: str, boxes: Any) -> Array:
    """Boxes as float64 (N, 4); ValueError unless they are."""
    out = np.asarray(boxes, np.float64)
    if out.shape == (0,):
        out = out.reshape(0, 4)  # an empty list
    if out.ndim != 2 or out.shape[1] != 4:
        raise ValueError(f"{name}: expected boxes (N, 4), got {out.shape}")
    bad = np.flatnonzero(~(np.isfinite(out).all(axis=1) & (out[:, :2] <= out[:, 2:]).all(axis=1)))
    if len(bad):
        raise ValueError(f"{name}: expected finite boxes (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, "
                         f"got {out[bad[0]].tolist()} at {bad[0]}")  # fmt: skip
    return out


def check_image(what: str, i: int, boxes: Any, *others: Any) -> tuple[Array, ...]:
    """The boxes (n, 4), scores (n,) where there are any, and int64 labels (n,) of image i."""
    where = f"mean_average_precision: {what}[{i}]"
    checked = check_boxes(where, boxes)
    rest = [np.asarray(other) for other in others]
    if any(other.shape != checked.shape[:1] for other in rest):
        raise ValueError(f"{where}: expected a score and a label per box, {checked.shape[:1]}, "
                         f"got {', '.join(str(other.shape) for other in rest)}")  # fmt: skip
    labels = rest[-1]
    if labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0):
        raise ValueError(f"{where}: expected labels that are integers of at least 0, got {labels.dtype} {labels.min()}")
    return (checked, *(numbers(where, "scores", scores) for scores in rest[:-1]), labels.astype(np.int64))
