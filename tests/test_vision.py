"""Non-maximum suppression against its definition."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs
from weft.metrics import box_iou
from weft.vision import batched_nms, nms


def sample(rng, n):
    corner = rng.random((n, 2)) * 20
    return np.concatenate([corner, corner + 2 + rng.random((n, 2)) * 10], axis=1).astype(np.float32), rng.random(n)


def plainly(boxes, scores, limit):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(box_iou(boxes[[i]], boxes[[k]])[0, 0] <= limit for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.7, 1.0])
def test_nms_is_its_definition(limit):
    boxes, scores = sample(np.random.default_rng(0), 60)
    want = plainly(boxes, scores, limit)
    assert nms(weft.asarray(boxes), weft.asarray(scores), limit).tolist() == want
    assert nms(boxes, scores, limit).tolist() == want
    assert (len(want) < 60) == (limit < 1)


def test_groups_do_not_remove_each_other():
    rng = np.random.default_rng(1)
    boxes, scores = sample(rng, 50)
    groups = rng.integers(0, 4, 50)
    far = boxes + 1000 * groups[:, None]  # apart, so that plain suppression does the same
    assert batched_nms(boxes, scores, groups, 0.2).tolist() == plainly(far, scores, 0.2)


@pytest.mark.parametrize("kind", ["uint8", "int8", "bool"])
def test_scores_that_are_whole(kind):
    boxes = [[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]]
    scores = np.asarray([0, 1, 2]).astype(kind)
    want = [1, 2, 0] if kind == "bool" else [2, 1, 0]
    assert nms(boxes, scores, 0.5).tolist() == want
    assert batched_nms(boxes, scores, [0, 0, 0], 0.5).tolist() == want


def test_equal_scores_and_nothing():
    twice = np.asarray([[0, 0, 4, 4]] * 3, np.float32)
    assert nms(twice, np.ones(3), 0.5).tolist() == [0]
    empty = nms(np.empty((0, 4)), np.empty(0), 0.5)
    assert empty.shape == (0,) and empty.dtype == np.int64
    assert batched_nms(np.empty((0, 4)), np.empty(0), np.empty(0, int), 0.5).shape == (0,)


@needs("emulator")
def test_the_answer_lies_where_the_boxes_do():
    boxes, scores = sample(np.random.default_rng(2), 30)
    there = [weft.asarray(array, device="emulated") for array in (boxes, scores, np.zeros(30, int))]
    for stay in (nms(*there[:2], 0.3), batched_nms(*there, 0.3)):
        assert stay.device == "emulated" and stay.tolist() == plainly(boxes, scores, 0.3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda box: nms(box, [0.5, 0.5], 0.5), r"scores \(1,\)"),
        (lambda box: nms(box, [np.nan], 0.5), "numbers as scores, got NaN"),
        (lambda box: nms(box, [0.5], 1.5), r"in \[0, 1\], got 1.5"),
        (lambda box: nms([[0.0, 0.0, -1.0, 1.0]], [0.5], 0.5), "nms: expected finite boxes"),
        (lambda box: batched_nms(box, [0.5], [0.5], 0.5), "integer idxs"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call([[0.0, 0.0, 1.0, 1.0]])
