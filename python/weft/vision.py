"""What detectors do with boxes, by torchvision's names: `nms` and `batched_nms`.

A box is (x1, y1, x2, y2), x1 <= x2 and y1 <= y2; x runs along the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import on_host, place
from weft.metrics.detection import box_iou, check_boxes
from weft.metrics.ranking import numbers

__all__ = ["batched_nms", "nms"]
Array = np.ndarray[Any, Any]


def nms(boxes: Any, scores: Any, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: which boxes stay if each removes those of a lower score that overlap it by more.

    boxes (N, 4), scores (N,) -> int64 (n,), the places of those that stay, highest score first; of equal scores the
    earlier box comes first. iou_threshold: an intersection over union, 0 to 1. Runs on the CPU: how many stay decides
    the shape, so a device would be waited for. ValueError for boxes that end before they begin, and NaN.

    >>> boxes = [[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [20.0, 0.0, 30.0, 10.0]]
    >>> weft.vision.nms(weft.asarray(boxes), weft.asarray([0.8, 0.9, 0.7]), 0.5).tolist()
    [1, 2]
    """
    corners, values = arrays("nms", boxes, scores, iou_threshold)
    return placed_like(boxes, np.asarray(suppress(corners, values, iou_threshold), np.int64))


def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Tensor:
    """`nms` within each group: boxes of different `idxs` (classes or images, int (N,)) do not remove each other.

    >>> weft.vision.batched_nms(weft.asarray([[0.0, 0.0, 9.0, 9.0]] * 2), weft.asarray([0.8, 0.9]),
    ...                         weft.asarray([0, 1]), 0.5).tolist()
    [1, 0]
    """
    corners, values = arrays("batched_nms", boxes, scores, iou_threshold)
    groups = host(idxs)
    if groups.shape != values.shape or groups.size and groups.dtype.kind not in "iu":
        raise ValueError(f"batched_nms: expected integer idxs {values.shape}, got {groups.dtype} {groups.shape}")
    kept = np.zeros(len(values), bool)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        kept[members[suppress(corners[members], values[members], iou_threshold)]] = True
    stay = np.flatnonzero(kept)
    return placed_like(boxes, stay[np.argsort(-values[stay], kind="stable")])


def suppress(boxes: Array, scores: Array, limit: float, most: int | None = None) -> list[int]:
    """The places of the boxes (N, 4), at most `most`, that no better one which stays overlaps by more than `limit`."""
    rest = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(rest) and (most is None or len(kept) < most):
        kept.append(int(rest[0]))
        rest = rest[1:][box_iou(boxes[rest[:1]], boxes[rest[1:]])[0] <= limit]
    return kept


def arrays(name: str, boxes: Any, scores: Any, limit: float) -> tuple[Array, Array]:
    corners, values = check_boxes(name, host(boxes)), numbers(name, "scores", host(scores))
    if values.shape != corners.shape[:1]:
        raise ValueError(f"{name}: expected scores {corners.shape[:1]}, got {values.shape}")
    if not 0 <= limit <= 1:
        raise ValueError(f"{name}: expected iou_threshold in [0, 1], got {limit}")
    return corners, values


def host(x: Any) -> Array:
    return np.asarray(on_host(x.data) if isinstance(x, Tensor) else x)


def placed_like(x: Any, out: Array) -> Tensor:
    return Tensor(place(out, x.device) if isinstance(x, Tensor) else out)
